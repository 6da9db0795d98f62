//! Facts of the machine and of processes, from `/proc`.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::process::Pid;
use skiff_tests::skiff::{root, run};

/// The kernel counts CPU time in these, on every machine that Linux runs on.
const TICKS_PER_SECOND: u64 = 100;

/// The commit under test; a tree with changes says so.
pub(crate) fn commit() -> String {
    let describe = ["describe", "--always", "--dirty"];
    run(Command::new("git").args(describe).current_dir(root()))
        .out
        .trim()
        .to_owned()
}

/// Cores, processor, memory, kernel and Engine in one line.
pub(crate) fn describe() -> String {
    let cores = cores();
    let model = field("/proc/cpuinfo", "model name").unwrap_or_default();
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let engine = run(Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]));
    let engine = match engine.out.trim() {
        "" => "no Docker Engine".to_owned(),
        version => format!("Docker {version}"),
    };
    let kernel = kernel.trim();
    format!("{cores} cores ({model}), {memory}, Linux {kernel}, {engine}")
}

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// CPU time that a process has used so far, in user and kernel.
pub(crate) fn cpu(pid: Pid) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
        .expect("the process runs");
    // The command's name may contain spaces, but it ends at the last parenthesis.
    let (_, fields) = stat.rsplit_once(") ").expect("the kernel's format");
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks: u64 = [11, 12]
        .iter()
        .filter_map(|at| fields.get(*at)?.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// Resident memory of a process in MB (10^6 bytes).
pub(crate) fn resident_mb(pid: Pid) -> f64 {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let text = field(&path, "VmRSS").expect("the process runs");
    let kilobytes: u32 = text
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .expect("the kernel's format");
    f64::from(kilobytes) * 1.024 / 1000.0
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
