//! Which servers the cluster has: those that the agent was given, and those that the servers name.
//! What they name is kept in the data directory, so that an agent whose given servers are gone
//! still finds the cluster. Deciding is [`Known`]; [`Directory`] asks and keeps.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use skiff_api::Status;
use skiff_client::{Client, ClientError, ConfigError, Request, Server};
use tokio::sync::watch;

use crate::chain::Chain;
use crate::identity::{Home, IdentityError};

/// The list is asked for so often, spread by a quarter.
const REFRESH: Duration = Duration::from_secs(30);

/// The wait after no server answered.
const RETRY: Duration = Duration::from_secs(2);

/// However often connections come and go, the list isn't asked for faster than this.
const PACE: Duration = Duration::from_secs(1);

/// How long the answer may take; it is short.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// More servers than this are no control plane, and each would get a connection.
const SERVERS_MAX: usize = 64;

/// The servers that an agent knows of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    given: Vec<Server>,
    /// What the servers said last, in this start or an earlier one; empty if they never did.
    learned: Vec<Server>,
}

impl Known {
    /// What is known at the start.
    #[must_use]
    pub fn new(given: Vec<Server>, learned: Vec<Server>) -> Self {
        Self { given, learned }
    }

    /// The same with the servers' newest word.
    #[must_use]
    pub fn with(&self, learned: Vec<Server>) -> Self {
        Self::new(self.given.clone(), learned)
    }

    /// All servers, those that the servers name first: they know better.
    #[must_use]
    pub fn all(&self) -> Vec<Server> {
        self.learned.iter().chain(self.extra()).cloned().collect()
    }

    /// All servers, those that were given first.
    #[must_use]
    pub fn given_first(&self) -> Vec<Server> {
        let learned = self.learned.iter();
        let further = learned.filter(|server| !self.given.contains(server));
        self.given.iter().chain(further).cloned().collect()
    }

    /// The servers to keep a reverse connection to. One that was given and is not named may be
    /// another name of one that is, such as that of a balancer, or the only way to it: it is
    /// dialled only while a named one is not connected.
    #[must_use]
    pub fn wanted(&self, connected: &BTreeSet<Server>) -> BTreeSet<Server> {
        let complete =
            !self.learned.is_empty() && self.learned.iter().all(|s| connected.contains(s));
        let extra = self.extra().filter(|_| !complete);
        self.learned.iter().chain(extra).cloned().collect()
    }

    fn extra(&self) -> impl Iterator<Item = &Server> {
        let given = self.given.iter();
        given.filter(|server| !self.learned.contains(server))
    }
}

/// Why the list could not be learned.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// No server told.
    #[error("ask for the cluster's servers")]
    Ask(#[source] ClientError),
    /// A server does not want to tell.
    #[error("ask for the cluster's servers: {0}")]
    Refused(Box<Status>),
    /// What a server told cannot be one of its addresses.
    #[error("read the cluster's servers")]
    Address(#[source] ConfigError),
    /// What a server told is no list of servers.
    #[error("the servers name {count} servers: expected 1 to {SERVERS_MAX}")]
    Count {
        /// How many.
        count: usize,
    },
    /// The list cannot be kept for the next start.
    #[error(transparent)]
    Keep(#[from] IdentityError),
}

#[derive(Deserialize)]
struct Answer {
    servers: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    address: String,
}

fn read(answer: &Answer) -> Result<Vec<Server>, DirectoryError> {
    let count = answer.servers.len();
    if count == 0 || count > SERVERS_MAX {
        return Err(DirectoryError::Count { count });
    }
    let over_tls = |named: &Named| {
        let server: Server = named.address.parse()?;
        let text = named.address.clone();
        let why = "a server is spoken to over TLS only";
        let plain = || ConfigError::Server { text, why };
        server.tls().then_some(server).ok_or_else(plain)
    };
    let addresses = answer.servers.iter().map(over_tls);
    addresses
        .collect::<Result<_, _>>()
        .map_err(DirectoryError::Address)
}

/// Keeps the list of servers true.
pub struct Directory {
    /// Asks, and is told whom to ask.
    pub client: Client,
    /// Where the list is kept.
    pub home: Home,
    /// Who else wants to know.
    pub known: watch::Sender<Arc<Known>>,
}

impl Directory {
    /// Runs for as long as it is polled. A connection that comes or goes is a reason to ask at
    /// once.
    pub async fn run(self, mut connected: watch::Receiver<BTreeSet<Server>>) {
        let mut failing = false;
        loop {
            let passed = self.pass().await;
            let wait = match &passed {
                Err(DirectoryError::Ask(_)) => RETRY,
                // What a server says wrongly it will say again.
                Ok(())
                | Err(
                    DirectoryError::Address(_)
                    | DirectoryError::Count { .. }
                    | DirectoryError::Refused(_)
                    | DirectoryError::Keep(_),
                ) => REFRESH,
            };
            match passed {
                Ok(()) => failing = false,
                Err(error) if failing => {
                    tracing::debug!(error = %Chain(&error), "still no list of servers");
                }
                Err(error) => {
                    failing = true;
                    tracing::warn!(error = %Chain(&error), "no list of servers; will retry");
                }
            }
            tokio::time::sleep(PACE).await;
            tokio::select! {
                () = tokio::time::sleep(wait.mul_f64(rand::random_range(0.75..1.25))) => {}
                changed = connected.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Asks once, and spreads what is new.
    ///
    /// # Errors
    /// The step that failed; what could not be kept is known nevertheless.
    pub async fn pass(&self) -> Result<(), DirectoryError> {
        let mut request = Request::get("/skiff/v1/servers");
        request.timeout = ANSWER_MAX;
        let answer: Answer = match self.client.json(request).await {
            Ok(answer) => answer,
            // A server of an older version: it names none, so what is known stays.
            Err(error) if error.is_not_found() => return Ok(()),
            Err(ClientError::Status(status)) if status.code < 500 => {
                return Err(DirectoryError::Refused(status));
            }
            Err(error) => return Err(DirectoryError::Ask(error)),
        };
        let learned = read(&answer)?;
        let known = self.known.borrow().with(learned);
        if **self.known.borrow() != known {
            tracing::info!(servers = ?addresses(&known.learned), "learned the cluster's servers");
            self.client.set_servers(known.all());
            self.known.send_replace(Arc::new(known.clone()));
        }
        if self.home.servers()? != known.learned {
            self.home.keep_servers(&known.learned)?;
        }
        Ok(())
    }
}

fn addresses(servers: &[Server]) -> Vec<String> {
    servers.iter().map(ToString::to_string).collect()
}
