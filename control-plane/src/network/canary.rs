//! What gateways count of canaries that judge themselves, on the leader.
//!
//! `POST /skiff/v1/network/canary` takes a [`Report`] of an administrator (a server's gateway is one)
//! or of a node that says that it runs a gateway, and answers with how many of its canaries are being
//! judged. All of it is kept in memory: a leader that loses it, or a new one, begins the step anew.

mod windows;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::extract::State as Shared;
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Router};
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use skiff_api::canary::{Auto, Observed, PATH, Report};
use skiff_api::{Key, Kind, Object, Reason, Uid};
use skiff_engine::State;
use skiff_engine::plan::{self, Memory};

use self::windows::Windows;
use crate::auth::{self, Identity};
use crate::http::reply::{self, Refused, refuse};
use crate::store::Store;

/// The steps of all canaries that are being judged. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Canaries(Arc<Mutex<Windows>>);

/// A canary that gateways report on.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    /// Its Ingress, as it is now.
    pub(crate) ingress: Object,
    /// What was counted of the step that it is at.
    pub(crate) memory: Memory,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    judged: usize,
}

/// The route. Each request brings its [`Identity`] as an extension.
pub(crate) fn router(store: Store, canaries: Canaries) -> Router {
    Router::new()
        .route(PATH, post(report))
        .with_state((store, canaries))
}

async fn report(
    Shared((store, canaries)): Shared<(Store, Canaries)>,
    who: Option<Extension<Identity>>,
    body: Bytes,
) -> Response {
    let answer = || {
        let Extension(who) = who.ok_or_else(auth::unauthorized)?;
        canaries.take(&who, &body, &store.state())
    };
    answer().unwrap_or_else(|refused| reply::status(&refused))
}

impl Canaries {
    /// Takes a report of `who`.
    fn take(&self, who: &Identity, body: &Bytes, state: &State) -> Result<Response, Refused> {
        if !may_report(who, state) {
            let message = format!("User {:?} cannot report on canaries", who.user);
            return Err(refuse(Reason::Forbidden, message));
        }
        let report: Report = serde_json::from_slice(body)
            .map_err(|err| refuse(Reason::BadRequest, format!("the body is no report: {err}")))?;
        // A node speaks for its own gateway, whatever the report says.
        let gateway = match who.node() {
            Some(node) => format!("node {node}"),
            None => format!("server {}", report.gateway),
        };
        let (instance, now) = (report.instance, Instant::now());
        let mut windows = self.lock();
        let mut judged = 0;
        for observed in report.canaries {
            // What is not judged takes no memory.
            if let Some((ingress, _)) = find(state, &key_of(&observed), &observed.uid) {
                windows.take((&gateway, &instance), ingress.key(), observed, now);
                judged += 1;
            }
        }
        Ok(reply::value(StatusCode::OK, &Answer { judged }))
    }

    /// Forgets everything: who begins to lead knows nothing of what was counted before.
    pub(crate) fn forget(&self) {
        *self.lock() = Windows::default();
    }

    /// The canaries that are reported on and to be judged, each with what is known of its step.
    pub(crate) fn trials(&self, state: &State, now: Instant) -> Vec<Trial> {
        let mut windows = self.lock();
        windows.drop_silent(now);
        let mut trials = Vec::new();
        windows.retain(|uid, window| match find(state, window.key(), uid) {
            Some((ingress, auto)) => {
                window.enter(&auto.step, now);
                trials.push(Trial {
                    ingress: ingress.clone(),
                    memory: window.memory(now),
                });
                true
            }
            None => false,
        });
        trials
    }

    /// It was said that this canary waits for something.
    pub(crate) fn told(&self, ingress: &Uid) {
        self.lock().told(ingress.as_str());
    }

    fn lock(&self) -> MutexGuard<'_, Windows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn may_report(who: &Identity, state: &State) -> bool {
    let runs_gateway = |node| auth::gateway::runs_on(node, state);
    who.is_admin() || who.node().is_some_and(runs_gateway)
}

fn key_of(observed: &Observed) -> Key {
    Key::new(Kind::Ingress, &observed.namespace, &observed.name)
}

/// The Ingress of a canary that is to be judged, if it is still that one.
fn find<'a>(state: &'a State, key: &Key, uid: &str) -> Option<(&'a Object, Auto)> {
    let ingress = state.get(key)?;
    if ingress.meta().uid.as_str() != uid {
        return None;
    }
    Some((ingress, plan::auto(ingress)?))
}
