//! The program against a server in this process that answers from a table: what is asked, what is
//! printed, how it ends.

#[cfg(test)]
mod fake;

use std::process::{Command, Stdio};

use fake::{Fake, shown, skiff, skiff_with};
use serde_json::{Value, json};
use snapbox::{assert_data_eq, str};

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: 'web:1'}]}
";

const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";

fn status(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": reason, "message": message, "code": code});
    (code, status)
}

fn deployment(status: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "generation": 1, "uid": "d",
            "resourceVersion": "7"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}}, "status": status})
}

fn pods_table(rows: &[&str]) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|name| {
            json!({"cells": [name, "1/1", "Running", "n1"],
            "object": {"metadata": {"name": name, "namespace": "default"}}})
        })
        .collect();
    json!({"kind": "Table", "metadata": {"resourceVersion": "9"}, "columnDefinitions": [
        {"name": "Name", "format": "name", "priority": 0}, {"name": "Ready", "priority": 0},
        {"name": "Status", "priority": 0}, {"name": "Node", "priority": 1}], "rows": rows})
}

#[test]
fn completion_scripts_are_what_their_shells_read() {
    let script = |shell: &str| {
        let mut skiff = Command::new(env!("CARGO_BIN_EXE_skiff"));
        let output = skiff.args(["completion", shell]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(script("zsh").starts_with("#compdef skiff"));
    assert!(script("fish").contains("complete -c skiff"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("skiff.bash");
    std::fs::write(&file, script("bash")).unwrap();
    for (what, args) in [
        ("it is read", vec!["-n"]),
        (
            "it completes `skiff`",
            vec!["-c", ". \"$0\" && complete -p skiff"],
        ),
    ] {
        let output = Command::new("bash").args(args).arg(&file).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && error.is_empty(),
            "{what}: {error}"
        );
    }
}

#[test]
fn apply_creates_then_finds_nothing_to_do_then_changes() {
    let fake = Fake::start(|ask| match ask.method {
        "GET" => status(404, "NotFound", "deployments.apps \"web\" not found"),
        _ => (201, ask.json()),
    });
    let output = skiff_with(&fake, &["apply", "-f", "-"], DEPLOYMENT);
    assert_data_eq!(
        shown(&output),
        str![[r#"
deployment.apps/web created

"#]]
    );
    let created = fake.asked().pop().unwrap().json();

    let stored = created.clone();
    let fake = Fake::start(move |ask| match ask.method {
        "GET" => (200, stored.clone()),
        _ => (200, json!({"metadata": {"resourceVersion": "8"}})),
    });
    let output = skiff_with(&fake, &["apply", "-f", "-"], DEPLOYMENT);
    assert_data_eq!(
        shown(&output),
        str![[r#"
deployment.apps/web unchanged

"#]]
    );
    assert_eq!(fake.lines(), [format!("GET {WEB}")], "no change, no write");

    let output = skiff_with(
        &fake,
        &["apply", "-f", "-"],
        &DEPLOYMENT.replace("web:1", "web:2"),
    );
    assert_data_eq!(
        shown(&output),
        str![[r#"
deployment.apps/web configured

"#]]
    );
    let patch = fake.asked().pop().unwrap();
    assert_eq!(patch.content_type, "application/merge-patch+json");
    let containers = patch.json()["spec"]["template"]["spec"]["containers"].clone();
    assert_eq!(containers, json!([{"name": "c", "image": "web:2"}]));
}

#[test]
fn apply_says_where_a_manifest_is_wrong() {
    let fake = Fake::start(|_| status(422, "Invalid", "Deployment \"web\" is invalid: spec: no"));
    let twice = DEPLOYMENT.replace("  replicas: 2\n", "  replicas: 2\n  replicas: 3\n");
    let cases = [twice.as_str(), "kind: Pod\n", DEPLOYMENT];
    let outputs = cases.map(|input| shown(&skiff_with(&fake, &["apply", "-f", "-"], input)));
    assert_data_eq!(
        outputs.concat(),
        str![[r#"
! error: -:6:3: spec: key "replicas" stands twice in one mapping
? 1
! error: -:1: apiVersion is missing; every object needs apiVersion and kind
? 1
! error: -:1: Error from server (Invalid): Deployment "web" is invalid: spec: no
? 1

"#]]
    );
}

#[test]
fn apply_waits_and_names_the_pod_in_the_way() {
    let pod = json!({"metadata": {"name": "web-1", "ownerReferences": [{"controller": true, "uid": "r"}]},
        "status": {"phase": "Pending", "containerStatuses": [{"name": "c", "state": {"waiting":
            {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"web:1\""}}}]}});
    let set = json!({"metadata": {"name": "web-x", "uid": "r",
        "ownerReferences": [{"controller": true, "uid": "d"}]}});
    let answer = move |progressing: &str| {
        let reason = progressing.to_owned();
        let (pod, set) = (pod.clone(), set.clone());
        move |ask: &fake::Asked| {
            let list = |items: &Value| (200, json!({"metadata": {}, "items": [items]}));
            if ask.target.contains("/pods") {
                return list(&pod);
            }
            if ask.target.contains("/replicasets") {
                return list(&set);
            }
            (
                200,
                deployment(
                    json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2,
                "conditions": [{"type": "Progressing", "reason": reason}]}),
                ),
            )
        }
    };
    let args = ["apply", "-f", "-", "--wait", "--timeout", "0s"];
    let slow = skiff_with(&Fake::start(answer("")), &args, DEPLOYMENT);
    let failed = skiff_with(
        &Fake::start(answer("ProgressDeadlineExceeded")),
        &args,
        DEPLOYMENT,
    );
    assert_data_eq!(
        shown(&slow) + &shown(&failed),
        str![[r#"
deployment.apps/web unchanged
! Warning: resource deployment.apps/web is missing the kubectl.kubernetes.io/last-applied-configuration annotation which apply needs; apply sets it
! error: deployment.apps/web is not ready after 0s: Waiting for deployment "web" rollout to finish: 0 of 2 updated replicas are available...; pod "web-1": container "c": ImagePullBackOff: Back-off pulling image "web:1"
? 3
deployment.apps/web unchanged
! Warning: resource deployment.apps/web is missing the kubectl.kubernetes.io/last-applied-configuration annotation which apply needs; apply sets it
! error: deployment "web" exceeded its progress deadline; pod "web-1": container "c": ImagePullBackOff: Back-off pulling image "web:1"
? 2

"#]]
    );
}

#[test]
fn get_prints_tables_and_says_when_there_is_nothing() {
    let fake = Fake::start(|ask| {
        if ask.target.contains("/pods/gone") {
            status(404, "NotFound", "pods \"gone\" not found")
        } else if ask.target.contains("/pods") {
            (200, pods_table(&["web-1", "web-22"]))
        } else {
            (200, pods_table(&[]))
        }
    });
    let runs: [&[&str]; 6] = [
        &["get", "pods"],
        &["get", "po", "-o", "wide", "-A", "-l", "app in (a,b)"],
        &["get", "cm"],
        &["get", "nodes"],
        &["get", "all"],
        &["get", "pod/gone", "pod/web-1"],
    ];
    let outputs: Vec<String> = runs
        .iter()
        .map(|args| format!("$ {}\n{}", args.join(" "), shown(&skiff(&fake, args))))
        .collect();
    assert_data_eq!(
        outputs.concat(),
        str![[r#"
$ get pods
NAME     READY   STATUS
web-1    1/1     Running
web-22   1/1     Running
$ get po -o wide -A -l app in (a,b)
NAMESPACE   NAME     READY   STATUS    NODE
default     web-1    1/1     Running   n1
default     web-22   1/1     Running   n1
$ get cm
! No resources found in default namespace.
$ get nodes
! No resources found
$ get all
NAME         READY   STATUS
pod/web-1    1/1     Running
pod/web-22   1/1     Running
$ get pod/gone pod/web-1
NAME     READY   STATUS
web-1    1/1     Running
web-22   1/1     Running
! Error from server (NotFound): pods "gone" not found
? 1

"#]]
    );
    let asked = fake.lines();
    assert!(asked[1].contains("/api/v1/pods?limit=500&labelSelector=app%20in%20%28a%2Cb%29"));
}

#[test]
fn get_prints_objects_in_every_form() {
    let fake = Fake::start(|_| {
        (
            200,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"on": "yes"},
            "metadata": {"name": "c", "managedFields": [1]}}),
        )
    });
    let outputs = [
        "json",
        "yaml",
        "name",
        "jsonpath={.data.on}{\"\\n\"}",
        "custom-columns=a",
    ]
    .map(|form| shown(&skiff(&fake, &["get", "cm", "c", "-o", form])));
    assert_data_eq!(
        outputs.concat(),
        str![[r#"
{
    "apiVersion": "v1",
    "data": {
        "on": "yes"
    },
    "kind": "ConfigMap",
    "metadata": {
        "name": "c"
    }
}
apiVersion: v1
data:
  "on": "yes"
kind: ConfigMap
metadata:
  name: c
configmap/c
yes
! error: invalid value 'custom-columns=a' for '--output <FORMAT>': no output format "custom-columns=a"; use json, yaml, wide, name or jsonpath=TEMPLATE; see --help
? 1

"#]]
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one transcript of many short runs")]
fn the_small_verbs_speak_like_kubectl() {
    let fake = Fake::start(|ask| match (ask.method, ask.target.as_str()) {
        ("GET", target) if target.contains("/nodes/n1") => {
            (200, json!({"metadata": {"name": "n1"}, "spec": {}}))
        }
        ("GET", target) if target.contains("/pods/p") => {
            status(404, "NotFound", "pods \"p\" not found")
        }
        ("GET", _) => (200, deployment(json!({}))),
        ("DELETE", target) if target.contains("gone") => {
            status(404, "NotFound", "pods \"gone\" not found")
        }
        _ => (200, json!({"kind": "Status", "status": "Success"})),
    });
    let runs: [&[&str]; 12] = [
        &["scale", "deploy/web", "--replicas=5"],
        &["rollout", "restart", "deployment", "web"],
        &["rollout", "resume", "deploy/web"],
        &["rollout", "pause", "deploy/web"],
        &["delete", "pod", "p"],
        &["delete", "pod", "gone"],
        &["delete", "pods"],
        &["cordon", "n1"],
        &["uncordon", "n1"],
        &["label", "deploy", "web", "x=y"],
        &["annotate", "deploy/web", "a-"],
        &["wait", "deploy/web", "--for=jsonpath={.spec.replicas}=2"],
    ];
    let outputs: Vec<String> = runs
        .iter()
        .map(|args| format!("$ {}\n{}", args.join(" "), shown(&skiff(&fake, args))))
        .collect();
    assert_data_eq!(
        outputs.concat(),
        str![[r#"
$ scale deploy/web --replicas=5
deployment.apps/web scaled
$ rollout restart deployment web
deployment.apps/web restarted
$ rollout resume deploy/web
! error: deployments.apps "web" is not paused
? 1
$ rollout pause deploy/web
deployment.apps/web paused
$ delete pod p
pod "p" deleted
$ delete pod gone
! Error from server (NotFound): pods "gone" not found
? 1
$ delete pods
! error: resource(s) were provided, but no name was specified; name them, or use --selector or --all
? 1
$ cordon n1
node/n1 cordoned
$ uncordon n1
node/n1 already uncordoned
$ label deploy web x=y
deployment.apps/web labeled
$ annotate deploy/web a-
deployment.apps/web annotated
$ wait deploy/web --for=jsonpath={.spec.replicas}=2
deployment.apps/web condition met

"#]]
    );
    let lines = fake.lines();
    assert!(
        lines.contains(&format!("PATCH {WEB}/scale?fieldManager=kubectl")),
        "{lines:?}"
    );
}

#[test]
fn without_a_cluster_it_says_what_to_do() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_skiff"))
            .args(args)
            .env_clear()
            .env("HOME", "/nonexistent")
            .output()
            .unwrap();
        shown(&output)
    };
    let outputs = [
        run(&["get", "pods"]),
        run(&["get", "pods", "--kubeconfig", "/nonexistent/config"]),
        run(&["get", "pods", "--server", "http://127.0.0.1:1"]),
        run(&["version", "--client"]),
    ];
    assert_data_eq!(
        outputs.concat(),
        str![[r#"
! error: no cluster is configured; start one with `skiff dev`, or name a kubeconfig with --kubeconfig
? 1
! error: cannot read /nonexistent/config: No such file or directory (os error 2)
? 1
! error: cannot reach http://127.0.0.1:1; check the address and that the server runs: Connection refused (os error 111)
? 1
Client Version: v0.1.0

"#]]
    );
}

#[test]
fn a_reader_who_leaves_ends_it_quietly() {
    let fake = Fake::start(|_| (200, pods_table(&["web-1"; 20_000])));
    let mut child = Command::new(env!("CARGO_BIN_EXE_skiff"))
        .args(["get", "pods", "--server", &fake.url()])
        .env_clear()
        .env("HOME", "/nonexistent")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(shown(&output), "");
}
