//! Keeps the node's own object true, as the agent's keeper does: register, correct, correct again
//! when somebody else wrote into it.

use std::time::Duration;

use serde_json::Value;
use skiff_api::{Key, Kind};
use skiff_node_agent::network::NetworkState;
use skiff_node_agent::node::{Health, Pressure, changes, object, status};

use super::{Asked, Turn, own_object};
use crate::context::Context;
use crate::event::Task;
use crate::follow::{Follow, News};
use crate::message::{Call, Peer};

/// A change of the object is looked at after this.
const SOON: Duration = Duration::from_millis(20);

/// What is known of the node's object.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) follow: Follow,
    synced: bool,
    found: Option<Value>,
    under_way: bool,
}

impl Keeper {
    pub(super) fn new(index: usize, name: &str, server: usize) -> Self {
        Self {
            follow: Follow::new(Peer::Agent(index), own_object(name), server),
            synced: false,
            found: None,
            under_way: false,
        }
    }

    pub(super) const fn answered(&mut self) {
        self.under_way = false;
    }
}

impl Turn<'_> {
    /// Learns what became of the node's object.
    pub(super) fn learn_of_node(&mut self, context: &mut Context, news: Option<News>) {
        let keeper = &mut self.brain.keeper;
        let delay = match news {
            None => return,
            Some(News::Restarted(all)) => {
                keeper.found = all.first().map(skiff_api::Object::to_value);
                keeper.synced = true;
                SOON
            }
            Some(News::Changed(change)) => {
                keeper.found = change.now.as_ref().map(skiff_api::Object::to_value);
                SOON
            }
            Some(News::Lost) => {
                let delay = context.some_millis(100, 2000);
                let event = self.event(Task::Follow);
                context.after(delay, event);
                return;
            }
        };
        let event = self.event(Task::KeepNode);
        context.after(delay, event);
    }

    /// Writes what is not as it should be.
    pub(super) fn keep_node(&mut self, context: &mut Context) {
        let keeper = &self.brain.keeper;
        if keeper.under_way || !keeper.synced {
            return;
        }
        let key = Key::cluster(Kind::Node, self.name);
        let patch = |patch, status| Call::Patch {
            key: key.clone(),
            patch,
            status,
        };
        let call = match &keeper.found {
            None => Some(Call::Create(Kind::Node, object(self.facts))),
            Some(found) => {
                let health = Health {
                    engine: Some(Ok(())),
                    network: NetworkState::default(),
                    pressure: Pressure::default(),
                };
                let now = Self::wall(context);
                let own = changes(self.facts, found).map(|wanted| patch(wanted, false));
                own.or_else(|| {
                    let wanted = status(self.facts, &health, found, now);
                    wanted.map(|wanted| patch(wanted, true))
                })
            }
        };
        if let Some(call) = call {
            self.brain.keeper.under_way = true;
            self.ask(context, call, Asked::Node);
        }
    }
}
