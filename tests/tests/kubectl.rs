//! Real kubectl, every version that the machine has, against a `skiff dev`. Each version works in a
//! namespace of its own.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use skiff_tests::cluster::{Cluster, PODS_MAX, items, text};
use skiff_tests::given::{self, BUSYBOX, FOREVER, NO_IMAGE};
use skiff_tests::kubectl::Kubectl;
use skiff_tests::process::Process;
use skiff_tests::wait;

/// From this version on, kubectl sends the bodies of its `create TYPE` verbs as protobuf only.
const PROTOBUF_BODIES_SINCE: u32 = 32;
/// From this version on, `kubectl events` and `wait --for=jsonpath` exist.
const EVENTS_SINCE: u32 = 26;

#[test]
fn kubectl_reads() {
    for (cluster, kubectl, ns) in &fresh() {
        let file = cluster.file(
            "web.json",
            &given::deployment("web", 2, "echo ahoy; exec sleep 86400").to_string(),
        );
        kubectl.run(&format!("apply -n {ns} -f {file}")).ok();
        kubectl
            .run(&format!(
                "wait -n {ns} --for=condition=Available deploy/web --timeout=60s"
            ))
            .ok();

        let table = kubectl.run(&format!("get all -n {ns}")).ok();
        for row in [
            "pod/web-",
            "deployment.apps/web   2/2",
            "replicaset.apps/web-",
        ] {
            assert!(table.contains(row), "{row}: {table}");
        }
        let wide = kubectl.run(&format!("get pods -n {ns} -o wide")).ok();
        assert!(wide.contains("NODE") && wide.contains("IP"), "{wide}");
        let names = kubectl.run(&format!("get pods -n {ns} -o name")).ok();
        assert_eq!(names.lines().count(), 2, "{names}");
        let pod = names.lines().next().unwrap_or_default().to_owned();
        let json = kubectl.run(&format!("get {pod} -n {ns} -o json")).ok();
        let parsed: Value = serde_json::from_str(&json).expect("kubectl prints JSON");
        assert_eq!(format!("pod/{}", text(&parsed["metadata"]["name"])), pod);
        let yaml = kubectl.run(&format!("get deploy web -n {ns} -o yaml")).ok();
        assert!(yaml.contains("kind: Deployment"), "{yaml}");
        let some = kubectl.run(&format!(
            "get pods -n {ns} -l app=web,app!=x --field-selector status.phase=Running -o name"
        ));
        assert_eq!(some.ok().lines().count(), 2);
        let none = kubectl
            .run(&format!("get pods -n {ns} -l app=other -o name"))
            .ok();
        assert_eq!(none, "");
        let everywhere = kubectl.run("get pods -A --sort-by=.metadata.name").ok();
        assert!(everywhere.contains(ns.as_str()), "{everywhere}");

        for kind in [
            "namespaces",
            "nodes",
            "configmaps",
            "secrets",
            "events",
            "leases",
            "serviceaccounts",
        ] {
            kubectl.run(&format!("get {kind} -A")).ok();
        }
        let missing = kubectl.run(&format!("get pod ghost -n {ns}")).refused();
        assert!(missing.contains("pods \"ghost\" not found"), "{missing}");

        let described = kubectl.run(&format!("describe {pod} -n {ns}")).ok();
        let squeezed = described.split_whitespace().collect::<Vec<_>>().join(" ");
        for words in ["Node: node-", "Status: Running", "Started container main"] {
            assert!(squeezed.contains(words), "{words}: {described}");
        }
        let described = kubectl.run(&format!("describe deploy web -n {ns}")).ok();
        assert!(
            described.contains("2 desired | 2 updated | 2 total | 2 available"),
            "{described}"
        );
        let described = kubectl.run("describe node").ok();
        assert!(described.contains("Allocated resources"), "{described}");

        assert_eq!(kubectl.run(&format!("logs {pod} -n {ns}")).ok(), "ahoy\n");
        assert_eq!(
            kubectl
                .run(&format!("logs deploy/web -n {ns} --tail=1"))
                .ok(),
            "ahoy\n"
        );
        let events = kubectl.run(&format!("get events -n {ns}")).ok();
        assert!(
            events.contains("Scheduled") && events.contains("Started"),
            "{events}"
        );
        if kubectl.minor >= EVENTS_SINCE {
            kubectl.run(&format!("events -n {ns}")).ok();
        }
        for line in ["version", "api-resources", "api-versions"] {
            kubectl.run(line).ok();
        }
    }
}

