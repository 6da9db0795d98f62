//! Bad input: each is refused with the status, the reason and the words that Kubernetes' users know,
//! and changes nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use skiff_tests::api::{Api, Call, Identity};
use skiff_tests::cluster::{Cluster, items, text};
use skiff_tests::given::{self, FOREVER};
use skiff_tests::process::Process;
use skiff_tests::skiff::binary;
use skiff_tests::wait;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

#[test]
fn malformed_yaml_is_named_by_file_and_line() {
    let cluster = Cluster::server();
    let cases = [
        (
            "indent.yaml",
            "kind: ConfigMap\nmetadata:\n  name: a\n name: b\n",
            ":4",
        ),
        (
            "second.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\nkind: ]\n",
            ":5",
        ),
    ];
    for (name, text, line) in cases {
        let file = cluster.file(name, text);
        let said = cluster.skiff(&format!("apply -f {file}")).refused();
        assert!(said.contains(&format!("{name}{line}")), "{name}: {said}");
    }
    let list = cluster.api().get(CONFIG_MAPS);
    assert_eq!(
        items(&list)
            .filter(|map| map["metadata"]["name"] == "a")
            .count(),
        0
    );
}

#[test]
fn unknown_fields_are_errors_if_strict_and_warnings_otherwise() {
    let cluster = Cluster::server();
    let api = cluster.api();
    let mut pod = given::pod("typo", FOREVER);
    pod["spec"]["containers"][0]["imagePullPolice"] = json!("Never");
    let create = |validation: &str| {
        api.send(&Call::post(
            &format!("{PODS}?dryRun=All&fieldValidation={validation}"),
            &pod,
        ))
    };
    let strict = create("Strict");
    assert_eq!(strict.status, 400, "{}", strict.text());
    let words = "unknown field \"spec.containers[0].imagePullPolice\"";
    assert!(strict.message().contains(words), "{}", strict.message());
    let warn = create("Warn");
    assert_eq!(warn.status, 201, "{}", warn.text());
    let warning = warn
        .headers
        .get("warning")
        .map(|value| format!("{value:?}"))
        .unwrap_or_default();
    assert!(warning.contains("unknown field"), "{warning}");
    let ignore = create("Ignore");
    assert_eq!(
        (ignore.status, ignore.headers.get("warning")),
        (201, None),
        "{}",
        ignore.text()
    );
}

#[test]
fn objects_that_break_a_rule_are_refused_with_every_reason() {
    let cluster = Cluster::server();
    let api = cluster.api();
    let with = |object: Value, pointer: &str, value: Value| {
        let mut object = object;
        *object.pointer_mut(pointer).expect("a field of the object") = value;
        object
    };
    let web = || given::deployment("web", 1, FOREVER);
    let map = || given::config_map("map", "key", "value");
    let cases = [
        (
            "a text for a number",
            DEPLOYMENTS,
            with(web(), "/spec/replicas", json!("three")),
            400,
            "spec.replicas",
        ),
        (
            "a name with a capital",
            CONFIG_MAPS,
            with(map(), "/metadata/name", json!("Map")),
            422,
            "metadata.name: Invalid value: \"Map\"",
        ),
        (
            "no name",
            CONFIG_MAPS,
            with(map(), "/metadata", json!({})),
            422,
            "name or generateName is required",
        ),
        (
            "a label with a space",
            CONFIG_MAPS,
            with(
                map(),
                "/metadata",
                json!({"name": "map", "labels": {"a": "b c"}}),
            ),
            422,
            "metadata.labels: Invalid value: \"b c\"",
        ),
        (
            "less than no replicas",
            DEPLOYMENTS,
            with(web(), "/spec/replicas", json!(-1)),
            422,
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "a selector that misses its template",
            DEPLOYMENTS,
            with(web(), "/spec/selector/matchLabels", json!({"app": "other"})),
            422,
            "`selector` does not match template `labels`",
        ),
        (
            "a pod without containers",
            PODS,
            with(given::pod("p", FOREVER), "/spec/containers", json!([])),
            422,
            "spec.containers: Required value",
        ),
        (
            "another namespace in the body",
            CONFIG_MAPS,
            with(
                map(),
                "/metadata",
                json!({"name": "map", "namespace": "other"}),
            ),
            400,
            "the namespace of the provided object does not match",
        ),
        (
            "another kind",
            CONFIG_MAPS,
            with(map(), "/kind", json!("Secret")),
            400,
            "ConfigMap",
        ),
    ];
    for (case, path, object, status, words) in cases {
        let answer = api.send(&Call::post(path, &object));
        assert_eq!(answer.status, status, "{case}: {}", answer.text());
        assert_eq!(answer.json()["kind"], "Status", "{case}");
        assert!(
            answer.message().contains(words),
            "{case}: {}",
            answer.message()
        );
    }
    let both = json!({
        "kind": "Pod", "apiVersion": "v1", "metadata": {"name": "BAD"},
        "spec": {"containers": [{"name": "x"}]},
    });
    let causes = api.send(&Call::post(PODS, &both)).json()["details"]["causes"].clone();
    let fields: Vec<&str> = causes
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|cause| cause["field"].as_str())
        .collect();
    assert_eq!(
        fields,
        ["metadata.name", "spec.containers[0].image"],
        "all at once: {causes}"
    );
}

