//! A backend without a container that speaks what a gateway has to carry: HTTP, WebSocket, server-sent
//! events, gRPC. It runs in this process, at the address that this machine has in its network.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::upstream::own_address;

/// The key of a WebSocket's beginning, and what it must be answered with: RFC 6455's example.
pub const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The answer.
pub const WEBSOCKET_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Where gRPC's health check is.
pub const HEALTH_PATH: &str = "/grpc.health.v1.Health/Check";
/// An empty request for it: not compressed, no bytes.
pub const HEALTH_REQUEST: &[u8] = &[0, 0, 0, 0, 0];
/// Its answer: two bytes that say `status: SERVING`.
pub const HEALTH_SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

/// What a body is made of, as it comes.
type Frames = mpsc::Receiver<Frame<Bytes>>;

/// The backend; it ends with this.
pub struct Backend {
    /// Where it is reached.
    pub address: SocketAddr,
    events: mpsc::Sender<Frame<Bytes>>,
    _runtime: Runtime,
}

/// What it answers from.
struct Source {
    name: &'static str,
    /// The events of the first who asks for them.
    events: Mutex<Option<Frames>>,
}

impl Backend {
    /// Starts one; `name` is what it says to everybody who asks for nothing special.
    ///
    /// # Panics
    /// If the machine has no port or no runtime for it.
    #[must_use]
    pub fn start(name: &'static str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = TcpListener::bind((own_address(), 0)).expect("a free port");
        let address = listener.local_addr().expect("the port's address");
        listener
            .set_nonblocking(true)
            .expect("a listener for tokio");
        let (events, told) = mpsc::channel(1);
        let source = Arc::new(Source {
            name,
            events: Mutex::new(Some(told)),
        });
        runtime.spawn(accept(listener, source));
        Self {
            address,
            events,
            _runtime: runtime,
        }
    }

    /// Sends one event to whoever asked for them.
    ///
    /// # Panics
    /// If nobody did, or does any more.
    pub fn send_event(&self, text: &str) {
        let frame = Frame::data(format!("data: {text}\n\n").into());
        self.events.blocking_send(frame).expect("somebody listens");
    }
}

async fn accept(listener: TcpListener, source: Arc<Source>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener for tokio");
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap_or_default();
        let source = Arc::clone(&source);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&source), request));
            // Who asked may go at any time.
            auto::Builder::new(TokioExecutor::new())
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
                .await
                .unwrap_or_default();
        });
    }
}

async fn answer(
    source: Arc<Source>,
    request: Request<Incoming>,
) -> Result<Response<Parts>, Infallible> {
    Ok(match request.uri().path() {
        "/events" => events(&source),
        "/chat" => chat(request),
        HEALTH_PATH => health(request).await,
        _ => whole(source.name),
    })
}

fn whole(text: &'static str) -> Response<Parts> {
    Response::new(Parts::of([Frame::data(text.into())]))
}

fn refused(status: StatusCode) -> Response<Parts> {
    let mut response = whole("");
    *response.status_mut() = status;
    response
}

fn events(source: &Source) -> Response<Parts> {
    let mut events = source.events.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(frames) = events.take() else {
        return refused(StatusCode::CONFLICT);
    };
    let mut response = Response::new(Parts(frames));
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Becomes a WebSocket that says back whatever it hears.
fn chat(mut request: Request<Incoming>) -> Response<Parts> {
    let headers = request.headers();
    if headers.get(header::SEC_WEBSOCKET_KEY) != Some(&HeaderValue::from_static(WEBSOCKET_KEY)) {
        return refused(StatusCode::BAD_REQUEST);
    }
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(stream) = upgraded.await else { return };
        let mut stream = TokioIo::new(stream);
        while let Some(text) = hear(&mut stream).await {
            if stream.write_all(&spoken(&text)).await.is_err() {
                return;
            }
        }
    });
    let mut response = refused(StatusCode::SWITCHING_PROTOCOLS);
    for (name, value) in [
        (header::CONNECTION, "upgrade"),
        (header::UPGRADE, "websocket"),
        (header::SEC_WEBSOCKET_ACCEPT, WEBSOCKET_ACCEPT),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

/// The text of one short frame of a client, who masks it; nothing at the end.
async fn hear(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut head = [0; 6];
    stream.read_exact(&mut head).await.ok()?;
    let (length, mask) = (head[1] & 0x7f, &head[2..]);
    let mut text = vec![0; length.into()];
    stream.read_exact(&mut text).await.ok()?;
    let masks = mask.iter().cycle();
    text.iter_mut()
        .zip(masks)
        .for_each(|(byte, mask)| *byte ^= mask);
    Some(text)
}

/// A short text as one frame of a server.
fn spoken(text: &[u8]) -> Vec<u8> {
    const TEXT_WHOLE: u8 = 0x81;
    let length = u8::try_from(text.len()).unwrap_or_default();
    [&[TEXT_WHOLE, length], text].concat()
}

/// A short text as one frame of a client, with a mask.
#[must_use]
pub fn masked(text: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let mut frame = spoken(text);
    frame[1] |= 0x80;
    let (head, text) = frame.split_at(2);
    let masks = MASK.iter().cycle();
    let text: Vec<u8> = text
        .iter()
        .zip(masks)
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    [head, &MASK, &text].concat()
}

async fn health(request: Request<Incoming>) -> Response<Parts> {
    let told = request
        .headers()
        .get(header::TE)
        .is_some_and(|te| te == "trailers");
    let body = request.into_body().collect().await;
    let asked = body.is_ok_and(|body| body.to_bytes() == HEALTH_REQUEST);
    if !told || !asked {
        return refused(StatusCode::BAD_REQUEST);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [
        Frame::data(Bytes::from_static(HEALTH_SERVING)),
        Frame::trailers(trailers),
    ];
    let mut response = Response::new(Parts::of(frames));
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A body whose parts come one by one.
struct Parts(Frames);

impl Parts {
    /// One whose parts are all there.
    fn of<const COUNT: usize>(frames: [Frame<Bytes>; COUNT]) -> Self {
        let (put, take) = mpsc::channel(COUNT);
        for frame in frames {
            // There is room for exactly these.
            put.try_send(frame).unwrap_or_default();
        }
        Self(take)
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}
