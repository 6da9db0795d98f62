//! The network of agents that share a machine and its Engine, as those of `skiff dev` do: several
//! bridges and several tables in one kernel, which must not be in each other's way.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use skiff_tests::cluster::{Cluster, text};
use skiff_tests::given::BUSYBOX;
use skiff_tests::upstream::own_address;
use skiff_tests::wait;
use skiff_tests::world::{Answer, EVERYWHERE, PORT, Pod, curl, echo, plain};

const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";

/// A word of the servers, and some packets.
const SOON: Duration = Duration::from_secs(20);

const NODES: usize = 3;

/// Questions after which each of three endpoints was asked, but for one time in a hundred thousand.
const QUESTIONS: usize = 30;

#[test]
fn agents_that_share_an_engine_share_no_more_than_that() {
    let cluster = Cluster::with_agents(NODES);
    cluster.engine.busybox_image(BUSYBOX);
    let api = cluster.api();
    for number in 1..=NODES {
        let mut pod = echo(&format!("p{number}"));
        pod["spec"]["nodeName"] = json!(format!("{}-{number}", cluster.prefix));
        api.create(PODS, &pod);
    }
    let (all, one) = (json!({EVERYWHERE.0: EVERYWHERE.1}), json!({"app": "p1"}));
    let create = |name: &str, selector: &Value| {
        let port = json!({"port": 80, "targetPort": PORT});
        let service = json!({"metadata": {"name": name},
            "spec": {"type": "NodePort", "selector": selector, "ports": [port]}});
        let service = api.create(SERVICES, &service);
        let port = service["spec"]["ports"][0]["nodePort"].to_string();
        (text(&service["spec"]["clusterIP"]), port)
    };
    let (all, (one, node_port)) = (create("all", &all).0, create("one", &one));
    let pods: Vec<Pod> = (1..=NODES)
        .map(|number| {
            let pods = cluster.wait_for_pods("default", &format!("app=p{number}"), 1);
            Pod::of(&cluster, &pods[0], cluster.engine.clone())
        })
        .collect();

    let names: BTreeSet<String> = pods.iter().map(|pod| pod.name.clone()).collect();
    let here = || Command::new("curl");
    let askers = || pods.iter().map(|pod| pod.command("curl")).chain([here()]);
    for number in 0..=NODES {
        wait::until("every endpoint answers everybody", SOON, || {
            let asker = askers().nth(number).unwrap_or_else(here);
            let url = format!("http://{all}/cgi-bin/name?[1-{QUESTIONS}]");
            let said = curl(asker, &[&url]).said()?;
            let seen: BTreeSet<String> = said.lines().map(str::to_owned).collect();
            if seen == names { Ok(()) } else { Err(said) }
        });
    }
    for pod in &pods {
        // Only to itself no pod may come as itself: it would answer past the service.
        let url = format!("http://{one}/cgi-bin/who");
        let seen = curl(pod.command("curl"), &[&url]).said();
        let seen = seen.map(|seen| plain(&seen) == pod.address);
        assert_eq!(seen, Ok(pod.name != "p1"), "{}", pod.name);
    }
    let url = format!("http://{}:{node_port}/cgi-bin/name", own_address());
    let said = Answer::Said("p1".to_owned());
    assert_eq!(curl(here(), &[&url]), said, "by a port of the machine");

    let nobody = json!({"metadata": {"name": "nobody"},
        "spec": {"podSelector": {"matchLabels": {"app": "p1"}}, "policyTypes": ["Ingress"]}});
    api.create(POLICIES, &nobody);
    let url = format!("http://{}:{PORT}/cgi-bin/name", pods[0].address);
    for pod in &pods[1..] {
        wait::until("nobody gets in from another node", SOON, || {
            curl(pod.command("curl"), &["--connect-timeout", "1", &url]).expect(&Answer::Silence)
        });
        let open = url.replace(&pods[0].address, &pods[1].address);
        let seen = curl(pod.command("curl"), &[&open]);
        assert_eq!(seen, Answer::Said("p2".to_owned()), "others are open");
    }
}
