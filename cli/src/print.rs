//! The only place that writes to standard output and standard error.
//! A reader who leaves (`| head`) ends the verb quietly.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use crate::error::CliError;

/// Writes a line.
pub(crate) fn line(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    write(&mut out, text.as_bytes()).and_then(|()| write(&mut out, b"\n"))
}

/// Writes a text that has its own line ends.
pub(crate) fn text(text: &str) -> Result<(), CliError> {
    bytes(text.as_bytes())
}

/// Writes bytes, and at once: they may be part of a stream.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    write(&mut out, bytes)?;
    out.flush().map_err(failed)
}

fn write(out: &mut impl Write, bytes: &[u8]) -> Result<(), CliError> {
    out.write_all(bytes).map_err(failed)
}

fn failed(error: io::Error) -> CliError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        CliError::Closed
    } else {
        CliError::Output(error)
    }
}

/// Tells the user something that is not the answer.
#[expect(
    clippy::let_underscore_must_use,
    reason = "there is nobody left to tell"
)]
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Warns the user.
pub(crate) fn warning(text: &str) {
    let (on, off) = if coloured() {
        ("\x1b[33m", "\x1b[0m")
    } else {
        ("", "")
    };
    note(&format!("{on}Warning:{off} {text}"));
}

/// Tells the user why the verb failed.
pub(crate) fn error(error: &CliError) {
    if !error.is_silent() {
        note(&error.line());
    }
}

/// Answers a command line that is not understood, in one line, or one that asks for help.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return match text(&error.render().to_string()) {
            Ok(()) | Err(CliError::Closed) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    note(&usage_line(&error.render().to_string()));
    // Not clap's 2: that is the exit code of a rollout that failed.
    ExitCode::FAILURE
}

/// clap's paragraphs as one line; what follows under `Usage:` is what --help is for.
fn usage_line(text: &str) -> String {
    let told = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:"));
    let told: Vec<&str> = told.filter(|line| !line.is_empty()).collect();
    let line = told.join(" ");
    let line = line.replace("For more information, try '--help'.", "");
    format!("{}; see --help", line.trim_end())
}

/// Whether someone looks at standard error: only then is progress shown.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

fn coloured() -> bool {
    is_watched() && std::env::var_os("NO_COLOR").is_none()
}

/// One line on the terminal that is written over again and again.
#[derive(Default)]
pub(crate) struct Progress {
    shown: String,
}

impl Progress {
    /// Shows what goes on now: in place on a terminal, else as a line of its own per change.
    #[expect(
        clippy::let_underscore_must_use,
        reason = "there is nobody left to tell"
    )]
    pub(crate) fn show(&mut self, text: &str) {
        if text == self.shown {
            return;
        }
        if is_watched() {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K{text}");
        } else {
            note(text);
        }
        text.clone_into(&mut self.shown);
    }

    /// Removes what was shown from the terminal.
    #[expect(
        clippy::let_underscore_must_use,
        reason = "there is nobody left to tell"
    )]
    pub(crate) fn clear(&mut self) {
        if is_watched() && !self.shown.is_empty() {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K");
        }
        self.shown.clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn a_wrong_command_line_is_answered_in_one_line() {
        let cases = [
            (
                "apply",
                "error: the following required arguments were not provided: \
                --filename <FILE>; see --help",
            ),
            (
                "gett",
                "error: unrecognized subcommand 'gett' tip: some similar subcommands exist: 'set', \
                'agent', 'get'; see --help",
            ),
            (
                "get pods -o table",
                "error: invalid value 'table' for '--output <FORMAT>': no output \
                format \"table\"; use json, yaml, wide, name or jsonpath=TEMPLATE; see --help",
            ),
        ];
        for (words, expected) in cases {
            let words = ["skiff"].into_iter().chain(words.split(' '));
            let error = Cli::try_parse_from(words).unwrap_err();
            assert_eq!(usage_line(&error.render().to_string()), expected);
        }
    }
}
