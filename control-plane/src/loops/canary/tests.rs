use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use skiff_api::canary::{Counts, Observed, Step};
use skiff_api::gateway::{PATH, Report};
use skiff_api::{Key, Kind, Object};

use super::*;
use crate::auth::Identity;
use crate::checkpoint::MemoryCheckpoints;
use crate::disk::MemoryDisk;
use crate::network::gateways::{self, Gateways};
use crate::store::StoreConfig;

/// A leader with an Ingress `web` whose canary `web-2` judges itself, and two nodes, of which `n1` runs
/// a gateway.
struct Leader {
    store: Store,
    canaries: Canaries,
    router: axum::Router,
    /// When the last pass was: there is one each second.
    now: Instant,
}

impl Leader {
    async fn new() -> Self {
        let config = StoreConfig {
            disk: Arc::new(MemoryDisk::new(1)),
            checkpoints: Box::new(MemoryCheckpoints::default()),
            ..StoreConfig::new(Path::new("/store"), 1)
        };
        let open = tokio::task::spawn_blocking(move || Store::open(config, Box::new(|_, _| ())));
        let store = open.await.unwrap().unwrap();
        let create = |value: Value| Write::create(Object::from_value(value).unwrap());
        let writes = vec![
            create(
                json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1",
                "annotations": {"network.skiff.io/gateway": "0.0.0.0:80"}}}),
            ),
            create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n2"}})),
            create(
                json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"name": "web-2-a", "namespace": "d",
                    "labels": {"kubernetes.io/service-name": "web-2"}},
                "endpoints": [{"addresses": ["10.42.0.9"]}]}),
            ),
            create(
                json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
                "metadata": {"name": "web", "namespace": "d", "uid": "u", "annotations": {
                    "gateway.skiff.io/canary-auto": "true",
                    "gateway.skiff.io/canary-service": "web-2",
                    "gateway.skiff.io/canary-auto-step": "50",
                    "gateway.skiff.io/canary-auto-interval": "1s"}}}),
            ),
        ];
        store.propose(writes).await.unwrap();
        let canaries = Canaries::default();
        let gateways = Gateways::default();
        let router = gateways::router(store.clone(), gateways, canaries.clone());
        Self {
            store,
            canaries,
            router,
            now: Instant::now(),
        }
    }

    async fn post(&self, who: Option<(&str, &str)>, body: String) -> u16 {
        let mut router = self.router.clone();
        if let Some((user, group)) = who {
            router = router.layer(axum::Extension(Identity {
                user: user.to_owned(),
                groups: vec![group.to_owned()],
            }));
        }
        let mut request = Request::post(PATH).body(Body::from(body)).unwrap();
        let json = http::HeaderValue::from_static("application/json");
        request.headers_mut().insert("content-type", json);
        let answer = TowerToHyperService::new(router).call(request).await;
        answer.unwrap().status().as_u16()
    }

    /// The gateway of `n1` says what it has counted so far at this weight.
    async fn report(&self, weight_percent: u8, errors: u64, requests: u64) {
        let counts = |errors, requests| Counts {
            errors,
            latency: [(40, requests)].into(),
        };
        let observed = Observed {
            namespace: "d".to_owned(),
            name: "web".to_owned(),
            uid: "u".to_owned(),
            step: Step {
                service: "web-2".to_owned(),
                weight_percent,
            },
            stable: counts(0, requests),
            canary: counts(errors, requests),
        };
        let mut report = empty("n1");
        report.canaries.push(observed);
        let who = Some(("system:node:n1", "system:nodes"));
        let body = serde_json::to_string(&report).unwrap();
        assert_eq!(self.post(who, body).await, 200);
    }

    async fn pass(&mut self) {
        self.now += Duration::from_secs(1);
        pass(&self.store, &self.canaries, self.now).await;
    }

    fn annotation(&self, name: &str) -> String {
        let key = Key::new(Kind::Ingress, "d", "web");
        let value = self.store.state().get(&key).unwrap().to_value();
        let found = &value["metadata"]["annotations"][format!("gateway.skiff.io/{name}")];
        found.as_str().unwrap_or("-").to_owned()
    }

    fn events(&self) -> Vec<String> {
        let state = self.store.state();
        let mut events: Vec<_> = state.list(Kind::Event, Some("d")).collect();
        events.sort_by_key(|event| event.revision());
        let word = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
        let words = |event: Value| format!("{} {}", word(&event, "type"), word(&event, "reason"));
        events.iter().map(|event| words(event.to_value())).collect()
    }
}

