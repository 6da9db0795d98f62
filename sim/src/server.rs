//! A server: the real member of the raft group with the real log on a disk in memory, the real watch
//! hub, the real passes of the loops, and a desk for requests. What threads do elsewhere happens
//! here in steps, at times that chance decides.

mod decide;
mod desk;
mod disk;
mod loops;
mod open;
mod peers;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skiff_control_plane::checkpoint::MemoryCheckpoints;
use skiff_control_plane::disk::MemoryDisk;
use skiff_control_plane::nodes::{ATTENTION_PACE, Attention};
use skiff_control_plane::raft::member::{Member, Wrote};
use skiff_control_plane::watch::WatchHub;
use skiff_engine::plan::Heartbeats;

use crate::context::Context;
use crate::event::{Event, Part};
use crate::message::{Call, Message, Peer, Refusal, Request};
use crate::time::{Time, micros, millis};
use desk::Desk;
use loops::Loops;
use open::{Feed, Outbox};
use peers::Installs;
use watching::Watching;

/// One step of raft's clock, as the driver's.
const TICK: Duration = Duration::from_millis(50);
/// How often watches say how far they are.
const BOOKMARKS: Duration = Duration::from_secs(5);
/// How long a writer waits for space before it looks again.
const SPACE_WAIT: Duration = Duration::from_millis(100);

/// A machine with a server on it, running or not.
#[derive(Debug)]
pub struct Server {
    index: usize,
    /// Its id in the raft group: another one for each machine that takes its place.
    id: u64,
    disk: MemoryDisk,
    checkpoints: MemoryCheckpoints,
    /// Counts its starts: what an earlier life planned is void.
    life: u64,
    running: Option<Box<Running>>,
    /// By how many milliseconds its clock is wrong.
    pub(crate) clock_wrong: i64,
    /// Its disk dies in the middle of a write, and the machine with it.
    doomed: bool,
    /// Stopped by SIGSTOP.
    paused: bool,
    /// What arrived meanwhile.
    held: Vec<Event>,
    /// How long an fdatasync takes, if the disk is slow.
    pub(crate) slow_disk: Option<(u64, u64)>,
}

/// The process.
pub(crate) struct Running {
    member: Member,
    outbox: Outbox,
    feed: Feed,
    hub: WatchHub,
    /// The parts that are going to do something anyway.
    planned: BTreeSet<Part>,
    started: Time,
    heard: BTreeMap<String, Time>,
    attention: Attention,
    desk: Desk,
    watching: Watching,
    installs: Installs,
    loops: Option<Loops>,
    /// When the loops are going to be stepped because of time alone.
    loops_timer: Option<Time>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("status", &self.member.status())
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A machine on which no server ran yet.
    pub(crate) fn new(context: &mut Context, index: usize) -> Self {
        Self {
            index,
            id: index as u64 + 1,
            disk: MemoryDisk::new(context.rng.draw()),
            checkpoints: MemoryCheckpoints::default(),
            life: 0,
            running: None,
            clock_wrong: 0,
            doomed: false,
            paused: false,
            held: Vec::new(),
            slow_disk: None,
        }
    }

    /// Whether the process is there, stopped or not.
    pub(crate) const fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// Whether the process is stopped.
    pub(crate) const fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether this is its life.
    pub(crate) const fn is_life(&self, life: u64) -> bool {
        self.life == life
    }

    /// The member, while the process is there.
    pub(crate) fn member(&self) -> Option<&Member> {
        self.running.as_ref().map(|running| &running.member)
    }

    /// Limits the space on its disk to what is in use and so much more; no limit for none.
    pub(crate) fn limit_disk(&self, spare_bytes: Option<u64>) {
        self.disk.set_capacity_bytes(u64::MAX);
        if let Some(spare) = spare_bytes {
            use skiff_control_plane::disk::Disk as _;
            let free = self.disk.free_bytes(std::path::Path::new("/"));
            let used = u64::MAX - free.unwrap_or(u64::MAX);
            self.disk.set_capacity_bytes(used.saturating_add(spare));
        }
    }

    /// Stops the process as SIGSTOP does.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    /// Lets the process go on; what arrived meanwhile arrives now.
    pub(crate) fn resume(&mut self, context: &mut Context) {
        self.paused = false;
        for event in std::mem::take(&mut self.held) {
            context.after(Duration::ZERO, event);
        }
    }

    /// Keeps an event for later if the process is stopped.
    pub(crate) fn hold(&mut self, event: Event) -> Option<Event> {
        if self.paused && self.running.is_some() {
            self.held.push(event);
            return None;
        }
        Some(event)
    }

