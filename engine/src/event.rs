//! Events: what happened to an object, in words for people.
//!
//! An Event's name follows from what it says, so that saying it again finds the Event that is
//! there and raises its count. Plans record transitions only: a plan that repeats itself would
//! never come to rest.

#![expect(
    clippy::indexing_slicing,
    reason = "of JSON: a field that is missing reads as null, and is made when it is written"
)]

use serde_json::json;
use skiff_api::{Key, Kind, Millis, Object};

use crate::command::Write;
use crate::draft::Draft;
use crate::stamp::{Stamper, digest, letters};
use crate::state::State;

/// The longest part of an Event's name that is taken from the object it is about; with the
/// dot and the letters behind it, names stay within Kubernetes' 253 bytes.
const NAME_PREFIX_MAX: usize = 230;

/// How serious an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// All is well.
    Normal,
    /// Somebody may want to look.
    Warning,
}

impl Severity {
    /// The word on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What is said of an object.
#[derive(Clone, Copy, Debug)]
pub struct Note<'a> {
    /// The object that it is about.
    pub about: &'a Object,
    /// How serious it is.
    pub severity: Severity,
    /// One word in camel case, for machines.
    pub reason: &'a str,
    /// A sentence, for people.
    pub message: &'a str,
    /// The component that says so: `deployment-controller`.
    pub source: &'a str,
}

/// Records a note: a new Event, or a higher count of the one that said the same before.
#[must_use]
pub fn record(state: &State, note: &Note<'_>, stamper: &mut Stamper) -> Write {
    let key = key_of(note);
    let now = stamper.at().rfc3339();
    if let Some(object) = state.get(&key) {
        let mut draft = Draft::of(object);
        let count = draft.value["count"].as_i64().unwrap_or(1);
        draft.value["count"] = count.saturating_add(1).into();
        draft.value["lastTimestamp"] = now.as_str().into();
        if let Some(write) = draft.write() {
            return write;
        }
    }
    let about = note.about.key();
    let mut involved = json!({
        "apiVersion": about.kind.info().api_version(),
        "kind": about.kind.info().name,
        "name": about.name.as_ref(),
        "uid": note.about.meta().uid.as_str(),
        "resourceVersion": note.about.revision().to_string(),
    });
    if !about.namespace.is_empty() {
        involved["namespace"] = about.namespace.as_ref().into();
    }
    let draft = Draft::new(Kind::Event, &key.namespace, &key.name, stamper)
        .with("involvedObject", involved)
        .with("type", note.severity.word().into())
        .with("reason", note.reason.into())
        .with("message", note.message.into())
        .with("source", json!({"component": note.source}))
        .with("reportingComponent", note.source.into())
        .with("reportingInstance", "".into())
        .with("count", 1.into())
        .with("firstTimestamp", now.clone().into())
        .with("lastTimestamp", now.into())
        .with("eventTime", serde_json::Value::Null);
    draft.create()
}

/// When the same was last recorded, as far as its Event is still kept.
#[must_use]
pub fn last_recorded(state: &State, note: &Note<'_>) -> Option<Millis> {
    let event = state.get(&key_of(note))?.to_value();
    Millis::parse(event["lastTimestamp"].as_str()?)
}

/// Events about cluster-scoped objects live in `default`, as in Kubernetes.
fn key_of(note: &Note<'_>) -> Key {
    let about = note.about.key();
    let namespace = if about.namespace.is_empty() {
        "default"
    } else {
        &about.namespace
    };
    let said = digest([
        note.about.meta().uid.as_str().as_bytes(),
        note.severity.word().as_bytes(),
        note.reason.as_bytes(),
        note.message.as_bytes(),
        note.source.as_bytes(),
    ]);
    let prefix = about.name.get(..NAME_PREFIX_MAX).unwrap_or(&about.name);
    Key::new(
        Kind::Event,
        namespace,
        &format!("{prefix}.{}", letters(said, 13)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;

    #[test]
    fn what_is_said_again_is_counted() {
        let mut state = State::default();
        let node =
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "uid": "u"}});
        let node = Object::from_value(node).unwrap();
        for (at, message, count, events) in
            [(1000, "up", 1, 1), (9000, "up", 2, 1), (9000, "down", 1, 2)]
        {
            let note = Note {
                about: &node,
                severity: Severity::Normal,
                reason: "Said",
                message,
                source: "test",
            };
            let write = record(&state, &note, &mut Stamper::new(Millis(at), 1));
            let key = write.key().clone();
            state.apply(&Command {
                term: 1,
                at: Millis(at),
                writes: vec![write],
            });
            let event = state.get(&key).unwrap().to_value();
            assert_eq!(event["count"], count, "{message}");
            assert_eq!(event["lastTimestamp"], Millis(at).rfc3339());
            assert_eq!(
                event["firstTimestamp"],
                if message == "up" {
                    Millis(1000)
                } else {
                    Millis(9000)
                }
                .rfc3339()
            );
            assert_eq!(state.list(Kind::Event, Some("default")).count(), events);
            skiff_api::check(Kind::Event, &event).unwrap();
        }
    }
}
