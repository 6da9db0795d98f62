//! Why a verb failed: one line for people, one exit code for scripts.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use skiff_api::manifest::{ManifestError, Place};
use skiff_client::{ClientError, ConfigError};

/// The exit code of `apply --wait` and `rollout status` when a workload has failed.
pub(crate) const EXIT_FAILED: u8 = 2;

/// The exit code of a wait whose time is over.
pub(crate) const EXIT_TIMEOUT: u8 = 3;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The command line asks for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// No cluster is configured.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A request failed.
    #[error("{}", server_says(.0))]
    Client(#[from] ClientError),
    /// A request about an object of a manifest failed.
    #[error("{place}: {}", server_says(source))]
    At {
        /// The object's place.
        place: Place,
        /// Why.
        source: ClientError,
    },
    /// A document of a manifest cannot be used.
    #[error("{place}: {message}")]
    Document {
        /// Its place.
        place: Place,
        /// Why.
        message: String,
    },
    /// A manifest cannot be understood.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file cannot be read or written.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// `read`, `write`, …
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// Standard output is gone: whoever read it has seen enough.
    #[error("standard output was closed")]
    Closed,
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Output(#[source] std::io::Error),
    /// A program cannot be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// Something waited for has failed.
    #[error("{0}")]
    Failed(String),
    /// Something waited for took too long; `code` differs from verb to verb, as in kubectl.
    #[error("{message}")]
    Timeout {
        /// What had not happened.
        message: String,
        /// The exit code.
        code: u8,
    },
    /// The async runtime cannot start.
    #[error("cannot start the program's threads")]
    Runtime(#[source] std::io::Error),
    /// A part of the process behind `dev`, `server` or `agent` failed.
    #[error("{doing}")]
    Process {
        /// What was attempted, as a sentence: `cannot listen on 0.0.0.0:6443`.
        doing: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The errors were printed one by one already.
    #[error("some of it failed")]
    Reported,
}

impl CliError {
    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Failed(_) => EXIT_FAILED,
            Self::Timeout { code, .. } => *code,
            Self::Usage(_)
            | Self::Config(_)
            | Self::Client(_)
            | Self::At { .. }
            | Self::Document { .. }
            | Self::Manifest(_)
            | Self::File { .. }
            | Self::Output(_)
            | Self::Run { .. }
            | Self::Runtime(_)
            | Self::Process { .. }
            | Self::Reported => 1,
        }
    }

    /// Whether there is nothing to tell: the reader left, or it was told already.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Self::Closed | Self::Reported)
    }

    /// One line: the error and its causes.
    pub(crate) fn line(&self) -> String {
        let mut line = self.to_string();
        if !line.starts_with("Error from server") {
            line.insert_str(0, "error: ");
        }
        let mut cause = self.source();
        // These carry a client's error as text and as source; its own cause comes next.
        if matches!(self, Self::At { .. } | Self::Client(_)) {
            cause = cause.and_then(Error::source);
        }
        while let Some(error) = cause {
            // Writing to a String cannot fail.
            _ = write!(line, ": {error}");
            cause = error.source();
        }
        line.replace('\n', " ")
    }
}

/// kubectl's words for an error of the server; the error's own words for all others.
fn server_says(error: &ClientError) -> String {
    let Some(status) = error.status() else {
        return error.to_string();
    };
    if status.reason.is_empty() {
        format!("Error from server: {}", status.message)
    } else {
        format!("Error from server ({}): {}", status.reason, status.message)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use skiff_api::{Key, Kind, Status};

    use super::*;

    #[test]
    fn errors_are_one_line_that_says_what_to_do() {
        let status = Status::not_found(Kind::Pod, &Key::new(Kind::Pod, "a", "front").name);
        let place = Place {
            file: Arc::from("web.yaml"),
            line: 7,
            column: None,
        };
        let refused = || ClientError::Unreachable {
            server: "https://127.0.0.1:6443".into(),
            source: io::Error::from(io::ErrorKind::ConnectionRefused),
        };
        let cases = [
            (
                CliError::Client(ClientError::Status(Box::new(status.clone()))),
                "Error from server (NotFound): pods \"front\" not found",
            ),
            (
                CliError::At {
                    place,
                    source: ClientError::Status(Box::new(status)),
                },
                "error: web.yaml:7: Error from server (NotFound): pods \"front\" not found",
            ),
            (
                CliError::Client(refused()),
                "error: cannot reach https://127.0.0.1:6443; check the address and that the \
                 server runs: connection refused",
            ),
            (
                CliError::Failed("rollout failed".into()),
                "error: rollout failed",
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(error.line(), expected);
        }
    }
}
