//! Controllers: each decides, for one key, what the cluster lacks (steps 9, 10 and 12 of the walk).
//!
//! A plan reads a snapshot and returns writes, each guarded by the revision that it saw. It never
//! remembers, never waits, and writes only what its controller owns. Planning again after the
//! writes were applied must come to rest.

#![expect(
    clippy::indexing_slicing,
    reason = "of JSON: a field that is missing reads as null, and is made when it is written"
)]

mod canary;
mod claim;
pub(crate) mod condition;
pub(crate) mod deletion;
mod deployment;
mod endpoint_mirror;
mod endpoint_slice;
mod endpoints;
mod events;
mod garbage;
mod ingress_status;
mod namespace;
mod node_cidr;
mod node_health;
mod pod_gc;
mod replica_set;
#[cfg(test)]
pub(crate) mod world;

use skiff_api::{Key, Kind, Millis, Object, Owner};

pub use self::canary::{Memory, Steering, auto, canary};
pub use self::ingress_status::ingress_statuses;
pub use self::node_health::{Heartbeats, SILENT_AFTER, node_health};

use crate::apply::Change;
use crate::command::Write;
use crate::draft::Draft;
use crate::event::{self, Note};
use crate::stamp::Stamper;
use crate::state::State;

/// What one pass over one key decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be proposed together, as one command.
    pub writes: Vec<Write>,
    /// Time itself will change what the plan says, at this time: look again then. A time that is
    /// not later than now says that this was only a part; otherwise a second pass over the applied
    /// writes writes nothing.
    pub again_at: Option<Millis>,
}

impl Plan {
    /// Adds what a draft changed, if anything.
    fn change(&mut self, draft: Draft) {
        self.writes.extend(draft.write());
    }

    /// Adds an event.
    fn note(&mut self, state: &State, note: &Note<'_>, stamper: &mut Stamper) {
        self.writes.push(event::record(state, note, stamper));
    }

    /// Asks to be run again now if it wrote anything: this was only the first part.
    fn again_if_written(&mut self, now: Millis) {
        if !self.writes.is_empty() {
            self.look_again(now);
        }
    }

    /// Asks to be run again at a time, if no earlier one is asked for.
    fn look_again(&mut self, at: Millis) {
        self.again_at = Some(self.again_at.map_or(at, |sooner| sooner.min(at)));
    }
}

/// One controller, as data for the loop that runs it on the leader.
///
/// The loop keeps a set of keys: those that [`wakes`](Self::wakes) names for each change, those
/// whose [`Plan::again_at`] has come, and now and then all of [`resync`](Self::resync). For each
/// it takes a snapshot, plans, proposes the writes and waits for their outcome before it plans
/// the same key again.
#[derive(Clone, Copy, Debug)]
pub struct Controller {
    /// For logs and metrics.
    pub name: &'static str,
    /// The keys that a change concerns. The state is the one after the change.
    pub wakes: fn(&State, &Change) -> Vec<Key>,
    /// Every key there is to plan.
    pub resync: fn(&State) -> Vec<Key>,
    /// What to write for a key, which need not exist any more.
    pub plan: fn(&State, &Key, &mut Stamper) -> Plan,
}

/// Every controller that needs nothing but the state.
#[must_use]
pub fn controllers() -> [Controller; 10] {
    [
        deployment::CONTROLLER,
        replica_set::CONTROLLER,
        garbage::CONTROLLER,
        namespace::CONTROLLER,
        pod_gc::CONTROLLER,
        events::CONTROLLER,
        node_cidr::CONTROLLER,
        endpoint_slice::CONTROLLER,
        endpoints::CONTROLLER,
        endpoint_mirror::CONTROLLER,
    ]
}

/// The keys of all objects of a kind.
fn all(state: &State, kind: Kind) -> Vec<Key> {
    let objects = state.list(kind, None);
    objects.map(|object| object.key().clone()).collect()
}

/// The key of an owner of `object`, `None` if it is of a kind that is not served.
fn owner_key(object: &Object, owner: &Owner) -> Option<Key> {
    let kind = Kind::by_name(&owner.kind)?;
    Some(Key::new(kind, &object.key().namespace, &owner.name))
}

/// The key of the controller of an object, if it is of this kind.
fn controller_key(object: &Object, kind: Kind) -> Option<Key> {
    let key = owner_key(object, object.meta().controller()?)?;
    (key.kind == kind).then_some(key)
}

/// The keys of the controllers of an object of this kind, before and after a change.
fn controllers_of(change: &Change, kind: Kind) -> impl Iterator<Item = Key> {
    let sides = [&change.was, &change.now].into_iter().flatten();
    sides.filter_map(move |object| controller_key(object, kind))
}

/// Whether new objects may be made in a namespace.
fn is_open(state: &State, namespace: &str) -> bool {
    let namespace = state.get(&Key::cluster(Kind::Namespace, namespace));
    namespace.is_none_or(|namespace| namespace.meta().deletion.is_none())
}

#[cfg(test)]
mod tests;
