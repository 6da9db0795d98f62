//! `shop SERVICE`: the five services of the demo shop in one static binary. Each is a small JSON
//! server that calls its neighbours by the addresses it was given. Not part of Skiff: it is what
//! Skiff runs, and it behaves as a good tenant should (probes, SIGTERM, one log line per request).

mod config;
mod http;
mod json;
mod server;
mod service;

use std::process::ExitCode;

use config::Config;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

fn main() -> ExitCode {
    let config = match Config::parse(std::env::args().skip(1), |name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(why) => {
            eprintln!("shop: {why}\n\n{}", config::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("shop: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until SIGTERM or SIGINT, then finishes what is under way.
///
/// A container's first process gets no default signal handling from the kernel: without a handler
/// SIGTERM would be ignored and every stop would take the whole grace period.
fn run(config: Config) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let server = server::start(config)?;
    if let Some(signal) = signals.forever().next() {
        server.log(&format!("signal {signal}: finishing"));
    }
    server.finish();
    Ok(())
}
