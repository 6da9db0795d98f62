//! What a gateway is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use skiff_api::gateway::Report;

/// Where a gateway listens: `HTTP_ADDR[,HTTPS_ADDR]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Without TLS.
    pub http: SocketAddr,
    /// With TLS, if at all.
    pub https: Option<SocketAddr>,
}

impl Default for Listen {
    fn default() -> Self {
        let all = std::net::Ipv4Addr::UNSPECIFIED;
        Self {
            http: (all, 80).into(),
            https: Some((all, 443).into()),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let address = |text: &str| {
            let wrong = |_| format!("{text:?} is not an address; write IP:PORT[,IP:PORT]");
            text.trim().parse::<SocketAddr>().map_err(wrong)
        };
        match text.split_once(',') {
            None => Ok(Self {
                http: address(text)?,
                https: None,
            }),
            Some((http, https)) => Ok(Self {
                http: address(http)?,
                https: Some(address(https)?),
            }),
        }
    }
}

/// As it is written.
impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.http)?;
        match self.https {
            Some(https) => write!(f, ",{https}"),
            None => Ok(()),
        }
    }
}

/// How a gateway is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node or server that it runs on, for events.
    pub name: String,
    /// Where it listens.
    pub listen: Listen,
    /// Where metrics and its state can be read; meant for this host only.
    pub admin: Option<SocketAddr>,
    /// The file that requests are written to, `-` for the standard output.
    pub access_log: Option<PathBuf>,
    /// Threads; as many as there are processors if absent.
    pub workers: Option<usize>,
    /// Connections of clients at once; see [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// How long requests under way may take when it ends.
    pub drain: Duration,
}

/// Connections of clients at once: more than one host's services answer, and at most some 64 MB
/// while they are idle.
pub const CONNECTIONS_MAX: usize = 20_000;

/// Requests under way get so long when a gateway ends.
pub const DRAIN: Duration = Duration::from_secs(10);

impl Config {
    /// The defaults of everything that has one.
    #[must_use]
    pub fn new(name: String, listen: Listen) -> Self {
        Self {
            name,
            listen,
            admin: None,
            access_log: None,
            workers: None,
            connections_max: CONNECTIONS_MAX,
            drain: DRAIN,
        }
    }

    /// What the servers are told before anything was counted.
    #[must_use]
    pub fn report(&self) -> Report {
        Report::new(&self.name, self.listen.http, self.listen.https)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let cases = [
            ("", "0.0.0.0:80,0.0.0.0:443"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            (
                "127.0.0.1:8080,127.0.0.1:8443",
                "127.0.0.1:8080,127.0.0.1:8443",
            ),
            ("[::1]:80, [::]:443", "[::1]:80,[::]:443"),
        ];
        for (text, expected) in cases {
            let listen: Listen = text.parse().unwrap();
            assert_eq!(listen.to_string(), expected, "{text:?}");
        }
        for text in ["8080", "a:80", "1.2.3.4:80,", "1.2.3.4:80;1.2.3.4:443", ","] {
            assert!(text.parse::<Listen>().is_err(), "{text:?}");
        }
    }
}
