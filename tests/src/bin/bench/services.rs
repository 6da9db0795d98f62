//! How soon every node sends to an endpoint that became ready, whether any still sends to one that
//! was removed, and how soon names are answered, while a thousand other services are there.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};
use skiff_tests::api::{Api, Call};
use skiff_tests::cluster::{Cluster, items, text};
use skiff_tests::given::{self, BUSYBOX};
use skiff_tests::steady::{Account, Steady, Stream};
use skiff_tests::wait;

use crate::load::{self, Until};
use crate::names;
use crate::report::Row;
use crate::viewpoint::{PODS, Viewpoint, wait_until_ready};

const NODES: usize = 3;
/// The other services, each with so many endpoints.
const SERVICES: u64 = 1000;
const ENDPOINTS: u64 = 10;
/// Pods that become ready, and pods that are removed, one after the other.
const ROUNDS: usize = 20;
/// Every node asks so often, each time over a new connection.
const PACE: Duration = Duration::from_millis(5);
/// How long is asked on after a pod was ready or gone.
const AFTER: Duration = Duration::from_secs(1);
const READY_MAX: Duration = Duration::from_secs(60);
const SERVICES_PATH: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

/// All figures of this benchmark.
pub(crate) fn rows() -> Vec<Row> {
    let town = Town::start();
    let (mut ready, mut stale, mut asked) = (Vec::new(), 0, 0);
    for round in 0..ROUNDS {
        ready.push(town.becomes_ready(round));
    }
    for round in 0..ROUNDS {
        let accounts = town.is_removed(round);
        stale += accounts.iter().map(|account| account.failed).sum::<u64>();
        asked += accounts.iter().map(|account| account.sent).sum::<u64>();
    }
    let slowest = ready.iter().copied().fold(0.0, f64::max);
    let name = "a pod is ready to every node sends to it";
    let mut rows = vec![
        Row::new("services with ten endpoints each", "", &[count(SERVICES)]),
        Row::new(&format!("{name}, p50"), "ms", &ready),
        Row::new(
            &format!("{name}, p99 (of {ROUNDS}: the longest)"),
            "ms",
            &[slowest],
        )
        .at_most(200.0),
        Row::new("requests while pods were removed", "", &[count(asked)]),
        Row::new("of these sent to a pod that had gone", "", &[count(stale)]).at_most(0.0),
    ];
    let services: Vec<String> = (0..SERVICES)
        .map(|number| format!("other-{number}"))
        .collect();
    rows.extend(names::rows(town.resolver(), &services));
    rows
}

struct Town {
    cluster: Cluster,
    address: String,
    /// One on each node.
    viewpoints: Vec<Viewpoint>,
}

impl Town {
    fn start() -> Self {
        let cluster = Cluster::with_agents(NODES);
        cluster.engine.busybox_image(BUSYBOX);
        others(&cluster);
        let api = cluster.api();
        let service = json!({"metadata": {"name": "target"},
            "spec": {"selector": {"role": "target"}, "ports": [{"port": 80, "targetPort": 8080}]}});
        let service = api.create(SERVICES_PATH, &service);
        let viewpoints = (1..=NODES).map(|number| Viewpoint::on(&cluster, number));
        Self {
            address: format!("{}:80", text(&service["spec"]["clusterIP"])),
            viewpoints: viewpoints.collect(),
            cluster,
        }
    }

    /// Where the first node's resolver answers: at the first address of its pods' range.
    fn resolver(&self) -> Ipv4Addr {
        let nodes = self.cluster.api().get("/api/v1/nodes");
        let first = items(&nodes).next().expect("there are nodes");
        let range = text(&first["spec"]["podCIDR"]);
        let base = range.split('/').next().and_then(|base| base.parse().ok());
        let base: Ipv4Addr = base.expect("a range of addresses");
        Ipv4Addr::from_bits(base.to_bits() + 1)
    }

