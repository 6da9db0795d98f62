//! List+watch as a state machine: Empty → Listed → Watching; 410 → Empty.
//! Knows what it has shown so far only by a revision; never drops an event in silence.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use skiff_api::{Kind, Reason, Status};
use tokio::time::Instant;

use crate::body::Lines;
use crate::client::{Client, is_behind};
use crate::error::ClientError;
use crate::options::ListOptions;
use crate::request::{Request, collection_path};
use crate::retry::{self, Backoff};

/// How long one watch lasts before it is renewed, so that load spreads over the servers again.
const WATCH_SECONDS: u32 = 290;

/// The longest wait after failures: a cluster that comes back is noticed within this.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Servers that have not heard of our revision for so long never will: the cluster was put back
/// to an earlier state.
const BEHIND_MAX: Duration = Duration::from_secs(60);

/// A watch that ends sooner than this and without an event counts as failed.
const SHORT: Duration = Duration::from_secs(1);

/// What has become known about a collection.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// All objects that exist; what was known before and is not among them is gone.
    Restarted(Vec<Value>),
    /// An object was created or changed.
    Applied(Value),
    /// An object is gone; this was its last form.
    Deleted(Value),
}

/// Follows a collection over broken connections, lost servers and expired revisions.
pub struct Watcher {
    client: Client,
    kind: Kind,
    namespace: Option<String>,
    options: ListOptions,
    accept: &'static str,
    state: State,
    /// Not before this is the next request made.
    not_before: Option<Instant>,
    backoff: Backoff,
    /// Since when every server asked was behind our revision.
    behind: Option<Instant>,
}

enum State {
    /// Nothing is known.
    Empty,
    /// Everything up to a revision was told; no watch runs.
    Listed { revision: String },
    /// A watch runs; everything up to a revision was told.
    Watching {
        revision: String,
        lines: Lines,
        since: Instant,
    },
}

/// A line of a watch.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

impl Watcher {
    /// A watcher of a kind in one namespace, or in all if that is `None`. Asks nothing yet.
    #[must_use]
    pub fn new(
        client: Client,
        kind: Kind,
        namespace: Option<String>,
        options: ListOptions,
    ) -> Self {
        let state = State::Empty;
        let backoff = Backoff::up_to(LONGEST_WAIT);
        Self {
            client,
            kind,
            namespace,
            options,
            accept: "application/json",
            state,
            not_before: None,
            backoff,
            behind: None,
        }
    }

    /// Begins at a revision instead of with everything: for those who have a list already.
    #[must_use]
    pub fn from_revision(mut self, revision: impl Into<String>) -> Self {
        self.state = State::Listed {
            revision: revision.into(),
        };
        self
    }

