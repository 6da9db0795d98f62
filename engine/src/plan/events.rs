//! Removes Events that nobody will read any more. Keys are namespaces.

use std::time::Duration;

use skiff_api::{Key, Kind, Millis, Object};

use super::{Controller, Plan, all};
use crate::command::Write;
use crate::stamp::Stamper;
use crate::state::State;

/// How long an Event is kept after it was last seen, as in Kubernetes.
const KEPT: Duration = Duration::from_secs(3600);
/// The shortest time between two passes: Events may live this much longer.
const PAUSE: Duration = Duration::from_secs(60);
/// Events removed by one command.
const BURST: usize = 1000;

pub(super) const CONTROLLER: Controller = Controller {
    name: "events",
    // Time alone makes work here, and a new Event is never the next to go.
    wakes: |_, _| Vec::new(),
    resync: |state| all(state, Kind::Namespace),
    plan,
};

fn plan(state: &State, key: &Key, stamper: &mut Stamper) -> Plan {
    let now = stamper.at();
    let mut plan = Plan::default();
    let mut next = now.after(KEPT);
    for event in state.list(Kind::Event, Some(&key.name)) {
        if plan.writes.len() == BURST {
            next = now;
            break;
        }
        let ends = ends(event, now);
        if ends <= now {
            plan.writes.push(Write::remove(event));
        } else {
            next = next.min(ends);
        }
    }
    let full = plan.writes.len() == BURST;
    plan.look_again(if full {
        now
    } else {
        next.max(now.after(PAUSE))
    });
    plan
}

/// When an Event may go. The time of its creation spares the reading of young ones.
fn ends(event: &Object, now: Millis) -> Millis {
    let created = event.meta().created.after(KEPT);
    if created > now {
        return created;
    }
    let value = event.to_value();
    let times =
        ["lastTimestamp", "eventTime"].map(|field| value[field].as_str().and_then(Millis::parse));
    let series = value["series"]["lastObservedTime"]
        .as_str()
        .and_then(Millis::parse);
    let last = times.into_iter().chain([series]).flatten().max();
    last.map_or(created, |last| last.after(KEPT))
}
