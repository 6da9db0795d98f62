//! The gateway of a server that has no node: Services without pods, and endpoints by hand.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use skiff_tests::api::{Answer, Call, Connection};
use skiff_tests::cluster::{Cluster, UP_MAX, free_address};
use skiff_tests::kubectl::Kubectl;
use skiff_tests::{upstream, wait};
use tokio::runtime::Runtime;

const SERVICES: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";

/// For a canary to get from nothing to its verdict: three steps of a second, on a loaded machine.
const JUDGED_MAX: Duration = Duration::from_secs(60);

struct Town {
    cluster: Cluster,
    gateway: String,
    admin: String,
    access_log: PathBuf,
    runtime: Runtime,
    // Dropped last: the gateway writes to it.
    _folder: tempfile::TempDir,
}

impl Town {
    /// A server with a gateway, and services called after what they say.
    fn start(services: &[(&str, SocketAddr)]) -> Self {
        let (gateway, admin) = (free_address(), free_address());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let access_log = folder.path().join("access.log");
        let cluster = Cluster::server_with(&[
            &format!("--gateway={gateway}"),
            &format!("--gateway-admin={admin}"),
            &format!("--gateway-access-log={}", access_log.display()),
        ]);
        let api = cluster.api();
        for (name, server) in services {
            let port = json!({"name": "web", "port": 80, "targetPort": "http"});
            let service = json!({"metadata": {"name": name}, "spec": {"ports": [port]}});
            api.create(SERVICES, &service);
            api.create(SLICES, &slice(name, *server));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            cluster,
            gateway,
            admin,
            access_log,
            runtime,
            _folder: folder,
        }
    }

    fn ask(&self, path: &str) -> Result<Answer, String> {
        self.ask_at(&self.gateway, path)
    }

    fn ask_at(&self, address: &str, path: &str) -> Result<Answer, String> {
        self.runtime.block_on(async {
            let mut connection = Connection::plain(address).await?;
            connection.send(&Call::get(path)).await
        })
    }

    /// What the gateway tells its host.
    fn told(&self, path: &str) -> String {
        let answer = self.ask_at(&self.admin, path).expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.text()
    }

    /// The line of the access log about a path.
    fn logged(&self, path: &str) -> Value {
        wait::until(&format!("{path} is in the log"), UP_MAX, || {
            let log = fs::read_to_string(&self.access_log).map_err(|why| why.to_string())?;
            // What has no end yet is no line.
            let whole = log.rfind('\n').map_or("", |end| &log[..end]);
            let lines = whole.lines().map(serde_json::from_str::<Value>);
            let lines: Result<Vec<_>, _> = lines.collect();
            let mut lines = lines.map_err(|why| why.to_string())?.into_iter();
            lines.find(|line| line["path"] == path).ok_or(log)
        })
    }

    fn until_says(&self, path: &str, text: &str) {
        wait::until("the gateway leads there", UP_MAX, || {
            let answer = self.ask(path)?;
            if answer.text() == text {
                Ok(())
            } else {
                Err(format!("{} {}", answer.status, answer.text()))
            }
        });
    }

    /// Asks again and again until the canary's status begins like this.
    fn until_judged(&self, phase: &str) {
        let path = format!("{INGRESSES}/web");
        wait::until("the canary is judged", JUDGED_MAX, || {
            for _ in 0..50 {
                self.ask("/")?;
            }
            let ingress = self.cluster.api().get(&path);
            let status = &ingress["metadata"]["annotations"]["gateway.skiff.io/canary-status"];
            let status = status.as_str().unwrap_or_default();
            if status.starts_with(phase) {
                Ok(())
            } else {
                Err(format!("its status is {status:?}"))
            }
        });
    }
}

fn slice(service: &str, server: SocketAddr) -> Value {
    json!({
        "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "web", "port": server.port(), "protocol": "TCP"}],
        "endpoints": [{"addresses": [server.ip().to_string()], "conditions": {"ready": true}}],
    })
}

