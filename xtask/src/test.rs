//! `test`: prepares the machine, builds what the tests drive, runs every suite that can run here,
//! and says what was left out and why. On CI nothing is left out.

use std::collections::BTreeMap;
use std::process::Command;

use crate::shell::{self, Done, Failure, cargo, run};
use crate::suites::{CRATE_SUITES, SUITES};
use crate::tools::{self, Need};

/// Runs every test; `args` go to the test runner.
///
/// # Errors
/// A failed test, a failed build, or on CI a suite that can't run.
pub(crate) fn test(args: &[String]) -> Done {
    let skipped = prepare()?;
    if !skipped.is_empty() {
        let report = report(&skipped);
        if shell::on_ci() {
            return Err(Failure::Missing(report));
        }
        // Said before the run, since a failing run ends there.
        shell::say(&report);
    }
    for mut runner in runners(&skipped, args) {
        run(runner
            .env("SKIFF_BIN", tools::skiff_binary())
            .env("CARGO_TERM_COLOR", "never"))?;
    }
    Ok(())
}

/// Suites that can't run here, each with the first thing that stands in its way.
fn prepare() -> Done<BTreeMap<&'static str, String>> {
    let mut verdicts: BTreeMap<Need, Option<String>> = BTreeMap::new();
    let mut skipped = BTreeMap::new();
    for suite in SUITES.iter().chain(CRATE_SUITES) {
        for need in suite.needs {
            if !verdicts.contains_key(need) {
                let verdict = match tools::provide(*need) {
                    Ok(()) => None,
                    Err(Failure::Missing(why)) => Some(why),
                    Err(failure) => return Err(failure),
                };
                verdicts.insert(*need, verdict);
            }
            if let Some(Some(why)) = verdicts.get(need) {
                skipped.insert(suite.name, why.clone());
                break;
            }
        }
    }
    Ok(skipped)
}

fn report(skipped: &BTreeMap<&str, String>) -> String {
    let lines = skipped
        .iter()
        .map(|(suite, why)| format!("  {suite}: {why}"));
    format!(
        "{} suite(s) skipped:\n{}",
        skipped.len(),
        lines.collect::<Vec<_>>().join("\n")
    )
}

/// One run of nextest, or where it is not installed the same tests by cargo itself.
fn runners(skipped: &BTreeMap<&str, String>, args: &[String]) -> Vec<Command> {
    if shell::works(&mut cargo(["nextest", "--version"])) {
        let mut nextest = cargo(["nextest", "run", "--workspace"]);
        if shell::on_ci() {
            nextest.args(["--profile", "ci"]);
        }
        if !skipped.is_empty() {
            let binaries: Vec<_> = skipped
                .keys()
                .map(|name| format!("binary({name})"))
                .collect();
            nextest.args(["--filterset", &format!("not ({})", binaries.join(" or "))]);
        }
        nextest.args(args);
        return vec![nextest];
    }
    let mut units = cargo(["test", "--quiet", "--workspace", "--exclude", "skiff-tests"]);
    if skipped.contains_key("rules") {
        // Cargo leaves out packages, not test binaries.
        units.args(["--exclude", "skiff-network"]);
    }
    units.args(args);
    let mut suites = cargo(["test", "--quiet", "--package", "skiff-tests"]);
    for suite in SUITES
        .iter()
        .filter(|suite| !skipped.contains_key(suite.name))
    {
        suites.args(["--test", suite.name]);
    }
    // One test at a time: those that drive Docker share its cores.
    suites.args(args).args(["--", "--test-threads", "1"]);
    vec![units, suites]
}
