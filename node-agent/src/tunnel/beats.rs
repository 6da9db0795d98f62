//! The heartbeats: a line at once, one per beat without end, and one as soon as the node has put
//! newer endpoints into effect.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use hyper::body::Frame;
use serde_json::json;
use skiff_api::Revision;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::runtime::RuntimeError;

/// Two lines that tell of newer endpoints are so far apart: rollouts change endpoints in bursts,
/// and a line that comes later says no less.
const APART: Duration = Duration::from_millis(50);

struct Beats {
    agent_id: String,
    seq: u64,
    pacer: Interval,
    applied: watch::Receiver<Revision>,
    last: Instant,
}

/// The lines of one connection. The first beat is due once the stream is first polled.
pub(super) fn stream(
    agent_id: String,
    pace: Duration,
    applied: watch::Receiver<Revision>,
) -> impl Stream<Item = Result<Frame<Bytes>, RuntimeError>> + Send + use<> {
    stream::unfold(None, move |beats| {
        let (agent_id, applied) = (agent_id.clone(), applied.clone());
        async move {
            let mut beats = beats.unwrap_or_else(|| Beats {
                agent_id,
                seq: 0,
                pacer: interval(pace),
                applied,
                last: Instant::now(),
            });
            let line = beats.next().await;
            Some((Ok(Frame::data(Bytes::from(line))), Some(beats)))
        }
    })
}

fn interval(pace: Duration) -> Interval {
    let mut pacer = tokio::time::interval(pace);
    // After a pause of the machine one beat is enough.
    pacer.set_missed_tick_behavior(MissedTickBehavior::Skip);
    pacer
}

impl Beats {
    async fn next(&mut self) -> String {
        tokio::select! {
            biased;
            _ = self.pacer.tick() => {}
            () = news(&mut self.applied, self.last + APART) => {}
        }
        let Revision(applied) = *self.applied.borrow_and_update();
        let mut line = json!({"agentId": self.agent_id, "seq": self.seq});
        if let (true, Some(fields)) = (applied > 0, line.as_object_mut()) {
            fields.insert("applied".into(), applied.into());
        }
        self.seq += 1;
        self.last = Instant::now();
        line.to_string() + "\n"
    }
}

/// Waits until something newer is in effect, and until it may be told.
async fn news(applied: &mut watch::Receiver<Revision>, soonest: Instant) {
    if applied.changed().await.is_err() {
        // Nobody here makes use of endpoints any more.
        std::future::pending().await
    }
    tokio::time::sleep_until(soonest).await;
}
