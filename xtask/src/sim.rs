//! `sim`: builds the release binary, and lets it simulate a thousand small clusters.

use crate::shell::{Done, Failure, cargo, command, run};
use crate::tools;

/// Seeds that CI looks at. They are always the same: a failing one is nobody's bad luck.
const SEEDS: u64 = 1000;
/// Small clusters for a short time: a thousand of them find more than one large one.
const SIZE: [&str; 4] = ["--nodes", "5", "--seconds", "60"];

/// Runs `--seeds N` seeds from `--from N` on; other arguments go to `skiff sim`.
///
/// # Errors
/// An argument makes no sense, the build fails, or an invariant was violated.
pub(crate) fn sim(args: &[String]) -> Done {
    let (mut seeds, mut from, mut others) = (SEEDS, 1, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let target = match arg.as_str() {
            "--seeds" => &mut seeds,
            "--from" => &mut from,
            _ => {
                others.push(arg);
                continue;
            }
        };
        let number = args.next().and_then(|text| text.parse().ok());
        *target = number.ok_or_else(|| Failure::Usage(format!("{arg} needs a number")))?;
    }
    run(&mut cargo([
        "build",
        "--quiet",
        "--release",
        "--package",
        "skiff",
    ]))?;
    let range = format!("{from}..{}", from.saturating_add(seeds));
    let binary = tools::skiff_binary();
    let mut sim = command(&binary.to_string_lossy(), ["sim", "--seeds", &range]);
    if others.is_empty() {
        sim.args(SIZE);
    }
    run(sim.args(others))
}
