//! A server in this process for tests: TLS with HTTP/2 and HTTP/1.1, or plain HTTP/1.1, that
//! answers what a closure says and remembers what it was asked.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::config::{ClientConfig, Server};
use crate::tls::Trust;

/// One request as the fake saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) body: String,
    pub(crate) token: Option<String>,
    pub(crate) version: http::Version,
}

pub(crate) struct Fake {
    pub(crate) server: Server,
    pub(crate) trust: Trust,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// Which protocols the fake speaks.
#[derive(Clone, Copy)]
pub(crate) enum Speak {
    Plain,
    Tls(&'static [&'static [u8]]),
}

pub(crate) const H2: Speak = Speak::Tls(&[b"h2"]);

/// Answers of a fake: the code, and the body. A code of 0 breaks the connection, [`OPEN`] is a
/// success whose body does not end.
pub(crate) type Answer = (u16, String);

pub(crate) const OPEN: u16 = 1;

impl Fake {
    pub(crate) async fn start(
        speak: Speak,
        answer: impl FnMut(&str) -> Answer + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if matches!(speak, Speak::Plain) {
            "http"
        } else {
            "https"
        };
        let server = format!("{scheme}://{address}").parse().unwrap();
        let (acceptor, trust) = tls(speak);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(Mutex::new(answer));
        let connections = Arc::new(AtomicUsize::new(0));
        let (log, answers, count) = (asked.clone(), answer, connections.clone());
        let task = tokio::spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (log, answers, acceptor) = (log.clone(), answers.clone(), acceptor.clone());
                let service =
                    service_fn(move |request| respond(request, log.clone(), answers.clone()));
                served.spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let ended = match acceptor {
                        None => {
                            builder
                                .serve_connection(TokioIo::new(stream), service)
                                .await
                        }
                        Some(acceptor) => {
                            let Ok(stream) = acceptor.accept(stream).await else {
                                return;
                            };
                            builder
                                .serve_connection(TokioIo::new(stream), service)
                                .await
                        }
                    };
                    drop(ended);
                });
            }
        });
        Self {
            server,
            trust,
            asked,
            connections,
            task,
        }
    }

    pub(crate) fn config(&self) -> ClientConfig {
        ClientConfig::new(vec![self.server.clone()], self.trust.clone())
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Closes the listener and every connection.
    pub(crate) async fn stop(&self) {
        self.task.abort();
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn respond<F: FnMut(&str) -> Answer>(
    request: Request<Incoming>,
    log: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<F>>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, std::io::Error> {
    let target = request
        .uri()
        .path_and_query()
        .map_or("", |target| target.as_str());
    let line = format!("{} {target}", request.method());
    let token = request.headers().get("authorization");
    let token = token.map(|value| value.to_str().unwrap().to_owned());
    let version = request.version();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    log.lock().unwrap().push(Asked {
        line: line.clone(),
        body,
        token,
        version,
    });
    let (code, body) = (answers.lock().unwrap())(&line);
    if code == 0 {
        return Err(std::io::Error::other("the fake breaks the connection"));
    }
    if code == OPEN {
        let begun = stream::iter([Ok(Frame::data(Bytes::from(body)))]);
        let open = StreamBody::new(begun.chain(stream::pending()));
        return Ok(Response::new(BodyExt::boxed(open)));
    }
    let mut response = Response::new(BodyExt::boxed(Full::from(body)));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    Ok(response)
}

fn tls(speak: Speak) -> (Option<TlsAcceptor>, Trust) {
    let Speak::Tls(alpn) = speak else {
        return (None, Trust::Anything);
    };
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let trust = Trust::Roots(vec![made.cert.der().clone()]);
    (Some(TlsAcceptor::from(Arc::new(config))), trust)
}

/// A success.
pub(crate) fn ok(body: &str) -> Answer {
    (200, body.to_owned())
}
