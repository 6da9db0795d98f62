//! A Deployment's status: its counts, and the conditions Available and Progressing.
//!
//! When a rollout cannot go on, the Progressing condition names the first pod that blocks it.

use std::time::Duration;

use serde_json::{Map, Value};
use skiff_api::{Millis, Object};

use super::blocked::{self, Patience};
use super::rollout::{Rollout, Set};
use crate::plan::Plan;
use crate::plan::condition::{self, Condition};

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";

const CREATED: &str = "NewReplicaSetCreated";
const FOUND: &str = "FoundNewReplicaSet";
const UPDATED: &str = "ReplicaSetUpdated";
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";
const RESUMED: &str = "DeploymentResumed";

/// Kubernetes' default of `progressDeadlineSeconds`; its largest number means "never".
const DEADLINE_DEFAULT: u64 = 600;
const NEVER: u64 = i32::MAX as u64;

/// Sets the condition that tells of a set made by this pass.
pub(super) fn note_new_set(deployment: &mut Value, set: &str, now: Millis) {
    if deadline(deployment).is_some() {
        progressing(deployment, "True", CREATED, &sentence(CREATED, set), now);
    }
}

/// Tells that the rollout is held, or goes on.
pub(super) fn note_pause(deployment: &mut Value, paused: bool, now: Millis) {
    let reason = condition::find(&deployment["status"], PROGRESSING)
        .map_or("", |found| found["reason"].as_str().unwrap_or(""));
    if deadline(deployment).is_none() || reason == TIMED_OUT || paused == (reason == PAUSED) {
        return;
    }
    if paused {
        progressing(deployment, "Unknown", PAUSED, "Deployment is paused", now);
    } else {
        progressing(deployment, "Unknown", RESUMED, "Deployment is resumed", now);
    }
}

