//! What the agent knows beside the runtime's list: starts that failed, verdicts of probes, last
//! words of the dead. All of it may be lost with the process; it is only ever about pace and words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use skiff_api::Millis;

use crate::pod::Part;
use crate::runtime::ContainerId;

/// The first wait after a failed start, and after a container that ended too soon. Kubernetes'.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(10);

/// The longest such wait. Kubernetes'.
pub const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// Trying again costs one read of an object here, and people wait for it while they repair things.
const RETRY_CONFIG: Duration = Duration::from_secs(5);

/// Looking whether the pod network is there costs nothing.
const RETRY_NETWORK: Duration = Duration::from_secs(1);

/// How long a failure is shown as itself before it is shown as a back-off.
const FRESH: Duration = Duration::from_secs(2);

/// The name under which a failure of the whole pod is kept.
pub const WHOLE_POD: &str = "";

/// Starts that failed, by pod and container; [`WHOLE_POD`] for its sandbox and volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures(BTreeMap<Arc<str>, BTreeMap<Arc<str>, Failure>>);

/// A start that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What failed.
    pub kind: FailureKind,
    /// In the words of whoever refused.
    pub message: Arc<str>,
    /// The last time that it failed.
    pub at: Millis,
    /// How often in a row; at least 1.
    pub count: u32,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// The pod asks for something that this agent does not do.
    Unsupported,
    /// A volume could not be made.
    Volume,
    /// The pod network is not there.
    Network,
    /// The sandbox could not be made.
    Sandbox,
    /// The image could not be fetched.
    Image,
    /// The image's name cannot be one.
    ImageName,
    /// The image is not here and may not be fetched.
    ImageNever,
    /// Something that the container's environment refers to is not there.
    Config,
    /// The engine would not create the container.
    Create,
    /// The engine could not start it.
    Run,
    /// Its `postStart` hook failed.
    PostStart,
}

impl Failure {
    /// How long to wait before the next try.
    #[must_use]
    pub fn pause(&self) -> Duration {
        match self.kind {
            FailureKind::Volume | FailureKind::Config => RETRY_CONFIG,
            FailureKind::Network => RETRY_NETWORK,
            FailureKind::Unsupported => BACKOFF_MAX,
            FailureKind::Sandbox
            | FailureKind::Image
            | FailureKind::ImageName
            | FailureKind::ImageNever
            | FailureKind::Create
            | FailureKind::Run
            | FailureKind::PostStart => doubled(BACKOFF_FIRST, self.count.saturating_sub(1)),
        }
    }

    /// When the next try is due; now if the clock was set back behind the failure.
    #[must_use]
    pub fn due(&self, now: Millis) -> Millis {
        due(self.at, self.pause(), now)
    }

    /// The reason shown for the waiting container, in Kubernetes' words.
    #[must_use]
    pub fn reason(&self, now: Millis) -> &'static str {
        let fresh = now.since(self.at) < FRESH;
        match self.kind {
            FailureKind::Network | FailureKind::Sandbox | FailureKind::Volume => {
                "ContainerCreating"
            }
            FailureKind::Unsupported | FailureKind::Config => "CreateContainerConfigError",
            FailureKind::Image if fresh => "ErrImagePull",
            FailureKind::Image => "ImagePullBackOff",
            FailureKind::ImageName => "InvalidImageName",
            FailureKind::ImageNever => "ErrImageNeverPull",
            FailureKind::Create => "CreateContainerError",
            FailureKind::Run if fresh => "RunContainerError",
            FailureKind::PostStart if fresh => "PostStartHookError",
            FailureKind::Run | FailureKind::PostStart => "CrashLoopBackOff",
        }
    }

    /// When [`Failure::reason`] will change by itself.
    #[must_use]
    pub fn fresh_until(&self) -> Millis {
        self.at.after(FRESH)
    }
}

impl Failures {
    /// The failure of a container's start, or of the whole pod.
    #[must_use]
    pub fn get(&self, uid: &str, container: &str) -> Option<&Failure> {
        self.0.get(uid)?.get(container)
    }

    /// Keeps a failure; counts on if the same thing failed before.
    pub fn note(&mut self, uid: &Arc<str>, container: &Arc<str>, failure: Failure) {
        let pod = self.0.entry(Arc::clone(uid)).or_default();
        let before = pod
            .get(container)
            .filter(|before| before.kind == failure.kind);
        let count = before.map_or(1, |before| before.count.saturating_add(1));
        pod.insert(Arc::clone(container), Failure { count, ..failure });
    }

    /// Forgets a container's failure: it started.
    pub fn clear(&mut self, uid: &str, container: &str) {
        if let Some(pod) = self.0.get_mut(uid) {
            pod.remove(container);
        }
    }

    /// Forgets the pods that `keep` does not name.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|uid, _| keep(uid));
    }
}

/// The verdicts of probes, by container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// What the probes say.
    pub verdicts: BTreeMap<ContainerId, Verdict>,
    /// Those that the runtime said have ended, while its list still shows them running.
    pub ended: BTreeSet<ContainerId>,
    /// Those whose `postStart` hook has not ended yet.
    pub hooked: BTreeSet<ContainerId>,
}

/// What the probes of a container say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The startup probe has succeeded.
    pub started: bool,
    /// The readiness probe succeeds.
    pub ready: bool,
    /// The liveness or startup probe condemned it, in which words.
    pub condemned: Option<Arc<str>>,
}

impl Health {
    /// The verdict on a running container; without probes it is started and ready.
    #[must_use]
    pub fn of(&self, part: &Part, id: &ContainerId) -> Verdict {
        let unknown = || Verdict {
            started: !part.has_startup,
            ready: !part.has_startup && !part.has_readiness,
            condemned: None,
        };
        let mut verdict = self.verdicts.get(id).cloned().unwrap_or_else(unknown);
        let hooked = self.hooked.contains(id);
        verdict.started &= !hooked;
        verdict.ready &= !hooked && !self.ended.contains(id);
        verdict
    }
}

/// The last lines that dead containers wrote.
pub type LastWords = BTreeMap<ContainerId, Arc<str>>;

/// `first`, doubled `times`, at most [`BACKOFF_MAX`].
#[must_use]
pub fn doubled(first: Duration, times: u32) -> Duration {
    let factor = 1_u32.checked_shl(times.min(31)).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(BACKOFF_MAX)
}

/// `pause` after `since`; `now` if that lies in the future, since then the clock was set back and
/// waiting for it could take an hour.
#[must_use]
pub fn due(since: Millis, pause: Duration, now: Millis) -> Millis {
    if since > now { now } else { since.after(pause) }
}
