//! No request is lost while a service's pods come and go, though they end in the moment they are told
//! to: whoever sends to them has heard of it before, even if that takes a while. The load comes from
//! a pod of another node.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use skiff_tests::api::{Api, Call};
use skiff_tests::cluster::text;
use skiff_tests::given;
use skiff_tests::hosts::Hosts;
use skiff_tests::steady::{Steady, Stream};
use skiff_tests::wait;
use skiff_tests::world::{Asker, PORT, World};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
const SERVICES: &str = "/api/v1/namespaces/default/services";

/// The nodes; the last one has the load and no replica.
const NODES: usize = 3;
const REPLICAS: u32 = 4;
const FEWER: u32 = 2;

/// How often the service shrinks and grows, and how often it is rolled out.
const SCALINGS: usize = 3;
const UPDATES: usize = 2;

/// How long the load's node hears of nothing. The pods' nodes wait for it three seconds at most.
const DEAF: Duration = Duration::from_secs(1);

/// Where each node has a gateway, and its port.
const GATEWAY: &str = "--gateway=0.0.0.0:8090";
const GATEWAY_PORT: u16 = 8090;

/// Clients, and how often each of them asks: some hundred requests a second, over as many
/// connections, so that no moment of a change is without any.
const CLIENTS: usize = 2;
const PACE: Duration = Duration::from_millis(10);

const WHOLE_MAX: Duration = Duration::from_secs(60);

/// A first process that has the shell end at once, and its server with it.
const ABRUPT: &str = "mkdir /www; echo here > /www/index.html; trap 'exit 0' TERM; \
    httpd -f -p 8080 -h /www & wait";

#[test]
fn pods_that_end_at_once_lose_no_request() {
    let mut world = World::new(Hosts::new(NODES), NODES, &[GATEWAY]);
    let client = world.pods().pop().expect("a pod on the last node");
    let node = format!("n{}", NODES - 1);
    let api = world.cluster.api();
    let unschedulable = format!("/api/v1/nodes/{node}");
    patch(
        &api,
        &unschedulable,
        &json!({"spec": {"unschedulable": true}}),
    );
    api.create(DEPLOYMENTS, &deployment());
    let service = json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": PORT}]}});
    let service = api.create(SERVICES, &service);
    wait_until_whole(&world, REPLICAS);
    let address = format!("{}:80", text(&service["spec"]["clusterIP"]));
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
    let ingress = json!({"metadata": {"name": "web"},
        "spec": {"rules": [{"http": {"paths": [path]}}]}});
    api.create(INGRESSES, &ingress);
    let gateway = format!("{}:{GATEWAY_PORT}", world.hosts().address(NODES - 1));
    let streams = [
        stream("ClusterIP over new connections", false, &address),
        stream("gateway over new connections", false, &gateway),
        stream("gateway over kept connections", true, &gateway),
    ];
    for address in [&address, &gateway] {
        let url = format!("http://{address}/");
        wait::until("the service is reached", WHOLE_MAX, || {
            world.curl(Asker::Pod(&client), &url).said().map(drop)
        });
    }

    let inside = |program: &std::path::Path| client.command(&program.display().to_string());
    let load = Steady::start(inside, &streams, CLIENTS, PACE);
    let scale = |replicas: u32| {
        let scaled = json!({"spec": {"replicas": replicas}});
        patch(&api, &format!("{DEPLOYMENTS}/web"), &scaled);
    };
    for _ in 0..SCALINGS {
        // A node that hears late goes on sending to pods that are to end.
        let deaf = world.cluster.agent(&node);
        deaf.freeze();
        scale(FEWER);
        wait::throughout("pods stay while somebody sends to them", DEAF, || {
            let pods = world.cluster.pods("default", "app=web").len();
            let all = u32::try_from(pods) == Ok(REPLICAS);
            all.then_some(()).ok_or_else(|| format!("{pods} are left"))
        });
        world.cluster.agent(&node).signal(Signal::CONT);
        wait_until_whole(&world, FEWER);
        scale(REPLICAS);
        wait_until_whole(&world, REPLICAS);
    }
    for number in 0..UPDATES {
        let annotations = json!({"test.skiff.io/update": number.to_string()});
        let update = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        patch(&api, &format!("{DEPLOYMENTS}/web"), &update);
        wait_until_whole(&world, REPLICAS);
    }
    let accounts = load.stop();
    assert_eq!(accounts.len(), streams.len());
    for (name, account) in &accounts {
        let failures: Vec<String> = account
            .failures
            .iter()
            .map(|failure| format!("after {} ms: {}", failure.took_ms, failure.why))
            .collect();
        let sent = account.sent;
        assert_eq!(account.failed, 0, "{name}, of {sent}: {failures:#?}");
        assert!(sent > 100, "there was a load: {name}, {sent}");
    }
}

fn stream(name: &str, keep: bool, address: &str) -> Stream {
    Stream {
        name: name.to_owned(),
        keep,
        address: address.to_owned(),
        path: "/".to_owned(),
        host: None,
    }
}

fn patch(api: &Api, path: &str, patch: &Value) {
    let answer = api.send(&Call::merge(path, patch));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn deployment() -> Value {
    let mut deployment = given::deployment("web", REPLICAS, ABRUPT);
    let spec = &mut deployment["spec"]["template"]["spec"];
    // Half of the grace bounds the wait for those who send.
    spec["terminationGracePeriodSeconds"] = json!(10);
    let probe = json!({"tcpSocket": {"port": PORT}, "periodSeconds": 1});
    spec["containers"][0]["readinessProbe"] = probe;
    deployment
}

/// Waits until all replicas are of the newest template, ready, and the only ones.
fn wait_until_whole(world: &World, replicas: u32) {
    let api = world.cluster.api();
    wait::until("all replicas are new and ready", WHOLE_MAX, || {
        let deployment = api.get(&format!("{DEPLOYMENTS}/web"));
        let status = &deployment["status"];
        let seen = status["observedGeneration"] == deployment["metadata"]["generation"];
        let all = ["replicas", "updatedReplicas", "readyReplicas"];
        let whole = all.iter().all(|field| status[field] == replicas);
        let pods = world.cluster.pods("default", "app=web").len();
        // Pods on their way out are counted here: their end is what this is about.
        if seen && whole && u32::try_from(pods) == Ok(replicas) {
            return Ok(());
        }
        Err(format!("{pods} pods; {status}"))
    });
}
