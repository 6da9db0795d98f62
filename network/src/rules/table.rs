//! What the table should hold, as data that can be compared, and the smallest change from one such
//! state to another. Pure, and cheap for a small change of a large table.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use super::policies::{self, Policies};
use super::{NodeView, services};
use crate::catalog::{Catalog, ServiceKey};

/// On whose behalf something is in the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// A service.
    Service(ServiceKey),
    /// All network policies together.
    Policies,
}

/// A place in a set or map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    /// The set's name.
    pub(super) set: String,
    /// The key in it, as nftables writes it.
    pub(super) key: String,
}

/// What one owner puts into the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pieces {
    /// Chains of its own, and their rules.
    pub(super) chains: BTreeMap<String, Vec<String>>,
    /// Sets of its own, and their types. A name never stands for two types.
    pub(super) sets: BTreeMap<String, String>,
    /// Elements of sets and maps; a set's have empty values.
    pub(super) elements: BTreeMap<Slot, String>,
}

impl Pieces {
    /// Adds an element; the first that takes a place keeps it.
    pub(super) fn element(&mut self, set: &str, key: String, value: String) {
        let set = set.to_owned();
        self.elements.entry(Slot { set, key }).or_insert(value);
    }
}

/// What the table should hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub(super) node: NodeView,
    owners: OrdMap<Owner, Arc<Pieces>>,
    /// Who wants what at a place. Two services may ask for one address outside; the first by name
    /// has it, whichever came first, so that all nodes agree.
    elements: OrdMap<Slot, BTreeMap<Owner, String>>,
}

impl Table {
    /// The table of a node before there is any service or policy.
    #[must_use]
    pub fn new(node: NodeView) -> Self {
        Self {
            node,
            owners: OrdMap::new(),
            elements: OrdMap::new(),
        }
    }

    /// Makes the table hold for a service what follows from a catalog; nothing, if it isn't there.
    pub fn put_service(&mut self, catalog: &Catalog, key: &ServiceKey) {
        let pieces = catalog
            .service(key)
            .map(|service| services::pieces(catalog, &self.node, service));
        self.put(Owner::Service(key.clone()), pieces.unwrap_or_default());
    }

    /// Makes the table hold what follows from the policies.
    pub fn put_policies(&mut self, policies: &Policies) {
        let pieces = policies::pieces(&self.node, policies);
        self.put(Owner::Policies, pieces);
    }

    pub(super) fn put(&mut self, owner: Owner, pieces: Pieces) {
        let before = self.owners.get(&owner).cloned().unwrap_or_default();
        if *before == pieces {
            return;
        }
        for slot in before.elements.keys() {
            if pieces.elements.contains_key(slot) {
                continue;
            }
            let mut claims = self.elements.remove(slot).unwrap_or_default();
            claims.remove(&owner);
            if !claims.is_empty() {
                self.elements.insert(slot.clone(), claims);
            }
        }
        for (slot, value) in &pieces.elements {
            if before.elements.get(slot) != Some(value) {
                let claims = self.elements.entry(slot.clone()).or_default();
                claims.insert(owner.clone(), value.clone());
            }
        }
        if pieces == Pieces::default() {
            self.owners.remove(&owner);
        } else {
            self.owners.insert(owner, Arc::new(pieces));
        }
    }
}

/// One step of a change. In the order of a list from [`diff`] each is possible after those before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Makes a set of a type.
    AddSet(String, String),
    /// Makes an empty chain.
    AddChain(String),
    /// Empties a chain.
    FlushChain(String),
    /// Adds a rule at the end of a chain.
    AddRule(String, String),
    /// Takes a key out of a set or map.
    RemoveElement(String, String),
    /// Puts a key into a set, or with a value into a map.
    AddElement(String, String, String),
    /// Removes an empty chain that nothing leads to.
    DeleteChain(String),
    /// Removes a set that no rule asks.
    DeleteSet(String),
}

/// What leads from one table to another of the same node; nothing, if they are alike.
#[must_use]
pub fn diff(before: &Table, after: &Table) -> Vec<Change> {
    let (old, new) = changed_owners(before, after);
    let mut changes = Vec::new();
    let added = new.sets.iter().filter(|set| !old.sets.contains_key(set.0));
    changes.extend(added.map(|(name, of)| Change::AddSet(name.clone(), of.clone())));
    let added = new.chains.keys();
    let added = added.filter(|name| !old.chains.contains_key(*name));
    changes.extend(added.map(|name| Change::AddChain(name.clone())));
    for (name, rules) in &new.chains {
        match old.chains.get(name) {
            Some(same) if same == rules => continue,
            Some(_) => changes.push(Change::FlushChain(name.clone())),
            None => {}
        }
        let add = |rule: &String| Change::AddRule(name.clone(), rule.clone());
        changes.extend(rules.iter().map(add));
    }
    changes.extend(elements(before, after));
    let gone: Vec<&String> = old.chains.keys().collect();
    let gone: Vec<&String> = gone
        .into_iter()
        .filter(|name| !new.chains.contains_key(*name))
        .collect();
    // First all of them are emptied: they may lead to each other.
    changes.extend(gone.iter().map(|name| Change::FlushChain((*name).clone())));
    changes.extend(gone.iter().map(|name| Change::DeleteChain((*name).clone())));
    let gone = old.sets.keys().filter(|name| !new.sets.contains_key(*name));
    changes.extend(gone.map(|name| Change::DeleteSet(name.clone())));
    changes
}

/// The chains and sets of all owners that differ, before and after. Names contain their owner, so
/// those of several owners never meet.
fn changed_owners(before: &Table, after: &Table) -> (Pieces, Pieces) {
    let (mut old, mut new) = (Pieces::default(), Pieces::default());
    let take = |into: &mut Pieces, from: &Pieces| {
        into.chains.extend(from.chains.clone());
        into.sets.extend(from.sets.clone());
    };
    for item in before.owners.diff(&after.owners) {
        match item {
            DiffItem::Add(_, pieces) => take(&mut new, pieces),
            DiffItem::Remove(_, pieces) => take(&mut old, pieces),
            DiffItem::Update {
                old: (_, left),
                new: (_, right),
            } => {
                take(&mut old, left);
                take(&mut new, right);
            }
        }
    }
    (old, new)
}

/// Removals come first: nftables changes a value only by taking the key out and putting it back.
fn elements(before: &Table, after: &Table) -> Vec<Change> {
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    let mut remove =
        |slot: &Slot| removed.push(Change::RemoveElement(slot.set.clone(), slot.key.clone()));
    let mut add = |slot: &Slot, value: &str| {
        let (set, key) = (slot.set.clone(), slot.key.clone());
        added.push(Change::AddElement(set, key, value.to_owned()));
    };
    for item in before.elements.diff(&after.elements) {
        match item {
            DiffItem::Add(slot, claims) => add(slot, winner(claims)),
            DiffItem::Remove(slot, _) => remove(slot),
            DiffItem::Update {
                old: (slot, left),
                new: (_, right),
            } => {
                if winner(left) != winner(right) {
                    remove(slot);
                    add(slot, winner(right));
                }
            }
        }
    }
    removed.extend(added);
    removed
}

fn winner(claims: &BTreeMap<Owner, String>) -> &str {
    claims.values().next().map_or("", String::as_str)
}
