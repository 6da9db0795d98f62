//! Creating, changing and deleting.

use snapbox::IntoData as _;

use super::*;

fn path(name: &str) -> String {
    format!("{CONFIG_MAPS}/{name}")
}

#[tokio::test]
async fn an_object_lives_through_its_verbs() {
    let server = Server::new().await;
    let created = server.post(CONFIG_MAPS, config_map("a")).await.is(201);
    assert_eq!(created["metadata"]["namespace"], "shop");
    assert_eq!(created["metadata"]["resourceVersion"], "3");
    assert_eq!(server.get(&path("a")).await.is(200), created);
    let mut changed = created.clone();
    changed["data"]["key"] = "other".into();
    let updated = server.put(&path("a"), changed).await.is(200);
    assert_eq!(updated["metadata"]["resourceVersion"], "4");
    assert_eq!(updated["data"]["key"], "other");
    let same = server.put(&path("a"), updated.clone()).await.is(200);
    assert_eq!(same, updated, "what changes nothing writes nothing");
    let gone = server.delete(&path("a"), Value::Null).await.is(200);
    assert_eq!(
        (&gone["status"], &gone["details"]["name"]),
        (&json!("Success"), &json!("a"))
    );
    assert_eq!(gone["details"]["uid"], created["metadata"]["uid"]);
    server
        .get(&path("a"))
        .await
        .fails(404, "configmaps \"a\" not found");
    server
        .delete(&path("a"), Value::Null)
        .await
        .fails(404, "configmaps \"a\" not found");
}

