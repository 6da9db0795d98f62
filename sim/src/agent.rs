//! An agent: the real plan, the real report and the real blueprints over the simulated runtime. What
//! waits for servers or containers elsewhere happens here in steps, at times that chance decides.

mod keeper;
mod start;
mod statuses;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use skiff_api::{Key, Kind, Millis, Object};
use skiff_control_plane::watch::Interest;
use skiff_node_agent::memory::{Failures, Health, LastWords};
use skiff_node_agent::node::Facts;
use skiff_node_agent::plan::{self, plan};
use skiff_node_agent::pod::{DesiredPod, Pods};
use skiff_node_agent::report;
use skiff_node_agent::runtime::Runtime as _;
use skiff_node_agent::runtime::simulated::SimRuntime;
use skiff_node_agent::sight::{Sight, Sights, is_running, sort};

use crate::context::Context;
use crate::event::{Event, Task};
use crate::follow::{self, Follow, News};
use crate::message::{Call, Message, Peer, Refusal};
use crate::time::{Time, millis};
use keeper::Keeper;
use statuses::Statuses;
use work::Flight;

/// The harm of a lost wake-up lasts no longer than this.
const RESYNC: Duration = Duration::from_secs(10);
/// Wake-ups that come closer together are taken as one.
const PASS_GAP: Duration = Duration::from_millis(50);
/// Agents show themselves this often.
const BEAT: Duration = Duration::from_secs(1);
/// How long an agent waits for an answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// The wait after servers did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// The name of a node.
pub(crate) fn name(index: usize) -> String {
    format!("node-{}", index + 1)
}

/// A node with an agent on it, running or not.
pub struct Agent {
    pub(crate) index: usize,
    pub(crate) name: String,
    /// Survives the agent, as an engine does.
    runtime: Arc<SimRuntime>,
    /// The runtime's clock.
    clock: Arc<AtomicI64>,
    facts: Facts,
    life: u64,
    /// Whether the machine is on.
    pub(crate) is_on: bool,
    brain: Option<Box<Brain>>,
}

/// The process.
struct Brain {
    pods: Pods,
    synced: bool,
    failures: Failures,
    statuses: Statuses,
    flights: BTreeMap<Arc<str>, Flight>,
    /// Pods whose deletion was confirmed; the watch will say so too.
    confirmed: BTreeSet<Arc<str>>,
    /// When the next pass is planned.
    pass_at: Option<Time>,
    last_pass: Time,
    /// The server that it writes to.
    server: usize,
    /// Answers that it waits for.
    asked: BTreeMap<u64, Asked>,
    keeper: Keeper,
    follow: Follow,
}

/// What an answer will be about.
#[derive(Clone, Debug)]
enum Asked {
    Status(Arc<str>),
    Deletion(Arc<str>),
    Node,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent")
            .field("name", &self.name)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// Whether the process is there.
    pub(crate) const fn is_up(&self) -> bool {
        self.brain.is_some()
    }

    /// Whether this is its life.
    pub(crate) const fn is_life(&self, life: u64) -> bool {
        self.life == life
    }

    /// What runs on the node, as the runtime lists it.
    pub(crate) fn sights(&self) -> Sights {
        now(self.runtime.list())
            .and_then(Result::ok)
            .map(sort)
            .unwrap_or_default()
    }

    /// Does what is due.
    pub(crate) fn run(&mut self, context: &mut Context, task: Task) {
        self.set_clock(context);
        let Some(mut turn) = self.turn() else {
            return;
        };
        match task {
            Task::Pass => turn.pass(context),
            Task::Step(uid) => turn.step(context, &uid),
            Task::Beat => turn.beat(context),
            Task::KeepNode => turn.keep_node(context),
            Task::TimeOut(id) => turn.answered(context, id, Err(Refusal::Unknown)),
            Task::Follow => {
                turn.brain.follow.begin(context);
                turn.brain.keeper.follow.begin(context);
            }
        }
    }

    /// Something arrives.
    pub(crate) fn receive(&mut self, context: &mut Context, message: Message) {
        self.set_clock(context);
        let Some(mut turn) = self.turn() else {
            return;
        };
        let message = match follow::of_watch(message) {
            Ok((id, item)) if turn.brain.follow.id() == Some(id) => {
                let news = turn.brain.follow.item(context, id, item);
                turn.learn(context, news);
                return;
            }
            Ok((id, item)) => {
                let news = turn.brain.keeper.follow.item(context, id, item);
                turn.learn_of_node(context, news);
                return;
            }
            Err(other) => other,
        };
        let Message::Response(response) = message else {
            return;
        };
        if turn.brain.follow.listing() == Some(response.id) {
            let news = turn.brain.follow.answer(context, response.answer);
            turn.learn(context, Some(news));
        } else if turn.brain.keeper.follow.listing() == Some(response.id) {
            let news = turn.brain.keeper.follow.answer(context, response.answer);
            turn.learn_of_node(context, Some(news));
        } else {
            turn.answered(context, response.id, response.answer.map(|_| ()));
        }
    }

