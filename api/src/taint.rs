//! Taints of nodes and the tolerations of pods: which pods a node keeps off, or drives away.

use serde_json::Value;

use crate::time::Millis;

/// What a taint does to the pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// No new pod is placed on the node.
    NoSchedule,
    /// New pods are placed elsewhere if they can be.
    PreferNoSchedule,
    /// Pods on the node are evicted, and no new one is placed.
    NoExecute,
}

impl Effect {
    /// The word on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::NoSchedule, Self::PreferNoSchedule, Self::NoExecute]
            .into_iter()
            .find(|effect| effect.word() == word)
    }
}

/// An entry of a node's `spec.taints`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taint {
    /// The taint's key.
    pub key: Box<str>,
    /// Its value, often empty.
    pub value: Box<str>,
    /// What it does.
    pub effect: Effect,
    /// Since when, if that was noted.
    pub added: Option<Millis>,
}

impl Taint {
    /// Reads an entry of `spec.taints`; `None` if its effect is none that is known.
    #[must_use]
    pub fn read(taint: &Value) -> Option<Self> {
        Some(Self {
            key: text(&taint["key"]),
            value: text(&taint["value"]),
            effect: Effect::parse(taint["effect"].as_str()?)?,
            added: taint["timeAdded"].as_str().and_then(Millis::parse),
        })
    }
}

/// An entry of a pod's `spec.tolerations`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Toleration {
    key: Box<str>,
    /// The value wanted; `None` for the operator `Exists`.
    value: Option<Box<str>>,
    /// The effect tolerated; `None` for all.
    effect: Option<Effect>,
    /// For how long a `NoExecute` taint is tolerated, in seconds; `None` for ever.
    pub seconds: Option<i64>,
}

impl Toleration {
    /// Reads an entry of `spec.tolerations`.
    #[must_use]
    pub fn read(toleration: &Value) -> Self {
        let exists = toleration["operator"].as_str() == Some("Exists");
        Self {
            key: text(&toleration["key"]),
            value: (!exists).then(|| text(&toleration["value"])),
            effect: toleration["effect"].as_str().and_then(Effect::parse),
            seconds: toleration["tolerationSeconds"].as_i64(),
        }
    }

    /// Whether it covers a taint.
    #[must_use]
    pub fn tolerates(&self, taint: &Taint) -> bool {
        let key = self.key == taint.key || (self.key.is_empty() && self.value.is_none());
        key && self.effect.is_none_or(|effect| effect == taint.effect)
            && self
                .value
                .as_ref()
                .is_none_or(|value| *value == taint.value)
    }
}

fn text(value: &Value) -> Box<str> {
    value.as_str().unwrap_or("").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_toleration_covers_a_taint() {
        let taint =
            Taint::read(&json!({"key": "gpu", "value": "a", "effect": "NoExecute"})).unwrap();
        let cases = [
            (
                "the same key and value",
                json!({"key": "gpu", "value": "a"}),
                true,
            ),
            ("another value", json!({"key": "gpu", "value": "b"}), false),
            (
                "any value of the key",
                json!({"key": "gpu", "operator": "Exists"}),
                true,
            ),
            ("anything", json!({"operator": "Exists"}), true),
            (
                "the same effect",
                json!({"key": "gpu", "value": "a", "effect": "NoExecute"}),
                true,
            ),
            (
                "another effect",
                json!({"key": "gpu", "value": "a", "effect": "NoSchedule"}),
                false,
            ),
            (
                "another key",
                json!({"key": "cpu", "operator": "Exists"}),
                false,
            ),
            ("no key and no operator", json!({"value": "a"}), false),
        ];
        for (name, toleration, expected) in cases {
            assert_eq!(
                Toleration::read(&toleration).tolerates(&taint),
                expected,
                "{name}"
            );
        }
    }
}
