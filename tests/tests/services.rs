//! Services over real HTTP, their addresses and ports, and the endpoints behind them; and that a pod
//! is kept to its network policies from its first moment.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use skiff_tests::api::{Api, Call, Identity};
use skiff_tests::cluster::{Cluster, PODS_MAX, items};
use skiff_tests::given::{self, BUSYBOX, FOREVER};
use skiff_tests::wait;

const SERVICES: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

/// What one pass of a plan and a write take, on a loaded machine.
const PLANNED_MAX: Duration = Duration::from_secs(10);

/// Writers at the same time, and what each creates.
const WRITERS: usize = 8;
const EACH: usize = 12;

fn service(name: &str, kind: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"type": kind, "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": 8080}]}})
}

#[test]
fn services_that_are_created_together_share_nothing() {
    let cluster = Cluster::server();
    let identity = Identity::of(&cluster.kubeconfig());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let api = Api::new(identity.clone());
            thread::spawn(move || {
                for n in 0..EACH {
                    api.create(SERVICES, &service(&format!("s{writer}-{n}"), "NodePort"));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    let api = cluster.api();
    let listed = api.get(SERVICES);
    let all: Vec<&Value> = items(&listed).collect();
    let distinct = |pointer: &str| {
        let found = all.iter().filter_map(|service| service.pointer(pointer));
        found.map(Value::to_string).collect::<BTreeSet<_>>().len()
    };
    assert_eq!(
        all.len(),
        WRITERS * EACH + 1,
        "and the one of the API servers"
    );
    assert_eq!(distinct("/spec/clusterIP"), WRITERS * EACH + 1);
    assert_eq!(distinct("/spec/ports/0/nodePort"), WRITERS * EACH);

    let taken = all
        .iter()
        .find_map(|service| service.pointer("/spec/ports/0/nodePort"));
    let mut greedy = service("greedy", "NodePort");
    greedy["spec"]["ports"][0]["nodePort"] = taken.unwrap().clone();
    greedy["spec"]["clusterIP"] = "10.43.0.1".into();
    let refused = api.send(&Call::post(SERVICES, &greedy));
    assert_eq!(refused.status, 422, "{}", refused.text());
    let message = refused.message();
    for words in [
        "provided IP is already allocated",
        "provided port is already allocated",
    ] {
        assert!(message.contains(words), "{message}");
    }

    let dry = format!("{SERVICES}?dryRun=All");
    let given = api.create(&dry, &service("dry", "ClusterIP"));
    assert!(given["spec"]["clusterIP"].is_string(), "{given}");
    let path = format!("{SERVICES}/dry");
    assert_eq!(
        api.send(&Call::get(&path)).status,
        404,
        "nothing was written"
    );
}

#[test]
fn the_api_service_is_there_from_the_start() {
    let cluster = Cluster::server();
    let api = cluster.api();
    let service = api.get(&format!("{SERVICES}/kubernetes"));
    assert_eq!(service["spec"]["clusterIP"], "10.43.0.1");
    wait::until("the service of the API has a slice", PLANNED_MAX, || {
        let slice = api.try_send(&Call::get(&format!("{SLICES}/kubernetes")))?;
        match slice.status {
            200 => Ok(()),
            code => Err(format!("{code}")),
        }
    });
    let settings = api.get("/api/v1/namespaces/kube-system/configmaps/skiff-network");
    assert_eq!(settings["data"]["podCIDR"], cluster.pod_cidr());
}

/// Each endpoint behind `web` as `name+` or `name-`: ready or not.
fn endpoints(api: &Api) -> BTreeSet<String> {
    let listed = api.get(&format!(
        "{SLICES}?labelSelector=kubernetes.io/service-name=web"
    ));
    let endpoints = items(&listed).flat_map(|slice| slice["endpoints"].as_array().cloned());
    let spell = |endpoint: Value| {
        let sign = if endpoint["conditions"]["ready"] == true {
            '+'
        } else {
            '-'
        };
        format!(
            "{}{sign}",
            endpoint["targetRef"]["name"].as_str().unwrap_or("?")
        )
    };
    endpoints.flatten().map(spell).collect()
}

#[test]
fn endpoints_follow_the_pods() {
    let cluster = Cluster::dev(1);
    cluster.engine.busybox_image(BUSYBOX);
    let api = cluster.api();
    api.create(SERVICES, &service("web", "ClusterIP"));
    let web = given::deployment("web", 3, FOREVER);
    api.create("/apis/apps/v1/namespaces/default/deployments", &web);
    let pods = cluster.wait_for_pods("default", "app=web", 3);
    let named = |pods: &[Value]| -> BTreeSet<String> {
        let names = pods
            .iter()
            .map(|pod| pod["metadata"]["name"].as_str().unwrap_or("?"));
        names.map(|name| format!("{name}+")).collect()
    };
    wait::until("all pods are endpoints", PODS_MAX, || {
        let found = endpoints(&api);
        if found == named(&pods) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
    let scaled = json!({"spec": {"replicas": 1}});
    let answer = api.send(&Call::merge(
        "/apis/apps/v1/namespaces/default/deployments/web",
        &scaled,
    ));
    assert_eq!(answer.status, 200, "{}", answer.text());
    wait::until("those that went are no endpoints", PODS_MAX, || {
        let found = endpoints(&api);
        if found.len() == 1 {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
    wait::until("Endpoints mirror them", PLANNED_MAX, || {
        let mirrored = api.get("/api/v1/namespaces/default/endpoints/web");
        let addresses = mirrored["subsets"][0]["addresses"]
            .as_array()
            .map_or(0, Vec::len);
        if addresses == 1 {
            Ok(())
        } else {
            Err(mirrored.to_string())
        }
    });
    let node = api.get("/api/v1/nodes");
    let cidr = items(&node)
        .next()
        .map(|node| node["spec"]["podCIDR"].clone());
    let first = cluster.pod_cidr().replace("/16", "/24");
    assert_eq!(cidr, Some(first.into()));
}

/// Pods that start at the same time, each of which tries at once what it must not do.
const HASTY: usize = 6;

#[test]
fn new_pods_are_kept_to_their_policies_before_they_start() {
    let cluster = Cluster::dev(1);
    cluster.engine.busybox_image(BUSYBOX);
    let api = cluster.api();
    let pods = "/api/v1/namespaces/default/pods";
    api.create(pods, &given::pod("web", "exec busybox httpd -f -p 8080"));
    let web = cluster.wait_for_pods("default", "app=web", 1);
    let address = web[0]["status"]["podIP"].as_str().unwrap().to_owned();
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "nothing-goes-out"}, "spec": {"policyTypes": ["Egress"],
            "podSelector": {"matchLabels": {"kept": "yes"}}}});
    api.create(
        "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
        &policy,
    );
    // An answer of any kind means that packets came through.
    let script = format!("busybox nc -w 2 {address} 8080 </dev/null && exit 7; exit 0");
    let pod = |name: &str, kept: &str| {
        let mut pod = given::pod(name, &script);
        pod["metadata"]["labels"]["kept"] = kept.into();
        pod["spec"]["restartPolicy"] = "Never".into();
        pod
    };
    let ends = |name: &str, phase: &str| {
        wait::until(&format!("{name} has {phase}"), PODS_MAX, || {
            let status = api.get(&format!("{pods}/{name}"))["status"].clone();
            match status["phase"].as_str() {
                Some(now) if now == phase => Ok(()),
                _ => Err(status.to_string()),
            }
        });
    };
    api.create(pods, &pod("free", "no"));
    ends("free", "Failed");
    let names: Vec<String> = (0..HASTY).map(|number| format!("kept-{number}")).collect();
    for name in &names {
        api.create(pods, &pod(name, "yes"));
    }
    for name in &names {
        ends(name, "Succeeded");
    }
}
