//! `bench`: builds the release binary and the load generator, then lets the latter measure.

use std::process::Command;

use crate::shell::{self, Done, cargo, run};
use crate::tools::{self, Need};

/// Benchmarks of servers alone: these need no containers.
const WITHOUT_ENGINE: [&str; 4] = ["api", "api3", "failover", "slowdisk"];

/// Runs the benchmarks that `args` name.
///
/// # Errors
/// Something is missing, does not build, or fails under load.
pub(crate) fn bench(args: &[String]) -> Done {
    if needs_engine(args) {
        tools::provide(Need::Docker)?;
        tools::provide(Need::Busybox)?;
        tools::provide(Need::Shop)?;
    }
    run(&mut cargo([
        "build",
        "--quiet",
        "--release",
        "--package",
        "skiff",
    ]))?;
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
    run(bench.args(args).env("SKIFF_BIN", tools::skiff_binary()))
}

/// Whether a benchmark that starts containers is asked for; each flag takes the word after it.
fn needs_engine(args: &[String]) -> bool {
    let mut words = args.iter().map(String::as_str);
    let mut names = Vec::new();
    while let Some(word) = words.next() {
        if word.starts_with("--") {
            words.next();
        } else {
            names.push(word);
        }
    }
    names.is_empty() || names.iter().any(|name| !WITHOUT_ENGINE.contains(name))
}

#[cfg(test)]
mod tests {
    use super::needs_engine;

    #[test]
    fn only_what_starts_containers_needs_an_engine() {
        let cases = [
            ("", true),
            ("--json out", true),
            ("boot", true),
            ("api pods", true),
            ("api", false),
            ("failover --kills 3 --json boot", false),
            ("slowdisk --minutes 1 memory", true),
        ];
        for (line, expected) in cases {
            let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(needs_engine(&args), expected, "{line}");
        }
    }
}
