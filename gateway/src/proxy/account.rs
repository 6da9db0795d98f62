//! What is told of a request: counted when its answer begins, logged when its answer ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::header::HeaderValue;
use http::request::Parts;
use http::{StatusCode, Version};

use super::{Connection, Refusal, headers};
use crate::access_log::Entry;
use crate::live::LiveRoute;
use crate::metrics;
use crate::serve::{Activity, Turn};

/// The account of one request; a connection is busy for as long as one of its accounts is open.
pub(crate) struct Account {
    connection: Arc<Connection>,
    began: Instant,
    live: Option<Arc<LiveRoute>>,
    version: metrics::Version,
    /// Whether that was chosen, and not what a request has that came to no choice.
    is_chosen: bool,
    sent_bytes: u64,
    request_id: HeaderValue,
    /// Whether the client can hold up this answer by itself.
    is_http2: bool,
    /// While it does.
    waiting: Option<Turn>,
    /// Only if somebody reads the log.
    entry: Option<Box<Entry>>,
}

impl Account {
    pub(super) fn begin(connection: &Arc<Connection>, head: &Parts) -> Self {
        connection.activity.begin();
        let request_id = headers::request_id(&head.headers)
            .unwrap_or_else(|| headers::new_request_id(rand::random()));
        let entry = connection.worker.shared.log.as_ref().map(|_| {
            let entry = Entry::begin(connection.client, connection.via.tls, head, &request_id);
            Box::new(entry)
        });
        Self {
            connection: Arc::clone(connection),
            began: Instant::now(),
            live: None,
            version: metrics::Version::Stable,
            is_chosen: false,
            sent_bytes: 0,
            request_id,
            is_http2: head.version == Version::HTTP_2,
            waiting: None,
            entry,
        }
    }

    pub(super) fn request_id(&self) -> HeaderValue {
        self.request_id.clone()
    }

    pub(super) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.connection.activity)
    }

    pub(super) fn routed(&mut self, live: &Arc<LiveRoute>) {
        self.live = Some(Arc::clone(live));
        if let Some(entry) = &mut self.entry {
            entry.route = Some(live.route.ingress.to_string());
        }
    }

    pub(super) fn version(&mut self, version: metrics::Version) {
        self.version = version;
        self.is_chosen = true;
        if let Some(entry) = &mut self.entry {
            entry.canary = version == metrics::Version::Canary;
        }
    }

    /// A try goes to an endpoint.
    pub(super) fn tried(&mut self, endpoint: std::net::SocketAddr) {
        if let Some(entry) = &mut self.entry {
            entry.tries += 1;
            entry.endpoint = Some(endpoint);
        }
    }

    /// It is tried again.
    pub(super) fn retried(&self) {
        if let Some(live) = &self.live {
            live.stats.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The head of an answer is there.
    pub(super) fn answered(&mut self, code: StatusCode) {
        let after = self.began.elapsed();
        self.connection.worker.shared.totals.answered(code);
        match &self.live {
            Some(live) => {
                live.stats.of(self.version).answered(code, after);
                if let Some(trial) = live.trial.as_ref().filter(|_| self.is_chosen) {
                    trial.answered(self.version, code, after);
                }
            }
            None => {
                self.connection
                    .worker
                    .shared
                    .unrouted
                    .fetch_add(1, Ordering::Relaxed);
            }
        }
        if let Some(entry) = &mut self.entry {
            entry.status = code.as_u16();
        }
    }

    /// The gateway answers itself.
    pub(super) fn refused(&mut self, refusal: &Refusal) {
        if let (Refusal::Limited(_), Some(live)) = (refusal, &self.live) {
            live.stats.limited.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(entry) = &mut self.entry {
            entry.reason = Some(refusal.reason());
        }
        self.answered(refusal.code());
    }

    /// Bytes of the answer's body go to the client.
    pub(crate) fn sent(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.sent_bytes = self.sent_bytes.saturating_add(bytes);
    }

    /// Nothing more of the answer goes out until the client takes it.
    pub(crate) fn waits(&mut self) {
        if self.is_http2 && self.waiting.is_none() {
            self.waiting = Some(self.connection.activity.wait());
        }
    }

    /// The client takes more.
    pub(crate) fn goes_on(&mut self) {
        if let Some(turn) = self.waiting.take() {
            self.connection.activity.go_on(turn);
        }
    }

    /// The answer does not come to its end.
    pub(crate) fn broke(&mut self) {
        if let Some(entry) = &mut self.entry {
            entry.reason = Some("answer-broke-off");
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.goes_on();
        self.connection.activity.end();
        if let Some(live) = &self.live {
            live.stats.of(self.version).sent(self.sent_bytes);
        }
        if let (Some(log), Some(mut entry)) =
            (&self.connection.worker.shared.log, self.entry.take())
        {
            entry.bytes = self.sent_bytes;
            entry.millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            log.write(entry);
        }
    }
}
