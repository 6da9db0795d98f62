//! Kernel settings that pods' packets need, in the network namespace of this process.

use std::fs;
use std::path::Path;

use tokio::sync::watch;

use super::state::{self, NetworkState, Part};

/// Packets go from link to link. Without it no pod reaches anything beyond its node.
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Packets between pods of one node pass the packet rules too, or answers of a service would come
/// from the wrong address. There only where the kernel has that part of bridges.
const BRIDGED: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// Turns on what is off; what can't be is told.
pub(super) fn set(state: &watch::Sender<NetworkState>) {
    let troubles: Vec<String> = [FORWARD, BRIDGED]
        .into_iter()
        .filter(|path| Path::new(path).exists())
        .filter_map(|path| turn_on(path).err())
        .collect();
    let why = (!troubles.is_empty()).then(|| troubles.join("; "));
    if let Some(why) = &why {
        tracing::warn!(why, "packets of pods may not be forwarded");
    }
    state::trouble(state, Part::Forwarding, why);
}

fn turn_on(path: &str) -> Result<(), String> {
    let is_on = |text: String| text.trim() != "0";
    if fs::read_to_string(path).is_ok_and(is_on) {
        return Ok(());
    }
    fs::write(path, "1").map_err(|error| format!("cannot set {path} to 1: {error}"))
}
