//! Does what was planned for one pod, step by step. Decides nothing: a step that fails is noted,
//! the steps that need it are left out, and the next plan takes it from there.

mod isolate;
mod leave;
mod names;
mod start;
mod stop;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skiff_api::Millis;
use skiff_network::Catalog;
use tokio::sync::{Semaphore, watch};

pub use names::Names;

use crate::chain::Chain;
use crate::events::{Events, Tone};
use crate::fields::Place;
use crate::memory::{Failure, FailureKind, Failures, WHOLE_POD};
use crate::network::{Isolation, NetworkState};
use crate::plan::Action;
use crate::pod::{DesiredPod, Role};
use crate::probe::Hooks;
use crate::refs::{Refs, Wanted};
use crate::runtime::{PodRef, Runtime, RuntimeError};
use crate::servers::Servers;
use crate::sight::Sight;
use crate::volumes::{VolumeError, Volumes};

/// A clock that can be read from anywhere.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// What work on any pod needs.
pub struct Tools {
    /// Where containers run.
    pub runtime: Arc<dyn Runtime>,
    /// Where configuration comes from and deletions are confirmed.
    pub servers: Arc<dyn Servers>,
    /// Where volumes live.
    pub volumes: Volumes,
    /// Where news go.
    pub events: Events,
    /// Starts in flight; more would only slow each other down.
    pub starts: Semaphore,
    /// Image pulls in flight.
    pub pulls: Semaphore,
    /// The node, as pods may ask about it.
    pub place: Place,
    /// Starts that failed.
    pub failures: Mutex<Failures>,
    /// Containers in their `postStart` hook.
    pub hooks: Hooks,
    /// Services and where they run, as far as this node knows.
    pub catalog: watch::Receiver<Arc<Catalog>>,
    /// What is known of names.
    pub names: Names,
    /// The machine's clock, by which the runtime dates what happens.
    pub clock: Clock,
    /// How the pod network is.
    pub network: watch::Receiver<NetworkState>,
    /// Has pods under their network policies before they start.
    pub isolation: Isolation,
}

/// Why a step was not done.
#[derive(Debug)]
enum Stopped {
    /// It failed in a way that the plan must know of.
    Failed(FailureKind, String),
    /// It failed in a way that the next look at the runtime will show.
    Runtime(RuntimeError),
    /// It failed in a way that needs no more than another try.
    Retry(String),
}

impl Tools {
    /// The starts that failed.
    pub(crate) fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches the objects that a pod refers to.
    async fn fetch(&self, namespace: &str, wanted: Wanted) -> Result<Refs, Stopped> {
        let mut refs = Refs::default();
        for name in wanted {
            let key = skiff_api::Key::new(name.kind.kind(), namespace, &name.name);
            let object = self.servers.read(&key).await.map_err(|error| {
                let word = name.kind.word();
                let message = format!("read {word} {:?}: {}", name.name, Chain(&error));
                Stopped::Failed(FailureKind::Config, message)
            })?;
            refs.insert(name, object.as_ref());
        }
        Ok(refs)
    }

    /// Brings the files of a pod's volumes up to date.
    pub(crate) async fn refresh_volumes(&self, pod: Arc<DesiredPod>) {
        if let Err(Stopped::Failed(_, why)) = self.make_volumes(&pod).await {
            tracing::debug!(pod = %pod.pod, why, "volumes are not up to date");
        }
    }

    async fn make_volumes(&self, pod: &Arc<DesiredPod>) -> Result<(), Stopped> {
        let refs = self
            .fetch(&pod.pod.namespace, crate::volumes::wanted(pod))
            .await;
        let refs = refs.map_err(|stopped| match stopped {
            Stopped::Failed(_, why) => Stopped::Failed(FailureKind::Volume, why),
            other @ (Stopped::Runtime(_) | Stopped::Retry(_)) => other,
        })?;
        let (volumes, pod, place) = (self.volumes.clone(), Arc::clone(pod), self.place.clone());
        on_disk(move || volumes.prepare(&pod, &refs, &place)).await
    }
}

/// Does disk work off the async threads.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VolumeError> + Send + 'static,
) -> Result<T, Stopped> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Stopped::Failed(
            FailureKind::Volume,
            Chain(&error).to_string(),
        )),
        Err(error) => Err(Stopped::Retry(error.to_string())),
    }
}

/// How work on a pod ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps were tried.
    Done,
    /// A step failed that the steps after it needed.
    Stuck,
    /// The servers know that nothing is left of the pod.
    Confirmed,
}

/// Work on one pod.
pub struct Work {
    /// What it is done with.
    pub tools: Arc<Tools>,
    /// Which pod.
    pub pod: PodRef,
    /// The pod, unless the servers no longer have it.
    pub desired: Option<Arc<DesiredPod>>,
    /// What existed when it was planned.
    pub sight: Sight,
    /// Whether the pod was waited for to be kept to its network policies.
    pub isolated: bool,
}