    /// A thread does what it has to do.
    pub(crate) fn step(&mut self, context: &mut Context, part: Part) {
        let wall = context.now.wall(self.clock_wrong);
        let (index, id, life, slow) = (self.index, self.id, self.life, self.slow_disk);
        let Some(running) = &mut self.running else {
            return;
        };
        let mut turn = Turn {
            index,
            id,
            life,
            wall,
            slow,
            running,
        };
        turn.running.planned.remove(&part);
        if let Err(why) = turn.step(context, part) {
            if self.doomed {
                self.crash(context);
            } else {
                context.witness.died(index, &why);
            }
        }
    }

    /// Something arrives.
    pub(crate) fn receive(&mut self, context: &mut Context, from: Peer, message: Message) {
        let wall = context.now.wall(self.clock_wrong);
        let (index, id, life, slow) = (self.index, self.id, self.life, self.slow_disk);
        let Some(running) = &mut self.running else {
            return;
        };
        let mut turn = Turn {
            index,
            id,
            life,
            wall,
            slow,
            running,
        };
        turn.receive(context, from, message);
    }

    /// A connection turns out to be broken.
    pub(crate) fn broken(&mut self, context: &mut Context, id: u64) {
        let index = self.index;
        if let Some(running) = &mut self.running {
            running.watching.end(id);
            let unknown = Err(Refusal::Unknown);
            running.desk.hand_on(context, index, id, unknown);
        }
    }
}

/// The place of the server with a member's id.
fn place_of(id: u64, servers: usize) -> usize {
    let index = id.saturating_sub(1) % (servers as u64).max(1);
    usize::try_from(index).unwrap_or(0)
}

/// One step of a process, with what it may know of its machine.
struct Turn<'a> {
    index: usize,
    id: u64,
    life: u64,
    wall: skiff_api::Millis,
    slow: Option<(u64, u64)>,
    running: &'a mut Running,
}

