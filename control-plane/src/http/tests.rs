//! The API in memory: requests to the router, as the listener hands them over.

mod about;
mod lists;
mod watches;
mod writes;

use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use skiff_api::{Object, Revision};
use skiff_engine::{State, Write};

use super::{Api, router};
use crate::auth::Identity;
use crate::checkpoint::MemoryCheckpoints;
use crate::disk::MemoryDisk;
use crate::nodes::Nodes;
use crate::store::{News, Store, StoreConfig};
use crate::watch::WatchHub;

/// An API over a store of its own, with the namespaces `default` and `shop`.
struct Server {
    api: Arc<Api>,
    service: TowerToHyperService<axum::Router>,
}

struct Answer {
    code: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    #[track_caller]
    fn is(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.body);
        self.body
    }

    /// Checks that it is a failure with this code and these words in its message.
    #[track_caller]
    fn fails(self, code: u16, words: &str) -> Value {
        let body = self.is(code);
        assert_eq!(
            (&body["kind"], &body["status"]),
            (&json!("Status"), &json!("Failure"))
        );
        assert_eq!(body["code"], code);
        let message = body["message"].as_str().unwrap();
        assert!(
            message.contains(words),
            "{message:?} does not say {words:?}"
        );
        body
    }

    fn warnings(&self) -> Vec<String> {
        let all = self.headers.get_all("warning").iter();
        all.map(|value| value.to_str().unwrap().to_owned())
            .collect()
    }
}

impl Server {
    async fn new() -> Self {
        let hub = WatchHub::new(Revision(0), HISTORY_BYTES);
        let publisher = hub.clone();
        let config = StoreConfig {
            disk: Arc::new(MemoryDisk::new(1)),
            checkpoints: Box::new(MemoryCheckpoints::default()),
            ..StoreConfig::new(Path::new("/store"), 1)
        };
        let publish = Box::new(move |state: &State, news: News<'_>| publisher.take(state, news));
        let open = tokio::task::spawn_blocking(move || Store::open(config, publish));
        let store = open.await.unwrap().unwrap();
        let namespace = |name: &str| {
            let value = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
            Write::create(Object::from_value(value).unwrap())
        };
        let namespaces = ["default", "shop"].map(namespace);
        store.propose(namespaces.into()).await.unwrap();
        let api = Arc::new(Api::new(store, hub, Nodes::default()));
        let admin = Identity {
            user: "admin".into(),
            groups: vec!["system:masters".into()],
        };
        let router = router(api.clone()).layer(axum::Extension(admin));
        Self {
            api,
            service: TowerToHyperService::new(router),
        }
    }

    async fn raw(&self, request: Request) -> axum::response::Response {
        self.service.call(request).await.unwrap()
    }

    async fn send(&self, request: Request) -> Answer {
        let (parts, body) = self.raw(request).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| text());
        Answer {
            code: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path, "")).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(request(Method::POST, path, body.to_string()))
            .await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(request(Method::PUT, path, body.to_string()))
            .await
    }

    async fn delete(&self, path: &str, body: Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.send(request(Method::DELETE, path, body)).await
    }

    async fn patch(&self, path: &str, dialect: &str, body: Value) -> Answer {
        let mut request = request(Method::PATCH, path, body.to_string());
        let media = format!("application/{dialect}+json").parse().unwrap();
        request.headers_mut().insert("content-type", media);
        self.send(request).await
    }

    async fn table(&self, path: &str) -> Answer {
        let mut request = request(Method::GET, path, "");
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        request
            .headers_mut()
            .insert("accept", accept.parse().unwrap());
        self.send(request).await
    }
}

fn request(method: Method, path: &str, body: impl Into<Bytes>) -> Request {
    let body = Body::from(body.into());
    Request::builder()
        .method(method)
        .uri(path)
        .body(body)
        .unwrap()
}

/// What watches can reach back.
const HISTORY_BYTES: usize = 1 << 20;

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"key": "value"}})
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "busybox"}]}})
}

fn deployment(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "busybox"}]}}}})
}

const CONFIG_MAPS: &str = "/api/v1/namespaces/shop/configmaps";
const PODS: &str = "/api/v1/namespaces/shop/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/shop/deployments";
