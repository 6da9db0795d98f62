//! Real `kubectl`s: which the machine has, and running them with nothing but our kubeconfig.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::skiff::{Said, run};

/// Where the versions lie that other packages bring along.
const FOLDERS: [&str; 3] = [
    "/usr/bin",
    "/usr/local/bin",
    "/usr/lib/google-cloud-sdk/bin",
];

/// One kubectl with a kubeconfig.
pub struct Kubectl {
    binary: PathBuf,
    /// Its version's second number: 31 for v1.31.4.
    pub minor: u32,
    kubeconfig: PathBuf,
    /// A home of its own: discovery caches must not go from one test to another.
    home: tempfile::TempDir,
}

impl Kubectl {
    /// Every version on this machine, oldest first; `$SKIFF_KUBECTL` names the only one to use.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn all(kubeconfig: &Path) -> Vec<Self> {
        let mut found: Vec<Self> = candidates()
            .into_iter()
            .filter_map(|binary| Some((minor(&binary)?, binary)))
            .map(|(minor, binary)| Self {
                binary,
                minor,
                kubeconfig: kubeconfig.to_owned(),
                home: tempfile::tempdir().expect("a temporary folder"),
            })
            .collect();
        found.sort_by_key(|kubectl| kubectl.minor);
        found.dedup_by_key(|kubectl| kubectl.minor);
        assert!(
            !found.is_empty(),
            "no kubectl: run the suites by `cargo xtask test`"
        );
        found
    }

    /// `kubectl ARGS…`; `line` is split at spaces.
    pub fn run(&self, line: &str) -> Said {
        self.args(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// `kubectl ARGS…` with arguments that contain spaces.
    pub fn args(&self, args: &[&str]) -> Said {
        run(self.command().args(args))
    }

    /// `kubectl ARGS…` with something on its standard input.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn piped(&self, line: &str, input: &str) -> Said {
        let mut command = self.command();
        command.args(line.split_whitespace());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("a pipe was asked for");
        stdin
            .write_all(input.as_bytes())
            .expect("kubectl reads its input");
        drop(stdin);
        let output = child.wait_with_output().expect("kubectl ends");
        Said::new(&command, &output)
    }

    /// The bare command, for a test that starts it by itself.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .env("HOME", self.home.path());
        command.env_remove("KUBECONFIG");
        command
    }
}

fn candidates() -> Vec<PathBuf> {
    if let Some(named) = std::env::var_os("SKIFF_KUBECTL") {
        return vec![PathBuf::from(named)];
    }
    let entries = FOLDERS
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten();
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_kubectl = |path: &PathBuf| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        name == "kubectl" || name.starts_with("kubectl.1.")
    };
    files.filter(is_kubectl).collect()
}

fn minor(binary: &Path) -> Option<u32> {
    let said = run(Command::new(binary).args(["version", "--client", "--output", "json"]));
    let version: Value = serde_json::from_str(&said.out).ok()?;
    // A dispatcher runs another version according to the server's, so it is none by itself.
    if version["clientVersion"]["gitVersion"]
        .as_str()?
        .contains("dispatcher")
    {
        return None;
    }
    let minor = version["clientVersion"]["minor"].as_str()?;
    minor.trim_end_matches('+').parse().ok()
}