#[test]
fn kubectl_watches() {
    for (cluster, kubectl, ns) in &fresh() {
        let mut command = kubectl.command();
        command.args(["get", "pods", "-n", ns, "-w", "-o", "name"]);
        let watching = Process::start(&format!("watch-{ns}"), &mut command, cluster.folder());
        let file = cluster.file("pod.json", &given::pod("seen", FOREVER).to_string());
        kubectl.run(&format!("apply -n {ns} -f {file}")).ok();
        wait::until("the watch tells of the pod", PODS_MAX, || {
            let log = watching.log();
            if log.contains("pod/seen") {
                Ok(())
            } else {
                Err(log)
            }
        });
        let mut command = kubectl.command();
        command.args(["logs", "-n", ns, "-f", "talker"]);
        let talk = "i=0; while true; do echo word $i; i=$((i+1)); sleep 1; done";
        let file = cluster.file("talker.json", &given::pod("talker", talk).to_string());
        kubectl.run(&format!("apply -n {ns} -f {file}")).ok();
        kubectl
            .run(&format!(
                "wait -n {ns} --for=condition=Ready pod/talker --timeout=60s"
            ))
            .ok();
        let following = Process::start(&format!("logs-{ns}"), &mut command, cluster.folder());
        wait::until("new lines arrive while it talks", PODS_MAX, || {
            let log = following.log();
            if log.contains("word 3") {
                Ok(())
            } else {
                Err(log)
            }
        });
        let last_words = "echo farewell; exit 3";
        let file = cluster.file("dying.json", &given::pod("dying", last_words).to_string());
        kubectl.run(&format!("apply -n {ns} -f {file}")).ok();
        wait::until("the previous life's log is shown", PODS_MAX, || {
            let said = kubectl.run(&format!("logs -n {ns} -p dying"));
            if said.out == "farewell\n" {
                Ok(())
            } else {
                Err(said.err)
            }
        });
    }
}

