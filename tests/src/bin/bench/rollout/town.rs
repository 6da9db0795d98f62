//! Where it happens: a server, three nodes, a gateway on the first of them, and a service with four
//! replicas behind an Ingress. Who asks the gateway runs on the machine itself, who asks the service's
//! address in a pod on the first node.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use skiff_tests::api::Call;
use skiff_tests::cluster::{Cluster, condition, free_address, items, text};
use skiff_tests::given::{BUSYBOX, SHOP};
use skiff_tests::skiff::run;
use skiff_tests::steady::{Account, Steady, Stream};
use skiff_tests::wait;

use crate::viewpoint::Viewpoint;

const REPLICAS: usize = 4;
const PATH: &str = "/users";
/// Clients of each kind, and how often each of them asks: together some hundred requests a second,
/// so that the machine has time left for the rollout itself.
const CLIENTS: usize = 2;
const PACE: Duration = Duration::from_millis(10);
const WHOLE_MAX: Duration = Duration::from_secs(120);
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/web";

/// The town.
pub(super) struct Town {
    cluster: RefCell<Cluster>,
    gateway: String,
    service: String,
    inside: Viewpoint,
}

/// A load on both.
pub(super) struct Load {
    outside: Steady,
    inside: Steady,
}

impl Load {
    /// Ends it.
    pub(super) fn stop(self) -> BTreeMap<String, Account> {
        let mut accounts = self.outside.stop();
        accounts.extend(self.inside.stop());
        accounts
    }
}

impl Town {
    /// Builds it, and waits until every way to the service works.
    pub(super) fn start() -> Self {
        let mut cluster = Cluster::server();
        let gateway = free_address();
        let first = format!("{}-1", cluster.prefix);
        cluster.add_agent_with(&first, &[&format!("--gateway={gateway}")]);
        for number in 2..=3 {
            let name = format!("{}-{number}", cluster.prefix);
            cluster.add_agent(&name);
        }
        cluster.wait_for_nodes(3);
        cluster.engine.busybox_image(BUSYBOX);
        let api = cluster.api();
        api.create(
            "/apis/apps/v1/namespaces/default/deployments",
            &deployment(),
        );
        let service = api.create("/api/v1/namespaces/default/services", &service());
        let class =
            json!({"metadata": {"name": "skiff"}, "spec": {"controller": "skiff.io/gateway"}});
        // The cluster may bring the class along.
        let made = api.send(&Call::post(
            "/apis/networking.k8s.io/v1/ingressclasses",
            &class,
        ));
        assert!(matches!(made.status, 201 | 409), "{}", made.text());
        api.create(
            "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
            &ingress(),
        );
        let town = Self {
            gateway,
            service: format!("{}:80", text(&service["spec"]["clusterIP"])),
            inside: Viewpoint::on(&cluster, 1),
            cluster: RefCell::new(cluster),
        };
        town.wait_until_whole();
        town.wait_until_reached();
        town
    }

    /// Starts the load.
    pub(super) fn load(&self) -> Load {
        let streams = |what: &str, address: &String| {
            [("kept", true), ("new", false)].map(|(how, keep)| Stream {
                name: format!("{what} over {how} connections"),
                keep,
                address: address.clone(),
                path: PATH.to_owned(),
                host: None,
            })
        };
        let (gateway, service) = (&self.gateway, &self.service);
        let outside = |program: &Path| Command::new(program);
        let inside = |program: &Path| self.inside.command(program);
        Load {
            outside: Steady::start(outside, &streams("gateway", gateway), CLIENTS, PACE),
            inside: Steady::start(inside, &streams("ClusterIP", service), CLIENTS, PACE),
        }
    }

    /// Until a second of load passes without a failure.
    fn wait_until_reached(&self) {
        wait::until("every way leads to the service", WHOLE_MAX, || {
            let load = self.load();
            wait::pause(Duration::from_secs(1));
            let accounts = load.stop();
            let failed: u64 = accounts.values().map(|account| account.failed).sum();
            let why = || {
                let mut all = accounts.iter().flat_map(|(name, account)| {
                    let first = account.failures.first();
                    first.map(|failure| format!("{name}: {}", failure.why))
                });
                all.next().unwrap_or_default()
            };
            if failed == 0 { Ok(()) } else { Err(why()) }
        });
    }

