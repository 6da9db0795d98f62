//! Talking to a Kubernetes API: the half of the house that asks.
//!
//! | module | what |
//! |---|---|
//! | [`config`] | kubeconfig files → [`ClientConfig`]: servers, trust, identity, namespace |
//! | [`tls`] | certificates, keys and trust, for this crate and for the agent's own connections |
//! | `transport` | one kept connection per server, HTTP/2 or HTTP/1.1 |
//! | `fleet` | the servers there are, and the one that answered last |
//! | `retry` | pure: may this request be sent again, where and when |
//! | [`request`], `options` | paths, queries and options of the Kubernetes API |
//! | [`Client`] | get, list, create, replace, patch, delete, raw requests, byte streams |
//! | [`watch`] | list+watch as a state machine that survives whatever the servers do |
//!
//! Two promises: a write that may have been applied is never sent twice, and nothing waits or
//! grows without a named bound.

pub mod body;
mod client;
pub mod config;
mod error;
#[cfg(test)]
mod fake;
mod fleet;
mod options;
pub mod request;
mod retry;
pub mod tls;
mod transport;
mod trouble;
pub mod watch;

pub use body::{ByteStream, Lines};
pub use client::{Client, List};
pub use config::{ClientConfig, Kubeconfig, Server, Token, Writes};
pub use error::{ClientError, ConfigError, TlsError};
pub use options::{DeleteOptions, ListOptions, Patch, Propagation, WriteOptions};
pub use request::Request;
pub use tls::{Identity, Trust};
pub use watch::{Event, Watcher};
