//! `skiff sim`: the whole cluster in one thread and in virtual time, from one seed. Finds out
//! whether the servers and agents of this very binary keep their promises.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use skiff_sim::{Options, Report, simulate};

use crate::args::SimArgs;
use crate::error::CliError;
use crate::print;

/// Simulates, and shows what came of it. A violated invariant is exit code 2.
pub(crate) async fn run(args: SimArgs) -> Result<(), CliError> {
    let work = tokio::task::spawn_blocking(move || match args.seeds.clone() {
        Some(seeds) => many(&args, &seeds),
        None => one(&args),
    });
    let ended = work.await;
    ended.map_err(|_| CliError::Failed("the simulation broke off".into()))?
}

fn options(args: &SimArgs, seed: u64) -> Options {
    let seconds = args.seconds.unwrap_or(args.minutes * 60);
    Options {
        seed,
        servers: args.servers,
        nodes: args.nodes,
        length: Duration::from_secs(seconds),
        faults: args.faults.clone(),
        mutation: args.mistake,
        whole_trace: args.trace,
    }
}

fn one(args: &SimArgs) -> Result<(), CliError> {
    let report = simulate(&options(args, args.seed.unwrap_or_default()));
    if let Some(trace) = &report.trace {
        print::text(trace)?;
    }
    print::line(&report.to_string())?;
    verdict(report.violation.is_some().then_some(report.options.seed))
}

/// Each processor takes the next seed until there are none or one has failed.
fn many(args: &SimArgs, seeds: &std::ops::Range<u64>) -> Result<(), CliError> {
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let (done, found) = (AtomicU64::new(0), Mutex::new(None));
    let begun = Instant::now();
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let report = simulate(&options(args, seed));
            done.fetch_add(1, Ordering::Relaxed);
            if report.violation.is_some() {
                failed.store(true, Ordering::Relaxed);
                keep_first(&found, report);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(report) = &found {
        print::line(&report.to_string())?;
    }
    let (done, took) = (done.into_inner(), begun.elapsed().as_secs_f64());
    let each = took / f64::from(u32::try_from(done).unwrap_or(u32::MAX).max(1));
    print::line(&format!("{done} seeds in {took:.0} s, {each:.2} s each"))?;
    verdict(found.map(|report| report.options.seed))
}

/// The failure of the lowest seed, so that two runs show the same.
fn keep_first(found: &Mutex<Option<Report>>, report: Report) {
    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
    let first = found
        .as_ref()
        .is_none_or(|known| report.options.seed < known.options.seed);
    if first {
        *found = Some(report);
    }
}

fn verdict(failed: Option<u64>) -> Result<(), CliError> {
    match failed {
        None => Ok(()),
        Some(seed) => Err(CliError::Failed(format!(
            "seed {seed} violates an invariant"
        ))),
    }
}
