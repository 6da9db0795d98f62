//! The address of a server, parsed once.

use std::fmt;
use std::str::FromStr;

use http::Uri;

use crate::error::ConfigError;

/// The address of an API server: `https://HOST:PORT`, with an optional path before `/api`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Server {
    tls: bool,
    host: String,
    port: u16,
    prefix: String,
    tls_name: Option<String>,
}

impl Server {
    /// The server at a host name or IP address, over TLS.
    #[must_use]
    pub fn at(host: &str, port: u16) -> Self {
        Self {
            tls: true,
            host: host.to_owned(),
            port,
            prefix: String::new(),
            tls_name: None,
        }
    }

    /// Expects another name than the host's in the server's certificate.
    #[must_use]
    pub fn with_tls_name(mut self, name: Option<String>) -> Self {
        self.tls_name = name;
        self
    }

    /// Whether to speak TLS.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// The host name or IP address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The name expected in the server's certificate.
    #[must_use]
    pub fn tls_name(&self) -> &str {
        self.tls_name.as_deref().unwrap_or(&self.host)
    }

    /// `HOST:PORT` as in a `Host` header.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The whole address of a path and query on this server.
    #[must_use]
    pub fn uri(&self, target: &str) -> String {
        format!("{self}{target}")
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}

impl FromStr for Server {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let bad = |why| ConfigError::Server {
            text: text.to_owned(),
            why,
        };
        let text = text.trim();
        let full = if text.contains("://") {
            text.to_owned()
        } else {
            format!("https://{text}")
        };
        let uri: Uri = full.parse().map_err(|_| bad("it is not a URL"))?;
        let (tls, default_port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return Err(bad("the scheme must be https or http")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("user and password do not belong there"));
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        if host.is_empty() {
            return Err(bad("it names no host"));
        }
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(default_port),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            tls_name: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let cases = [
            ("https://10.0.0.1:6443", Some("https://10.0.0.1:6443")),
            ("https://10.0.0.1:6443/", Some("https://10.0.0.1:6443")),
            ("api.example", Some("https://api.example:443")),
            ("127.0.0.1:6443", Some("https://127.0.0.1:6443")),
            ("https://[::1]:6443", Some("https://[::1]:6443")),
            ("http://localhost", Some("http://localhost:80")),
            (
                "https://proxy/clusters/a/",
                Some("https://proxy:443/clusters/a"),
            ),
            ("ftp://a", None),
            ("https://me:pw@a", None),
            ("https://", None),
            ("", None),
            ("https://a b", None),
        ];
        for (text, expected) in cases {
            let found = text.parse::<Server>().ok().map(|server| server.to_string());
            assert_eq!(found.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn brackets_are_for_texts_only() {
        let server: Server = "https://[::1]:6443".parse().unwrap();
        assert_eq!((server.host(), server.port()), ("::1", 6443));
        assert_eq!(server.uri("/api?a=b"), "https://[::1]:6443/api?a=b");
    }
}
