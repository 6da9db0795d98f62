//! When commands are appended, and when followers hear what is committed: few and large messages cost
//! less than many small ones.

use super::Node;

/// Appends on their way to the disk before proposals are left to gather for the next one: one that
/// is being synced and one that follows at once.
const WRITES_UNDER_WAY: usize = 2;

/// The same of groups that the other voters have not confirmed. Their disks and the way to them take
/// longer than our own disk: without this bound groups would be as small as our own disk allows, and
/// each costs every server some messages, wake-ups and a sync.
const GROUPS_UNDER_WAY: usize = 2;

impl Node {
    /// Whether commands are to be appended now, or to gather. Who does not lead takes them to refuse
    /// them.
    pub(in super::super) fn takes_proposals(&self) -> bool {
        if self.leads().is_none() {
            return true;
        }
        if self.writes.len() >= WRITES_UNDER_WAY {
            return false;
        }
        let raft = &self.raw.raft;
        let committed = raft.raft_log.committed;
        let open = self.groups.iter().filter(|last| **last > committed);
        raft.prs().is_singleton() || open.count() < GROUPS_UNDER_WAY
    }

    /// Commands were appended together.
    pub(super) fn note_group(&mut self) {
        let log = &self.raw.raft.raft_log;
        let (committed, last) = (log.committed, log.last_index());
        self.groups.retain(|open| *open > committed);
        if self.groups.back() != Some(&last) {
            self.groups.push_back(last);
        }
        // The appends carry it.
        self.told_commit = committed;
    }

    /// Tells the followers what was committed since they were told last, unless an append did:
    /// whether there is anything to send.
    pub(in super::super) fn tell_commit(&mut self) -> bool {
        let committed = self.raw.raft.raft_log.committed;
        if self.leads().is_none() || committed <= self.told_commit {
            return false;
        }
        self.told_commit = committed;
        self.raw.raft.bcast_append();
        true
    }
}
