//! The loop that makes what exists what is desired: look, plan, do, report. Woken, never told:
//! each pass starts from the runtime's list, and the next pass is the retry.

mod flights;
mod repeats;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use skiff_api::Millis;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::chain::Chain;
use crate::desired::Desired;
use crate::plan::{Action, ORPHAN_GRACE, World, plan};
use crate::probe::Probes;
use crate::report::{self, Facts};
use crate::runtime::RuntimeError;
use crate::sight::{Sight, Sights, sort};
use crate::statuses::Statuses;
use crate::work::{Outcome, Tools, Work};
use flights::Flights;
use repeats::Repeats;
use words::Words;

/// The harm of a lost wake-up lasts no longer than this.
const RESYNC: Duration = Duration::from_secs(10);

/// While the engine is away, it is looked for this often.
const ENGINE_RETRY: Duration = Duration::from_secs(1);

/// Wake-ups that come closer together are taken as one: each pass lists every container.
const PASS_GAP: Duration = Duration::from_millis(50);

/// An engine tells of a death some time before its list shows it: it is looked at again so long
/// after a wake-up.
const SECOND_LOOKS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

/// Where listing is slow, passes take no more than one part in so many of the time; the engine has
/// better things to do, above all while it starts many containers.
const PASS_SHARE: u32 = 6;

/// But however slow it is, a pass is not put off for longer.
const PASS_GAP_MAX: Duration = Duration::from_secs(1);

/// How often the files of volumes are compared with the objects they come from.
const REFRESH: Duration = Duration::from_secs(30);

/// How the engine is, for the node's Ready condition; none before the first look.
pub type EngineState = Option<Result<(), String>>;

/// What other parts of the agent may look at: the newest pass's view.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// What the servers want.
    pub desired: Desired,
    /// What exists.
    pub sights: Arc<Sights>,
}

/// The loop's belongings.
pub struct Reconciler {
    /// What work on pods is done with.
    pub tools: Arc<Tools>,
    /// What the servers want.
    pub desired: watch::Receiver<Desired>,
    /// Notified when something may have changed.
    pub wake: Arc<Notify>,
    /// The verdicts of probes.
    pub probes: Probes,
    /// Where statuses go.
    pub statuses: Statuses,
    /// The runtime's name.
    pub scheme: String,
    /// Where the newest view is shown.
    pub view: watch::Sender<View>,
    /// Where the engine's state is shown.
    pub engine: watch::Sender<EngineState>,
}

/// What the loop remembers between passes: work under way, and words. Never what exists.
#[derive(Default)]
struct Between {
    flights: Flights,
    repeats: Repeats,
    words: Words,
    /// Pods whose deletion was confirmed; the watch will say so too.
    confirmed: BTreeSet<Arc<str>>,
    refreshed: Option<Instant>,
    /// The last wake-up.
    woken: Option<Instant>,
}

