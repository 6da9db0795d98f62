//! Watches: what is told, in which order, and how they end.

use super::*;

/// The events of a watch, one by one.
struct Events {
    body: Body,
    lines: Vec<u8>,
}

impl Events {
    async fn begin(server: &Server, path: &str) -> Self {
        let response = server.raw(request(Method::GET, path, "")).await;
        assert_eq!(response.status().as_u16(), 200);
        Self {
            body: response.into_body(),
            lines: Vec::new(),
        }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.lines.iter().position(|byte| *byte == b'\n') {
                let rest = self.lines.split_off(end + 1);
                let line = std::mem::replace(&mut self.lines, rest);
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.lines.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    /// The next event as `TYPE name`.
    async fn told(&mut self) -> String {
        let event = self.next().await.unwrap();
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or("-");
        format!("{} {name}", event["type"].as_str().unwrap())
    }
}

fn labelled(name: &str, app: &str) -> Value {
    let mut value = config_map(name);
    value["metadata"]["labels"] = json!({"app": app});
    value
}

#[tokio::test]
async fn a_watch_tells_what_is_there_and_what_happens() {
    let server = Server::new().await;
    server.post(CONFIG_MAPS, config_map("a")).await.is(201);
    let mut events = Events::begin(&server, &format!("{CONFIG_MAPS}?watch=true")).await;
    assert_eq!(events.told().await, "ADDED a");
    server.post(CONFIG_MAPS, config_map("b")).await.is(201);
    let path = format!("{CONFIG_MAPS}/a");
    server
        .patch(&path, "merge-patch", json!({"data": {"x": "y"}}))
        .await
        .is(200);
    server.delete(&path, Value::Null).await.is(200);
    server
        .post("/api/v1/namespaces/default/configmaps", config_map("other"))
        .await
        .is(201);
    assert_eq!(events.told().await, "ADDED b");
    assert_eq!(events.told().await, "MODIFIED a");
    let deleted = events.next().await.unwrap();
    assert_eq!(
        (&deleted["type"], &deleted["object"]["data"]["x"]),
        (&json!("DELETED"), &json!("y"))
    );
    assert_eq!(deleted["object"]["metadata"]["resourceVersion"], "6");
}

#[tokio::test]
async fn a_watch_goes_on_where_a_list_ended() {
    let server = Server::new().await;
    server.post(CONFIG_MAPS, config_map("a")).await.is(201);
    let list = server.get(CONFIG_MAPS).await.is(200);
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    server.post(CONFIG_MAPS, config_map("b")).await.is(201);
    let path = format!("{CONFIG_MAPS}?watch=true&resourceVersion={revision}");
    let mut events = Events::begin(&server, &path).await;
    assert_eq!(events.told().await, "ADDED b");
    server.post(CONFIG_MAPS, config_map("c")).await.is(201);
    assert_eq!(events.told().await, "ADDED c");
}

#[tokio::test]
async fn an_object_enters_and_leaves_a_selection() {
    let server = Server::new().await;
    let path = format!("{CONFIG_MAPS}?watch=true&labelSelector=app%3Dweb");
    let mut events = Events::begin(&server, &path).await;
    server.post(CONFIG_MAPS, labelled("a", "db")).await.is(201);
    let relabel = async |app: &str| {
        let body = json!({"metadata": {"labels": {"app": app}}});
        server
            .patch(&format!("{CONFIG_MAPS}/a"), "merge-patch", body)
            .await
            .is(200)
    };
    relabel("web").await;
    assert_eq!(events.told().await, "ADDED a");
    relabel("db").await;
    let left = events.next().await.unwrap();
    assert_eq!(left["type"], "DELETED");
    assert_eq!(
        left["object"]["metadata"]["labels"]["app"], "web",
        "as it was last seen"
    );
    relabel("web").await;
    assert_eq!(events.told().await, "ADDED a");
}

#[tokio::test]
async fn one_object_is_watched_by_field_selector_or_path() {
    let server = Server::new().await;
    for path in [
        format!("{CONFIG_MAPS}?watch=true&fieldSelector=metadata.name%3Da"),
        format!("{CONFIG_MAPS}/a?watch=true"),
    ] {
        let mut events = Events::begin(&server, &path).await;
        server.post(CONFIG_MAPS, config_map("b")).await.is(201);
        server.post(CONFIG_MAPS, config_map("a")).await.is(201);
        assert_eq!(events.told().await, "ADDED a");
        server.delete(CONFIG_MAPS, Value::Null).await.is(200);
        assert_eq!(events.told().await, "DELETED a");
    }
}

#[tokio::test]
async fn a_streamed_list_ends_with_a_marked_bookmark() {
    let server = Server::new().await;
    server.post(CONFIG_MAPS, config_map("a")).await.is(201);
    let path = format!(
        "{CONFIG_MAPS}?watch=true&sendInitialEvents=true&allowWatchBookmarks=true\
         &resourceVersionMatch=NotOlderThan"
    );
    let mut events = Events::begin(&server, &path).await;
    assert_eq!(events.told().await, "ADDED a");
    let mark = events.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    let meta = &mark["object"]["metadata"];
    assert_eq!(meta["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(meta["resourceVersion"], "3");
    server.post(CONFIG_MAPS, config_map("b")).await.is(201);
    assert_eq!(events.told().await, "ADDED b");
}

#[tokio::test]
async fn a_watch_ends_in_time_and_says_how_far_it_got() {
    let server = Server::new().await;
    let query = "watch=true&timeoutSeconds=1&resourceVersion=2";
    let path = format!("{CONFIG_MAPS}?{query}&allowWatchBookmarks=true");
    let mut events = Events::begin(&server, &path).await;
    let mut silent = Events::begin(&server, &format!("{CONFIG_MAPS}?{query}")).await;
    // It is for another namespace: only the bookmark can tell that the watch has seen it.
    server
        .post("/api/v1/namespaces/default/configmaps", config_map("x"))
        .await
        .is(201);
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], "3");
    assert_eq!(events.next().await, None);
    assert_eq!(
        silent.next().await,
        None,
        "who wants no bookmarks gets none"
    );
}

#[tokio::test]
async fn who_asks_for_what_is_forgotten_is_told_to_start_over() {
    let server = Server::new().await;
    let mut large = config_map("");
    large["data"]["key"] = "x".repeat(HISTORY_BYTES / 10).into();
    for n in 0..20 {
        large["metadata"]["name"] = format!("c{n}").into();
        server.post(CONFIG_MAPS, large.clone()).await.is(201);
    }
    let path = format!("{CONFIG_MAPS}?watch=true&resourceVersion=1");
    let mut events = Events::begin(&server, &path).await;
    let event = events.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    assert_eq!(event["object"]["reason"], "Expired");
    let message = event["object"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("too old resource version: 1 ("),
        "{message}"
    );
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn who_falls_behind_is_told_to_start_over() {
    let server = Server::new().await;
    let query = "watch=true&resourceVersion=2";
    let mut events = Events::begin(&server, &format!("{CONFIG_MAPS}?{query}")).await;
    for n in 0..5000 {
        server
            .post(CONFIG_MAPS, config_map(&format!("c{n}")))
            .await
            .is(201);
    }
    let mut last = Value::Null;
    let mut count = 0;
    while let Some(event) = events.next().await {
        last = event;
        count += 1;
    }
    assert_eq!(
        (&last["type"], &last["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    assert!(count > 1, "what came before is told");
}

#[tokio::test]
async fn a_watch_can_be_a_table() {
    let server = Server::new().await;
    let mut request = request(Method::GET, &format!("{PODS}?watch=true"), "");
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    request
        .headers_mut()
        .insert("accept", accept.parse().unwrap());
    let response = server.raw(request).await;
    let mut events = Events {
        body: response.into_body(),
        lines: Vec::new(),
    };
    server.post(PODS, pod("a")).await.is(201);
    let event = events.next().await.unwrap();
    assert_eq!(event["type"], "ADDED");
    let table = &event["object"];
    assert_eq!(
        (&table["kind"], &table["rows"][0]["cells"][0]),
        (&json!("Table"), &json!("a"))
    );
    assert_eq!(table["metadata"]["resourceVersion"], "3");
}

#[tokio::test]
async fn who_knows_another_history_is_told_to_start_over() {
    let server = Server::new().await;
    let path = format!("{CONFIG_MAPS}?watch=true&resourceVersion=99");
    let mut events = Events::begin(&server, &path).await;
    let event = events.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    assert_eq!(events.next().await, None);
}
