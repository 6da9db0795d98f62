//! Where the servers are, whom to trust and who we are: kubeconfig files → [`ClientConfig`].

mod kubeconfig;
mod server;

use std::time::Duration;

use http::header::HeaderValue;

pub use kubeconfig::{Kubeconfig, SERVERS_EXTENSION};
pub use server::Server;

use crate::error::ConfigError;
use crate::request::REPLY_TIMEOUT;
use crate::tls::{Identity, Trust};

/// All that a client must know.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The servers of one cluster, in the order they are tried.
    pub servers: Vec<Server>,
    /// Whose word counts when a server says who it is.
    pub trust: Trust,
    /// The client's certificate and key.
    pub identity: Option<Identity>,
    /// A bearer token.
    pub token: Option<Token>,
    /// The namespace of those who name none.
    pub namespace: String,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// What may become of a write whose answer was lost.
    pub writes: Writes,
    /// How long the head of any answer may take; a request may allow less. Default
    /// [`REPLY_TIMEOUT`].
    pub reply_timeout: Duration,
}

/// What may become of a write whose answer was lost, so that it may have been applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writes {
    /// It is sent at most once; its caller is told.
    #[default]
    Once,
    /// It is sent again, elsewhere: for those all of whose writes do twice what they do once, or
    /// are refused the second time.
    Repeatable,
}

impl ClientConfig {
    /// A client of these servers without identity.
    #[must_use]
    pub fn new(servers: Vec<Server>, trust: Trust) -> Self {
        Self {
            servers,
            trust,
            identity: None,
            token: None,
            namespace: "default".to_owned(),
            user_agent: concat!("skiff/", env!("CARGO_PKG_VERSION")).to_owned(),
            writes: Writes::default(),
            reply_timeout: REPLY_TIMEOUT,
        }
    }
}

/// A bearer token. Never shown by `Debug`.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token; white space around it is dropped.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    pub(crate) fn header(&self) -> Result<HeaderValue, ConfigError> {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {}", self.0)).map_err(|_| ConfigError::Token)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}
