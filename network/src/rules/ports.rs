//! Lets a pod reach itself through a service. What it sends to the service's address is translated
//! to its own while it is on the bridge, and a bridge sends nothing back to where it came from,
//! unless the port is told to ("hairpin"). So every port of the bridge is told.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::netlink::{
    ACKNOWLEDGE, ALL, ANSWER, Message, REQUEST, Socket, acknowledged, attribute, message, messages,
    put, u32_at,
};

/// The group that hears of links.
const LINKS: u32 = 1;
/// Messages about links: there is one, it is gone, tell all, change one.
const NEW: u16 = 16;
const GONE: u16 = 17;
const GET: u16 = 18;
const SET: u16 = 19;
/// Attributes of a link, and of a bridge's port.
const NAME: u16 = 3;
const MASTER: u16 = 10;
const PORT: u16 = 12;
const HAIRPIN: u16 = 4;
/// The family of messages about bridges' ports; those about links in general have none.
const BRIDGING: u8 = 7;
const GENERAL: u8 = 0;
/// What is before the attributes: the family, the link's number, and more that is not needed.
const LINK: usize = 16;

/// How long until a failure is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Tells the bridge's ports as they come. Runs for as long as it is polled.
pub(super) async fn keep(bridge: Arc<str>) {
    let mut failing = false;
    loop {
        let error = match listen(&bridge, &mut failing).await {
            Ok(()) => return,
            Err(error) => error,
        };
        if !std::mem::replace(&mut failing, true) {
            tracing::warn!(%error, %bridge, "cannot let pods reach themselves; will retry");
        }
        sleep(RETRY).await;
    }
}

async fn listen(bridge: &str, failing: &mut bool) -> io::Result<()> {
    let mut socket = Socket::open(None, LINKS)?;
    socket.send(&message(GET, REQUEST | ALL, &[0; LINK]))?;
    *failing = false;
    let mut ports = Ports::new(bridge);
    loop {
        let mut new = Vec::new();
        for message in messages(socket.receive().await?) {
            match message.kind {
                ANSWER => absent_is_fine(acknowledged(message.body))?,
                _ => new.extend(ports.take(message)),
            }
        }
        for port in new {
            socket.send(&hairpin(port))?;
        }
    }
}

/// A port may be gone before it is told.
fn absent_is_fine(answer: io::Result<()>) -> io::Result<()> {
    let gone = [rustix::io::Errno::NODEV, rustix::io::Errno::OPNOTSUPP].map(|no| no.raw_os_error());
    match answer {
        Err(error) if error.raw_os_error().is_some_and(|no| gone.contains(&no)) => Ok(()),
        other => other,
    }
}

/// The request to send packets back to where they came from.
fn hairpin(port: u32) -> Vec<u8> {
    let mut body = vec![BRIDGING, 0, 0, 0];
    body.extend(port.to_ne_bytes());
    body.resize(LINK, 0);
    let mut of_port = Vec::new();
    put(&mut of_port, HAIRPIN, false, &[1]);
    put(&mut body, PORT, true, &of_port);
    message(SET, REQUEST | ACKNOWLEDGE, &body)
}

/// What is known of links.
struct Ports {
    name: Vec<u8>,
    bridge: Option<u32>,
    /// Links that are ports of some bridge: which.
    masters: BTreeMap<u32, u32>,
    /// Ports that were told.
    told: BTreeSet<u32>,
}

impl Ports {
    fn new(bridge: &str) -> Self {
        Self {
            name: bridge.as_bytes().to_vec(),
            bridge: None,
            masters: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    /// Takes in a message; says which ports are to be told.
    fn take(&mut self, message: Message<'_>) -> Vec<u32> {
        let known = matches!(message.kind, NEW | GONE) && message.family() == Some(GENERAL);
        let Some(link) = u32_at(message.body, 4).filter(|_| known) else {
            return Vec::new();
        };
        let all = message.attributes(LINK);
        let name = attribute(all, NAME).map(|name| name.strip_suffix(&[0]).unwrap_or(name));
        let master = attribute(all, MASTER).and_then(|master| u32_at(master, 0));
        let gone = message.kind == GONE;
        if name == Some(&self.name) {
            self.bridge = (!gone).then_some(link);
        }
        match master.filter(|_| !gone) {
            Some(master) => self.masters.insert(link, master),
            None => self.masters.remove(&link),
        };
        let ours = |(_, master): &(&u32, &u32)| Some(**master) == self.bridge;
        let now: BTreeSet<u32> = self
            .masters
            .iter()
            .filter(ours)
            .map(|(link, _)| *link)
            .collect();
        let new = now.difference(&self.told).copied().collect();
        self.told = now;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::{GENERAL, GONE, LINK, MASTER, NAME, NEW, Ports, message, put};
    use crate::rules::netlink::messages;

    fn link(kind: u16, number: u32, name: &str, master: Option<u32>) -> Vec<u8> {
        let mut body = vec![GENERAL, 0, 0, 0];
        body.extend(number.to_ne_bytes());
        body.resize(LINK, 0);
        put(&mut body, NAME, false, format!("{name}\0").as_bytes());
        if let Some(master) = master {
            put(&mut body, MASTER, false, &master.to_ne_bytes());
        }
        message(kind, 0, &body)
    }

    #[test]
    fn each_port_of_the_bridge_is_told_once_while_it_is_one() {
        let cases = [
            (
                "a port before its bridge is known",
                link(NEW, 5, "veth5", Some(2)),
                vec![],
            ),
            ("then the bridge", link(NEW, 2, "pods", None), vec![5]),
            (
                "the same port again",
                link(NEW, 5, "veth5", Some(2)),
                vec![],
            ),
            (
                "a port of another bridge",
                link(NEW, 6, "veth6", Some(3)),
                vec![],
            ),
            ("it moves here", link(NEW, 6, "veth6", Some(2)), vec![6]),
            ("a port leaves", link(NEW, 5, "veth5", None), vec![]),
            ("and returns", link(NEW, 5, "veth5", Some(2)), vec![5]),
            ("a port is gone", link(GONE, 5, "veth5", Some(2)), vec![]),
            (
                "its number is used again",
                link(NEW, 5, "veth9", Some(2)),
                vec![5],
            ),
            ("the bridge is gone", link(GONE, 2, "pods", None), vec![]),
            (
                "a message that was cut off",
                link(NEW, 7, "veth7", Some(2))[..18].to_vec(),
                vec![],
            ),
        ];
        let mut ports = Ports::new("pods");
        for (case, bytes, expected) in cases {
            let told: Vec<u32> = messages(&bytes)
                .flat_map(|message| ports.take(message))
                .collect();
            assert_eq!(told, expected, "{case}");
        }
    }
}
