//! Starting and killing a server's process.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use raft::eraftpb;
use skiff_api::Revision;
use skiff_control_plane::checkpoint::MemoryCheckpoints;
use skiff_control_plane::disk::MemoryDisk;
use skiff_control_plane::nodes::Attention;
use skiff_control_plane::raft::member::Member;
use skiff_control_plane::raft::{ElectionSeed, Outbound};
use skiff_control_plane::store::{MemberChange, News, StoreConfig};
use skiff_control_plane::watch::WatchHub;
use skiff_engine::{Change, State};

use super::desk::Desk;
use super::peers::Installs;
use super::watching::Watching;
use super::{Running, Server, Turn, disk};
use crate::context::Context;
use crate::event::{Event, Part};
use crate::message::{Message, Peer};
use crate::mutation::Mutation;
use crate::operator::Changing;
use crate::options::Fault;
use crate::rng::Rng;
use crate::time::{Time, millis};

/// Recent changes kept for watches, in bytes: few, so that readers meet 410 now and then.
const HISTORY_BYTES: usize = 512 << 10;
/// Bytes of log between checkpoints: few, so that members fall behind them.
const CHECKPOINT_BYTES: u64 = 256 << 10;
/// One change in so many is kept from watchers, when that is the mistake to be made.
const DROPPED_PER_MILLE: u64 = 5;
/// Of a thousand deaths, so many come in the middle of a write, and after how many writes and syncs.
const TORN_PER_MILLE: u64 = 600;
const TORN_AFTER: u64 = 6;
/// A server that cannot be opened is tried again after so many milliseconds.
const OPEN_AGAIN_MILLIS: u64 = 500;

/// A virtual time for those who want an `Instant`. Only differences of these are ever looked at.
pub(super) fn instant(now: Time) -> Instant {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "some instant is needed to count from; which one makes no difference"
    )]
    let begin = *BEGIN.get_or_init(Instant::now);
    begin + now.since(Time::default())
}

/// Where the member puts messages for the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox(Arc<Mutex<Vec<eraftpb::Message>>>);

impl Outbox {
    pub(super) fn take(&self) -> Vec<eraftpb::Message> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Outbound for Outbox {
    fn send(&self, messages: Vec<eraftpb::Message>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(messages);
    }
}

/// What the member applied and nobody has looked at yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Feed(Arc<Mutex<Vec<Applied>>>);

#[derive(Debug)]
struct Applied {
    state: State,
    /// None if a snapshot took the state's place.
    changes: Option<Vec<Change>>,
}

impl Feed {
    fn add(&self, applied: Applied) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(applied);
    }

    /// Shows the witness what was applied.
    pub(super) fn drain(&self, context: &mut Context, server: usize) {
        let applied = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for Applied { state, changes } in applied {
            match changes {
                Some(changes) => {
                    for change in &changes {
                        let words = describe(change);
                        context.say(format_args!("s{} {words}", server + 1));
                    }
                    context.witness.applied(server, &state, &changes);
                }
                None => {
                    let revision = state.revision();
                    context.say(format_args!(
                        "s{} took a snapshot of {revision}",
                        server + 1
                    ));
                    context.witness.recovered(server, &state);
                }
            }
        }
    }
}

impl Server {
    /// Starts the process. If it cannot start for now, it is tried again.
    pub(crate) fn start(&mut self, context: &mut Context) {
        if self.doomed {
            self.crash(context);
        }
        if self.running.is_some() {
            return;
        }
        self.life += 1;
        let (hub, feed, outbox) = (
            WatchHub::new(Revision(0), HISTORY_BYTES),
            Feed::default(),
            Outbox::default(),
        );
        let config = StoreConfig {
            founders: (1..=context.options.servers as u64).collect(),
            disk: disk::of(&self.disk, context.options.mutation),
            checkpoints: Box::new(self.checkpoints.clone()),
            checkpoint_bytes: CHECKPOINT_BYTES,
            outbound: Arc::new(outbox.clone()),
            on_fatal: Arc::new(|_| ()),
            elections: Some(ElectionSeed(context.rng.draw())),
            ..StoreConfig::new(Path::new("/store"), self.id)
        };
        let on_applied = listener(context, hub.clone(), feed.clone());
        let member = match Member::open(config, on_applied, instant(context.now)) {
            Ok(member) => member,
            Err(error) => {
                self.not_opened(context, &error);
                return;
            }
        };
        let state = member.state();
        hub.begin_at(state.revision());
        context.say(format_args!(
            "s{} starts, at index {} and revision {}",
            self.index + 1,
            member.status().applied,
            state.revision()
        ));
        context.witness.recovered(self.index, &state);
        self.running = Some(Box::new(Running {
            member,
            outbox,
            feed,
            hub,
            planned: std::collections::BTreeSet::new(),
            started: context.now,
            heard: std::collections::BTreeMap::new(),
            attention: Attention::default(),
            desk: Desk::default(),
            watching: Watching::default(),
            installs: Installs::default(),
            loops: None,
            loops_timer: None,
        }));
        self.begin(context);
    }

    fn begin(&mut self, context: &mut Context) {
        let Some(running) = &mut self.running else {
            return;
        };
        let mut turn = Turn {
            index: self.index,
            id: self.id,
            life: self.life,
            wall: context.now.wall(self.clock_wrong),
            slow: self.slow_disk,
            running,
        };
        for part in [
            Part::Tick,
            Part::Preparer,
            Part::Applier,
            Part::Attention,
            Part::Bookmarks,
        ] {
            turn.plan(context, part);
        }
    }

