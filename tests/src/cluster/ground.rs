//! The machine's own network under a test's cluster: a range of addresses that nobody else has, and
//! nothing left of it at the end.

use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::skiff::run;

/// Ranges that tests take: `10.FIRST.0.0/16` and the following.
const FIRST: u8 = 128;
const COUNT: u8 = 100;

/// A range for pods that no route of this machine leads into.
///
/// # Panics
/// If all of them are taken.
#[must_use]
pub fn free_range() -> String {
    static TAKEN: AtomicU8 = AtomicU8::new(0);
    let routes = run(Command::new("ip").args(["-4", "route", "show", "table", "all"])).out;
    let process = u8::try_from(std::process::id() % u32::from(COUNT)).unwrap_or_default();
    // Processes begin at different places, and one process never takes the same place twice.
    let mut candidates = std::iter::repeat_with(|| TAKEN.fetch_add(1, Ordering::Relaxed))
        .take(usize::from(COUNT))
        .map(|step| FIRST + process.wrapping_add(step) % COUNT);
    let free = candidates.find(|second| !routes.contains(&format!("10.{second}.")));
    format!("10.{}.0.0/16", free.expect("a range that nobody has"))
}

/// Removes what the agents of a cluster have left in this process's network namespace: it serves
/// pods, which are gone.
pub(super) fn forget_network(instance: &str, pods: &str) {
    let tables = run(Command::new("nft").args(["list", "tables", "ip"])).out;
    let prefix = format!("{instance}-");
    let names = tables
        .lines()
        .filter_map(|line| line.strip_prefix("table ip "));
    for name in names.filter(|name| name.starts_with(&prefix)) {
        run(Command::new("nft").args(["delete", "table", "ip", name]));
    }
    for end in ["-s", "-d"] {
        let rule = [
            "-w",
            "5",
            "-D",
            "DOCKER-USER",
            end,
            pods,
            "-m",
            "comment",
            "--comment",
            "skiff-pods",
            "-j",
            "ACCEPT",
        ];
        while Command::new("iptables")
            .args(rule)
            .output()
            .is_ok_and(|output| output.status.success())
        {}
    }
}
