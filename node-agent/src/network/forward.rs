//! Leave for pods' packets to be forwarded: by the kernel, and on a machine with a Docker Engine.
//!
//! The Engine drops what goes from one of its bridges to another, and, if it was the one to turn
//! forwarding on, whatever else it did not allow. Its chain `DOCKER-USER` is where others may say
//! so first. The `iptables` program is used for it, not nftables: it is what the Engine itself uses, so
//! both speak to the same tables whichever of its two backends the machine has.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use skiff_network::catalog::Cidr;
use tokio::process::Command;
use tokio::sync::watch;

use super::settings::Settings;
use super::state::{self, NetworkState, Part};
use super::sysctl;

const CHAIN: &str = "DOCKER-USER";

/// What the rules say of themselves to people who list them.
const COMMENT: &str = "skiff-pods";

/// How often settings and rules are looked at: nobody tells when an Engine or an administrator has
/// changed them.
pub(super) const RECHECK: Duration = Duration::from_secs(5);

/// Held while rules are looked for and added, so that agents which share a machine add each once.
const TURN: &str = "/run/skiff-forward.lock";
/// How often the turn is asked for, and what lies between.
const TURN_TRIES: u32 = 50;
const TURN_PAUSE: Duration = Duration::from_millis(100);

/// How long `iptables` may wait for others that hold its lock, in seconds.
const LOCK_SECONDS: &str = "5";

/// Root's programs are not on every process's path.
const MORE_DIRS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Keeps settings and rules for as long as it is polled.
pub(super) async fn keep(settings: &Settings, state: &watch::Sender<NetworkState>) {
    let mut known = None;
    loop {
        let kernel = sysctl::ensure(&[sysctl::FORWARD, sysctl::BRIDGED]).err();
        // Without the program the Engine has made no rules that could be in the way.
        let rules = match find("iptables") {
            Some(program) => ensure(&program, settings.pod_cidr).await.err(),
            None => None,
        };
        let all: Vec<String> = kernel.into_iter().chain(rules).collect();
        let why = (!all.is_empty()).then(|| all.join("; "));
        if why != known {
            match &why {
                Some(why) => tracing::warn!(why, "pods' packets may be dropped; will retry"),
                None => tracing::info!("pods' packets are forwarded again"),
            }
        }
        state::trouble(state, Part::Forwarding, why.clone());
        known = why;
        tokio::time::sleep(RECHECK).await;
    }
}

/// Puts the rules where they belong.
async fn ensure(program: &PathBuf, pods: Cidr) -> Result<(), String> {
    let _turn = turn().await;
    let listed = match run(program, &["-S", CHAIN]).await {
        Ok(listed) => listed,
        // No such chain: the Engine makes no rules, or there is none in this namespace.
        Err(Refused::Said(_)) => return Ok(()),
        Err(Refused::NotRun(why)) => return Err(why),
    };
    for step in steps(&listed, pods) {
        let args: Vec<&str> = step.iter().map(String::as_str).collect();
        run(program, &args).await.map_err(|refused| match refused {
            Refused::Said(why) | Refused::NotRun(why) => why,
        })?;
        tracing::info!(step = step.join(" "), "pods' packets may be forwarded");
    }
    Ok(())
}

