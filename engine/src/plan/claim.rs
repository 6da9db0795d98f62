//! Which objects a controller's owner manages: those that it controls and still selects.
//! Orphans that it selects are adopted, those that it no longer selects are released.

use skiff_api::{Kind, LabelSelector, Object};

use super::Plan;
use crate::draft::Draft;
use crate::state::State;

/// The objects that `owner` manages, in the order of keys; adoptions and releases go to `plan`.
///
/// What is being adopted or released is not among them: the change wakes the plan again.
pub(super) fn claim<'a>(
    state: &'a State,
    owner: &Object,
    selector: &LabelSelector,
    kind: Kind,
    plan: &mut Plan,
) -> Vec<&'a Object> {
    let uid = &owner.meta().uid;
    let mut claimed = Vec::new();
    for object in state.owned_by(uid).filter(|object| object.kind() == kind) {
        if object
            .meta()
            .controller()
            .is_none_or(|owner| owner.uid != *uid)
        {
            continue;
        }
        if selector.matches(&object.meta().labels) {
            claimed.push(object);
        } else if object.meta().deletion.is_none() {
            plan.change(Draft::of(object).released_by(uid));
        }
    }
    if owner.meta().deletion.is_none() {
        let orphans = state.uncontrolled(kind, &owner.key().namespace);
        for orphan in orphans.filter(|orphan| orphan.meta().deletion.is_none()) {
            if selector.matches(&orphan.meta().labels) {
                plan.change(Draft::of(orphan).released_by(uid).owned_by(owner));
            }
        }
    }
    claimed
}
