//! The revisions that each server counts.

use skiff_api::Revision;
use skiff_engine::Change;

use super::Judgement;

/// The sentence.
pub const SENTENCE: &str = "the resourceVersion grows by one with each change, and never shrinks";

/// Where each server stands.
#[derive(Debug)]
pub(super) struct Revisions(Vec<Revision>);

impl Revisions {
    pub(super) fn new(servers: usize) -> Self {
        Self(vec![Revision(0); servers])
    }

    pub(super) fn applied(&mut self, server: usize, change: &Change) -> Judgement {
        let Some(last) = self.0.get_mut(server) else {
            return Ok(());
        };
        let was = std::mem::replace(last, change.revision);
        let shown = change.now.as_ref().map(skiff_api::Object::revision);
        if change.revision != was.next() {
            return Err(format!(
                "s{} applied revision {} after {was}",
                server + 1,
                change.revision
            ));
        }
        if shown.is_some_and(|shown| shown != change.revision) {
            return Err(format!(
                "s{} shows {shown:?} for the object of revision {}",
                server + 1,
                change.revision
            ));
        }
        Ok(())
    }

    pub(super) fn stands(&self, server: usize, at: Revision) -> Judgement {
        match self.0.get(server) {
            Some(last) if *last != at => Err(format!(
                "s{} applied revision {last} and its state says {at}",
                server + 1
            )),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn recovered(&mut self, server: usize, at: Revision) {
        if let Some(last) = self.0.get_mut(server) {
            *last = at;
        }
    }
}
