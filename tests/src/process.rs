//! A child process that dies with the test, writes to a log file, and can be sent signals.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// The lines of a log that a failed test shows.
const TAIL_LINES: usize = 40;

/// Longest wait for a stop signal to reach every thread.
const FREEZE_MAX: Duration = Duration::from_secs(10);

/// A running (or ended) child.
pub struct Process {
    child: Child,
    log: PathBuf,
    name: String,
}

impl Process {
    /// Starts `command` with both its outputs appended to `folder/name.log`.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("open the log");
        let err = out.try_clone().expect("share the log");
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|why| panic!("start {command:?}: {why}"));
        Self {
            child,
            log,
            name: name.to_owned(),
        }
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the process is no longer there.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal)
            .unwrap_or_else(|why| panic!("signal {} {signal:?}: {why}", self.name));
    }

    /// Freezes it, and returns when none of its threads can do anything any more: the kernel stops
    /// them some time after it took the signal, the later the busier the machine is.
    ///
    /// # Panics
    /// If it doesn't stop within [`FREEZE_MAX`].
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        wait::until("every thread stands still", FREEZE_MAX, || {
            let states = self.thread_states();
            // Once one has stopped, all must; one that waits for the disk stops when it returns.
            let frozen = states.contains('T') && states.chars().all(|state| "TD".contains(state));
            if frozen { Ok(()) } else { Err(states) }
        });
    }

    /// A letter for each thread, as in proc(5): `R` runs, `S` sleeps, `D` waits for a disk, `T` is stopped.
    fn thread_states(&self) -> String {
        let folder = format!("/proc/{}/task", self.pid().as_raw_nonzero());
        let threads = fs::read_dir(folder).into_iter().flatten().flatten();
        let stats =
            threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
        stats
            .filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next())
            .collect()
    }

    /// Ends it at once, as the kernel would on a crash, and waits until it is gone.
    ///
    /// # Panics
    /// If it can't be waited for.
    pub fn kill(&mut self) {
        // An error here means that it has ended by itself.
        self.child.kill().unwrap_or_default();
        self.child.wait().expect("wait for a killed child");
    }

    /// Asks it to end, as an init system would, and waits for it.
    ///
    /// # Panics
    /// If it is still there after `limit`.
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended(limit)
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// If it is still there after `limit`.
    pub fn ended(&mut self, limit: Duration) -> ExitStatus {
        let fact = format!("{} has ended", self.name);
        wait::until(&fact, limit, || {
            self.child
                .try_wait()
                .expect("look at a child")
                .ok_or_else(|| "it runs".to_owned())
        })
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// If the kernel does not know it.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("look at a child").is_none()
    }

    /// Its process id.
    ///
    /// # Panics
    /// Never: the kernel gives no child the id 0.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines
                .get(lines.len().saturating_sub(TAIL_LINES)..)
                .unwrap_or_default();
            eprintln!("--- last lines of {}:\n{}\n---", self.name, tail.join("\n"));
        }
    }
}
