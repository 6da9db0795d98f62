//! Changes of the members, one at a time, and handing over the leadership.

use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};
use raft::{RawNode, StateRole};

use super::Node;
use crate::log::LogView;
use crate::store::{ChangeError, MemberChange, TransferError};

impl Node {
    /// Proposes a change. It is in force once [`Node::is_in_force`] says so.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing was proposed.
    pub(in super::super) fn propose_change(
        &mut self,
        change: MemberChange,
    ) -> Result<(), ChangeError> {
        if self.leads().is_none() {
            let leader = self.known_leader();
            return Err(ChangeError::NotLeader { leader });
        }
        let raft = &self.raw.raft;
        let joint = raft.prs().conf().to_conf_state();
        check(&self.raw, change)?;
        if raft.has_pending_conf() || !joint.voters_outgoing.is_empty() {
            return Err(ChangeError::UnderWay);
        }
        let (kind, member) = match change {
            MemberChange::AddLearner(member) => (ConfChangeType::AddLearnerNode, member),
            MemberChange::Promote(member) => (ConfChangeType::AddNode, member),
            MemberChange::Remove(member) => (ConfChangeType::RemoveNode, member),
        };
        let mut single = ConfChangeSingle::default();
        single.set_change_type(kind);
        single.node_id = member;
        let mut joint = ConfChangeV2::default();
        joint.set_transition(ConfChangeTransition::Implicit);
        joint.mut_changes().push(single);
        let proposed = self.raw.propose_conf_change(Vec::new(), joint);
        proposed.map_err(|err| {
            tracing::debug!(%err, "a change of members was dropped");
            ChangeError::UnderWay
        })
    }

    /// Whether a proposed change has been made and left its joint phase.
    pub(in super::super) fn is_in_force(&self, change: MemberChange) -> bool {
        let raft = &self.raw.raft;
        let conf = raft.prs().conf().to_conf_state();
        let voter = |id: u64| conf.voters.contains(&id);
        let made = match change {
            MemberChange::AddLearner(id) => voter(id) || conf.learners.contains(&id),
            MemberChange::Promote(id) => voter(id),
            MemberChange::Remove(id) => !voter(id) && !conf.learners.contains(&id),
        };
        made && conf.voters_outgoing.is_empty() && !raft.has_pending_conf()
    }

    /// Asks another voter, the given one or the furthest, to take over at once.
    ///
    /// # Errors
    /// [`TransferError`]; nothing was asked.
    pub(in super::super) fn transfer(&mut self, to: Option<u64>) -> Result<u64, TransferError> {
        if self.leads().is_none() {
            let leader = self.known_leader();
            return Err(TransferError::NotLeader { leader });
        }
        let raft = &self.raw.raft;
        let voters = raft.prs().conf().to_conf_state().voters;
        let others = raft.prs().iter().filter(|(id, progress)| {
            **id != raft.id && voters.contains(id) && progress.recent_active
        });
        let wanted = others.filter(|(id, _)| to.is_none_or(|to| to == **id));
        // Of those that are equally far the one with the lowest id, in every run.
        let next = wanted.max_by_key(|(id, progress)| (progress.matched, u64::MAX - **id));
        let next = next.map(|(id, _)| *id).ok_or(TransferError::NoSuchVoter)?;
        self.raw.transfer_leader(next);
        Ok(next)
    }

    fn known_leader(&self) -> Option<u64> {
        let raft = &self.raw.raft;
        Some(raft.leader_id).filter(|leader| *leader != 0 && *leader != raft.id)
    }
}

/// Whether a change makes sense for the members as they are.
fn check(raw: &RawNode<LogView>, change: MemberChange) -> Result<(), ChangeError> {
    let conf = raw.raft.prs().conf().to_conf_state();
    let (voter, learner) = (
        |id: u64| conf.voters.contains(&id),
        |id: u64| conf.learners.contains(&id),
    );
    let refused = |why: String| Err(ChangeError::Refused(why));
    match change {
        MemberChange::AddLearner(0) => refused("0 is no member's id".into()),
        MemberChange::AddLearner(id) if voter(id) || learner(id) => {
            refused(format!("server {id} is a member already"))
        }
        MemberChange::Promote(id) if voter(id) => {
            refused(format!("server {id} is a voter already"))
        }
        MemberChange::Promote(id) if !learner(id) => {
            refused(format!("server {id} is not a member; it has to join first"))
        }
        MemberChange::Remove(id) if !voter(id) && !learner(id) => {
            refused(format!("server {id} is not a member"))
        }
        MemberChange::Remove(id) if conf.voters == [id] => refused(format!(
            "server {id} is the only voter and cannot be removed"
        )),
        MemberChange::Remove(id) if raw.raft.state == StateRole::Leader && id == raw.raft.id => {
            refused(format!("server {id} leads; hand the leadership over first"))
        }
        MemberChange::AddLearner(_) | MemberChange::Promote(_) | MemberChange::Remove(_) => Ok(()),
    }
}
