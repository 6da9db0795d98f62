//! The state of one simulated node and the rules by which it changes. Synchronous: a call is one
//! step of memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use skiff_api::Millis;
use skiff_network::catalog::Cidr;
use tokio::sync::{broadcast, watch};

use super::images::{self, Images};
use super::log::{Line, Log};
use super::program::{Fault, Program};
use crate::runtime::{
    Answers, ContainerId, ContainerSpec, ContainerState, ExecOutcome, LogStream, NetworkSpec,
    NodeNetwork, Observed, ObservedContainer, ObservedSandbox, RuntimeError, SandboxId,
    SandboxSpec, Step, Wake,
};

/// Wake-ups that a slow listener may be behind before its stream ends, as an Engine's would.
const WAKES: usize = 64;
/// The range of pods' addresses before anybody has said which.
const SUBNET: Cidr = Cidr {
    address: IpAddr::V4(Ipv4Addr::new(10, 244, 0, 0)),
    prefix: 16,
};
/// What a process exits with that SIGTERM ended.
const EXIT_SIGTERM: i64 = 128 + 15;
/// What a process exits with that SIGKILL ended.
const EXIT_SIGKILL: i64 = 128 + 9;

/// One node.
#[derive(Debug)]
pub(super) struct World {
    node: Arc<str>,
    sandboxes: BTreeMap<SandboxId, ObservedSandbox>,
    containers: BTreeMap<ContainerId, Entry>,
    /// Where pods' addresses come from.
    subnet: Cidr,
    /// Ids given so far.
    given: u32,
    /// Whether the engine is stopped.
    pub(super) down: bool,
    /// What images do, if not [`Program::Serve`].
    pub(super) programs: BTreeMap<String, Program>,
    /// What commands find, by container name.
    pub(super) execs: BTreeMap<String, ExecOutcome>,
    /// How the next calls fail.
    pub(super) faults: BTreeMap<Step, VecDeque<Fault>>,
    /// What was tried how often.
    pub(super) calls: BTreeMap<Step, u64>,
    /// The images here and in the registry.
    pub(super) images: Images,
    /// Made for the first listener, and again after the engine was stopped.
    wakes: Option<broadcast::Sender<Wake>>,
}

#[derive(Debug)]
struct Entry {
    seen: ObservedContainer,
    /// When it ends by itself, with which code.
    due: Option<(Millis, i64)>,
    /// Made for the first line or reader.
    log: Option<watch::Sender<Log>>,
}

impl World {
    pub(super) fn new(node: &str, images: Images) -> Self {
        Self {
            node: node.into(),
            sandboxes: BTreeMap::new(),
            containers: BTreeMap::new(),
            subnet: SUBNET,
            given: 0,
            down: false,
            programs: BTreeMap::new(),
            execs: BTreeMap::new(),
            faults: BTreeMap::new(),
            calls: BTreeMap::new(),
            images,
            wakes: None,
        }
    }

    pub(super) fn count(&mut self, step: Step) {
        *self.calls.entry(step).or_default() += 1;
    }

    /// Lets a call pass, or says how it fails.
    pub(super) fn admit(&mut self, step: Step) -> Result<(), RuntimeError> {
        let away = || RuntimeError::Unreachable {
            step,
            source: "the engine is stopped".into(),
        };
        if self.down {
            return Err(away());
        }
        match self.faults.get_mut(&step).and_then(VecDeque::pop_front) {
            None => Ok(()),
            Some(Fault::Unreachable) => Err(away()),
            Some(Fault::TimedOut) => Err(RuntimeError::TimedOut {
                step,
                after: Duration::ZERO,
            }),
            Some(Fault::Refused(message)) => Err(RuntimeError::Refused { step, message }),
        }
    }

    pub(super) fn stop(&mut self) {
        self.down = true;
        self.wakes = None;
    }

    /// Makes the node's network; what is on one of another range is cut off.
    pub(super) fn prepare(&mut self, wanted: &NetworkSpec) -> NodeNetwork {
        if self.subnet != wanted.subnet {
            self.subnet = wanted.subnet;
            for sandbox in self.sandboxes.values_mut() {
                sandbox.ip = None;
            }
        }
        NodeNetwork {
            name: format!("skiff-{}", self.node),
            bridge: format!("sk-{}", self.node),
            subnet: wanted.subnet,
            mtu: wanted.mtu,
        }
    }

    /// The lowest address that no sandbox has.
    fn free_address(&self) -> Option<IpAddr> {
        let IpAddr::V4(gateway) = self.subnet.gateway() else {
            return None;
        };
        let taken: BTreeSet<IpAddr> = self.sandboxes.values().filter_map(|one| one.ip).collect();
        (gateway.to_bits().saturating_add(1)..)
            .map(|bits| IpAddr::V4(bits.into()))
            .take_while(|address| self.subnet.contains(*address))
            .find(|address| !taken.contains(address))
    }