impl Reconciler {
    /// Runs until it is told to stop; containers are left as they are.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut between = Between::default();
        loop {
            let began = Instant::now();
            let next = match self.pass(&mut between).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::debug!(error = %Chain(&error), "pass failed; will retry");
                    ENGINE_RETRY
                }
            };
            let next = between
                .second_look(began)
                .map_or(next, |look| next.min(look));
            let gap = (began.elapsed() * PASS_SHARE).clamp(PASS_GAP, PASS_GAP_MAX);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => {
                    between.woken = Some(Instant::now());
                    self.report_ends(&between);
                }
                changed = self.desired.changed() => if changed.is_err() { return },
                landed = between.flights.landed() => between.note(landed),
                () = tokio::time::sleep_until(began + next) => {}
            }
            tokio::time::sleep_until(began + gap).await;
        }
    }

    /// One pass. Returns when time alone will make the next one necessary.
    async fn pass(&mut self, between: &mut Between) -> Result<Duration, RuntimeError> {
        let listed = self.tools.runtime.list().await;
        self.show_engine(&listed);
        let mut sights = sort(listed?);
        self.tools.network.borrow().condemn(&mut sights);
        let desired = self.desired.borrow_and_update().clone();
        let now = (self.tools.clock)();
        if desired.synced {
            let busy = |uid: &str| between.flights.is_under_way(uid);
            self.tools.isolation.show(&desired.pods, &sights, busy);
        }
        self.probes
            .sync(&desired.pods, &sights, self.tools.place.host_ip, now);
        between
            .words
            .gather(&self.tools, &desired, &sights, now)
            .await;
        let wake_at = if desired.synced {
            self.work(between, &desired, &sights, now)
        } else {
            None
        };
        self.report(between, &desired, &sights, now);
        if desired.synced {
            self.forget(between, &desired, &sights);
            self.refresh(between, &desired);
        }
        self.view.send_replace(View {
            desired,
            sights: Arc::new(sights),
        });
        Ok(wake_at.map_or(RESYNC, |at| at.since(now).min(RESYNC)))
    }

    /// Plans, and sets off the work for every pod that has none under way.
    fn work(
        &self,
        between: &mut Between,
        desired: &Desired,
        sights: &Sights,
        now: Millis,
    ) -> Option<Millis> {
        let health = self.probes.health();
        let failures = self.tools.failures().clone();
        let plans = plan(&World {
            desired: &desired.pods,
            sights,
            failures: &failures,
            health: &health,
            now,
        });
        let (mut wake_at, at) = (None, Instant::now());
        let planned = |uid: &str| plans.get(uid).is_some_and(|plan| !plan.actions.is_empty());
        between.repeats.retain(planned);
        for (uid, plan) in plans {
            wake_at = [wake_at, plan.wake_at].into_iter().flatten().min();
            if plan.actions.is_empty() || between.confirmed.contains(&uid) {
                continue;
            }
            let pod = desired.pods.get(&uid).cloned();
            let end = match &pod {
                Some(pod) => pod.deletion,
                None => Some(ORPHAN_GRACE),
            };
            if !between.flights.may_begin(&uid, end) {
                continue;
            }
            if let Some(due) = between.repeats.due(&uid, &plan.actions, at) {
                let due = now.after(due.saturating_duration_since(at));
                wake_at = [wake_at, Some(due)].into_iter().flatten().min();
                continue;
            }
            let missing = || pod.as_ref().map(|pod| Sight::empty(pod.pod.clone()));
            let Some(sight) = sights.get(&uid).cloned().or_else(missing) else {
                continue;
            };
            let work = Work {
                tools: Arc::clone(&self.tools),
                pod: sight.pod.clone(),
                desired: pod,
                sight,
                isolated: false,
            };
            between.repeats.begun(&uid, &plan.actions, at);
            let patience = patience(&plan.actions);
            between
                .flights
                .begin(uid, patience, work.carry_out(plan.actions));
        }
        wake_at
    }

    /// Says of pods that are not ready any more, by what the last list showed. The Engine is busy with
    /// the end just now, and for as long as it takes to list, services would go on sending there.
    fn report_ends(&self, between: &Between) {
        if self.probes.take_ends() {
            let view = self.view.borrow().clone();
            self.report(between, &view.desired, &view.sights, (self.tools.clock)());
        }
    }

    fn report(&self, between: &Between, desired: &Desired, sights: &Sights, now: Millis) {
        let health = self.probes.health();
        let failures = self.tools.failures().clone();
        for (uid, pod) in &desired.pods {
            let missing = Sight::empty(pod.pod.clone());
            let sight = sights.get(uid).unwrap_or(&missing);
            // Nothing is left to be told of a pod that is being removed.
            if pod.deletion.is_some() && sight.is_empty() {
                continue;
            }
            let status = report::status(&Facts {
                pod,
                sight,
                failures: &failures,
                health: &health,
                last_words: between.words.all(),
                node_ip: self.tools.place.host_ip,
                scheme: &self.scheme,
                now,
            });
            self.statuses.tell(pod, status);
        }
        self.statuses.retain(|uid| desired.pods.contains_key(uid));
    }

    /// Drops what concerns pods that are no more.
    fn forget(&self, between: &mut Between, desired: &Desired, sights: &Sights) {
        self.tools
            .failures()
            .retain(|uid| desired.pods.contains_key(uid));
        between
            .confirmed
            .retain(|uid| desired.pods.contains_key(uid));
        if between.refreshed.is_some() {
            return;
        }
        // Directories of pods that went while no agent was here.
        for uid in self.tools.volumes.stored() {
            if !desired.pods.contains_key(&*uid) && !sights.contains_key(&*uid) {
                let volumes = self.tools.volumes.clone();
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = volumes.remove(&uid) {
                        tracing::warn!(error = %Chain(&error), "old volumes stay");
                    }
                });
            }
        }
    }

    /// Brings the files of volumes up to date, beside the loop and not too often.
    fn refresh(&self, between: &mut Between, desired: &Desired) {
        let due = between
            .refreshed
            .is_none_or(|last| last.elapsed() >= REFRESH);
        if !due {
            return;
        }
        between.refreshed = Some(Instant::now());
        let pods = desired
            .pods
            .values()
            .filter(|pod| pod.deletion.is_none() && !pod.terminal)
            .filter(|pod| !crate::volumes::wanted(pod).is_empty());
        for pod in pods {
            let (tools, uid) = (Arc::clone(&self.tools), &pod.pod.uid);
            if !between.flights.is_under_way(uid) {
                let pod = Arc::clone(pod);
                let refresh = async move { tools.refresh_volumes(pod).await };
                between.flights.aside(uid, refresh);
            }
        }
    }

    fn show_engine<T>(&self, listed: &Result<T, RuntimeError>) {
        let state = match listed {
            Ok(_) => Ok(()),
            Err(error) => Err(Chain(error).to_string()),
        };
        self.engine.send_if_modified(|known| {
            let changed = known.as_ref().map(Result::is_ok) != Some(state.is_ok());
            if changed {
                match &state {
                    Ok(()) if known.is_some() => tracing::info!("the engine answers again"),
                    Ok(()) => {}
                    Err(error) => tracing::error!(error, "the engine is away; pods are left alone"),
                }
                *known = Some(state);
            }
            changed
        });
    }
}

