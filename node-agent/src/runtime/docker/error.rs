//! The Engine's refusals and failures, told apart.

use std::time::Duration;

use bollard::errors::Error;

use crate::runtime::{RuntimeError, Step};

/// What a call was about, for the errors that name it.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a> {
    /// Nothing in particular.
    Engine,
    /// An existing sandbox or container, by its id.
    Existing(&'a str),
    /// A container to be created: its name and its image.
    New { name: &'a str, image: &'a str },
}

/// Waits for an answer of the Engine, but not for longer than `limit`.
pub(super) async fn within<T>(
    step: Step,
    subject: Subject<'_>,
    limit: Duration,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, RuntimeError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|err| classify(step, subject, err)),
        Err(_) => Err(RuntimeError::TimedOut { step, after: limit }),
    }
}

/// Says what an error of the client means for the step that was tried.
pub(super) fn classify(step: Step, subject: Subject<'_>, err: Error) -> RuntimeError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the client's many errors of encoding and decoding all mean the same to us"
    )]
    match err {
        Error::DockerResponseServerError {
            status_code,
            message,
        } => refused(step, subject, status_code, message),
        Error::DockerStreamError { error } => RuntimeError::Refused {
            step,
            message: error,
        },
        Error::SocketNotFoundError(_)
        | Error::IOError { .. }
        | Error::HyperResponseError { .. }
        | Error::HyperLegacyError { .. }
        | Error::RequestTimeoutError => RuntimeError::Unreachable {
            step,
            source: Box::new(err),
        },
        other => RuntimeError::Unreadable {
            step,
            source: Box::new(other),
        },
    }
}

fn refused(step: Step, subject: Subject<'_>, status: u16, message: String) -> RuntimeError {
    match (status, subject) {
        (404, Subject::New { image, .. }) if message.contains("No such image") => {
            RuntimeError::ImageMissing {
                image: image.to_owned(),
            }
        }
        // A conflict of names, and not of options: the Engine answers 409 or 400 to those as well.
        (409, Subject::New { name, .. }) if message.contains("is already in use") => {
            RuntimeError::NameTaken {
                step,
                name: name.to_owned(),
            }
        }
        (404, Subject::Existing(id)) => RuntimeError::Gone {
            step,
            id: id.to_owned(),
            message,
        },
        // "is not running", "is not paused", "removal is already in progress".
        (409, Subject::Existing(id)) => RuntimeError::Gone {
            step,
            id: id.to_owned(),
            message,
        },
        (_, Subject::Engine | Subject::Existing(_) | Subject::New { .. }) => {
            RuntimeError::Refused { step, message }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::too_many_lines, reason = "a table, a row for each answer")]
    #[test]
    fn refusals_are_told_apart() {
        let new = Subject::New {
            name: "skiff_n1_a_b_c_1_0",
            image: "shop:9",
        };
        let old = Subject::Existing("abc");
        let cases = [
            (
                "no image",
                404,
                "No such image: shop:9",
                new,
                "image \"shop:9\" is not on this machine",
            ),
            (
                "name taken",
                409,
                "Conflict. The container name \"/x\" is already in use by container \"y\".",
                new,
                "create container: the name \"skiff_n1_a_b_c_1_0\" is taken",
            ),
            (
                "sandbox lost",
                404,
                "No such container: s1",
                new,
                "No such container: s1",
            ),
            (
                "network lost",
                404,
                "network n not found",
                new,
                "network n not found",
            ),
            (
                "no such",
                404,
                "No such container: abc",
                old,
                "create container: abc is gone: No such container: abc",
            ),
            (
                "not running",
                409,
                "Container abc is not running",
                old,
                "create container: abc is gone: Container abc is not running",
            ),
            ("bad", 400, "invalid mount", new, "invalid mount"),
            (
                "broken",
                500,
                "OCI runtime create failed",
                old,
                "OCI runtime create failed",
            ),
        ];
        for (name, status_code, message, subject, expected) in cases {
            let err = Error::DockerResponseServerError {
                status_code,
                message: message.into(),
            };
            let found = classify(Step::CreateContainer, subject, err);
            assert_eq!(found.to_string(), expected, "{name}");
        }
    }
}
