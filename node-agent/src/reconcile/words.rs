//! The last words of containers that died: their termination message, or the last lines of their
//! log. Read once per death, for the pod's status and for the event that people look at first.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use skiff_api::Millis;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use crate::desired::Desired;
use crate::events::Tone;
use crate::memory::LastWords;
use crate::plan::{exit_code, restart_due, will_restart};
use crate::runtime::{ContainerId, LogOptions, ObservedContainer, Runtime};
use crate::sight::Sights;
use crate::work::Tools;

/// Lines of a log that are kept as last words.
const LINES: u64 = 5;

/// Bytes that are kept; Kubernetes keeps 2048 of a log.
const BYTES_MAX: usize = 2048;

/// A file or log that takes longer to read is gone without: the pass waits for it.
const TIME_MAX: Duration = Duration::from_secs(2);

/// Deaths looked at in one pass; the rest has to wait for the next.
const DEATHS_MAX: usize = 32;

/// The last words of the dead.
#[derive(Default)]
pub(super) struct Words(LastWords);

impl Words {
    /// All that are known.
    pub(super) fn all(&self) -> &LastWords {
        &self.0
    }

    /// Reads the last words of those who died since the last pass, and tells of crashes.
    pub(super) async fn gather(
        &mut self,
        tools: &Tools,
        desired: &Desired,
        sights: &Sights,
        now: Millis,
    ) {
        let exists = |id: &ContainerId| sights.values().any(|sight| sight.by_id(id).is_some());
        self.0.retain(|id, _| exists(id));
        let new: Vec<&ObservedContainer> = sights
            .values()
            .flat_map(|sight| sight.all())
            .filter(|container| exit_code(container).is_some())
            .filter(|container| !self.0.contains_key(&container.id))
            .take(DEATHS_MAX)
            .collect();
        let read = join_all(new.iter().map(|container| read(tools, container))).await;
        for (container, words) in new.iter().zip(read) {
            tell(tools, desired, sights, (container, &words), now);
            self.0.insert(container.id.clone(), words);
        }
    }
}

async fn read(tools: &Tools, container: &ObservedContainer) -> Arc<str> {
    let id = &container.container;
    let file = tools
        .volumes
        .message_file(&id.pod.uid, &id.name, id.attempt);
    let left = tokio::time::timeout(TIME_MAX, message(file)).await;
    let left = left.ok().and_then(Result::ok).unwrap_or_default();
    if !left.is_empty() || exit_code(container) == Some(0) {
        return left.into();
    }
    let tail = tokio::time::timeout(TIME_MAX, tail(&*tools.runtime, &container.id)).await;
    tail.unwrap_or_default().into()
}

/// What the container left in its termination message file. It decides how long that is, so no
/// more is read than is kept.
async fn message(path: PathBuf) -> io::Result<String> {
    let mut kept = Vec::new();
    let mut file = File::open(path).await?.take(BYTES_MAX as u64);
    file.read_to_end(&mut kept).await?;
    Ok(String::from_utf8_lossy(&kept).trim_end().to_owned())
}

async fn tail(runtime: &dyn Runtime, id: &ContainerId) -> String {
    let options = LogOptions {
        tail: Some(LINES),
        ..LogOptions::default()
    };
    let mut chunks = runtime.logs(id, options);
    let mut bytes = Vec::new();
    while let Some(Ok(chunk)) = chunks.next().await {
        bytes.extend_from_slice(&chunk.bytes);
    }
    let start = bytes.len().saturating_sub(BYTES_MAX);
    String::from_utf8_lossy(bytes.get(start..).unwrap_or_default())
        .trim_end()
        .to_owned()
}

/// A crash that leads to a wait is an event, with the last line that was written.
fn tell(
    tools: &Tools,
    desired: &Desired,
    sights: &Sights,
    (container, words): (&ObservedContainer, &str),
    now: Millis,
) {
    let id = &container.container;
    let Some(pod) = desired
        .pods
        .get(&id.pod.uid)
        .filter(|pod| pod.deletion.is_none())
    else {
        return;
    };
    let (Some(part), Some(sight)) = (pod.part(&id.name), sights.get(&id.pod.uid)) else {
        return;
    };
    let is_latest = sight
        .latest(&id.name)
        .is_some_and(|latest| latest.id == container.id);
    let Some((_, due)) = restart_due(sight, &id.name, now) else {
        return;
    };
    if !is_latest || due <= now || !will_restart(pod, part, container) {
        return;
    }
    let code = exit_code(container).unwrap_or_default();
    let last = words
        .lines()
        .last()
        .map(|line| format!(": {line}"))
        .unwrap_or_default();
    let message = format!(
        "Back-off restarting failed container {} in pod {}_{}({}), exit code {code}{last}",
        id.name, id.pod.name, id.pod.namespace, id.pod.uid
    );
    tools
        .events
        .container((pod, &id.name), Tone::Warning, "BackOff", message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_is_cut_however_large_its_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let cases = [
            // name, text, length of the file, what is kept
            ("a short one", "done\n".to_owned(), 5, "done".to_owned()),
            ("none", String::new(), 0, String::new()),
            (
                "a file larger than the memory",
                "x".repeat(BYTES_MAX + 1),
                1 << 42,
                "x".repeat(BYTES_MAX),
            ),
        ];
        for (name, text, length, expected) in cases {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("a file");
            let file = std::fs::File::options().write(true).open(&path);
            file.and_then(|file| file.set_len(length)).expect("sparse");
            assert_eq!(message(path).await.expect("read"), expected, "{name}");
        }
        assert!(message(dir.path().join("missing")).await.is_err());
    }
}