    /// A rolling update, start to end.
    pub(super) fn roll_out(&self, number: usize) {
        let patch = json!({"spec": {"template": {"metadata": {
            "annotations": {"bench.skiff.io/update": number.to_string()}}}}});
        let answer = self
            .cluster
            .borrow()
            .api()
            .send(&Call::merge(DEPLOYMENT, &patch));
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.wait_until_whole();
    }

    /// Waits until all replicas are of the newest template, ready, and the only ones.
    pub(super) fn wait_until_whole(&self) {
        let api = self.cluster.borrow().api();
        wait::until("all replicas are new and ready", WHOLE_MAX, || {
            let deployment = api.get(DEPLOYMENT);
            let status = &deployment["status"];
            let seen = status["observedGeneration"] == deployment["metadata"]["generation"];
            let all = [
                "replicas",
                "updatedReplicas",
                "readyReplicas",
                "availableReplicas",
            ];
            let whole = all.iter().all(|field| status[field] == REPLICAS);
            let pods = self.pods();
            if seen && whole && pods.len() == REPLICAS {
                return Ok(());
            }
            Err(format!("{} pods; {status}", pods.len()))
        });
    }

    fn pods(&self) -> Vec<Value> {
        self.cluster.borrow().pods("default", "app=web")
    }

    /// Kills the process of one ready pod, as a crash would: of the one that crashed least, since each
    /// crash of the same pod makes it wait longer before it is started again.
    pub(super) fn kill_a_pod(&self) {
        let pods = self.pods();
        let ready = pods.iter().filter(|pod| condition(pod, "Ready") == "True");
        let restarts =
            |pod: &&Value| pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
        let pod = ready.min_by_key(restarts).expect("a pod is ready");
        let cluster = self.cluster.borrow();
        cluster.engine.kill(&cluster.containers_of(pod));
    }

    /// The last node falls silent: its agent is gone, and nothing reaches its pods any more. Returns
    /// what brings the silence to an end.
    pub(super) fn lose_a_node(&self) -> Silence {
        let name = format!("{}-3", self.cluster.borrow().prefix);
        let nodes = self.cluster.borrow().api().get("/api/v1/nodes");
        let node = items(&nodes).find(|node| node["metadata"]["name"] == *name);
        let range = text(&node.expect("the node is known")["spec"]["podCIDR"]);
        let silence = Silence::over(&self.cluster.borrow().prefix, &range);
        self.cluster.borrow_mut().agent(&name).kill();
        silence
    }
}

/// Drops every packet from and to some addresses, for as long as it lives.
pub(super) struct Silence(String);

impl Silence {
    fn over(prefix: &str, range: &str) -> Self {
        let silence = Self(format!("{prefix}-silence"));
        let chain = |hook: &str| {
            format!(
                "chain {hook} {{ type filter hook {hook} priority 0; policy accept; \
                 ip daddr {range} drop; ip saddr {range} drop; }}; "
            )
        };
        let chains: String = ["input", "output", "forward"]
            .into_iter()
            .map(chain)
            .collect();
        let rules = format!("table ip {} {{ {chains} }}", silence.0);
        run(Command::new("nft").arg(rules)).ok();
        silence
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        run(Command::new("nft").args(["delete", "table", "ip", &self.0]));
    }
}

fn deployment() -> Value {
    let probe = json!({"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1});
    let labels = json!({"app": "web"});
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 15,
                    "containers": [{"name": "main", "image": SHOP, "args": ["user"],
                        "ports": [{"containerPort": 8080}], "readinessProbe": probe}],
                },
            },
        },
    })
}

fn service() -> Value {
    json!({"metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}})
}

fn ingress() -> Value {
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    json!({"metadata": {"name": "web"}, "spec": {"ingressClassName": "skiff", "rules": [
        {"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]}})
}
