//! Cells against what kubectl prints.

use serde_json::{Value, json};
use skiff_api::{Kind, Millis};

use super::{Show, cells, columns};

fn now() -> Millis {
    Millis::parse("2026-11-22T17:40:00Z").unwrap()
}

/// The cells between a row's NAME and its AGE.
fn pod_row(pod: &Value) -> String {
    let cells = cells(Kind::Pod, pod, now());
    let middle = cells[1..4].iter().map(|cell| cell.as_str().unwrap());
    middle.collect::<Vec<_>>().join(" | ")
}

fn running(restarts: i64) -> Value {
    json!({"name": "c", "ready": true, "restartCount": restarts,
        "state": {"running": {"startedAt": "2026-11-22T17:37:00Z"}}})
}

fn terminated(reason: &str, code: i64) -> Value {
    json!({"name": "c", "ready": false, "restartCount": 0,
        "state": {"terminated": {"reason": reason, "exitCode": code}}})
}

fn waiting(reason: &str) -> Value {
    json!({"name": "c", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": reason}}})
}

fn crashed(restarts: i64) -> Value {
    json!({"name": "c", "ready": false, "restartCount": restarts,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-11-22T17:36:00Z"}}})
}

/// A pod with one container for each status given.
fn pod(phase: &str, statuses: &[Value]) -> Value {
    let containers: Vec<Value> = statuses
        .iter()
        .map(|status| json!({"name": status["name"]}))
        .collect();
    json!({"metadata": {"name": "p"}, "spec": {"containers": containers},
        "status": {"phase": phase, "containerStatuses": statuses}})
}

fn with(mut pod: Value, path: &str, value: Value) -> Value {
    let (outer, field) = path.split_once('.').unwrap();
    pod[outer][field] = value;
    pod
}

/// A pod with one container, and init containers with the statuses given.
fn starting(init: &[Value]) -> Value {
    let specs: Vec<Value> = (0..init.len())
        .map(|n| json!({"name": format!("i{n}")}))
        .collect();
    let named = |(n, status): (usize, &Value)| {
        let mut status = status.clone();
        status["name"] = format!("i{n}").into();
        status
    };
    let statuses: Vec<Value> = init.iter().enumerate().map(named).collect();
    let pod = pod("Pending", &[waiting("PodInitializing")]);
    let pod = with(pod, "spec.initContainers", specs.into());
    with(pod, "status.initContainerStatuses", statuses.into())
}

fn sidecar_of(pod: Value, started: bool) -> Value {
    let status = json!([{"name": "s", "ready": true, "started": started, "restartCount": 2,
        "state": {"running": {}}}]);
    let spec = json!([{"name": "s", "restartPolicy": "Always"}]);
    with(
        with(pod, "spec.initContainers", spec),
        "status.initContainerStatuses",
        status,
    )
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn a_pod_says_how_it_is() {
    let deleted = |pod| {
        with(
            pod,
            "metadata.deletionTimestamp",
            json!("2026-11-22T17:40:30Z"),
        )
    };
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let gated = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]);
    let done = || terminated("Completed", 0);
    let cases = [
        ("nothing known", pod("Pending", &[]), "0/0 | Pending | 0"),
        (
            "running",
            pod("Running", &[running(0)]),
            "1/1 | Running | 0",
        ),
        (
            "one of two",
            pod("Running", &[running(0), waiting("")]),
            "1/2 | Running | 0",
        ),
        (
            "creating",
            pod("Pending", &[waiting("ContainerCreating")]),
            "0/1 | ContainerCreating | 0",
        ),
        (
            "no image",
            pod("Pending", &[waiting("ImagePullBackOff")]),
            "0/1 | ImagePullBackOff | 0",
        ),
        (
            "crashing",
            pod("Running", &[crashed(2)]),
            "0/1 | CrashLoopBackOff | 2 (4m ago)",
        ),
        (
            "restarted, time unknown",
            pod("Running", &[running(3)]),
            "1/1 | Running | 3",
        ),
        (
            "completed",
            pod("Succeeded", &[done()]),
            "0/1 | Completed | 0",
        ),
        (
            "failed",
            pod("Failed", &[terminated("Error", 1)]),
            "0/1 | Error | 0",
        ),
        (
            "exit without reason",
            pod("Failed", &[terminated("", 3)]),
            "0/1 | ExitCode:3 | 0",
        ),
        (
            "evicted",
            with(pod("Failed", &[]), "status.reason", json!("Evicted")),
            "0/0 | Evicted | 0",
        ),
        (
            "one done, one running, ready",
            with(
                pod("Running", &[done(), running(0)]),
                "status.conditions",
                ready,
            ),
            "1/2 | Running | 0",
        ),
        (
            "one done, one running",
            pod("Running", &[done(), running(0)]),
            "1/2 | NotReady | 0",
        ),
        (
            "terminating",
            deleted(pod("Running", &[running(0)])),
            "1/1 | Terminating | 0",
        ),
        (
            "deleted after its end",
            deleted(pod("Succeeded", &[done()])),
            "0/1 | Completed | 0",
        ),
        (
            "lost with its node",
            deleted(with(
                pod("Running", &[running(0)]),
                "status.reason",
                json!("NodeLost"),
            )),
            "1/1 | Unknown | 0",
        ),
        (
            "gated",
            with(pod("Pending", &[]), "status.conditions", gated),
            "0/0 | SchedulingGated | 0",
        ),
        (
            "first init running",
            starting(&[running(0), waiting("")]),
            "0/1 | Init:0/2 | 0",
        ),
        (
            "second init running",
            starting(&[done(), running(0)]),
            "0/1 | Init:1/2 | 0",
        ),
        (
            "init failed",
            starting(&[terminated("Error", 1)]),
            "0/1 | Init:Error | 0",
        ),
        (
            "init failed silently",
            starting(&[terminated("", 2)]),
            "0/1 | Init:ExitCode:2 | 0",
        ),
        (
            "init crashing",
            starting(&[crashed(1)]),
            "0/1 | Init:CrashLoopBackOff | 1 (4m ago)",
        ),
        (
            "init done",
            starting(&[done()]),
            "0/1 | PodInitializing | 0",
        ),
        (
            "with a sidecar",
            sidecar_of(pod("Running", &[running(0)]), true),
            "2/2 | Running | 2",
        ),
        (
            "its sidecar is starting",
            sidecar_of(pod("Pending", &[waiting("PodInitializing")]), false),
            "0/2 | Init:0/1 | 2",
        ),
    ];
    for (name, pod, expected) in cases {
        assert_eq!(pod_row(&pod), expected, "{name}");
    }
}

#[test]
fn every_row_has_a_cell_for_every_column() {
    for kind in Kind::all() {
        let cells = cells(kind, &json!({"metadata": {"name": "x"}}), now());
        assert_eq!(cells.len(), columns(kind).len(), "{kind}");
    }
}

#[test]
fn columns_are_those_of_kubectl() {
    let names = |kind| {
        let columns = columns(kind).iter().map(|(name, _, show)| match show {
            Show::Always => (*name).to_owned(),
            Show::Wide => format!("{name}*"),
        });
        columns.collect::<Vec<_>>().join(", ")
    };
    let cases = [
        (Kind::Namespace, "Name, Status, Age"),
        (
            Kind::Node,
            "Name, Status, Roles, Age, Version, Internal-IP*, External-IP*, OS-Image*, \
             Kernel-Version*, Container-Runtime*",
        ),
        (
            Kind::Pod,
            "Name, Ready, Status, Restarts, Age, IP*, Node*, Nominated Node*, Readiness Gates*",
        ),
        (Kind::ConfigMap, "Name, Data, Age"),
        (Kind::Secret, "Name, Type, Data, Age"),
        (
            Kind::Event,
            "Last Seen, Type, Reason, Object, Subobject*, Source*, Message, First Seen*, Count*, \
             Name*",
        ),
        (Kind::ServiceAccount, "Name, Secrets, Age"),
        (
            Kind::Deployment,
            "Name, Ready, Up-to-date, Available, Age, Containers*, Images*, Selector*",
        ),
        (
            Kind::ReplicaSet,
            "Name, Desired, Current, Ready, Age, Containers*, Images*, Selector*",
        ),
        (Kind::Lease, "Name, Holder, Age"),
    ];
    for (kind, expected) in cases {
        assert_eq!(names(kind), expected);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn other_kinds_print_as_recorded() {
    let template = json!({"spec": {"containers": [
        {"name": "c", "image": "k8speer/bb:local"}, {"name": "d", "image": "e"}]}});
    let selector = json!({"matchLabels": {"app": "web"}});
    let cases = [
        (
            Kind::Deployment,
            json!({"metadata": {"name": "web", "creationTimestamp": "2026-11-22T17:39:58Z"},
                "spec": {"replicas": 2, "selector": selector, "template": template},
                "status": {"readyReplicas": 2, "updatedReplicas": 2, "availableReplicas": 2}}),
            json!([
                "web",
                "2/2",
                2,
                2,
                "2s",
                "c,d",
                "k8speer/bb:local,e",
                "app=web"
            ]),
        ),
        (
            Kind::ReplicaSet,
            json!({"metadata": {"name": "web-1", "creationTimestamp": "2026-11-22T17:30:00Z"},
                "spec": {"replicas": 3, "selector": selector, "template": template},
                "status": {"replicas": 2, "readyReplicas": 1}}),
            json!([
                "web-1",
                3,
                2,
                1,
                "10m",
                "c,d",
                "k8speer/bb:local,e",
                "app=web"
            ]),
        ),
        (
            Kind::Node,
            json!({"metadata": {"name": "n", "labels": {"node-role.kubernetes.io/worker": "",
                    "node-role.kubernetes.io/control-plane": ""}},
                "spec": {"unschedulable": true},
                "status": {"conditions": [{"type": "Ready", "status": "True"}],
                    "addresses": [{"type": "InternalIP", "address": "192.0.2.2"}],
                    "nodeInfo": {"kubeletVersion": "v1.33.0", "osImage": "Debian",
                        "kernelVersion": "6.18", "containerRuntimeVersion": "docker://20.10"}}}),
            json!([
                "n",
                "Ready,SchedulingDisabled",
                "control-plane,worker",
                "<unknown>",
                "v1.33.0",
                "192.0.2.2",
                "<none>",
                "Debian",
                "6.18",
                "docker://20.10"
            ]),
        ),
        (
            Kind::Event,
            json!({"metadata": {"name": "localhost.18"}, "type": "Normal", "reason": "Starting",
                "involvedObject": {"kind": "Node", "name": "localhost"}, "message": "Starting. \n",
                "source": {"component": "kubelet", "host": "localhost"}, "count": 4,
                "firstTimestamp": "2026-11-22T17:32:26Z", "lastTimestamp": "2026-11-22T17:39:00Z"}),
            json!([
                "60s",
                "Normal",
                "Starting",
                "node/localhost",
                "",
                "kubelet, localhost",
                "Starting.",
                "7m34s",
                4,
                "localhost.18"
            ]),
        ),
        (
            Kind::Event,
            json!({"metadata": {"name": "e"}, "eventTime": "2026-11-22T17:39:00.000000Z",
                "reportingComponent": "scheduler", "involvedObject": {"kind": "Pod"}}),
            json!(["60s", "", "", "pod", "", "scheduler", "", "60s", 1, "e"]),
        ),
        (
            Kind::Secret,
            json!({"metadata": {"name": "s"}, "type": "Opaque", "data": {"a": "", "b": ""}}),
            json!(["s", "Opaque", 2, "<unknown>"]),
        ),
    ];
    for (kind, object, expected) in cases {
        assert_eq!(json!(cells(kind, &object, now())), expected, "{kind}");
    }
}

/// The cells between a row's NAME and its AGE, and those behind.
fn row(kind: Kind, object: &Value) -> String {
    let cells = cells(kind, object, now());
    let texts = cells.iter().skip(1).map(|cell| cell.as_str().unwrap());
    let texts = texts.filter(|text| *text != "<unknown>");
    texts.collect::<Vec<_>>().join(" | ")
}

#[test]
fn a_service_says_where_it_is_reached() {
    let service = |spec: Value, ingress: Value| {
        json!({"metadata": {"name": "cart"}, "spec": spec,
        "status": {"loadBalancer": {"ingress": ingress}}})
    };
    let cases = [
        (
            "inside",
            json!({"type": "ClusterIP", "clusterIP": "10.43.0.9", "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}], "selector": {"b": "2", "a": "1"}}),
            json!([]),
            "ClusterIP | 10.43.0.9 | <none> | 80/TCP,53/UDP | a=1,b=2",
        ),
        (
            "headless",
            json!({"type": "ClusterIP", "clusterIP": "None"}),
            json!([]),
            "ClusterIP | None | <none> | <none> | <none>",
        ),
        (
            "at the nodes",
            json!({"type": "NodePort", "clusterIP": "10.43.0.9", "externalIPs": ["192.0.2.1"], "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]}),
            json!([]),
            "NodePort | 10.43.0.9 | 192.0.2.1 | 80:30080/TCP | <none>",
        ),
        (
            "not balanced yet",
            json!({"type": "LoadBalancer"}),
            json!([]),
            "LoadBalancer | <none> | <pending> | <none> | <none>",
        ),
        (
            "balanced",
            json!({"type": "LoadBalancer"}),
            json!([{"ip": "192.0.2.9"}, {"hostname": "lb.example"}]),
            "LoadBalancer | <none> | 192.0.2.9,lb.example | <none> | <none>",
        ),
        (
            "another name",
            json!({"type": "ExternalName", "externalName": "db.example"}),
            json!([]),
            "ExternalName | <none> | db.example | <none> | <none>",
        ),
    ];
    for (name, spec, ingress, expected) in cases {
        assert_eq!(
            row(Kind::Service, &service(spec, ingress)),
            expected,
            "{name}"
        );
    }
}

#[test]
fn endpoints_are_named_as_far_as_there_is_room() {
    let ips = |count: usize| -> Vec<Value> {
        (1..=count)
            .map(|n| json!({"ip": format!("10.42.0.{n}")}))
            .collect()
    };
    let mirror =
        |count, ports: Value| json!({"subsets": [{"addresses": ips(count), "ports": ports}]});
    let slice = |count: usize, ports: Value| {
        let all: Vec<Value> = (1..=count)
            .map(|n| json!({"addresses": [format!("10.42.0.{n}")]}))
            .collect();
        json!({"addressType": "IPv4", "endpoints": all, "ports": ports})
    };
    let web = || json!([{"port": 80, "name": "web"}]);
    let cases = [
        (Kind::Endpoints, json!({}), "<none>"),
        (
            Kind::Endpoints,
            mirror(2, web()),
            "10.42.0.1:80,10.42.0.2:80",
        ),
        (
            Kind::Endpoints,
            mirror(5, web()),
            "10.42.0.1:80,10.42.0.2:80,10.42.0.3:80 + 2 more...",
        ),
        (Kind::Endpoints, mirror(1, json!([])), "10.42.0.1"),
        (
            Kind::EndpointSlice,
            slice(0, json!([])),
            "IPv4 | <unset> | <unset>",
        ),
        (
            Kind::EndpointSlice,
            slice(4, web()),
            "IPv4 | 80 | 10.42.0.1,10.42.0.2,10.42.0.3 + 1 more...",
        ),
        (
            Kind::EndpointSlice,
            slice(1, json!([{"name": "any"}, {"name": ""}])),
            "IPv4 | any,* | 10.42.0.1",
        ),
    ];
    for (kind, object, expected) in cases {
        assert_eq!(row(kind, &object), expected);
    }
}

#[test]
fn ways_in_and_policies_say_what_they_are_about() {
    let hosts =
        |hosts: &[&str]| -> Value { hosts.iter().map(|host| json!({"host": host})).collect() };
    let cases = [
        (
            Kind::Ingress,
            json!({"spec": {"rules": hosts(&[])}}),
            "<none> | * |  | 80",
        ),
        (
            Kind::Ingress,
            json!({"spec": {"ingressClassName": "skiff", "rules": hosts(&["a", "b", "c", "d"]), "tls": [{}]}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}]}}}),
            "skiff | a,b,c + 1 more... | 192.0.2.2 | 80, 443",
        ),
        (
            Kind::IngressClass,
            json!({"spec": {"controller": "skiff.io/gateway"}}),
            "skiff.io/gateway | <none>",
        ),
        (
            Kind::IngressClass,
            json!({"spec": {"controller": "a.io/b", "parameters": {"kind": "Conf", "apiGroup": "a.io", "name": "c"}}}),
            "a.io/b | Conf.a.io/c",
        ),
        (
            Kind::NetworkPolicy,
            json!({"spec": {"podSelector": {}}}),
            "<none>",
        ),
        (
            Kind::NetworkPolicy,
            json!({"spec": {"podSelector": {"matchLabels": {"app": "cart"}}}}),
            "app=cart",
        ),
    ];
    for (kind, object, expected) in cases {
        assert_eq!(row(kind, &object), expected);
    }
}
