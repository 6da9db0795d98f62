//! The objects that clients work on, and what they do next.

use serde_json::{Value, json};
use skiff_api::{Key, Kind, Object};

use crate::history::Act;
use crate::message::Call;
use crate::rng::Rng;

/// Keys that clients read and write: few, so that they meet.
const REGISTERS: usize = 5;
/// Deployments that clients scale.
pub(crate) const DEPLOYMENTS: usize = 3;
/// Replicas of a Deployment at most.
const REPLICAS_MAX: u64 = 6;
/// Where all of them are.
pub(crate) const NAMESPACE: &str = "default";

/// The value of a register.
#[must_use]
pub fn value_of(object: &Object) -> u64 {
    let value = object.to_value();
    let text = value.pointer("/data/value").and_then(Value::as_str);
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A register with a value, if it is still of this revision.
fn register(name: &str, value: u64, at: Option<u64>) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {"value": value.to_string()}});
    if let (Some(at), Some(meta)) = (
        at,
        object.get_mut("metadata").and_then(Value::as_object_mut),
    ) {
        meta.insert("resourceVersion".into(), at.to_string().into());
    }
    object
}

/// The name of one of the registers.
pub(crate) fn some_register(rng: &mut Rng) -> String {
    format!("register-{}", rng.index(REGISTERS))
}

/// An act, as a request; `at` is the revision of the value that a swap starts from.
pub(crate) fn call(name: &str, act: Act, at: Option<u64>) -> Call {
    let key = Key::new(Kind::ConfigMap, NAMESPACE, name);
    match act {
        Act::Create(value) => Call::Create(Kind::ConfigMap, register(name, value, None)),
        Act::Put(value) => Call::Update(key, register(name, value, None)),
        Act::Swap { to, .. } => Call::Update(key, register(name, to, at)),
        Act::Delete => Call::Delete { key, at_once: None },
        Act::Read => Call::Get(key),
    }
}

/// What has to be there before anything else.
pub(crate) fn beginning() -> Vec<Call> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE}});
    let mut calls: Vec<Call> = (0..DEPLOYMENTS)
        .map(|index| Call::Create(Kind::Deployment, deployment(index, 2)))
        .collect();
    calls.push(Call::Create(Kind::Namespace, namespace));
    calls
}

fn deployment(index: usize, replicas: u64) -> Value {
    let name = format!("shop-{index}");
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
    "metadata": {"name": name, "namespace": NAMESPACE},
    "spec": {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {
                "terminationGracePeriodSeconds": 2,
                "containers": [{"name": "main", "image": "shop:v1",
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}],
            },
        },
    }})
}

/// A change of one of the Deployments.
pub(crate) fn some_deployment(rng: &mut Rng) -> Call {
    let index = rng.index(DEPLOYMENTS);
    let key = Key::new(Kind::Deployment, NAMESPACE, &format!("shop-{index}"));
    let patch = |patch| Call::Patch {
        key: key.clone(),
        patch,
        status: false,
    };
    match rng.below(10) {
        0 => Call::Delete {
            key: key.clone(),
            at_once: None,
        },
        1 | 2 => Call::Create(
            Kind::Deployment,
            deployment(index, rng.below(REPLICAS_MAX + 1)),
        ),
        3 => {
            let image = format!("shop:v{}", rng.between(1, 3));
            let containers = json!([{"name": "main", "image": image,
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]);
            patch(json!({"spec": {"template": {"spec": {"containers": containers}}}}))
        }
        _ => patch(json!({"spec": {"replicas": rng.below(REPLICAS_MAX + 1)}})),
    }
}
