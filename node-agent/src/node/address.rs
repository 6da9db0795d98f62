//! The node's own address: which one it is, and when it has become another.

use std::future::pending;
use std::mem::replace;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use skiff_client::Server;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::AgentConfig;
use crate::directory::Known;

/// The time between two looks at whether the address is still the same.
const LOOK: Duration = Duration::from_secs(3);

/// The address that the user gave, or else the one by which this machine reaches a server.
#[must_use]
pub fn address(config: &AgentConfig) -> Option<IpAddr> {
    let found = || config.servers.iter().find_map(own_address);
    config.node_ip.or_else(found)
}

/// Waits until this machine has another address than the one that the node runs with. Never, if the
/// user gave it.
pub async fn other_address(
    config: &AgentConfig,
    known: &watch::Receiver<Arc<Known>>,
    held: Option<IpAddr>,
) -> IpAddr {
    if config.node_ip.is_some() {
        return pending().await;
    }
    let mut lookout = Lookout { held, seen: None };
    loop {
        sleep(LOOK).await;
        let servers = known.borrow().given_first();
        // Names of servers may have to be asked for, which takes its time.
        let look = move || servers.iter().filter_map(own_address).collect::<Vec<_>>();
        let ways = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        if let Some(new) = lookout.look(&ways) {
            return new;
        }
    }
}

/// Decides whether the address has become another one.
#[derive(Debug)]
struct Lookout {
    /// The address that the node runs with.
    held: Option<IpAddr>,
    /// The other one that the last look showed, if it did.
    seen: Option<IpAddr>,
}

impl Lookout {
    /// The new address, by the addresses from which the servers can be reached now. It must show
    /// twice in a row: while links are set up, the way may lead over any of them for a moment.
    fn look(&mut self, ways: &[IpAddr]) -> Option<IpAddr> {
        let seen = other_than(self.held, ways);
        let before = replace(&mut self.seen, seen);
        seen.filter(|_| seen == before)
    }
}

/// The first of the addresses, unless the one that is held is still among them. A machine without
/// any link has only its loopback, which is no address for others.
fn other_than(held: Option<IpAddr>, ways: &[IpAddr]) -> Option<IpAddr> {
    if held.is_some_and(|held| ways.contains(&held)) {
        return None;
    }
    ways.iter().copied().find(|way| !way.is_loopback())
}

/// The address by which this machine reaches a server. Nothing is sent for it. With a server on
/// this very machine it is the address by which it would reach others.
fn own_address(server: &Server) -> Option<IpAddr> {
    let towards = |host: &str, port: u16| {
        let any: SocketAddr = (Ipv4Addr::UNSPECIFIED, 0).into();
        let any6 = "[::]:0".parse().unwrap_or(any);
        [any, any6].into_iter().find_map(|local| {
            let socket = UdpSocket::bind(local).ok()?;
            socket.connect((host, port)).ok()?;
            socket.local_addr().ok().map(|address| address.ip())
        })
    };
    let found = towards(server.host(), server.port());
    // 192.0.2.1 is an address of the documentation, and so a stranger to every network.
    match found {
        Some(ip) if ip.is_loopback() => towards("192.0.2.1", 9).or(found),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(text: &str) -> Vec<IpAddr> {
        let ips = text.split_whitespace().map(str::parse);
        ips.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn an_address_has_become_another_once_two_looks_say_so() {
        let cases = [
            ("nothing has changed", "10.0.0.1", "10.0.0.1 | 10.0.0.1", ""),
            ("a new lease", "10.0.0.1", "10.0.0.2 | 10.0.0.2", "10.0.0.2"),
            ("seen once only", "10.0.0.1", "10.0.0.2 | 10.0.0.1", ""),
            ("two that differ", "10.0.0.1", "10.0.0.2 | 10.0.0.3", ""),
            ("the link is down", "10.0.0.1", " | | ", ""),
            (
                "down between two looks",
                "10.0.0.1",
                "10.0.0.2 | | 10.0.0.2",
                "",
            ),
            (
                "the loopback alone is left",
                "10.0.0.1",
                "127.0.0.1 | 127.0.0.1",
                "",
            ),
            (
                "began without a link",
                "127.0.0.1",
                "10.0.0.1 | 10.0.0.1",
                "10.0.0.1",
            ),
            ("began without any", "", "10.0.0.1 | 10.0.0.1", "10.0.0.1"),
            (
                "it still leads to another server",
                "10.0.0.1",
                "192.168.0.1 10.0.0.1 | 192.168.0.1 10.0.0.1",
                "",
            ),
            (
                "the first of several counts",
                "10.0.0.1",
                "127.0.0.1 192.168.0.1 fd00::1 | 192.168.0.1 fd00::1",
                "192.168.0.1",
            ),
        ];
        for (name, held, looks, expected) in cases {
            let mut lookout = Lookout {
                held: ips(held).first().copied(),
                seen: None,
            };
            let found = looks.split('|').find_map(|ways| lookout.look(&ips(ways)));
            assert_eq!(found, ips(expected).first().copied(), "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_was_given_stays() {
        let servers: Vec<Server> = vec!["https://127.0.0.1:6443".parse().unwrap()];
        let known = watch::Sender::new(Arc::new(Known::new(servers.clone(), Vec::new())));
        let mut config = AgentConfig::new(servers, "/x".into(), "n".into());
        let given = Some([10, 0, 0, 1].into());
        config.node_ip = given;
        assert_eq!(address(&config), given);
        let known = known.subscribe();
        let waiting = other_address(&config, &known, given);
        let waited = tokio::time::timeout(LOOK * 10, waiting).await;
        assert!(waited.is_err());
    }
}