    /// A connection turns out to be broken.
    pub(crate) fn broken(&mut self, context: &mut Context, id: u64) {
        let Some(mut turn) = self.turn() else {
            return;
        };
        if turn.brain.follow.id() == Some(id) {
            let news = turn.brain.follow.lost(context);
            turn.learn(context, Some(news));
        } else if turn.brain.keeper.follow.id() == Some(id) {
            let news = turn.brain.keeper.follow.lost(context);
            turn.learn_of_node(context, Some(news));
        } else {
            turn.answered(context, id, Err(Refusal::Unknown));
        }
    }

    /// What it follows.
    pub(crate) fn follows(&self) -> impl Iterator<Item = &Follow> {
        let brain = self.brain.iter();
        brain.flat_map(|brain| [&brain.follow, &brain.keeper.follow])
    }

    /// When everything is quiet: it must have seen everything up to `revision` by now.
    pub(crate) fn must_have_seen(&self, context: &mut Context, revision: skiff_api::Revision) {
        if let Some(brain) = &self.brain {
            brain.follow.must_have_seen(context, revision);
            brain.keeper.follow.must_have_seen(context, revision);
        }
    }

    fn set_clock(&self, context: &Context) {
        self.clock.store(context.now.wall(0).0, Ordering::Relaxed);
    }

    fn turn(&mut self) -> Option<Turn<'_>> {
        Some(Turn {
            index: self.index,
            life: self.life,
            name: &self.name,
            runtime: &self.runtime,
            facts: &self.facts,
            brain: self.brain.as_mut()?,
        })
    }
}

/// One step of the process, with what it may know of its machine.
struct Turn<'a> {
    index: usize,
    life: u64,
    name: &'a str,
    runtime: &'a SimRuntime,
    facts: &'a Facts,
    brain: &'a mut Brain,
}