/// The report of a gateway that has counted nothing.
fn empty(name: &str) -> Report {
    let mut report = Report::new(name, (std::net::Ipv4Addr::UNSPECIFIED, 80).into(), None);
    "i".clone_into(&mut report.instance);
    report
}

#[tokio::test]
async fn reports_are_taken_of_gateways_only() {
    let leader = Leader::new().await;
    let report = || serde_json::to_string(&empty("n1")).unwrap();
    let cases = [
        (
            "an administrator",
            Some(("admin", "system:masters")),
            report(),
            200,
        ),
        (
            "a node with a gateway",
            Some(("system:node:n1", "system:nodes")),
            report(),
            200,
        ),
        (
            "a node without",
            Some(("system:node:n2", "system:nodes")),
            report(),
            403,
        ),
        (
            "an unknown node",
            Some(("system:node:n3", "system:nodes")),
            report(),
            403,
        ),
        ("a stranger", Some(("eve", "")), report(), 403),
        ("nobody", None, report(), 401),
        (
            "garbage",
            Some(("admin", "system:masters")),
            "{".to_owned(),
            400,
        ),
    ];
    for (name, who, body, expected) in cases {
        assert_eq!(leader.post(who, body).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_canary_that_is_well_is_promoted_step_by_step() {
    let mut leader = Leader::new().await;
    leader.report(0, 0, 0).await;
    leader.pass().await;
    assert_eq!(leader.annotation("canary-weight"), "50");
    let mut sum = 0;
    for (at, next) in [(50, "100"), (100, "100")] {
        // The leader sees the step; then the gateway has it in effect and counts.
        leader.pass().await;
        leader.report(at, 0, sum).await;
        sum += 100;
        leader.report(at, 0, sum).await;
        leader.pass().await;
        assert_eq!(leader.annotation("canary-weight"), next);
    }
    assert!(
        leader
            .annotation("canary-status")
            .starts_with("promoted: web-2 at ")
    );
    let expected = [
        "Normal CanaryStarted",
        "Normal CanaryAdvanced",
        "Normal CanaryPromoted",
    ];
    assert_eq!(leader.events(), expected);
    // Whatever is reported now changes nothing.
    leader.report(100, 900, 1000).await;
    leader.pass().await;
    assert_eq!(leader.events(), expected);
}

#[tokio::test]
async fn a_canary_that_fails_gets_nothing_any_more() {
    let mut leader = Leader::new().await;
    leader.report(0, 0, 0).await;
    leader.pass().await;
    leader.pass().await;
    leader.report(50, 0, 0).await;
    leader.report(50, 30, 100).await;
    leader.pass().await;
    assert_eq!(leader.annotation("canary-weight"), "0");
    let status = leader.annotation("canary-status");
    let why = ": 30.0 % of its 100 requests failed, 0.0 % of the stable version's 100";
    assert!(
        status.starts_with("rolled back: web-2 at ") && status.ends_with(why),
        "{status}"
    );
    let expected = ["Normal CanaryStarted", "Warning CanaryRolledBack"];
    assert_eq!(leader.events(), expected);
}

#[tokio::test]
async fn a_new_leader_begins_the_step_anew() {
    let mut leader = Leader::new().await;
    leader.report(0, 0, 0).await;
    leader.pass().await;
    leader.pass().await;
    leader.report(50, 0, 0).await;
    leader.report(50, 30, 100).await;
    leader.canaries.forget();
    leader.pass().await;
    leader.report(50, 30, 100).await;
    leader.pass().await;
    assert_eq!(leader.annotation("canary-weight"), "50");
    leader.report(50, 60, 200).await;
    leader.pass().await;
    assert_eq!(leader.annotation("canary-weight"), "0");
}
