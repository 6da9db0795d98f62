//! What a simulation is asked for: which seed, how large, which faults.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::mutation::Mutation;

/// A kind of fault. Which of them happen, when and to whom is drawn from the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Servers, agents and whole nodes die and come back; what was not synced is lost.
    Crash,
    /// Links are cut, some of them one way only.
    Partition,
    /// Messages between servers are lost, and connections break.
    Loss,
    /// Messages between servers overtake each other.
    Reorder,
    /// An fdatasync takes 200 ms and more.
    SlowDisk,
    /// A server dies in the middle of a write.
    TornWrite,
    /// A server's disk is full for a while.
    DiskFull,
    /// A server's clock on the wall jumps.
    Clock,
    /// A server stops for a while and goes on, as by SIGSTOP.
    Pause,
    /// A server hands the leadership over.
    Transfer,
    /// A server's machine is lost, and another one takes its place in the group.
    Replace,
}

impl Fault {
    /// Every fault there is.
    pub const ALL: [Self; 11] = [
        Self::Crash,
        Self::Partition,
        Self::Loss,
        Self::Reorder,
        Self::SlowDisk,
        Self::TornWrite,
        Self::DiskFull,
        Self::Clock,
        Self::Pause,
        Self::Transfer,
        Self::Replace,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Partition => "partition",
            Self::Loss => "loss",
            Self::Reorder => "reorder",
            Self::SlowDisk => "slow-disk",
            Self::TornWrite => "torn-write",
            Self::DiskFull => "disk-full",
            Self::Clock => "clock",
            Self::Pause => "pause",
            Self::Transfer => "transfer",
            Self::Replace => "replace",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|fault| fault.word() == text);
        known.ok_or_else(|| {
            let all = Self::ALL.map(Self::word).join(", ");
            format!("{text:?} is no fault; there are {all}")
        })
    }
}

/// One simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where all chance comes from.
    pub seed: u64,
    /// How many servers.
    pub servers: usize,
    /// How many nodes.
    pub nodes: usize,
    /// How long faults happen and clients work; healing comes on top.
    pub length: Duration,
    /// The faults that may happen.
    pub faults: Vec<Fault>,
    /// What is done wrong on purpose, to see that it is noticed.
    pub mutation: Option<Mutation>,
    /// Whether every line of the trace is kept.
    pub whole_trace: bool,
}

impl Options {
    /// A short simulation with all faults: what runs by the thousand.
    #[must_use]
    pub fn short(seed: u64) -> Self {
        Self {
            seed,
            servers: 3,
            nodes: 5,
            length: Duration::from_secs(60),
            faults: Fault::ALL.to_vec(),
            mutation: None,
            whole_trace: false,
        }
    }

    /// Whether a kind of fault may happen.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}

/// The arguments of `skiff sim` that run the same again.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            servers,
            nodes,
            ..
        } = self;
        let seconds = self.length.as_secs();
        let faults: Vec<&str> = self.faults.iter().map(|fault| fault.word()).collect();
        write!(
            f,
            "--seed {seed} --servers {servers} --nodes {nodes} --seconds {seconds} --faults {}",
            faults.join(",")
        )
    }
}
