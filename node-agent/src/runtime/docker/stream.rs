//! What flows for a while: logs, the output of commands, events.

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::EventMessage;
use bollard::query_parameters::{EventsOptionsBuilder, LogsOptionsBuilder};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::error::{Subject, classify, within};
use super::names::{Owner, UID};
use crate::runtime::{
    Answers, ContainerId, EXEC_OUTPUT_MAX, ExecOutcome, ExecSpec, LogChunk, LogOptions, LogStream,
    RuntimeError, Step, Wake,
};

/// Setting up a command or asking how it ended; the command's own time is the caller's.
const EXEC_CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The Engine closes a command's output a moment before it knows the exit code.
const EXIT_CODE_POLL: Duration = Duration::from_millis(10);

/// The changes that can alter what a list shows.
const EVENTS: [&str; 5] = ["create", "start", "oom", ENDED, "destroy"];
/// The one that says that a container's process is gone.
const ENDED: &str = "die";

/// A container's log.
pub(super) fn logs(docker: &Docker, id: &ContainerId, options: &LogOptions) -> Answers<LogChunk> {
    let tail = options
        .tail
        .map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    // The Engine's client takes whole seconds.
    let since = options.since.map_or(0, |at| {
        i32::try_from(at.0.div_euclid(1000)).unwrap_or(i32::MAX)
    });
    let query = LogsOptionsBuilder::default()
        .stdout(true)
        .stderr(true)
        .follow(options.follow)
        .timestamps(options.timestamps)
        .since(since)
        .tail(&tail)
        .build();
    let id = id.clone();
    let chunks = docker
        .logs(&id.0, Some(query))
        .map_err(move |err| classify(Step::Logs, Subject::Existing(&id.0), err))
        .map_ok(chunk);
    until_error(chunks)
}

fn chunk(output: LogOutput) -> LogChunk {
    match output {
        LogOutput::StdErr { message } => LogChunk {
            stream: LogStream::Stderr,
            bytes: message,
        },
        LogOutput::StdOut { message }
        | LogOutput::StdIn { message }
        | LogOutput::Console { message } => LogChunk {
            stream: LogStream::Stdout,
            bytes: message,
        },
    }
}

/// Wake-ups for this node's containers, from now on: what the Engine tells of, for as long as it is
/// there, and `ends` that are known otherwise.
pub(super) fn events(
    docker: &Docker,
    owner: &Owner,
    ends: impl Stream<Item = Wake> + Send + 'static,
) -> Answers<Wake> {
    let mut filters: HashMap<&str, Vec<String>> = owner.filter();
    filters.insert("type", vec!["container".to_owned()]);
    filters.insert("event", EVENTS.map(str::to_owned).to_vec());
    let query = EventsOptionsBuilder::default().filters(&filters).build();
    let wakes = docker
        .events(Some(query))
        .map_err(|err| classify(Step::Events, Subject::Engine, err))
        .try_filter_map(|event| std::future::ready(Ok(wake(event))));
    let last = stream::iter([None]);
    let wakes = until_error(wakes).map(Some).chain(last);
    let both = stream::select(wakes, ends.map(|end| Some(Ok(end))));
    Box::pin(both.scan((), |(), item| std::future::ready(item)))
}

fn wake(event: EventMessage) -> Option<Wake> {
    let actor = event.actor?;
    let ended = event.action.is_some_and(|action| action == ENDED);
    Some(Wake {
        pod_uid: actor.attributes?.remove(UID)?.into(),
        ended: actor.id.filter(|_| ended).map(|id| ContainerId(id.into())),
    })
}

/// Runs a command in a container.
pub(super) async fn exec(
    docker: &Docker,
    id: &ContainerId,
    spec: &ExecSpec,
) -> Result<ExecOutcome, RuntimeError> {
    let subject = Subject::Existing(&id.0);
    let deadline = Instant::now() + spec.timeout;
    let request = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(spec.command.clone()),
        ..CreateExecOptions::default()
    };
    // The Engine answers both calls before the command runs: a late answer is not the command's.
    let limit = spec.timeout.min(EXEC_CALL_TIMEOUT);
    let create = docker.create_exec(&id.0, request);
    let exec = within(Step::Exec, subject, limit, create).await?.id;
    let start = docker.start_exec(&exec, None);
    let started = within(Step::Exec, subject, limit, start).await?;
    let run = async {
        match started {
            StartExecResults::Attached {
                output,
                input: _input,
            } => collect(output).await,
            StartExecResults::Detached => Ok(Bytes::new()),
        }
    };
    let Ok(output) = tokio::time::timeout_at(deadline, run).await else {
        return Ok(ExecOutcome::TimedOut);
    };
    let output = output.map_err(|err| classify(Step::Exec, subject, err))?;
    loop {
        let inspect = docker.inspect_exec(&exec);
        let found = within(Step::Exec, subject, EXEC_CALL_TIMEOUT, inspect).await?;
        if let (Some(code), Some(false)) = (found.exit_code, found.running) {
            return Ok(ExecOutcome::Exited { code, output });
        }
        if Instant::now() >= deadline {
            return Ok(ExecOutcome::TimedOut);
        }
        tokio::time::sleep(EXIT_CODE_POLL).await;
    }
}

/// The start of a command's output; all of it is read, so that the command never blocks on us.
async fn collect(
    mut output: impl Stream<Item = Result<LogOutput, bollard::errors::Error>> + Unpin,
) -> Result<Bytes, bollard::errors::Error> {
    let mut kept = BytesMut::new();
    while let Some(chunk) = output.next().await {
        let chunk = chunk?.into_bytes();
        let room = EXEC_OUTPUT_MAX.saturating_sub(kept.len()).min(chunk.len());
        kept.extend_from_slice(&chunk.slice(..room));
    }
    Ok(kept.freeze())
}

/// The stream up to and including its first error.
fn until_error<T: Send + 'static>(
    stream: impl Stream<Item = Result<T, RuntimeError>> + Send + 'static,
) -> Answers<T> {
    Box::pin(stream.scan(false, |failed, item| {
        let ended = std::mem::replace(failed, item.is_err());
        std::future::ready((!ended).then_some(item))
    }))
}
