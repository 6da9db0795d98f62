//! What Events say of a canary.

use std::time::Duration;

use skiff_api::canary::Auto;

use super::Memory;
use crate::canary::{Pending, compared};

pub(super) fn started(auto: &Auto, weight_percent: u8) -> String {
    format!(
        "{} gets {weight_percent} % of the requests; a step takes {} and {} requests at least",
        auto.step.service,
        time(auto.settings.interval),
        auto.settings.requests,
    )
}

pub(super) fn advanced(service: &str, weight_percent: u8, memory: &Memory) -> String {
    let how = compared(&memory.canary, &memory.stable);
    format!("{service} gets {weight_percent} % of the requests: {how}")
}

pub(super) fn promoted(service: &str, memory: &Memory) -> String {
    let how = compared(&memory.canary, &memory.stable);
    format!("{service} gets all requests and is judged no more: {how}")
}

pub(super) fn waits(auto: &Auto, pending: Pending) -> String {
    let (service, weight) = (&auto.step.service, auto.step.weight_percent);
    match pending {
        Pending::FewRequests => format!(
            "{service} stays at {weight} %: it has got fewer than {} requests",
            auto.settings.requests
        ),
        Pending::Unclear(_) | Pending::Young | Pending::Paused => {
            format!("{service} stays at {weight} %: {pending}")
        }
    }
}

fn time(interval: Duration) -> String {
    match interval.as_millis() {
        millis if millis % 60_000 == 0 => format!("{}m", millis / 60_000),
        millis if millis % 1000 == 0 => format!("{}s", millis / 1000),
        millis => format!("{millis}ms"),
    }
}
