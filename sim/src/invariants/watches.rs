//! What readers of watches were shown, against the log.

use skiff_api::{Object, Revision};
use skiff_control_plane::watch::Interest;
use skiff_engine::Change;

use super::{Judgement, Log};

/// The sentence.
pub const SENTENCE: &str = "a watch shows every change once, in order";

/// What a reader was shown.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Who reads, for people.
    pub reader: &'a str,
    /// What is watched.
    pub interest: &'a Interest,
    /// Up to where it had seen everything.
    pub last: Revision,
    /// What it is shown now.
    pub shown: Shown<'a>,
}

/// What a watch shows.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// The next change.
    Change(&'a Change),
    /// That there was nothing up to here.
    Bookmark(Revision),
    /// A new list, as of this revision.
    List(Revision),
}

/// Judges the next thing that a reader is shown.
pub(super) fn check(log: &Log, seen: &Seen<'_>) -> Judgement {
    let Seen {
        reader,
        interest,
        last,
        shown,
    } = *seen;
    let up_to = match shown {
        Shown::Change(change) if change.revision <= last => {
            let revision = change.revision;
            return Err(format!("{reader} was shown {revision} behind {last}"));
        }
        Shown::List(revision) if revision < last => {
            return Err(format!("{reader} got a list of {revision} behind {last}"));
        }
        Shown::List(_) => return Ok(()),
        Shown::Change(change) => Revision(change.revision.0 - 1),
        Shown::Bookmark(revision) => revision,
    };
    if let Shown::Change(change) = shown {
        same(log, reader, change)?;
    }
    let mut missed = log
        .between(last, up_to)
        .filter(|change| concerns(interest, change));
    match missed.next() {
        None => Ok(()),
        Some(change) => Err(format!(
            "{reader}, watching {interest:?}, was not shown {} of {} between {last} and {up_to}",
            change.revision,
            change.key()
        )),
    }
}

fn same(log: &Log, reader: &str, change: &Change) -> Judgement {
    match log.at(change.revision) {
        Some(known) if known.key() == change.key() && known.now == change.now => Ok(()),
        Some(_) | None => Err(format!(
            "{reader} was shown a change {} that nobody made",
            change.revision
        )),
    }
}

/// Whether somebody who watches this wants to see a change.
fn concerns(interest: &Interest, change: &Change) -> bool {
    let key = change.key();
    match interest {
        Interest::All => true,
        Interest::Kind(kind) => key.kind == *kind,
        Interest::Namespace(kind, namespace) => key.kind == *kind && key.namespace == *namespace,
        Interest::Object(object) => key == object,
        Interest::Node(node) => [&change.was, &change.now]
            .into_iter()
            .flatten()
            .any(|side| on(side, node)),
    }
}

fn on(object: &Object, node: &str) -> bool {
    object
        .pod()
        .is_some_and(|view| view.node.as_deref() == Some(node))
}
