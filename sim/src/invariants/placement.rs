//! Where each pod was bound and where its containers ran.

use std::collections::BTreeMap;
use std::sync::Arc;

use skiff_engine::Change;

use super::Judgement;

/// The sentence.
pub const SENTENCE: &str = "a pod is bound to one node only, ever, and runs on no other";

/// The node of each pod, by its uid.
#[derive(Debug, Default)]
pub(super) struct Placement {
    bound: BTreeMap<String, Arc<str>>,
    ran: BTreeMap<String, String>,
}

impl Placement {
    pub(super) fn bound(&mut self, change: &Change) -> Judgement {
        let Some(pod) = &change.now else {
            return Ok(());
        };
        let (uid, key) = (pod.meta().uid.as_str(), pod.key());
        let Some(view) = pod.pod() else {
            return Ok(());
        };
        match (self.bound.get(uid), &view.node) {
            (None, None) => {}
            (None, Some(node)) => {
                self.bound.insert(uid.to_owned(), node.clone());
            }
            (Some(was), Some(node)) if was == node => {}
            (Some(was), now) => {
                let now = now.as_deref().unwrap_or("no node");
                let revision = change.revision;
                return Err(format!(
                    "{key} {uid} was bound to {was}, at revision {revision} to {now}"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn runs(&mut self, node: &str, uid: &str) -> Judgement {
        let was = self
            .ran
            .entry(uid.to_owned())
            .or_insert_with(|| node.to_owned());
        if *was != node {
            return Err(format!("pod {uid} ran on {was} and runs on {node}"));
        }
        match self.bound.get(uid) {
            Some(bound) if **bound == *node => Ok(()),
            bound => Err(format!(
                "pod {uid} runs on {node} and is bound to {}",
                bound.map_or("no node", |bound| bound)
            )),
        }
    }
}
