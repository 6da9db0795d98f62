//! Resolvers outlive their agents, as they should; they must not outlive a test.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// How deep an agent's folder may lie: `dev/agents/NODE/dns`.
const DEPTH: usize = 4;

/// Ends the resolvers of all agents below a folder.
pub(super) fn end_all(folder: &Path) {
    for dir in found(folder, DEPTH) {
        if let Some(pid) = running(&dir) {
            // One that has just ended by itself is what was wanted.
            kill_process(pid, Signal::KILL).unwrap_or_default();
        }
    }
}

fn found(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let dirs = fs::read_dir(folder).into_iter().flatten().flatten();
    let dirs = dirs.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut all = Vec::new();
    for dir in dirs.map(|entry| entry.path()) {
        if dir.ends_with("dns") {
            all.push(dir);
        } else if depth > 1 {
            all.extend(found(&dir, depth - 1));
        }
    }
    all
}

/// The process of a folder, by its file and by its command line: ids are used again.
#[must_use]
pub(super) fn running(dir: &Path) -> Option<Pid> {
    let pid = fs::read_to_string(dir.join("pid")).ok()?;
    let line = fs::read(format!("/proc/{}/cmdline", pid.trim())).ok()?;
    let wanted = dir.as_os_str().as_encoded_bytes();
    let mut words = line.split(|byte| *byte == 0);
    let ours = words.any(|word| word == wanted);
    ours.then(|| pid.trim().parse().ok().and_then(Pid::from_raw))
        .flatten()
}