impl Turn<'_> {
    fn step(&mut self, context: &mut Context, part: Part) -> Result<(), String> {
        match part {
            Part::Tick => {
                self.drive(context);
                self.plan_in(context, part, TICK);
            }
            Part::Driver => self.drive(context),
            Part::Writer => self.write(context)?,
            Part::Applier => self.apply(context)?,
            Part::Keeper => {
                if self.running.member.step_keeper() {
                    self.plan(context, Part::Driver);
                    self.plan(context, Part::Writer);
                }
                self.poll(context);
            }
            Part::Preparer => {
                if self.running.member.step_preparer() {
                    self.plan(context, Part::Preparer);
                }
                self.plan(context, Part::Driver);
            }
            Part::Loops => self.step_loops(context),
            Part::Health => {
                self.look_at_health(context);
                self.plan_in(context, part, skiff_control_plane::loops::HEALTH_PACE);
            }
            Part::Attention => {
                let since = context.now.since(self.running.started);
                self.running.attention.look(since);
                self.plan_in(context, part, ATTENTION_PACE);
            }
            Part::Bookmarks => {
                self.running.watching.bookmark(context, self.index);
                self.plan(context, Part::Preparer);
                self.plan_in(context, part, BOOKMARKS);
            }
        }
        self.flush(context);
        Ok(())
    }

    fn drive(&mut self, context: &mut Context) {
        self.running.member.step_driver(open::instant(context.now));
        let status = self.running.member.status();
        if status.leader == Some(status.member) {
            context.witness.leads(self.index, status.term);
        }
        self.plan(context, Part::Writer);
        self.plan(context, Part::Applier);
        self.mind_leadership(context);
        self.poll(context);
    }

    fn write(&mut self, context: &mut Context) -> Result<(), String> {
        match self.running.member.step_writer()? {
            Wrote::Something => {
                self.plan(context, Part::Driver);
                self.plan(context, Part::Writer);
            }
            Wrote::NoSpace => {
                self.plan(context, Part::Preparer);
                self.plan_in(context, Part::Writer, SPACE_WAIT);
            }
            Wrote::Nothing => {}
        }
        Ok(())
    }

    fn apply(&mut self, context: &mut Context) -> Result<(), String> {
        if !self.running.member.step_applier()? {
            return Ok(());
        }
        self.running.feed.drain(context, self.index);
        let at = self.running.member.state_at();
        let revision = skiff_api::Revision(at.mark.revision);
        context.witness.reached(self.index, at.mark.index, revision);
        self.mind_leadership(context);
        self.running.watching.pump(context, self.index);
        self.poll(context);
        self.plan(context, Part::Driver);
        self.plan(context, Part::Keeper);
        if self.running.loops.is_some() {
            self.plan(context, Part::Loops);
        }
        Ok(())
    }

    /// Starts the loops when this server leads, and ends them when it no longer does.
    fn mind_leadership(&mut self, context: &mut Context) {
        let leads = self.running.member.is_leader();
        if leads && self.running.loops.is_none() {
            let term = self.running.member.status().term;
            context.say(format_args!("s{} leads in term {term}", self.index + 1));
            let since = self.heartbeats(context).listening;
            self.running.loops = Some(Loops::start(context, since));
            self.plan(context, Part::Loops);
            self.plan(context, Part::Health);
        } else if !leads && self.running.loops.take().is_some() {
            context.say(format_args!("s{} leads no more", self.index + 1));
        }
    }

    fn step_loops(&mut self, context: &mut Context) {
        let place = loops::Place {
            member: &self.running.member,
            hub: &self.running.hub,
            wall: self.wall,
        };
        let Some(loops) = &mut self.running.loops else {
            return;
        };
        let proposed = loops.step(context, &place);
        let due = loops.next_due();
        if proposed {
            self.plan(context, Part::Driver);
        }
        let due = due.max(context.now + millis(1));
        let timer = &mut self.running.loops_timer;
        if timer.is_none_or(|at| at <= context.now || due < at) {
            *timer = Some(due);
            let event = self.event(Part::Loops);
            context.events.plan(due, event);
        }
    }

    fn look_at_health(&mut self, context: &mut Context) {
        let heartbeats = self.heartbeats(context);
        let place = loops::Place {
            member: &self.running.member,
            hub: &self.running.hub,
            wall: self.wall,
        };
        let Some(loops) = &mut self.running.loops else {
            return;
        };
        if loops.look_at_health(context, &place, heartbeats) {
            self.plan(context, Part::Driver);
        }
    }

    /// What was heard of the nodes, as the server's own nodes count it.
    fn heartbeats(&mut self, context: &Context) -> Heartbeats {
        let Running {
            attention,
            heard,
            started,
            ..
        } = &mut *self.running;
        let heard = heard.iter();
        let heard = heard.map(|(node, at)| (node.clone(), at.since(*started)));
        attention.heartbeats(context.now.since(*started), heard)
    }

    /// Answers what can be answered.
    fn poll(&mut self, context: &mut Context) {
        let place = desk::Place {
            index: self.index,
            member: &self.running.member,
            wall: self.wall,
        };
        if self.running.desk.poll(context, &place) {
            self.plan(context, Part::Driver);
        }
        self.running.installs.poll(context, (self.index, self.id));
        if self.running.loops.is_some() {
            self.plan(context, Part::Loops);
        }
    }

    fn request(&mut self, context: &mut Context, from: Peer, request: Request) {
        if let Call::Watch(interest, since) = request.call {
            let place = (self.index, &self.running.hub);
            let reader = (from, request.id);
            let wanted = (interest, since);
            self.running.watching.begin(context, place, reader, wanted);
            return;
        }
        let place = desk::Place {
            index: self.index,
            member: &self.running.member,
            wall: self.wall,
        };
        self.running.desk.take(context, &place, from, request);
        self.plan(context, Part::Driver);
    }

    fn event(&self, part: Part) -> Event {
        Event::Server {
            server: self.index,
            life: self.life,
            part,
        }
    }

    /// Plans that a part does something soon, as soon as its thread would get to it.
    fn plan(&mut self, context: &mut Context, part: Part) {
        let rng = &mut context.rng;
        let delay = match part {
            Part::Writer => match self.slow {
                Some((low, high)) => millis(rng.between(low, high)),
                None if rng.per_mille(10) => millis(rng.between(2, 30)),
                None => micros(rng.between(80, 600)),
            },
            Part::Applier if rng.per_mille(10) => millis(rng.between(1, 50)),
            Part::Driver | Part::Applier => micros(rng.between(5, 100)),
            Part::Keeper | Part::Preparer => millis(rng.between(1, 60)),
            Part::Loops => micros(rng.between(20, 400)),
            Part::Tick | Part::Health | Part::Attention | Part::Bookmarks => {
                millis(rng.between(1, 50))
            }
        };
        self.plan_in(context, part, delay);
    }

    fn plan_in(&mut self, context: &mut Context, part: Part, delay: Duration) {
        if self.running.planned.insert(part) {
            let event = self.event(part);
            context.after(delay, event);
        }
    }
}
