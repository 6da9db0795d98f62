//! What can go wrong between a client and the API, one variant per attempted step.
//! Texts are one line and say what to do; the cause stands in `source()`, never in the text.

use std::path::PathBuf;
use std::time::Duration;

use skiff_api::{Reason, Status};

/// Why a request brought no answer, or a bad one.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with an error.
    #[error("{}", .0.message)]
    Status(Box<Status>),
    /// No connection came about, so the request was not sent.
    #[error("cannot reach {server}; check the address and that the server runs")]
    Unreachable {
        /// The server that was tried last.
        server: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The TLS handshake failed, so the request was not sent.
    #[error("TLS handshake with {server} failed; check the CA and the client certificate")]
    Handshake {
        /// The server.
        server: String,
        /// What rustls said.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke before the answer; a write may or may not have been applied.
    #[error("lost the connection to {server} before its answer; look before you repeat a write")]
    Lost {
        /// The server.
        server: String,
        /// What hyper said.
        #[source]
        source: hyper::Error,
    },
    /// The answer took too long; a write may or may not have been applied.
    #[error("{server} did not answer within {}s; look before you repeat a write", after.as_secs())]
    Timeout {
        /// The server.
        server: String,
        /// How long the client waited.
        after: Duration,
    },
    /// The body of the answer broke off.
    #[error("the answer of the server broke off")]
    Body(#[source] hyper::Error),
    /// The body of the answer stood still.
    #[error("the answer of the server stood still for {}s", .0.as_secs())]
    BodyStalled(Duration),
    /// The body, or a line of it, is larger than this client accepts.
    #[error("the answer of the server is larger than {0} bytes; ask for less at a time")]
    BodyTooLarge(usize),
    /// The body is not what the API promises.
    #[error("the answer of the server cannot be read; is this a Kubernetes API?")]
    Decode(#[source] serde_json::Error),
    /// The request cannot be written as JSON.
    #[error("the request cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The request cannot be written as HTTP.
    #[error("the request cannot be written as HTTP")]
    Request(#[source] http::Error),
    /// The connection cannot be set up with the given certificates and keys.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl ClientError {
    /// The server's `Status`, if it gave one.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        if let Self::Status(status) = self {
            Some(status)
        } else {
            None
        }
    }

    /// Whether the server answered with this reason.
    #[must_use]
    pub fn is(&self, reason: Reason) -> bool {
        self.status().is_some_and(|status| status.is(reason))
    }

    /// Whether the object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.is(Reason::NotFound)
    }
}

/// Why certificates or keys are of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The text holds no readable certificate.
    #[error("no certificate can be read from {what}; it must be PEM")]
    Certificate {
        /// Which certificate.
        what: &'static str,
        /// What the parser said.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The text holds no readable private key.
    #[error("no private key can be read from the client key; it must be PEM")]
    Key(#[source] rustls::pki_types::pem::Error),
    /// The system's own certificates cannot be read.
    #[error("no CA is configured and the system's certificates ({}) cannot be read", path.display())]
    SystemRoots {
        /// Where they were looked for.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The certificate cannot be a root of trust.
    #[error("the CA certificate cannot be used")]
    Root(#[source] rustls::Error),
    /// The certificate and the key do not fit each other.
    #[error("the client certificate and key cannot be used together")]
    Identity(#[source] rustls::Error),
    /// The provider does not do the protocol versions.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
    /// The host is no name that a certificate could have.
    #[error("{0:?} is neither a host name nor an IP address")]
    ServerName(String),
}

/// Why a configuration does not say how to reach a server.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A kubeconfig is not one.
    #[error("{} is not a kubeconfig", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: serde_yaml::Error,
    },
    /// The list of further servers is none.
    #[error(
        "extension skiff.io/servers of cluster {cluster:?} in the kubeconfig cannot be read; \
         write extension: {{servers: [https://HOST:PORT]}}"
    )]
    Extension {
        /// The cluster.
        cluster: String,
        /// What the parser said.
        #[source]
        source: serde_yaml::Error,
    },
    /// Something is named that does not stand in the file.
    #[error("the kubeconfig has no {what} {name:?}; it has: {}", list(found))]
    Missing {
        /// `context`, `cluster` or `user`.
        what: &'static str,
        /// The name looked for.
        name: String,
        /// The names that exist.
        found: Vec<String>,
    },
    /// No context is current and none was named.
    #[error("the kubeconfig has no current-context; name one with --context")]
    NoContext,
    /// A `*-data` field is not base64.
    #[error("{field} of {name:?} in the kubeconfig is not base64")]
    Base64 {
        /// The field.
        field: &'static str,
        /// The cluster or user.
        name: String,
        /// What the decoder said.
        #[source]
        source: base64::DecodeError,
    },
    /// Half of a client certificate.
    #[error("user {0:?} in the kubeconfig has a client certificate or key without the other")]
    HalfIdentity(String),
    /// A way of logging in that this client does not know.
    #[error(
        "user {name:?} in the kubeconfig uses {what}, which skiff does not support; use a client certificate or a token"
    )]
    Unsupported {
        /// The user.
        name: String,
        /// The way.
        what: &'static str,
    },
    /// A server address that is none.
    #[error("{text:?} is not a server address: {why}; write https://HOST:PORT")]
    Server {
        /// The text.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// No server at all.
    #[error("no server address is configured; write https://HOST:PORT")]
    NoServer,
    /// A token with characters that no header can carry.
    #[error("the token holds characters that HTTP cannot carry")]
    Token,
    /// Certificates or keys are of no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
