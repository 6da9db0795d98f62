//! A runtime that runs nothing: pods as entries in memory, for tests, the simulator and the scale
//! benchmark.
//!
//! It obeys the same rules as an Engine (names are unique, a container needs a running sandbox, it
//! is started once) and changes only when it is told to: by a call of the trait, by its controls
//! here, or by its clock, which the caller owns. Nothing in it waits for real time.

mod images;
mod log;
mod program;
mod world;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream;
use skiff_api::Millis;
use tokio::sync::watch;

use super::{
    Answer, Answers, ContainerId, ContainerSpec, Credentials, EngineInfo, ExecOutcome, ExecSpec,
    ImageInfo, ImageSummary, LogChunk, LogOptions, LogStream, NetworkSpec, NodeNetwork, Observed,
    Runtime, RuntimeError, SandboxId, SandboxSpec, Step, Wake,
};
pub use images::Images;
pub use program::{Fault, Program};
use world::World;

/// One simulated node's containers.
///
/// A clone of the `Arc` it is kept in survives the agent, as an Engine does: that is how tests
/// restart agents.
pub struct SimRuntime {
    // A std mutex: held for one step of memory, never across an await.
    world: Mutex<World>,
    clock: Box<dyn Fn() -> Millis + Send + Sync>,
    info: Arc<EngineInfo>,
    /// The steps whose calls hang.
    held: watch::Sender<BTreeSet<Step>>,
}

impl SimRuntime {
    /// An empty node. `node` begins the ids of its containers; `clock` is asked for the time of
    /// every change.
    pub fn new(
        node: &str,
        info: Arc<EngineInfo>,
        images: Images,
        clock: impl Fn() -> Millis + Send + Sync + 'static,
    ) -> Self {
        Self {
            world: Mutex::new(World::new(node, images)),
            clock: Box::new(clock),
            info,
            held: watch::Sender::default(),
        }
    }

    /// A machine of `cpus` processors and `memory_bytes` to put pods on.
    #[must_use]
    pub fn machine(cpus: u32, memory_bytes: u64) -> EngineInfo {
        EngineInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            runtime_name: "simulated".to_owned(),
            os: "linux".to_owned(),
            os_image: "simulated".to_owned(),
            arch: "amd64".to_owned(),
            kernel: "simulated".to_owned(),
            cpus,
            memory_bytes,
            root_dir: "/nowhere".to_owned(),
            storage_driver: "simulated".to_owned(),
            cgroup_version: 2,
        }
    }

    /// Says what containers of an image do once they are started; without a word they run until
    /// they are stopped.
    pub fn program(&self, image: &str, program: Program) {
        self.lock().programs.insert(image.to_owned(), program);
    }

    /// Says which images there are from now on.
    pub fn set_images(&self, images: Images) {
        self.lock().images = images;
    }

    /// Says what commands find in every container of that name; without a word they end with 0.
    pub fn answer_exec(&self, container: &str, outcome: ExecOutcome) {
        self.lock().execs.insert(container.to_owned(), outcome);
    }

    /// Ends a running container.
    pub fn exit(&self, id: &ContainerId, code: i64, oom_killed: bool) {
        let now = (self.clock)();
        self.lock().exit(id, code, oom_killed, now);
    }

    /// Ends a sandbox, as if its pause process had been killed.
    pub fn kill_sandbox(&self, id: &SandboxId) {
        self.lock().kill_sandbox(id);
    }

    /// Lets a container write lines to its log.
    pub fn write(&self, id: &ContainerId, stream: LogStream, lines: &str) {
        let now = (self.clock)();
        self.lock().write(id, stream, lines, now);
    }

    /// Ends what is due by the clock. Every call does so as well; this is for waking the listeners
    /// of events after the clock was moved.
    pub fn tick(&self) {
        let now = (self.clock)();
        self.lock().tick(now);
    }

    /// Lets the next call of `step` fail.
    pub fn fail_next(&self, step: Step, fault: Fault) {
        self.lock().faults.entry(step).or_default().push_back(fault);
    }

    /// Lets calls of `step` hang until [`SimRuntime::release`].
    pub fn hold(&self, step: Step) {
        self.held.send_modify(|held| _ = held.insert(step));
    }

    /// Lets the calls of `step` that hang, and all later ones, go on.
    pub fn release(&self, step: Step) {
        self.held.send_modify(|held| _ = held.remove(&step));
    }

    /// Stops the engine: every call fails and streams end until [`SimRuntime::start_engine`].
    /// Containers go on.
    pub fn stop_engine(&self) {
        self.lock().stop();
    }

    /// Starts the engine again.
    pub fn start_engine(&self) {
        self.lock().down = false;
    }

    /// How often `step` was tried so far, successful or not.
    #[must_use]
    pub fn calls(&self, step: Step) -> u64 {
        self.lock().calls.get(&step).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call of the trait: waits while it is held, fails if it must, and acts.
    fn call<'a, T: Send + 'a>(
        &'a self,
        step: Step,
        act: impl FnOnce(&mut World, Millis) -> Result<T, RuntimeError> + Send + 'a,
    ) -> Answer<'a, T> {
        Box::pin(async move {
            self.lock().count(step);
            let mut held = self.held.subscribe();
            // The sender is ours, so the wait cannot end for want of one.
            drop(held.wait_for(|held| !held.contains(&step)).await);
            let now = (self.clock)();
            let mut world = self.lock();
            world.admit(step)?;
            world.tick(now);
            act(&mut world, now)
        })
    }
}