    /// Asks from every node at once.
    fn ask(&self) -> Vec<Steady> {
        let stream = Stream {
            name: "node".to_owned(),
            keep: false,
            address: self.address.clone(),
            path: "/".to_owned(),
            host: None,
        };
        let ask = |from: &Viewpoint| {
            let inside = |program: &std::path::Path| from.command(program);
            Steady::start(inside, std::slice::from_ref(&stream), 1, PACE)
        };
        self.viewpoints.iter().map(ask).collect()
    }

    /// The only endpoint becomes ready: how long until the last node reaches it, in ms.
    fn becomes_ready(&self, round: usize) -> f64 {
        let api = self.cluster.api();
        let asking = self.ask();
        let name = format!("young-{round}");
        api.create(PODS, &target(&name));
        let ready_ms = wait_until_ready(&api, &name);
        wait::pause(AFTER);
        let accounts = stop(asking);
        let reached = accounts.iter().map(|account| {
            let late = account
                .failures_since(0)
                .map(|one| one.sent_ms + one.took_ms);
            late.max().unwrap_or(0).saturating_sub(ready_ms)
        });
        let reached = reached.max().unwrap_or(0);
        remove(&api, &name);
        count(reached)
    }

    /// One of two endpoints is removed while every node asks.
    fn is_removed(&self, round: usize) -> Vec<Account> {
        let api = self.cluster.api();
        let (stays, goes) = ("stays".to_owned(), format!("goes-{round}"));
        if round == 0 {
            api.create(PODS, &target(&stays));
        }
        api.create(PODS, &target(&goes));
        wait_until_ready(&api, &stays);
        wait_until_ready(&api, &goes);
        wait::pause(AFTER);
        let asking = self.ask();
        wait::pause(AFTER);
        remove(&api, &goes);
        wait::pause(AFTER);
        stop(asking)
    }
}

fn stop(asking: Vec<Steady>) -> Vec<Account> {
    let accounts = asking
        .into_iter()
        .flat_map(|load| load.stop().into_values());
    accounts.collect()
}

/// The services that are there besides, with endpoints that nobody asks.
fn others(cluster: &Cluster) {
    let identity = [skiff_tests::api::Identity::of(&cluster.kubeconfig())];
    let service = |number: u64| {
        let value = json!({"metadata": {"name": format!("other-{number}")},
            "spec": {"ports": [{"port": 80}]}});
        Call::post(SERVICES_PATH, &value)
    };
    load::drive(&identity, 16, Until::Sent(SERVICES), 201, service);
    let slice = |number: u64| {
        let address = |index: u64| format!("10.42.{}.{}", 100 + number % 100, 2 + index);
        let endpoints = (0..ENDPOINTS).map(|index| json!({"addresses": [address(index)]}));
        let value = json!({"addressType": "IPv4",
            "metadata": {"name": format!("other-{number}"),
                "labels": {"kubernetes.io/service-name": format!("other-{number}")}},
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
            "endpoints": endpoints.collect::<Vec<_>>()});
        Call::post(SLICES, &value)
    };
    load::drive(&identity, 16, Until::Sent(SERVICES), 201, slice);
}

/// A web server that is gone as soon as it is asked to end.
fn target(name: &str) -> Value {
    let script = "mkdir -p /www; echo yes > /www/index.html; httpd -f -p 8080 -h /www & \
                  trap 'exit 0' TERM; wait";
    let mut pod = given::pod(name, script);
    pod["metadata"]["labels"] = json!({"role": "target"});
    pod["spec"]["terminationGracePeriodSeconds"] = 10.into();
    pod["spec"]["containers"][0]["readinessProbe"] =
        json!({"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1});
    pod
}

fn remove(api: &Api, name: &str) {
    let path = format!("{PODS}/{name}");
    let answer = api.send(&Call::delete(&path));
    assert_eq!(answer.status, 200, "{}", answer.text());
    wait::until(&format!("{name} is gone"), READY_MAX, || {
        match api.send(&Call::get(&path)).status {
            404 => Ok(()),
            status => Err(status.to_string()),
        }
    });
}

fn count(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::NAN, f64::from)
}
