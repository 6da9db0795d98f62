//! A pod's quality of service class, by Kubernetes' rule.

use std::collections::BTreeMap;

use skiff_api::k8s_openapi::api::core::v1::{Container, PodSpec};
use skiff_api::k8s_openapi::apimachinery::pkg::api::resource::Quantity;

type Amounts = BTreeMap<String, Quantity>;

/// `Guaranteed`, `Burstable` or `BestEffort`.
#[must_use]
pub fn class(spec: &PodSpec) -> &'static str {
    let mut containers = spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers);
    let empty = Amounts::new();
    let asks = |container: &Container| {
        let resources = container.resources.as_ref();
        let any = |amounts: Option<&Amounts>| {
            amounts.is_some_and(|a| a.contains_key("cpu") || a.contains_key("memory"))
        };
        any(resources.and_then(|r| r.requests.as_ref()))
            || any(resources.and_then(|r| r.limits.as_ref()))
    };
    let guaranteed = |container: &Container| {
        let resources = container.resources.as_ref();
        let limits = resources.and_then(|r| r.limits.as_ref()).unwrap_or(&empty);
        let requests = resources
            .and_then(|r| r.requests.as_ref())
            .unwrap_or(&empty);
        ["cpu", "memory"]
            .iter()
            .all(|name| match (limits.get(*name), requests.get(*name)) {
                (Some(limit), Some(request)) => limit == request,
                (Some(_), None) => true,
                (None, _) => false,
            })
    };
    if containers.clone().all(guaranteed) {
        "Guaranteed"
    } else if containers.any(asks) {
        "Burstable"
    } else {
        "BestEffort"
    }
}
