//! Bodies of answers: collected within a bound, or read as they come, by chunk or by line.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::error::ClientError;

/// The largest body that is collected: a page of 500 objects of the largest size would be more,
/// but such objects do not come in hundreds.
pub const BODY_MAX: usize = 256 << 20;

/// The largest error body that is read.
pub(crate) const ERROR_BODY_MAX: usize = 4 << 20;

/// The longest line of a stream of lines: an event holds one object of at most 3 MB.
pub const LINE_MAX: usize = 16 << 20;

/// How long a body that is collected may stand still.
const STALL: Duration = Duration::from_secs(30);

/// Reads a body to its end.
pub(crate) async fn collect(mut body: Incoming, limit: usize) -> Result<Bytes, ClientError> {
    let mut collected = BytesMut::new();
    loop {
        let frame = timeout(STALL, body.frame())
            .await
            .map_err(|_| ClientError::BodyStalled(STALL))?;
        let Some(frame) = frame else {
            return Ok(collected.freeze());
        };
        if let Ok(data) = frame.map_err(ClientError::Body)?.into_data() {
            if collected.len() + data.len() > limit {
                return Err(ClientError::BodyTooLarge(limit));
            }
            collected.extend_from_slice(&data);
        }
    }
}

/// A body that is read as it comes; it may never end.
#[derive(Debug)]
pub struct ByteStream(Incoming);

impl ByteStream {
    pub(crate) fn new(body: Incoming) -> Self {
        Self(body)
    }

    /// The next piece, or `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// [`ClientError::Body`] if the stream breaks off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.0.frame().await {
            if let Ok(data) = frame.map_err(ClientError::Body)?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// Reads it line by line.
    #[must_use]
    pub fn lines(self) -> Lines {
        Lines {
            stream: self,
            buffer: BytesMut::new(),
            searched: 0,
            ended: false,
        }
    }
}

/// A body that is read line by line.
#[derive(Debug)]
pub struct Lines {
    stream: ByteStream,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
    ended: bool,
}

impl Lines {
    /// The next line without its end, or `None` after the last. Cancel-safe.
    ///
    /// # Errors
    /// [`ClientError::Body`] if the stream breaks off, [`ClientError::BodyTooLarge`] if a line is
    /// longer than [`LINE_MAX`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(Some(line));
            }
            if self.ended {
                let rest = self.buffer.split().freeze();
                return Ok((!rest.is_empty()).then_some(rest));
            }
            if self.buffer.len() > LINE_MAX {
                return Err(ClientError::BodyTooLarge(LINE_MAX));
            }
            match self.stream.next().await? {
                Some(data) => self.buffer.extend_from_slice(&data),
                None => self.ended = true,
            }
        }
    }

    fn take_line(&mut self) -> Option<Bytes> {
        let unsearched = self.buffer.get(self.searched..)?;
        let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + at).freeze();
        self.buffer.advance(1);
        self.searched = 0;
        Some(line)
    }
}