    /// Asks for the objects of events in another form, such as a table. For those who list by
    /// themselves: a list that this watcher makes remains one of objects.
    #[must_use]
    pub fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    /// The next thing to know; waits for it as long as it takes. Cancel-safe.
    ///
    /// # Errors
    /// [`ClientError`] for what went wrong. The watcher remains usable: the next call goes on
    /// where this one failed, after a wait that grows from failure to failure.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        loop {
            if let Some(instant) = self.not_before {
                tokio::time::sleep_until(instant).await;
                self.not_before = None;
            }
            match self.step().await {
                Ok(Some(event)) => {
                    self.backoff.reset();
                    return Ok(event);
                }
                Ok(None) => {}
                Err(error) => {
                    self.wait();
                    return Err(error);
                }
            }
        }
    }

    /// One step of the machine. The state moves on only when nothing is awaited any more.
    async fn step(&mut self) -> Result<Option<Event>, ClientError> {
        match &mut self.state {
            State::Empty => {
                let namespace = self.namespace.as_deref();
                let list = self
                    .client
                    .list(self.kind, namespace, &self.options)
                    .await?;
                self.state = State::Listed {
                    revision: list.revision,
                };
                Ok(Some(Event::Restarted(list.items)))
            }
            State::Listed { revision } => {
                let revision = revision.clone();
                let opened = self.client.stream(self.request(&revision)).await;
                match opened {
                    Ok(stream) => {
                        let (lines, since) = (stream.lines(), Instant::now());
                        self.state = State::Watching {
                            revision,
                            lines,
                            since,
                        };
                        Ok(None)
                    }
                    Err(error) if expired(error.status()) => self.forget(),
                    Err(error) if error.status().is_some_and(is_behind) => self.wait_for(error),
                    Err(error) => Err(error),
                }
            }
            State::Watching { lines, .. } => match lines.next().await {
                Ok(Some(line)) => self.read(&line),
                Ok(None) => {
                    if self.end() < SHORT {
                        // This server had nothing to say: it is going, or lost its leader.
                        self.client.look_elsewhere();
                        self.wait();
                    }
                    Ok(None)
                }
                Err(error) => {
                    self.end();
                    Err(error)
                }
            },
        }
    }

    fn request(&self, revision: &str) -> Request {
        let request = Request::get(collection_path(self.kind, self.namespace.as_deref()))
            .accept(self.accept)
            .query("watch", "true")
            .query("allowWatchBookmarks", "true")
            .query("resourceVersion", revision)
            .query("timeoutSeconds", WATCH_SECONDS.to_string());
        self.options.select(request)
    }

    fn read(&mut self, line: &[u8]) -> Result<Option<Event>, ClientError> {
        if line.is_empty() {
            return Ok(None);
        }
        let line: Line = match serde_json::from_slice(line) {
            Ok(line) => line,
            Err(error) => {
                self.end();
                return Err(ClientError::Decode(error));
            }
        };
        if line.kind == "ERROR" {
            return self.fail(line.object);
        }
        self.behind = None;
        let seen = revision_of(&line.object);
        if let (State::Watching { revision, .. }, false) = (&mut self.state, seen.is_empty()) {
            seen.clone_into(revision);
        }
        Ok(match line.kind.as_str() {
            "ADDED" | "MODIFIED" => Some(Event::Applied(line.object)),
            "DELETED" => Some(Event::Deleted(line.object)),
            // A bookmark only moves the revision on; so would an event of a kind to come.
            _ => None,
        })
    }

    /// The server ends the watch with a `Status`.
    fn fail(&mut self, object: Value) -> Result<Option<Event>, ClientError> {
        let status: Status = match serde_json::from_value(object) {
            Ok(status) => status,
            Err(error) => {
                self.end();
                return Err(ClientError::Decode(error));
            }
        };
        if expired(Some(&status)) {
            return self.forget();
        }
        self.end();
        self.client.look_elsewhere();
        let behind = is_behind(&status);
        let error = ClientError::Status(Box::new(status));
        if behind {
            self.wait_for(error)
        } else {
            Err(error)
        }
    }

    /// No server has heard of our revision yet. They will, so that nothing need be listed again:
    /// unless they have not for a long time.
    fn wait_for(&mut self, error: ClientError) -> Result<Option<Event>, ClientError> {
        let since = *self.behind.get_or_insert_with(Instant::now);
        if since.elapsed() >= BEHIND_MAX {
            return self.forget();
        }
        Err(error)
    }

    /// Begins afresh: the server no longer knows what happened since our revision.
    fn forget(&mut self) -> Result<Option<Event>, ClientError> {
        self.state = State::Empty;
        self.behind = None;
        // A server that calls every revision too old must not be asked in a tight loop.
        self.wait();
        Ok(None)
    }

    /// A watch is over; the next one goes on at its revision. Returns how long it lasted.
    fn end(&mut self) -> Duration {
        let State::Watching {
            revision, since, ..
        } = &mut self.state
        else {
            return Duration::ZERO;
        };
        let (revision, lasted) = (std::mem::take(revision), since.elapsed());
        self.state = State::Listed { revision };
        if lasted >= SHORT {
            self.behind = None;
            self.backoff.reset();
        }
        lasted
    }

    fn wait(&mut self) {
        self.not_before = Some(Instant::now() + self.backoff.wait(retry::chance()));
    }
}

/// The revision of an object, or of the one in a table of one row.
fn revision_of(object: &Value) -> &str {
    [
        "/metadata/resourceVersion",
        "/rows/0/object/metadata/resourceVersion",
    ]
    .iter()
    .filter_map(|pointer| object.pointer(pointer)?.as_str())
    .find(|revision| !revision.is_empty())
    .unwrap_or_default()
}

fn expired(status: Option<&Status>) -> bool {
    status.is_some_and(|s| s.code == 410 || s.is(Reason::Expired) || s.is(Reason::Gone))
}

#[cfg(test)]
mod tests;
