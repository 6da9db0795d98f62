//! Requests under way at a server: answered, passed on to the leader, or waiting for the store.

use std::collections::BTreeMap;

use skiff_api::Object;
use skiff_control_plane::raft::member::{Member, Ticket, WriteTicket};
use skiff_control_plane::store::ProposeError;
use skiff_control_plane::watch::Interest;
use skiff_engine::admit::Stamp;
use skiff_engine::{Outcome, Stamper, State};

use super::decide::{Decision, decide};
use super::place_of;
use crate::context::Context;
use crate::message::{Answer, Call, Message, Peer, Refusal, Request};
use crate::mutation::Mutation;
use crate::time::Time;

/// How often a write is decided again when somebody else wrote in between: as the API does.
const TRIES: u32 = 16;
/// A write under way longer than this is forgotten: whoever asked has given up.
const FORGOTTEN_SECONDS: u64 = 60;

/// The requests of one server.
#[derive(Debug, Default)]
pub(super) struct Desk {
    writes: BTreeMap<u64, Writing>,
    refusals: BTreeMap<u64, Refusing>,
    reads: BTreeMap<u64, Reading>,
    /// Whom to tell what the leader answers.
    passed_on: BTreeMap<u64, (Peer, Time)>,
}

#[derive(Debug)]
struct Writing {
    from: Peer,
    request: Request,
    ticket: WriteTicket,
    tries: u32,
}

/// A write that came to nothing on the state seen here, said once it is sure that this server led.
#[derive(Debug)]
struct Refusing {
    from: Peer,
    answer: Result<Answer, Refusal>,
    term: u64,
    ticket: Ticket<u64>,
}

#[derive(Debug)]
struct Reading {
    from: Peer,
    call: Call,
    ticket: Ticket<u64>,
    /// What must be applied, once that is known.
    index: Option<u64>,
}

/// The server that a desk stands in.
pub(super) struct Place<'a> {
    pub(super) index: usize,
    pub(super) member: &'a Member,
    /// What its clock shows.
    pub(super) wall: skiff_api::Millis,
}

impl Desk {
    /// Takes a request that is no watch.
    pub(super) fn take(
        &mut self,
        context: &mut Context,
        place: &Place<'_>,
        from: Peer,
        request: Request,
    ) {
        let id = request.id;
        if request.call.is_write() {
            if place.member.is_leader() {
                self.write(context, place, (from, request), 1);
            } else {
                self.pass_on(context, place, from, request);
            }
            return;
        }
        if context.makes(Mutation::StaleRead) {
            let answer = read(&request.call, &place.member.state());
            context.answer(place.index, from, id, answer);
            return;
        }
        let reading = Reading {
            from,
            call: request.call,
            ticket: place.member.read_index(),
            index: None,
        };
        self.reads.insert(id, reading);
    }

    fn pass_on(
        &mut self,
        context: &mut Context,
        place: &Place<'_>,
        from: Peer,
        mut request: Request,
    ) {
        let status = place.member.status();
        let leader = status.leader.filter(|leader| *leader != status.member);
        let Some(leader) = leader.filter(|_| !request.forwarded) else {
            context.answer(place.index, from, request.id, Err(Refusal::Later(503)));
            return;
        };
        let leader = place_of(leader, context.options.servers);
        request.forwarded = true;
        self.passed_on.insert(request.id, (from, context.now));
        let me = Peer::Server(place.index);
        context.send(
            me,
            Peer::Server(leader),
            Message::Request(Box::new(request)),
        );
    }

    /// Hands on what the leader answered.
    pub(super) fn hand_on(
        &mut self,
        context: &mut Context,
        index: usize,
        id: u64,
        answer: Result<Answer, Refusal>,
    ) {
        if let Some((from, _)) = self.passed_on.remove(&id) {
            context.answer(index, from, id, answer);
        }
    }

    /// The requests that wait for an answer, and who waits.
    pub(super) fn waiting(&self) -> Vec<(Peer, u64)> {
        let writes = self.writes.iter().map(|(id, one)| (one.from, *id));
        let refusals = self.refusals.iter().map(|(id, one)| (one.from, *id));
        let reads = self.reads.iter().map(|(id, one)| (one.from, *id));
        let passed_on = self.passed_on.iter().map(|(id, (from, _))| (*from, *id));
        let own = writes.chain(refusals).chain(reads);
        own.chain(passed_on).collect()
    }

    fn write(
        &mut self,
        context: &mut Context,
        place: &Place<'_>,
        (from, request): (Peer, Request),
        tries: u32,
    ) {
        let id = request.id;
        let mut stamper = Stamper::new(place.wall, context.rng.draw());
        let state = place.member.state();
        let decided = decide(&request.call, &state, Stamp::draw(&mut stamper));
        let write = match decided {
            Ok(Decision::Write(write)) => write,
            Ok(Decision::Nothing(object)) => {
                context.answer(place.index, from, id, Ok(answer(object)));
                return;
            }
            Err(status) if context.makes(Mutation::RefuseUnsure) => {
                context.answer(place.index, from, id, Err(Refusal::No(status.code)));
                return;
            }
            Err(status) => {
                let refusing = Refusing {
                    from,
                    answer: Err(Refusal::No(status.code)),
                    term: place.member.status().term,
                    ticket: place.member.read_index(),
                };
                self.refusals.insert(id, refusing);
                return;
            }
        };
        let hasty = context.makes(Mutation::AcknowledgeBeforeCommit);
        let early = hasty.then(|| guess(&write, &state)).flatten();
        match place.member.propose(vec![write], place.wall) {
            Ok(ticket) => {
                if let Some(early) = early {
                    context.answer(place.index, from, id, Ok(early));
                    return;
                }
                let writing = Writing {
                    from,
                    request,
                    ticket,
                    tries,
                };
                self.writes.insert(id, writing);
            }
            Err(error) => {
                let refusal = refusal(context, &error);
                context.answer(place.index, from, id, Err(refusal));
            }
        }
    }

