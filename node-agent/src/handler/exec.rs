//! Commands in containers, and whose fault it is when one does not end well.

use std::time::Duration;

use super::{ANSWER_MAX, HandlerError, Target};
use crate::chain::Chain;
use crate::runtime::{ExecOutcome, ExecSpec, RuntimeError};

/// The runtime keeps the time itself, and knows who was late; beyond this it is the runtime.
pub(super) const SLACK: Duration = Duration::from_secs(5);

/// Runs a command; it succeeds with exit code 0.
pub(super) async fn run(
    target: &Target,
    command: &[String],
    limit: Duration,
) -> Result<(), HandlerError> {
    let exec = ExecSpec {
        command: command.to_vec(),
        timeout: limit,
    };
    let outcome = target.runtime.exec(&target.id, &exec).await;
    match outcome.map_err(|error| blame(&error))? {
        ExecOutcome::Exited { code: 0, .. } => Ok(()),
        ExecOutcome::Exited { code, output } => {
            let shown = output.get(..ANSWER_MAX).unwrap_or(&output);
            let words = String::from_utf8_lossy(shown).trim().to_owned();
            Err(HandlerError::Failed(if words.is_empty() {
                format!("command exited with {code}")
            } else {
                words
            }))
        }
        ExecOutcome::TimedOut => Err(HandlerError::Failed(format!(
            "command {:?} timed out after {}s",
            command.join(" "),
            limit.as_secs()
        ))),
    }
}

/// An engine that is away must not cost a container its life; one that says no, because there is
/// no such command for instance, has looked at the container.
fn blame(error: &RuntimeError) -> HandlerError {
    let words = Chain(error).to_string();
    match error {
        RuntimeError::Unreachable { .. }
        | RuntimeError::TimedOut { .. }
        | RuntimeError::Unreadable { .. }
        // An engine that was restarted meanwhile does not know the command any more; a container
        // that has ended is seen by the next look.
        | RuntimeError::Gone { .. } => HandlerError::Unknown(words),
        RuntimeError::Refused { .. }
        | RuntimeError::ImageMissing { .. }
        | RuntimeError::ImageName { .. }
        | RuntimeError::Pull { .. }
        | RuntimeError::NameTaken { .. }
        | RuntimeError::NoNetwork => HandlerError::Failed(words),
    }
}
