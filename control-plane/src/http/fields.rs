//! Field selectors by kind: which paths may be asked for, and what an object has there.

use serde_json::Value;
use skiff_api::{FieldSelector, Kind, Object, Reason, Scope, View};

use super::reply::{Refused, refuse};

/// The paths besides `metadata.name` and `metadata.namespace`.
fn paths(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Pod => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        Kind::Event => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        Kind::Node => &["spec.unschedulable"],
        Kind::Namespace => &["status.phase"],
        Kind::Secret => &["type"],
        Kind::ReplicaSet => &["status.replicas"],
        Kind::Service => &["spec.clusterIP", "spec.type"],
        Kind::ConfigMap
        | Kind::ServiceAccount
        | Kind::Deployment
        | Kind::Lease
        | Kind::Endpoints
        | Kind::EndpointSlice
        | Kind::Ingress
        | Kind::IngressClass
        | Kind::NetworkPolicy => &[],
    }
}

/// Refuses a selector on fields that the kind doesn't offer.
///
/// # Errors
/// 400 in Kubernetes' words.
pub(crate) fn check(kind: Kind, selector: &FieldSelector) -> Result<(), Refused> {
    let namespaced = kind.info().scope == Scope::Namespaced;
    let known = |path: &str| {
        path == "metadata.name"
            || (path == "metadata.namespace" && namespaced)
            || paths(kind).contains(&path)
    };
    match selector.paths().find(|path| !known(path)) {
        None => Ok(()),
        Some(path) if paths(kind).is_empty() => {
            let message = format!(
                "{path:?} is not a known field selector: \
                 only \"metadata.name\", \"metadata.namespace\""
            );
            Err(refuse(Reason::BadRequest, message))
        }
        Some(path) => Err(refuse(
            Reason::BadRequest,
            format!("field label not supported: {path}"),
        )),
    }
}

/// Whether an object has the fields selected; its bytes are read only if the summary lacks one.
pub(crate) fn matches(selector: &FieldSelector, object: &Object) -> bool {
    let mut value = None;
    selector.matches(|path| {
        summary(object, path)
            .unwrap_or_else(|| field(value.get_or_insert_with(|| object.to_value()), path))
    })
}

fn summary(object: &Object, path: &str) -> Option<String> {
    let key = object.key();
    match (path, object.view()) {
        ("metadata.name", _) => Some(key.name.as_ref().to_owned()),
        ("metadata.namespace", _) => Some(key.namespace.as_ref().to_owned()),
        ("spec.nodeName", View::Pod(pod)) => Some(pod.node.as_deref().unwrap_or("").to_owned()),
        ("status.phase", View::Pod(pod)) => Some(pod.phase.word().to_owned()),
        ("spec.unschedulable", View::Node(node)) => Some(node.unschedulable.to_string()),
        (_, View::Pod(_) | View::Node(_) | View::Service(_) | View::Other) => None,
    }
}

fn field(object: &Value, path: &str) -> String {
    // An event's source is selected by its component, a flag that is not set is false.
    let (path, absent) = match path {
        "source" => ("source.component", ""),
        "spec.hostNetwork" => (path, "false"),
        "status.replicas" => (path, "0"),
        _ => (path, ""),
    };
    let found = path
        .split('.')
        .try_fold(object, |value, part| value.get(part));
    match found {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => absent.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_are_selected_by_their_fields() {
        let pod = Object::from_value(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "d"},
            "spec": {"nodeName": "n1", "restartPolicy": "Never"},
            "status": {"phase": "Running"}}))
        .unwrap();
        let event = Object::from_value(json!({"apiVersion": "v1", "kind": "Event",
            "metadata": {"name": "e", "namespace": "d"}, "source": {"component": "scheduler"},
            "involvedObject": {"kind": "Pod", "name": "p", "uid": "u"}}))
        .unwrap();
        let node = Object::from_value(json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "n"}}))
        .unwrap();
        let service = Object::from_value(json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "s", "namespace": "d"},
            "spec": {"type": "NodePort", "clusterIP": "10.43.0.9"}}))
        .unwrap();
        let cases = [
            (&service, "spec.type=NodePort,spec.clusterIP!=None", true),
            (&service, "spec.clusterIP=None", false),
            (&pod, "metadata.name=p", true),
            (&pod, "metadata.namespace!=d", false),
            (
                &pod,
                "spec.nodeName=n1,status.phase!=Succeeded,status.phase!=Failed",
                true,
            ),
            (&pod, "spec.restartPolicy=Always", false),
            (&pod, "spec.hostNetwork=false", true),
            (
                &event,
                "involvedObject.name=p,involvedObject.kind=Pod,involvedObject.uid=u",
                true,
            ),
            (&event, "involvedObject.uid=v", false),
            (&event, "source=scheduler", true),
            (&node, "spec.unschedulable=false", true),
        ];
        for (object, text, expected) in cases {
            let selector = FieldSelector::parse(text).unwrap();
            assert!(check(object.kind(), &selector).is_ok(), "{text}");
            assert_eq!(matches(&selector, object), expected, "{text}");
        }
    }

    #[test]
    fn other_fields_are_refused_in_kubernetes_words() {
        let cases = [
            (
                Kind::Pod,
                "spec.foo=a",
                "field label not supported: spec.foo",
            ),
            (
                Kind::ConfigMap,
                "data=a",
                "\"data\" is not a known field selector: \
                 only \"metadata.name\", \"metadata.namespace\"",
            ),
            (
                Kind::Node,
                "metadata.namespace=a",
                "field label not supported: metadata.namespace",
            ),
        ];
        for (kind, text, expected) in cases {
            let refused = check(kind, &FieldSelector::parse(text).unwrap()).unwrap_err();
            assert_eq!((refused.code, refused.message.as_str()), (400, expected));
        }
    }
}
