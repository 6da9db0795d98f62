//! Services get their addresses and ports here, one after the other: what one was given must be in
//! the state before the next one looks for what is free.
//!
//! All writes come to the leader, so a turn in its memory is enough. A turn is good for one term of
//! leadership: whatever another leader gave before is in the state by then, and what a deposed one
//! has not brought into the log by then never gets there (docs/decisions/0014).

use std::sync::Arc;

use skiff_api::{Kind, Object, Reason, Status, Subresource};
use skiff_engine::{State, Write, network};
use tokio::sync::OwnedMutexGuard;

use super::Api;
use super::reply::{Refused, refuse, retry_after};
use super::store::{RETRY_SECONDS, outcome, unwritable};

/// The right to give addresses and ports.
pub(super) struct Turn {
    term: u64,
    held: Arc<OwnedMutexGuard<()>>,
}

impl Api {
    /// Waits for the turn, if objects of this kind are given something.
    ///
    /// # Errors
    /// 503 if this server does not lead.
    pub(super) async fn turn(
        &self,
        kind: Kind,
        part: Option<Subresource>,
    ) -> Result<Option<Turn>, Refused> {
        if kind != Kind::Service || part.is_some() {
            return Ok(None);
        }
        let held = Arc::new(Arc::clone(&self.services).lock_owned().await);
        let term = self.store.leads_in().ok_or_else(|| {
            let message = "this server does not lead, and only the leader gives addresses";
            let status = Status::failure(Reason::ServiceUnavailable, message);
            retry_after(status, RETRY_SECONDS)
        })?;
        Ok(Some(Turn { term, held }))
    }

    /// Proposes one write; `None` if its guard failed. With a turn, that is kept until the outcome
    /// is in the state, whether or not the client still waits for it.
    ///
    /// # Errors
    /// 503, 429, 413, 507 and 504 as the store says.
    pub(super) async fn write_in(
        &self,
        turn: Option<&Turn>,
        write: Write,
    ) -> Result<Option<Object>, Refused> {
        let Some(Turn { term, held }) = turn else {
            return self.write(write).await;
        };
        let (store, term, held) = (self.store.clone(), *term, Arc::clone(held));
        let proposed = tokio::spawn(async move {
            let outcomes = store.propose_in(term, vec![write]).await;
            drop(held);
            outcomes
        });
        let outcomes = proposed.await.map_err(|err| {
            refuse(
                Reason::InternalError,
                format!("the write was given up: {err}"),
            )
        })?;
        outcome(outcomes.map_err(|err| unwritable(&err))?)
    }
}

/// The object with what it is given, if there is a turn for its kind.
///
/// # Errors
/// 422 for what is asked for and cannot be had, 500 if nothing is left.
pub(super) fn complete(
    turn: Option<&Turn>,
    state: &State,
    object: Object,
) -> Result<Object, Refused> {
    match turn {
        Some(_) => Ok(network::allocate(state, object)?),
        None => Ok(object),
    }
}
