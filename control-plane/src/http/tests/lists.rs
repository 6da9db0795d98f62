//! Lists: pages, selectors, freshness, forms.

use super::*;

async fn with_config_maps(count: usize) -> Server {
    let server = Server::new().await;
    for n in 0..count {
        server
            .post(CONFIG_MAPS, config_map(&format!("c{n:02}")))
            .await
            .is(201);
    }
    server
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_list_is_read_in_pages_of_one_revision() {
    let server = with_config_maps(7).await;
    let whole = server.get(CONFIG_MAPS).await.is(200);
    let mut seen = Vec::new();
    let mut next = String::new();
    for page in 0.. {
        let path = format!("{CONFIG_MAPS}?limit=3&continue={next}");
        let list = server.get(&path).await.is(200);
        assert_eq!(
            list["metadata"]["resourceVersion"],
            whole["metadata"]["resourceVersion"]
        );
        seen.extend(names(&list).into_iter().map(str::to_owned));
        // What happens between two pages is not seen by them.
        server
            .delete(&format!("{CONFIG_MAPS}/c06"), Value::Null)
            .await;
        server
            .post(CONFIG_MAPS, config_map(&format!("c05-{page}")))
            .await
            .is(201);
        let Some(token) = list["metadata"]["continue"].as_str() else {
            break;
        };
        next = token.to_owned();
    }
    assert_eq!(seen, names(&whole));
    let exact = server.get(&format!("{CONFIG_MAPS}?limit=7")).await.is(200);
    assert!(
        exact["metadata"]["continue"].is_string(),
        "there are more by now"
    );
}

#[tokio::test]
async fn a_page_that_ends_the_list_says_so() {
    let server = with_config_maps(3).await;
    let list = server.get(&format!("{CONFIG_MAPS}?limit=3")).await.is(200);
    assert!(list["metadata"].get("continue").is_none());
    let none = server
        .get("/api/v1/namespaces/default/configmaps")
        .await
        .is(200);
    assert_eq!(
        (&none["items"], &none["kind"]),
        (&json!([]), &json!("ConfigMapList"))
    );
}

#[tokio::test]
async fn a_revision_that_is_gone_or_yet_to_come_is_refused() {
    let server = with_config_maps(3).await;
    let old = format!("{CONFIG_MAPS}?resourceVersion=3&resourceVersionMatch=Exact");
    let expired = server.get(&old).await.fails(410, "too old");
    assert_eq!(expired["reason"], "Expired");
    let future = server
        .get(&format!("{CONFIG_MAPS}?resourceVersion=99"))
        .await;
    let future = future.fails(504, "Too large resource version: 99, current: 5");
    assert_eq!(
        future["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    for fine in [
        "resourceVersion=0",
        "resourceVersion=2",
        "resourceVersion=5",
    ] {
        server.get(&format!("{CONFIG_MAPS}?{fine}")).await.is(200);
    }
    // {"v":"meta.k8s.io/v1","rv":3,"start":"shop/c00"}
    let token = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6Mywic3RhcnQiOiJzaG9wL2MwMCJ9";
    let expired = server.get(&format!("{CONFIG_MAPS}?continue={token}")).await;
    let expired = expired.fails(410, "too old to display a consistent list");
    let onward = expired["metadata"]["continue"].as_str().unwrap();
    let rest = server
        .get(&format!("{CONFIG_MAPS}?continue={onward}"))
        .await
        .is(200);
    assert_eq!(names(&rest), ["c01", "c02"]);
}

#[tokio::test]
async fn selectors_choose() {
    let server = Server::new().await;
    for (name, app) in [("a", "web"), ("b", "db")] {
        let mut value = pod(name);
        value["metadata"]["labels"] = json!({"app": app});
        server.post(PODS, value).await.is(201);
    }
    for (query, expected) in [
        ("", vec!["a", "b"]),
        ("labelSelector=app%3Dweb", vec!["a"]),
        ("labelSelector=app+notin+(web)", vec!["b"]),
        ("fieldSelector=metadata.name%3Db", vec!["b"]),
        ("fieldSelector=status.phase%3DPending", vec!["a", "b"]),
        ("fieldSelector=spec.nodeName%3Dn1", vec![]),
    ] {
        for path in [PODS, "/api/v1/pods"] {
            let list = server.get(&format!("{path}?{query}")).await.is(200);
            assert_eq!(names(&list), expected, "{path}?{query}");
        }
    }
    let unknown = server
        .get(&format!("{PODS}?fieldSelector=spec.foo%3Da"))
        .await;
    unknown.fails(400, "field label not supported: spec.foo");
    server
        .get(&format!("{PODS}?labelSelector=a%3Db%3Dc"))
        .await
        .fails(400, "labelSelector");
}

#[tokio::test]
async fn a_table_has_a_row_for_each_object() {
    let server = Server::new().await;
    server.post(PODS, pod("a")).await.is(201);
    let table = server.table(&format!("{PODS}?limit=500")).await.is(200);
    assert_eq!(
        (&table["kind"], &table["apiVersion"]),
        (&json!("Table"), &json!("meta.k8s.io/v1"))
    );
    let cells = &table["rows"][0]["cells"];
    assert_eq!(
        (&cells[0], &cells[1], &cells[2]),
        (&json!("a"), &json!("0/1"), &json!("Pending"))
    );
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let one = server
        .table(&format!("{PODS}/a?includeObject=Object"))
        .await
        .is(200);
    assert_eq!(one["rows"][0]["object"]["kind"], "Pod");
    server
        .table(&format!("{PODS}?includeObject=Some"))
        .await
        .fails(400, "includeObject");
}

#[tokio::test]
async fn a_long_list_comes_whole() {
    let server = Server::new().await;
    let mut value = config_map("");
    value["data"]["key"] = "x".repeat(9000).into();
    for n in 0..60 {
        value["metadata"]["name"] = format!("c{n:02}").into();
        server.post(CONFIG_MAPS, value.clone()).await.is(201);
    }
    let response = server.raw(request(Method::GET, CONFIG_MAPS, "")).await;
    let mut body = response.into_body();
    let mut chunks = Vec::new();
    while let Some(frame) = body.frame().await {
        chunks.push(frame.unwrap().into_data().unwrap());
    }
    assert!(chunks.len() > 3, "it comes in chunks: {}", chunks.len());
    assert!(chunks.iter().all(|chunk| chunk.len() < 160 << 10));
    let list: Value = serde_json::from_slice(&chunks.concat()).unwrap();
    assert_eq!(names(&list).len(), 60);
    assert_eq!(list["metadata"]["resourceVersion"], "62");
    let page = server.get(&format!("{CONFIG_MAPS}?limit=30")).await.is(200);
    assert_eq!(
        (names(&page).len(), names(&page).last()),
        (30, Some(&"c29"))
    );
}
