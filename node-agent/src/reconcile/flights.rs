//! Work under way: at most one piece per pod, so that no pod waits for another. Nothing here knows
//! what the work is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio_util::task::AbortOnDropHandle;

use crate::work::Outcome;

/// Work under way, by pod.
#[derive(Default)]
pub(super) struct Flights {
    tasks: JoinSet<Outcome>,
    pods: BTreeMap<Arc<str>, Flight>,
    /// What is done beside it, by pod.
    aside: BTreeMap<Arc<str>, AbortOnDropHandle<()>>,
}

struct Flight {
    task: AbortHandle,
    /// How long the containers that it ends may take; none if it starts things.
    patience: Option<Duration>,
}

/// Work that has ended.
pub(super) struct Landed {
    pub(super) uid: Arc<str>,
    /// How; none if it was broken off.
    pub(super) outcome: Option<Outcome>,
}

impl Flights {
    /// Whether work on a pod may begin; not while other work on it is under way. If the pod has to
    /// `end` within a time, work is broken off that starts it or takes longer: an image that nobody
    /// wants any more may take minutes to pull.
    pub(super) fn may_begin(&self, uid: &str, end: Option<Duration>) -> bool {
        let Some(flight) = self.pods.get(uid) else {
            return true;
        };
        let in_the_way = |end| flight.patience.is_none_or(|patience| end < patience);
        if end.is_some_and(in_the_way) {
            flight.task.abort();
        }
        false
    }

    /// Sets off work on a pod that has none under way.
    pub(super) fn begin(
        &mut self,
        uid: Arc<str>,
        patience: Option<Duration>,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) {
        let task = self.tasks.spawn(work);
        self.pods.insert(uid, Flight { task, patience });
    }

    /// Whether work on a pod is under way.
    pub(super) fn is_under_way(&self, uid: &str) -> bool {
        self.pods.contains_key(uid)
    }

    /// Sets off work for a pod that nothing waits for, unless the last of it is not done: a disk
    /// that hangs holds a thread for ever, and shall not get another one each time.
    pub(super) fn aside(
        &mut self,
        uid: &Arc<str>,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.aside.retain(|_, task| !task.is_finished());
        let task = self.aside.entry(Arc::clone(uid));
        task.or_insert_with(|| AbortOnDropHandle::new(tokio::spawn(work)));
    }

    /// Waits for work to end, and returns all that has. Cancel-safe.
    pub(super) async fn landed(&mut self) -> Vec<Landed> {
        let Some(first) = self.tasks.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let mut landed: Vec<Landed> = self.land(first).into_iter().collect();
        while let Some(next) = self.tasks.try_join_next_with_id() {
            landed.extend(self.land(next));
        }
        landed
    }

    fn land(&mut self, ended: Result<(Id, Outcome), JoinError>) -> Option<Landed> {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, Some(outcome)),
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(%error, "work on a pod panicked; it is planned again");
                }
                (error.id(), None)
            }
        };
        let uid = self
            .pods
            .iter()
            .find(|(_, flight)| flight.task.id() == id)?
            .0
            .clone();
        self.pods.remove(&uid);
        Some(Landed { uid, outcome })
    }
}
