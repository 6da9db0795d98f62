//! `check` and `fix`: what must hold before a change is worth a test run. `check` never writes.

use crate::shell::{self, Done, cargo, command, run};

/// Format, lints, dependency rules and house rules.
///
/// # Errors
/// The first tool that said no.
pub(crate) fn check() -> Done {
    run(&mut cargo(["fmt", "--all", "--check"]))?;
    run(&mut cargo([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))?;
    if shell::works(&mut cargo(["deny", "--version"])) {
        run(&mut cargo(["deny", "check", "bans", "licenses", "sources"]))?;
    } else {
        shell::say("skipped: cargo deny (not installed: cargo install cargo-deny)");
    }
    run(&mut cargo([
        "test",
        "--quiet",
        "--package",
        "skiff-tests",
        "--test",
        "tidy",
    ]))
}

/// What `check` asks for and a tool can do by itself.
///
/// # Errors
/// The first tool that said no.
pub(crate) fn fix() -> Done {
    run(&mut cargo([
        "clippy",
        "--quiet",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
        "--workspace",
        "--all-targets",
    ]))?;
    run(&mut cargo(["fmt", "--all"]))?;
    run(&mut command("git", ["diff", "--stat"]))
}