#[test]
fn what_is_not_there_or_is_there_already_is_said_so() {
    let cluster = Cluster::server();
    let api = cluster.api();
    let map = given::config_map("map", "key", "value");
    api.create(CONFIG_MAPS, &map);
    let cases = [
        (
            "a second one of that name",
            Call::post(CONFIG_MAPS, &map),
            409,
            "AlreadyExists",
        ),
        (
            "none of that name",
            Call::get(&format!("{CONFIG_MAPS}/other")),
            404,
            "NotFound",
        ),
        (
            "to delete none",
            Call::delete(&format!("{CONFIG_MAPS}/other")),
            404,
            "NotFound",
        ),
        (
            "no such kind",
            Call::get("/apis/apps/v1/namespaces/default/daemons"),
            404,
            "NotFound",
        ),
        (
            "no such group",
            Call::get("/apis/sail.example/v1/boats"),
            404,
            "NotFound",
        ),
        ("no such path", Call::get("/boats"), 404, "NotFound"),
        (
            "a namespace that is not there",
            Call::post("/api/v1/namespaces/nowhere/configmaps", &map),
            404,
            "NotFound",
        ),
        (
            "a verb that makes no sense",
            Call::with(Method::PUT, CONFIG_MAPS, "application/json", "{}"),
            405,
            "MethodNotAllowed",
        ),
        (
            "no JSON",
            Call::with(Method::POST, CONFIG_MAPS, "application/json", "{"),
            400,
            "BadRequest",
        ),
        (
            "a type that nobody reads",
            Call::with(Method::POST, CONFIG_MAPS, "text/html", "<p>"),
            415,
            "UnsupportedMediaType",
        ),
        (
            "a selector that is none",
            Call::get(&format!("{CONFIG_MAPS}?labelSelector=%3D%3D")),
            400,
            "BadRequest",
        ),
        (
            "a number that is none",
            Call::get(&format!("{CONFIG_MAPS}?limit=many")),
            400,
            "BadRequest",
        ),
    ];
    for (case, call, status, reason) in cases {
        let answer = api.send(&call);
        assert_eq!(answer.status, status, "{case}: {}", answer.text());
        assert_eq!(answer.json()["reason"], reason, "{case}: {}", answer.text());
        assert_eq!(answer.json()["kind"], "Status", "{case}");
    }
}

#[test]
fn a_stale_update_changes_nothing() {
    let cluster = Cluster::server();
    let api = cluster.api();
    let old = api.create(CONFIG_MAPS, &given::config_map("map", "key", "first"));
    let path = format!("{CONFIG_MAPS}/map");
    let mut newer = old.clone();
    newer["data"]["key"] = json!("second");
    assert_eq!(api.send(&Call::put(&path, &newer)).status, 200);
    let mut stale = old;
    stale["data"]["key"] = json!("third");
    let answer = api.send(&Call::put(&path, &stale));
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert_eq!(answer.json()["reason"], "Conflict");
    assert!(
        answer.message().contains("the object has been modified"),
        "{}",
        answer.message()
    );
    assert_eq!(api.get(&path)["data"]["key"], "second");
}

#[test]
fn a_body_over_three_megabytes_is_refused() {
    let cluster = Cluster::server();
    let api = cluster.api();
    let large = given::config_map("large", "key", &"x".repeat(3 * 1024 * 1024));
    let answer = api.send(&Call::post(CONFIG_MAPS, &large));
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert_eq!(answer.json()["kind"], "Status", "{}", answer.text());
    assert_eq!(
        api.send(&Call::get(&format!("{CONFIG_MAPS}/large"))).status,
        404
    );
}

