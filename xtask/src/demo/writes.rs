//! A stream of small writes by kubectl, as a person's script would make them: it stays with one
//! server until a write fails, then goes on with the next one's kubeconfig.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::shell::{self, Done, Failure, read};

/// Between two writes.
const PACE: Duration = Duration::from_millis(100);
/// An attempt that takes longer goes to the next server.
const ATTEMPT_MAX: &str = "--request-timeout=1s";
/// What is written to.
const OBJECT: &str = "beat";
/// How it begins. Applied and not created, since a new kubectl sends `create` in a form that is not
/// understood yet.
const MANIFEST: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: beat}\ndata: {beat: \"0\"}\n";
/// Where, in a field of it.
const FIELD: &str = "jsonpath={.data.beat}";

/// The stream at work.
pub(super) struct Writes {
    thread: JoinHandle<Told>,
    stop: Arc<AtomicBool>,
}

/// What came of a stream.
pub(super) struct Told {
    /// Writes that were acknowledged.
    pub(super) succeeded: u32,
    /// Attempts that were not.
    pub(super) failed: u32,
    /// Between the acknowledgements of two writes in a row.
    pub(super) longest_gap: Duration,
    /// The number in the last write that was acknowledged.
    last: u32,
}

impl Writes {
    /// Makes the object through the first kubeconfig, from a file in `folder`, and starts to write.
    ///
    /// # Errors
    /// The object can't be made.
    pub(super) fn start(folder: &Path, kubeconfigs: Vec<PathBuf>) -> Done<Self> {
        let first = kubeconfigs
            .first()
            .ok_or_else(|| Failure::Broken("no server to write to".to_owned()))?;
        let path = folder.join("beat.yaml");
        fs::write(&path, MANIFEST).map_err(|source| Failure::File {
            path: path.clone(),
            source,
        })?;
        read(kubectl(first).args(["apply", "-f"]).arg(&path))?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || write(&kubeconfigs, &told));
        Ok(Self { thread, stop })
    }

    /// Ends the stream, and makes sure that the last acknowledged write is what a server has.
    ///
    /// # Errors
    /// A write was acknowledged and is lost.
    pub(super) fn stop(self, kubeconfig: &Path) -> Done<Told> {
        self.stop.store(true, Ordering::Relaxed);
        let told = self
            .thread
            .join()
            .map_err(|_| Failure::Broken("the stream of writes broke off".to_owned()))?;
        let stored = read(kubectl(kubeconfig).args(["get", "configmap", OBJECT, "-o", FIELD]))?;
        read(kubectl(kubeconfig).args(["delete", "configmap", OBJECT]))?;
        // A write that was not acknowledged may have been made all the same.
        let kept = stored
            .parse::<u32>()
            .is_ok_and(|stored| stored >= told.last);
        if kept {
            return Ok(told);
        }
        let last = told.last;
        Err(Failure::Broken(format!(
            "write {last} was acknowledged, and a server has {stored:?}"
        )))
    }
}

fn write(kubeconfigs: &[PathBuf], stop: &AtomicBool) -> Told {
    let mut told = Told {
        succeeded: 0,
        failed: 0,
        longest_gap: Duration::ZERO,
        last: 0,
    };
    let mut last_success = Instant::now();
    let mut servers = kubeconfigs.iter().cycle().peekable();
    for number in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Some(kubeconfig) = servers.peek() else {
            break;
        };
        let patch = format!("{{\"data\":{{\"beat\":\"{number}\"}}}}");
        let line = ["patch", "configmap", OBJECT, "--patch", &patch];
        if shell::works(kubectl(kubeconfig).args(line)) {
            told.succeeded += 1;
            told.last = number;
            told.longest_gap = told.longest_gap.max(last_success.elapsed());
            last_success = Instant::now();
        } else {
            told.failed += 1;
            servers.next();
        }
        shell::pause(PACE);
    }
    // A stream that never recovered must not look like one that did.
    told.longest_gap = told.longest_gap.max(last_success.elapsed());
    told
}

fn kubectl(kubeconfig: &Path) -> Command {
    let mut kubectl = shell::command("kubectl", [ATTEMPT_MAX, "--namespace=default"]);
    kubectl.env("KUBECONFIG", kubeconfig);
    kubectl
}
