//! A client: one operation at a time on a handful of keys, each written down as it was asked for and
//! answered; a change of a Deployment now and then; and a watch.

use std::collections::BTreeMap;

use skiff_api::{Kind, Revision};
use skiff_control_plane::watch::Interest;

use crate::context::Context;
use crate::event::{Event, Turn};
use crate::follow::{self, Follow, News};
use crate::history::{Act, Operation, Outcome};
use crate::message::{Answer, Call, Message, Peer, Refusal};
use crate::time::millis;
use crate::workload;

/// A client waits so many milliseconds for an answer.
const PATIENCE_MILLIS: u64 = 6000;

/// A client.
#[derive(Debug)]
pub struct Client {
    index: usize,
    server: usize,
    waiting: Option<Waiting>,
    /// What it knows of keys: a value, and the revision of the object then.
    known: BTreeMap<String, (u64, u64)>,
    written: u64,
    /// What it has to do before it does as it likes, the last one first.
    beginning: Vec<Call>,
    pub(crate) follow: Follow,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    /// Its place in the history, if it is one of those that are judged.
    operation: Option<usize>,
    /// What is to be asked for again until it succeeds.
    again: Option<Call>,
}

impl Client {
    /// A client that knows nothing.
    pub(crate) fn new(context: &mut Context, index: usize) -> Self {
        let server = context.rng.index(context.options.servers);
        let interest = match index % 4 {
            0 => Interest::Kind(Kind::ConfigMap),
            1 => Interest::Kind(Kind::Pod),
            2 => Interest::Namespace(Kind::Deployment, workload::NAMESPACE.into()),
            _ => Interest::All,
        };
        Self {
            index,
            server,
            waiting: None,
            known: BTreeMap::new(),
            written: 0,
            beginning: if index == 0 {
                workload::beginning()
            } else {
                Vec::new()
            },
            follow: Follow::new(Peer::Client(index), interest, server),
        }
    }

    /// Whether it has done what it has to do first, and waits for nothing.
    pub(crate) const fn is_done(&self) -> bool {
        self.waiting.is_none() && self.beginning.is_empty()
    }

    /// Goes on.
    pub(crate) fn turn(&mut self, context: &mut Context, turn: Turn) {
        match turn {
            Turn::Next if self.waiting.is_none() => self.next(context),
            Turn::Next => {}
            Turn::TimeOut(id) => {
                if self
                    .waiting
                    .as_ref()
                    .is_some_and(|waiting| waiting.id == id)
                {
                    self.answered(context, Err(Refusal::Unknown));
                }
            }
            Turn::Follow => self.follow.begin(context),
        }
    }

    /// Something arrives.
    pub(crate) fn receive(&mut self, context: &mut Context, message: Message) {
        let message = match follow::of_watch(message) {
            Ok((id, item)) => {
                let news = self.follow.item(context, id, item);
                self.follow_on(context, news);
                return;
            }
            Err(other) => other,
        };
        let Message::Response(response) = message else {
            return;
        };
        if self.follow.listing() == Some(response.id) {
            let news = self.follow.answer(context, response.answer);
            self.follow_on(context, Some(news));
        } else if self
            .waiting
            .as_ref()
            .is_some_and(|one| one.id == response.id)
        {
            self.answered(context, response.answer);
        }
    }

    /// A connection turns out to be broken.
    pub(crate) fn broken(&mut self, context: &mut Context, id: u64) {
        if self.follow.id() == Some(id) {
            let news = self.follow.lost(context);
            self.follow_on(context, Some(news));
        } else if self.waiting.as_ref().is_some_and(|one| one.id == id) {
            self.answered(context, Err(Refusal::Unknown));
        }
    }

    fn follow_on(&self, context: &mut Context, news: Option<News>) {
        if matches!(news, Some(News::Lost)) {
            let delay = context.some_millis(100, 1500);
            context.after(delay, self.event(Turn::Follow));
        }
    }

