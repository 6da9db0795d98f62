//! A pod's phase: Kubernetes' rule.

use super::Facts;
use super::containers::Reported;
use crate::plan::has_failed_init;
use crate::pod::Role;

/// Why a pod ended as a whole, if something beside its containers was the cause.
#[derive(Default)]
pub(super) struct Cause {
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
}

/// The phase of a pod, and the cause if it was ended as a whole.
pub(super) fn of(facts: &Facts<'_>, reported: &[Reported]) -> (&'static str, Cause) {
    if let Some(known) = known_end(facts) {
        return known;
    }
    if facts
        .pod
        .deadline
        .is_some_and(|deadline| deadline <= facts.now)
    {
        let cause = Cause {
            reason: Some("DeadlineExceeded".into()),
            message: Some("Pod was active on the node longer than the specified deadline".into()),
        };
        return ("Failed", cause);
    }
    if has_failed_init(facts.pod, facts.sight) {
        return ("Failed", Cause::default());
    }
    let mains = || {
        reported
            .iter()
            .filter(|container| container.role == Role::Main)
    };
    let was_started = |container: &Reported| container.status.container_id.is_some();
    if !mains().all(was_started) {
        return ("Pending", Cause::default());
    }
    let ended = |container: &Reported| {
        container.exit_code().is_some() && !container.is_running() && !container.returns
    };
    if !mains().all(ended) {
        return ("Running", Cause::default());
    }
    // A pod that is being deleted ends with its containers, whatever its restart policy.
    (
        if mains().all(Reported::has_succeeded) {
            "Succeeded"
        } else {
            "Failed"
        },
        Cause::default(),
    )
}

/// The servers know the pod's end: it stays as it is.
fn known_end(facts: &Facts<'_>) -> Option<(&'static str, Cause)> {
    let status = facts.pod.wire.status.as_ref()?;
    let phase = match status.phase.as_deref()? {
        "Succeeded" => "Succeeded",
        "Failed" => "Failed",
        _ => return None,
    };
    Some((
        phase,
        Cause {
            reason: status.reason.clone(),
            message: status.message.clone(),
        },
    ))
}
