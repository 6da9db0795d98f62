//! The leader's loops, stepped by hand: the passes are the real ones, only the waiting between them
//! is the simulation's.

use std::collections::BTreeMap;

use skiff_api::{Kind, Millis, Revision};
use skiff_control_plane::loops::{self, Keys, Pass};
use skiff_control_plane::raft::member::{Member, WriteTicket};
use skiff_control_plane::watch::{Interest, Watch, WatchHub};
use skiff_engine::plan::{Controller, Heartbeats, controllers, node_health};
use skiff_engine::schedule::Cluster;
use skiff_engine::{Expect, Stamper, State, Write};

use crate::context::Context;
use crate::mutation::Mutation;
use crate::time::Time;

/// How old the state is that a careless scheduler looks at.
const STALE_MICROS: u64 = 400_000;

/// The loops of one leader, in one of its terms.
#[derive(Debug)]
pub(super) struct Loops {
    runners: Vec<Runner>,
    wake: Option<Watch>,
    resync_at: Time,
    scheduling: Option<Scheduling>,
    health: Option<WriteTicket>,
    /// For how long its server had been listening when it began to lead.
    since: std::time::Duration,
    /// For the careless scheduler: earlier states.
    earlier: BTreeMap<Time, State>,
}

#[derive(Debug)]
struct Runner {
    controller: Controller,
    keys: Keys<Time>,
    under_way: Option<(Pass, WriteTicket)>,
}

#[derive(Debug)]
struct Scheduling {
    cluster: Cluster,
    nodes: Watch,
    pods: Watch,
    under_way: Option<WriteTicket>,
    not_before: Time,
}

/// What a step of the loops sees of its server.
pub(super) struct Place<'a> {
    pub(super) member: &'a Member,
    pub(super) hub: &'a WatchHub,
    /// What its clock shows.
    pub(super) wall: Millis,
}

impl Loops {
    pub(super) fn start(context: &Context, since: std::time::Duration) -> Self {
        let runner = |controller| Runner {
            controller,
            keys: Keys::default(),
            under_way: None,
        };
        Self {
            runners: controllers().into_iter().map(runner).collect(),
            wake: None,
            resync_at: context.now,
            scheduling: None,
            health: None,
            since: since + loops::RECONNECT,
            earlier: BTreeMap::new(),
        }
    }

    /// Does all that can be done now. Returns whether writes were proposed.
    pub(super) fn step(&mut self, context: &mut Context, place: &Place<'_>) -> bool {
        self.wake(context, place);
        let mut proposed = false;
        for runner in &mut self.runners {
            proposed |= runner.step(context, place);
        }
        if context.makes(Mutation::BindUnguarded) {
            self.earlier.insert(context.now, place.member.state());
        }
        proposed | self.schedule(context, place)
    }

    /// When there will be something to do by time alone.
    pub(super) fn next_due(&self) -> Time {
        let due = self.runners.iter().filter_map(|runner| {
            let idle = runner.under_way.is_none();
            runner.keys.next_due().filter(|_| idle)
        });
        let waits = self.scheduling.iter().map(|one| one.not_before);
        let waits = waits.filter(|at| *at > Time::default());
        due.chain(waits).fold(self.resync_at, Time::min)
    }

    /// Turns changes into wake-ups.
    fn wake(&mut self, context: &Context, place: &Place<'_>) {
        let state = place.member.state();
        while let Some(change) = self.wake.as_mut().and_then(Watch::try_next) {
            for runner in &mut self.runners {
                let forgets = context.makes(Mutation::ForgetWakeUp) && runner.under_way.is_some();
                if !forgets {
                    runner.keys.add((runner.controller.wakes)(&state, &change));
                }
            }
        }
        let lost = self.wake.as_ref().is_none_or(|watch| !watch.is_live());
        if lost || self.resync_at <= context.now {
            for runner in &mut self.runners {
                runner.keys.add((runner.controller.resync)(&state));
            }
            self.wake = place.hub.watch(Interest::All, state.revision()).ok();
            self.resync_at = context.now + loops::RESYNC;
        }
    }

    fn schedule(&mut self, context: &mut Context, place: &Place<'_>) -> bool {
        let state = place.member.state();
        let lost = |one: &Scheduling| !one.nodes.is_live() || !one.pods.is_live();
        if self.scheduling.as_ref().is_none_or(lost) {
            self.scheduling = Scheduling::begin(place.hub, &state);
        }
        let careless = context.makes(Mutation::BindUnguarded);
        let stale = careless.then(|| self.stale(context.now)).flatten();
        let Some(scheduling) = &mut self.scheduling else {
            return false;
        };
        scheduling.step(context, place, stale)
    }

