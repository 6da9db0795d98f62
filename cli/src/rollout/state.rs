//! How far a workload is, judged from its status alone. Pure; the words are kubectl's.

use serde_json::Value;
use skiff_api::Kind;

use crate::json;

/// How far a workload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is as it should be.
    Done(String),
    /// It is on its way.
    Waiting(String),
    /// It will not get there by itself.
    Failed(String),
}

/// Judges an object; kinds that are never unready are done.
pub(crate) fn judge(kind: Kind, object: &Value) -> State {
    match kind {
        Kind::Deployment => deployment(object),
        Kind::ReplicaSet => replica_set(object),
        Kind::Pod => pod(object),
        Kind::Namespace
        | Kind::Node
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::Event
        | Kind::ServiceAccount
        | Kind::Lease
        | Kind::Service
        | Kind::Endpoints
        | Kind::EndpointSlice
        | Kind::Ingress
        | Kind::IngressClass
        | Kind::NetworkPolicy => State::Done(String::new()),
    }
}

/// As `kubectl rollout status` does it.
pub(crate) fn deployment(object: &Value) -> State {
    let name = json::name(object);
    if json::int(object, "/metadata/generation") > json::int(object, "/status/observedGeneration") {
        return State::Waiting("Waiting for deployment spec update to be observed...".to_owned());
    }
    if let Some(condition) = json::condition(object, "Progressing") {
        let message = json::text(condition, "/message");
        match json::text(condition, "/reason") {
            "ProgressDeadlineExceeded" => {
                return State::Failed(format!(
                    "deployment {name:?} exceeded its progress deadline"
                ));
            }
            reason if reason.contains("RolledBack") => {
                return State::Failed(format!("deployment {name:?} was rolled back: {message}"));
            }
            _ => {}
        }
    }
    let wanted = object
        .pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or(1);
    let count = |field: &str| json::int(object, &format!("/status/{field}"));
    let (updated, available, all) = (
        count("updatedReplicas"),
        count("availableReplicas"),
        count("replicas"),
    );
    let waiting = |what: String| {
        State::Waiting(format!(
            "Waiting for deployment {name:?} rollout to finish: {what}..."
        ))
    };
    if updated < wanted {
        return waiting(format!(
            "{updated} out of {wanted} new replicas have been updated"
        ));
    }
    if all > updated {
        return waiting(format!(
            "{} old replicas are pending termination",
            all - updated
        ));
    }
    if available < updated {
        return waiting(format!(
            "{available} of {updated} updated replicas are available"
        ));
    }
    State::Done(format!("deployment {name:?} successfully rolled out"))
}

fn replica_set(object: &Value) -> State {
    let name = json::name(object);
    let wanted = object
        .pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or(1);
    let ready = json::int(object, "/status/readyReplicas");
    let observed = json::int(object, "/status/observedGeneration");
    if json::int(object, "/metadata/generation") > observed || ready < wanted {
        return State::Waiting(format!(
            "Waiting for replicaset {name:?}: {ready} of {wanted} replicas are ready..."
        ));
    }
    State::Done(format!("replicaset {name:?} is ready"))
}

fn pod(object: &Value) -> State {
    let name = json::name(object);
    let ready =
        json::condition(object, "Ready").is_some_and(|c| json::text(c, "/status") == "True");
    match json::text(object, "/status/phase") {
        "Succeeded" => State::Done(format!("pod {name:?} has succeeded")),
        "Failed" => State::Failed(format!("pod {name:?} has failed")),
        _ if ready => State::Done(format!("pod {name:?} is ready")),
        _ => State::Waiting(format!("Waiting for pod {name:?} to be ready...")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn deployments_are_judged_as_kubectl_does() {
        // generation, observed, wanted, updated, available, all, reason → state
        let rows = [
            (
                (2, 1, 3, 3, 3, 3, ""),
                "waiting: Waiting for deployment spec update to be observed...",
            ),
            (
                (1, 1, 3, 1, 3, 4, ""),
                "waiting: Waiting for deployment \"web\" rollout to finish: \
                1 out of 3 new replicas have been updated...",
            ),
            (
                (1, 1, 3, 3, 3, 4, ""),
                "waiting: Waiting for deployment \"web\" rollout to finish: \
                1 old replicas are pending termination...",
            ),
            (
                (1, 1, 3, 3, 2, 3, ""),
                "waiting: Waiting for deployment \"web\" rollout to finish: \
                2 of 3 updated replicas are available...",
            ),
            (
                (1, 1, 3, 3, 3, 3, "NewReplicaSetAvailable"),
                "done: deployment \"web\" successfully rolled out",
            ),
            (
                (1, 1, 0, 0, 0, 0, ""),
                "done: deployment \"web\" successfully rolled out",
            ),
            (
                (1, 1, 3, 1, 3, 4, "ProgressDeadlineExceeded"),
                "failed: deployment \"web\" exceeded its progress deadline",
            ),
        ];
        for ((generation, observed, wanted, updated, available, all, reason), expected) in rows {
            let object = json!({
                "metadata": {"name": "web", "generation": generation},
                "spec": {"replicas": wanted},
                "status": {"observedGeneration": observed, "updatedReplicas": updated,
                    "availableReplicas": available, "replicas": all,
                    "conditions": [{"type": "Progressing", "reason": reason}]},
            });
            let found = match deployment(&object) {
                State::Done(text) => format!("done: {text}"),
                State::Waiting(text) => format!("waiting: {text}"),
                State::Failed(text) => format!("failed: {text}"),
            };
            assert_eq!(found, expected);
        }
    }
}
