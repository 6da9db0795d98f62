//! Watches: JSON lines of what happens to the objects that pass a filter, as long as the client
//! reads. A client that falls behind, or asks for what is forgotten, is told to start over.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use rand::Rng as _;
use skiff_api::{Object, Reason, Revision, Status};
use skiff_engine::Change;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::Call;
use super::encode::{Encoder, serialize};
use super::filter::{Filter, Transition};
use super::list::{Go, Objects};
use super::options::{Start, WatchOptions};
use super::reply::{self, Refused};
use super::store::Reached;
use crate::watch::Watch;

/// Bytes of events sent at once.
const CHUNK: usize = 64 << 10;
/// A bookmark says so often how far a quiet watch has got.
const BOOKMARKS: Duration = Duration::from_secs(60);
/// A watch without a timeout of its own ends after this many seconds, at random, so that clients
/// spread over servers again.
const LASTS_SECONDS: std::ops::Range<u64> = 1800..3600;

/// Answers a WATCH.
///
/// # Errors
/// 400 and 422 for options that make no sense, 504 for a revision that does not come, 503 while this
/// server hears nothing from the others.
pub(super) async fn answer(call: &Call) -> Result<Response, Refused> {
    let options = WatchOptions::parse(&call.query)?;
    let filter = Filter::parse(&call.target, &call.query)?;
    let encoder = call.encoder()?;
    let cut_off = call.api.store.cut_off();
    if *cut_off.borrow() {
        return Err(super::Api::cut_off());
    }
    let (from, initial) = match options.start {
        Start::Behind(revision) => {
            // No list of ours can have given a revision that is not made yet: the client knows
            // another history and has to start over.
            if let Reached::Never { latest } = call.api.reach(revision).await? {
                let why = format!("too large resource version: {revision}, current: {latest}");
                return Ok(refused(&why));
            }
            (revision, None)
        }
        Start::Now => (call.api.read().await?.revision(), None),
        Start::Everything(freshness) | Start::Marked(freshness) => {
            let state = call.api.state(freshness).await?;
            let revision = state.revision();
            let state = call.api.with_heartbeats(filter.kind(), &state);
            (revision, Some(Objects::new(state, filter.clone(), None)))
        }
    };
    let watch = match call.api.hub.watch(filter.interest(), from) {
        Ok(watch) => watch,
        Err(expired) => return Ok(refused(&expired.to_string())),
    };
    let lasts = || Duration::from_secs(rand::rng().random_range(LASTS_SECONDS));
    let now = Instant::now();
    let watching = Watching {
        watch,
        filter,
        encoder,
        initial,
        mark: matches!(options.start, Start::Marked(_)).then_some(from),
        bookmark_at: options.bookmarks.then(|| now + BOOKMARKS),
        ends_at: now + options.timeout.unwrap_or_else(lasts),
        cut_off,
        over: false,
    };
    let chunks = stream::unfold(watching, |mut watching| async move {
        let chunk = watching.next().await?;
        Some((Ok::<_, Infallible>(chunk), watching))
    });
    Ok(reply::with_body(
        StatusCode::OK,
        reply::JSON,
        Body::from_stream(chunks),
    ))
}

/// As Kubernetes does: the watch begins, and its only event says why it ends.
fn refused(why: &str) -> Response {
    let mut event = Vec::new();
    error(why, &mut event);
    reply::json(StatusCode::OK, event)
}

struct Watching {
    watch: Watch,
    filter: Filter,
    encoder: Encoder,
    /// What is still to be told of the objects that were there at the beginning.
    initial: Option<Objects>,
    /// The revision of the bookmark that ends the initial events, until it is sent.
    mark: Option<Revision>,
    /// When the next bookmark is due, if the client wants any.
    bookmark_at: Option<Instant>,
    ends_at: Instant,
    /// Turns true when this server hears nothing from the others any more: nothing would come.
    cut_off: Receiver<bool>,
    over: bool,
}

impl Watching {
    /// The next lines; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        while out.is_empty() && !self.over {
            if self.initial.is_some() {
                self.begin(&mut out);
            } else {
                self.go_on(&mut out).await;
            }
        }
        (!out.is_empty()).then(|| out.into())
    }

    /// Tells some of the objects that are there.
    fn begin(&mut self, out: &mut Vec<u8>) {
        let Some(objects) = &mut self.initial else {
            return;
        };
        let encoder = self.encoder;
        let more = objects.read(|object| {
            event("ADDED", encoder, object, out);
            if out.len() < CHUNK { Go::On } else { Go::Rest }
        });
        if more {
            return;
        }
        self.initial = None;
        if let Some(revision) = self.mark.take() {
            self.bookmark(revision, true, out);
        }
    }

    /// Waits for a change, a bookmark or the end.
    async fn go_on(&mut self, out: &mut Vec<u8>) {
        let wakes = self
            .bookmark_at
            .map_or(self.ends_at, |at| at.min(self.ends_at));
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(wakes) => self.wake(out),
            () = turned(&mut self.cut_off) => self.over = true,
            change = self.watch.next() => match change {
                Some(change) => self.tell(&change, out),
                None => {
                    self.over = true;
                    error("too old resource version: the watch fell behind", out);
                }
            },
        }
        // What waits already goes out with it.
        while !self.over && !out.is_empty() && out.len() < CHUNK {
            let Some(change) = self.watch.try_next() else {
                return;
            };
            self.tell(&change, out);
        }
    }

    fn wake(&mut self, out: &mut Vec<u8>) {
        let now = Instant::now();
        self.over = now >= self.ends_at;
        if self.bookmark_at.is_none() {
            return;
        }
        self.bookmark_at = Some(now + BOOKMARKS);
        if let Some(revision) = self.watch.bookmark() {
            self.bookmark(revision, false, out);
        }
    }

    fn tell(&self, change: &Change, out: &mut Vec<u8>) {
        match self.filter.transition(change) {
            Some(Transition::Added(object)) => event("ADDED", self.encoder, &object, out),
            Some(Transition::Modified(object)) => event("MODIFIED", self.encoder, &object, out),
            Some(Transition::Deleted(object)) => event("DELETED", self.encoder, &object, out),
            None => {}
        }
    }

    fn bookmark(&self, revision: Revision, ends_initial: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":\"BOOKMARK\",\"object\":");
        self.encoder.bookmark(revision, ends_initial, out);
        out.extend_from_slice(b"}\n");
    }
}

/// Waits until a flag is true, or nobody is left to set it.
async fn turned(flag: &mut Receiver<bool>) {
    drop(flag.wait_for(|set| *set).await);
}

fn event(of: &str, encoder: Encoder, object: &Object, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(of.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    encoder.object(object, out);
    out.extend_from_slice(b"}\n");
}

fn error(message: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"ERROR\",\"object\":");
    serialize(&Status::failure(Reason::Expired, message), out);
    out.extend_from_slice(b"}\n");
}
