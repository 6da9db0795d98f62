//! Sending snapshots: a member that is too far behind gets the whole state, in frames, at the speed
//! at which it takes them; a stream that broke goes on where the member stands.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{Method, StatusCode};
use raft::eraftpb::Message;
use tokio::sync::Semaphore;

use super::group::Group;
use super::link::{Link, text_of};
use super::message::{self, MessageError};
use super::{DialError, SNAPSHOT_PATH, chain};
use crate::snapshot::StateAt;

/// Snapshots sent at the same time, in all: each takes a share of the leader's CPU and network.
pub(super) const AT_ONCE: usize = 2;
/// How often a broken stream is taken up again before raft is told that it failed.
const TRIES: u32 = 8;
/// The wait before it is taken up again.
const AGAIN: Duration = Duration::from_millis(500);
/// The first wait after one that failed, before raft may take another; doubled each time…
const FAILED_MIN: Duration = Duration::from_secs(1);
/// …up to this: the whole state is no small thing to send for nothing.
const FAILED_MAX: Duration = Duration::from_secs(60);
/// A snapshot that takes longer than this has come to a stop: gigabytes take minutes.
const TIME_MAX: Duration = Duration::from_secs(3600);

/// Why a snapshot did not arrive.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("dial it")]
    Dial(#[from] DialError),
    #[error("the connection broke")]
    Broken(#[from] hyper::Error),
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
    #[error("the message cannot be written")]
    Frame(#[from] MessageError),
    #[error("the frames could not be made")]
    Frames(#[source] tokio::task::JoinError),
    #[error("it answered {code}: {why}")]
    Answered { code: StatusCode, why: String },
}

/// What became of a snapshot.
enum End {
    Arrived,
    /// Another one takes its place.
    Superseded,
    Failed,
}

impl SendError {
    /// Whether the stream may go on where it stands. Another place than we thought, or no room
    /// just now, is no reason to give up.
    fn may_go_on(&self) -> bool {
        match self {
            Self::Dial(_) | Self::Broken(_) => true,
            Self::Request(_) | Self::Frame(_) | Self::Frames(_) => false,
            Self::Answered { code, .. } => {
                matches!(
                    *code,
                    StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE
                )
            }
        }
    }
}

impl Link {
    /// Sends the snapshots that raft announces, one after the other, and tells what became of each.
    pub(super) async fn run_snapshots(&self, group: &dyn Group, at_once: &Semaphore) {
        let mut wait = FAILED_MIN;
        while let Some(message) = self.stop.run_until_cancelled(self.queue.snapshot()).await {
            let sending = async {
                let turn = at_once.acquire().await.ok()?;
                let sent = tokio::time::timeout(TIME_MAX, self.deliver(message, group)).await;
                drop(turn);
                let end = sent.unwrap_or(End::Failed);
                if matches!(end, End::Failed) {
                    // Raft sends it nothing else meanwhile, and takes the next one at once.
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(FAILED_MAX);
                } else {
                    wait = FAILED_MIN;
                }
                Some(end)
            };
            let end = self.stop.run_until_cancelled(sending).await.flatten();
            group.report_snapshot(self.member, matches!(end, Some(End::Arrived)));
        }
        if self.queue.take_snapshot().is_some() {
            group.report_snapshot(self.member, false);
        }
    }

    async fn deliver(&self, message: Message, group: &dyn Group) -> End {
        let index = message.get_snapshot().get_metadata().index;
        let member = self.member;
        let Some(snapshot) = group.snapshot_at(index) else {
            tracing::warn!(
                member,
                index,
                "a snapshot is no longer kept; raft takes another"
            );
            return End::Superseded;
        };
        for attempt in 1..=TRIES {
            let err = match self.attempt(&message, &snapshot).await {
                Ok(()) => {
                    tracing::info!(member, index, "a server took a snapshot");
                    return End::Arrived;
                }
                Err(err) => err,
            };
            let error = chain(&err);
            if self.queue.has_snapshot() {
                return End::Superseded;
            }
            if !err.may_go_on() || attempt == TRIES {
                tracing::warn!(member, index, error, "a server did not take a snapshot");
                return End::Failed;
            }
            tracing::debug!(member, index, error, attempt, "a snapshot goes on soon");
            tokio::time::sleep(AGAIN).await;
        }
        End::Failed
    }

    async fn attempt(&self, message: &Message, snapshot: &StateAt) -> Result<(), SendError> {
        let Some(frames) = self.frames_there(message).await? else {
            return Ok(());
        };
        let rest = frames_from(snapshot, frames).await?;
        let mut head = Vec::new();
        message::append(message, &mut head)?;
        let pieces = std::iter::once(Bytes::from(head)).chain(rest);
        let body = Body::from_stream(stream::unfold(pieces, |mut pieces| async move {
            // Making a frame is work; others may run in between.
            tokio::task::yield_now().await;
            Some((Ok::<_, Infallible>(pieces.next()?), pieces))
        }));
        let path = format!("{SNAPSHOT_PATH}?frames={frames}");
        let request = self.request(Method::POST, &path, body)?;
        let response = self.bulk().await?.send_request(request).await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            code => Err(SendError::Answered {
                code,
                why: text_of(response.into_body()).await,
            }),
        }
    }

    /// How many frames the member has from an earlier attempt; nothing if it has the whole state.
    async fn frames_there(&self, message: &Message) -> Result<Option<u64>, SendError> {
        let metadata = message.get_snapshot().get_metadata();
        let path = format!(
            "{SNAPSHOT_PATH}?index={}&term={}",
            metadata.index, metadata.term
        );
        let request = self.request(Method::GET, &path, Body::empty())?;
        let response = self.bulk().await?.send_request(request).await?;
        let code = response.status();
        let why = text_of(response.into_body()).await;
        match (code, why.parse()) {
            (StatusCode::NO_CONTENT, _) => Ok(None),
            (StatusCode::OK, Ok(frames)) => Ok(Some(frames)),
            _ => Err(SendError::Answered { code, why }),
        }
    }
}

/// The frames behind those that are there already. Making frames only to leave them out is work
/// without a pause, so it is done where nobody waits.
async fn frames_from(
    snapshot: &StateAt,
    there: u64,
) -> Result<impl Iterator<Item = Bytes> + Send + use<>, SendError> {
    let mut frames = snapshot.frames();
    if there == 0 {
        return Ok(frames);
    }
    let skipped = tokio::task::spawn_blocking(move || {
        for _ in 0..there {
            if frames.next().is_none() {
                break;
            }
        }
        frames
    });
    skipped.await.map_err(SendError::Frames)
}
