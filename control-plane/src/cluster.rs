//! The servers as a cluster, over HTTP: `/skiff/v1/servers…` for servers and agents,
//! `/skiff/v1/cluster/…` for administrators. What is decided is decided in `members`; here it is
//! asked for and done, one change at a time.

use std::sync::Arc;

use axum::routing::{get, post};
use axum::{Extension, Router};
use http::StatusCode;
use serde::Serialize;
use skiff_api::{Millis, Reason, Status};
use skiff_engine::{Outcome, Stamper, Write};
use tokio::sync::Mutex;

use crate::ask::{Ask, AskError};
use crate::auth::{self, Identity};
use crate::join::Failure;
use crate::members::{List, Member, Members};
use crate::pki::Pki;
use crate::raft::RaftStatus;
use crate::store::{ChangeError, ProposeError, Store, TransferError};

mod change;
mod join;
mod reconcile;
mod status;

pub(crate) use join::{ANNOUNCE, Announcement, JOIN, JoinAnswer, TOKENS};
pub use reconcile::run;

/// How often a guarded write of the list is tried before the caller has to.
const ATTEMPTS_MAX: usize = 5;
/// Seconds after which a server without a leader may be asked again.
const RETRY_SECONDS: u32 = 1;

/// What the servers of a cluster do with each other. Cheap to clone.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    store: Store,
    pki: Arc<Pki>,
    /// How this server dials others.
    tls: Arc<rustls::ClientConfig>,
    /// The voters with which the raft group began.
    founders: Vec<u64>,
    /// Held while the members are changed: the loop and the requests take turns.
    changing: Mutex<()>,
}

/// Who asks, if anybody is known.
type Who = Option<Extension<Identity>>;

impl Cluster {
    /// The cluster of a store. `founders` are the voters with which its raft group began.
    #[must_use]
    pub fn new(
        store: &Store,
        pki: &Arc<Pki>,
        tls: Arc<rustls::ClientConfig>,
        founders: &[u64],
    ) -> Self {
        Self(Arc::new(Inner {
            store: store.clone(),
            pki: pki.clone(),
            tls,
            founders: founders.to_vec(),
            changing: Mutex::new(()),
        }))
    }

    /// The routes.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/skiff/v1/servers", get(status::servers))
            .route(JOIN, post(join::join))
            .route(ANNOUNCE, post(join::announce))
            .route(TOKENS, post(join::tokens))
            .route(status::STATUS, get(status::status))
            .route("/skiff/v1/cluster/token", post(join::invite))
            .route(change::REMOVE, post(change::remove))
            .route("/skiff/v1/cluster/promote", post(change::promote))
            .route("/skiff/v1/cluster/transfer", post(change::transfer))
            .with_state(self.clone())
    }

    /// The store of this server.
    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    /// Refuses what only the leader can do.
    fn must_lead(&self) -> Result<(), Status> {
        if self.0.store.is_leader() {
            return Ok(());
        }
        Err(not_leading(self.leader().map(|leader| leader.address)))
    }

    /// The leader as this server knows it.
    fn leader(&self) -> Option<Member> {
        let leader = self.0.store.status().leader?;
        crate::members::of(&self.0.store.state()).remove(&leader)
    }

    /// The list and the group as they are now; the leader's.
    async fn view(&self) -> Result<(List, RaftStatus), Status> {
        let state = self.0.store.read().await;
        let state = state.map_err(|err| retry(Reason::ServiceUnavailable, err.to_string()))?;
        Ok((List::read(&state), self.0.store.status()))
    }

    /// Replaces the list by what `decide` makes of it, again if somebody else was faster.
    async fn change_list<T>(
        &self,
        decide: impl Fn(&List, &RaftStatus) -> Result<(Members, T), Status>,
    ) -> Result<T, Status> {
        for _ in 0..ATTEMPTS_MAX {
            let (list, status) = self.view().await?;
            let (members, decided) = decide(&list, &status)?;
            let Some(write) = list.replace_by(&members, &mut stamper()) else {
                return Ok(decided);
            };
            if self.propose(vec![write]).await? {
                return Ok(decided);
            }
        }
        let why = "the list of servers changed at the same time; try again";
        Err(retry(Reason::ServiceUnavailable, why.to_owned()))
    }

    /// Proposes writes; `false` if a guard failed.
    async fn propose(&self, writes: Vec<Write>) -> Result<bool, Status> {
        let outcomes = self
            .0
            .store
            .propose(writes)
            .await
            .map_err(|err| match err {
                ProposeError::NotLeader { .. } => not_leading(self.leader().map(|one| one.address)),
                ProposeError::LeadershipLost => Status::failure(Reason::Timeout, err.to_string()),
                ProposeError::DiskFull => {
                    Status::failure(Reason::InsufficientStorage, err.to_string())
                }
                ProposeError::Overloaded
                | ProposeError::TooLarge { .. }
                | ProposeError::TooNew { .. }
                | ProposeError::Stopped => retry(Reason::ServiceUnavailable, err.to_string()),
            })?;
        let done = |outcome: &Outcome| matches!(outcome, Outcome::Done(_));
        Ok(outcomes.iter().all(done))
    }

    /// Asks another server in this server's name.
    pub(crate) fn ask<'a>(&self, address: &'a str, path: &'a str) -> Ask<'a> {
        Ask {
            address,
            tls: self.0.tls.clone(),
            path,
            token: None,
        }
    }
}