fn ingress(annotations: &Value, paths: &[(&str, &str)]) -> Value {
    let path = |(path, service): &(&str, &str)| {
        json!({"path": path, "pathType": "Prefix",
            "backend": {"service": {"name": service, "port": {"number": 80}}}})
    };
    let paths: Vec<Value> = paths.iter().map(path).collect();
    json!({"metadata": {"name": "web", "annotations": annotations},
        "spec": {"rules": [{"http": {"paths": paths}}]}})
}

#[test]
fn a_server_without_nodes_serves_an_ingress_and_ends_when_told_to() {
    let services = ["old", "new"].map(|name| (name, upstream::saying(200, name)));
    let mut town = Town::start(&services);
    let paths = [
        ("/", "old"),
        ("/new", "new"),
        ("/lost", "nobody"),
        ("/named", "new"),
    ];
    let mut web = ingress(&json!({}), &paths);
    web["spec"]["rules"][0]["http"]["paths"][3]["backend"]["service"]["port"] =
        json!({"name": "web"});
    town.cluster.api().create(INGRESSES, &web);
    town.until_says("/", "old");
    town.until_says("/new/1", "new");
    town.until_says("/named/1", "new");
    let lost = town.ask("/lost").expect("an answer");
    assert_eq!(lost.status, 503, "{}", lost.text());
    assert!(
        lost.headers.contains_key("x-skiff-reason"),
        "{:?}",
        lost.headers
    );
    assert_eq!(town.told("/healthz"), "ok\n");
    let metrics = town.told("/metrics");
    let count = "skiff_gateway_requests_total{ingress=\"default/web\",host=\"*\",path=\"/named\",\
        kind=\"Prefix\",service=\"default/new:web\",version=\"stable\",code=\"2xx\"} 1\n";
    assert!(metrics.contains(count), "{metrics}");
    let address = services[1].1.to_string();
    for (path, status, endpoint, tries, reason) in [
        ("/named/1", 200, json!(address), 1, json!(null)),
        ("/lost", 503, json!(null), 0, json!("service-not-found")),
    ] {
        let line = town.logged(path);
        let found = (&line["status"], &line["endpoint"], &line["tries"]);
        assert_eq!(found, (&json!(status), &endpoint, &json!(tries)), "{line}");
        assert_eq!(line["reason"], reason, "{line}");
        assert_eq!(line["route"], "default/web", "{line}");
    }
    let status = town.cluster.server.terminate(UP_MAX);
    assert!(status.success(), "{}", town.cluster.server.log());
}

#[test]
fn a_canary_that_is_well_gets_everything_and_one_that_fails_gets_nothing() {
    let services = [
        ("old", upstream::saying(200, "old")),
        ("new", upstream::saying(200, "new")),
        ("bad", upstream::saying(500, "bad")),
    ];
    let town = Town::start(&services);
    let annotations = json!({
        "gateway.skiff.io/canary-service": "new",
        "gateway.skiff.io/canary-auto": "true",
        "gateway.skiff.io/canary-auto-step": "50",
        "gateway.skiff.io/canary-auto-interval": "1s",
        "gateway.skiff.io/canary-auto-requests": "20",
    });
    let api = town.cluster.api();
    api.create(INGRESSES, &ingress(&annotations, &[("/", "old")]));
    town.until_judged("promoted: new ");
    town.until_says("/", "new");

    let kubectl = Kubectl::all(&town.cluster.kubeconfig())
        .pop()
        .expect("there is one");
    let next = "annotate ingress web --overwrite gateway.skiff.io/canary-service=bad";
    let said = kubectl.run(next);
    assert_eq!(said.code, 0, "{}", said.err);
    town.until_judged("rolled back: bad ");
    town.until_says("/", "old");
    let described = kubectl.run("describe ingress web");
    for reason in [
        "CanaryStarted",
        "CanaryAdvanced",
        "CanaryPromoted",
        "CanaryRolledBack",
    ] {
        assert!(
            described.out.contains(reason),
            "{reason} is not in\n{}",
            described.out
        );
    }
}
