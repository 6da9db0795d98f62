//! What a simulated container wrote, and reading it while it grows.

use bytes::Bytes;
use futures_util::stream;
use skiff_api::Millis;
use tokio::sync::watch;

use crate::runtime::{Answers, LogChunk, LogOptions, LogStream};

/// A container's log.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// The lines so far.
    pub(super) lines: Vec<Line>,
    /// Whether no more will come.
    pub(super) ended: bool,
}

/// One line with its end.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) at: Millis,
    pub(super) stream: LogStream,
    pub(super) text: Bytes,
}

/// The part of the log that is asked for, a chunk for each line.
pub(super) fn read(log: watch::Receiver<Log>, options: &LogOptions) -> Answers<LogChunk> {
    let LogOptions {
        follow,
        tail,
        since,
        timestamps,
    } = options.clone();
    let lines = log.borrow().lines.len();
    let tail = tail
        .and_then(|tail| usize::try_from(tail).ok())
        .unwrap_or(usize::MAX);
    let first = lines.saturating_sub(tail);
    Box::pin(stream::unfold(
        (log, first),
        move |(mut log, mut next)| async move {
            loop {
                let (line, ended) = {
                    let log = log.borrow_and_update();
                    (log.lines.get(next).cloned(), log.ended)
                };
                next += 1;
                match line {
                    Some(line) if since.is_some_and(|since| line.at < since) => {}
                    Some(line) => return Some((Ok(line.chunk(timestamps)), (log, next))),
                    None if ended || !follow => return None,
                    None => {
                        next -= 1;
                        log.changed().await.ok()?;
                    }
                }
            }
        },
    ))
}

impl Line {
    fn chunk(self, timestamps: bool) -> LogChunk {
        let bytes = if timestamps {
            let mut stamped = format!("{} ", self.at.rfc3339_micro()).into_bytes();
            stamped.extend_from_slice(&self.text);
            stamped.into()
        } else {
            self.text
        };
        LogChunk {
            stream: self.stream,
            bytes,
        }
    }
}
