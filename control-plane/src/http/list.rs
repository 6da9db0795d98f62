//! Lists: from a snapshot, in chunks, so that memory stays flat however long the list is.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use skiff_api::Key;
use skiff_engine::State;

use super::encode::Encoder;
use super::filter::Filter;
use super::options::ListOptions;
use super::pages::Token;
use super::reply::{self, Refused};
use super::{Api, Call};

/// Bytes encoded at a time: enough to be efficient, and a fraction of a millisecond of work
/// between two chances for others to run.
const CHUNK: usize = 64 << 10;

/// Answers a LIST.
///
/// # Errors
/// 400 and 422 for options that make no sense, 410 for a revision that is no longer there.
pub(super) async fn answer(call: &Call) -> Result<Response, Refused> {
    let options = ListOptions::parse(&call.query)?;
    let filter = Filter::parse(&call.target, &call.query)?;
    let encoder = call.encoder()?;
    let (state, after) = match &options.page {
        Some(token) => {
            let latest = call.api.read().await?;
            let state = call.api.pages.of(token, latest, Instant::now())?;
            (state, Some(token.last(filter.kind())))
        }
        None => (call.api.state(options.freshness).await?, None),
    };
    let objects = Objects::new(
        call.api.with_heartbeats(filter.kind(), &state),
        filter,
        after,
    );
    let list = List {
        api: call.api.clone(),
        state,
        objects,
        encoder,
        left: options.limit,
    };
    Ok(list.into_response())
}

/// The objects of a snapshot that pass a filter, from where the last reading ended.
pub(super) struct Objects {
    state: State,
    filter: Filter,
    last: Option<Key>,
}

impl Objects {
    pub(super) const fn new(state: State, filter: Filter, after: Option<Key>) -> Self {
        Self {
            state,
            filter,
            last: after,
        }
    }

    /// Goes on with the next objects until `take` has enough; whether there may be more.
    pub(super) fn read(&mut self, mut take: impl FnMut(&skiff_api::Object) -> Go) -> bool {
        let mut last = None;
        let mut more = false;
        for object in self.filter.select(&self.state, self.last.as_ref()) {
            match take(object) {
                Go::On => last = Some(object),
                Go::Rest => {
                    last = Some(object);
                    more = true;
                    break;
                }
                Go::Stop => {
                    more = true;
                    break;
                }
            }
        }
        let last = last.map(|object| object.key().clone());
        if last.is_some() {
            self.last = last;
        }
        more
    }
}

/// What to do after an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Go {
    /// Take the next one.
    On,
    /// This one was taken; go on later.
    Rest,
    /// This one was not taken.
    Stop,
}

struct List {
    api: Arc<Api>,
    /// As it was read; kept if there are more pages.
    state: State,
    objects: Objects,
    encoder: Encoder,
    /// How many objects the page may still have.
    left: Option<usize>,
}

impl List {
    fn into_response(mut self) -> Response {
        let mut first = Vec::with_capacity(4096);
        self.encoder.begin(&mut first);
        let begun = first.len();
        if !self.fill(&mut first, begun) {
            return reply::json(StatusCode::OK, first);
        }
        let rest = stream::unfold(Some(self), |list| async move {
            let mut list = list?;
            let mut chunk = Vec::with_capacity(CHUNK + CHUNK / 8);
            let more = list.fill(&mut chunk, usize::MAX);
            Some((chunk, more.then_some(list)))
        });
        let chunks = futures_util::StreamExt::map(
            futures_util::StreamExt::chain(stream::iter([first]), rest),
            |chunk| Ok::<_, Infallible>(Bytes::from(chunk)),
        );
        reply::with_body(StatusCode::OK, reply::JSON, Body::from_stream(chunks))
    }

    /// Appends the next chunk; whether more follow. No comma goes where the items begin.
    fn fill(&mut self, out: &mut Vec<u8>, begun: usize) -> bool {
        let Self {
            objects,
            encoder,
            left,
            ..
        } = self;
        let more = objects.read(|object| {
            if *left == Some(0) {
                return Go::Stop;
            }
            if out.len() != begun {
                out.push(b',');
            }
            encoder.item(object, out);
            *left = left.map(|left| left - 1);
            if out.len() < CHUNK { Go::On } else { Go::Rest }
        });
        if more && *left != Some(0) {
            return true;
        }
        let next = more.then(|| self.next_page()).flatten();
        self.encoder
            .end(self.state.revision(), next.as_deref(), out);
        false
    }

    /// Keeps the state for the next page and says where that begins.
    fn next_page(&self) -> Option<String> {
        self.api.pages.keep(&self.state, Instant::now());
        let last = self.objects.last.as_ref()?;
        Some(Token::behind(self.state.revision(), last).text())
    }
}
