//! The answering side of a lane: every request runs by itself, and answers go back as they come.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use skiff_api::{Reason, Status};
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

use super::super::accept::{self, DRAIN_MAX, STREAMS_MAX};
use super::super::frame::{Frames, TooLong};
use super::super::{Inner, lock};
use super::record::{self, ANSWER_BYTES_MAX, ASKED_BYTES_MAX, Id};
use crate::http::reply;

/// While so many bytes of answers wait for the other side, no more requests are taken.
const ANSWERS_BYTES: usize = 4 << 20;

/// Answers that wait for the connection.
#[derive(Default)]
struct Answers {
    ready: Mutex<Ready>,
    arrived: Notify,
    taken: Notify,
}

#[derive(Default)]
struct Ready {
    bytes: Vec<u8>,
    over: bool,
}

/// The answer to a lane's request: it takes requests from its body until either side ends it.
pub(in crate::peers) fn serve(
    inner: Arc<Inner>,
    from: u64,
    requests: Incoming,
    router: Router,
) -> Response {
    let answers = Arc::new(Answers::default());
    let (tasks, ending) = (inner.tasks.clone(), Ending(answers.clone()));
    tasks.spawn(take(inner, from, requests, router, ending));
    Response::new(answers.body())
}

async fn take(inner: Arc<Inner>, from: u64, requests: Incoming, router: Router, answers: Ending) {
    let answers = &answers.0;
    let running = TaskTracker::new();
    let taken = AtomicU64::new(0);
    let wanted = || {
        let group = inner.group();
        group.is_some_and(|group| inner.refusal(from, group.as_ref()).is_none())
    };
    let until_unwanted = async {
        let mut members = inner.members.clone();
        while members.changed().await.is_ok() && wanted() {}
    };
    tokio::select! {
        () = take_requests(requests, &router, (answers, &running), &taken, wanted) => {}
        () = until_unwanted => {}
        () = inner.stop.cancelled() => {}
    }
    let untaken = taken.load(Ordering::Relaxed);
    answers.push(|out| record::append_end(untaken, out));
    running.close();
    // Those that take longer are lost.
    drop(tokio::time::timeout(DRAIN_MAX, running.wait()).await);
}

/// Takes requests for as long as they come and are wanted. A request that was not taken to its end is
/// not begun.
async fn take_requests(
    mut requests: Incoming,
    router: &Router,
    (answers, running): (&Arc<Answers>, &TaskTracker),
    taken: &AtomicU64,
    wanted: impl Fn() -> bool,
) {
    let room = Arc::new(Semaphore::new(STREAMS_MAX as usize));
    let mut frames = Frames::new(ASKED_BYTES_MAX);
    while let Some(Ok(frame)) = requests.frame().await
        && wanted()
    {
        frames.push(frame.data_ref().map_or(&[][..], |data| data));
        loop {
            let frame = match frames.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return tracing::warn!(%error, "a server's request cannot be read"),
            };
            let Some((id, request)) = record::read_request(frame) else {
                return tracing::warn!("a server's request cannot be read");
            };
            answers.wait_for_room().await;
            let Ok(turn) = room.clone().acquire_owned().await else {
                return;
            };
            taken.store(id.saturating_add(1), Ordering::Relaxed);
            let (router, answers) = (router.clone(), answers.clone());
            running.spawn(async move {
                answer(id, request, router, &answers).await;
                drop(turn);
            });
        }
    }
}

async fn answer(id: Id, request: Request<Bytes>, router: Router, answers: &Answers) {
    let answered = accept::forward(request.map(Body::from), router).await;
    let answered = collect(answered).await;
    answers.push(|out| {
        record::append_answer(id, &answered, out)
            .or_else(|_| record::append_answer(id, &too_large(), out))
    });
}

async fn collect(answered: Response) -> http::Response<Bytes> {
    let (parts, body) = answered.into_parts();
    match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
        Ok(body) => http::Response::from_parts(parts, body.to_bytes()),
        Err(_) => too_large(),
    }
}

fn too_large() -> http::Response<Bytes> {
    let message = "the answer is too large to be passed on; the request may have been carried out";
    let status = Status::failure(Reason::InternalError, message);
    let body = serde_json::to_vec(&status).unwrap_or_default();
    let mut answer = http::Response::new(body.into());
    *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    answer.headers_mut().insert(CONTENT_TYPE, reply::JSON);
    answer
}

impl Answers {
    fn push(&self, append: impl FnOnce(&mut Vec<u8>) -> Result<(), TooLong>) {
        {
            let mut ready = lock(&self.ready);
            if ready.over {
                // Nobody is there to take it.
                return;
            }
            if let Err(error) = append(&mut ready.bytes) {
                // The asking side hears of it at the end: without an answer it is lost.
                tracing::error!(%error, "an answer to a server was not sent");
            }
        }
        self.arrived.notify_one();
    }

    fn end(&self) {
        lock(&self.ready).over = true;
        self.arrived.notify_one();
    }

    async fn wait_for_room(&self) {
        while lock(&self.ready).is_full() {
            self.taken.notified().await;
        }
    }

    fn body(self: Arc<Self>) -> Body {
        let taker = Taker(self);
        Body::from_stream(stream::unfold(taker, |taker| async move {
            let frames = taker.0.frames().await?;
            Some((Ok::<_, Infallible>(frames), taker))
        }))
    }

    /// All that wait; nothing once it is over.
    async fn frames(&self) -> Option<Bytes> {
        loop {
            {
                let mut ready = lock(&self.ready);
                if !ready.bytes.is_empty() {
                    self.taken.notify_one();
                    return Some(std::mem::take(&mut ready.bytes).into());
                }
                if ready.over {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }
}

impl Ready {
    fn is_full(&self) -> bool {
        !self.over && self.bytes.len() > ANSWERS_BYTES
    }
}

/// Whoever gives answers. Without it there are no more.
struct Ending(Arc<Answers>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Whoever takes the answers. Once it is gone nobody has to wait for it.
struct Taker(Arc<Answers>);

impl Drop for Taker {
    fn drop(&mut self) {
        self.0.end();
        self.0.taken.notify_one();
    }
}
