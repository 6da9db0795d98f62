//! A client's stream, with or without TLS, whose traffic is counted.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::Activity;

/// A client's stream.
pub(crate) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Io {
    /// Waits until there is something to read, or the end.
    pub(super) async fn readable(&self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => {
                stream.ready(Interest::READABLE).await?;
            }
            // What TLS has decrypted already was read before the connection became idle.
            Self::Tls(stream) => {
                stream.get_ref().0.ready(Interest::READABLE).await?;
            }
        }
        Ok(())
    }
}

/// A stream that tells what it does.
pub(crate) struct Tracked {
    io: Io,
    /// What was read of it before.
    early: Bytes,
    activity: Arc<Activity>,
}

impl Tracked {
    pub(super) fn new(io: Io, early: Bytes, activity: Arc<Activity>) -> Self {
        activity.read(early.len());
        activity.set_blocked(false);
        Self {
            io,
            early,
            activity,
        }
    }

    pub(crate) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }

    pub(super) fn into_parts(self) -> (Io, Bytes) {
        (self.io, self.early)
    }

    fn note<T>(&self, polled: &Poll<T>) {
        self.activity.set_blocked(polled.is_pending());
    }
}

impl AsyncRead for Tracked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.early.is_empty() {
            let count = self.early.len().min(buffer.remaining());
            buffer.put_slice(self.early.get(..count).unwrap_or_default());
            self.early.advance(count);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Io::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        ready!(read)?;
        self.activity.read(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tracked {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Io::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        self.note(&written);
        if let Poll::Ready(Ok(count)) = &written {
            self.activity.written(*count);
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        };
        self.note(&written);
        if let Poll::Ready(Ok(count)) = &written {
            self.activity.written(*count);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        let flushed = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(context),
            Io::Tls(stream) => Pin::new(stream).poll_flush(context),
        };
        // Asked for only when everything was written.
        self.note(&flushed);
        flushed
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
