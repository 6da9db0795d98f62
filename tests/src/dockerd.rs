//! A Docker Engine of a test's own, beside the machine's: one that may be stopped.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::docker::Engine;
use crate::process::Process;
use crate::skiff::run;
use crate::wait;

const UP_MAX: Duration = Duration::from_secs(60);

/// A second dockerd with its own data, socket and containers.
pub struct Dockerd {
    process: Process,
    folder: tempfile::TempDir,
}

impl Dockerd {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// Without root, or if it does not start.
    #[must_use]
    pub fn start() -> Self {
        // A socket's path must be short.
        let folder = tempfile::Builder::new()
            .prefix("eng")
            .tempdir_in("/run")
            .expect("a folder");
        let process = launch(&folder);
        let dockerd = Self { process, folder };
        dockerd.wait();
        dockerd
    }

    /// Its API, for the harness.
    #[must_use]
    pub fn engine(&self) -> Engine {
        Engine {
            host: Some(self.url()),
        }
    }

    /// Its API, as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "unix://{}",
            self.folder.path().join("docker.sock").display()
        )
    }

    /// Stops it as an administrator would; it stops its containers first.
    pub fn stop(&mut self) {
        self.process.terminate(UP_MAX);
    }

    /// Starts it again on the same data.
    pub fn start_again(&mut self) {
        self.process = launch(&self.folder);
        self.wait();
    }

    fn wait(&self) {
        let engine = self.engine();
        wait::until("the second Engine answers", UP_MAX, || {
            engine
                .docker(&["version", "--format", "{{.Server.Version}}"])
                .result()
                .map(drop)
        });
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        if self.process.runs() {
            self.process.terminate(UP_MAX);
        }
        // dockerd mounts its data folder on itself.
        for mount in ["data", "exec"].map(|name| self.folder.path().join(name)) {
            run(Command::new("umount").arg("--lazy").arg(mount));
        }
    }
}

fn launch(folder: &tempfile::TempDir) -> Process {
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let config = path("daemon.json");
    std::fs::write(&config, "{}").expect("write an empty configuration");
    let mut command = Command::new("dockerd");
    command
        .arg("--host")
        .arg(format!("unix://{}", path("docker.sock").display()));
    command.arg("--config-file").arg(config);
    command.arg("--data-root").arg(path("data"));
    command.arg("--exec-root").arg(path("exec"));
    command.arg("--pidfile").arg(path("docker.pid"));
    // The machine's own Engine has docker0 and the firewall.
    command.args(["--bridge", "none", "--iptables=false", "--ip6tables=false"]);
    command.args(["--cgroup-parent", "/skiff-test"]);
    Process::start("dockerd", &mut command, folder.path())
}
