//! What Events say of a canary.

use std::time::Duration;

use skiff_api::canary::{Auto, Counts};

use super::Memory;
use crate::canary::{Pending, failed_percent, millis, p99_micros};

pub(super) fn started(auto: &Auto, weight_percent: u8) -> String {
    format!(
        "{} gets {weight_percent} % of the requests; a step takes {} and {} requests at least",
        auto.step.service,
        time(auto.settings.interval),
        auto.settings.requests,
    )
}

pub(super) fn advanced(service: &str, weight_percent: u8, memory: &Memory) -> String {
    format!(
        "{service} gets {weight_percent} % of the requests: of its {}, {}",
        of(&memory.canary),
        beside(&memory.stable)
    )
}

pub(super) fn promoted(service: &str, memory: &Memory) -> String {
    format!(
        "{service} gets all requests and is judged no more: of its {}",
        of(&memory.canary)
    )
}

/// Without counts: an Event that says the same again is counted, one with other figures is new.
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

fn of(canary: &Counts) -> String {
    format!(
        "{} requests {} failed, p99 is {}",
        canary.requests(),
        failed_percent(canary),
        millis(p99_micros(canary))
    )
}

fn beside(stable: &Counts) -> String {
    if stable.requests() == 0 {
        return "and there were none to the stable version".to_owned();
    }
    format!(
        "of the stable version's {} {} failed, p99 is {}",
        stable.requests(),
        failed_percent(stable),
        millis(p99_micros(stable))
    )
}

fn time(interval: Duration) -> String {
    match interval.as_millis() {
        millis if millis % 60_000 == 0 => format!("{}m", millis / 60_000),
        millis if millis % 1000 == 0 => format!("{}s", millis / 1000),
        millis => format!("{millis}ms"),
    }
}