/// Writes the counts and conditions into the Deployment's draft.
pub(super) fn report(rollout: &mut Rollout<'_>, judging: bool, now: Millis, plan: &mut Plan) {
    let before = Counts::read(&rollout.draft.value["status"]);
    let counts = Counts::of(rollout);
    counts.write(rollout);
    let enough = counts.available >= rollout.bounds.fewest();
    let (status, reason, message) = if enough {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    let deployment = &mut rollout.draft.value;
    update(
        deployment,
        &Condition {
            kind: AVAILABLE,
            status,
            reason,
            message,
        },
        now,
    );
    if !judging {
        return;
    }
    let Some(deadline) = deadline(deployment) else {
        condition::remove(&mut deployment["status"], PROGRESSING);
        return;
    };
    judge(
        rollout,
        &Judgement {
            before,
            counts,
            deadline,
            now,
        },
        plan,
    );
    name_blocker(rollout);
}

/// Whether every wanted pod is of the new set and available.
pub(super) fn is_complete(rollout: &Rollout<'_>) -> bool {
    Counts::of(rollout).is_complete(rollout.bounds.replicas)
}

#[derive(Clone, Copy)]
struct Counts {
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
    unavailable: i64,
}

impl Counts {
    fn read(status: &Value) -> Self {
        let count = |field: &str| status[field].as_i64().unwrap_or(0);
        Self {
            replicas: count("replicas"),
            updated: count("updatedReplicas"),
            ready: count("readyReplicas"),
            available: count("availableReplicas"),
            unavailable: count("unavailableReplicas"),
        }
    }

    fn of(rollout: &Rollout<'_>) -> Self {
        let all = || rollout.old.iter().chain(&rollout.new);
        let sum = |field: &str| all().map(|set| set.count(field)).sum::<i64>();
        let wanted: i64 = all().map(|set| set.size.replicas).sum();
        let available = sum("availableReplicas");
        Self {
            replicas: sum("replicas"),
            updated: rollout.new.as_ref().map_or(0, |set| set.count("replicas")),
            ready: sum("readyReplicas"),
            available,
            unavailable: (wanted - available).max(0),
        }
    }

    const fn is_complete(&self, wanted: i64) -> bool {
        self.updated == wanted && self.replicas == wanted && self.available == wanted
    }

    const fn progressed_since(&self, before: &Self) -> bool {
        self.updated > before.updated
            || self.replicas - self.updated < before.replicas - before.updated
            || self.ready > before.ready
            || self.available > before.available
    }

    /// Zero is written as nothing, as Kubernetes does.
    fn write(self, rollout: &mut Rollout<'_>) {
        let generation = rollout.deployment.meta().generation;
        let status = &mut rollout.draft.value["status"];
        let mut fields = status.as_object().cloned().unwrap_or_else(Map::new);
        for (field, number) in [
            ("observedGeneration", generation),
            ("replicas", self.replicas),
            ("updatedReplicas", self.updated),
            ("readyReplicas", self.ready),
            ("availableReplicas", self.available),
            ("unavailableReplicas", self.unavailable),
        ] {
            if number == 0 {
                fields.remove(field);
            } else {
                fields.insert(field.to_owned(), number.into());
            }
        }
        *status = Value::Object(fields);
    }
}

struct Judgement {
    before: Counts,
    counts: Counts,
    deadline: Duration,
    now: Millis,
}

/// Decides whether the rollout is done, goes on, or has been standing still for too long.
fn judge(rollout: &mut Rollout<'_>, judgement: &Judgement, plan: &mut Plan) {
    let Judgement {
        before,
        counts,
        deadline,
        now,
    } = judgement;
    let set = rollout
        .new
        .as_ref()
        .map_or("", |set| &set.size.name)
        .to_owned();
    let wanted = rollout.bounds.replicas;
    let deployment = &mut rollout.draft.value;
    let found = condition::find(&deployment["status"], PROGRESSING);
    let reason = found
        .map_or("", |found| found["reason"].as_str().unwrap_or(""))
        .to_owned();
    let since = found.and_then(|found| condition::time(found, "lastUpdateTime"));
    if counts.replicas == counts.updated && reason == COMPLETE {
        return;
    }
    if counts.is_complete(wanted) {
        progressing(
            deployment,
            "True",
            COMPLETE,
            &sentence(COMPLETE, &set),
            *now,
        );
    } else if counts.progressed_since(before) {
        progressing(deployment, "True", UPDATED, &sentence(UPDATED, &set), *now);
        plan.look_again(late(*now, *deadline));
    } else if reason.is_empty() {
        progressing(deployment, "True", FOUND, &sentence(FOUND, &set), *now);
        plan.look_again(late(*now, *deadline));
    } else if reason != COMPLETE && reason != TIMED_OUT {
        let late = late(since.unwrap_or(*now), *deadline);
        if *now >= late {
            progressing(
                deployment,
                "False",
                TIMED_OUT,
                &sentence(TIMED_OUT, &set),
                *now,
            );
        } else {
            plan.look_again(late);
        }
    }
}

/// When progress is overdue. Times are written in whole seconds: one is added for what they lost.
fn late(since: Millis, deadline: Duration) -> Millis {
    since.after(deadline + Duration::from_secs(1))
}

fn deadline(deployment: &Value) -> Option<Duration> {
    let seconds = deployment["spec"]["progressDeadlineSeconds"].as_u64();
    let seconds = seconds.unwrap_or(DEADLINE_DEFAULT);
    (seconds != NEVER).then(|| Duration::from_secs(seconds))
}

/// What a reason means for a set, in Kubernetes' words.
fn sentence(reason: &str, set: &str) -> String {
    match reason {
        CREATED => format!("Created new replica set {set:?}"),
        FOUND => format!("Found new replica set {set:?}"),
        UPDATED => format!("ReplicaSet {set:?} is progressing."),
        COMPLETE => format!("ReplicaSet {set:?} has successfully progressed."),
        TIMED_OUT => format!("ReplicaSet {set:?} has timed out progressing."),
        other => other.to_owned(),
    }
}

/// Sets Progressing and notes that something moved just now.
fn progressing(deployment: &mut Value, status: &str, reason: &str, message: &str, now: Millis) {
    let condition = Condition {
        kind: PROGRESSING,
        status,
        reason,
        message,
    };
    condition::set(&mut deployment["status"], &condition, now);
    stamp(deployment, PROGRESSING, now);
}

/// Sets a condition, unless status and reason say the same already.
fn update(deployment: &mut Value, condition: &Condition<'_>, now: Millis) {
    let found = condition::find(&deployment["status"], condition.kind);
    if found
        .is_some_and(|old| old["status"] == condition.status && old["reason"] == condition.reason)
    {
        return;
    }
    condition::set(&mut deployment["status"], condition, now);
    stamp(deployment, condition.kind, now);
}

fn stamp(deployment: &mut Value, kind: &str, now: Millis) {
    if let Some(found) = condition::find_mut(&mut deployment["status"], kind) {
        found["lastUpdateTime"] = now.rfc3339().into();
    }
}

/// Adds to the message of a rollout that is not done which pod holds it up, and why.
fn name_blocker(rollout: &mut Rollout<'_>) {
    let set: Option<&Set> = rollout.new.as_ref();
    let object: Option<&Object> = set.and_then(|set| set.object.as_ref());
    let name = set.map_or("", |set| &set.size.name).to_owned();
    let Some(found) = condition::find_mut(&mut rollout.draft.value["status"], PROGRESSING) else {
        return;
    };
    let reason = found["reason"].as_str().unwrap_or("").to_owned();
    let patience = match reason.as_str() {
        CREATED | FOUND | UPDATED => Patience::WhileProgressing,
        TIMED_OUT => Patience::Lost,
        _ => return,
    };
    let blocker = object.and_then(|set| blocked::first(rollout.state, set, patience));
    let sentence = sentence(&reason, &name);
    found["message"] = match blocker {
        Some(blocker) => format!("{} Blocked by {blocker}", period(&sentence)).into(),
        None => sentence.into(),
    };
}

fn period(sentence: &str) -> String {
    format!("{}.", sentence.trim_end_matches('.'))
}
