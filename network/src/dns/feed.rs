//! What the agent and the resolver's process say to each other, line by line, as JSON. The process
//! greets; the agent tells everything once and then what changes. Nothing in it is secret.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::records::{Entry, Records};
use crate::catalog::Catalog;

/// The longest line that is read: a service of a hundred thousand endpoints.
pub const LINE_MAX: u64 = 8 << 20;

/// What a process says of itself; the agent feeds it if it is as it wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// Which program it runs: another one takes its place after an update.
    pub build: String,
    /// Where it answers.
    pub listen: SocketAddr,
    /// The cluster's domain.
    pub domain: String,
    /// The ranges of services and pods.
    pub ranges: Vec<String>,
    /// The file that names its upstream servers.
    pub resolv_conf: String,
}

/// What a process is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    /// Everything follows.
    Begin,
    /// A service as it is now.
    Put(Entry),
    /// A service is gone.
    #[serde(rename_all = "camelCase")]
    Remove {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// That was everything.
    End,
    /// Give your sockets to whoever says this, and end.
    HandOver,
}

/// All lines that tell of a catalog.
#[must_use]
pub fn everything(catalog: &Catalog) -> Vec<Line> {
    let services = catalog.services();
    let entries = services.filter_map(|service| Entry::read(catalog, &service.key));
    std::iter::once(Line::Begin)
        .chain(entries.map(Line::Put))
        .chain([Line::End])
        .collect()
}

/// The lines that tell what has changed since an earlier catalog.
#[must_use]
pub fn changes(before: &Catalog, after: &Catalog) -> Vec<Line> {
    let mut lines = Vec::new();
    for key in after.changed_since(before) {
        let was = Entry::read(before, &key);
        match Entry::read(after, &key) {
            Some(entry) if was.as_ref() == Some(&entry) => {}
            Some(entry) => lines.push(Line::Put(entry)),
            None if was.is_none() => {}
            None => lines.push(Line::Remove {
                namespace: key.namespace.to_string(),
                name: key.name.to_string(),
            }),
        }
    }
    lines
}

/// Takes lines in. What is told between `Begin` and `End` counts only from the end on, so that
/// nothing is missing in between.
#[derive(Debug, Default)]
pub struct Listener {
    building: Option<Records>,
}

impl Listener {
    /// Takes one line in.
    pub fn take(&mut self, line: Line, records: &mut Records) {
        match line {
            Line::Begin => self.building = Some(Records::default()),
            Line::Put(entry) => self.building.as_mut().unwrap_or(records).put(entry),
            Line::Remove { namespace, name } => {
                let target = self.building.as_mut().unwrap_or(records);
                target.remove(&namespace, &name);
            }
            Line::End => {
                if let Some(built) = self.building.take() {
                    *records = built;
                    records.complete = true;
                }
            }
            Line::HandOver => {}
        }
    }
}
