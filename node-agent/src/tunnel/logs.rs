//! `GET /pods/{namespace}/{name}/{uid}/log`: which container's output is meant, and the stream.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use skiff_api::{Kind, Millis, Reason, Status};

use super::Tunnel;
use super::answer::{Answer, set_type};
use crate::identity::wall_clock;
use crate::plan::{exit_code, will_restart};
use crate::pod::DesiredPod;
use crate::runtime::{ContainerId, LogOptions, RuntimeError};
use crate::sight::Sight;

/// Which log is asked for, and how much of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    name: String,
    uid: String,
    container: Option<String>,
    previous: bool,
    limit_bytes: Option<u64>,
    follow: bool,
    tail: Option<u64>,
    since_seconds: Option<u64>,
    since_time: Option<Millis>,
    timestamps: bool,
}

impl Asked {
    /// Reads path and query.
    ///
    /// # Errors
    /// A 400 `Status` for a parameter that cannot be read.
    pub(super) fn parse(name: &str, uid: &str, query: &str) -> Result<Self, Status> {
        let mut asked = Self {
            name: decode(name),
            uid: decode(uid),
            ..Self::default()
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value);
            if value.is_empty() {
                continue;
            }
            asked.set(key, &value).ok_or_else(|| {
                Status::failure(
                    Reason::BadRequest,
                    format!("{key}: Invalid value: {value:?}"),
                )
            })?;
        }
        Ok(asked)
    }

    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "container" => self.container = Some(value.to_owned()),
            "previous" => self.previous = flag(value)?,
            "follow" => self.follow = flag(value)?,
            "timestamps" => self.timestamps = flag(value)?,
            "tailLines" => self.tail = Some(value.parse().ok()?),
            "limitBytes" => self.limit_bytes = Some(value.parse().ok()?),
            "sinceSeconds" => self.since_seconds = Some(value.parse().ok()?),
            "sinceTime" => self.since_time = Some(Millis::parse(value)?),
            // What concerns only the server's side, such as `pretty`.
            _ => {}
        }
        Some(())
    }

    fn options(&self, now: Millis) -> LogOptions {
        let ago = self.since_seconds.map(|seconds| {
            let millis = i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
            Millis(now.0.saturating_sub(millis))
        });
        LogOptions {
            follow: self.follow,
            tail: self.tail,
            since: self.since_time.or(ago),
            timestamps: self.timestamps,
        }
    }

    /// The container that is meant.
    ///
    /// # Errors
    /// A `Status` in Kubernetes' words if there is none.
    fn choose(&self, pod: &DesiredPod, sight: &Sight) -> Result<ContainerId, Status> {
        let name = self.container_name(pod)?;
        let bad = |message: String| Status::failure(Reason::BadRequest, message);
        let Some(part) = pod.part(&name) else {
            return Err(bad(format!(
                "container {name} is not valid for pod {}",
                self.name
            )));
        };
        let [latest, before] = sight.started(&name);
        let Some(latest) = latest else {
            let waits = pod
                .known_status(&name)
                .and_then(|status| status.state.clone());
            let reason = waits
                .and_then(|state| state.waiting)
                .and_then(|waiting| waiting.reason);
            let reason = reason.unwrap_or_else(|| "ContainerCreating".into());
            return Err(bad(format!(
                "container {name:?} in pod {:?} is waiting to start: {reason}",
                self.name
            )));
        };
        if !self.previous {
            return Ok(latest.id.clone());
        }
        // While a container waits for its restart, the newest attempt is the previous one.
        let waits = exit_code(latest).is_some() && will_restart(pod, part, latest);
        let previous = if waits { Some(latest) } else { before };
        previous
            .map(|container| container.id.clone())
            .ok_or_else(|| {
                bad(format!(
                    "previous terminated container {name:?} in pod {:?} not found",
                    self.name
                ))
            })
    }

    fn container_name(&self, pod: &DesiredPod) -> Result<String, Status> {
        if let Some(name) = &self.container {
            return Ok(name.clone());
        }
        let names: Vec<&str> = pod.parts.iter().map(|part| &*part.name).collect();
        match names.as_slice() {
            [only] => Ok((*only).to_owned()),
            all => {
                let message = format!(
                    "a container name must be specified for pod {}, choose one of: [{}]",
                    self.name,
                    all.join(" ")
                );
                Err(Status::failure(Reason::BadRequest, message))
            }
        }
    }
}

impl Tunnel {
    /// Opens the log of a container.
    ///
    /// # Errors
    /// A `Status` if there is no such pod or container here.
    pub(super) fn open_log(&self, asked: &Asked) -> Result<Answer, Status> {
        let view = self.view.borrow().clone();
        let pod = view.desired.pods.get(&*asked.uid);
        let pod = pod.ok_or_else(|| Status::not_found(Kind::Pod, &asked.name))?;
        let missing = Sight::empty(pod.pod.clone());
        let sight = view.sights.get(&*asked.uid).unwrap_or(&missing);
        let id = asked.choose(pod, sight)?;
        let chunks = self.runtime.logs(&id, asked.options(wall_clock()));
        let left = asked.limit_bytes.unwrap_or(u64::MAX);
        let frames = stream::unfold((chunks, left), |(mut chunks, left)| async move {
            if left == 0 {
                return None;
            }
            match chunks.next().await? {
                Ok(chunk) => {
                    let most = usize::try_from(left).unwrap_or(usize::MAX);
                    let bytes = chunk.bytes.slice(..chunk.bytes.len().min(most));
                    let left = left.saturating_sub(bytes.len() as u64);
                    Some((
                        Ok::<Frame<Bytes>, RuntimeError>(Frame::data(bytes)),
                        (chunks, left),
                    ))
                }
                Err(error) => Some((Err(error), (chunks, 0))),
            }
        });
        let mut answer = Response::new(BodyExt::boxed_unsync(StreamBody::new(frames.boxed())));
        set_type(&mut answer, "text/plain");
        Ok(answer)
    }
}

fn flag(value: &str) -> Option<bool> {
    match value {
        "true" | "1" | "True" => Some(true),
        "false" | "0" | "False" => Some(false),
        _ => None,
    }
}

/// Undoes percent-encoding; what is not encoded properly stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let code = after
            .get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (code, after.get(2..)) {
            (Some(byte), Some(behind)) => {
                bytes.push(byte);
                rest = behind;
            }
            _ => {
                bytes.push(b'%');
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
