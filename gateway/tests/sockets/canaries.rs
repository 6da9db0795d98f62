//! What is counted and told of a canary that judges itself.

use serde_json::json;

use crate::rig::{Rig, SOON, Upstream, full, get, get_request, ingress};

#[tokio::test]
async fn both_versions_are_counted_and_what_came_to_neither_is_not() {
    let old = Upstream::saying("old").await;
    let new = Upstream::start(|_| async {
        let mut answer = http::Response::new(full("new"));
        *answer.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        answer
    })
    .await;
    let mut rig = Rig::start().await;
    let annotations = json!({"gateway.skiff.io/canary-service": "new",
        "gateway.skiff.io/canary-auto": "true", "gateway.skiff.io/canary-weight": "0",
        "gateway.skiff.io/canary-header": "x-try", "gateway.skiff.io/body-limit": "1"});
    rig.objects(&[ingress("a", "old", annotations)], &[]);
    rig.services(&[("old", None, &[old.address]), ("new", None, &[new.address])])
        .await;
    for _ in 0..5 {
        assert_eq!(get(rig.http, "h", "/").await.code, 200);
    }
    for _ in 0..3 {
        let mut request = get_request("h", "/");
        request
            .headers_mut()
            .insert("x-try", "always".parse().unwrap());
        assert_eq!(crate::rig::ask(rig.http, request).await.code, 500);
    }
    let large = http::Request::post("/").header("host", "h");
    let large = large.body(http_body_util::Full::from("too large")).unwrap();
    assert_eq!(crate::rig::ask(rig.http, large).await.code, 413);
    let told = rig.reports.wait_for(|report| {
        let canary = report.canaries.first();
        canary.is_some_and(|of| of.stable.requests() + of.canary.requests() == 8)
    });
    let report = tokio::time::timeout(SOON, told)
        .await
        .unwrap()
        .unwrap()
        .clone();
    assert_eq!(report.gateway.name, "here");
    assert_eq!((report.gateway.requests, report.gateway.errors), (9, 3));
    assert!(!report.instance.is_empty());
    let of = &report.canaries[0];
    assert_eq!(
        (of.namespace.as_str(), of.name.as_str(), of.uid.as_str()),
        ("d", "a", "uid-a")
    );
    assert_eq!(
        (of.step.service.as_str(), of.step.weight_percent),
        ("new", 0)
    );
    assert_eq!((of.stable.requests(), of.stable.errors), (5, 0));
    assert_eq!((of.canary.requests(), of.canary.errors), (3, 3));
    rig.end().await;
}
