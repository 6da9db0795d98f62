//! What the transport needs of a member's store; tests put something smaller in its place.

use futures_util::future::BoxFuture;
use raft::eraftpb::Message;

use crate::raft::RaftStatus;
use crate::snapshot::StateAt;
use crate::store::Store;

/// A member of a group, as its transport sees it. The meaning is that of [`Store`]'s own methods.
pub trait Group: Send + Sync {
    /// See [`Store::status`].
    fn status(&self) -> RaftStatus;
    /// See [`Store::receive`].
    fn receive(&self, message: Message);
    /// See [`Store::snapshot_at`].
    fn snapshot_at(&self, index: u64) -> Option<StateAt>;
    /// See [`Store::install`].
    fn install(&self, message: Message, snapshot: StateAt) -> BoxFuture<'_, Result<(), String>>;
    /// See [`Store::report_unreachable`].
    fn report_unreachable(&self, member: u64);
    /// See [`Store::report_snapshot`].
    fn report_snapshot(&self, member: u64, arrived: bool);
}

impl Group for Store {
    fn status(&self) -> RaftStatus {
        self.status()
    }

    fn receive(&self, message: Message) {
        self.receive(message);
    }

    fn snapshot_at(&self, index: u64) -> Option<StateAt> {
        self.snapshot_at(index)
    }

    fn install(&self, message: Message, snapshot: StateAt) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.install(message, snapshot))
    }

    fn report_unreachable(&self, member: u64) {
        self.report_unreachable(member);
    }

    fn report_snapshot(&self, member: u64, arrived: bool) {
        self.report_snapshot(member, arrived);
    }
}
