//! What simulated containers and engines do of themselves, as tests say.

use std::time::Duration;

/// What the containers of an image do once they are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// Run until a signal ends them; SIGTERM does.
    Serve,
    /// Run until SIGKILL ends them.
    Deaf,
    /// Write and end by themselves.
    Exit {
        /// How long they run; with zero they have ended when their start returns.
        after: Duration,
        /// Their exit code.
        code: i64,
        /// What they write to stderr.
        log: String,
    },
    /// Cannot be started, for that reason.
    Unstartable(String),
}

/// How a call is to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// As if the engine were away.
    Unreachable,
    /// As if the engine took too long. What was asked has not happened.
    TimedOut,
    /// With these words.
    Refused(String),
}
