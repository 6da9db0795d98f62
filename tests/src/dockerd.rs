//! A Docker Engine of a test's own, beside the machine's: one that may be stopped.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::docker::Engine;
use crate::hosts::Hosts;
use crate::process::Process;
use crate::skiff::run;
use crate::wait;

const UP_MAX: Duration = Duration::from_secs(60);

/// A second dockerd with its own data, socket and containers.
pub struct Dockerd {
    process: Process,
    folder: tempfile::TempDir,
    /// The network namespace that it is in, if not this process's own.
    namespace: Option<PathBuf>,
}

/// What an Engine on a host finds there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// The machine forwards packets already.
    On,
    /// It does not yet: then the Engine turns it on, and drops all that it has not allowed.
    Off,
}

impl Dockerd {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// Without root, or if it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_in(None)
    }

    /// Starts one on a host, with a bridge and packet rules of its own as on any machine.
    ///
    /// # Panics
    /// Without root, or if it does not start.
    #[must_use]
    pub fn on(hosts: &Hosts, number: usize, forwarding: Forwarding) -> Self {
        let value = match forwarding {
            Forwarding::On => 1,
            Forwarding::Off => 0,
        };
        let set = format!("sysctl -qw net.ipv4.ip_forward={value}");
        let _nothing = hosts.ask(number, &set);
        Self::start_in(Some(hosts.namespace_file(number)))
    }

    fn start_in(namespace: Option<PathBuf>) -> Self {
        // A socket's path must be short.
        let folder = tempfile::Builder::new()
            .prefix("eng")
            .tempdir_in("/run")
            .expect("a folder");
        let process = launch(&folder, namespace.as_deref());
        let dockerd = Self {
            process,
            folder,
            namespace,
        };
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
        self.process = launch(&self.folder, self.namespace.as_deref());
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
        // dockerd mounts its data folder on itself, and containers' namespaces below the other.
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let folder = format!("{}/", self.folder.path().display());
        let of_ours = |line: &str| {
            let path = line.split(' ').nth(1)?;
            path.starts_with(&folder).then(|| path.to_owned())
        };
        let mut mounts: Vec<String> = mounts.lines().filter_map(of_ours).collect();
        mounts.sort_unstable_by(|a, b| b.cmp(a));
        for mount in mounts {
            run(Command::new("umount").arg("--lazy").arg(mount));
        }
    }
}

fn launch(folder: &tempfile::TempDir, namespace: Option<&std::path::Path>) -> Process {
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let config = path("daemon.json");
    std::fs::write(&config, "{}").expect("write an empty configuration");
    let mut command = match namespace {
        None => Command::new("dockerd"),
        Some(namespace) => {
            // Only the network's namespace: `ip netns exec` would hide the control groups.
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={}", namespace.display()));
            command.arg("dockerd");
            command
        }
    };
    command
        .arg("--host")
        .arg(format!("unix://{}", path("docker.sock").display()));
    command.arg("--config-file").arg(config);
    command.arg("--data-root").arg(path("data"));
    command.arg("--exec-root").arg(path("exec"));
    command.arg("--pidfile").arg(path("docker.pid"));
    if namespace.is_none() {
        // The machine's own Engine has docker0 and the firewall.
        command.args(["--bridge", "none", "--iptables=false", "--ip6tables=false"]);
    }
    command.args(["--cgroup-parent", "/skiff-test"]);
    Process::start("dockerd", &mut command, folder.path())
}
