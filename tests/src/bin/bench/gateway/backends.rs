//! What the proxies lead to: for each service some HTTP/1.1 servers that always say the same.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, TcpListener};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use skiff_tests::upstream::own_address;
use tokio::runtime::Runtime;

use super::{BACKENDS_EACH, SERVICES};
use crate::machine;

/// The size of an answer's body.
const BODY_BYTES: usize = 1024;

/// The servers; they end with this.
pub(super) struct Backends {
    services: Vec<(&'static str, Vec<SocketAddr>)>,
    _runtime: Runtime,
}

impl Backends {
    /// Starts all of them.
    pub(super) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(machine::cores().div_ceil(2))
            .enable_all()
            .build()
            .expect("a runtime");
        let host = own_address();
        let service = |name: &'static str| {
            let servers = (0..BACKENDS_EACH).map(|_| listen(&runtime, host, answer(name)));
            (name, servers.collect())
        };
        let services = SERVICES.into_iter().map(service).collect();
        Self {
            services,
            _runtime: runtime,
        }
    }

    /// The servers of each service.
    pub(super) fn services(&self) -> impl Iterator<Item = (&'static str, &[SocketAddr])> {
        let all = self.services.iter();
        all.map(|(name, servers)| (*name, servers.as_slice()))
    }

    /// A server of the first service.
    pub(super) fn any(&self) -> SocketAddr {
        let (_, servers) = self.services().next().expect("there are services");
        *servers.first().expect("a service has servers")
    }
}

/// A body that says whose it is.
fn answer(service: &str) -> Bytes {
    let mut body = format!("{service}\n").into_bytes();
    body.resize(BODY_BYTES, b'x');
    body.into()
}

fn listen(runtime: &Runtime, host: IpAddr, body: Bytes) -> SocketAddr {
    let listener = TcpListener::bind((host, 0)).expect("a free port");
    let address = listener.local_addr().expect("the port's address");
    listener
        .set_nonblocking(true)
        .expect("a listener for tokio");
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener for tokio");
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("send at once");
            let body = body.clone();
            tokio::spawn(async move {
                let service = service_fn(move |_| {
                    let response = Response::new(Full::new(body.clone()));
                    async move { Ok::<_, Infallible>(response) }
                });
                let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A proxy ends a connection as it likes.
                served.await.unwrap_or_default();
            });
        }
    });
    address
}
