//! What there is to say about the machine: read at the start and whenever its address has become
//! another one, pressure whenever asked.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::{AgentConfig, PODS_MAX};
use crate::runtime::EngineInfo;

/// Less memory than this, in bytes, is pressure. Kubernetes' eviction threshold.
const MEMORY_LOW: u64 = 100 << 20;

/// Less of the disk than this, in percent, is pressure. Kubernetes' is 10, for it evicts then; here
/// it only shows.
const DISK_LOW_PERCENT: u64 = 5;

/// Where the node's gateway listens.
const GATEWAY: &str = "network.skiff.io/gateway";

/// What the node's object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The node's name.
    pub name: String,
    /// The agent's own id.
    pub agent_id: String,
    /// The node's address.
    pub ip: Option<IpAddr>,
    /// The machine's host name.
    pub hostname: String,
    /// Labels that the user gave.
    pub labels: BTreeMap<String, String>,
    /// What others must know to send packets to its pods: annotations, those without a value to be
    /// taken away.
    pub network: BTreeMap<String, Option<String>>,
    /// The engine and its machine.
    pub engine: EngineInfo,
    /// CPU to give, in millicores.
    pub cpu_millicores: i64,
    /// Memory to give, in bytes.
    pub memory_bytes: i64,
    /// Pods to take.
    pub pods: u32,
    /// The size of the disk that volumes are on, in bytes.
    pub disk_bytes: u64,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// Another one with every boot.
    pub boot_id: String,
    /// Where the disk is measured.
    pub data_dir: PathBuf,
}

/// What is short on the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Memory.
    pub memory: bool,
    /// Disk.
    pub disk: bool,
}

impl Facts {
    /// Reads the machine, which has that address.
    #[must_use]
    pub fn read(
        config: &AgentConfig,
        agent_id: String,
        engine: EngineInfo,
        ip: Option<IpAddr>,
    ) -> Self {
        let line = |path: &str| {
            fs::read_to_string(path)
                .map(|text| text.trim().to_owned())
                .unwrap_or_default()
        };
        let cpus = i64::from(engine.cpus).saturating_mul(1000);
        let memory = i64::try_from(engine.memory_bytes).unwrap_or(i64::MAX);
        let uname = rustix::system::uname();
        let mut network = crate::network::annotations(config.network, ip);
        let gateway = config.gateway.as_ref();
        network.insert(
            GATEWAY.into(),
            gateway.map(|gateway| gateway.listen.to_string()),
        );
        Self {
            name: config.name.clone(),
            agent_id,
            ip,
            network,
            hostname: uname.nodename().to_string_lossy().into_owned(),
            labels: config.labels.clone(),
            cpu_millicores: config.capacity.cpu_millicores.unwrap_or(cpus),
            memory_bytes: config.capacity.memory_bytes.unwrap_or(memory),
            pods: config.capacity.pods.unwrap_or(PODS_MAX),
            disk_bytes: disk(&config.data_dir).map_or(0, |(total, _)| total),
            machine_id: line("/etc/machine-id"),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
            data_dir: config.data_dir.clone(),
            engine,
        }
    }

    /// What is short right now.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        let memory = fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| available(&text));
        let disk = disk(&self.data_dir);
        Pressure {
            memory: memory.is_some_and(|bytes| bytes < MEMORY_LOW),
            disk: disk.is_some_and(|(total, free)| free < total / 100 * DISK_LOW_PERCENT),
        }
    }
}

/// Total and free bytes of the disk below a path.
fn disk(path: &Path) -> Option<(u64, u64)> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some((
        found.f_blocks.saturating_mul(found.f_frsize),
        found.f_bavail.saturating_mul(found.f_frsize),
    ))
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read() {
        let text = "MemTotal:       24000000 kB\nMemAvailable:       2048 kB\n";
        assert_eq!(available(text), Some(2 << 20));
        assert_eq!(available("nothing"), None);
    }

    #[test]
    fn the_disk_has_a_size() {
        let (total, free) = disk(Path::new("/")).expect("a disk");
        assert!(total >= free && total > 0);
    }
}
