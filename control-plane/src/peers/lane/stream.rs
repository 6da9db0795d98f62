//! The asking side of a lane's stream: frames that wait for the connection, and who waits for
//! which answer.

use std::collections::{HashMap, VecDeque};
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
    /// Requests that the connection has not taken yet, as frames, one after the other from `sent` on.
    /// One that nobody waits for any more is empty.
    unsent: VecDeque<Vec<u8>>,
    sent: Id,
    waiting: HashMap<Id, oneshot::Sender<Answered>>,
    /// No more requests are sent.
    closed: bool,
}

/// Why there will be no more answers.
enum End {
    /// The member took nothing that was sent.
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
        let (link, running) = (link.clone(), Running(opened.clone()));
        tokio::spawn(async move {
            let answers = running.0.take_answers(sender, request);
            let end = link.stop.run_until_cancelled(answers).await;
            let end = end.unwrap_or_else(|| End::Broken("its connection was closed".into()));
            if matches!(end, End::Unknown) {
                link.lane.forget();
            }
            running.0.close(&end);
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

    /// Sends a request; nothing if it is too large. Whoever stops waiting takes back a request that the
    /// connection has not taken yet; any other one has its effect.
    pub(super) fn ask(
        self: &Arc<Self>,
        request: &Request<Bytes>,
    ) -> Option<impl Future<Output = Answered> + use<>> {
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut state = lock(&self.state);
            let id = state.sent + state.unsent.len() as Id;
            let mut frame = Vec::new();
            record::append_request(id, request, &mut frame).ok()?;
            if state.closed {
                let unreachable = self.unreachable("its connection was closed".into());
                drop(answer.send(Err(unreachable)));
            } else {
                state.unsent.push_back(frame);
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
                let mut frames = std::mem::take(&mut state.unsent);
                state.sent += frames.len() as Id;
                let frames = frames.make_contiguous().concat();
                if !frames.is_empty() {
                    return Some(frames.into());
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
                if let Some(untaken) = record::read_end(&frame) {
                    self.give_back(untaken);
                    continue;
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

    /// The member takes none of the requests from this one on. Those before it may still be answered.
    fn give_back(&self, untaken: Id) {
        let given_back: Vec<_> = {
            let mut state = lock(&self.state);
            state.close();
            let waiting = &mut state.waiting;
            waiting.extract_if(|id, _| *id >= untaken).collect()
        };
        self.arrived.notify_one();
        for (_, answer) in given_back {
            let unreachable = self.unreachable("it takes no more requests".into());
            drop(answer.send(Err(unreachable)));
        }
    }

    /// Tells everybody who waits what became of their requests.
    fn close(&self, end: &End) {
        let (waiting, sent) = {
            let mut state = lock(&self.state);
            state.close();
            (std::mem::take(&mut state.waiting), state.sent)
        };
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

impl State {
    /// Ends the stream's request, once it is polled again.
    fn close(&mut self) {
        self.closed = true;
        self.unsent = VecDeque::new();
    }
}

/// Whoever takes answers. Without it nobody would ever be told.
struct Running(Arc<Stream>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0
            .close(&End::Broken("nobody takes its answers".into()));
    }
}

/// Somebody waits for an answer.
struct Waiting {
    stream: Arc<Stream>,
    id: Id,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = lock(&self.stream.state);
        let unanswered = state.waiting.remove(&self.id);
        let place = self.id.checked_sub(state.sent);
        let place = place.and_then(|place| usize::try_from(place).ok());
        let frame = place.and_then(|place| state.unsent.get_mut(place));
        if let (Some(_), Some(frame)) = (unanswered, frame) {
            *frame = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_is_taken_back_until_it_is_sent() {
        let stream = Arc::new(Stream {
            member: 2,
            state: Mutex::default(),
            arrived: Notify::new(),
        });
        let ask = |body: &'static str| {
            let request = Request::post("/api/a").body(body.into()).unwrap();
            stream.ask(&request).unwrap()
        };
        let (first, second, third) = (ask("first"), ask("second"), ask("third"));
        drop(second);
        let frames = stream.frames().await.unwrap();
        let text = String::from_utf8_lossy(&frames).into_owned();
        assert!(text.contains("first") && text.contains("third"));
        assert!(!text.contains("second"));
        stream.give_back(1);
        let given_back = third.await;
        let unreachable = matches!(given_back, Err(ForwardError::Unreachable { .. }));
        assert!(unreachable, "{given_back:?}");
        stream.close(&End::Broken("cut".into()));
        assert!(matches!(first.await, Err(ForwardError::Lost { .. })));
        assert!(stream.frames().await.is_none());
    }
}