/// Waits for this agent's turn, but not for ever: whoever has it may be frozen. Without it, or where
/// no such file can be, a rule may come to stand there twice, which does no harm.
async fn turn() -> Option<File> {
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).open(TURN);
    let file = file.ok()?;
    for _ in 0..TURN_TRIES {
        match file.try_lock() {
            Ok(()) => return Some(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(TURN_PAUSE).await,
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}

/// The calls of `iptables` after which a listed chain has our rules where they belong: behind all
/// that an administrator wrote, which is asked first, and before the end of the chain, which may be
/// a rule that returns. A rule of ours at another place is moved.
fn steps(listed: &str, pods: Cidr) -> Vec<Vec<String>> {
    let prefix = format!("-A {CHAIN} ");
    let mut chain: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.trim().strip_prefix(&prefix))
        .collect();
    let mut steps = Vec::new();
    for end in ["-s", "-d"] {
        let rule = format!("{end} {pods} -m comment --comment {COMMENT} -j ACCEPT");
        let words = |first: &[&str]| {
            let first = first.iter().copied();
            let all = first.chain(rule.split(' '));
            all.map(str::to_owned).collect::<Vec<String>>()
        };
        let delete = words(&["-D", CHAIN]);
        let end = end_of(&chain);
        let found = chain.iter().position(|one| *one == rule);
        // Other agents' rules are as good as ours.
        let others = |one: &&str| !one.contains(COMMENT);
        let behind = |at: usize| {
            chain
                .get(at..end)
                .is_some_and(|rest| !rest.iter().any(others))
        };
        match found {
            Some(at) if at < end && behind(at) => continue,
            // Nothing gets as far as there: nothing is lost while it is moved.
            Some(at) if at >= end => {
                chain.remove(at);
                steps.push(delete);
                steps.push(words(&["-I", CHAIN, &(end + 1).to_string()]));
            }
            // The new one first: no packet is to be dropped meanwhile. Deleting takes the first
            // that is alike, which is the old one, even if others have changed the chain by then.
            Some(at) => {
                steps.push(words(&["-I", CHAIN, &(end + 1).to_string()]));
                steps.push(delete);
                chain.remove(at);
            }
            None => steps.push(words(&["-I", CHAIN, &(end + 1).to_string()])),
        }
        // What holds its place for the other rule.
        let end = end_of(&chain);
        chain.insert(end, COMMENT);
    }
    steps
}

/// The place behind the last rule of a chain that any packet reaches.
fn end_of(chain: &[&str]) -> usize {
    let returns = chain.iter().position(|rule| *rule == "-j RETURN");
    returns.unwrap_or(chain.len())
}

enum Refused {
    /// It ran and said no.
    Said(String),
    /// It could not be run.
    NotRun(String),
}

async fn run(program: &PathBuf, args: &[&str]) -> Result<String, Refused> {
    let output = Command::new(program)
        .args(["-w", LOCK_SECONDS])
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| Refused::NotRun(format!("cannot run {}: {error}", program.display())))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or_default();
    Err(Refused::Said(format!("iptables: {said}")))
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(MORE_DIRS.map(PathBuf::from));
    dirs.map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "-i eth0 ! -s 10.0.0.0/8 -j DROP";
    const LAST: &str = "-j RETURN";

    fn rule(end: &str, range: &str) -> String {
        format!("{end} {range} -m comment --comment skiff-pods -j ACCEPT")
    }

    /// What `iptables` would do.
    fn take(chain: &mut Vec<String>, step: &[String]) {
        match step[0].as_str() {
            "-I" => chain.insert(step[2].parse::<usize>().unwrap() - 1, step[3..].join(" ")),
            "-D" => {
                let at = chain.iter().position(|one| *one == step[2..].join(" "));
                chain.remove(at.unwrap());
            }
            other => panic!("{other}"),
        }
    }

    fn listed(chain: &[String]) -> String {
        let rules = chain.iter().map(|rule| format!("-A DOCKER-USER {rule}\n"));
        "-N DOCKER-USER\n".to_owned() + &rules.collect::<String>()
    }

    #[test]
    fn our_rules_come_to_stand_behind_the_administrators() {
        let (from, to) = (rule("-s", "10.42.0.0/16"), rule("-d", "10.42.0.0/16"));
        let others = rule("-s", "10.43.0.0/16");
        let (from, to, others) = (from.as_str(), to.as_str(), others.as_str());
        let cases: [(&str, &[&str], usize, &[&str]); 11] = [
            ("an empty chain", &[], 2, &[from, to]),
            ("an end", &[LAST], 2, &[from, to, LAST]),
            ("one is there", &[to, LAST], 1, &[to, from, LAST]),
            ("both are", &[from, to, LAST], 0, &[from, to, LAST]),
            ("without an end", &[USERS, to, from], 0, &[USERS, to, from]),
            (
                "an administrator's",
                &[USERS, LAST],
                2,
                &[USERS, from, to, LAST],
            ),
            (
                "ours are before an administrator's",
                &[from, to, USERS],
                4,
                &[USERS, from, to],
            ),
            (
                "one of them is",
                &[from, USERS, to, LAST],
                2,
                &[USERS, to, from, LAST],
            ),
            (
                "ours are behind the end",
                &[USERS, LAST, from, to],
                4,
                &[USERS, from, to, LAST],
            ),
            (
                "another cluster's may stand behind ours",
                &[from, to, others],
                0,
                &[from, to, others],
            ),
            ("and before", &[others, LAST], 2, &[others, from, to, LAST]),
        ];
        let pods = "10.42.0.0/16".parse().unwrap();
        for (case, there, count, expected) in cases {
            let mut chain: Vec<String> = there.iter().map(|&rule| rule.to_owned()).collect();
            let steps = steps(&listed(&chain), pods);
            assert_eq!(steps.len(), count, "{case}: {steps:?}");
            steps.iter().for_each(|step| take(&mut chain, step));
            assert_eq!(chain, expected, "{case}");
            let again = super::steps(&listed(&chain), pods);
            assert!(again.is_empty(), "{case}: {again:?}");
        }
    }
}
