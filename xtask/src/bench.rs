//! `bench`: builds the release binary and the load generator, then lets the latter measure.

use crate::shell::{Done, cargo, run};
use crate::tools::{self, Need};

/// Runs the benchmarks that `args` name.
///
/// # Errors
/// Something is missing, does not build, or fails under load.
pub(crate) fn bench(args: &[String]) -> Done {
    tools::provide(Need::Docker)?;
    tools::provide(Need::Busybox)?;
    run(&mut cargo([
        "build",
        "--quiet",
        "--release",
        "--package",
        "skiff",
    ]))?;
    let mut bench = cargo([
        "run",
        "--quiet",
        "--release",
        "--package",
        "skiff-tests",
        "--bin",
        "bench",
        "--",
    ]);
    run(bench.args(args).env("SKIFF_BIN", tools::skiff_binary()))
}