impl Work {
    /// Does the steps in their order. When one fails, only those steps go on that do not need it:
    /// one main container can start where another cannot.
    pub async fn carry_out(mut self, actions: Vec<Action>) -> Outcome {
        for action in actions {
            match self.step(&action).await {
                Ok(()) if action == Action::ConfirmDeletion => return Outcome::Confirmed,
                Ok(()) => {}
                Err(stopped) => {
                    let goes_on = self.note(&action, stopped);
                    if !goes_on {
                        return Outcome::Stuck;
                    }
                }
            }
        }
        Outcome::Done
    }

    async fn step(&mut self, action: &Action) -> Result<(), Stopped> {
        let runtime = Arc::clone(&self.tools.runtime);
        match action {
            Action::StartSandbox { attempt } => self.start_sandbox(*attempt).await,
            Action::StartContainer { name, attempt } => self.start_container(name, *attempt).await,
            Action::Stop(stops) => self.stop(stops).await,
            Action::RemoveContainer(id) => self.remove_container(id).await,
            Action::RemoveSandbox(id) => runtime.remove_sandbox(id).await.map_err(Stopped::Runtime),
            Action::RemoveVolumes => {
                let (volumes, uid) = (self.tools.volumes.clone(), Arc::clone(&self.pod.uid));
                on_disk(move || volumes.remove(&uid)).await
            }
            Action::ConfirmDeletion => self
                .tools
                .servers
                .confirm(&self.pod)
                .await
                .map_err(|error| Stopped::Retry(Chain(&error).to_string())),
        }
    }

    /// Writes a failure down where the next plan and the people will find it. Says whether the
    /// steps after it make sense.
    fn note(&self, action: &Action, stopped: Stopped) -> bool {
        let (kind, message) = match stopped {
            Stopped::Failed(kind, message) => (kind, message),
            Stopped::Runtime(error) => {
                tracing::warn!(pod = %self.pod, error = %Chain(&error), "step failed; will retry");
                return self.stays() && matches!(action, Action::RemoveSandbox(_));
            }
            Stopped::Retry(why) => {
                tracing::warn!(pod = %self.pod, error = why, "step failed; will retry");
                return false;
            }
        };
        let Some(desired) = &self.desired else {
            return false;
        };
        let Action::StartContainer { name, .. } = action else {
            self.keep(&Arc::from(WHOLE_POD), kind, &message);
            let reason = if kind == FailureKind::Sandbox {
                "FailedCreatePodSandBox"
            } else {
                event_reason(kind)
            };
            self.tools
                .events
                .pod(&self.pod, Tone::Warning, reason, message);
            return false;
        };
        self.keep(name, kind, &message);
        let message = match kind {
            FailureKind::Image => {
                let image = desired.container(name).and_then(|one| one.image.clone());
                format!(
                    "Failed to pull image {:?}: {message}",
                    image.unwrap_or_default()
                )
            }
            FailureKind::ImageName | FailureKind::PostStart | FailureKind::Volume => message,
            FailureKind::Unsupported
            | FailureKind::Network
            | FailureKind::Sandbox
            | FailureKind::ImageNever
            | FailureKind::Config
            | FailureKind::Create
            | FailureKind::Run => format!("Error: {message}"),
        };
        let whose = (&**desired, &**name);
        self.tools
            .events
            .container(whose, Tone::Warning, event_reason(kind), message);
        desired
            .part(name)
            .is_some_and(|part| part.role == Role::Main)
    }

    /// Whether the pod is to go on, which a sandbox that cannot be removed must not prevent.
    fn stays(&self) -> bool {
        let pod = self.desired.as_ref();
        pod.is_some_and(|pod| pod.deletion.is_none())
    }

    fn keep(&self, name: &Arc<str>, kind: FailureKind, message: &str) {
        let failure = Failure {
            kind,
            message: message.into(),
            at: (self.tools.clock)(),
            count: 1,
        };
        self.tools.failures().note(&self.pod.uid, name, failure);
    }
}

/// The reason of the event that tells of a failure, in Kubernetes' words.
const fn event_reason(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Unsupported => "Unsupported",
        FailureKind::Volume => "FailedMount",
        FailureKind::Network => "NetworkNotReady",
        FailureKind::ImageName => "InspectFailed",
        FailureKind::PostStart => "FailedPostStartHook",
        FailureKind::Sandbox
        | FailureKind::Image
        | FailureKind::ImageNever
        | FailureKind::Config
        | FailureKind::Create
        | FailureKind::Run => "Failed",
    }
}
