//! A proxy under test: where it listens, and which processes it is.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Pid;
use skiff_tests::api::{Call, Connection};
use skiff_tests::cluster::{Cluster, free_address};
use skiff_tests::process::Process;
use skiff_tests::wait;

use super::SERVICES;
use crate::machine;

/// Until it answers, or has ended.
const UP_MAX: Duration = Duration::from_secs(20);

/// A proxy that runs.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    running: Running,
}

enum Running {
    Skiff(Box<Cluster>),
    Program(Program),
}

/// A program in the foreground, with its configuration in a folder of its own.
pub(super) struct Program {
    process: Process,
    // Dropped last: the process has files there.
    _folder: tempfile::TempDir,
}

impl Program {
    /// Starts a program of Debian's; `configure` writes what it needs into the folder and returns its
    /// arguments. Nothing if it is not installed.
    pub(super) fn start(path: &str, configure: impl FnOnce(&Path) -> Vec<String>) -> Option<Self> {
        let path = Path::new(path);
        if !path.is_file() {
            return None;
        }
        let name = path.file_name()?.to_string_lossy().into_owned();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let args = configure(folder.path());
        let process = Process::start(&name, Command::new(path).args(args), folder.path());
        Some(Self {
            process,
            _folder: folder,
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // By its own hand: nginx's workers would outlive a killed master.
        if self.process.runs() {
            self.process.terminate(UP_MAX);
        }
    }
}

impl Proxy {
    /// Skiff, whose server has a gateway at an address.
    pub(super) fn skiff(cluster: Cluster, address: SocketAddr) -> Self {
        let running = Running::Skiff(Box::new(cluster));
        Self { address, running }.up()
    }

    /// Another one.
    pub(super) fn program(program: Program, address: SocketAddr) -> Self {
        let running = Running::Program(program);
        Self { address, running }.up()
    }

    /// Waits until it leads to every service.
    fn up(self) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let address = self.address.to_string();
        wait::until("the proxy leads to every service", UP_MAX, || {
            runtime.block_on(async {
                let mut connection = Connection::plain(&address).await?;
                for service in SERVICES {
                    let call = Call::get(&format!("/{service}/up"));
                    let answer = connection.send(&call).await?;
                    if answer.status != 200 || !answer.body.starts_with(service.as_bytes()) {
                        return Err(format!("{}: {}", answer.status, self.log()));
                    }
                }
                Ok(())
            })
        });
        self
    }

    fn log(&self) -> String {
        match &self.running {
            Running::Skiff(cluster) => cluster.server.log(),
            Running::Program(program) => program.process.log(),
        }
    }

    /// All its processes.
    pub(super) fn family(&self) -> Vec<Pid> {
        machine::family(match &self.running {
            Running::Skiff(cluster) => cluster.server.pid(),
            Running::Program(program) => program.process.pid(),
        })
    }
}

/// An address for a proxy.
pub(super) fn address() -> SocketAddr {
    let address = free_address();
    address.parse().expect("a free address is one")
}
