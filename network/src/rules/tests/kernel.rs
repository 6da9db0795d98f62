//! A table as the kernel would hold it: it refuses what the kernel refuses.

use std::collections::{BTreeMap, BTreeSet};

use crate::rules::Change;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    sets: BTreeMap<String, String>,
    chains: BTreeMap<String, Vec<String>>,
    elements: BTreeMap<(String, String), String>,
    /// What is always there.
    base: BTreeSet<String>,
}

impl Kernel {
    /// As it is after the text of an empty table.
    pub(super) fn new(text: &str) -> Self {
        let named = |line: &str| {
            let mut words = line.split(' ');
            let kind = words.nth(1)?;
            let named = ["map", "set", "chain"].contains(&kind);
            named.then(|| words.nth(2).map(str::to_owned))?
        };
        Self {
            sets: BTreeMap::new(),
            chains: BTreeMap::new(),
            elements: BTreeMap::new(),
            base: text.lines().filter_map(named).collect(),
        }
    }

    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::AddSet(name, of) => {
                assert_eq!(self.sets.insert(name.clone(), of), None, "{name} is there");
            }
            Change::AddChain(name) => {
                assert_eq!(
                    self.chains.insert(name.clone(), vec![]),
                    None,
                    "{name} is there"
                );
            }
            Change::FlushChain(name) => self.chains.get_mut(&name).unwrap().clear(),
            Change::AddRule(chain, rule) => {
                self.all_there(&rule);
                self.chains.get_mut(&chain).unwrap().push(rule);
            }
            Change::RemoveElement(set, key) => {
                assert!(self.elements.remove(&(set, key)).is_some());
            }
            Change::AddElement(set, key, value) => {
                assert!(
                    self.base.contains(&set) || self.sets.contains_key(&set),
                    "no {set}"
                );
                self.all_there(&value);
                assert_eq!(self.elements.insert((set, key), value), None);
            }
            Change::DeleteChain(name) => {
                assert_eq!(self.chains.remove(&name), Some(vec![]), "{name} is empty");
                self.nobody_needs(&name);
            }
            Change::DeleteSet(name) => {
                assert!(self.sets.remove(&name).is_some());
                assert!(self.elements.keys().all(|(set, _)| *set != name));
                self.nobody_needs(&format!("@{name}"));
            }
        }
    }

    /// Everything that a rule or verdict names must be there.
    fn all_there(&self, text: &str) {
        let mut before = "";
        for word in text.split([' ', ',']) {
            if before == "goto" || before == "jump" {
                let known = self.chains.contains_key(word) || self.base.contains(word);
                assert!(known, "no chain {word}");
            }
            if let Some(set) = word.strip_prefix('@') {
                let known = self.sets.contains_key(set) || self.base.contains(set);
                assert!(known, "no set {set}");
            }
            before = word;
        }
    }

    fn nobody_needs(&self, name: &str) {
        let rules = self.chains.values().flatten();
        for text in rules.chain(self.elements.values()) {
            let named = text.split([' ', ',']).any(|word| word == name);
            assert!(!named, "{text} needs {name}");
        }
    }
}