    /// Answers whatever can be answered by now; whether there was anything.
    pub(super) fn poll(&mut self, context: &mut Context, place: &Place<'_>) -> bool {
        let written = self.poll_writes(context, place);
        let read = self.poll_reads(context, place);
        self.poll_refusals(context, place);
        let now = context.now;
        self.passed_on
            .retain(|_, (_, since)| now.since(*since).as_secs() < FORGOTTEN_SECONDS);
        written || read
    }

    fn poll_writes(&mut self, context: &mut Context, place: &Place<'_>) -> bool {
        let mut decided = Vec::new();
        for (id, writing) in &mut self.writes {
            if let Some(outcome) = writing.ticket.poll() {
                decided.push((*id, outcome));
            }
        }
        let any = !decided.is_empty();
        for (id, outcome) in decided {
            let Some(writing) = self.writes.remove(&id) else {
                continue;
            };
            let answer = match outcome.map(|outcomes| outcomes.into_iter().next()) {
                Ok(Some(Outcome::Done(object))) => Ok(answer(object)),
                Ok(_) if writing.tries < TRIES && !writing.is_creation() => {
                    let again = (writing.from, writing.request);
                    self.write(context, place, again, writing.tries + 1);
                    continue;
                }
                Ok(_) => Err(Refusal::No(409)),
                Err(error) => Err(refusal(context, &error)),
            };
            context.answer(place.index, writing.from, id, answer);
        }
        any
    }

    fn poll_refusals(&mut self, context: &mut Context, place: &Place<'_>) {
        let leads = place.member.is_leader();
        let term = place.member.status().term;
        self.refusals.retain(|id, refusing| {
            let Some(confirmed) = refusing.ticket.poll() else {
                return true;
            };
            let sure = confirmed.is_some() && leads && refusing.term == term;
            let answer = if sure {
                refusing.answer.clone()
            } else {
                Err(Refusal::Later(503))
            };
            context.answer(place.index, refusing.from, *id, answer);
            false
        });
    }

    fn poll_reads(&mut self, context: &mut Context, place: &Place<'_>) -> bool {
        let applied = place.member.status().applied;
        let mut done = Vec::new();
        for (id, reading) in &mut self.reads {
            if reading.index.is_none() {
                match reading.ticket.poll() {
                    None => continue,
                    Some(None) => {
                        done.push((*id, Some(Refusal::Later(503))));
                        continue;
                    }
                    Some(Some(index)) => reading.index = Some(index),
                }
            }
            if reading.index.is_some_and(|index| index <= applied) {
                done.push((*id, None));
            }
        }
        let any = !done.is_empty();
        for (id, refused) in done {
            let Some(reading) = self.reads.remove(&id) else {
                continue;
            };
            let answer = match refused {
                Some(refusal) => Err(refusal),
                None => read(&reading.call, &place.member.state()),
            };
            context.answer(place.index, reading.from, id, answer);
        }
        any
    }
}

impl Writing {
    const fn is_creation(&self) -> bool {
        matches!(self.request.call, Call::Create(..))
    }
}

fn answer(object: Object) -> Answer {
    Answer {
        revision: object.revision(),
        objects: vec![object],
    }
}

/// What a write will be answered with if nothing comes between.
fn guess(write: &skiff_engine::Write, state: &State) -> Option<Answer> {
    let mut after = state.clone();
    let command = skiff_engine::Command {
        term: 0,
        at: skiff_api::Millis(0),
        writes: vec![write.clone()],
    };
    match after.apply(&command).outcomes.into_iter().next()? {
        Outcome::Done(object) => Some(answer(object)),
        Outcome::Conflict { .. } => None,
    }
}

fn refusal(context: &Context, error: &ProposeError) -> Refusal {
    match error {
        ProposeError::NotLeader { .. } | ProposeError::TooNew { .. } => Refusal::Later(503),
        ProposeError::Overloaded => Refusal::Later(429),
        ProposeError::DiskFull => Refusal::Later(507),
        ProposeError::TooLarge { .. } => Refusal::No(413),
        ProposeError::LeadershipLost | ProposeError::Stopped => {
            if context.makes(Mutation::CallUnknownFailed) {
                Refusal::Later(503)
            } else {
                Refusal::Unknown
            }
        }
    }
}

/// What a read finds in a state.
fn read(call: &Call, state: &State) -> Result<Answer, Refusal> {
    let objects = match call {
        Call::Get(key) => state.get(key).cloned().into_iter().collect(),
        Call::List(interest) => list(interest, state),
        Call::Create(..)
        | Call::Update(..)
        | Call::Patch { .. }
        | Call::Delete { .. }
        | Call::Watch(..) => return Err(Refusal::No(400)),
    };
    Ok(Answer {
        objects,
        revision: state.revision(),
    })
}

fn list(interest: &Interest, state: &State) -> Vec<Object> {
    match interest {
        Interest::All => state.objects().cloned().collect(),
        Interest::Kind(kind) => state.list(*kind, None).cloned().collect(),
        Interest::Namespace(kind, namespace) => {
            state.list(*kind, Some(namespace)).cloned().collect()
        }
        Interest::Object(key) => state.get(key).cloned().into_iter().collect(),
        Interest::Node(node) => state.pods_on(node).cloned().collect(),
    }
}
