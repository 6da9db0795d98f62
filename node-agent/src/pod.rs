//! A pod as the agent wants to see it: the wire form read once, with the parts that deciding needs.
//! Reads, never judges: what the agent cannot do is refused where it would be done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ring::digest;
use skiff_api::Millis;
use skiff_api::k8s_openapi::api::core::v1::{
    Container, ContainerStatus, Pod, PodSpec, PodStatus, Probe,
};

use crate::runtime::PodRef;

/// Kubernetes' own default of `terminationGracePeriodSeconds`.
const GRACE_DEFAULT: Duration = Duration::from_secs(30);

/// The pods that should run here, by uid.
pub type Pods = BTreeMap<Arc<str>, Arc<DesiredPod>>;

/// A pod bound to this node.
#[derive(Clone, Debug)]
pub struct DesiredPod {
    /// Which pod.
    pub pod: PodRef,
    /// Everything else about it.
    pub wire: Pod,
    /// What is done when one of its containers ends.
    pub restart: RestartPolicy,
    /// Its containers in the order of their start: init containers and sidecars, then the others.
    pub parts: Vec<Part>,
    /// Set while it is being deleted: how long its containers may take to end.
    pub deletion: Option<Duration>,
    /// How long its containers may take to end for other reasons.
    pub grace: Duration,
    /// The servers know it as Succeeded or Failed: nothing of it may run again.
    pub terminal: bool,
    /// When `activeDeadlineSeconds` ends it.
    pub deadline: Option<Millis>,
}

/// `restartPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "Kubernetes' own words")]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

/// What a container is for its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`: starts in its turn and stays.
    Sidecar,
    /// One of `spec.containers`.
    Main,
}

/// A container of a pod, as far as deciding needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name in the pod.
    pub name: Arc<str>,
    /// What it is for.
    pub role: Role,
    /// The fingerprint of what may change in a running pod: its image.
    pub hash: Arc<str>,
    /// It counts as started only after its startup probe succeeded.
    pub has_startup: bool,
    /// It is ready only while its readiness probe succeeds.
    pub has_readiness: bool,
    /// How long it may take to end when a probe condemns it, if its probe says so.
    pub probe_grace: Option<Duration>,
    /// The attempts that the servers have heard of; a new one gets at least this number, so that
    /// counts survive the removal of containers behind the agent's back.
    pub attempts_known: u32,
}

impl DesiredPod {
    /// Reads a pod; none without a uid, a name and a spec, which no server sends.
    #[must_use]
    pub fn read(wire: Pod) -> Option<Self> {
        let meta = &wire.metadata;
        let spec = wire.spec.as_ref()?;
        let pod = PodRef {
            namespace: meta.namespace.as_deref().unwrap_or("default").into(),
            name: meta.name.as_deref()?.into(),
            uid: meta.uid.as_deref()?.into(),
        };
        let grace = spec
            .termination_grace_period_seconds
            .map_or(GRACE_DEFAULT, seconds);
        let deletion = meta
            .deletion_timestamp
            .as_ref()
            .map(|_| meta.deletion_grace_period_seconds.map_or(grace, seconds));
        let status = wire.status.as_ref();
        Some(Self {
            pod,
            restart: match spec.restart_policy.as_deref() {
                Some("Never") => RestartPolicy::Never,
                Some("OnFailure") => RestartPolicy::OnFailure,
                _ => RestartPolicy::Always,
            },
            parts: parts(spec, status),
            deletion,
            grace,
            terminal: matches!(
                status.and_then(|status| status.phase.as_deref()),
                Some("Succeeded" | "Failed")
            ),
            deadline: deadline(spec, status),
            wire,
        })
    }

    /// Its spec; empty if it has none, which [`DesiredPod::read`] does not let through.
    #[must_use]
    pub fn spec(&self) -> std::borrow::Cow<'_, PodSpec> {
        match &self.wire.spec {
            Some(spec) => std::borrow::Cow::Borrowed(spec),
            None => std::borrow::Cow::Owned(PodSpec::default()),
        }
    }

    /// One of its containers by name.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| &*part.name == name)
    }

    /// The wire form of one of its containers.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers().find(|container| container.name == name)
    }

    /// The wire forms of all its containers, in the order of [`DesiredPod::parts`].
    pub fn containers(&self) -> impl Iterator<Item = &Container> {
        let spec = self.wire.spec.iter();
        spec.flat_map(|spec| {
            spec.init_containers
                .iter()
                .flatten()
                .chain(&spec.containers)
        })
    }

    /// The status that the servers have of one of its containers.
    #[must_use]
    pub fn known_status(&self, name: &str) -> Option<&ContainerStatus> {
        known(self.wire.status.as_ref(), name)
    }

    /// Whether the machine's own network is used.
    #[must_use]
    pub fn host_network(&self) -> bool {
        self.wire
            .spec
            .as_ref()
            .and_then(|spec| spec.host_network)
            .unwrap_or(false)
    }
}

fn parts(spec: &PodSpec, status: Option<&PodStatus>) -> Vec<Part> {
    let inits = spec.init_containers.iter().flatten().map(|container| {
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        (container, if sidecar { Role::Sidecar } else { Role::Init })
    });
    let mains = spec
        .containers
        .iter()
        .map(|container| (container, Role::Main));
    inits
        .chain(mains)
        .map(|(container, role)| part(container, role, status))
        .collect()
}

fn part(container: &Container, role: Role, status: Option<&PodStatus>) -> Part {
    let grace = |probe: &Option<Probe>| {
        probe
            .as_ref()
            .and_then(|probe| probe.termination_grace_period_seconds)
            .map(seconds)
    };
    Part {
        name: container.name.as_str().into(),
        role,
        hash: fingerprint(container).into(),
        has_startup: container.startup_probe.is_some(),
        has_readiness: container.readiness_probe.is_some(),
        probe_grace: grace(&container.liveness_probe).or_else(|| grace(&container.startup_probe)),
        attempts_known: known(status, &container.name).map_or(0, attempts),
    }
}

/// How many attempts a status speaks of: none if the container was never created.
fn attempts(status: &ContainerStatus) -> u32 {
    let created = status
        .container_id
        .as_deref()
        .is_some_and(|id| !id.is_empty());
    if created {
        u32::try_from(status.restart_count)
            .unwrap_or(0)
            .saturating_add(1)
    } else {
        0
    }
}

fn known<'a>(status: Option<&'a PodStatus>, name: &str) -> Option<&'a ContainerStatus> {
    let status = status?;
    let inits = status.init_container_statuses.iter().flatten();
    inits
        .chain(status.container_statuses.iter().flatten())
        .find(|container| container.name == name)
}

/// Of the fields of a running pod's container, only the image may change.
fn fingerprint(container: &Container) -> String {
    let image = container.image.as_deref().unwrap_or("");
    let digest = digest::digest(&digest::SHA256, image.as_bytes());
    digest
        .as_ref()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn deadline(spec: &PodSpec, status: Option<&PodStatus>) -> Option<Millis> {
    let active = seconds(spec.active_deadline_seconds?);
    let start = status?.start_time.as_ref()?;
    Some(Millis(start.0.as_millisecond()).after(active))
}

fn seconds(value: i64) -> Duration {
    Duration::from_secs(u64::try_from(value).unwrap_or(0))
}