#[test]
fn kubectl_writes() {
    for (cluster, kubectl, ns) in &fresh() {
        let map = given::config_map("colours", "sky", "blue");
        let file = cluster.file("map.json", &map.to_string());
        let apply = format!("apply -n {ns} -f {file}");
        assert!(
            kubectl
                .run(&apply)
                .ok()
                .contains("configmap/colours created")
        );
        assert!(
            kubectl
                .run(&apply)
                .ok()
                .contains("configmap/colours unchanged")
        );
        let file = cluster.file(
            "map.json",
            &given::config_map("colours", "sea", "green").to_string(),
        );
        let differs = kubectl.run(&format!("diff -n {ns} -f {file}"));
        assert_eq!(differs.code, 1, "{}{}", differs.out, differs.err);
        assert!(
            differs.out.contains("+  sea: green") && differs.out.contains("-  sky: blue"),
            "{}",
            differs.out
        );
        assert!(
            kubectl
                .run(&apply)
                .ok()
                .contains("configmap/colours configured")
        );
        assert_eq!(kubectl.run(&format!("diff -n {ns} -f {file}")).code, 0);

        kubectl
            .run(&format!("label -n {ns} cm/colours tier=front"))
            .ok();
        kubectl
            .run(&format!("annotate -n {ns} cm/colours note=old"))
            .ok();
        kubectl
            .args(&[
                "patch",
                "-n",
                ns,
                "cm/colours",
                "--type=merge",
                "-p",
                r#"{"data":{"a":"1"}}"#,
            ])
            .ok();
        kubectl
            .args(&[
                "patch",
                "-n",
                ns,
                "cm/colours",
                "--type=strategic",
                "-p",
                r#"{"data":{"b":"2"}}"#,
            ])
            .ok();
        let json =
            r#"[{"op":"add","path":"/data/c","value":"3"},{"op":"remove","path":"/data/a"}]"#;
        kubectl
            .args(&["patch", "-n", ns, "cm/colours", "--type=json", "-p", json])
            .ok();
        let mut edit = kubectl.command();
        edit.args(["edit", "-n", ns, "cm/colours"])
            .env("KUBE_EDITOR", "sed -i s/green/grey/");
        skiff_tests::skiff::run(edit.stdin(Stdio::null())).ok();
        let now: Value =
            serde_json::from_str(&kubectl.run(&format!("get -n {ns} cm/colours -o json")).ok())
                .expect("kubectl prints JSON");
        assert_eq!(
            now["data"],
            serde_json::json!({"sea": "grey", "b": "2", "c": "3"})
        );
        assert_eq!(now["metadata"]["labels"]["tier"], "front");
        assert_eq!(now["metadata"]["annotations"]["note"], "old");

        kubectl
            .run(&format!(
                "run -n {ns} once --image {BUSYBOX} --restart=Never -- /bin/echo done"
            ))
            .ok();
        wait::until("what was run has ended", PODS_MAX, || {
            let phase = kubectl
                .run(&format!(
                    "get -n {ns} pod/once -o jsonpath={{.status.phase}}"
                ))
                .ok();
            if phase == "Succeeded" {
                Ok(())
            } else {
                Err(phase)
            }
        });
        assert_eq!(kubectl.run(&format!("logs -n {ns} once")).ok(), "done\n");
        let said = kubectl
            .run(&format!("delete -n {ns} cm/colours pod/once"))
            .ok();
        assert_eq!(said.lines().count(), 2, "{said}");

        let bad = kubectl.piped(
            &format!("apply -n {ns} -f -"),
            "apiVersion: example.com/v1\nkind: Boat\nmetadata: {name: a}\n",
        );
        assert!(bad.refused().contains("no matches for kind \"Boat\""));
        if kubectl.minor < PROTOBUF_BODIES_SINCE {
            creates(cluster, kubectl, ns);
        }
    }
}

/// The `create TYPE` verbs.
fn creates(cluster: &Cluster, kubectl: &Kubectl, ns: &str) {
    for line in [
        format!("create namespace {ns}-more"),
        format!("create configmap -n {ns} made --from-literal=key=value"),
        format!("create secret generic -n {ns} made --from-literal=key=value"),
        format!("create deployment -n {ns} made --image={BUSYBOX}"),
    ] {
        let said = kubectl.run(&line).ok();
        assert!(said.contains("created"), "{line}: {said}");
    }
    cluster.wait_for_pods(ns, "app=made", 1);
    let value = kubectl
        .run(&format!(
            "get secret -n {ns} made -o jsonpath={{.data.key}}"
        ))
        .ok();
    assert_eq!(value, "dmFsdWU=");
    kubectl
        .run(&format!("delete namespace {ns}-more --timeout=60s"))
        .ok();
}

