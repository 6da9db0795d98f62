//! A pod's quality-of-service class, which its containers' resources decide.

use super::resources;
use crate::admit::field::At;

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(super) fn class(spec: &At<'_, '_>) -> &'static str {
    let (mut any, mut all) = (false, true);
    for list in ["containers", "initContainers"] {
        for container in spec.field(list).each() {
            let resources = container.field("resources");
            let (limits, requests) = (resources.field("limits"), resources.field("requests"));
            for name in ["cpu", "memory"] {
                let (limit, request) = (amount(name, &limits), amount(name, &requests));
                any |= limit.is_some() || request.is_some();
                // A missing request is the limit; admission has filled it in for pods.
                all &= limit.is_some() && (request.is_none() || request == limit);
            }
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// The quantity of a resource in a list of them; zero counts as none.
fn amount(name: &str, list: &At<'_, '_>) -> Option<i64> {
    resources::parse(name, list.field(name).text())
        .ok()
        .filter(|amount| *amount > 0)
}
