//! Where the servers are, whom to trust and who we are: kubeconfig files → [`ClientConfig`].

mod kubeconfig;
mod server;

use http::header::HeaderValue;

pub use kubeconfig::Kubeconfig;
pub use server::Server;

use crate::error::ConfigError;
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