    pub(super) fn list(&self) -> Observed {
        let mut sandboxes: Vec<_> = self.sandboxes.values().cloned().collect();
        let mut containers: Vec<_> = self
            .containers
            .values()
            .map(|entry| entry.seen.clone())
            .collect();
        sandboxes.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        containers.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Observed {
            sandboxes,
            containers,
        }
    }

    pub(super) fn run_sandbox(
        &mut self,
        spec: &SandboxSpec,
        now: Millis,
    ) -> Result<SandboxId, RuntimeError> {
        let same = |other: &ObservedSandbox| other.pod == spec.pod && other.attempt == spec.attempt;
        if self.sandboxes.values().any(same) {
            let name = format!("{}_POD_{}", spec.pod, spec.attempt);
            return Err(RuntimeError::NameTaken {
                step: Step::CreateSandbox,
                name,
            });
        }
        let ip = match spec.host_network {
            true => None,
            false => Some(self.free_address().ok_or_else(|| RuntimeError::Refused {
                step: Step::StartSandbox,
                message: format!("no available IPv4 addresses on {}", self.subnet),
            })?),
        };
        let id = SandboxId(self.id());
        let sandbox = ObservedSandbox {
            id: id.clone(),
            pod: spec.pod.clone(),
            attempt: spec.attempt,
            ip,
            running: true,
            host_network: spec.host_network,
            created_at: now,
        };
        self.sandboxes.insert(id.clone(), sandbox);
        self.wake(&spec.pod.uid);
        if let Err(err) = self.admit(Step::StartSandbox) {
            self.kill_sandbox(&id);
            return Err(err);
        }
        Ok(id)
    }

    pub(super) fn create(
        &mut self,
        spec: &ContainerSpec,
        now: Millis,
    ) -> Result<ContainerId, RuntimeError> {
        if self.images.find(&spec.image).is_none() {
            return Err(RuntimeError::ImageMissing {
                image: spec.image.clone(),
            });
        }
        let step = Step::CreateContainer;
        if self
            .containers
            .values()
            .any(|other| other.seen.container == spec.container)
        {
            let container = &spec.container;
            let name = format!("{}_{}_{}", container.pod, container.name, container.attempt);
            return Err(RuntimeError::NameTaken { step, name });
        }
        if !self.sandboxes.contains_key(&spec.sandbox) {
            let message = format!("No such container: {}", spec.sandbox);
            return Err(RuntimeError::Refused { step, message });
        }
        let id = ContainerId(self.id());
        let seen = ObservedContainer {
            id: id.clone(),
            container: spec.container.clone(),
            sandbox: spec.sandbox.clone(),
            image: spec.image.as_str().into(),
            image_id: images::id(&spec.image).into(),
            state: ContainerState::Created,
            spec_hash: spec.spec_hash.as_str().into(),
            created_at: now,
        };
        self.wake(&seen.container.pod.uid);
        self.containers.insert(
            id.clone(),
            Entry {
                seen,
                due: None,
                log: None,
            },
        );
        Ok(id)
    }

    pub(super) fn start(&mut self, id: &ContainerId, now: Millis) -> Result<(), RuntimeError> {
        let step = Step::StartContainer;
        let entry = self.containers.get_mut(id).ok_or_else(|| gone(step, id))?;
        match entry.seen.state {
            ContainerState::Created => {}
            ContainerState::Running { .. } => return Ok(()),
            ContainerState::Exited { .. } => {
                let message = "a container is started once".to_owned();
                return Err(RuntimeError::Refused { step, message });
            }
        }
        let sandbox = self.sandboxes.get(&entry.seen.sandbox);
        if !sandbox.is_some_and(|sandbox| sandbox.running) {
            let message = "cannot join network of a non running container".to_owned();
            return Err(RuntimeError::Refused { step, message });
        }
        let program = self
            .programs
            .get(&*entry.seen.image)
            .unwrap_or(&Program::Serve);
        let said = match program {
            Program::Unstartable(reason) => {
                return Err(RuntimeError::Refused {
                    step,
                    message: reason.clone(),
                });
            }
            Program::Serve | Program::Deaf => String::new(),
            Program::Exit { after, code, log } => {
                entry.due = Some((now.after(*after), *code));
                log.clone()
            }
        };
        entry.seen.state = ContainerState::Running { started_at: now };
        let uid = Arc::clone(&entry.seen.container.pod.uid);
        self.wake(&uid);
        self.write(id, LogStream::Stderr, &said, now);
        self.tick(now);
        Ok(())
    }

