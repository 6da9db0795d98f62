//! Why a runtime did not do what it was asked.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// What was being tried when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Connecting to the engine.
    Connect,
    /// Asking whether the engine is there.
    Ping,
    /// Asking what the engine is.
    Info,
    /// Listing containers.
    List,
    /// Bringing in the pause image.
    ImportPause,
    /// Making the node's network.
    CreateNetwork,
    /// Creating a pod's sandbox.
    CreateSandbox,
    /// Starting a pod's sandbox.
    StartSandbox,
    /// Removing a pod's sandbox.
    RemoveSandbox,
    /// Creating a container.
    CreateContainer,
    /// Starting a container.
    StartContainer,
    /// Stopping or signalling a container.
    StopContainer,
    /// Removing a container.
    RemoveContainer,
    /// Looking at images.
    InspectImage,
    /// Fetching an image.
    PullImage,
    /// Reading a container's log.
    Logs,
    /// Running a command in a container.
    Exec,
    /// Following the engine's events.
    Events,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect to the engine",
            Self::Ping => "ping the engine",
            Self::Info => "ask what the engine is",
            Self::List => "list containers",
            Self::ImportPause => "import the pause image",
            Self::CreateNetwork => "create the node's network",
            Self::CreateSandbox => "create sandbox",
            Self::StartSandbox => "start sandbox",
            Self::RemoveSandbox => "remove sandbox",
            Self::CreateContainer => "create container",
            Self::StartContainer => "start container",
            Self::StopContainer => "stop container",
            Self::RemoveContainer => "remove container",
            Self::InspectImage => "inspect image",
            Self::PullImage => "pull image",
            Self::Logs => "read the log",
            Self::Exec => "run a command",
            Self::Events => "follow events",
        })
    }
}

/// Why a runtime did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// No engine answers: nothing was done, and every other call will fail as well for now.
    #[error("{step}: the engine does not answer")]
    Unreachable {
        /// What was being tried.
        step: Step,
        /// What went wrong below.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The engine did not answer in time. What was asked may still happen.
    #[error("{step}: no answer within {after:?}")]
    TimedOut {
        /// What was being tried.
        step: Step,
        /// How long it was waited for.
        after: Duration,
    },
    /// The image to run is not on this machine.
    #[error("image {image:?} is not on this machine")]
    ImageMissing {
        /// The image's name.
        image: String,
    },
    /// That is not the name of an image (`InvalidImageName`).
    #[error("{image:?} is not a valid image name")]
    ImageName {
        /// What was given.
        image: String,
    },
    /// The image could not be fetched (`ErrImagePull`).
    #[error("{message}")]
    Pull {
        /// The image's name.
        image: String,
        /// The engine's or the registry's words.
        message: String,
    },
    /// A container of that name exists already.
    #[error("{step}: the name {name:?} is taken")]
    NameTaken {
        /// What was being tried.
        step: Step,
        /// The name that both wanted.
        name: String,
    },
    /// The container is not there, or not in a state for this.
    #[error("{step}: {id} is gone: {message}")]
    Gone {
        /// What was being tried.
        step: Step,
        /// The engine's id of the container.
        id: String,
        /// The engine's words.
        message: String,
    },
    /// The node has no network yet that the sandbox could be on.
    #[error("the node's pod network is not there yet")]
    NoNetwork,
    /// The engine said no (`CreateContainerError`, `RunContainerError`, by the step).
    #[error("{message}")]
    Refused {
        /// What was being tried.
        step: Step,
        /// The engine's words.
        message: String,
    },
    /// The engine's answer could not be read.
    #[error("{step}: an answer that cannot be read")]
    Unreadable {
        /// What was being tried.
        step: Step,
        /// What went wrong below.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl RuntimeError {
    /// What was being tried.
    #[must_use]
    pub const fn step(&self) -> Step {
        match self {
            Self::Unreachable { step, .. }
            | Self::TimedOut { step, .. }
            | Self::NameTaken { step, .. }
            | Self::Gone { step, .. }
            | Self::Refused { step, .. }
            | Self::Unreadable { step, .. } => *step,
            Self::ImageMissing { .. } => Step::CreateContainer,
            Self::NoNetwork => Step::CreateSandbox,
            Self::ImageName { .. } => Step::InspectImage,
            Self::Pull { .. } => Step::PullImage,
        }
    }
}
