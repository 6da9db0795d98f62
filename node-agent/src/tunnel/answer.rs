//! Which request gets which answer on the reverse connection.

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use skiff_api::{Reason, Status};

use super::{Tunnel, beats, logs};
use crate::runtime::RuntimeError;

/// An answer as it goes over the wire.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, RuntimeError>>;

impl Tunnel {
    /// Answers one request; what streams goes on for as long as the other side reads.
    pub(super) fn answer(&self, request: &Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        if request.method() != Method::GET {
            let message = format!("{} is not understood here", request.method());
            return refusal(&Status::failure(Reason::MethodNotAllowed, message));
        }
        match parts.as_slice() {
            ["heartbeats"] => self.heartbeats(),
            ["healthz"] => whole(StatusCode::OK, "text/plain", Bytes::from_static(b"ok")),
            ["pods", _, name, uid, "log"] => {
                let query = request.uri().query().unwrap_or("");
                let asked = logs::Asked::parse(name, uid, query);
                match asked.and_then(|asked| self.open_log(&asked)) {
                    Ok(answer) => answer,
                    Err(status) => refusal(&status),
                }
            }
            _ => refusal(&Status::failure(
                Reason::NotFound,
                format!("nothing is at {path}"),
            )),
        }
    }

    fn heartbeats(&self) -> Answer {
        let beats = beats::stream(self.agent_id.clone(), self.heartbeat, self.applied.clone());
        let mut answer = Response::new(BodyExt::boxed_unsync(StreamBody::new(beats.boxed())));
        set_type(&mut answer, "application/json");
        answer
    }
}

/// An answer that is a failure.
fn refusal(status: &Status) -> Answer {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(status).unwrap_or_default();
    whole(code, "application/json", body.into())
}

fn whole(code: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let body = Full::new(body).map_err(|never| match never {});
    let mut answer = Response::new(BodyExt::boxed_unsync(body));
    *answer.status_mut() = code;
    set_type(&mut answer, content_type);
    answer
}

pub(super) fn set_type(answer: &mut Answer, content_type: &'static str) {
    let value = header::HeaderValue::from_static(content_type);
    answer.headers_mut().insert(header::CONTENT_TYPE, value);
}
