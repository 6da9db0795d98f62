//! Bodies on their way through: nothing is collected, a side that does not read holds up the one
//! that writes, and each has a limit in size and in patience.

mod patience;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use self::patience::Patience;
use crate::proxy::Account;
use crate::upstream::{Driven, Lease, Streamed};

/// Why a body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stalled {
    /// The side that writes it hung up.
    #[error("the body broke off")]
    Broken,
    /// Nothing came for too long.
    #[error("the body paused for too long")]
    Silent,
    /// More came than is allowed.
    #[error("the body is larger than allowed")]
    TooLarge,
}

/// What those who sent a request can still see of its body.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    used: AtomicBool,
    too_large: AtomicBool,
    broke: AtomicBool,
    /// More of it was asked for, and the client has not sent it yet.
    owed: AtomicBool,
    bytes: AtomicU64,
}

impl Progress {
    /// Whether anything of the body was taken.
    pub(crate) fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether more came than is allowed.
    pub(crate) fn is_too_large(&self) -> bool {
        self.too_large.load(Ordering::Relaxed)
    }

    /// Whether the client did not send all of it.
    pub(crate) fn is_broken(&self) -> bool {
        self.broke.load(Ordering::Relaxed)
    }

    /// Waits no longer; whether it was the client that was waited for.
    pub(crate) fn give_up(&self) -> bool {
        let owed = self.owed.load(Ordering::Relaxed);
        self.broke.fetch_or(owed, Ordering::Relaxed);
        owed
    }

    /// Bytes taken so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// The body of a request on its way to an endpoint.
pub(crate) struct Payload(Option<Box<Stream>>);

struct Stream {
    body: Incoming,
    left: Option<u64>,
    patience: Patience,
    progress: Arc<Progress>,
}

impl Payload {
    /// No body.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// A body of at most so many bytes.
    pub(crate) fn of(body: Incoming, bytes_max: Option<u64>, pause_max: Duration) -> Self {
        if body.is_end_stream() {
            return Self::none();
        }
        Self(Some(Box::new(Stream {
            body,
            left: bytes_max,
            patience: Patience::new(pause_max),
            progress: Arc::default(),
        })))
    }

    /// What becomes of it; `None` if there is no body.
    pub(crate) fn progress(&self) -> Option<Arc<Progress>> {
        Some(Arc::clone(&self.0.as_ref()?.progress))
    }
}

impl Stream {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stalled>>> {
        self.progress.used.store(true, Ordering::Relaxed);
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let owed = &self.progress.owed;
        owed.store(polled.is_pending(), Ordering::Relaxed);
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.patience.moved();
                Poll::Ready(Some(self.count(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(self.broke(Stalled::Broken)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let over = self.patience.poll_over(context);
                over.map(|()| Some(Err(self.broke(Stalled::Silent))))
            }
        }
    }

    fn broke(&self, why: Stalled) -> Stalled {
        self.progress.broke.store(true, Ordering::Relaxed);
        why
    }

    fn count(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Stalled> {
        let length = frame.data_ref().map_or(0, |data| data.remaining());
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self.progress.bytes.fetch_add(length, Ordering::Relaxed);
        if let Some(left) = &mut self.left {
            match left.checked_sub(length) {
                Some(less) => *left = less,
                None => {
                    self.progress.too_large.store(true, Ordering::Relaxed);
                    return Err(Stalled::TooLarge);
                }
            }
        }
        Ok(frame)
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Stalled;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stalled>>> {
        match &mut self.0 {
            Some(stream) => stream.poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|stream| stream.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let none = || SizeHint::with_exact(0);
        self.0
            .as_ref()
            .map_or_else(none, |stream| stream.body.size_hint())
    }
}

/// The body of an answer on its way to a client.
pub(crate) enum Reply {
    /// The gateway's own words.
    Own(Bytes),
    /// An endpoint's answer.
    Passed(Box<Passed>),
}

/// An endpoint's answer, and what is to be told at its end.
pub(crate) struct Passed {
    source: Source,
    patience: Patience,
    account: Account,
    // Counts the request at its endpoint until the body has ended.
    _lease: Lease,
}

/// Where the bytes come from.
pub(crate) enum Source {
    /// A connection that must be driven.
    Driven(Driven),
    /// A connection that others drive.
    Shared(Streamed),
}

impl Reply {
    pub(crate) fn passed(
        source: Source,
        lease: Lease,
        pause_max: Duration,
        mut account: Account,
    ) -> Self {
        // Also before its first byte: a client's window may be closed from the beginning.
        account.waits();
        Self::Passed(Box::new(Passed {
            source,
            patience: Patience::new(pause_max),
            account,
            _lease: lease,
        }))
    }
}

impl Passed {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stalled>>> {
        self.account.goes_on();
        let polled = match &mut self.source {
            Source::Driven(driven) => driven.poll_frame(context),
            Source::Shared(streamed) => streamed.poll_frame(context),
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.patience.moved();
                let length = frame.data_ref().map_or(0, |data| data.remaining());
                self.account.sent(length);
                self.account.waits();
            }
            Poll::Ready(Some(Err(_))) => self.account.broke(),
            Poll::Ready(None) => {}
            Poll::Pending => {
                if self.patience.poll_over(context).is_ready() {
                    self.account.broke();
                    return Poll::Ready(Some(Err(Stalled::Silent)));
                }
            }
        }
        polled
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Stalled;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stalled>>> {
        match &mut *self {
            Self::Own(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Own(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Passed(passed) => passed.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_empty(),
            Self::Passed(passed) => match &passed.source {
                Source::Driven(driven) => driven.is_end_stream(),
                Source::Shared(body) => body.is_end_stream(),
            },
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Self::Passed(passed) => match &passed.source {
                Source::Driven(driven) => driven.size_hint(),
                Source::Shared(body) => body.size_hint(),
            },
        }
    }
}
