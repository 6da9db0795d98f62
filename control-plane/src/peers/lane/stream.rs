//! The asking side of a lane's stream: frames that wait for the connection, and who waits for
//! which answer.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use tokio::sync::{Notify, oneshot};

use super::super::frame::Frames;
use super::super::link::{Link, text_of};
use super::super::{ForwardError, chain, lock};
use super::PATH;
use super::record::{self, ANSWER_BYTES_MAX, Id};

type Answered = Result<Response<Bytes>, ForwardError>;

/// A stream that is open, or was.
pub(super) struct Stream {
    member: u64,
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    next: Id,
    /// Frames that the connection has not taken yet: those from `sent` on.
    unsent: Vec<u8>,
    sent: Id,
    waiting: HashMap<Id, oneshot::Sender<Answered>>,
    closed: bool,
}

/// Why there will be no more answers.
enum End {
    /// The member says that whatever it did not answer had no effect.
    Untaken(String),
    /// It knows no lanes.
    Unknown,
    /// What the connection took may have had its effect.
    Broken(String),
}

impl Stream {
    /// Opens a stream on a connection to the member.
    ///
    /// # Errors
    /// [`ForwardError::Unreachable`] if there is no such request.
    pub(super) fn open(
        link: &Arc<Link>,
        sender: SendRequest<Body>,
    ) -> Result<Arc<Self>, ForwardError> {
        let opened = Arc::new(Self {
            member: link.member,
            state: Mutex::default(),
            arrived: Notify::new(),
        });
        let request = link.request(Method::POST, PATH, opened.clone().asked());
        let request = request.map_err(|err| opened.unreachable(chain(&err)))?;
        let (link, running) = (link.clone(), opened.clone());
        tokio::spawn(async move {
            let answers = running.take_answers(sender, request);
            let end = link.stop.run_until_cancelled(answers).await;
            let end = end.unwrap_or_else(|| End::Broken("this server stops".into()));
            if matches!(end, End::Unknown) {
                link.lane.forget();
            }
            running.close(&end);
        });
        Ok(opened)
    }

    pub(super) fn is_open(&self) -> bool {
        !lock(&self.state).closed
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        lock(&self.state).waiting.len()
    }

    /// Sends a request; nothing if it is too large. Whoever stops waiting for the answer lets the
    /// request have its effect.
    pub(super) fn ask(
        self: &Arc<Self>,
        request: &Request<Bytes>,
    ) -> Option<impl Future<Output = Answered> + use<>> {
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut state = lock(&self.state);
            let id = state.next;
            record::append_request(id, request, &mut state.unsent).ok()?;
            state.next += 1;
            if state.closed {
                let unreachable = self.unreachable("its connection was closed".into());
                drop(answer.send(Err(unreachable)));
            } else {
                state.waiting.insert(id, answer);
            }
            id
        };
        self.arrived.notify_one();
        let waiting = Waiting {
            stream: self.clone(),
            id,
        };
        Some(async move {
            let answered = answered.await;
            let member = waiting.stream.member;
            answered.unwrap_or_else(|_| {
                let why = "nobody waited for its answer".into();
                Err(ForwardError::Lost { member, why })
            })
        })
    }

    fn unreachable(&self, why: String) -> ForwardError {
        let member = self.member;
        ForwardError::Unreachable { member, why }
    }

    /// The body of the stream's request.
    fn asked(self: Arc<Self>) -> Body {
        Body::from_stream(stream::unfold(self, |stream| async move {
            let frames = stream.frames().await?;
            Some((Ok::<_, Infallible>(frames), stream))
        }))
    }

    /// The next frames, all that wait; nothing once the stream is closed.
    async fn frames(&self) -> Option<Bytes> {
        loop {
            {
                let mut state = lock(&self.state);
                if state.closed {
                    return None;
                }
                if !state.unsent.is_empty() {
                    state.sent = state.next;
                    return Some(std::mem::take(&mut state.unsent).into());
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Hands out answers until there are no more.
    async fn take_answers(&self, mut sender: SendRequest<Body>, request: Request<Body>) -> End {
        let response = match sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut err) => {
                let unsent = err.take_message().is_some();
                let end = if unsent { End::Untaken } else { End::Broken };
                return end(chain(err.error()));
            }
        };
        match response.status() {
            StatusCode::OK => self.hand_out(response.into_body()).await,
            StatusCode::NOT_FOUND => End::Unknown,
            code => {
                let why = text_of(response.into_body()).await;
                End::Untaken(format!("it answered {code}: {why}"))
            }
        }
    }

    async fn hand_out(&self, mut body: Incoming) -> End {
        let mut frames = Frames::new(ANSWER_BYTES_MAX);
        loop {
            let bytes = match body.frame().await {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(err)) => return End::Broken(chain(&err)),
                None => return End::Broken("it ended the stream".into()),
            };
            frames.push(&bytes);
            loop {
                let frame = match frames.next() {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break,
                    Err(err) => return End::Broken(chain(&err)),
                };
                if frame.is_empty() {
                    return End::Untaken("it takes no more requests".into());
                }
                let Some((id, answer)) = record::read_answer(frame) else {
                    return End::Broken("an answer cannot be read".into());
                };
                let waiting = lock(&self.state).waiting.remove(&id);
                if let Some(waiting) = waiting {
                    // Who does not wait any more does not want it.
                    drop(waiting.send(Ok(answer)));
                }
            }
        }
    }

    /// Tells everybody who waits what became of their requests.
    fn close(&self, end: &End) {
        let (waiting, sent) = {
            let mut state = lock(&self.state);
            state.closed = true;
            state.unsent = Vec::new();
            (std::mem::take(&mut state.waiting), state.sent)
        };
        // Ends the request.
        self.arrived.notify_one();
        for (id, answer) in waiting {
            let outcome = match end {
                End::Broken(why) if id < sent => ForwardError::Lost {
                    member: self.member,
                    why: why.clone(),
                },
                End::Broken(why) | End::Untaken(why) => self.unreachable(why.clone()),
                End::Unknown => self.unreachable("it is of an older version".into()),
            };
            drop(answer.send(Err(outcome)));
        }
    }
}

/// Somebody waits for an answer.
struct Waiting {
    stream: Arc<Stream>,
    id: Id,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let forgotten = lock(&self.stream.state).waiting.remove(&self.id);
        drop(forgotten);
    }
}
