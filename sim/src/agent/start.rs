//! Starting and killing agents and the machines under them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use skiff_api::Millis;
use skiff_control_plane::watch::Interest;
use skiff_node_agent::memory::Failures;
use skiff_node_agent::node::Facts;
use skiff_node_agent::pod::Pods;
use skiff_node_agent::runtime::simulated::{Images, SimRuntime};
use skiff_node_agent::sight::is_running;

use super::{Agent, Brain, Keeper, Statuses, name, stagger};
use crate::context::Context;
use crate::event::Task;
use crate::follow::Follow;
use crate::message::Peer;
use crate::time::Time;

/// What a node gives: enough for all pods of a simulation on a few nodes.
const CPUS: u32 = 4;
const MEMORY_BYTES: u64 = 8 << 30;
const DISK_BYTES: u64 = 100 << 30;
const PODS: u32 = 110;
/// What a process exits with whose machine lost its power.
const KILLED: i64 = 137;

impl Agent {
    /// A machine that is on, with an engine and no agent.
    pub(crate) fn new(index: usize) -> Self {
        let name = name(index);
        let clock = Arc::new(AtomicI64::new(Time::default().wall(0).0));
        let reading = Arc::clone(&clock);
        let engine = SimRuntime::machine(CPUS, MEMORY_BYTES);
        let runtime = SimRuntime::new(&name, Arc::new(engine.clone()), Images::All, move || {
            Millis(reading.load(Ordering::Relaxed))
        });
        let last = u8::try_from(index + 1).unwrap_or(u8::MAX);
        Self {
            index,
            runtime: Arc::new(runtime),
            clock,
            facts: Facts {
                name: name.clone(),
                agent_id: format!("agent-{index}"),
                ip: Some(IpAddr::from(Ipv4Addr::new(10, 0, 0, last))),
                hostname: name.clone(),
                labels: BTreeMap::new(),
                network: BTreeMap::new(),
                engine,
                cpu_millicores: i64::from(CPUS) * 1000,
                memory_bytes: i64::try_from(MEMORY_BYTES).unwrap_or(i64::MAX),
                pods: PODS,
                disk_bytes: DISK_BYTES,
                machine_id: String::new(),
                boot_id: String::new(),
                data_dir: "/nowhere".into(),
            },
            name,
            life: 0,
            is_on: true,
            brain: None,
        }
    }

    /// Starts the agent, and the machine if it is off.
    pub(crate) fn start(&mut self, context: &mut Context) {
        if self.brain.is_some() {
            return;
        }
        self.is_on = true;
        self.life += 1;
        let server = context.rng.index(context.options.servers);
        let me = Peer::Agent(self.index);
        let pods_here = Interest::Node(self.name.as_str().into());
        self.brain = Some(Box::new(Brain {
            pods: Pods::new(),
            synced: false,
            failures: Failures::default(),
            statuses: Statuses::default(),
            flights: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            pass_at: None,
            last_pass: context.now,
            server,
            asked: BTreeMap::new(),
            keeper: Keeper::new(self.index, &self.name, server),
            follow: Follow::new(me, pods_here, server),
        }));
        context.say(format_args!("{} starts", self.name));
        let Some(mut turn) = self.turn() else {
            return;
        };
        turn.pass_in(context, Duration::from_millis(5));
        for task in [Task::Follow, Task::Beat] {
            let delay = stagger(context);
            let event = turn.event(task);
            context.after(delay, event);
        }
    }

    /// Kills the agent; what runs goes on.
    pub(crate) fn crash(&mut self, context: &mut Context) {
        if self.brain.take().is_some() {
            self.life += 1;
            context.say(format_args!("the agent of {} died", self.name));
        }
    }

    /// Cuts the machine's power: nothing runs any more.
    pub(crate) fn power_off(&mut self, context: &mut Context) {
        self.crash(context);
        self.is_on = false;
        self.set_clock(context);
        for sight in self.sights().values() {
            for container in sight.all().filter(|container| is_running(container)) {
                self.runtime.exit(&container.id, KILLED, false);
            }
            for sandbox in &sight.sandboxes {
                self.runtime.kill_sandbox(&sandbox.id);
            }
        }
        context.say(format_args!("{} lost its power", self.name));
    }
}
