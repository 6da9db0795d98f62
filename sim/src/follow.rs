//! Following objects as a client does: list, watch, and when the connection breaks, go on at another
//! server from where it was.

use skiff_api::{Object, Revision};
use skiff_control_plane::watch::Interest;
use skiff_engine::Change;

use crate::context::Context;
use crate::invariants::watches::{Seen, Shown};
use crate::message::{Answer, Call, Item, Message, Peer, Refusal};

/// A reader of a watch.
#[derive(Debug)]
pub struct Follow {
    me: Peer,
    interest: Interest,
    server: usize,
    phase: Phase,
    /// Up to where everything was seen; none before the first list.
    last: Option<Revision>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Listing(u64),
    Watching(u64),
}

/// What a reader learns.
#[derive(Debug)]
pub enum News {
    /// These are all the objects now.
    Restarted(Vec<Object>),
    /// This has changed.
    Changed(Box<Change>),
    /// It has to be begun again, after a while.
    Lost,
}

impl Follow {
    /// Follows nothing yet; begins at a server.
    pub(crate) const fn new(me: Peer, interest: Interest, server: usize) -> Self {
        Self {
            me,
            interest,
            server,
            phase: Phase::Idle,
            last: None,
        }
    }

    /// Begins, or begins again, if it is idle.
    pub(crate) fn begin(&mut self, context: &mut Context) {
        if self.phase != Phase::Idle {
            return;
        }
        self.phase = match self.last {
            None => {
                let call = Call::List(self.interest.clone());
                Phase::Listing(context.ask(self.me, self.server, call))
            }
            Some(last) => {
                let call = Call::Watch(self.interest.clone(), last);
                Phase::Watching(context.ask(self.me, self.server, call))
            }
        };
    }

    /// The id of what it waits for or reads.
    pub(crate) const fn id(&self) -> Option<u64> {
        match self.phase {
            Phase::Idle => None,
            Phase::Listing(id) | Phase::Watching(id) => Some(id),
        }
    }

    /// The id of the list that it waits for.
    pub(crate) const fn listing(&self) -> Option<u64> {
        match self.phase {
            Phase::Listing(id) => Some(id),
            Phase::Idle | Phase::Watching(_) => None,
        }
    }

    /// Takes an answer to its own request.
    pub(crate) fn answer(
        &mut self,
        context: &mut Context,
        answer: Result<Answer, Refusal>,
    ) -> News {
        let Ok(Answer { objects, revision }) = answer else {
            return self.lost(context);
        };
        if let Some(last) = self.last {
            self.show(context, last, Shown::List(revision));
        }
        self.last = Some(revision);
        self.phase = Phase::Idle;
        self.begin(context);
        News::Restarted(objects)
    }

    /// Takes what comes on a watch; nothing if it is not for this one.
    pub(crate) fn item(&mut self, context: &mut Context, id: u64, item: Item) -> Option<News> {
        if self.phase != Phase::Watching(id) {
            return None;
        }
        let last = self.last.unwrap_or_default();
        match item {
            Item::Change(change) => {
                self.show(context, last, Shown::Change(&change));
                self.last = Some(change.revision);
                Some(News::Changed(change))
            }
            Item::Bookmark(revision) => {
                self.show(context, last, Shown::Bookmark(revision));
                self.last = Some(last.max(revision));
                None
            }
            Item::Gone => {
                context.say(format_args!("{} lists again after {last}", self.me));
                self.last = None;
                self.phase = Phase::Idle;
                Some(News::Lost)
            }
        }
    }

    /// The connection broke: another server next time.
    pub(crate) fn lost(&mut self, context: &Context) -> News {
        self.phase = Phase::Idle;
        self.server = (self.server + 1) % context.options.servers.max(1);
        News::Lost
    }

    /// When everything is quiet: it must have seen everything up to `revision` by now.
    pub(crate) fn must_have_seen(&self, context: &mut Context, revision: Revision) {
        if let (Phase::Watching(_), Some(last)) = (self.phase, self.last) {
            self.show(context, last, Shown::Bookmark(revision));
        }
    }

    fn show(&self, context: &mut Context, last: Revision, shown: Shown<'_>) {
        let reader = self.me.to_string();
        context.witness.watched(&Seen {
            reader: &reader,
            interest: &self.interest,
            last,
            shown,
        });
    }
}

/// The watch that a message belongs to, and what came.
pub(crate) fn of_watch(message: Message) -> Result<(u64, Item), Message> {
    if let Message::Watch { id, item } = message {
        Ok((id, item))
    } else {
        Err(message)
    }
}