impl Turn<'_> {
    fn event(&self, task: Task) -> Event {
        Event::Agent {
            agent: self.index,
            life: self.life,
            task,
        }
    }

    fn wall(context: &Context) -> Millis {
        context.now.wall(0)
    }

    /// Looks, plans, sets off the work and reports, as the agent's own loop does.
    fn pass(&mut self, context: &mut Context) {
        if self.brain.pass_at.is_none_or(|at| at > context.now) {
            return;
        }
        (self.brain.pass_at, self.brain.last_pass) = (None, context.now);
        let Some(Ok(listed)) = now(self.runtime.list()) else {
            self.pass_in(context, RETRY);
            return;
        };
        let sights = sort(listed);
        for (uid, sight) in &sights {
            if sight.all().any(is_running) {
                context.witness.runs(self.name, uid);
            }
        }
        let mut next = RESYNC;
        if self.brain.synced
            && let Some(at) = self.work(context, &sights)
        {
            next = next.min(at.since(Self::wall(context)));
        }
        self.report(context, &sights);
        if self.brain.synced {
            self.forget();
        }
        self.keep_node(context);
        self.pass_in(context, next.max(PASS_GAP));
    }

    /// Plans, and sets off the work for every pod that has none under way.
    fn work(&mut self, context: &mut Context, sights: &Sights) -> Option<Millis> {
        let plans = plan(&plan::World {
            desired: &self.brain.pods,
            sights,
            failures: &self.brain.failures,
            health: &Health::default(),
            now: Self::wall(context),
        });
        let mut wake_at = None;
        for (uid, plan) in plans {
            wake_at = [wake_at, plan.wake_at].into_iter().flatten().min();
            let brain = &*self.brain;
            let busy = brain.confirmed.contains(&uid) || brain.flights.contains_key(&uid);
            if plan.actions.is_empty() || busy {
                continue;
            }
            let pod = brain.pods.get(&uid).cloned();
            let missing = || pod.as_ref().map(|pod| Sight::empty(pod.pod.clone()));
            if let Some(sight) = sights.get(&uid).cloned().or_else(missing) {
                let flight = Flight::new(sight, pod, plan.actions);
                self.set_off(context, &uid, flight);
            }
        }
        wake_at
    }

    fn report(&mut self, context: &mut Context, sights: &Sights) {
        let (health, words) = (Health::default(), LastWords::default());
        for (uid, pod) in &self.brain.pods {
            let missing = Sight::empty(pod.pod.clone());
            let sight = sights.get(uid).unwrap_or(&missing);
            if pod.deletion.is_some() && sight.is_empty() {
                continue;
            }
            let status = report::status(&report::Facts {
                pod,
                sight,
                failures: &self.brain.failures,
                health: &health,
                last_words: &words,
                node_ip: self.facts.ip,
                scheme: "simulated",
                now: Self::wall(context),
            });
            self.brain.statuses.tell(context.now, pod, status);
        }
        let pods = &self.brain.pods;
        self.brain.statuses.retain(|uid| pods.contains_key(uid));
        self.send_statuses(context);
    }

    fn send_statuses(&mut self, context: &mut Context) {
        while let Some((pod, patch)) = self.brain.statuses.take(context.now) {
            let call = Call::Patch {
                key: Key::new(Kind::Pod, &pod.namespace, &pod.name),
                patch,
                status: true,
            };
            self.ask(context, call, Asked::Status(pod.uid));
        }
    }

    fn forget(&mut self) {
        let Brain {
            pods,
            failures,
            confirmed,
            ..
        } = &mut *self.brain;
        failures.retain(|uid| pods.contains_key(uid));
        confirmed.retain(|uid| pods.contains_key(uid));
    }

    /// Learns what the servers want of this node.
    fn learn(&mut self, context: &mut Context, news: Option<News>) {
        match news {
            None => return,
            Some(News::Restarted(all)) => {
                self.brain.pods = all.iter().filter_map(|pod| self.mine(pod)).collect();
                self.brain.synced = true;
            }
            Some(News::Changed(change)) => {
                let now = change.now.as_ref().and_then(|pod| self.mine(pod));
                match now {
                    Some((uid, pod)) => {
                        self.brain.pods.insert(uid, pod);
                    }
                    None => {
                        self.brain.pods.remove(change.object().meta().uid.as_str());
                    }
                }
            }
            Some(News::Lost) => {
                let delay = context.some_millis(100, 2000);
                let event = self.event(Task::Follow);
                context.after(delay, event);
                return;
            }
        }
        self.pass_in(context, PASS_GAP);
    }

    /// A pod as the agent reads it, if it is bound to this node.
    fn mine(&self, pod: &Object) -> Option<(Arc<str>, Arc<DesiredPod>)> {
        let bound = pod.pod()?.node.as_deref() == Some(self.name);
        let wire = skiff_api::typed(&pod.to_value()).ok().filter(|_| bound)?;
        let pod = DesiredPod::read(wire)?;
        Some((Arc::clone(&pod.pod.uid), Arc::new(pod)))
    }

    /// Takes an answer of the servers, or that there will be none.
    fn answered(&mut self, context: &mut Context, id: u64, answer: Result<(), Refusal>) {
        let Some(asked) = self.brain.asked.remove(&id) else {
            return;
        };
        let heard = matches!(answer, Ok(()) | Err(Refusal::No(_)));
        if !heard {
            self.brain.server = (self.brain.server + 1) % context.options.servers.max(1);
        }
        match asked {
            Asked::Status(uid) => {
                self.brain.statuses.sent(&uid, heard, context.now + RETRY);
                self.pass_in(context, if heard { PASS_GAP } else { RETRY });
            }
            Asked::Deletion(uid) => {
                self.brain.flights.remove(&uid);
                let gone = matches!(answer, Ok(()) | Err(Refusal::No(404 | 409)));
                if gone {
                    self.brain.confirmed.insert(uid);
                }
                self.pass_in(context, if gone { PASS_GAP } else { RETRY });
            }
            Asked::Node => {
                let delay = if answer.is_ok() { PASS_GAP } else { RETRY * 2 };
                self.brain.keeper.answered();
                let event = self.event(Task::KeepNode);
                context.after(delay, event);
            }
        }
    }

    fn ask(&mut self, context: &mut Context, call: Call, about: Asked) {
        let id = context.ask(Peer::Agent(self.index), self.brain.server, call);
        self.brain.asked.insert(id, about);
        let event = self.event(Task::TimeOut(id));
        context.after(PATIENCE, event);
    }

    /// Plans the next pass, not too soon after the last one.
    fn pass_in(&mut self, context: &mut Context, delay: Duration) {
        let at = (context.now + delay).max(self.brain.last_pass + PASS_GAP);
        if self.brain.pass_at.is_none_or(|planned| at < planned) {
            self.brain.pass_at = Some(at);
            let event = self.event(Task::Pass);
            context.events.plan(at, event);
        }
    }

    /// Shows every server that the node is alive.
    fn beat(&self, context: &mut Context) {
        for server in 0..context.options.servers {
            context.send(Peer::Agent(self.index), Peer::Server(server), Message::Beat);
        }
        context.after(BEAT, self.event(Task::Beat));
    }
}

/// The result of a future that has nothing to wait for, as all of the simulated runtime's have.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut context = std::task::Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// What is followed for the node's own object.
fn own_object(name: &str) -> Interest {
    Interest::Object(Key::cluster(Kind::Node, name))
}

/// Somewhat less than a second, so that agents do not all act at the same time.
fn stagger(context: &mut Context) -> Duration {
    millis(context.rng.between(1, 900))
}
