//! Why a rollout stands still: the first pod of the new set that cannot become available.

use serde_json::Value;
use skiff_api::{Object, Phase};

use crate::plan::condition;
use crate::state::State;

/// How much is forgiven to a pod that is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Pods that are starting are no cause.
    WhileProgressing,
    /// The deadline has passed: whatever is not ready is a cause.
    Lost,
}

/// What every starting pod goes through.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// `pod web-x2k4f: container app: ImagePullBackOff: Back-off pulling image "nope"`.
pub(super) fn first(state: &State, set: &Object, patience: Patience) -> Option<String> {
    let pods = state.owned_by(&set.meta().uid).filter(|pod| {
        let view = pod.pod();
        pod.meta().deletion.is_none()
            && view.is_some_and(|view| !view.ready && view.phase != Phase::Succeeded)
    });
    let mut causes = pods.filter_map(|pod| Some((pod, cause(&pod.to_value(), patience)?)));
    causes
        .next()
        .map(|(pod, cause)| format!("pod {}: {cause}", pod.key().name))
}

fn cause(pod: &Value, patience: Patience) -> Option<String> {
    let status = &pod["status"];
    let scheduled = condition::find(status, "PodScheduled");
    if let Some(unscheduled) = scheduled.filter(|found| found["status"] == "False") {
        return Some(said(unscheduled));
    }
    let containers = ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(|list| status[list].as_array().into_iter().flatten());
    let failing = containers.filter_map(|container| {
        let name = container["name"].as_str().unwrap_or("");
        Some(format!("container {name}: {}", failure(container)?))
    });
    failing
        .into_iter()
        .next()
        .or_else(|| unready(status, patience))
}

/// What is wrong with a container beyond not being ready yet.
fn failure(container: &Value) -> Option<String> {
    let (now, last) = (&container["state"], &container["lastState"]["terminated"]);
    let waiting = &now["waiting"];
    let reason = waiting["reason"].as_str().unwrap_or("");
    if !reason.is_empty() && !STARTING.contains(&reason) {
        let exit = exit(last)
            .map(|exit| format!(" ({exit})"))
            .unwrap_or_default();
        return Some(said(waiting) + &exit);
    }
    exit(&now["terminated"])
}

/// How a container ended, if it ended badly.
fn exit(terminated: &Value) -> Option<String> {
    let code = terminated["exitCode"].as_i64().filter(|code| *code != 0)?;
    let words = said(terminated);
    let words = if words.is_empty() {
        words
    } else {
        format!(": {words}")
    };
    Some(format!("exit code {code}{words}"))
}

/// Reason and message, whichever there are.
fn said(of: &Value) -> String {
    let texts = [&of["reason"], &of["message"]].map(|text| text.as_str().unwrap_or("").trim());
    texts
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join(": ")
}

/// The pod's own words for not being ready, once patience is lost.
fn unready(status: &Value, patience: Patience) -> Option<String> {
    if patience == Patience::WhileProgressing {
        return None;
    }
    let words = condition::find(status, "Ready")
        .map(said)
        .unwrap_or_default();
    Some(if words.is_empty() {
        "not ready".to_owned()
    } else {
        words
    })
}
