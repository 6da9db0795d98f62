//! Removes what depends on owners that are gone, and lets go the owners that wait for that.
//!
//! Background: an owner goes, and whatever has no other owner follows. Foreground: an owner stays,
//! marked, until the dependents that block it are gone. Orphan: it stays until its dependents no
//! longer name it. Keys are objects of any kind.

use skiff_api::{Key, Object, Owner, Scope, Uid};

use super::deletion::{self, Haste};
use super::{Controller, Plan, owner_key};
use crate::admit::{self, Propagation};
use crate::apply::Change;
use crate::command::Write;
use crate::draft::Draft;
use crate::stamp::Stamper;
use crate::state::State;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Dependents deleted or released by one command; the next pass does the rest.
const BURST: usize = 500;

pub(super) const CONTROLLER: Controller = Controller {
    name: "garbage",
    wakes,
    resync,
    plan,
};

fn wakes(state: &State, change: &Change) -> Vec<Key> {
    let mut keys = Vec::new();
    match (&change.was, &change.now) {
        (Some(was), None) => {
            keys.extend(
                state
                    .owned_by(&was.meta().uid)
                    .map(|object| object.key().clone()),
            );
        }
        (was, Some(now)) => {
            let owners = |object: &Object| object.meta().owners.clone();
            let new_owners = was.as_ref().map(owners) != Some(owners(now));
            if waits(now).is_some() || (new_owners && !now.meta().owners.is_empty()) {
                keys.push(now.key().clone());
            }
        }
        (None, None) => {}
    }
    for object in [&change.was, &change.now].into_iter().flatten() {
        let owners = object
            .meta()
            .owners
            .iter()
            .filter_map(|owner| owner_key(object, owner));
        keys.extend(owners.filter(|key| state.get(key).is_some_and(|o| waits(o).is_some())));
    }
    keys
}

fn resync(state: &State) -> Vec<Key> {
    let concerned = |object: &&Object| {
        let mut owners = object.meta().owners.iter();
        waits(object).is_some()
            || owners.any(|owner| standing(state, object, owner) == Standing::Gone)
    };
    state
        .objects()
        .filter(concerned)
        .map(|object| object.key().clone())
        .collect()
}

fn plan(state: &State, key: &Key, stamper: &mut Stamper) -> Plan {
    let mut plan = Plan::default();
    let Some(object) = state.get(key) else {
        return plan;
    };
    match waits(object) {
        Some(Propagation::Orphan) => orphan(state, object, stamper, &mut plan),
        Some(Propagation::Foreground) => foreground(state, object, stamper, &mut plan),
        Some(Propagation::Background) => {}
        None if object.meta().deletion.is_none() => collect(state, object, stamper, &mut plan),
        None => {}
    }
    plan
}

/// For what an object that is being deleted waits, as its finalizers say.
fn waits(object: &Object) -> Option<Propagation> {
    object.meta().deletion?;
    object
        .meta()
        .finalizers
        .iter()
        .find_map(|finalizer| match finalizer.as_ref() {
            ORPHAN => Some(Propagation::Orphan),
            FOREGROUND => Some(Propagation::Foreground),
            _ => None,
        })
}

/// How an owner stands to a dependent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is there, or of a kind that nobody here can judge.
    Solid,
    /// It is going, and its dependents go first.
    Waiting,
    /// It is not there.
    Gone,
}

fn standing(state: &State, object: &Object, owner: &Owner) -> Standing {
    let Some(key) = owner_key(object, owner) else {
        return Standing::Solid;
    };
    let unreachable =
        key.kind.info().scope == Scope::Namespaced && object.key().namespace.is_empty();
    match state
        .get(&key)
        .filter(|found| found.meta().uid == owner.uid)
    {
        Some(found) if waits(found) == Some(Propagation::Foreground) => Standing::Waiting,
        Some(_) => Standing::Solid,
        None if unreachable => Standing::Solid,
        None => Standing::Gone,
    }
}

/// Deletes an object whose owners are all gone; otherwise forgets those that are.
fn collect(state: &State, object: &Object, stamper: &mut Stamper, plan: &mut Plan) {
    let owners = &object.meta().owners;
    let count = |wanted| {
        owners
            .iter()
            .filter(|o| standing(state, object, o) == wanted)
            .count()
    };
    let gone = count(Standing::Gone);
    if gone == 0 {
        return;
    }
    if gone == owners.len() {
        plan.writes.extend(deletion::delete(
            state,
            object,
            Haste::Graceful,
            None,
            stamper,
        ));
    } else if count(Standing::Solid) > 0 {
        let lost = owners
            .iter()
            .filter(|o| standing(state, object, o) == Standing::Gone);
        let draft = lost.fold(Draft::of(object), |draft, owner| {
            draft.released_by(&owner.uid)
        });
        plan.change(draft);
    }
}

/// Takes the owner's name off its dependents, and then its finalizer.
fn orphan(state: &State, owner: &Object, stamper: &Stamper, plan: &mut Plan) {
    let uid = &owner.meta().uid;
    for dependent in state.owned_by(uid).take(BURST) {
        plan.change(Draft::of(dependent).released_by(uid));
    }
    plan.again_if_written(stamper.at());
    if plan.writes.is_empty() {
        plan.writes.push(let_go(owner, ORPHAN));
    }
}

/// Deletes the dependents, and takes the owner's finalizer once none is left that blocks it.
fn foreground(state: &State, owner: &Object, stamper: &mut Stamper, plan: &mut Plan) {
    let uid = &owner.meta().uid;
    let dependents: Vec<&Object> = state.owned_by(uid).collect();
    for dependent in dependents
        .iter()
        .filter(|object| object.meta().deletion.is_none())
    {
        if plan.writes.len() == BURST {
            break;
        }
        let mut others = dependent
            .meta()
            .owners
            .iter()
            .filter(|other| other.uid != *uid);
        if others.any(|other| standing(state, dependent, other) == Standing::Solid) {
            plan.change(Draft::of(dependent).released_by(uid));
            continue;
        }
        let has_own = state.owned_by(&dependent.meta().uid).next().is_some();
        let propagation = has_own.then_some(Propagation::Foreground);
        plan.writes.extend(deletion::delete(
            state,
            dependent,
            Haste::Graceful,
            propagation,
            stamper,
        ));
    }
    plan.again_if_written(stamper.at());
    if !dependents.iter().any(|dependent| blocks(dependent, uid)) {
        plan.writes.push(let_go(owner, FOREGROUND));
    }
}

fn blocks(dependent: &Object, owner: &Uid) -> bool {
    let mut owners = dependent.meta().owners.iter();
    owners.any(|entry| entry.uid == *owner && entry.blocks)
}

/// Takes a finalizer off an object, which goes if it was the last.
fn let_go(object: &Object, finalizer: &str) -> Write {
    let mut draft = Draft::of(object);
    draft.retain("finalizers", |entry| entry != finalizer);
    let freed = draft.object();
    if admit::is_gone(&freed) {
        Write::remove(object)
    } else {
        Write::replace(object, freed)
    }
}

#[cfg(test)]
mod tests;
