//! Steers canaries that judge themselves: begins them, and carries out what `crate::canary` judges.
//!
//! What gateways counted never touches the log: it is an argument, as heartbeats are for node
//! health. Owns two annotations of such an Ingress, `canary-weight` while the canary is judged and
//! `canary-status`; whatever a person changes at the same time wins, since the write is guarded by
//! the Ingress' revision.

#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

use skiff_api::canary::{Auto, Counts, Phase, STATUS, Status, Step, WEIGHT};
use skiff_api::{Kind, Object};

use super::endpoint_slice::SERVICE_NAME;
use crate::canary::{Pending, Seen, Verdict, judge};
use crate::command::Write;
use crate::draft::Draft;
use crate::event::{self, Note, Severity};
use crate::stamp::Stamper;
use crate::state::State;

/// What the leader remembers of a canary's step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The step that all of this is about.
    pub step: Step,
    /// How long it has been seen at that.
    pub age: Duration,
    /// What was counted of the stable version meanwhile.
    pub stable: Counts,
    /// What was counted of the canary.
    pub canary: Counts,
    /// It was told already that the step waits for something.
    pub told: bool,
}

/// What to do about a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steering {
    /// The Ingress as it is to be. What is `said` is true only once this is done.
    pub write: Option<Write>,
    /// An Event.
    pub said: Write,
}

/// The canary of an Ingress that is to be judged; `None` if there is none, or a verdict on it.
#[must_use]
pub fn auto(ingress: &Object) -> Option<Auto> {
    if ingress.meta().deletion.is_some() {
        return None;
    }
    let value = ingress.to_value();
    let annotations = value.pointer("/metadata/annotations")?;
    let auto = Auto::read(|name| annotations.get(name)?.as_str())?;
    auto.verdict().is_none().then_some(auto)
}

/// Decides about the canary of an Ingress; `None` if there is nothing to do or say.
#[must_use]
pub fn canary(
    state: &State,
    ingress: &Object,
    memory: &Memory,
    stamper: &mut Stamper,
) -> Option<Steering> {
    // What was counted of another step says nothing about this one.
    let auto = auto(ingress).filter(|auto| auto.step == memory.step)?;
    let turn = if auto.status.is_none() {
        begin(state, ingress, &auto)
    } else {
        go_on(&auto, memory)
    };
    let turn = turn.filter(|turn| turn.change.is_some() || !memory.told)?;
    let said = Note {
        about: ingress,
        severity: turn.severity,
        reason: turn.reason,
        message: &turn.message,
        source: "canary-controller",
    };
    Some(Steering {
        write: turn
            .change
            .and_then(|change| change.write(ingress, &auto.step.service, stamper)),
        said: event::record(state, &said, stamper),
    })
}

/// A change of an Ingress, if any, and how it is told.
struct Turn {
    change: Option<Change>,
    severity: Severity,
    reason: &'static str,
    message: String,
}

/// What becomes of the annotations.
struct Change {
    weight_percent: u8,
    phase: Phase,
    /// Why, if that is not plain.
    why: String,
}

impl Change {
    fn write(&self, ingress: &Object, service: &str, stamper: &Stamper) -> Option<Write> {
        let at = stamper.at().rfc3339();
        let detail = match self.phase {
            Phase::Progressing => format!("since {at}"),
            Phase::Promoted => format!("at {at}"),
            Phase::RolledBack => format!("at {at}: {}", self.why),
        };
        let status = Status {
            phase: self.phase,
            service: service.to_owned(),
            detail,
        };
        let mut draft = Draft::of(ingress);
        draft.annotate(WEIGHT, Some(&self.weight_percent.to_string()));
        draft.annotate(STATUS, Some(&status.to_string()));
        draft.write()
    }
}

impl Turn {
    fn waits(message: String) -> Self {
        Self {
            change: None,
            severity: Severity::Normal,
            reason: "CanaryWaiting",
            message,
        }
    }
}

/// The first step: as far as its owner has set it, or one step from nothing.
fn begin(state: &State, ingress: &Object, auto: &Auto) -> Option<Turn> {
    // A canary whose pods are yet to start would fail its first requests, and with them for good.
    let missing = auto
        .services()
        .find(|service| !is_ready(state, &ingress.key().namespace, service));
    if let Some(service) = missing {
        let message = format!("Service {service} has no ready endpoint yet");
        return Some(Turn::waits(message));
    }
    let weight_percent = match auto.step.weight_percent {
        0 => auto.settings.step_percent.min(100),
        set => set,
    };
    Some(Turn {
        change: Some(Change {
            weight_percent,
            phase: Phase::Progressing,
            why: String::new(),
        }),
        severity: Severity::Normal,
        reason: "CanaryStarted",
        message: words::started(auto, weight_percent),
    })
}

/// Whether a service has an endpoint that takes requests.
fn is_ready(state: &State, namespace: &str, service: &str) -> bool {
    let mut slices = state.list(Kind::EndpointSlice, Some(namespace));
    slices.any(|slice| slice.meta().labels.get(SERVICE_NAME) == Some(service) && has_ready(slice))
}

fn has_ready(slice: &Object) -> bool {
    let value = slice.to_value();
    let endpoints = value.get("endpoints").and_then(|all| all.as_array());
    // What is not said is true, as Kubernetes has it.
    endpoints.into_iter().flatten().any(|endpoint| {
        let ready = endpoint.pointer("/conditions/ready");
        ready.and_then(serde_json::Value::as_bool).unwrap_or(true)
    })
}

fn go_on(auto: &Auto, memory: &Memory) -> Option<Turn> {
    let service = &auto.step.service;
    let seen = Seen {
        weight_percent: auto.step.weight_percent,
        age: memory.age,
        stable: &memory.stable,
        canary: &memory.canary,
    };
    let (reason, severity, message, change) = match judge(&auto.settings, &seen) {
        Verdict::Wait(Pending::Young | Pending::Paused) => return None,
        Verdict::Wait(pending @ (Pending::FewRequests | Pending::Unclear(_))) => {
            // A step that takes a little longer than asked for is nothing to tell of.
            if memory.age < auto.settings.interval * 2 {
                return None;
            }
            return Some(Turn::waits(words::waits(auto, pending)));
        }
        Verdict::Advance(weight) => (
            "CanaryAdvanced",
            Severity::Normal,
            words::advanced(service, weight, memory),
            (weight, Phase::Progressing, String::new()),
        ),
        Verdict::Promote => (
            "CanaryPromoted",
            Severity::Normal,
            words::promoted(service, memory),
            (100, Phase::Promoted, String::new()),
        ),
        Verdict::RollBack(fault) => (
            "CanaryRolledBack",
            Severity::Warning,
            format!("{service} gets no requests any more: {fault}"),
            (0, Phase::RolledBack, fault.to_string()),
        ),
    };
    let (weight_percent, phase, why) = change;
    Some(Turn {
        change: Some(Change {
            weight_percent,
            phase,
            why,
        }),
        severity,
        reason,
        message,
    })
}
