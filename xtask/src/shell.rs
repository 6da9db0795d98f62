//! Starting other programs: each is shown before it runs, and each failure names what was run.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The outcome of a step that other steps wait for.
pub(crate) type Done<T = ()> = Result<T, Failure>;

/// Why a verb stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line makes no sense.
    Usage(String),
    /// A program could not be started at all.
    Start {
        command: String,
        source: std::io::Error,
    },
    /// A program ran and said no.
    Exit {
        command: String,
        status: std::process::ExitStatus,
        said: String,
    },
    /// Something has to be there that only the person can provide.
    Missing(String),
    /// What was to be shown did not happen.
    Broken(String),
    /// A file of our own could not be read or written.
    File {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Missing(text) | Self::Broken(text) => f.write_str(text),
            Self::Start { command, source } => write!(f, "start `{command}`: {source}"),
            Self::Exit {
                command,
                status,
                said,
            } if said.is_empty() => {
                write!(f, "`{command}`: {status}")
            }
            Self::Exit {
                command,
                status,
                said,
            } => write!(f, "`{command}`: {status}: {said}"),
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

/// Prints a line to the person.
#[expect(clippy::print_stdout, reason = "the one place where xtask talks")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Shows a command, then runs it with this terminal as its own.
///
/// # Errors
/// [`Failure::Start`] and [`Failure::Exit`].
pub(crate) fn run(command: &mut Command) -> Done {
    say(&format!("$ {}", shown(command)));
    let status = command.status().map_err(|source| start(command, source))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Exit {
        command: shown(command),
        status,
        said: String::new(),
    })
}

/// Runs a command in silence and returns what it printed, trimmed.
///
/// # Errors
/// [`Failure::Start`], and [`Failure::Exit`] with what it said on standard error.
pub(crate) fn read(command: &mut Command) -> Done<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| start(command, source))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Failure::Exit {
            command: shown(command),
            status: output.status,
            said,
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a command can be started and ends well; prints nothing.
pub(crate) fn works(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A command by its name and arguments.
pub(crate) fn command<const N: usize>(program: &str, args: [&str; N]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command
}

/// Cargo itself, the same one that started us, working in the repository's root.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    command(&cargo, args)
}

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Whether this run is a gate: nothing may be left out.
pub(crate) fn on_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false")
}

fn start(command: &Command, source: std::io::Error) -> Failure {
    Failure::Start {
        command: shown(command),
        source,
    }
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy();
    let args = command.get_args().map(|arg| arg.to_string_lossy());
    std::iter::once(name)
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Waits between two looks at something outside this process.
#[expect(
    clippy::disallowed_methods,
    reason = "another program's progress can only be polled"
)]
pub(crate) fn pause(time: std::time::Duration) {
    std::thread::sleep(time);
}
