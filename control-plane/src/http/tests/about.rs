//! What is said about the API, and what is refused before it is looked at.

use super::*;

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn discovery_lists_what_is_served() {
    let server = Server::new().await;
    let core = server.get("/api/v1").await.is(200);
    let names: Vec<&str> = core["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["name"].as_str().unwrap())
        .collect();
    snapbox::assert_data_eq!(
        names.join("\n"),
        snapbox::str![[r#"
namespaces
namespaces/status
nodes
nodes/status
pods
pods/status
pods/log
pods/eviction
pods/binding
configmaps
secrets
events
serviceaccounts
services
services/status
endpoints
"#]]
    );
    snapbox::assert_data_eq!(
        serde_json::to_string_pretty(&core["resources"][4]).unwrap(),
        snapbox::str![[r#"
{
  "categories": [
    "all"
  ],
  "kind": "Pod",
  "name": "pods",
  "namespaced": true,
  "shortNames": [
    "po"
  ],
  "singularName": "pod",
  "verbs": [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch"
  ]
}
"#]]
    );
    let apps = server.get("/apis/apps/v1").await.is(200);
    let scale = apps["resources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["name"] == "deployments/scale");
    let scale = scale.unwrap();
    assert_eq!(
        (&scale["group"], &scale["version"], &scale["kind"]),
        (&json!("autoscaling"), &json!("v1"), &json!("Scale"))
    );
    let groups = server.get("/apis").await.is(200);
    let names: Vec<&str> = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| g["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "apps",
            "coordination.k8s.io",
            "discovery.k8s.io",
            "networking.k8s.io",
            "authorization.k8s.io",
            "policy"
        ]
    );
    for name in names {
        server.get(&format!("/apis/{name}")).await.is(200);
        server.get(&format!("/apis/{name}/v1")).await.is(200);
    }
    server
        .get("/apis/batch/v1")
        .await
        .fails(404, "could not find the requested resource");
    server
        .get("/apis/apps/v2")
        .await
        .fails(404, "could not find the requested resource");
}

#[tokio::test]
async fn aggregated_discovery_is_given_to_who_asks() {
    let server = Server::new().await;
    let mut request = request(Method::GET, "/apis", "");
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                  application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,\
                  application/json";
    request
        .headers_mut()
        .insert("accept", accept.parse().unwrap());
    let answer = server.send(request).await;
    assert_eq!(
        answer.headers["content-type"],
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    let list = answer.is(200);
    assert_eq!(list["apiVersion"], "apidiscovery.k8s.io/v2");
    let deployments = &list["items"][0]["versions"][0]["resources"][0];
    assert_eq!(deployments["resource"], "deployments");
    assert_eq!(deployments["scope"], "Namespaced");
    assert_eq!(
        deployments["subresources"][1]["responseKind"]["kind"],
        "Scale"
    );
}

#[tokio::test]
async fn openapi_says_that_fields_are_validated_here() {
    let server = Server::new().await;
    let root = server.get("/openapi/v3").await.is(200);
    let url = root["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let document = server.get(url).await.is(200);
    let path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";
    let patch = &document["paths"][path]["patch"];
    let kind = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    assert_eq!(patch["x-kubernetes-group-version-kind"], kind);
    let parameters = patch["parameters"].as_array().unwrap();
    assert!(
        parameters
            .iter()
            .any(|parameter| parameter["name"] == "fieldValidation")
    );
    assert_eq!(
        server.get("/openapi/v2").await.headers["content-type"],
        "application/octet-stream"
    );
}

#[tokio::test]
async fn strangers_learn_health_and_version_only() {
    let server = Server::new().await;
    let stranger = TowerToHyperService::new(router(server.api.clone()));
    for (path, code) in [
        ("/livez", 200),
        ("/readyz", 200),
        ("/healthz", 200),
        ("/version", 200),
        ("/api", 401),
        ("/api/v1/pods", 401),
        ("/nowhere", 401),
    ] {
        let answer = stranger.call(request(Method::GET, path, "")).await.unwrap();
        assert_eq!(answer.status().as_u16(), code, "{path}");
    }
    let version = server.get("/version").await.is(200);
    assert_eq!(
        (&version["major"], &version["minor"]),
        (&json!("1"), &json!("33"))
    );
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let server = Server::new().await;
    let node = Identity {
        user: "system:node:n1".into(),
        groups: vec!["system:nodes".into()],
    };
    let service = TowerToHyperService::new(router(server.api.clone()).layer(axum::Extension(node)));
    for (path, code) in [
        ("/api/v1/secrets", 403),
        ("/api/v1/pods", 403),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", 200),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dn2", 403),
        ("/api/v1/nodes?fieldSelector=metadata.name%3Dn1", 200),
    ] {
        let answer = service.call(request(Method::GET, path, "")).await.unwrap();
        assert_eq!(answer.status().as_u16(), code, "{path}");
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_possible_is_refused() {
    let server = Server::new().await;
    let unknown = "the server could not find the requested resource";
    let method = "the server does not allow this method on the requested resource";
    for (verb, path, code, words) in [
        ("GET", "/api/v1/widgets", 404, unknown),
        ("GET", "/nowhere", 404, unknown),
        (
            "GET",
            "/api/v1/namespaces/shop/pods/nosuch",
            404,
            "pods \"nosuch\" not found",
        ),
        (
            "GET",
            "/apis/apps/v1/namespaces/shop/deployments/x",
            404,
            "deployments.apps \"x\" not",
        ),
        ("POST", "/api/v1/namespaces/shop/pods/x", 405, method),
        ("POST", "/api/v1/pods", 405, method),
        ("PUT", PODS, 405, method),
        ("DELETE", "/api/v1/namespaces", 405, method),
        ("POST", "/api", 405, method),
        ("DELETE", "/api/v1/namespaces/shop/pods/x/log", 405, method),
        (
            "GET",
            "/api/v1/namespaces/shop/pods/x/eviction",
            405,
            method,
        ),
    ] {
        let method = Method::from_bytes(verb.as_bytes()).unwrap();
        server
            .send(request(method, path, ""))
            .await
            .fails(code, words);
    }
}

#[tokio::test]
async fn a_review_says_what_one_may_do() {
    let server = Server::new().await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let asked = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "shop"}}});
    let answer = server.post(path, asked.clone()).await.is(201);
    assert_eq!(answer["status"]["allowed"], true);
    let node = Identity {
        user: "system:node:n1".into(),
        groups: vec!["system:nodes".into()],
    };
    let service = TowerToHyperService::new(router(server.api).layer(axum::Extension(node)));
    let answer = service
        .call(request(Method::POST, path, asked.to_string()))
        .await
        .unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["status"]["allowed"], false);
}
