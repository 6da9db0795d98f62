//! Facts of the machine and of processes, from `/proc`.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
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
    megabytes(&field(&path, "VmRSS").expect("the process runs"))
}

/// From the kernel's `1234 kB`, which are of 1024 bytes.
fn megabytes(text: &str) -> f64 {
    let kilobytes: u32 = text
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .expect("the kernel's format");
    f64::from(kilobytes) * 1.024 / 1000.0
}

/// A process and those that it has started, and they, and so on.
pub(crate) fn family(pid: Pid) -> Vec<Pid> {
    let parents = parents();
    let mut family = vec![pid];
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        let children = parents.iter().filter(|(_, of)| *of == parent);
        family.extend(children.map(|(child, _)| *child));
        at += 1;
    }
    family
}

/// Every process and its parent.
fn parents() -> Vec<(Pid, Pid)> {
    let entries = fs::read_dir("/proc").expect("there is /proc").flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let number = |text: &str| Pid::from_raw(text.parse().ok()?);
    names
        .filter_map(|name| {
            // Other people's processes may end at any moment.
            let stat = fs::read_to_string(format!("/proc/{name}/stat")).ok()?;
            let (_, fields) = stat.rsplit_once(") ")?;
            Some((number(&name)?, number(fields.split(' ').nth(1)?)?))
        })
        .collect()
}

/// CPU time that a family of processes has used so far.
pub(crate) fn cpu_of(family: &[Pid]) -> Duration {
    family.iter().copied().map(cpu).sum()
}

/// Resident memory of a family of processes in MB. What several of them share counts once.
pub(crate) fn resident_mb_of(family: &[Pid]) -> f64 {
    if let [only] = family {
        return resident_mb(*only);
    }
    let share = |pid: &Pid| {
        let path = format!("/proc/{}/smaps_rollup", pid.as_raw_nonzero());
        megabytes(&field(&path, "Pss:").expect("the process runs"))
    };
    family.iter().map(share).sum()
}

/// Lets this process, and those that it will start, have so many descriptors, or as many as it may;
/// returns how many.
pub(crate) fn allow_descriptors(wanted: u64) -> u64 {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = |current, maximum| Rlimit {
        current: Some(current),
        maximum,
    };
    let least = maximum.map_or(wanted, |maximum| maximum.max(wanted));
    let raised = maximum.map(|_| least);
    if setrlimit(Resource::Nofile, limit(wanted, raised)).is_ok() {
        return wanted;
    }
    // Only a privileged process may have more than it was given.
    let given = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    setrlimit(Resource::Nofile, limit(given, maximum)).expect("a limit below the highest");
    given
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use rustix::process::getpid;

    use super::*;

    #[test]
    fn a_family_is_a_process_and_its_children() {
        let own = getpid();
        let mut child = Command::new("sleep").arg("60").spawn().expect("a child");
        let pid = Pid::from_child(&child);
        let family = family(own);
        assert_eq!(family.first(), Some(&own));
        assert!(family.contains(&pid), "{family:?}");
        assert!(resident_mb_of(&family) > 0.0);
        child.kill().expect("end the child");
        child.wait().expect("wait for the child");
    }

    #[test]
    fn the_kernels_kilobytes_are_of_1024_bytes() {
        assert!((megabytes("1000 kB") - 1.024).abs() < 1e-9);
    }
}
