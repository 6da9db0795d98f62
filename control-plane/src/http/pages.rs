//! Pagination at a fixed revision: continue tokens, and the states that they refer to.
//!
//! A state is cheap to keep while little changes and costs what was changed since: so only a few
//! are kept, for a bounded time, and a page that comes later starts over.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use skiff_api::{Key, Kind, Reason, Revision, Status};
use skiff_engine::State;

use super::reply::{Refused, refuse};

/// How long a state is kept after the last page of it was served: Kubernetes promises five
/// minutes by default.
const KEPT: Duration = Duration::from_secs(300);
/// States kept at most; each may hold on to as much as was changed since.
const KEPT_MAX: usize = 32;

/// Where a page ended: opaque to clients, in Kubernetes' own form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    #[serde(rename = "v")]
    version: String,
    /// The revision of all pages; -1 goes on with the latest, inconsistently.
    #[serde(rename = "rv")]
    revision: i64,
    /// `namespace/name` of the last object served, or `name`.
    start: String,
}

const VERSION: &str = "meta.k8s.io/v1";
const INCONSISTENT: i64 = -1;

impl Token {
    /// The token of the page behind an object.
    pub(crate) fn behind(revision: Revision, last: &Key) -> Self {
        let start = if last.namespace.is_empty() {
            last.name.to_string()
        } else {
            format!("{}/{}", last.namespace, last.name)
        };
        let revision = i64::try_from(revision.0).unwrap_or(INCONSISTENT);
        Self {
            version: VERSION.into(),
            revision,
            start,
        }
    }

    /// Reads a token.
    ///
    /// # Errors
    /// 400 if it is none of ours.
    pub(crate) fn parse(text: &str) -> Result<Self, Refused> {
        let invalid = |why: String| {
            refuse(
                Reason::BadRequest,
                format!("continue key is not valid: {why}"),
            )
        };
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
        let bytes = bytes.map_err(|err| invalid(err.to_string()))?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|err| invalid(err.to_string()))?;
        if token.version != VERSION {
            return Err(invalid(format!(
                "server does not recognize this encoded version {:?}",
                token.version
            )));
        }
        Ok(token)
    }

    /// The last object served.
    pub(crate) fn last(&self, kind: Kind) -> Key {
        let (namespace, name) = self.start.split_once('/').unwrap_or(("", &self.start));
        Key::new(kind, namespace, name)
    }

    /// The text that clients send back.
    pub(crate) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// The states that continue tokens refer to.
#[derive(Debug, Default)]
pub(crate) struct Pages(Mutex<BTreeMap<Revision, Kept>>);

#[derive(Debug)]
struct Kept {
    state: State,
    used: Instant,
}

impl Pages {
    /// Keeps a state for the pages that follow.
    pub(crate) fn keep(&self, state: &State, now: Instant) {
        let mut kept = self.lock();
        kept.retain(|_, entry| now.saturating_duration_since(entry.used) < KEPT);
        let entry = Kept {
            state: state.clone(),
            used: now,
        };
        kept.insert(state.revision(), entry);
        while kept.len() > KEPT_MAX {
            // The smallest revision is the one that holds on to most.
            kept.pop_first();
        }
    }

    /// The state of a revision, if it is still there.
    pub(crate) fn at(&self, revision: Revision, latest: &State, now: Instant) -> Option<State> {
        if latest.revision() == revision {
            return Some(latest.clone());
        }
        let mut kept = self.lock();
        kept.retain(|_, entry| now.saturating_duration_since(entry.used) < KEPT);
        let entry = kept.get_mut(&revision)?;
        entry.used = now;
        Some(entry.state.clone())
    }

    /// The state that a page belongs to.
    ///
    /// # Errors
    /// 410 with a token to go on inconsistently, if it is no longer there.
    pub(crate) fn of(&self, token: &Token, latest: State, now: Instant) -> Result<State, Refused> {
        let Ok(revision) = u64::try_from(token.revision) else {
            return Ok(latest);
        };
        self.at(Revision(revision), &latest, now)
            .ok_or_else(|| expired(token))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Revision, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn expired(token: &Token) -> Refused {
    let message = "The provided continue parameter is too old to display a consistent list \
                   result. You can start a new list without the continue parameter, or use the \
                   continue token in this response to retrieve the remainder of the results. \
                   Continuing with the provided token results in an inconsistent list - objects \
                   that were created, modified, or deleted between the time the first chunk was \
                   returned and now may show up in the list.";
    let mut status = Status::failure(Reason::Expired, message);
    let onward = Token {
        revision: INCONSISTENT,
        ..token.clone()
    };
    status
        .metadata
        .insert("continue".into(), Value::String(onward.text()));
    Box::new(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use skiff_api::Object;

    fn state(revision: u64) -> State {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "d"}});
        State::restore(Revision(revision), [Object::from_value(object).unwrap()])
    }

    #[test]
    fn a_token_says_where_the_page_ended() {
        for key in [
            Key::new(Kind::Pod, "shop", "front"),
            Key::cluster(Kind::Node, "n1"),
        ] {
            let token = Token::behind(Revision(7), &key);
            let read = Token::parse(&token.text()).unwrap();
            assert_eq!((read.last(key.kind), read.revision), (key, 7));
        }
        for text in ["x", "e30", "%%%"] {
            assert_eq!(Token::parse(text).unwrap_err().code, 400, "{text}");
        }
    }

    #[test]
    fn a_page_is_served_from_its_own_revision_while_that_is_kept() {
        let pages = Pages::default();
        let begun = Instant::now();
        let later = |seconds| begun + Duration::from_secs(seconds);
        let token = |revision| Token::behind(Revision(revision), &Key::cluster(Kind::Node, "n"));
        pages.keep(&state(5), begun);
        let found = |revision, at| pages.of(&token(revision), state(9), at);
        assert_eq!(
            found(9, begun).unwrap().revision(),
            Revision(9),
            "the latest is at hand"
        );
        assert_eq!(found(5, later(299)).unwrap().revision(), Revision(5));
        assert_eq!(
            found(5, later(597)).unwrap().revision(),
            Revision(5),
            "it was used meanwhile"
        );
        let expired = found(5, later(1000)).unwrap_err();
        assert!(expired.is(Reason::Expired));
        let onward = expired.metadata["continue"].as_str().unwrap();
        let onward = Token::parse(onward).unwrap();
        assert_eq!(onward.last(Kind::Node), Key::cluster(Kind::Node, "n"));
        assert_eq!(
            pages.of(&onward, state(9), begun).unwrap().revision(),
            Revision(9)
        );
    }

    #[test]
    fn only_so_many_states_are_kept() {
        let pages = Pages::default();
        let now = Instant::now();
        for revision in 0..100 {
            pages.keep(&state(revision), now);
        }
        assert_eq!(pages.lock().len(), KEPT_MAX);
        assert!(pages.at(Revision(99), &state(200), now).is_some());
        assert!(pages.at(Revision(0), &state(200), now).is_none());
    }
}