#[tokio::test]
async fn what_collides_is_refused() {
    let server = Server::new().await;
    let created = server.post(CONFIG_MAPS, config_map("a")).await.is(201);
    let exists = server.post(CONFIG_MAPS, config_map("a")).await;
    snapbox::assert_data_eq!(
        serde_json::to_string_pretty(&exists.is(409)).unwrap(),
        snapbox::str![[r#"
{
  "apiVersion": "v1",
  "code": 409,
  "details": {
    "kind": "configmaps",
    "name": "a"
  },
  "kind": "Status",
  "message": "configmaps \"a\" already exists",
  "metadata": {},
  "reason": "AlreadyExists",
  "status": "Failure"
}
"#]]
        .raw()
    );
    let mut stale = created.clone();
    stale["data"]["key"] = "first".into();
    server.put(&path("a"), stale.clone()).await.is(200);
    stale["data"]["key"] = "second".into();
    let refused = server.put(&path("a"), stale).await;
    refused.fails(
        409,
        "the object has been modified; please apply your changes to the latest",
    );
    let named = json!({"metadata": {"resourceVersion": created["metadata"]["resourceVersion"]},
        "data": {"key": "third"}});
    let refused = server.patch(&path("a"), "merge-patch", named).await;
    refused.fails(409, "the object has been modified");
    let options = json!({"preconditions": {"uid": "another"}});
    server
        .delete(&path("a"), options)
        .await
        .fails(409, "UID in precondition: another");
}

#[tokio::test]
async fn names_are_generated() {
    let server = Server::new().await;
    let mut value = config_map("");
    value["metadata"] = json!({"generateName": "settings-"});
    let first = server.post(CONFIG_MAPS, value.clone()).await.is(201);
    let second = server.post(CONFIG_MAPS, value).await.is(201);
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(name(&first).starts_with("settings-") && name(&first).len() == 14);
    assert_ne!(name(&first), name(&second));
    server
        .post(CONFIG_MAPS, json!({"data": {}}))
        .await
        .fails(422, "generateName is required");
}

#[tokio::test]
async fn a_dry_run_answers_and_writes_nothing() {
    let server = Server::new().await;
    server.post(CONFIG_MAPS, config_map("a")).await.is(201);
    let revision = server.api.store.state().revision();
    server
        .post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("b"))
        .await
        .is(201);
    server
        .post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("a"))
        .await
        .fails(409, "exists");
    let tried = format!("{}?dryRun=All", path("a"));
    let patched = server
        .patch(&tried, "merge-patch", json!({"data": {"key": "x"}}))
        .await
        .is(200);
    assert_eq!(patched["data"]["key"], "x");
    server.delete(&tried, Value::Null).await.is(200);
    server
        .delete(&path("a"), json!({"dryRun": ["All"]}))
        .await
        .is(200);
    server
        .delete(&format!("{CONFIG_MAPS}?dryRun=All"), Value::Null)
        .await
        .is(200);
    assert_eq!(server.api.store.state().revision(), revision);
    server
        .delete(&format!("{}?dryRun=Some", path("a")), Value::Null)
        .await
        .fails(422, "dryRun");
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn bad_bodies_are_refused_with_the_reason() {
    let server = Server::new().await;
    let send = |media: &str, body: &str| {
        let mut request = request(Method::POST, CONFIG_MAPS, body.to_owned());
        request
            .headers_mut()
            .insert("content-type", media.parse().unwrap());
        server.send(request)
    };
    let json = "application/json";
    let large = format!("{{\"data\": {{\"a\": \"{}\"}}}}", "x".repeat(3 << 20));
    for (media, body, code, words) in [
        (json, "{\"a\": ", 400, "not valid JSON"),
        (json, "[]", 400, "must be a map"),
        (json, "", 400, "is empty"),
        (
            "application/yaml",
            "a: [",
            400,
            "error converting YAML to JSON",
        ),
        (
            json,
            "{\"kind\": \"Pod\", \"apiVersion\": \"v1\"}",
            400,
            "Pod",
        ),
        (
            json,
            "{\"apiVersion\": \"v2\", \"kind\": \"ConfigMap\"}",
            400,
            "the API version",
        ),
        (
            json,
            "{\"metadata\": {\"name\": \"a\", \"namespace\": \"default\"}}",
            400,
            "the namespace",
        ),
        (
            json,
            "{\"metadata\": {\"name\": \"a\"}, \"data\": 7}",
            400,
            "cannot unmarshal number",
        ),
        (
            json,
            "{\"metadata\": {\"name\": \"A_B\"}}",
            422,
            "a lowercase RFC 1123 subdomain",
        ),
        (
            json,
            &large,
            413,
            "Request entity too large: limit is 3145728",
        ),
        (
            "application/vnd.kubernetes.protobuf",
            "k8s",
            415,
            "protobuf bodies are not served yet",
        ),
        ("text/plain", "a", 415, "unknown format"),
    ] {
        send(media, body).await.fails(code, words);
    }
    let elsewhere = "/api/v1/namespaces/nosuch/configmaps";
    server
        .post(elsewhere, config_map("a"))
        .await
        .fails(404, "namespaces \"nosuch\" not found");
    send(
        "application/yaml",
        "metadata: {name: from-yaml}\ndata: {a: b}\n",
    )
    .await
    .is(201);
    server.post(CONFIG_MAPS, config_map("a")).await.is(201);
    let renamed = server.put(&path("a"), config_map("b")).await;
    renamed.fails(
        400,
        "the name of the object (b) does not match the name on the URL (a)",
    );
}

#[tokio::test]
async fn unknown_fields_are_never_passed_over_in_silence() {
    let server = Server::new().await;
    let mut value = config_map("a");
    value["dta"] = json!({});
    let strict = format!("{CONFIG_MAPS}?fieldValidation=Strict");
    let words = "strict decoding error: unknown field \"dta\"";
    server.post(&strict, value.clone()).await.fails(400, words);
    let created = server.post(CONFIG_MAPS, value.clone()).await;
    assert_eq!(created.warnings(), ["299 - \"unknown field \\\"dta\\\"\""]);
    assert!(created.is(201).get("dta").is_none());
    value["metadata"]["name"] = "b".into();
    let ignored = server
        .post(&format!("{CONFIG_MAPS}?fieldValidation=Ignore"), value)
        .await;
    assert_eq!(ignored.warnings(), [""; 0]);
    let tried = format!("{}?fieldValidation=Strict", path("a"));
    server
        .patch(&tried, "merge-patch", json!({"dta": {"x": "y"}}))
        .await
        .fails(400, words);
    let mut ranked = pod("p");
    ranked["spec"]["priorityClassName"] = "high".into();
    let created = server.post(PODS, ranked).await;
    assert!(
        created
            .warnings()
            .concat()
            .contains("spec.priorityClassName"),
        "{:?}",
        created.warnings()
    );
}

#[tokio::test]
async fn three_kinds_of_patches_are_applied() {
    let server = Server::new().await;
    server.post(DEPLOYMENTS, deployment("web")).await.is(201);
    let path = format!("{DEPLOYMENTS}/web");
    let image = |object: &Value| {
        object["spec"]["template"]["spec"]["containers"][0]["image"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let spec = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    let patched = server
        .patch(&path, "strategic-merge-patch", spec("one"))
        .await
        .is(200);
    assert_eq!(
        (image(&patched).as_str(), &patched["metadata"]["generation"]),
        ("one", &json!(2))
    );
    let patched = server
        .patch(&path, "merge-patch", json!({"spec": {"paused": true}}))
        .await
        .is(200);
    assert_eq!(patched["spec"]["paused"], true);
    let operations = json!([{"op": "replace", "value": "two",
        "path": "/spec/template/spec/containers/0/image"}]);
    let patched = server.patch(&path, "json-patch", operations).await.is(200);
    assert_eq!(image(&patched), "two");
    let test = json!([{"op": "test", "path": "/spec/paused", "value": false}]);
    assert_eq!(server.patch(&path, "json-patch", test).await.code, 422);
    server
        .patch(&path, "json-patch", json!({}))
        .await
        .fails(400, "must be a list");
    server
        .patch(&path, "apply-patch", json!({}))
        .await
        .fails(415, "unknown format");
    let mut apply = request(Method::PATCH, &path, "{}");
    let media = "application/apply-patch+yaml".parse().unwrap();
    apply.headers_mut().insert("content-type", media);
    server
        .send(apply)
        .await
        .fails(415, "server-side apply is not served yet");
    let wrong = json!({"spec": {"replicas": "two"}});
    server
        .patch(&path, "merge-patch", wrong)
        .await
        .fails(400, "cannot unmarshal string");
    let gone = format!("{DEPLOYMENTS}/gone");
    server
        .patch(&gone, "merge-patch", json!({}))
        .await
        .fails(404, "not found");
}

#[tokio::test]
async fn patches_that_name_no_revision_do_not_collide() {
    let server = Arc::new(Server::new().await);
    server.post(CONFIG_MAPS, config_map("a")).await.is(201);
    // One of those that collide always wins, so fewer than there are tries never run out of them.
    let patches = (0..12).map(|n| {
        let server = server.clone();
        let body = json!({"data": {(format!("k{n}")): "x"}});
        tokio::spawn(async move { server.patch(&path("a"), "merge-patch", body).await.is(200) })
    });
    for patch in patches.collect::<Vec<_>>() {
        patch.await.unwrap();
    }
    let object = server.get(&path("a")).await.is(200);
    assert_eq!(object["data"].as_object().unwrap().len(), 13);
}

#[tokio::test]
async fn status_and_scale_have_paths_of_their_own() {
    let server = Server::new().await;
    let created = server.post(DEPLOYMENTS, deployment("web")).await.is(201);
    let path = |part: &str| format!("{DEPLOYMENTS}/web{part}");
    let mut reported = created.clone();
    reported["status"] = json!({"replicas": 2, "readyReplicas": 1});
    reported["spec"]["replicas"] = 9.into();
    let reported = server.put(&path("/status"), reported).await.is(200);
    assert_eq!(
        reported["spec"]["replicas"], 2,
        "the status path leaves the spec alone"
    );
    assert_eq!(reported["status"]["readyReplicas"], 1);
    let mut changed = reported.clone();
    changed["status"] = json!({"readyReplicas": 7});
    changed["spec"]["replicas"] = 3.into();
    let changed = server.put(&path(""), changed).await.is(200);
    assert_eq!(
        changed["status"]["readyReplicas"], 1,
        "the main path leaves the status alone"
    );
    let scale = server.get(&path("/scale")).await.is(200);
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"]),
        (&json!("Scale"), &json!(3))
    );
    assert_eq!(scale["status"]["selector"], "app=web");
    let body = json!({"spec": {"replicas": 5}});
    let scale = server
        .patch(&path("/scale"), "merge-patch", body)
        .await
        .is(200);
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"]),
        (&json!("Scale"), &json!(5))
    );
    let mut scale = scale;
    scale["spec"]["replicas"] = 1.into();
    server.put(&path("/scale"), scale.clone()).await.is(200);
    assert_eq!(server.get(&path("")).await.is(200)["spec"]["replicas"], 1);
    server
        .put(&path("/scale"), scale)
        .await
        .fails(409, "has been modified");
}

#[tokio::test]
async fn a_bound_pod_gets_its_grace() {
    let server = Server::new().await;
    let created = server.post(PODS, pod("p")).await.is(201);
    let path = format!("{PODS}/p");
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n1"}});
    let bound = server
        .post(&format!("{path}/binding"), binding.clone())
        .await
        .is(201);
    assert_eq!(
        (&bound["kind"], &bound["status"]),
        (&json!("Status"), &json!("Success"))
    );
    server
        .post(&format!("{path}/binding"), binding)
        .await
        .fails(409, "already assigned");
    assert_eq!(server.get(&path).await.is(200)["spec"]["nodeName"], "n1");
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    server
        .post(&format!("{path}/eviction"), eviction)
        .await
        .is(201);
    let marked = server.get(&path).await.is(200);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    let again = server
        .delete(&path, json!({"gracePeriodSeconds": 5}))
        .await
        .is(200);
    assert_eq!(
        again["metadata"]["uid"], created["metadata"]["uid"],
        "the object comes back"
    );
    assert_eq!(again["metadata"]["deletionGracePeriodSeconds"], 5);
    let forced = server
        .delete(&format!("{path}?gracePeriodSeconds=0"), Value::Null)
        .await
        .is(200);
    assert_eq!(forced["status"], "Success");
}

#[tokio::test]
async fn the_last_finalizer_takes_the_object_with_it() {
    let server = Server::new().await;
    let mut value = config_map("a");
    value["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.post(CONFIG_MAPS, value).await.is(201);
    let marked = server.delete(&path("a"), Value::Null).await.is(200);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let free = json!({"metadata": {"finalizers": null}});
    server.patch(&path("a"), "merge-patch", free).await.is(200);
    server.get(&path("a")).await.fails(404, "not found");
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let server = Server::new().await;
    for (name, app) in [("a", "web"), ("b", "db"), ("c", "web")] {
        let mut value = config_map(name);
        value["metadata"]["labels"] = json!({"app": app});
        server.post(CONFIG_MAPS, value).await.is(201);
    }
    let deleted = server
        .delete(
            &format!("{CONFIG_MAPS}?labelSelector=app%3Dweb"),
            Value::Null,
        )
        .await;
    let deleted = deleted.is(200);
    assert_eq!(deleted["kind"], "ConfigMapList");
    assert_eq!(deleted["items"].as_array().unwrap().len(), 2);
    let left = server.get(CONFIG_MAPS).await.is(200);
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn logs_need_a_container_and_a_reachable_node() {
    let server = Server::new().await;
    let mut two = pod("p");
    two["spec"]["containers"] = json!([{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]);
    server.post(PODS, two).await.is(201);
    let log = format!("{PODS}/p/log");
    server.get(&log).await.fails(
        400,
        "a container name must be specified for pod p, choose one of: [a b]",
    );
    let other = format!("{log}?container=z");
    server
        .get(&other)
        .await
        .fails(400, "container z is not valid for pod p");
    let unbound = server.get(&format!("{log}?container=a")).await;
    assert_eq!(unbound.is(200), "");
    let binding = json!({"target": {"kind": "Node", "name": "n1"}});
    server
        .post(&format!("{PODS}/p/binding"), binding)
        .await
        .is(201);
    let lines = format!("{log}?container=a&tailLines=-1");
    server
        .get(&lines)
        .await
        .fails(422, "tailLines: Invalid value: -1");
    let lines = format!("{log}?container=a&tailLines=5");
    server
        .get(&lines)
        .await
        .fails(503, "the agent of node \"n1\" cannot be reached");
}
