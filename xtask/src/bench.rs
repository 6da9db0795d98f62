//! `bench`: builds the release binary and the load generator, then lets the latter measure.

use std::process::Command;

use crate::shell::{self, Done, cargo, run};
use crate::tools::{self, Need};

/// Benchmarks of servers alone: these need no containers.
const WITHOUT_ENGINE: [&str; 5] = ["api", "api3", "failover", "slowdisk", "gateway"];

/// Asks for the binary as it is shipped: its build takes a quarter of an hour, so that what does not
/// depend on it is measured with the one of the tests.
const SHIPPED: &str = "--dist";

/// Runs the benchmarks that `args` name.
///
/// # Errors
/// Something is missing, does not build, or fails under load.
pub(crate) fn bench(args: &[String]) -> Done {
    let (shipped, args) = split(args);
    for need in needs(&args) {
        tools::provide(need)?;
    }
    let profile = if shipped { "dist" } else { "release" };
    run(cargo(["build", "--quiet", "--package", "skiff", "--profile"]).arg(profile))?;
    // The load is a program of its own, beside the one that measures.
    run(&mut cargo([
        "build",
        "--quiet",
        "--release",
        "--package",
        "skiff-tests",
        "--bins",
    ]))?;
    let mut bench = Command::new(shell::target_dir().join("release/bench"));
    let skiff = shell::target_dir().join(profile).join("skiff");
    run(bench.args(args).env("SKIFF_BIN", skiff))
}

/// Whether the binary is to be measured as it is shipped, and the other words.
fn split(args: &[String]) -> (bool, Vec<String>) {
    let mut args = args.to_vec();
    let all = args.len();
    args.retain(|word| word != SHIPPED);
    (args.len() < all, args)
}

/// What the benchmarks asked for can't do without; each flag takes the word after it.
fn needs(args: &[String]) -> Vec<Need> {
    let mut words = args.iter().map(String::as_str);
    let mut names = Vec::new();
    while let Some(word) = words.next() {
        if word.starts_with("--") {
            words.next();
        } else {
            names.push(word);
        }
    }
    let all = names.is_empty();
    let mut needs = Vec::new();
    if all || names.iter().any(|name| !WITHOUT_ENGINE.contains(name)) {
        needs.extend([Need::Docker, Need::Busybox, Need::Shop]);
    }
    if all || names.contains(&"gateway") {
        needs.extend([Need::Nginx, Need::Haproxy]);
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_starts_containers_needs_an_engine_and_the_gateway_has_rivals() {
        let engine = [Need::Docker, Need::Busybox, Need::Shop];
        let rivals = [Need::Nginx, Need::Haproxy];
        let both = [&engine[..], &rivals].concat();
        let cases: [(&str, &[Need]); 9] = [
            ("", &both),
            ("--json out", &both),
            ("boot", &engine),
            ("api pods", &engine),
            ("api", &[]),
            ("failover --kills 3 --json boot", &[]),
            ("slowdisk --minutes 1 memory", &engine),
            ("gateway --rounds 2", &rivals),
            ("--dist gateway pods", &both),
        ];
        for (line, expected) in cases {
            let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let (shipped, args) = split(&args);
            assert_eq!(needs(&args), expected, "{line}");
            assert_eq!(shipped, line.contains("--dist"), "{line}");
        }
    }
}
