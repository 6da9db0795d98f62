//! The whole cluster: takes the next event, gives it to whom it concerns, until the end.

use std::time::Duration;

use skiff_api::Revision;

use crate::agent::Agent;
use crate::client::Client;
use crate::context::Context;
use crate::event::{Event, Turn};
use crate::faults::{self, Act, Planned};
use crate::follow::Follow;
use crate::invariants::healed::{self, NodeSeen, ServerSeen};
use crate::message::{Message, Peer};
use crate::operator::Operator;
use crate::options::Options;
use crate::server::Server;
use crate::time::{Time, millis};

/// How many clients there are.
pub const CLIENTS: usize = 4;
/// How often somebody looks whether the cluster has healed.
const LOOK: Duration = Duration::from_millis(500);
/// A cluster that looks healed has to stay so for this long. In it watchers hear the last news, also
/// those who first have to notice that their connection is broken: that takes up to seven seconds.
const AT_REST: Duration = Duration::from_secs(10);
/// Dead processes come back within so many milliseconds once there is calm.
const BACK: u64 = 3000;

/// A cluster and its users.
#[derive(Debug)]
pub struct World {
    pub(crate) context: Context,
    servers: Vec<Server>,
    agents: Vec<Agent>,
    clients: Vec<Client>,
    operator: Operator,
    plan: Vec<Planned>,
    /// Since when the faults are over.
    calm_since: Option<Time>,
    /// Since when the cluster looks healed, and the latest revision then.
    healed: Option<(Time, Revision)>,
    pub(crate) ended: bool,
    pub(crate) events: u64,
}