#[test]
fn nobody_gets_in_without_an_identity_or_without_tls() {
    let cluster = Cluster::server();
    let nobody = Api::new(Identity::anonymous(&cluster.kubeconfig()));
    for path in ["/api/v1/namespaces", "/apis", "/api/v1/nodes"] {
        let answer = nobody.send(&Call::get(path));
        assert_eq!(answer.status, 401, "{path}: {}", answer.text());
        assert_eq!(answer.json()["kind"], "Status");
    }
    for path in ["/livez", "/readyz", "/version"] {
        assert_eq!(nobody.send(&Call::get(path)).status, 200, "{path}");
    }

    let mut plain = TcpStream::connect(&cluster.address).expect("the port is open");
    plain
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("set a time-out");
    plain
        .write_all(b"GET /version HTTP/1.1\r\nhost: skiff\r\n\r\n")
        .expect("send a request");
    let mut answer = Vec::new();
    // Being cut off is an answer too; only an answer with data in it would be wrong.
    plain.read_to_end(&mut answer).unwrap_or_default();
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.contains("gitVersion"), "{answer}");
    assert!(
        answer.starts_with("HTTP/1.") && answer.contains(" 400 "),
        "says what it wants: {answer:?}"
    );
    assert_eq!(
        nobody.send(&Call::get("/version")).status,
        200,
        "and goes on serving"
    );
}

#[test]
fn an_agent_without_a_good_token_does_not_join() {
    let cluster = Cluster::server();
    let good = std::fs::read_to_string(cluster.data().join("agent.token")).expect("the token");
    let good = good.trim();
    let parts: Vec<&str> = good.split('.').collect();
    let [id, secret, hash] = parts[..] else {
        panic!("a token has three parts: {}", parts.len())
    };
    let swapped: String = secret.chars().rev().collect();
    let cases = [
        ("not a token at all", "hello".to_owned(), "token"),
        (
            "of a token that nobody made",
            format!("zzzzzz.{secret}.{hash}"),
            "token",
        ),
        (
            "with another secret",
            format!("{id}.{swapped}.{hash}"),
            "token",
        ),
        (
            "of another cluster",
            format!("{id}.{secret}.{}", "0".repeat(hash.len())),
            "CA",
        ),
    ];
    for (case, token, words) in cases {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut agent = Command::new(binary());
        agent.args(["agent", "--server", &format!("https://{}", cluster.address)]);
        agent.args([
            "--token",
            &token,
            "--name",
            &format!("{}-x", cluster.prefix),
        ]);
        let mut process = Process::start(
            "agent",
            agent.arg("--data-dir").arg(folder.path()),
            folder.path(),
        );
        let status = process.ended(Duration::from_secs(30));
        assert!(!status.success(), "{case}");
        let log = process.log();
        assert!(log.contains(words), "{case}: {log}");
        assert!(!log.contains(secret), "{case}: the secret is not logged");
    }
    let nodes = cluster.api().get("/api/v1/nodes");
    assert_eq!(items(&nodes).count(), 0);
}

#[test]
fn an_expired_token_lets_nobody_in() {
    let cluster = Cluster::server();
    let api = cluster.api();
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    let list = api.get(secrets);
    let token = items(&list)
        // Servers have a token of their own.
        .find(|secret| !secret["data"]["usage-skiff-join-node"].is_null())
        .expect("the token of agents is a Secret");
    assert_eq!(token["type"], "bootstrap.kubernetes.io/token");
    let name = token["metadata"]["name"].as_str().unwrap_or_default();
    let past = json!({"stringData": {"expiration": "2001-01-01T00:00:00Z"}});
    let answer = api.send(&Call::merge(&format!("{secrets}/{name}"), &past));
    assert_eq!(answer.status, 200, "{}", answer.text());

    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut agent = Command::new(binary());
    agent.args(cluster.agent_args(&format!("{}-x", cluster.prefix)));
    let mut process = Process::start("agent", &mut agent, folder.path());
    assert!(!process.ended(Duration::from_secs(30)).success());
    let log = process.log();
    assert!(log.contains("the join token has expired"), "{log}");
}

#[test]
fn a_pod_that_fits_nowhere_says_why_for_each_node() {
    let cluster = Cluster::with_agents(2);
    let api = cluster.api();
    let mut pod = given::pod("huge", FOREVER);
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1000"}});
    api.create(PODS, &pod);
    let mut elsewhere = given::pod("elsewhere", FOREVER);
    elsewhere["spec"]["nodeSelector"] = json!({"planet": "mars"});
    api.create(PODS, &elsewhere);
    for (name, words) in [
        ("huge", "0/2 nodes are available: 2 Insufficient cpu"),
        (
            "elsewhere",
            "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector",
        ),
    ] {
        // A node that was not ready yet is another reason, for a moment.
        wait::until("the reason is given", Duration::from_secs(20), || {
            let pod = api.get(&format!("{PODS}/{name}"));
            let conditions = pod["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let verdict = conditions
                .into_iter()
                .find(|found| found["type"] == "PodScheduled");
            let message = verdict
                .map(|found| text(&found["message"]))
                .unwrap_or_default();
            if message.contains(words) {
                Ok(())
            } else {
                Err(format!("{name}: {message}"))
            }
        });
    }
    let table = cluster.skiff("get pods").ok();
    assert_eq!(table.matches("Pending").count(), 2, "{table}");
}
