//! Small writes on their way to the leader: many on one stream of HTTP/2 that stays open, each a
//! frame. A stream for each would cost both servers more than the write itself. What could have been
//! carried out is never said to have had no effect.
//!
//! | file | what |
//! |---|---|
//! | `stream` | the asking side of one such stream |
//! | `serve` | the answering side |
//! | `record` | requests and answers as frames |

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response};
use tokio::time::{Duration, Instant};

use super::link::Link;
use super::{ForwardError, chain, lock};
use stream::Stream;

mod record;
pub(super) mod serve;
mod stream;

/// The stream's request.
pub(super) const PATH: &str = "/raft/requests";
/// What reads and writes objects: all else may have answers of another kind.
const OBJECTS: [&str; 2] = ["/api/", "/apis/"];
/// Bodies of at most so many bytes: larger ones would hold up those behind them.
const BODY_BYTES_MAX: usize = 64 << 10;
/// A server of an older version knows no lanes; after so long it may be another one.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);

/// The lane to one member. Opened when it is needed.
#[derive(Default)]
pub(super) struct Lane {
    open: Mutex<Option<Arc<Stream>>>,
    unknown_until: Mutex<Option<Instant>>,
}

/// Whether a request may go by a lane: it is small, and so is its answer.
fn carries(request: &Request<Bytes>) -> bool {
    let path = request.uri().path();
    matches!(
        *request.method(),
        Method::POST | Method::PUT | Method::PATCH
    ) && OBJECTS.iter().any(|objects| path.starts_with(objects))
        && request.body().len() <= BODY_BYTES_MAX
}

impl Lane {
    /// Sends a request to the member and returns its answer; nothing if it has to go another way.
    pub(super) async fn ask(
        &self,
        link: &Arc<Link>,
        request: &Request<Bytes>,
    ) -> Option<Result<Response<Bytes>, ForwardError>> {
        if !carries(request) || self.is_unknown() {
            return None;
        }
        let stream = match self.stream(link).await {
            Ok(stream) => stream,
            Err(unreachable) => return Some(Err(unreachable)),
        };
        // A head that is too large for a lane goes another way too.
        let asked = stream.ask(request)?;
        Some(asked.await)
    }

    fn is_unknown(&self) -> bool {
        lock(&self.unknown_until).is_some_and(|until| Instant::now() < until)
    }

    /// The member said that it knows no lanes.
    fn forget(&self) {
        *lock(&self.unknown_until) = Some(Instant::now() + UNKNOWN_FOR);
    }

    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        self.opened().is_some()
    }

    /// How many requests wait for their answers.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.opened().map_or(0, |stream| stream.waiting())
    }

    fn opened(&self) -> Option<Arc<Stream>> {
        lock(&self.open).clone().filter(|stream| stream.is_open())
    }

    async fn stream(&self, link: &Arc<Link>) -> Result<Arc<Stream>, ForwardError> {
        if let Some(stream) = self.opened() {
            return Ok(stream);
        }
        let sender = link.bulk().await;
        let sender = sender.map_err(|err| ForwardError::Unreachable {
            member: link.member,
            why: chain(&err),
        })?;
        // Others may have waited for the same connection.
        let mut open = lock(&self.open);
        let opened = open.as_ref().filter(|stream| stream.is_open());
        if let Some(stream) = opened {
            return Ok(stream.clone());
        }
        let stream = Stream::open(link, sender)?;
        *open = Some(stream.clone());
        Ok(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_writes_of_objects_go_by_lane() {
        let large = BODY_BYTES_MAX + 1;
        let cases = [
            ("POST", "/api/v1/namespaces/a/configmaps", 0, true),
            ("PATCH", "/apis/apps/v1/namespaces/a/deployments/b", 9, true),
            ("PUT", "/api/v1/nodes/a/status", BODY_BYTES_MAX, true),
            ("PUT", "/api/v1/nodes/a/status", large, false),
            ("DELETE", "/api/v1/namespaces/a/pods", 0, false),
            ("GET", "/api/v1/namespaces/a/pods", 0, false),
            ("POST", "/skiff/v1/join", 0, false),
            ("POST", "/apiary", 0, false),
        ];
        for (method, path, len, expected) in cases {
            let body = Bytes::from(vec![0; len]);
            let request = Request::builder().method(method).uri(path).body(body);
            assert_eq!(
                carries(&request.unwrap()),
                expected,
                "{method} {path} {len}"
            );
        }
    }
}
