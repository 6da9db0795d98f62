//! Running the built `skiff` as a person would: arguments in; exit code and text out.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The binary under test: `$SKIFF_BIN`, or what the last release build left.
///
/// # Panics
/// If there is none; `cargo xtask test` builds it.
#[must_use]
pub fn binary() -> PathBuf {
    let built = || root().join("target/release/skiff");
    let path = std::env::var_os("SKIFF_BIN").map_or_else(built, PathBuf::from);
    assert!(
        path.is_file(),
        "no skiff at {}: run the suites by `cargo xtask test`",
        path.display()
    );
    path
}

/// The repository's root.
///
/// # Panics
/// Never: this package is in it.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in the repository")
}

/// What a finished command said.
#[derive(Debug)]
pub struct Said {
    /// The exit code; a death by signal is -1.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// The command line, for messages.
    pub line: String,
}

impl Said {
    /// Takes in a finished process.
    #[must_use]
    pub fn new(command: &Command, output: &Output) -> Self {
        let args = command
            .get_args()
            .map(|arg| arg.to_string_lossy().into_owned());
        let program = Path::new(command.get_program())
            .file_name()
            .unwrap_or_default();
        let line: Vec<String> = std::iter::once(program.to_string_lossy().into_owned())
            .chain(args)
            .collect();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            line: line.join(" "),
        }
    }

    /// The standard output of a command that must have gone well.
    ///
    /// # Panics
    /// If it did not.
    pub fn ok(self) -> String {
        let Self {
            code,
            out,
            err,
            line,
        } = self;
        assert!(
            code == 0,
            "`{line}` ended with {code}\nstdout: {out}\nstderr: {err}"
        );
        out
    }

    /// Standard output if it went well, else what it complained about.
    ///
    /// # Errors
    /// Standard error of a command that failed.
    pub fn result(self) -> Result<String, String> {
        if self.code == 0 {
            Ok(self.out)
        } else {
            Err(format!("`{}`: {}", self.line, self.err))
        }
    }

    /// The standard error of a command that must have failed.
    ///
    /// # Panics
    /// If it went well.
    pub fn refused(self) -> String {
        let Self {
            code,
            out,
            err,
            line,
        } = self;
        assert!(code != 0, "`{line}` should have failed\nstdout: {out}");
        err
    }
}

/// Runs a command to its end.
///
/// # Panics
/// If it can't be started.
pub fn run(command: &mut Command) -> Said {
    let output = command
        .output()
        .unwrap_or_else(|why| panic!("start {command:?}: {why}"));
    Said::new(command, &output)
}

/// `skiff ARGS…` with a kubeconfig; `line` is split at spaces.
///
/// # Panics
/// If it can't be started.
pub fn skiff(kubeconfig: &Path, line: &str) -> Said {
    let mut command = Command::new(binary());
    command
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(line.split_whitespace());
    run(command.current_dir(root()).env_remove("KUBECONFIG"))
}
