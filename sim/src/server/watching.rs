//! The watches that a server has open: changes go out as they come.

use std::collections::BTreeMap;

use skiff_api::Revision;
use skiff_control_plane::watch::{Interest, Watch, WatchHub};

use crate::context::Context;
use crate::message::{Item, Message, Peer};
use crate::mutation::Mutation;

/// All watches, by the id of the request that began each.
#[derive(Debug, Default)]
pub(super) struct Watching(BTreeMap<u64, (Peer, Watch)>);

impl Watching {
    /// Begins a watch.
    pub(super) fn begin(
        &mut self,
        context: &mut Context,
        (me, hub): (usize, &WatchHub),
        (from, id): (Peer, u64),
        (interest, mut since): (Interest, Revision),
    ) {
        if context.makes(Mutation::ResumeFromNow) && since < hub.latest() {
            since = hub.latest();
        }
        match hub.watch(interest, since) {
            Ok(watch) => {
                self.0.insert(id, (from, watch));
                self.pump(context, me);
            }
            Err(_) => gone(context, me, from, id),
        }
    }

    /// Sends what is new.
    pub(super) fn pump(&mut self, context: &mut Context, me: usize) {
        self.0.retain(|id, (to, watch)| {
            while let Some(change) = watch.try_next() {
                let item = Item::Change(Box::new(change));
                context.send(Peer::Server(me), *to, Message::Watch { id: *id, item });
            }
            if !watch.is_live() {
                gone(context, me, *to, *id);
            }
            watch.is_live()
        });
    }

    /// Tells all how far they are.
    pub(super) fn bookmark(&mut self, context: &mut Context, me: usize) {
        for (id, (to, watch)) in &self.0 {
            if let Some(revision) = watch.bookmark() {
                let item = Item::Bookmark(revision);
                context.send(Peer::Server(me), *to, Message::Watch { id: *id, item });
            }
        }
    }

    /// Forgets a watch whose connection broke.
    pub(super) fn end(&mut self, id: u64) {
        self.0.remove(&id);
    }

    /// The watches and who reads them.
    pub(super) fn readers(&self) -> impl Iterator<Item = (u64, Peer)> {
        self.0.iter().map(|(id, (peer, _))| (*id, *peer))
    }
}

fn gone(context: &mut Context, me: usize, to: Peer, id: u64) {
    let item = Item::Gone;
    context.send(Peer::Server(me), to, Message::Watch { id, item });
}
