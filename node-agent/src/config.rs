//! What an agent is told at its start. Each field with its unit, its default and its bound.
//! Parsing of flags is the CLI's work; here the values are checked once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use skiff_client::Server;
use skiff_network::routes::Mode;

/// How often an agent says that it lives, if nobody asks for another pace.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// Pods that one node takes, if nobody says otherwise; Kubernetes' own default.
pub const PODS_MAX: u32 = 110;

/// Where a machine's name servers are named, if nobody says otherwise.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How an agent is set up.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The servers; at least one, over TLS.
    pub servers: Vec<Server>,
    /// The join token, `<id>.<secret>.<sha256 of the CA>`. Needed until the agent has joined once.
    pub token: Option<String>,
    /// Where the agent keeps its key, its certificates and its pods' volumes.
    pub data_dir: PathBuf,
    /// The node's name: a DNS-1123 subdomain.
    pub name: String,
    /// The address that the node reports. Default: the one by which it reaches a server, also when
    /// that becomes another.
    pub node_ip: Option<IpAddr>,
    /// Labels of the node, beside Kubernetes' own.
    pub labels: BTreeMap<String, String>,
    /// The pace of heartbeats. Default [`HEARTBEAT`]; at least 100 ms.
    pub heartbeat: Duration,
    /// How other nodes' pods are reached. Default [`Mode::Auto`].
    pub network: Mode,
    /// What the node offers. Default: what the machine has.
    pub capacity: Capacity,
    /// The file that names the machine's own name servers. Default [`RESOLV_CONF`].
    pub resolv_conf: PathBuf,
    /// The `skiff` that the node's resolver is run with. Default: the running program.
    pub program: PathBuf,
    /// Starts of containers in flight at once. Default: twice the engine's processors; where
    /// several agents share an engine, each should get its part of that.
    pub starts_max: Option<usize>,
    /// How its gateway is set up, if it runs one.
    pub gateway: Option<skiff_gateway::Config>,
}

/// Overrides of what the node offers; tests and several agents on one machine use them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Capacity {
    /// CPU in thousandths of a core.
    pub cpu_millicores: Option<i64>,
    /// Memory in bytes.
    pub memory_bytes: Option<i64>,
    /// Number of pods; default [`PODS_MAX`].
    pub pods: Option<u32>,
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No server to talk to.
    #[error("no server given: name at least one, as https://HOST:PORT")]
    NoServer,
    /// A server without TLS, where nobody could be told from anybody.
    #[error("server {server}: expected https://HOST:PORT")]
    Plain {
        /// What was given.
        server: String,
    },
    /// The node's name cannot be an object's name.
    #[error(
        "node name {name:?}: must consist of lower case letters, digits, '-' or '.', and must \
         start and end with a letter or digit"
    )]
    Name {
        /// What was given.
        name: String,
    },
    /// Heartbeats so fast that they would be the load.
    #[error("heartbeat {millis} ms: must be at least 100 ms")]
    Heartbeat {
        /// What was given, in milliseconds.
        millis: u128,
    },
}

impl AgentConfig {
    /// A configuration with the defaults of everything that has one.
    #[must_use]
    pub fn new(servers: Vec<Server>, data_dir: PathBuf, name: String) -> Self {
        Self {
            servers,
            token: None,
            data_dir,
            name,
            node_ip: None,
            labels: BTreeMap::new(),
            heartbeat: HEARTBEAT,
            network: Mode::default(),
            capacity: Capacity::default(),
            resolv_conf: RESOLV_CONF.into(),
            program: "/proc/self/exe".into(),
            starts_max: None,
            gateway: None,
        }
    }

    /// The machine's host name, in the form of a node's name.
    #[must_use]
    pub fn default_name() -> String {
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .to_lowercase();
        if is_dns_name(&host) {
            host
        } else {
            "node".to_owned()
        }
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first setting that cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.servers.is_empty() {
            return Err(ConfigError::NoServer);
        }
        if let Some(plain) = self.servers.iter().find(|server| !server.tls()) {
            return Err(ConfigError::Plain {
                server: plain.to_string(),
            });
        }
        if !is_dns_name(&self.name) {
            return Err(ConfigError::Name {
                name: self.name.clone(),
            });
        }
        if self.heartbeat < Duration::from_millis(100) {
            return Err(ConfigError::Heartbeat {
                millis: self.heartbeat.as_millis(),
            });
        }
        Ok(())
    }
}

fn is_dns_name(name: &str) -> bool {
    let label = |part: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        edge(part.chars().next())
            && edge(part.chars().last())
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_checked() {
        let cases = [
            ("a usual one", "https://10.0.0.1:6443", "node-1", true),
            ("IPv6", "https://[::1]:6443", "a.b", true),
            ("plain HTTP", "http://10.0.0.1:6443", "node-1", false),
            ("capital letters", "https://h:1", "Node", false),
            ("an empty name", "https://h:1", "", false),
            ("a dash at the end", "https://h:1", "n-", false),
        ];
        for (case, server, name, ok) in cases {
            let server = server.parse().expect("an address");
            let config = AgentConfig::new(vec![server], "/x".into(), name.into());
            assert_eq!(config.check().is_ok(), ok, "{case}");
        }
        assert!(
            AgentConfig::new(vec![], "/x".into(), "n".into())
                .check()
                .is_err()
        );
    }

    #[test]
    fn the_default_name_can_be_used() {
        assert!(is_dns_name(&AgentConfig::default_name()));
    }
}
