//! The Docker Engine as the tests see it: facts by `docker`, independent of Skiff's own client.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::skiff::{Said, run};

/// The label by which everything of one cluster is found.
pub const INSTANCE_LABEL: &str = "io.skiff.instance";
/// The label by which everything of a node is found.
pub const NODE_LABEL: &str = "io.skiff.node";

/// What test images can run beside a shell's own words.
const APPLETS: [&str; 12] = [
    "sh", "sleep", "cat", "echo", "true", "false", "mkdir", "rm", "wget", "nc", "httpd", "id",
];

/// How long removing what a test left may take.
const REMOVE_MAX: Duration = Duration::from_secs(30);

/// One Engine, by its socket.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    /// `unix:///path`, or nothing for the machine's own.
    pub host: Option<String>,
}

impl Engine {
    /// `docker ARGS…`.
    pub fn docker(&self, args: &[&str]) -> Said {
        run(self.command().args(args))
    }

    /// Ids of the containers with a label, by default only running ones.
    ///
    /// # Panics
    /// If the Engine does not answer.
    #[must_use]
    pub fn containers(&self, labels: &[&str], also_stopped: bool) -> Vec<String> {
        let mut command = self.command();
        command.args(["ps", "--quiet", "--no-trunc"]);
        if also_stopped {
            command.arg("--all");
        }
        for label in labels {
            command.args(["--filter", &format!("label={label}")]);
        }
        run(&mut command).ok().lines().map(str::to_owned).collect()
    }

    /// A fact of a container by a template of `docker inspect`.
    ///
    /// # Panics
    /// If there is no such container.
    #[must_use]
    pub fn inspect(&self, container: &str, template: &str) -> String {
        self.docker(&["inspect", "--format", template, container])
            .ok()
            .trim()
            .to_owned()
    }

    /// Ends containers as a crash would.
    ///
    /// # Panics
    /// If the Engine refuses.
    pub fn kill(&self, containers: &[String]) {
        for container in containers {
            // Whatever ended by itself in the meantime is what was wanted.
            let said = self.docker(&["kill", container]);
            let gone =
                said.err.contains("No such container") || said.err.contains("is not running");
            assert!(said.code == 0 || gone, "docker kill: {}", said.err);
        }
    }

    /// Removes all containers and networks with a label. Best effort within a bound: the test's own
    /// verdict must not be hidden by the clean-up's.
    pub fn remove(&self, label: &str) {
        let label = format!("label={label}");
        let began = Instant::now();
        for (list, remove) in [
            (
                ["ps", "--all", "--quiet"].as_slice(),
                ["rm", "--force", "--volumes"].as_slice(),
            ),
            (
                ["network", "ls", "--quiet"].as_slice(),
                ["network", "rm"].as_slice(),
            ),
        ] {
            loop {
                let found = run(self.command().args(list).args(["--filter", &label])).out;
                if found.trim().is_empty() || began.elapsed() > REMOVE_MAX {
                    break;
                }
                // The Engine refuses what it is about to remove already, and networks whose last
                // container is not quite gone: hence the loop.
                run(self.command().args(remove).args(found.lines()));
            }
        }
    }

    /// Makes an image with a static busybox and nothing else. A tag that exists is kept.
    ///
    /// # Panics
    /// If the machine has no static busybox, or the Engine refuses the image.
    pub fn busybox_image(&self, tag: &str) {
        if self.docker(&["image", "inspect", tag]).code == 0 {
            return;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).expect("make bin/");
        std::fs::copy(busybox(), bin.join("busybox")).expect("copy busybox");
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", bin.join(applet)).expect("link an applet");
        }
        let tar = Command::new("tar")
            .args(["-C"])
            .arg(folder.path())
            .args(["-c", "."])
            .output();
        let tar = tar.expect("tar runs").stdout;
        let mut import = self.command();
        import.args([
            "import",
            "--change",
            "CMD [\"/bin/sleep\", \"86400\"]",
            "-",
            tag,
        ]);
        let mut child = import
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("docker import starts");
        child
            .stdin
            .take()
            .expect("a pipe was asked for")
            .write_all(&tar)
            .expect("send the image");
        assert!(
            child.wait().expect("docker import ends").success(),
            "docker import {tag}"
        );
    }

    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        if let Some(host) = &self.host {
            command.args(["--host", host]);
        }
        command
    }
}

fn busybox() -> PathBuf {
    let candidates = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .expect("a static busybox is installed")
}