fn stamper() -> Stamper {
    Stamper::new(now(), rand::random())
}

fn now() -> Millis {
    jiff::Timestamp::now().into()
}

/// Refuses everybody but administrators, and servers, which may be administrators anyway: they hold
/// the CA's key.
fn must_administrate(who: &Who) -> Result<(), Status> {
    let Extension(who) = who.as_ref().ok_or_else(auth::unauthorized)?;
    if who.is_admin() || who.is_server() {
        return Ok(());
    }
    let why = format!(
        "User {:?} cannot look at or change the servers of the cluster",
        who.user
    );
    Err(Status::failure(Reason::Forbidden, why))
}

fn must_be_server(who: &Who) -> Result<(), Status> {
    let Extension(who) = who.as_ref().ok_or_else(auth::unauthorized)?;
    if who.is_server() {
        return Ok(());
    }
    let why = format!("User {:?} is not a server of the cluster", who.user);
    Err(Status::failure(Reason::Forbidden, why))
}

/// What is asked for cannot be done as things are.
fn refuse(why: impl Into<String>) -> Status {
    Status::failure(Reason::Conflict, why)
}

/// Nothing was done, and trying again makes sense.
fn retry(reason: Reason, why: String) -> Status {
    let mut status = Status::failure(reason, why);
    status.details.get_or_insert_default().retry_after_seconds = Some(RETRY_SECONDS);
    status
}

fn not_leading(leader: Option<String>) -> Status {
    let why = match leader {
        Some(address) => format!("this server does not lead the cluster; ask https://{address}"),
        None => "the cluster has no leader now".to_owned(),
    };
    retry(Reason::ServiceUnavailable, why)
}

fn unchanged(err: &ChangeError) -> Status {
    let why = err.to_string();
    match err {
        ChangeError::NotLeader { .. } | ChangeError::UnderWay => {
            retry(Reason::ServiceUnavailable, why)
        }
        ChangeError::Refused(_) => refuse(why),
        ChangeError::Unconfirmed => Status::failure(Reason::Timeout, why),
    }
}

fn not_transferred(err: &TransferError) -> Status {
    let why = err.to_string();
    match err {
        TransferError::NotLeader { .. } => retry(Reason::ServiceUnavailable, why),
        TransferError::NoSuchVoter => refuse(why),
        TransferError::TimedOut => Status::failure(Reason::Timeout, why),
    }
}

/// What another server answered, or why it did not.
fn not_answered(err: AskError) -> Status {
    match err {
        AskError::Refused(status) => *status,
        AskError::Unreachable { .. }
        | AskError::Stranger { .. }
        | AskError::Misnamed { .. }
        | AskError::Broken { .. } => Status::failure(Reason::Timeout, err.to_string()),
    }
}

fn answer(body: &impl Serialize) -> Result<axum::response::Response, Failure> {
    Ok(crate::join::json(StatusCode::OK, body))
}

#[cfg(test)]
mod tests;
