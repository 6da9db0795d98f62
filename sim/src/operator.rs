//! Whoever looks after the servers: replaces one whose machine is lost, step by step, each until it
//! is in force.

use skiff_control_plane::raft::member::Ticket;
use skiff_control_plane::store::{ChangeError, MemberChange};

use crate::context::Context;
use crate::event::Event;
use crate::server::Server;
use crate::time::millis;

/// A change of members that was asked for.
pub(crate) type Changing = Ticket<Result<(), ChangeError>>;

/// The operator looks after so many milliseconds again.
const PACE: (u64, u64) = (100, 700);

/// A person, or a script.
#[derive(Debug, Default)]
pub struct Operator(Option<Replacement>);

/// A server that is being replaced.
#[derive(Debug)]
struct Replacement {
    server: usize,
    lost: u64,
    new: u64,
    /// What was asked for, and of which server in which of its lives.
    asked: Option<(usize, u64, Changing)>,
}

impl Operator {
    /// Whether nothing is left to be done.
    pub(crate) const fn is_done(&self) -> bool {
        self.0.is_none()
    }

    /// Begins to replace a server. One at a time: two of three would be the end.
    pub(crate) fn replace(&mut self, context: &mut Context, index: usize, server: &mut Server) {
        if self.0.is_some() || context.options.servers < 3 {
            return;
        }
        let (lost, new) = server.replace_machine(context);
        context.say(format_args!(
            "member {lost} is lost, {new} is to take its place"
        ));
        self.0 = Some(Replacement {
            server: index,
            lost,
            new,
            asked: None,
        });
        self.look_again(context);
    }

    fn look_again(&self, context: &mut Context) {
        let delay = context.some_millis(PACE.0, PACE.1);
        context.after(delay, Event::Operator);
    }

    /// Does the next step, if the one before is in force.
    pub(crate) fn turn(&mut self, context: &mut Context, servers: &mut [Server]) {
        let Some(replacement) = &mut self.0 else {
            return;
        };
        if replacement.turn(context, servers) {
            context.say(format_args!("member {} has its vote", replacement.new));
            self.0 = None;
        } else {
            self.look_again(context);
        }
    }
}

impl Replacement {
    /// Whether everything is done.
    fn turn(&mut self, context: &mut Context, servers: &mut [Server]) -> bool {
        let leads = |server: &Server| {
            let answers = !server.is_paused();
            answers && server.member().is_some_and(|member| member.is_leader())
        };
        let Some(leader) = servers.iter().position(leads) else {
            return false;
        };
        let Some(member) = servers.get(leader).and_then(Server::member) else {
            return false;
        };
        let group = member.state_at().mark.conf_state;
        let (votes, learns) = (
            |id| group.voters.contains(&id),
            |id| group.learners.contains(&id),
        );
        // A change goes through joint consensus; before its end, the group still needs those who
        // are to leave it.
        if !group.voters_outgoing.is_empty() {
            return false;
        }
        let next = if votes(self.lost) {
            MemberChange::Remove(self.lost)
        } else if votes(self.new) {
            return true;
        } else if learns(self.new) {
            context.after(millis(1), Event::StartServer(self.server));
            MemberChange::Promote(self.new)
        } else {
            MemberChange::AddLearner(self.new)
        };
        self.ask(context, (leader, servers), next);
        false
    }

    /// Asks the leader for a change, unless it is asked already.
    fn ask(
        &mut self,
        context: &mut Context,
        (leader, servers): (usize, &mut [Server]),
        change: MemberChange,
    ) {
        if let Some((server, life, ticket)) = &mut self.asked {
            let same = servers.get(*server).is_some_and(|one| one.is_life(*life));
            if same && *server == leader && ticket.poll().is_none() {
                return;
            }
        }
        let Some(server) = servers.get_mut(leader) else {
            return;
        };
        context.say(format_args!("operator asks s{} for {change:?}", leader + 1));
        self.asked = server
            .change_members(context, change)
            .map(|(life, ticket)| (leader, life, ticket));
    }
}
