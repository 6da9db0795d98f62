//! What the demo's agents leave to the kernel, as agents do for pods that run on without them.

use std::process::Command;

use crate::shell::{Done, command, read};

/// The range of the demo's pods, which is not that of a cluster that may run here already.
pub(super) const PODS: &str = "10.97.0.0/16";

/// Removes the packet rules of the demo's nodes.
///
/// # Errors
/// A table that is there can't be removed.
pub(super) fn forget(nodes: &[&str]) -> Done {
    // Without the program there are no rules.
    let tables = read(&mut command("nft", ["list", "tables", "ip"])).unwrap_or_default();
    let names = tables
        .lines()
        .filter_map(|line| line.strip_prefix("table ip "));
    let is_of = |name: &str, node: &str| {
        let rest = name.strip_prefix("skiff-");
        rest.is_some_and(|rest| rest.split_once('-').is_some_and(|(_, of)| of == node))
    };
    for name in names.filter(|name| nodes.iter().any(|node| is_of(name, node))) {
        read(&mut command("nft", ["delete", "table", "ip", name]))?;
    }
    for end in ["-s", "-d"] {
        // Until it is not there: fails where the Engine makes no rules, too.
        while read(
            Command::new("iptables")
                .args(["-w", "5", "-D", "DOCKER-USER"])
                .args([
                    end,
                    PODS,
                    "-m",
                    "comment",
                    "--comment",
                    "skiff-pods",
                    "-j",
                    "ACCEPT",
                ]),
        )
        .is_ok()
        {}
    }
    Ok(())
}
