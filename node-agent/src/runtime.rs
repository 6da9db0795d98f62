//! What the agent needs from a machine that runs containers, and the words for it.
//!
//! Step 11 of the walk: `plan` decides, this does. Two implementations stand behind [`Runtime`]:
//! the Docker Engine, and a simulated one for tests, the simulator and the scale benchmark.
//!
//! An implementation never decides: it retries nothing, restarts nothing, and touches nothing that
//! does not carry this node's labels. It is the agent's only memory of what runs; whatever the
//! agent believes about containers comes from [`Runtime::list`].

pub mod docker;
mod error;
mod observed;
pub mod simulated;
mod spec;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use skiff_api::Millis;

pub use error::{RuntimeError, Step};
pub use observed::{
    ContainerState, EngineInfo, ImageInfo, ImageSummary, NodeNetwork, Observed, ObservedContainer,
    ObservedSandbox,
};
pub use spec::{
    Container, ContainerId, ContainerSpec, Credentials, HostAlias, Mount, NetworkSpec, PodRef,
    PortMapping, Protocol, Resources, SandboxId, SandboxSpec, Security,
};

/// An answer that is being waited for. Dropping it abandons the wait, not the work: the Engine may
/// still carry out what it was asked.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, RuntimeError>> + Send + 'a>>;

/// A sequence of answers; it ends after its first error.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, RuntimeError>> + Send>>;

/// Runs containers for one node.
///
/// Every call has its own bound in time and fails with [`RuntimeError::TimedOut`] beyond it. How
/// many calls are under way at once is the caller's business; about two starts per core is where
/// the Docker Engine stops gaining.
///
/// Calls that remove or stop are idempotent: what is already gone, or already stopped, is success.
pub trait Runtime: Send + Sync + 'static {
    /// What the engine and its machine are. Asked once at the start and rarely after: it is slow.
    fn info(&self) -> Answer<'_, EngineInfo>;

    /// Whether the engine answers at all. Cheap enough for every second.
    fn ping(&self) -> Answer<'_, ()>;

    /// Makes ready what every pod of the node needs: the pause image and the node's network, which
    /// is remembered: a sandbox that finds it lost makes it again.
    ///
    /// Idempotent. A network of the node with another range is replaced, and whatever is still on
    /// it is cut off; one that differs only in its packet size is replaced when nothing is on it.
    fn prepare<'a>(&'a self, network: &'a NetworkSpec) -> Answer<'a, NodeNetwork>;

    /// All sandboxes and containers of this node, running or not, ordered by creation.
    fn list(&self) -> Answer<'_, Observed>;

    /// Creates and starts the sandbox of a pod.
    ///
    /// # Errors
    /// [`RuntimeError::NameTaken`] if a sandbox of this pod and attempt exists: list and adopt it.
    /// [`RuntimeError::NoNetwork`] before [`Runtime::prepare`], unless it is on the machine's own
    /// network.
    /// A failure after the creation leaves a sandbox that is listed as not running.
    fn run_sandbox<'a>(&'a self, spec: &'a SandboxSpec) -> Answer<'a, SandboxId>;

    /// Creates a container in a running sandbox; [`Runtime::start_container`] sets it off. They are
    /// separate so that a crash in between leaves a created container to adopt, not a lost one.
    ///
    /// # Errors
    /// [`RuntimeError::ImageMissing`] if the image is not here, [`RuntimeError::NameTaken`] if this
    /// pod, container and attempt exists already.
    fn create_container<'a>(&'a self, spec: &'a ContainerSpec) -> Answer<'a, ContainerId>;

    /// Starts a created container. Starting a running one is success.
    fn start_container<'a>(&'a self, id: &'a ContainerId) -> Answer<'a, ()>;

    /// Sends the image's stop signal (SIGTERM if it names none), then SIGKILL after `grace`; returns
    /// when the container has ended.
    fn stop_container<'a>(&'a self, id: &'a ContainerId, grace: Duration) -> Answer<'a, ()>;

    /// Sends a signal, named as `SIGTERM`, and does not wait for its effect.
    fn signal_container<'a>(&'a self, id: &'a ContainerId, signal: &'a str) -> Answer<'a, ()>;

    /// Removes a container with its logs, by force if it runs.
    fn remove_container<'a>(&'a self, id: &'a ContainerId) -> Answer<'a, ()>;

    /// Kills the sandbox and removes it. Containers that are still in it lose their network: stop
    /// them before.
    fn remove_sandbox<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, ()>;

    /// The image under that name, if it is on this machine.
    ///
    /// # Errors
    /// [`RuntimeError::ImageName`] if that cannot be an image's name.
    fn image<'a>(&'a self, image: &'a str) -> Answer<'a, Option<ImageInfo>>;

    /// All tagged images on this machine, whoever brought them.
    fn images(&self) -> Answer<'_, Vec<ImageSummary>>;

    /// Fetches an image from its registry. A name without a tag or digest means `:latest`.
    ///
    /// # Errors
    /// [`RuntimeError::Pull`] carries the engine's own words.
    fn pull<'a>(
        &'a self,
        image: &'a str,
        credentials: Option<&'a Credentials>,
    ) -> Answer<'a, ImageInfo>;

    /// What a container wrote, oldest first; of a dead container as well, until it is removed.
    fn logs(&self, id: &ContainerId, options: LogOptions) -> Answers<LogChunk>;

    /// Runs a command in a running container and collects what it says.
    fn exec<'a>(&'a self, id: &'a ContainerId, exec: &'a ExecSpec) -> Answer<'a, ExecOutcome>;

    /// Wake-ups: one for each change the engine reports on this node's containers. A wake-up only
    /// says "look again". The stream ends when the engine goes away; opening it again, and listing
    /// once after that, is the caller's part.
    fn events(&self) -> Answers<Wake>;
}

/// Something about this node's containers changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wake {
    /// The uid of the pod it happened to.
    pub pod_uid: Arc<str>,
    /// The container, if what happened is that it ended. A list may go on showing it for a while.
    pub ended: Option<ContainerId>,
}

/// Which part of a container's log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Stay and deliver what is written later, until the container ends.
    pub follow: bool,
    /// Only the last so many lines; all if `None`.
    pub tail: Option<u64>,
    /// Only what was written at this time or later.
    pub since: Option<Millis>,
    /// Put the time of writing, RFC 3339 with nanoseconds, and a space before each line.
    pub timestamps: bool,
}

/// Some bytes of a container's log. A chunk may end anywhere; the engine mostly cuts at lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// Where they were written to. A container with a terminal has only stdout.
    pub stream: LogStream,
    /// The bytes, with their line ends.
    pub bytes: Bytes,
}

/// Where a container wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// A command to run in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecSpec {
    /// Program and arguments; no shell is put in between.
    pub command: Vec<String>,
    /// How long to wait for its end.
    pub timeout: Duration,
}

/// Bytes of a command's output that are kept; the rest is read and dropped.
pub const EXEC_OUTPUT_MAX: usize = 16 * 1024;

/// How a command in a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecOutcome {
    /// It ended by itself.
    Exited {
        /// Its exit code.
        code: i64,
        /// What it wrote to stdout and stderr, at most [`EXEC_OUTPUT_MAX`] bytes from the start.
        output: Bytes,
    },
    /// It still ran when the time was up. It is left alone: an engine offers no way to end it.
    TimedOut,
}