/// How long the containers that are ended by these steps may take; none if things are started.
fn patience(actions: &[Action]) -> Option<Duration> {
    let mut longest = Duration::ZERO;
    for action in actions {
        match action {
            Action::StartSandbox { .. } | Action::StartContainer { .. } => return None,
            Action::Stop(stops) => {
                longest = stops
                    .iter()
                    .map(|stop| stop.grace)
                    .fold(longest, Duration::max);
            }
            Action::RemoveContainer(_)
            | Action::RemoveSandbox(_)
            | Action::RemoveVolumes
            | Action::ConfirmDeletion => {}
        }
    }
    Some(longest)
}

impl Between {
    /// How long after a pass the next second look at what woke the loop is due.
    fn second_look(&self, pass: Instant) -> Option<Duration> {
        let woken = self.woken?;
        let looks = SECOND_LOOKS.iter().map(|after| woken + *after);
        looks.filter(|at| *at > pass).map(|at| at - pass).min()
    }

    /// Takes note of work that has ended.
    fn note(&mut self, landed: Vec<flights::Landed>) {
        let now = Instant::now();
        for ended in &landed {
            self.repeats.ended(&ended.uid, now);
        }
        let confirmed = landed
            .into_iter()
            .filter(|landed| landed.outcome == Some(Outcome::Confirmed));
        self.confirmed.extend(confirmed.map(|landed| landed.uid));
    }
}
