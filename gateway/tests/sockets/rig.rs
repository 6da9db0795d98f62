//! A gateway in this process with everything around it: objects as the servers would tell them,
//! and upstreams that do what a closure says.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use skiff_api::gateway::Report;
use skiff_api::{Kind, Revision};
use skiff_client::Event;
use skiff_gateway::config::{Config, Listen};
use skiff_gateway::route::Note;
use skiff_gateway::{Gateway, Objects, Sources};
use skiff_network::Catalog;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Whatever should happen soon happens within this, also on a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A running gateway.
pub(crate) struct Rig {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) notes: mpsc::Receiver<Note>,
    pub(crate) applied: watch::Receiver<Revision>,
    pub(crate) reports: watch::Receiver<Arc<Report>>,
    pub(crate) stop: CancellationToken,
    objects: watch::Sender<Arc<Objects>>,
    catalog: watch::Sender<Arc<Catalog>>,
    revision: u64,
    pub(crate) task: JoinHandle<()>,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let listen: Listen = "127.0.0.1:0,127.0.0.1:0".parse().unwrap();
        let mut config = Config::new("here".to_owned(), listen);
        config.admin = Some("127.0.0.1:0".parse().unwrap());
        config.workers = Some(2);
        change(&mut config);
        let nothing_yet = Arc::new(config.report());
        let gateway = Gateway::open(config).await.unwrap();
        let addresses = gateway.addresses();
        let (objects, objects_seen) = watch::channel(Arc::new(Objects::default()));
        let (catalog, catalog_seen) = watch::channel(Arc::new(Catalog::default()));
        let (told, notes) = mpsc::channel(64);
        let (applying, applied) = watch::channel(Revision(0));
        let (reporting, reports) = watch::channel(nothing_yet);
        let sources = Sources {
            objects: objects_seen,
            catalog: catalog_seen,
            notes: told,
            applied: applying,
            reports: reporting,
        };
        let stop = CancellationToken::new();
        let until = stop.clone();
        let task = tokio::spawn(async move { gateway.serve(sources, until).await.unwrap() });
        Self {
            http: addresses[0],
            https: addresses[1],
            admin: addresses[2],
            notes,
            applied,
            reports,
            stop,
            objects,
            catalog,
            revision: 0,
            task,
        }
    }

    /// Shows Ingresses and TLS Secrets.
    pub(crate) fn objects(&self, ingresses: &[Value], secrets: &[(&str, String, String)]) {
        let read = |value: &Value| serde_json::from_value(value.clone()).unwrap();
        let pair = |(name, chain, key): &(&str, String, String)| {
            let pair = (chain.clone().into_bytes(), key.clone().into_bytes());
            (("d".into(), (*name).into()), Ok(pair))
        };
        self.objects.send_replace(Arc::new(Objects {
            ingresses: ingresses.iter().map(read).collect(),
            classes: vec![],
            secrets: secrets.iter().map(pair).collect(),
            synced: true,
        }));
    }

    /// Shows services: each with its `appProtocol` and endpoints. Waits until they are in use.
    pub(crate) async fn services(&mut self, services: &[(&str, Option<&str>, &[SocketAddr])]) {
        let mut objects = Vec::new();
        for (name, protocol, endpoints) in services {
            objects.push((Kind::Service, service(name, *protocol)));
            // One slice per endpoint: each has a port of its own here.
            for (number, address) in endpoints.iter().enumerate() {
                let slice = slice(name, number, *address, self.revision + 1);
                objects.push((Kind::EndpointSlice, slice));
            }
        }
        self.catalog(objects).await;
    }

    /// Shows Services and EndpointSlices as they are. Waits until they are in use.
    pub(crate) async fn catalog(&mut self, objects: Vec<(Kind, Value)>) {
        self.revision += 1;
        let mut catalog = Catalog::default();
        for (kind, object) in objects {
            catalog.apply(kind, Event::Applied(object));
        }
        catalog.revision = Revision(self.revision);
        catalog.synced = true;
        self.catalog.send_replace(Arc::new(catalog));
        let wanted = Revision(self.revision);
        let waited = self.applied.wait_for(|applied| *applied >= wanted);
        tokio::time::timeout(SOON, waited).await.unwrap().unwrap();
    }

    /// Ends it, and waits for that.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(SOON, self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

