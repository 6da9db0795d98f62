//! A connection that many requests share: HTTP/2 to one endpoint. A task of its own drives it.
//! It never pings: servers of gRPC take more than one PING in five minutes for an attack.

use std::future::Future as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::client::conn::{TrySendError, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::net::sockopt;

use super::link::{self, Unsent};
use crate::body::{Payload, Stalled};

/// A silent connection is asked by TCP whether the host lives after this, and again each so often;
/// without an answer the limit of what may stay unacknowledged ends it.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Bytes of a body that may be on their way before the receiver has taken them.
const WINDOW: u32 = 1 << 20;

/// Requests at once on one connection, also where the endpoint allows more: what most servers allow.
/// The next ones get a connection of their own instead of waiting for the end of a long stream.
const STREAMS_MAX: usize = 100;

/// A handle; the connection ends with the last of them and the last request.
#[derive(Clone)]
pub(crate) struct Shared {
    sender: http2::SendRequest<Payload>,
    streams: Arc<Streams>,
}

/// How many requests are on a connection, and how many may be.
struct Streams {
    open: AtomicUsize,
    most: AtomicUsize,
}

/// A place for one request on a connection.
pub(crate) struct Stream(Shared);

/// The body of an answer; its stream counts until it has ended.
pub(crate) struct Streamed {
    body: Incoming,
    _stream: Stream,
}

impl Shared {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr, timeout: Duration) -> std::io::Result<Self> {
        let stream = link::connect(address, timeout).await?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, KEEPALIVE)?;
        sockopt::set_tcp_keepintvl(&stream, KEEPALIVE)?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(2 * WINDOW);
        let (sender, mut connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        let streams = Arc::new(Streams {
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(STREAMS_MAX),
        });
        let told = Arc::clone(&streams);
        tokio::spawn(async move {
            let driven = std::future::poll_fn(|context| {
                let polled = Pin::new(&mut connection).poll(context);
                // At least one: a server that allows none for now is waited for.
                let allowed = connection.current_max_send_streams();
                let most = allowed.clamp(1, STREAMS_MAX);
                told.most.store(most, Ordering::Relaxed);
                polled
            });
            if let Err(error) = driven.await {
                tracing::debug!(%address, %error, "connection to an endpoint ended");
            }
        });
        Ok(Self { sender, streams })
    }

    pub(crate) fn is_usable(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Whether no request is on it.
    pub(super) fn is_idle(&self) -> bool {
        self.streams.open.load(Ordering::Relaxed) == 0
    }

    /// A place for a request, if there is one.
    pub(crate) fn enter(&self) -> Option<Stream> {
        let order = Ordering::Relaxed;
        let most = self.streams.most.load(order);
        let more = |count: usize| (count < most).then_some(count + 1);
        let entered = self.streams.open.fetch_update(order, order, more);
        entered.is_ok().then(|| Stream(self.clone()))
    }
}

impl Stream {
    /// Sends a request and waits for the answer's head.
    pub(crate) async fn exchange(
        mut self,
        request: Request<Payload>,
    ) -> Result<Response<Streamed>, Unsent> {
        if let Err(error) = self.0.sender.ready().await {
            return Err(Unsent {
                error,
                request: Some(Box::new(request)),
            });
        }
        let unsent = |mut error: TrySendError<Request<Payload>>| Unsent {
            request: error.take_message().map(Box::new),
            error: error.into_error(),
        };
        let sent = self.0.sender.try_send_request(request);
        let response = sent.await.map_err(unsent)?;
        Ok(response.map(|body| Streamed {
            body,
            _stream: self,
        }))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Streamed {
    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stalled>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        polled.map(|frame| frame.map(|frame| frame.map_err(|_| Stalled::Broken)))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const PING: u8 = 6;

    /// A connection, and the endpoint's side of it, which allows so many streams.
    async fn connected(streams: u8) -> (Shared, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared::open(address, TIMEOUT).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let settings = [0, 0, 6, SETTINGS, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, streams];
        server.write_all(&settings).await.unwrap();
        let mut preface = [0; 24];
        server.read_exact(&mut preface).await.unwrap();
        (shared, server)
    }

    /// The kind of the next frame, and whether it only acknowledges.
    async fn frame(server: &mut TcpStream) -> (u8, bool) {
        let mut head = [0; 9];
        server.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut rest = vec![0; usize::try_from(length).unwrap()];
        server.read_exact(&mut rest).await.unwrap();
        (head[3], head[4] & 1 == 1)
    }

    #[tokio::test]
    async fn a_stream_that_is_silent_for_minutes_is_not_pinged() {
        let (shared, mut server) = connected(100).await;
        let stream = shared.enter().unwrap();
        let request = Request::get("http://h/").body(Payload::none()).unwrap();
        let asking = tokio::spawn(stream.exchange(request));
        while frame(&mut server).await.0 != HEADERS {}
        tokio::time::pause();
        for _ in 0..240 {
            tokio::time::advance(Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
        }
        tokio::time::resume();
        let ping = async { while frame(&mut server).await.0 != PING {} };
        let pinged = tokio::time::timeout(Duration::from_millis(200), ping).await;
        assert!(pinged.is_err(), "an endpoint was pinged");
        asking.abort();
    }

    #[tokio::test]
    async fn a_connection_takes_as_many_requests_as_the_endpoint_allows_at_once() {
        for (allowed, expected) in [(1, 1), (3, 3), (255, STREAMS_MAX)] {
            let (shared, mut server) = connected(allowed).await;
            // The acknowledgement says that it knows what is allowed; it is used from the next
            // request on.
            while frame(&mut server).await != (SETTINGS, true) {}
            let request = Request::get("http://h/").body(Payload::none()).unwrap();
            let asking = tokio::spawn(shared.enter().unwrap().exchange(request));
            while frame(&mut server).await.0 != HEADERS {}
            let mut more: Vec<_> = std::iter::from_fn(|| shared.enter()).collect();
            assert_eq!(more.len() + 1, expected, "{allowed} allowed");
            if more.pop().is_some() {
                assert!(shared.enter().is_some(), "{allowed} allowed, one has ended");
            }
            asking.abort();
        }
    }
}
