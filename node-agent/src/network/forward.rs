//! Leave for pods' packets to be forwarded on a machine with a Docker Engine.
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

const CHAIN: &str = "DOCKER-USER";

/// What the rules say of themselves to people who list them.
const COMMENT: &str = "skiff-pods";

/// How often the rules are looked for: nobody tells when an Engine or an administrator has dropped
/// them.
const RECHECK: Duration = Duration::from_secs(5);

/// Held while rules are looked for and added, so that agents which share a machine add each once.
const TURN: &str = "/run/skiff-forward.lock";
/// How often the turn is asked for, and what lies between.
const TURN_TRIES: u32 = 50;
const TURN_PAUSE: Duration = Duration::from_millis(100);

/// How long `iptables` may wait for others that hold its lock, in seconds.
const LOCK_SECONDS: &str = "5";

/// Root's programs are not on every process's path.
const MORE_DIRS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Keeps the rules for as long as it is polled.
pub(super) async fn keep(settings: &Settings, state: &watch::Sender<NetworkState>) {
    // Without the program the Engine has made no rules that could be in the way.
    let Some(program) = find("iptables") else {
        return;
    };
    let mut failing = false;
    loop {
        let done = ensure(&program, settings.pod_cidr).await;
        if let (Err(why), false) = (&done, failing) {
            tracing::warn!(why, "the Engine may drop pods' packets; will retry");
        }
        // Only what this has told is taken back.
        if done.is_err() || failing {
            state::trouble(state, Part::Forwarding, done.as_ref().err().cloned());
        }
        failing = done.is_err();
        tokio::time::sleep(RECHECK).await;
    }
}

/// Adds the rules that are missing.
async fn ensure(program: &PathBuf, pods: Cidr) -> Result<(), String> {
    let _turn = turn().await;
    let listed = match run(program, &["-S", CHAIN]).await {
        Ok(listed) => listed,
        // No such chain: the Engine makes no rules, or there is none in this namespace.
        Err(Refused::Said(_)) => return Ok(()),
        Err(Refused::NotRun(why)) => return Err(why),
    };
    for rule in missing(&listed, pods) {
        let mut args = vec!["-I", CHAIN];
        args.extend(rule.iter().map(String::as_str));
        run(program, &args).await.map_err(|refused| match refused {
            Refused::Said(why) | Refused::NotRun(why) => why,
        })?;
        tracing::info!(rule = rule.join(" "), "pods' packets may be forwarded");
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

/// The rules that a listed chain lacks.
fn missing(listed: &str, pods: Cidr) -> Vec<Vec<String>> {
    let pods = pods.to_string();
    let wanted = ["-s", "-d"].map(|end| {
        let words = [
            end,
            &pods,
            "-m",
            "comment",
            "--comment",
            COMMENT,
            "-j",
            "ACCEPT",
        ];
        words.map(str::to_owned).to_vec()
    });
    let has = |rule: &Vec<String>| {
        let text = format!("-A {CHAIN} {}", rule.join(" "));
        listed.lines().any(|line| line.trim() == text)
    };
    wanted.into_iter().filter(|rule| !has(rule)).collect()
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

    #[test]
    fn only_missing_rules_are_added() {
        let rule = |end: &str| {
            format!("-A DOCKER-USER {end} 10.42.0.0/16 -m comment --comment skiff-pods -j ACCEPT\n")
        };
        let chain = "-N DOCKER-USER\n";
        let last = "-A DOCKER-USER -j RETURN\n";
        let cases = [
            ("none", String::new(), vec!["-s", "-d"]),
            ("one", rule("-d"), vec!["-s"]),
            ("both", rule("-s") + &rule("-d"), vec![]),
            (
                "another cluster's",
                rule("-s").replace("42", "43"),
                vec!["-s", "-d"],
            ),
        ];
        let pods = "10.42.0.0/16".parse().expect("a range");
        for (case, there, expected) in cases {
            let missing = missing(&format!("{chain}{there}{last}"), pods);
            let ends: Vec<&str> = missing.iter().map(|rule| rule[0].as_str()).collect();
            assert_eq!(ends, expected, "{case}");
        }
    }
}
