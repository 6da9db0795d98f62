//! Revisions: which set was rolled out when, what it inherits from its Deployment, and which old
//! sets have been kept for long enough.

use serde_json::Value;
use skiff_api::Key;

use super::rollout::{Rollout, Set, annotations};

/// The number of a rollout; of a set the latest one that it had.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Earlier numbers of a set that was rolled back to.
const EARLIER: &str = "deployment.kubernetes.io/revision-history";
/// The Deployment's `replicas` when a set was last sized.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// The Deployment's most pods when a set was last sized.
pub(super) const MOST: &str = "deployment.kubernetes.io/max-replicas";

/// What a set does not inherit of its Deployment's annotations.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    EARLIER,
    DESIRED,
    MOST,
];

/// Kubernetes' default of `revisionHistoryLimit`.
const LIMIT_DEFAULT: u64 = 10;

/// A number in an annotation.
pub(super) fn number(object: &Value, name: &str) -> Option<i64> {
    object["metadata"]["annotations"][name]
        .as_str()?
        .parse()
        .ok()
}

fn revision(set: &Set) -> i64 {
    number(&set.draft.value, REVISION).unwrap_or(0)
}

/// Gives the new set the latest revision, and what else it takes from its Deployment.
pub(super) fn sync(rollout: &mut Rollout<'_>) {
    let latest = rollout.old.iter().map(revision).max().unwrap_or(0) + 1;
    let Some(set) = &mut rollout.new else {
        return;
    };
    for (name, text) in annotations(&rollout.draft.value) {
        if !OWN.contains(&name.as_str()) {
            set.draft.annotate(name, text.as_str());
        }
    }
    let had = revision(set);
    if had < latest {
        set.draft.annotate(REVISION, Some(&latest.to_string()));
        if had > 0 {
            let earlier = set.draft.value["metadata"]["annotations"][EARLIER].as_str();
            let earlier = earlier.map_or_else(|| had.to_string(), |list| format!("{list},{had}"));
            set.draft.annotate(EARLIER, Some(&earlier));
        }
    }
    let settle = rollout.draft.value["spec"]["minReadySeconds"]
        .as_u64()
        .unwrap_or(0);
    if set.draft.value["spec"]["minReadySeconds"]
        .as_u64()
        .unwrap_or(0)
        != settle
    {
        set.draft.value["spec"]["minReadySeconds"] = settle.into();
    }
    let current = revision(set).to_string();
    rollout.draft.annotate(REVISION, Some(&current));
}

/// The old sets beyond `revisionHistoryLimit`, once nothing is under way any more.
pub(super) fn surplus(rollout: &Rollout<'_>) -> Vec<Key> {
    let settled = rollout.deployment.meta().deletion.is_none()
        && (rollout.is_paused() || super::progress::is_complete(rollout));
    let kept: Vec<&Set> = rollout
        .old
        .iter()
        .filter(|set| {
            set.object
                .as_ref()
                .is_some_and(|set| set.meta().deletion.is_none())
        })
        .collect();
    let limit = &rollout.draft.value["spec"]["revisionHistoryLimit"];
    let limit = usize::try_from(limit.as_u64().unwrap_or(LIMIT_DEFAULT)).unwrap_or(usize::MAX);
    let excess = kept.len().saturating_sub(limit);
    if !settled || excess == 0 {
        return Vec::new();
    }
    let mut kept = kept;
    kept.sort_by_key(|set| revision(set));
    let oldest = kept.into_iter().take(excess).filter(|set| is_empty(set));
    oldest
        .filter_map(|set| set.object.as_ref())
        .map(|set| set.key().clone())
        .collect()
}

/// Whether a set has no pod and its controller agrees.
fn is_empty(set: &Set) -> bool {
    let generation = set.object.as_ref().map_or(0, |set| set.meta().generation);
    set.size.replicas == 0
        && set.count("replicas") == 0
        && set.count("observedGeneration") >= generation
}