#[test]
fn kubectl_rolls_out_and_back() {
    for (cluster, kubectl, ns) in &fresh() {
        let mut deployment = given::deployment("web", 2, FOREVER);
        deployment["spec"]["progressDeadlineSeconds"] = serde_json::json!(5);
        let file = cluster.file("web.json", &deployment.to_string());
        kubectl.run(&format!("apply -n {ns} -f {file}")).ok();
        kubectl
            .run(&format!("rollout status -n {ns} deploy/web --timeout=60s"))
            .ok();
        kubectl
            .run(&format!("scale -n {ns} deploy/web --replicas=3"))
            .ok();
        cluster.wait_for_pods(ns, "app=web", 3);

        kubectl
            .run(&format!("rollout restart -n {ns} deploy/web"))
            .ok();
        let said = kubectl
            .run(&format!("rollout status -n {ns} deploy/web --timeout=60s"))
            .ok();
        assert!(said.contains("successfully rolled out"), "{said}");
        kubectl
            .run(&format!("set image -n {ns} deploy/web main={NO_IMAGE}"))
            .ok();
        let stalled = kubectl
            .run(&format!("rollout status -n {ns} deploy/web --timeout=60s"))
            .refused();
        assert!(
            stalled.contains("exceeded its progress deadline"),
            "{stalled}"
        );
        let history = kubectl
            .run(&format!("rollout history -n {ns} deploy/web"))
            .ok();
        assert_eq!(
            history.trim().lines().count(),
            5,
            "three revisions: {history}"
        );
        kubectl
            .run(&format!("rollout undo -n {ns} deploy/web"))
            .ok();
        kubectl
            .run(&format!("rollout status -n {ns} deploy/web --timeout=60s"))
            .ok();
        let pods = cluster.wait_for_pods(ns, "app=web", 3);
        assert!(
            pods.iter()
                .all(|pod| pod["spec"]["containers"][0]["image"] == BUSYBOX)
        );
    }
}

#[test]
fn kubectl_drains_a_node() {
    for (cluster, kubectl, ns) in &fresh() {
        let file = cluster.file(
            "web.json",
            &given::deployment("web", 3, FOREVER).to_string(),
        );
        kubectl.run(&format!("apply -n {ns} -f {file}")).ok();
        cluster.wait_for_pods(ns, "app=web", 3);
        let nodes = cluster.api().get("/api/v1/nodes");
        let node = items(&nodes)
            .map(|node| text(&node["metadata"]["name"]))
            .next()
            .expect("a node");
        kubectl.run(&format!("cordon {node}")).ok();
        kubectl
            .run(&format!("drain {node} --ignore-daemonsets --timeout=60s"))
            .ok();
        let pods = cluster.wait_for_pods(ns, "app=web", 3);
        assert!(
            pods.iter()
                .all(|pod| text(&pod["spec"]["nodeName"]) != node)
        );
        kubectl.run(&format!("uncordon {node}")).ok();
        let table = kubectl.run(&format!("get node {node}")).ok();
        assert!(!table.contains("SchedulingDisabled"), "{table}");
        kubectl
            .run(&format!("delete -n {ns} deploy/web --timeout=60s"))
            .ok();
        wait::until("its pods are gone", Duration::from_secs(30), || {
            let left = cluster.pods(ns, "app=web").len();
            if left == 0 {
                Ok(())
            } else {
                Err(format!("{left} are left"))
            }
        });
    }
}

/// A cluster, each kubectl, and a namespace for it.
fn fresh() -> Vec<(std::rc::Rc<Cluster>, Kubectl, String)> {
    let cluster = std::rc::Rc::new(Cluster::dev(3));
    cluster.engine.busybox_image(BUSYBOX);
    let kubectls = chosen(Kubectl::all(&cluster.kubeconfig()));
    kubectls
        .into_iter()
        .map(|kubectl| {
            let ns = format!("v{}", kubectl.minor);
            let namespace = serde_json::json!({"metadata": {"name": ns}});
            cluster.api().create("/api/v1/namespaces", &namespace);
            (std::rc::Rc::clone(&cluster), kubectl, ns)
        })
        .collect()
}

/// The oldest, the last one whose `create TYPE` verbs send JSON, and the newest.
fn chosen(all: Vec<Kubectl>) -> Vec<Kubectl> {
    let last_json = all
        .iter()
        .map(|one| one.minor)
        .filter(|minor| *minor < PROTOBUF_BODIES_SINCE)
        .max();
    let ends = [
        all.first().map(|one| one.minor),
        last_json,
        all.last().map(|one| one.minor),
    ];
    all.into_iter()
        .filter(|one| ends.contains(&Some(one.minor)))
        .collect()
}
