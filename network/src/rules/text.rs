//! nftables' words for the table and its changes. Pure.

use super::base;
use super::events::Stamp;
use super::table::{Change, Table, diff};

/// Where addresses of services lead: address, protocol, port.
pub(super) const SERVICES: &str = "services";
/// Where ports of the node lead: protocol, port.
pub(super) const NODE_PORTS: &str = "node-ports";
/// What becomes of packets to services that nobody translated.
pub(super) const UNSERVED: &str = "unserved";
/// What becomes of packets to ports of the node that nobody translated.
pub(super) const UNSERVED_NODE_PORTS: &str = "unserved-node-ports";
/// Pods of this node that may reach themselves through a service.
pub(super) const HAIRPIN: &str = "hairpin";
/// Pods whose outgoing traffic policies restrict, and the chain that judges.
pub(super) const EGRESS: &str = "egress";
/// Pods whose incoming traffic policies restrict, and the chain that judges.
pub(super) const INGRESS: &str = "ingress";
/// The chain that says no at once.
pub(super) const REFUSAL: &str = "refusal";
/// The set with the number of our last change: by it we know our own changes from others'.
pub(super) const STAMP: &str = "stamp";

/// Elements in one statement: nftables' messages stay well below its limit.
const ELEMENTS_AT_ONCE: usize = 512;

/// Whether a text can be a part of a chain's name: what Kubernetes allows in names of objects.
pub(super) fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    !text.is_empty() && text.chars().all(allowed)
}

/// `{ 0 : a, 1 : b }`
pub(super) fn numbered<T>(items: &[T], word: impl Fn(&T) -> String) -> String {
    let items = items.iter().enumerate();
    let items: Vec<String> = items
        .map(|(number, item)| format!("{number} : {}", word(item)))
        .collect();
    format!("{{ {} }}", items.join(", "))
}

/// The name of a node's table.
pub(super) fn bare_name(node: &str) -> String {
    format!("skiff-{node}")
}

/// The name of a node's table, with its family.
fn table_name(node: &str) -> String {
    format!("ip {}", bare_name(node))
}

/// Text that replaces the whole table in one step, whether or not it was there.
#[must_use]
pub fn whole(table: &Table) -> String {
    let name = table_name(&table.node.table);
    let mut text = format!("add table {name}\ndelete table {name}\nadd table {name}\n");
    base::write(&mut text, &name, &table.node);
    let empty = Table::new(table.node.clone());
    text.push_str(&transaction(&table.node.table, &diff(&empty, table)));
    text
}

/// Text that removes a node's table, whether or not it was there.
pub(super) fn removal(node: &str) -> String {
    let name = table_name(node);
    format!("add table {name}\ndelete table {name}\n")
}

/// Text that leaves a number in the table.
pub(super) fn stamp(node: &str, stamp: Stamp) -> String {
    let name = table_name(node);
    let Stamp { epoch, number } = stamp;
    format!(
        "flush set {name} {STAMP}\nadd element {name} {STAMP} {{ {epoch:#010x} . {number:#010x} }}\n"
    )
}

/// Text that makes changes in one step.
#[must_use]
pub fn transaction(node: &str, changes: &[Change]) -> String {
    let table = table_name(node);
    let mut text = String::new();
    let mut rest = changes;
    while let Some((change, after)) = rest.split_first() {
        let (statement, left) = match change {
            Change::AddSet(name, of) => (format!("add set {table} {name} {{ {of} }}"), after),
            Change::AddChain(name) => (format!("add chain {table} {name}"), after),
            Change::FlushChain(name) => (format!("flush chain {table} {name}"), after),
            Change::AddRule(chain, rule) => (format!("add rule {table} {chain} {rule}"), after),
            Change::DeleteChain(name) => (format!("delete chain {table} {name}"), after),
            Change::DeleteSet(name) => (format!("delete set {table} {name}"), after),
            Change::RemoveElement(set, _) => {
                let (keys, left) = together(rest, |change| removed(change, set));
                (format!("delete element {table} {set} {{ {keys} }}"), left)
            }
            Change::AddElement(set, ..) => {
                let (elements, left) = together(rest, |change| added(change, set));
                (format!("add element {table} {set} {{ {elements} }}"), left)
            }
        };
        text.push_str(&statement);
        text.push('\n');
        rest = left;
    }
    text
}

/// The elements at the beginning of a list that one statement can name, and what is left.
fn together(changes: &[Change], word: impl Fn(&Change) -> Option<String>) -> (String, &[Change]) {
    let most = changes.iter().take(ELEMENTS_AT_ONCE);
    let words: Vec<String> = most.map_while(word).collect();
    let left = changes.get(words.len()..).unwrap_or_default();
    (words.join(", "), left)
}

fn removed(change: &Change, set: &str) -> Option<String> {
    let Change::RemoveElement(of, key) = change else {
        return None;
    };
    (of == set).then(|| key.clone())
}

fn added(change: &Change, set: &str) -> Option<String> {
    let Change::AddElement(of, key, value) = change else {
        return None;
    };
    let value = match value.as_str() {
        "" => String::new(),
        value => format!(" : {value}"),
    };
    (of == set).then(|| format!("{key}{value}"))
}