    const fn event(&self, turn: Turn) -> Event {
        Event::Client {
            client: self.index,
            turn,
        }
    }

    fn next(&mut self, context: &mut Context) {
        if context.rng.per_mille(150) {
            self.server = context.rng.index(context.options.servers);
        }
        if let Some(call) = self.beginning.last().cloned() {
            self.ask(context, call.clone(), None, Some(call));
            return;
        }
        if context.calm {
            return;
        }
        if context.rng.per_mille(200) {
            let call = workload::some_deployment(&mut context.rng);
            self.ask(context, call, None, None);
            return;
        }
        let key = workload::some_register(&mut context.rng);
        let act = self.choose(context, &key);
        let at = self.known.get(&key).map(|(_, revision)| *revision);
        let call = workload::call(&key, act, at);
        let operation = context.witness.history.len();
        context.witness.history.push(Operation {
            client: self.index,
            key,
            act,
            invoked: context.now,
            returned: None,
            outcome: Outcome::Unknown,
        });
        self.ask(context, call, Some(operation), None);
    }

    fn choose(&mut self, context: &mut Context, key: &str) -> Act {
        let known = self.known.get(key).map(|(value, _)| *value);
        let mut fresh = || {
            self.written += 1;
            self.written * 100 + self.index as u64
        };
        match (context.rng.below(10), known) {
            (0 | 1, None) => Act::Create(fresh()),
            (0 | 1, Some(from)) => Act::Swap { from, to: fresh() },
            (2 | 3, _) => Act::Put(fresh()),
            (4, _) => Act::Delete,
            (5, _) => Act::Create(fresh()),
            _ => Act::Read,
        }
    }

    fn ask(
        &mut self,
        context: &mut Context,
        call: Call,
        operation: Option<usize>,
        again: Option<Call>,
    ) {
        let id = context.ask(Peer::Client(self.index), self.server, call);
        self.waiting = Some(Waiting {
            id,
            operation,
            again,
        });
        context.after(millis(PATIENCE_MILLIS), self.event(Turn::TimeOut(id)));
    }

    fn answered(&mut self, context: &mut Context, answer: Result<Answer, Refusal>) {
        let Some(waiting) = self.waiting.take() else {
            return;
        };
        if answer.is_err() {
            self.server = (self.server + 1) % context.options.servers.max(1);
        }
        if waiting.again.is_some() && matches!(answer, Ok(_) | Err(Refusal::No(409))) {
            self.beginning.pop();
        }
        if let Some(index) = waiting.operation {
            self.write_down(context, index, &answer);
        }
        let delay = match answer {
            Ok(_) => context.some_millis(5, 300),
            Err(_) => context.some_millis(50, 600),
        };
        context.after(delay, self.event(Turn::Next));
    }

    fn write_down(
        &mut self,
        context: &mut Context,
        index: usize,
        answer: &Result<Answer, Refusal>,
    ) {
        let now = context.now;
        let Some(operation) = context.witness.history.get_mut(index) else {
            return;
        };
        match answer {
            Ok(answer) => {
                let object = answer.objects.first();
                let found = object.map(workload::value_of);
                let Revision(revision) =
                    object.map_or(answer.revision, skiff_api::Object::revision);
                operation.outcome = Outcome::Ok { found, revision };
                operation.returned = Some(now);
                let value = if operation.act == Act::Delete {
                    None
                } else {
                    found
                };
                match value {
                    Some(value) => self.known.insert(operation.key.clone(), (value, revision)),
                    None => self.known.remove(&operation.key),
                };
            }
            Err(Refusal::No(_) | Refusal::Later(_)) => {
                operation.outcome = Outcome::Failed;
                operation.returned = Some(now);
                self.known.remove(&operation.key);
            }
            Err(Refusal::Unknown) => {
                self.known.remove(&operation.key);
            }
        }
        let Operation {
            key, act, outcome, ..
        } = operation.clone();
        context.say(format_args!(
            "c{} {act:?} {key} -> {outcome:?}",
            self.index + 1
        ));
    }
}