    /// A full disk may be the reason, and ends; everything else is wrong.
    fn not_opened(&self, context: &mut Context, error: &dyn std::error::Error) {
        let mut words = error.to_string();
        let mut full = false;
        let mut cause = error.source();
        while let Some(err) = cause {
            words = format!("{words}: {err}");
            full |= err
                .downcast_ref::<std::io::Error>()
                .is_some_and(|err| err.kind() == std::io::ErrorKind::StorageFull);
            cause = err.source();
        }
        context.say(format_args!("s{} cannot start: {words}", self.index + 1));
        if full {
            context.after(millis(OPEN_AGAIN_MILLIS), Event::StartServer(self.index));
        } else {
            context.witness.died(self.index, &words);
        }
    }

    /// Kills the machine: at once, or in the middle of one of its next writes.
    pub(crate) fn kill(&mut self, context: &mut Context) {
        let torn = context.options.has(Fault::TornWrite) && context.rng.per_mille(TORN_PER_MILLE);
        if torn && self.running.is_some() {
            self.doomed = true;
            self.disk.fail_after(context.rng.below(TORN_AFTER));
        } else {
            self.crash(context);
        }
    }

    /// Kills the process and the machine under it: what was not synced may be gone.
    pub(crate) fn crash(&mut self, context: &mut Context) {
        // Whatever waited for the stopped process meets a dead one.
        self.resume(context);
        let torn = std::mem::take(&mut self.doomed);
        let Some(running) = self.running.take() else {
            return;
        };
        self.disk.crash();
        self.break_connections(context, &running);
        // Whatever lives on in the process must not touch the disk any more; its handles are dead.
        drop(running);
        if context.makes(Mutation::ForgetDisk) {
            self.disk = MemoryDisk::new(context.rng.draw());
            self.checkpoints = MemoryCheckpoints::default();
        }
        self.life += 1;
        let how = if torn {
            " in the middle of a write"
        } else {
            ""
        };
        context.say(format_args!("s{} died{how}", self.index + 1));
    }

    /// The machine is lost for ever, and another one stands ready in its place: with an empty disk
    /// and another id. Returns both ids.
    pub(crate) fn replace_machine(&mut self, context: &mut Context) -> (u64, u64) {
        self.crash(context);
        let lost = self.id;
        self.id += context.options.servers as u64;
        self.disk = MemoryDisk::new(context.rng.draw());
        self.checkpoints = MemoryCheckpoints::default();
        (lost, self.id)
    }

    /// Asks for a change of members; the answer comes to this life of the server.
    pub(crate) fn change_members(
        &mut self,
        context: &mut Context,
        change: MemberChange,
    ) -> Option<(u64, Changing)> {
        let ticket = self.running.as_ref()?.member.change_members(change);
        self.wake_driver(context);
        Some((self.life, ticket))
    }

    /// Asks another member to take over; what comes of it is seen.
    pub(crate) fn hand_over(&mut self, context: &mut Context) {
        if let Some(running) = &self.running {
            drop(running.member.transfer(None));
            self.wake_driver(context);
        }
    }

    fn wake_driver(&self, context: &mut Context) {
        let event = Event::Server {
            server: self.index,
            life: self.life,
            part: Part::Driver,
        };
        context.after(Duration::ZERO, event);
    }

    fn break_connections(&self, context: &mut Context, running: &Running) {
        let me = Peer::Server(self.index);
        let readers: Vec<_> = running.watching.readers().collect();
        for (id, reader) in readers {
            let noticed = context.now + context.some_millis(5, 2000);
            context.break_watch(noticed, (me, reader), id);
        }
        for (peer, id) in running.desk.waiting() {
            let delay = context.some_millis(5, 2000);
            context.after(delay, Event::Broken { peer, id });
        }
        for sender in running.installs.senders() {
            let member = self.id;
            let failed = Message::SnapshotDone {
                member,
                arrived: false,
            };
            context.send(me, sender, failed);
        }
    }
}

/// A change in a few words.
fn describe(change: &Change) -> String {
    let verb = match (&change.was, &change.now) {
        (None, _) => "new",
        (Some(_), Some(_)) => "changed",
        (Some(_), None) => "gone",
    };
    let (revision, key) = (change.revision, change.key());
    let Some(view) = change.now.as_ref().and_then(|object| object.pod()) else {
        return format!("{revision} {key} {verb}");
    };
    let leaving = change
        .now
        .as_ref()
        .is_some_and(|pod| pod.meta().deletion.is_some());
    format!(
        "{revision} {key} {verb}: on {}, {}{}{}",
        view.node.as_deref().unwrap_or("no node"),
        view.phase.word(),
        if view.ready { ", ready" } else { "" },
        if leaving { ", being deleted" } else { "" }
    )
}

/// What the store calls when it has applied something.
fn listener(
    context: &mut Context,
    hub: WatchHub,
    feed: Feed,
) -> skiff_control_plane::store::OnApplied {
    let drops = context.makes(Mutation::DropWatchEvent);
    let mut rng = Rng::new(if drops { context.rng.draw() } else { 0 });
    Box::new(move |state, news| {
        let changes = match news {
            News::Changes(changes) if drops => {
                let kept = changes.iter().filter(|_| !rng.per_mille(DROPPED_PER_MILLE));
                let kept: Vec<Change> = kept.cloned().collect();
                hub.take(state, News::Changes(&kept));
                Some(changes.to_vec())
            }
            News::Changes(changes) => {
                hub.take(state, news);
                Some(changes.to_vec())
            }
            News::Restored => {
                hub.take(state, news);
                None
            }
        };
        feed.add(Applied {
            state: state.clone(),
            changes,
        });
    })
}
