//! How far a rolling update may stray from the wanted count: `maxSurge` and `maxUnavailable`.

use serde_json::Value;

/// A Deployment's wanted count and what may be missing from it or on top of it meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// `spec.replicas`.
    pub(super) replicas: i64,
    /// Pods allowed above `replicas`.
    pub(super) surge: i64,
    /// Pods that may be missing from `replicas`.
    pub(super) unavailable: i64,
}

impl Bounds {
    /// Reads a Deployment's spec. Outside of a rolling update nothing may be added or missing.
    pub(super) fn read(spec: &Value) -> Self {
        let replicas = spec["replicas"].as_i64().unwrap_or(1);
        let rolling = &spec["strategy"]["rollingUpdate"];
        if is_recreate(spec) {
            return Self {
                replicas,
                surge: 0,
                unavailable: 0,
            };
        }
        let surge = scaled(&rolling["maxSurge"], replicas, Round::Up);
        let mut unavailable = scaled(&rolling["maxUnavailable"], replicas, Round::Down);
        // Both zero would stand still: Kubernetes lets one pod be missing then.
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        Self {
            replicas,
            surge,
            unavailable: unavailable.min(replicas),
        }
    }

    /// The most pods there may be.
    pub(super) const fn most(&self) -> i64 {
        self.replicas.saturating_add(self.surge)
    }

    /// The fewest pods that must be available.
    pub(super) const fn fewest(&self) -> i64 {
        self.replicas.saturating_sub(self.unavailable)
    }
}

/// Whether the strategy is `Recreate`.
pub(super) fn is_recreate(spec: &Value) -> bool {
    spec["strategy"]["type"] == "Recreate"
}

#[derive(Clone, Copy)]
enum Round {
    Up,
    Down,
}

/// A count, or a percentage of `whole`; 25 % if nothing is said.
fn scaled(amount: &Value, whole: i64, round: Round) -> i64 {
    if let Some(count) = amount.as_i64() {
        return count.max(0);
    }
    let percent = amount
        .as_str()
        .and_then(|text| text.strip_suffix('%')?.parse().ok());
    let product = whole.max(0).saturating_mul(percent.unwrap_or(25).max(0));
    match round {
        Round::Up => product.saturating_add(99) / 100,
        Round::Down => product / 100,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bounds_are_kubernetes() {
        let cases = [
            (
                "defaults round surge up and unavailable down",
                10,
                json!(null),
                json!(null),
                (13, 8),
            ),
            (
                "defaults on one replica replace before removing",
                1,
                json!(null),
                json!(null),
                (2, 1),
            ),
            ("counts", 10, json!(2), json!(1), (12, 9)),
            ("percentages", 3, json!("50%"), json!("50%"), (5, 2)),
            (
                "both zero lets one be missing",
                3,
                json!(0),
                json!("0%"),
                (3, 2),
            ),
            (
                "no more is missing than there is",
                3,
                json!(1),
                json!(9),
                (4, 0),
            ),
            (
                "nothing wanted, a count of surge",
                0,
                json!(1),
                json!(1),
                (1, 0),
            ),
        ];
        for (name, replicas, surge, unavailable, expected) in cases {
            let spec = json!({"replicas": replicas, "strategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}});
            let bounds = Bounds::read(&spec);
            assert_eq!((bounds.most(), bounds.fewest()), expected, "{name}");
        }
        let recreate = json!({"replicas": 4, "strategy": {"type": "Recreate"}});
        assert_eq!(
            Bounds::read(&recreate),
            Bounds {
                replicas: 4,
                surge: 0,
                unavailable: 0
            }
        );
    }
}