fn service(name: &str, protocol: Option<&str>) -> Value {
    let mut port = json!({"name": "http", "port": 80, "protocol": "TCP"});
    if let Some(protocol) = protocol {
        port["appProtocol"] = protocol.into();
    }
    json!({"metadata": {"name": name, "namespace": "d"},
        "spec": {"type": "ClusterIP", "clusterIP": "10.43.0.9", "ports": [port]}})
}

fn slice(name: &str, number: usize, address: SocketAddr, revision: u64) -> Value {
    json!({
        "metadata": {"name": format!("{name}-{number}"), "namespace": "d",
            "resourceVersion": revision.to_string(),
            "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": address.port(), "protocol": "TCP"}],
        "endpoints": [{"addresses": [address.ip().to_string()], "conditions": {"ready": true}}],
    })
}

/// An Ingress of one rule for every host: `/` leads to a service's port 80.
pub(crate) fn ingress(name: &str, service: &str, annotations: Value) -> Value {
    ingress_at(name, None, "/", service, annotations)
}

/// An Ingress of one rule.
pub(crate) fn ingress_at(
    name: &str,
    host: Option<&str>,
    path: &str,
    service: &str,
    annotations: Value,
) -> Value {
    let backend = json!({"service": {"name": service, "port": {"number": 80}}});
    let mut rule = json!({"http": {"paths": [
        {"path": path, "pathType": "Prefix", "backend": backend}]}});
    if let Some(host) = host {
        rule["host"] = host.into();
    }
    json!({"metadata": {"name": name, "namespace": "d", "uid": format!("uid-{name}"),
        "annotations": annotations}, "spec": {"rules": [rule]}})
}

/// An upstream: HTTP/1.1 and HTTP/2 without TLS.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Upstream {
    pub(crate) async fn start<F, R>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answer.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let answered = answer(request);
                        async move { Ok::<_, Infallible>(answered.await) }
                    });
                    let io = TokioIo::new(stream);
                    let builder = auto::Builder::new(TokioExecutor::new());
                    builder.serve_connection(io, service).await.ok();
                });
            }
        });
        Self { address, task }
    }

    /// One that always says the same.
    pub(crate) async fn saying(text: &'static str) -> Self {
        Self::start(move |_| async move { Response::new(full(text)) }).await
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn full(text: impl Into<Bytes>) -> Body {
    BodyExt::boxed_unsync(Full::new(text.into()))
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

/// A request over a connection of its own.
pub(crate) async fn ask(to: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let stream = tokio::net::TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    answer(sender.send_request(request).await.unwrap()).await
}

/// Reads an answer to its end.
pub(crate) async fn answer(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        code: head.status.as_u16(),
        headers: head.headers,
        text: String::from_utf8_lossy(&body).into_owned(),
    }
}

/// A GET request.
pub(crate) fn get_request(host: &str, path: &str) -> Request<Full<Bytes>> {
    let request = Request::get(path).header("host", host);
    request.body(Full::default()).unwrap()
}

pub(crate) async fn get(to: SocketAddr, host: &str, path: &str) -> Answer {
    ask(to, get_request(host, path)).await
}

/// Asks again until an answer is as wanted.
pub(crate) async fn until(
    to: SocketAddr,
    (host, path): (&str, &str),
    wanted: impl Fn(&Answer) -> bool,
) -> Answer {
    let asking = async {
        loop {
            let answer = get(to, host, path).await;
            if wanted(&answer) {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, asking).await.unwrap()
}