    pub(super) fn signal(
        &mut self,
        id: &ContainerId,
        signal: &str,
        now: Millis,
    ) -> Result<(), RuntimeError> {
        let Some(entry) = self.containers.get(id) else {
            return Ok(());
        };
        if entry.seen.state == ContainerState::Created {
            return Ok(());
        }
        let deaf = self.programs.get(&*entry.seen.image) == Some(&Program::Deaf);
        match signal {
            "SIGKILL" => self.exit(id, EXIT_SIGKILL, false, now),
            "SIGTERM" if !deaf => self.exit(id, EXIT_SIGTERM, false, now),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn remove_container(&mut self, id: &ContainerId) {
        if let Some(entry) = self.containers.remove(id) {
            self.wake(&entry.seen.container.pod.uid);
        }
    }

    pub(super) fn remove_sandbox(&mut self, id: &SandboxId) {
        if let Some(sandbox) = self.sandboxes.remove(id) {
            self.wake(&sandbox.pod.uid);
        }
    }

    pub(super) fn kill_sandbox(&mut self, id: &SandboxId) {
        if let Some(sandbox) = self.sandboxes.get_mut(id) {
            sandbox.running = false;
            sandbox.ip = None;
            let uid = Arc::clone(&sandbox.pod.uid);
            self.wake(&uid);
        }
    }

    /// Ends a container if it runs.
    pub(super) fn exit(&mut self, id: &ContainerId, code: i64, oom_killed: bool, now: Millis) {
        let Some(entry) = self.containers.get_mut(id) else {
            return;
        };
        let ContainerState::Running { started_at } = entry.seen.state else {
            return;
        };
        entry.seen.state = ContainerState::Exited {
            code,
            oom_killed,
            started_at,
            finished_at: now,
            error: "".into(),
        };
        entry.due = None;
        if let Some(log) = &entry.log {
            log.send_modify(|log| log.ended = true);
        }
        let uid = Arc::clone(&entry.seen.container.pod.uid);
        self.wake(&uid);
    }

    /// Ends what is due.
    pub(super) fn tick(&mut self, now: Millis) {
        let due: Vec<_> = self
            .containers
            .iter()
            .filter_map(|(id, entry)| entry.due.map(|(at, code)| (id.clone(), at, code)))
            .filter(|(_, at, _)| *at <= now)
            .collect();
        for (id, at, code) in due {
            self.exit(&id, code, false, at);
        }
    }

    pub(super) fn write(&mut self, id: &ContainerId, stream: LogStream, text: &str, now: Millis) {
        let Some(entry) = self.containers.get_mut(id) else {
            return;
        };
        let lines = text.lines().map(|line| Line {
            at: now,
            stream,
            text: Bytes::from(format!("{line}\n")),
        });
        if !text.is_empty() {
            entry.log().send_modify(|log| log.lines.extend(lines));
        }
    }

    pub(super) fn log(&mut self, id: &ContainerId) -> Result<watch::Receiver<Log>, RuntimeError> {
        let entry = self
            .containers
            .get_mut(id)
            .ok_or_else(|| gone(Step::Logs, id))?;
        Ok(entry.log().subscribe())
    }

    pub(super) fn exec(&self, id: &ContainerId) -> Result<ExecOutcome, RuntimeError> {
        let entry = self
            .containers
            .get(id)
            .ok_or_else(|| gone(Step::Exec, id))?;
        if !matches!(entry.seen.state, ContainerState::Running { .. }) {
            let message = "the container is not running".to_owned();
            return Err(RuntimeError::Gone {
                step: Step::Exec,
                id: id.to_string(),
                message,
            });
        }
        let scripted = self.execs.get(&*entry.seen.container.name).cloned();
        Ok(scripted.unwrap_or(ExecOutcome::Exited {
            code: 0,
            output: Bytes::new(),
        }))
    }

    pub(super) fn events(&mut self) -> Answers<Wake> {
        let wakes = self
            .wakes
            .get_or_insert_with(|| broadcast::Sender::new(WAKES))
            .subscribe();
        // Ends when the engine stops, and for a listener that was too slow: it has to list anyway.
        Box::pin(stream::unfold(wakes, |mut wakes| async {
            let wake = wakes.recv().await.ok()?;
            Some((Ok(wake), wakes))
        }))
    }

    fn wake(&self, uid: &Arc<str>) {
        if let Some(wakes) = &self.wakes {
            // An error means that nobody listens any more, which is nobody's fault.
            drop(wakes.send(Wake {
                pod_uid: Arc::clone(uid),
                ended: None,
            }));
        }
    }

    /// Another id: in the order they are given, as text.
    fn id(&mut self) -> Arc<str> {
        self.given = self.given.saturating_add(1);
        format!("{}-{:08}", self.node, self.given).into()
    }
}

impl Entry {
    fn log(&mut self) -> &watch::Sender<Log> {
        let ended = matches!(self.seen.state, ContainerState::Exited { .. });
        self.log.get_or_insert_with(|| {
            watch::Sender::new(Log {
                lines: Vec::new(),
                ended,
            })
        })
    }
}

fn gone(step: Step, id: &ContainerId) -> RuntimeError {
    RuntimeError::Gone {
        step,
        id: id.to_string(),
        message: format!("No such container: {id}"),
    }
}