impl Runtime for SimRuntime {
    fn info(&self) -> Answer<'_, EngineInfo> {
        self.call(Step::Info, |_, _| Ok(EngineInfo::clone(&self.info)))
    }

    fn ping(&self) -> Answer<'_, ()> {
        self.call(Step::Ping, |_, _| Ok(()))
    }

    fn prepare<'a>(&'a self, network: &'a NetworkSpec) -> Answer<'a, NodeNetwork> {
        self.call(Step::CreateNetwork, |world, _| Ok(world.prepare(network)))
    }

    fn list(&self) -> Answer<'_, Observed> {
        self.call(Step::List, |world, _| Ok(world.list()))
    }

    fn run_sandbox<'a>(&'a self, spec: &'a SandboxSpec) -> Answer<'a, SandboxId> {
        self.call(Step::CreateSandbox, |world, now| {
            world.run_sandbox(spec, now)
        })
    }

    fn create_container<'a>(&'a self, spec: &'a ContainerSpec) -> Answer<'a, ContainerId> {
        self.call(Step::CreateContainer, |world, now| world.create(spec, now))
    }

    fn start_container<'a>(&'a self, id: &'a ContainerId) -> Answer<'a, ()> {
        self.call(Step::StartContainer, |world, now| world.start(id, now))
    }

    /// The grace passes in no time: a container that ignores the signal has ended when this
    /// returns, and its end is dated after the grace.
    fn stop_container<'a>(&'a self, id: &'a ContainerId, grace: Duration) -> Answer<'a, ()> {
        self.call(Step::StopContainer, move |world, now| {
            world.signal(id, "SIGTERM", now)?;
            world.signal(id, "SIGKILL", now.after(grace))
        })
    }

    fn signal_container<'a>(&'a self, id: &'a ContainerId, signal: &'a str) -> Answer<'a, ()> {
        self.call(Step::StopContainer, |world, now| {
            world.signal(id, signal, now)
        })
    }

    fn remove_container<'a>(&'a self, id: &'a ContainerId) -> Answer<'a, ()> {
        self.call(Step::RemoveContainer, |world, _| {
            world.remove_container(id);
            Ok(())
        })
    }

    fn remove_sandbox<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, ()> {
        self.call(Step::RemoveSandbox, |world, _| {
            world.remove_sandbox(id);
            Ok(())
        })
    }

    fn image<'a>(&'a self, image: &'a str) -> Answer<'a, Option<ImageInfo>> {
        self.call(Step::InspectImage, |world, _| Ok(world.images.find(image)))
    }

    fn images(&self) -> Answer<'_, Vec<ImageSummary>> {
        self.call(Step::InspectImage, |world, _| Ok(world.images.list()))
    }

    fn pull<'a>(
        &'a self,
        image: &'a str,
        _credentials: Option<&'a Credentials>,
    ) -> Answer<'a, ImageInfo> {
        self.call(Step::PullImage, |world, _| world.images.pull(image))
    }

    fn logs(&self, id: &ContainerId, options: LogOptions) -> Answers<LogChunk> {
        let mut world = self.lock();
        match world.admit(Step::Logs).and_then(|()| world.log(id)) {
            Ok(log) => log::read(log, &options),
            Err(err) => Box::pin(stream::iter([Err(err)])),
        }
    }

    fn exec<'a>(&'a self, id: &'a ContainerId, _exec: &'a ExecSpec) -> Answer<'a, ExecOutcome> {
        self.call(Step::Exec, |world, _| world.exec(id))
    }

    fn events(&self) -> Answers<Wake> {
        let mut world = self.lock();
        match world.admit(Step::Events) {
            Ok(()) => world.events(),
            Err(err) => Box::pin(stream::iter([Err(err)])),
        }
    }
}

#[cfg(test)]
mod tests;
