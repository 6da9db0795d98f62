//! When to mistrust what is seen: if most nodes fell silent together, the fault is probably on
//! this side, and moving their pods would only do harm.
//!
//! Nodes that are cut off in one moment are not seen to fall in one moment, since their heartbeats
//! do not keep step. So those that are late count with the first that fell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use skiff_api::Millis;

/// Nodes that fell within this time of each other fell together.
const TOGETHER: Duration = Duration::from_secs(60);

/// The nodes that are not ready.
#[derive(Clone, Debug, Default)]
pub(super) struct Fallen {
    /// How many nodes there are in all.
    pub(super) nodes: usize,
    /// Since when each node is not ready.
    pub(super) since: BTreeMap<Arc<str>, Millis>,
    /// Those of them of which nothing is heard.
    pub(super) silent: BTreeSet<Arc<str>>,
    /// Nodes that have not fallen, but whose heartbeats are late.
    pub(super) late: BTreeSet<Arc<str>>,
    /// The time of this pass.
    pub(super) now: Millis,
}

/// How many nodes fell together with one, of how many that stood before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Company {
    pub(super) fell: usize,
    /// How many more are about to fall together with it, or only late.
    pub(super) late: usize,
    pub(super) stood: usize,
    pub(super) since: Millis,
}

impl Company {
    /// Whether pods had better stay where they are: more than half fell, or seem to be falling.
    /// The only node of a cluster never loses its pods, which could go nowhere.
    pub(super) const fn is_suspicious(&self) -> bool {
        2 * (self.fell + self.late) > self.stood
    }

    /// Whether more than half are known to have fallen.
    pub(super) const fn is_certain(&self) -> bool {
        2 * self.fell > self.stood
    }
}

impl Fallen {
    /// The company in which a node fell; `None` if it stands.
    pub(super) fn company(&self, node: &str) -> Option<Company> {
        let since = *self.since.get(node)?;
        let begun = |other: Millis| Millis(other.0).after(TOGETHER);
        let earlier = self
            .since
            .values()
            .filter(|other| begun(**other) < since)
            .count();
        let later = self
            .since
            .values()
            .filter(|other| begun(since) < **other)
            .count();
        let late = self
            .late
            .iter()
            .filter(|node| !self.since.contains_key(*node));
        let is_recent = self.now <= begun(since);
        Some(Company {
            fell: self.since.len() - earlier - later,
            late: if is_recent { late.count() } else { 0 },
            stood: self.nodes - earlier,
            since,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evictions_stop_if_most_nodes_fell_together() {
        let cases: [(&str, usize, &[i64], usize, bool); 13] = [
            ("the only node", 1, &[0], 0, true),
            ("one of two", 2, &[0], 0, false),
            ("the other one, much later", 2, &[100, 0], 0, true),
            ("one of three", 3, &[0], 0, false),
            ("two of three together", 3, &[0, 5], 0, true),
            ("the second of three, much later", 3, &[100, 0], 0, false),
            ("half of four", 4, &[0, 1], 0, false),
            ("three of five", 5, &[0, 1, 2], 0, true),
            ("the first of three, the others are late", 3, &[0], 2, true),
            ("one of three, another is late", 3, &[0], 1, true),
            ("one of five, another is late", 5, &[0], 1, false),
            ("one of two, the other is late", 2, &[0], 1, true),
            (
                "one that fell long before others are late",
                3,
                &[-100],
                2,
                false,
            ),
        ];
        for (name, nodes, seconds, late, expected) in cases {
            let since = seconds.iter().enumerate();
            let since = since.map(|(n, s)| (format!("n{n}").into(), Millis(s * 1000)));
            let fallen = Fallen {
                nodes,
                since: since.collect(),
                late: (0..late).map(|n| format!("late{n}").into()).collect(),
                ..Fallen::default()
            };
            let company = fallen.company("n0").unwrap();
            assert_eq!(company.is_suspicious(), expected, "{name}: {company:?}");
        }
    }
}
