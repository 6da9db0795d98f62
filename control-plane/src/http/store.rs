//! The API's door to the store: states as fresh as asked, writes, and what their failures mean
//! to a client.

use std::time::{Duration, Instant};

use rand::Rng as _;
use skiff_api::{Kind, Object, Reason, Revision, Status};
use skiff_engine::{Outcome, Stamper, State, Write, admit};

use super::Api;
use super::options::Freshness;
use super::reply::{Refused, refuse, retry_after};
use super::request::now;
use crate::store::{ProposeError, ReadError};

/// Seconds after which an overloaded or leaderless server may be asked again.
pub(super) const RETRY_SECONDS: u32 = 1;
/// How long a read waits for a revision that this server has not seen, as in Kubernetes.
const REVISION_WAIT: Duration = Duration::from_secs(3);

/// What became of waiting for a revision.
pub(super) enum Reached {
    /// It, or a later one.
    At(State),
    /// It is yet to be made: nothing that was acknowledged has it.
    Never {
        /// The latest there is.
        latest: Revision,
    },
}

impl Reached {
    fn of(latest: State, asked: Revision) -> Self {
        if latest.revision() >= asked {
            return Self::At(latest);
        }
        let latest = latest.revision();
        Self::Never { latest }
    }
}

impl Api {
    /// The latest state: all that was acknowledged is in it.
    ///
    /// # Errors
    /// 503 while there is no leader.
    pub(super) async fn read(&self) -> Result<State, Refused> {
        self.store.read().await.map_err(|err| unreadable(&err))
    }

    /// Refuses what only a server that hears from the others can do.
    pub(super) fn cut_off() -> Refused {
        unreadable(&ReadError::NoLeader)
    }

    /// A state as fresh as asked.
    ///
    /// # Errors
    /// 503 while there is no leader, 504 for a revision that is yet to come, 410 for one that is
    /// gone.
    pub(super) async fn state(&self, freshness: Freshness) -> Result<State, Refused> {
        match freshness {
            Freshness::Latest => self.read().await,
            Freshness::Any => {
                let state = self.store.state();
                // A server that joined just now knows nothing yet; what it has is no old state,
                // and whoever takes it for one would tear everything down.
                if state.revision() == Revision(0) {
                    return self.read().await;
                }
                Ok(state)
            }
            Freshness::NotOlderThan(revision) => match self.reach(revision).await? {
                Reached::At(state) => Ok(state),
                Reached::Never { latest } => Err(too_large(latest, revision)),
            },
            Freshness::Exact(revision) => {
                let latest = self.read().await?;
                if latest.revision() < revision {
                    return Err(too_large(latest.revision(), revision));
                }
                self.pages
                    .at(revision, &latest, Instant::now())
                    .ok_or_else(|| {
                        let message = "The resourceVersion for the provided list is too old.";
                        refuse(Reason::Expired, message)
                    })
            }
        }
    }

    /// Waits for a revision that the client has seen, maybe on another server.
    ///
    /// # Errors
    /// 504 if it did not come in time and no leader could say whether it exists.
    pub(super) async fn reach(&self, revision: Revision) -> Result<Reached, Refused> {
        let state = self.store.state();
        if state.revision() >= revision {
            return Ok(Reached::At(state));
        }
        let latest = async {
            match self.store.read().await {
                Ok(state) => state,
                // Without a leader, what is on its way may still come.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            reached = self.store.reached(revision) => {
                reached.map(Reached::At).map_err(|err| unreadable(&err))
            }
            latest = latest => Ok(Reached::of(latest, revision)),
            () = tokio::time::sleep(REVISION_WAIT) => {
                Err(too_large(self.store.state().revision(), revision))
            }
        }
    }

    /// The state that reads of a kind see: heartbeats are read as Leases but stored nowhere.
    pub(super) fn with_heartbeats(&self, kind: Kind, state: &State) -> State {
        if kind != Kind::Lease {
            return state.clone();
        }
        let stored = state.list(kind, None).cloned();
        State::restore(state.revision(), stored.chain(self.nodes.leases()))
    }

    /// Makes sure that this server led in `term` until now. One that was paused may have been
    /// deposed long ago and not know it: nothing that it writes comes to pass, but what it refuses,
    /// because an object is missing or is there, would be believed.
    ///
    /// # Errors
    /// 503 if it cannot be sure: the client asks again, and the leader answers.
    pub(super) async fn led_since(&self, term: u64) -> Result<(), Refused> {
        self.read().await?;
        if self.store.is_leader() && self.store.status().term == term {
            return Ok(());
        }
        let message = "the leadership changed while the request was looked at".to_owned();
        Err(retry_after(
            Status::failure(Reason::ServiceUnavailable, message),
            RETRY_SECONDS,
        ))
    }

    /// Proposes one write; `None` if its guard failed.
    ///
    /// # Errors
    /// 503, 429, 413, 507 and 504 as the store says.
    pub(super) async fn write(&self, write: Write) -> Result<Option<Object>, Refused> {
        outcome(self.propose(vec![write]).await?)
    }

    /// Proposes writes.
    ///
    /// # Errors
    /// 503, 429, 413, 507 and 504 as the store says.
    pub(super) async fn propose(&self, writes: Vec<Write>) -> Result<Vec<Outcome>, Refused> {
        self.store
            .propose(writes)
            .await
            .map_err(|err| unwritable(&err))
    }
}

/// What became of one write; `None` if its guard failed.
pub(super) fn outcome(outcomes: Vec<Outcome>) -> Result<Option<Object>, Refused> {
    match outcomes.into_iter().next() {
        Some(Outcome::Done(object)) => Ok(Some(object)),
        Some(Outcome::Conflict { .. }) => Ok(None),
        None => Err(refuse(
            Reason::InternalError,
            "the store gave no outcome for the write",
        )),
    }
}

/// Time and chance for one admission.
pub(super) fn stamp() -> admit::Stamp {
    admit::Stamp::draw(&mut Stamper::new(now(), rand::rng().random()))
}

fn too_large(current: Revision, asked: Revision) -> Refused {
    let message = format!("Too large resource version: {asked}, current: {current}");
    let mut status = retry_after(Status::failure(Reason::Timeout, message), RETRY_SECONDS);
    if let Some(details) = &mut status.details {
        details.causes.push(skiff_api::Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            field: String::new(),
        });
    }
    status
}

fn unreadable(err: &ReadError) -> Refused {
    retry_after(
        Status::failure(Reason::ServiceUnavailable, err.to_string()),
        RETRY_SECONDS,
    )
}

pub(super) fn unwritable(err: &ProposeError) -> Refused {
    let message = err.to_string();
    match err {
        ProposeError::NotLeader { .. } | ProposeError::Stopped | ProposeError::TooNew { .. } => {
            retry_after(
                Status::failure(Reason::ServiceUnavailable, message),
                RETRY_SECONDS,
            )
        }
        ProposeError::Overloaded => retry_after(
            Status::failure(Reason::TooManyRequests, message),
            RETRY_SECONDS,
        ),
        ProposeError::TooLarge { .. } => refuse(Reason::RequestEntityTooLarge, message),
        ProposeError::DiskFull => refuse(Reason::InsufficientStorage, message),
        // The write may or may not have happened: the client has to look.
        ProposeError::LeadershipLost => refuse(Reason::Timeout, message),
    }
}
