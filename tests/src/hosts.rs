//! Several hosts on one machine: network namespaces on a switch in a namespace of its own, with
//! cables to pull. The test's own process reaches them all by a cable of its own, which is never cut.
//! Some of them may be on a second switch, with a router between the two.

use std::process::Command;

use crate::skiff::run;

/// The hosts of one test.
pub struct Hosts {
    prefix: String,
    count: usize,
    /// The third part of their addresses, so that two tests never share any.
    subnet: u8,
    /// From this one on they are on the second switch.
    far: usize,
}

impl Hosts {
    /// So many hosts.
    ///
    /// # Panics
    /// Without root, or without `ip` and `nft`.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self::with_far(count, count)
    }

    /// So many hosts, those from number `far` on behind a router.
    ///
    /// # Panics
    /// Without root, or without `ip` and `nft`.
    #[must_use]
    pub fn with_far(count: usize, far: usize) -> Self {
        let id = std::process::id();
        let hosts = Self {
            // Names of links have at most 15 letters.
            prefix: format!("k{:x}", id & 0xff_ffff),
            count,
            subnet: u8::try_from(id % 250).unwrap_or_default(),
            far,
        };
        hosts.build();
        hosts
    }

    fn build(&self) {
        let switch = self.switch();
        ip(&format!("netns add {switch}"));
        ip(&format!("-n {switch} link set lo up"));
        let subnet = self.subnet;
        for (bridge, net) in [("br0", 98), ("br1", 97)] {
            ip(&format!("-n {switch} link add {bridge} type bridge"));
            ip(&format!("-n {switch} link set {bridge} up"));
            ip(&format!(
                "-n {switch} addr add 10.{net}.{subnet}.254/24 dev {bridge}"
            ));
        }
        let forward = [
            "netns",
            "exec",
            &switch,
            "sysctl",
            "-qw",
            "net.ipv4.ip_forward=1",
        ];
        run(Command::new("ip").args(forward)).ok();
        for number in 0..self.count {
            let (host, port) = (self.namespace(number), port(number));
            ip(&format!("netns add {host}"));
            ip(&format!("-n {host} link set lo up"));
            ip(&format!(
                "link add eth0 netns {host} type veth peer name {port} netns {switch}"
            ));
            let bridge = if number < self.far { "br0" } else { "br1" };
            ip(&format!("-n {switch} link set {port} master {bridge} up"));
            let address = self.address(number);
            ip(&format!("-n {host} addr add {address}/24 dev eth0"));
            ip(&format!("-n {host} link set eth0 up"));
            let router = format!("10.{}.{subnet}.254", self.net(number));
            ip(&format!("-n {host} route add default via {router}"));
        }
        let own = self.own_link();
        ip(&format!(
            "link add {own} type veth peer name test netns {switch}"
        ));
        ip(&format!("-n {switch} link set test master br0 up"));
        ip(&format!("addr add 10.98.{subnet}.1/24 dev {own}"));
        ip(&format!("link set {own} up"));
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The address that a host has from the start.
    #[must_use]
    pub fn address(&self, number: usize) -> String {
        format!("10.{}.{}.{}", self.net(number), self.subnet, 11 + number)
    }

    /// The second part of a host's address.
    fn net(&self, number: usize) -> u8 {
        if number < self.far { 98 } else { 97 }
    }

    /// A fact of a host, by a program that is run there.
    ///
    /// # Panics
    /// If the program fails.
    #[must_use]
    pub fn ask(&self, number: usize, line: &str) -> String {
        let mut words = line.split_whitespace();
        let program = words.next().unwrap_or_default();
        let mut command = self.command(number, std::path::Path::new(program));
        run(command.args(words)).ok()
    }

    /// Pulls a host's cable, or plugs it in again.
    pub fn plug(&self, number: usize, state: &str) {
        ip(&format!(
            "-n {} link set {} {state}",
            self.switch(),
            port(number)
        ));
    }

    /// Gives a host another address on its link, as a new lease would, and tells which. What hangs on
    /// the old one breaks off; the way to others stays.
    #[must_use]
    pub fn renumber(&self, number: usize) -> String {
        // As most machines have it: the next address of a link takes the place of the first.
        let promote = "sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1";
        let _nothing = self.ask(number, promote);
        let (host, old) = (self.namespace(number), self.address(number));
        let new = format!("10.{}.{}.{}", self.net(number), self.subnet, 111 + number);
        ip(&format!("-n {host} addr add {new}/24 dev eth0"));
        ip(&format!("-n {host} addr del {old}/24 dev eth0"));
        new
    }

    /// A command that runs on a host.
    #[must_use]
    pub fn command(&self, number: usize, program: &std::path::Path) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/var/run/netns/{}", self.namespace(number)))
            .arg(program);
        command
    }

    /// Drops whatever one host sends another; the way back stays open.
    pub fn cut(&self, from: usize, to: usize) {
        let rule = format!(
            "table bridge cut{from}to{to} {{ chain c {{ type filter hook forward priority 0; \
             policy accept; iifname \"{}\" oifname \"{}\" drop; }}; }}",
            port(from),
            port(to)
        );
        self.nft(&rule);
    }

    /// Lets it through again.
    pub fn mend(&self, from: usize, to: usize) {
        self.nft(&format!("delete table bridge cut{from}to{to}"));
    }

    /// Drops everything between a host and all others, both ways; the test still reaches it.
    pub fn isolate(&self, number: usize) {
        self.others(number).for_each(|other| {
            self.cut(number, other);
            self.cut(other, number);
        });
    }

    /// Ends [`Hosts::isolate`].
    pub fn rejoin(&self, number: usize) {
        self.others(number).for_each(|other| {
            self.mend(number, other);
            self.mend(other, number);
        });
    }

    fn others(&self, number: usize) -> impl Iterator<Item = usize> {
        (0..self.count).filter(move |other| *other != number)
    }

    fn nft(&self, rule: &str) {
        let switch = self.switch();
        run(Command::new("ip").args(["netns", "exec", &switch, "nft", rule])).ok();
    }

    /// Where a host's network namespace is to be found.
    #[must_use]
    pub fn namespace_file(&self, number: usize) -> std::path::PathBuf {
        std::path::Path::new("/var/run/netns").join(self.namespace(number))
    }

    fn namespace(&self, number: usize) -> String {
        format!("{}h{number}", self.prefix)
    }

    fn switch(&self) -> String {
        format!("{}sw", self.prefix)
    }

    fn own_link(&self) -> String {
        format!("{}t", self.prefix)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        // With a namespace go its links and rules; what was never made needs no removal.
        let names = (0..self.count).map(|number| self.namespace(number));
        for name in names.chain([self.switch()]) {
            run(Command::new("ip").args(["netns", "del", &name]));
        }
        run(Command::new("ip").args(["link", "del", &self.own_link()]));
    }
}

fn port(number: usize) -> String {
    format!("port{number}")
}

fn ip(line: &str) {
    run(Command::new("ip").args(line.split_whitespace())).ok();
}
