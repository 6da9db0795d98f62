//! When to mistrust what is seen: if most nodes fell silent together, the fault is probably on
//! this side, and moving their pods would only do harm.

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
}

/// How many nodes fell together with one, of how many that stood before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Company {
    pub(super) fell: usize,
    pub(super) stood: usize,
    pub(super) since: Millis,
}

impl Company {
    /// Whether pods had better stay where they are: more than half fell. The only node of a
    /// cluster never loses its pods, which could go nowhere.
    pub(super) const fn is_suspicious(&self) -> bool {
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
        Some(Company {
            fell: self.since.len() - earlier - later,
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
        let cases: [(&str, usize, &[i64], bool); 8] = [
            ("the only node", 1, &[0], true),
            ("one of two", 2, &[0], false),
            ("the other one, much later", 2, &[100, 0], true),
            ("one of three", 3, &[0], false),
            ("two of three together", 3, &[0, 5], true),
            ("the second of three, much later", 3, &[100, 0], false),
            ("half of four", 4, &[0, 1], false),
            ("three of five", 5, &[0, 1, 2], true),
        ];
        for (name, nodes, seconds, expected) in cases {
            let since = seconds.iter().enumerate();
            let since = since.map(|(n, s)| (format!("n{n}").into(), Millis(s * 1000)));
            let fallen = Fallen {
                nodes,
                since: since.collect(),
                ..Fallen::default()
            };
            let company = fallen.company("n0").unwrap();
            assert_eq!(company.is_suspicious(), expected, "{name}: {company:?}");
        }
    }
}