    /// The state as it was some time ago.
    fn stale(&mut self, now: Time) -> Option<State> {
        let old = Time(now.0.saturating_sub(STALE_MICROS));
        let newest = self.earlier.range(..=old).next_back().map(|(at, _)| *at)?;
        self.earlier = self.earlier.split_off(&newest);
        self.earlier.get(&newest).cloned()
    }

    /// Looks at the heartbeats; whether writes were proposed.
    pub(super) fn look_at_health(
        &mut self,
        context: &mut Context,
        place: &Place<'_>,
        heartbeats: Heartbeats,
    ) -> bool {
        if let Some(ticket) = &mut self.health
            && ticket.poll().is_none()
        {
            return false;
        }
        let heartbeats = loops::heard_since(heartbeats, self.since);
        let mut stamper = Stamper::new(place.wall, context.rng.draw());
        let plan = node_health(&place.member.state(), &heartbeats, &mut stamper);
        if plan.writes.is_empty() {
            return false;
        }
        context.say(format_args!("health: {} writes", plan.writes.len()));
        self.health = place.member.propose(plan.writes, place.wall).ok();
        true
    }
}

impl Runner {
    fn step(&mut self, context: &mut Context, place: &Place<'_>) -> bool {
        if let Some((_, ticket)) = &mut self.under_way {
            let Some(outcomes) = ticket.poll() else {
                return false;
            };
            if let Some((pass, _)) = self.under_way.take() {
                for key in pass.refused(&outcomes.unwrap_or_default()) {
                    self.keys.add_at(key, context.now + loops::RETRY);
                }
            }
        }
        let keys = self.keys.take(context.now, loops::BATCH);
        if keys.is_empty() {
            return false;
        }
        let mut stamper = Stamper::new(place.wall, context.rng.draw());
        let state = place.member.state();
        let mut pass = Pass::plan(&self.controller, &state, keys, &mut stamper);
        for (key, delay) in pass.again.drain(..) {
            self.keys.add_at(key, context.now + delay);
        }
        let writes = std::mem::take(&mut pass.writes);
        if writes.is_empty() {
            return false;
        }
        context.say(format_args!(
            "{}: {} writes",
            self.controller.name,
            writes.len()
        ));
        match place.member.propose(writes, place.wall) {
            Ok(ticket) => self.under_way = Some((pass, ticket)),
            Err(_) => {
                for key in pass.refused(&[]) {
                    self.keys.add_at(key, context.now + loops::RETRY);
                }
            }
        }
        true
    }
}

impl Scheduling {
    fn begin(hub: &WatchHub, state: &State) -> Option<Self> {
        let watch = |kind| hub.watch(Interest::Kind(kind), state.revision()).ok();
        Some(Self {
            nodes: watch(Kind::Node)?,
            pods: watch(Kind::Pod)?,
            cluster: Cluster::read(state),
            under_way: None,
            not_before: Time::default(),
        })
    }

    fn step(&mut self, context: &mut Context, place: &Place<'_>, stale: Option<State>) -> bool {
        if let Some(ticket) = &mut self.under_way {
            match ticket.poll() {
                None => return false,
                Some(outcomes) => {
                    self.under_way = None;
                    if outcomes.is_err() {
                        self.not_before = context.now + loops::RETRY;
                        self.cluster = Cluster::read(&place.member.state());
                    }
                }
            }
        }
        if self.not_before > context.now {
            return false;
        }
        self.not_before = Time::default();
        for watch in [&mut self.nodes, &mut self.pods] {
            while let Some(change) = watch.try_next() {
                self.cluster.observe(&change);
            }
        }
        let state = place.member.state();
        let careless = stale.is_some();
        let seen = stale.unwrap_or_else(|| state.clone());
        if careless {
            self.cluster = Cluster::read(&seen);
        }
        let mut stamper = Stamper::new(place.wall, context.rng.draw());
        let Some(mut writes) = loops::place(&mut self.cluster, &seen, &mut stamper) else {
            return false;
        };
        if careless {
            writes.iter_mut().for_each(|write| unguard(write, &state));
        }
        if writes.is_empty() {
            return false;
        }
        context.say(format_args!("scheduler: {} writes", writes.len()));
        match place.member.propose(writes, place.wall) {
            Ok(ticket) => self.under_way = Some(ticket),
            Err(_) => self.not_before = context.now + loops::RETRY,
        }
        true
    }
}

/// Makes a write succeed whatever is there.
fn unguard(write: &mut Write, state: &State) {
    let found = state.get(write.key()).map(skiff_api::Object::revision);
    let guard = |revision: Revision| Expect::At(revision);
    if let Write::Put { expect, .. } = write {
        *expect = found.map_or(Expect::Absent, guard);
    }
}
