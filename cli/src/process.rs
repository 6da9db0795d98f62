//! What `dev`, `server` and `agent` share: logging, and when to stop.

use std::error::Error;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::error::CliError;
use crate::print;

/// What is logged unless `$SKIFF_LOG` says otherwise, in the syntax of tracing's filters.
const FILTER: &str = "info";

/// Sends the log to standard error: for people, or as JSON.
pub(crate) fn start_log(json: bool, default: &str) {
    let filter = EnvFilter::try_from_env("SKIFF_LOG")
        .or_else(|_| EnvFilter::try_new(default))
        .unwrap_or_else(|_| EnvFilter::new(FILTER));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(print::is_watched())
        .with_writer(std::io::stderr);
    // A second start in one process keeps the first log.
    let started = if json {
        log.json().try_init()
    } else {
        log.compact().try_init()
    };
    started.ok();
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn until_stopped() -> Result<(), CliError> {
    let failed = |source| process("cannot listen for signals", source);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// A part of the process failed.
pub(crate) fn process(
    doing: impl Into<String>,
    source: impl Error + Send + Sync + 'static,
) -> CliError {
    CliError::Process {
        doing: doing.into(),
        source: Box::new(source),
    }
}
