//! Probes: when they run, and what their results come to. The counting is pure; one task per
//! container runs its probes and writes its verdict on the board that deciding reads.

mod board;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use skiff_api::Millis;
use skiff_api::k8s_openapi::api::core::v1::{Container, Probe};

pub use board::{Endings, Hooked, Hooks, Probes};
pub use tally::{Tally, Thresholds};

use crate::events::{Events, Tone};
use crate::handler::{Handler, HandlerError, Target};
use crate::memory::Verdict;
use crate::pod::DesiredPod;
use board::Board;

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Startup,
    Liveness,
    Readiness,
}

impl Purpose {
    const fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// A probe with its defaults filled in.
#[derive(Clone, Debug)]
struct Plan {
    handler: Handler,
    initial_delay: Duration,
    period: Duration,
    timeout: Duration,
    thresholds: Thresholds,
}

impl Plan {
    fn read(probe: &Probe, container: &Container) -> Self {
        let seconds = |value: Option<i32>, default: u64| {
            let value = value.and_then(|value| u64::try_from(value).ok());
            Duration::from_secs(value.filter(|value| *value > 0).unwrap_or(default))
        };
        let count = |value: Option<i32>, default: u32| {
            let value = value.and_then(|value| u32::try_from(value).ok());
            value.filter(|value| *value > 0).unwrap_or(default)
        };
        Self {
            handler: Handler::of_probe(probe, container),
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            thresholds: Thresholds {
                success: count(probe.success_threshold, 1),
                failure: count(probe.failure_threshold, 3),
            },
        }
    }
}

/// The probes of one running container.
struct Prober {
    pod: Arc<DesiredPod>,
    container: Container,
    target: Target,
    /// How long the container has been running already.
    age: Duration,
    events: Events,
    board: Arc<Board>,
}

impl Prober {
    /// Runs all probes of the container until it is dropped or condemned.
    async fn run(self, known: Verdict) {
        self.board.set(&self.target.id, known.clone());
        if let (Some(probe), false) = (&self.container.startup_probe, known.started) {
            self.watch(Purpose::Startup, probe).await;
        }
        let liveness = async {
            if let Some(probe) = &self.container.liveness_probe {
                self.watch(Purpose::Liveness, probe).await;
            }
        };
        let readiness = async {
            match &self.container.readiness_probe {
                Some(probe) => self.watch(Purpose::Readiness, probe).await,
                None => self
                    .board
                    .change(&self.target.id, |verdict| verdict.ready = true),
            }
        };
        tokio::join!(liveness, readiness);
    }

    /// Runs one probe; a startup probe until it has succeeded, the others without end.
    async fn watch(&self, purpose: Purpose, probe: &Probe) {
        let plan = Plan::read(probe, &self.container);
        tokio::time::sleep(plan.initial_delay.saturating_sub(self.age)).await;
        let mut pace = tokio::time::interval(plan.period);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut tally = Tally::default();
        loop {
            pace.tick().await;
            let result = plan.handler.run(&self.target, plan.timeout).await;
            // Nothing was learnt: the runtime failed, not the container.
            if let Err(HandlerError::Unknown(why)) = &result {
                tracing::debug!(pod = %self.pod.pod, why, "a probe could not be run");
                continue;
            }
            if let Err(why) = &result {
                let message = format!("{} probe failed: {why}", purpose.word());
                let whose = (&*self.pod, self.container.name.as_str());
                self.events
                    .container(whose, Tone::Warning, "Unhealthy", message);
            }
            let Some(healthy) = tally.count(result.is_ok(), plan.thresholds) else {
                continue;
            };
            self.conclude(purpose, healthy);
            if purpose == Purpose::Startup && healthy {
                return;
            }
        }
    }

    fn conclude(&self, purpose: Purpose, healthy: bool) {
        let name = &self.container.name;
        self.board
            .change(&self.target.id, |verdict| match (purpose, healthy) {
                (Purpose::Startup, true) => verdict.started = true,
                (Purpose::Startup, false) => {
                    verdict.condemned = Some(
                        format!("Container {name} failed startup probe, will be restarted").into(),
                    );
                }
                (Purpose::Liveness, true) => {}
                (Purpose::Liveness, false) => {
                    verdict.condemned = Some(
                        format!("Container {name} failed liveness probe, will be restarted").into(),
                    );
                }
                (Purpose::Readiness, healthy) => verdict.ready = healthy,
            });
    }
}

/// How long a container has been running, by the machine's clock; nothing if the clock went back.
fn age(started_at: Millis, now: Millis) -> Duration {
    now.since(started_at)
}