impl World {
    /// A cluster that begins.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let mut context = Context::new(options.clone());
        let plan = {
            let mut rng = context.rng.fork();
            faults::plan(options, &mut rng)
        };
        let servers = (0..options.servers).map(|index| Server::new(&mut context, index));
        let servers: Vec<Server> = servers.collect();
        let clients = (0..CLIENTS).map(|index| Client::new(&mut context, index));
        let clients: Vec<Client> = clients.collect();
        for index in 0..options.servers {
            let delay = context.some_millis(0, 300);
            context.after(delay, Event::StartServer(index));
        }
        for index in 0..options.nodes {
            let delay = context.some_millis(0, 2000);
            context.after(delay, Event::StartAgent(index));
        }
        for client in 0..CLIENTS {
            for turn in [Turn::Next, Turn::Follow] {
                let delay = context.some_millis(500, 2500);
                context.after(delay, Event::Client { client, turn });
            }
        }
        for (index, planned) in plan.iter().enumerate() {
            context.events.plan(planned.at, Event::Fault(index));
        }
        Self {
            context,
            servers,
            agents: (0..options.nodes).map(Agent::new).collect(),
            clients,
            operator: Operator::default(),
            plan,
            calm_since: None,
            healed: None,
            ended: false,
            events: 0,
        }
    }

    /// Runs to the end: the cluster has healed, or a sentence was violated.
    pub fn run(&mut self) {
        while !self.ended && self.context.witness.violation().is_none() {
            let Some((at, event)) = self.context.events.next() else {
                break;
            };
            self.context.now = at;
            self.events += 1;
            self.handle(event);
        }
        if self.context.witness.violation().is_none() {
            self.context.witness.judge_history();
        }
    }

    /// How long healing took.
    #[must_use]
    pub fn healed_after(&self) -> Option<Duration> {
        let (healed, calm) = (self.healed?.0, self.calm_since?);
        Some(healed.since(calm))
    }

    fn handle(&mut self, event: Event) {
        let concerned = if let Event::Deliver {
            to: Peer::Server(index),
            ..
        }
        | Event::Server { server: index, .. }
        | Event::Broken {
            peer: Peer::Server(index),
            ..
        } = &event
        {
            Some(*index)
        } else {
            None
        };
        let server = concerned.and_then(|index| self.servers.get_mut(index));
        let event = match server {
            Some(server) => match server.hold(event) {
                Some(event) => event,
                None => return,
            },
            None => event,
        };
        let context = &mut self.context;
        match event {
            Event::Deliver { from, to, message } => self.deliver(from, to, message),
            Event::Server { server, life, part } => {
                if let Some(one) = self.servers.get_mut(server).filter(|one| one.is_life(life)) {
                    one.step(context, part);
                }
            }
            Event::StartServer(index) => {
                if let Some(server) = self.servers.get_mut(index) {
                    server.start(context);
                }
            }
            Event::Agent { agent, life, task } => {
                if let Some(one) = self.agents.get_mut(agent).filter(|one| one.is_life(life)) {
                    one.run(context, task);
                }
            }
            Event::StartAgent(index) => {
                if let Some(agent) = self.agents.get_mut(index) {
                    agent.start(context);
                }
            }
            Event::Client { client, turn } => {
                if let Some(client) = self.clients.get_mut(client) {
                    client.turn(context, turn);
                }
            }
            Event::Broken { peer, id } => self.broken(peer, id),
            Event::Fault(index) => self.fault(index),
            Event::Operator => self.operator.turn(context, &mut self.servers),
            Event::Look => self.look(),
        }
    }

    fn deliver(&mut self, from: Peer, to: Peer, message: Message) {
        let context = &mut self.context;
        let refused = match to {
            Peer::Server(index) => self.servers.get(index).is_none_or(|one| !one.is_up()),
            Peer::Agent(index) => self.agents.get(index).is_none_or(|one| !one.is_up()),
            Peer::Client(_) => false,
        };
        if context.is_broken(&message) {
            return;
        }
        if refused && matches!(message, Message::SnapshotDone { .. }) {
            // Another life of the sender has sent nothing yet.
            return;
        }
        if refused || context.network.is_cut(from, to) {
            let noticed = context.now + context.some_millis(5, 3000);
            context.lost(noticed, (from, to), &message);
            return;
        }
        match to {
            Peer::Server(index) => {
                if let Some(server) = self.servers.get_mut(index) {
                    server.receive(context, from, message);
                }
            }
            Peer::Agent(index) => {
                if let Some(agent) = self.agents.get_mut(index) {
                    agent.receive(context, message);
                }
            }
            Peer::Client(index) => {
                if let Some(client) = self.clients.get_mut(index) {
                    client.receive(context, message);
                }
            }
        }
    }

    fn broken(&mut self, peer: Peer, id: u64) {
        let context = &mut self.context;
        match peer {
            Peer::Server(index) => {
                if let Some(server) = self.servers.get_mut(index) {
                    server.broken(context, id);
                }
            }
            Peer::Agent(index) => {
                if let Some(agent) = self.agents.get_mut(index) {
                    agent.broken(context, id);
                }
            }
            Peer::Client(index) => {
                if let Some(client) = self.clients.get_mut(index) {
                    client.broken(context, id);
                }
            }
        }
    }

    fn fault(&mut self, index: usize) {
        let Some(Planned { act, .. }) = self.plan.get(index).cloned() else {
            return;
        };
        self.context.say(format_args!("fault: {act:?}"));
        let context = &mut self.context;
        match act {
            Act::KillServer(server) => {
                if let Some(server) = self.servers.get_mut(server) {
                    server.kill(context);
                }
            }
            Act::StartServer(server) => context.after(Duration::ZERO, Event::StartServer(server)),
            Act::Pause(server) => self.on_server(server, |server, _| server.pause()),
            Act::Resume(server) => self.on_server(server, Server::resume),
            Act::Cut(links) => {
                let cut = |(from, to)| context.network.cut(from, to);
                links.into_iter().for_each(cut);
            }
            Act::Mend(links) => {
                let mend = |(from, to)| context.network.mend(from, to);
                links.into_iter().for_each(mend);
            }
            Act::Lose(per_mille) => context.network.lost_per_mille = per_mille,
            Act::Reorder(reorders) => context.network.reorders = reorders,
            Act::SlowDisk(server, slow) => {
                self.on_server(server, |server, _| server.slow_disk = slow);
            }
            Act::LimitDisk(server, spare) => {
                self.on_server(server, |server, _| server.limit_disk(spare));
            }
            Act::SetClock(server, wrong) => {
                self.on_server(server, |server, _| server.clock_wrong = wrong);
            }
            Act::Transfer => {
                let leads = |one: &&mut Server| one.member().is_some_and(|m| m.is_leader());
                if let Some(server) = self.servers.iter_mut().find(leads) {
                    server.hand_over(context);
                }
            }
            Act::Replace(index) => {
                if let Some(server) = self.servers.get_mut(index) {
                    self.operator.replace(context, index, server);
                }
            }
            Act::KillAgent(agent) => {
                if let Some(agent) = self.agents.get_mut(agent) {
                    agent.crash(context);
                }
            }
            Act::PowerOff(agent) => {
                if let Some(agent) = self.agents.get_mut(agent) {
                    agent.power_off(context);
                }
            }
            Act::StartAgent(agent) => context.after(Duration::ZERO, Event::StartAgent(agent)),
            Act::Calm(dead) => self.calm(dead),
        }
    }

    fn on_server(&mut self, index: usize, act: impl FnOnce(&mut Server, &mut Context)) {
        if let Some(server) = self.servers.get_mut(index) {
            act(server, &mut self.context);
        }
    }

    /// Ends all faults.
    fn calm(&mut self, dead: Option<usize>) {
        let context = &mut self.context;
        context.calm = true;
        context.network.mend_all();
        (context.network.lost_per_mille, context.network.reorders) = (0, false);
        for (index, server) in self.servers.iter_mut().enumerate() {
            server.slow_disk = None;
            server.limit_disk(None);
            server.resume(context);
            let delay = context.some_millis(0, BACK);
            context.after(delay, Event::StartServer(index));
        }
        for (index, agent) in self.agents.iter_mut().enumerate() {
            if dead == Some(index) {
                agent.power_off(context);
            } else {
                let delay = context.some_millis(0, BACK);
                context.after(delay, Event::StartAgent(index));
            }
        }
        self.calm_since = Some(context.now);
        context.after(LOOK, Event::Look);
    }

    /// Looks whether the cluster has healed.
    fn look(&mut self) {
        let Some(calm_since) = self.calm_since else {
            return;
        };
        let now = self.context.now;
        match self.complaint() {
            None => {
                let revision = self.context.witness.log.latest();
                let (since, revision) = *self.healed.get_or_insert((now, revision));
                if now.since(since) >= AT_REST {
                    self.check_watches(revision);
                    self.ended = true;
                    return;
                }
            }
            Some(why) => {
                if self.healed.take().is_some() {
                    self.context.say(format_args!("healed no more: {why}"));
                }
                if now.since(calm_since) >= healed::WITHIN {
                    self.context.witness.not_healed(why);
                    return;
                }
            }
        }
        self.context
            .events
            .plan(now + LOOK.max(millis(1)), Event::Look);
    }

    fn complaint(&self) -> Option<String> {
        if let Some(client) = self.clients.iter().position(|client| !client.is_done()) {
            return Some(format!("client c{} waits for an answer", client + 1));
        }
        let lost = |follow: &Follow| self.context.is_lost(follow.id());
        let clients = self.clients.iter().map(|client| &client.follow);
        let agents = self.agents.iter().flat_map(Agent::follows);
        if clients.chain(agents).any(lost) {
            return Some("a watcher has not noticed that its connection is broken".into());
        }
        if !self.operator.is_done() {
            return Some("a server is being replaced".into());
        }
        let servers = self.servers.iter().map(|server| {
            let member = server.member()?;
            let status = member.status();
            Some(ServerSeen {
                leads: member.is_leader(),
                applied: status.applied,
                last_index: status.last_index,
                state: member.state(),
            })
        });
        let nodes = self.agents.iter().map(|agent| NodeSeen {
            name: agent.name.clone(),
            is_on: agent.is_on,
            sights: agent.sights(),
        });
        let (servers, nodes): (Vec<_>, Vec<_>) = (servers.collect(), nodes.collect());
        healed::check(&servers, &nodes).err()
    }

    fn check_watches(&mut self, revision: Revision) {
        for client in &self.clients {
            client.follow.must_have_seen(&mut self.context, revision);
        }
        for agent in &self.agents {
            agent.must_have_seen(&mut self.context, revision);
        }
    }
}
