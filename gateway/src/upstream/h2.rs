//! A connection that many requests share: HTTP/2 to one endpoint. A task of its own drives it.

use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::link::{self, Unsent};
use crate::body::Payload;

/// A silent connection is asked whether it lives after this, and is dead if no answer comes for
/// as long again.
const PING: Duration = Duration::from_secs(10);

/// Bytes of a body that may be on their way before the receiver has taken them.
const WINDOW: u32 = 1 << 20;

/// A handle; the connection ends with the last of them and the last request.
#[derive(Clone)]
pub(crate) struct Shared(http2::SendRequest<Payload>);

impl Shared {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr, timeout: Duration) -> std::io::Result<Self> {
        let stream = link::connect(address, timeout).await?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(2 * WINDOW);
        let (sender, connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%address, %error, "connection to an endpoint ended");
            }
        });
        Ok(Self(sender))
    }

    pub(crate) fn is_usable(&self) -> bool {
        !self.0.is_closed()
    }

    /// Sends a request and waits for the answer's head.
    pub(crate) async fn exchange(
        mut self,
        request: Request<Payload>,
    ) -> Result<Response<Incoming>, Unsent> {
        if let Err(error) = self.0.ready().await {
            return Err(Unsent {
                error,
                request: Some(Box::new(request)),
            });
        }
        let unsent = |mut error: TrySendError<Request<Payload>>| Unsent {
            request: error.take_message().map(Box::new),
            error: error.into_error(),
        };
        self.0.try_send_request(request).await.map_err(unsent)
    }
}
