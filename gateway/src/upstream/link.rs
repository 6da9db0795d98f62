//! A connection that serves one request at a time: HTTP/1.1 to one endpoint. It has no task of its
//! own: whoever waits for its answer drives it, so that a request never changes threads.

use std::future::Future as _;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};

use super::Endpoint;
use crate::body::{Payload, Stalled};
use crate::clock::Clock;

/// Bytes sent that a live host has acknowledged within this; else the host is lost, and its requests
/// go elsewhere before those who ask lose patience. Milliseconds: some retransmissions.
const UNACKNOWLEDGED_MS: u32 = 1_500;

/// The largest head of an answer: generous, but not for free.
const HEAD_MAX: usize = 64 * 1024;

/// A request that was not answered.
pub(crate) struct Unsent {
    pub(crate) error: hyper::Error,
    /// The request, if nothing of it was sent.
    pub(crate) request: Option<Box<Request<Payload>>>,
}

/// A connection and who drives it, in one. It is large, and goes from hand to hand with each request:
/// those who have one have it in a box.
pub(crate) struct Link {
    sender: http1::SendRequest<Payload>,
    connection: Connection,
    ended: bool,
}

type Connection = http1::Connection<TokioIo<TcpStream>, Payload>;

/// Connects to an endpoint.
pub(crate) async fn connect(address: SocketAddr, timeout: Duration) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_nodelay(true)?;
    rustix::net::sockopt::set_tcp_user_timeout(&socket, UNACKNOWLEDGED_MS)?;
    match tokio::time::timeout(timeout, socket.connect(address)).await {
        Ok(connected) => connected,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}

impl Link {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr, timeout: Duration) -> std::io::Result<Box<Self>> {
        let stream = connect(address, timeout).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_MAX);
        let (sender, connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        Ok(Box::new(Self {
            sender,
            connection,
            ended: false,
        }))
    }

    /// Whether another request can go this way: the other side has not hung up, and nothing of
    /// the request before is left.
    pub(crate) fn is_usable(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.ended && self.sender.is_ready()
    }

    fn drive(&mut self, context: &mut Context<'_>) {
        // It may not be polled once it has ended; how is told to whoever waits for an answer.
        if !self.ended {
            let polled = self.connection.poll_without_shutdown(context);
            self.ended = polled.is_ready();
        }
    }

    /// Sends a request and waits for the answer's head.
    pub(crate) async fn exchange(
        mut self: Box<Self>,
        request: Request<Payload>,
    ) -> Result<(Response<Incoming>, Box<Self>), Unsent> {
        let link = &mut *self;
        let mut answer = pin!(link.sender.try_send_request(request));
        let answered = std::future::poll_fn(|context| {
            if !link.ended {
                let polled = link.connection.poll_without_shutdown(context);
                link.ended = polled.is_ready();
            }
            answer.as_mut().poll(context)
        });
        let unsent = |mut error: TrySendError<Request<Payload>>| Unsent {
            request: error.take_message().map(Box::new),
            error: error.into_error(),
        };
        let response = answered.await.map_err(unsent)?;
        Ok((response, self))
    }

    /// What is left after a 101: the stream, and what was read of it already.
    pub(crate) async fn into_stream(mut self: Box<Self>) -> (TcpStream, Bytes) {
        std::future::poll_fn(|context| {
            self.drive(context);
            if self.ended {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        let parts = self.connection.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    }
}

/// The body of an answer, which drives its connection, and keeps it for others at its end.
pub(crate) struct Driven {
    body: Incoming,
    link: Option<Box<Link>>,
    /// Who keeps it, and by which clock.
    home: Option<(Arc<Endpoint>, usize, Clock)>,
}

impl Driven {
    pub(crate) fn new(
        (body, link): (Incoming, Box<Link>),
        (endpoint, worker): (Arc<Endpoint>, usize),
        clock: Clock,
    ) -> Self {
        let mut driven = Self {
            body,
            link: Some(link),
            home: Some((endpoint, worker, clock)),
        };
        if driven.body.is_end_stream() {
            driven.give_back();
        }
        driven
    }

    /// One that ends with the body: what its endpoint takes it for after an attempt to switch
    /// protocols, nobody knows for sure.
    pub(crate) fn last(body: Incoming, link: Box<Link>) -> Self {
        Self {
            body,
            link: Some(link),
            home: None,
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stalled>>> {
        let mut polled = Pin::new(&mut self.body).poll_frame(context);
        // Each drive may bring something to the body, and each look at the body may let the
        // connection go on.
        if polled.is_pending()
            && let Some(link) = &mut self.link
        {
            link.drive(context);
            polled = Pin::new(&mut self.body).poll_frame(context);
        }
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.give_back();
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(|_| Stalled::Broken)))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    fn give_back(&mut self) {
        if let (Some(mut link), Some((endpoint, worker, clock))) = (self.link.take(), &self.home)
            && link.is_usable()
        {
            endpoint.keep(*worker, link, clock.tick());
        }
    }
}
