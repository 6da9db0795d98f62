//! `bench NAME…`: measures the built `skiff` against its targets, and where the Docker Engine is the
//! limit against the Engine itself. Prints a table; `--json FILE` keeps the same as JSON. Server CPU
//! stands beside wall time, since it survives a noisy machine.

mod api;
mod api3;
mod boot;
mod failover;
mod gateway;
mod load;
mod machine;
mod memory;
mod names;
mod options;
mod pods;
mod report;
mod rollout;
mod servers;
mod services;
mod slowdisk;
mod viewpoint;

use std::process::ExitCode;

use options::Options;
use report::{Report, Row};

/// Measures, and returns what it found.
type Measure = fn(&Options) -> Vec<Row>;

/// A benchmark, and by which names it is asked for.
struct Bench {
    name: &'static str,
    /// Another benchmark that brings this one along.
    with: Option<&'static str>,
    measure: Measure,
}

const BENCHES: [Bench; 10] = [
    bench("boot", |_| boot::rows()),
    bench("memory", |_| memory::rows()),
    bench("api", |_| api::rows()),
    Bench {
        name: "api3",
        with: Some("api"),
        measure: |_| api3::rows(),
    },
    bench("pods", |_| pods::rows()),
    bench("rollout", |_| rollout::rows()),
    bench("services", |_| services::rows()),
    bench("gateway", |options| gateway::rows(options.rounds)),
    bench("failover", |options| failover::rows(options.kills)),
    bench("slowdisk", |options| slowdisk::rows(options.minutes)),
];

const fn bench(name: &'static str, measure: Measure) -> Bench {
    Bench {
        name,
        with: None,
        measure,
    }
}

fn main() -> ExitCode {
    let names = BENCHES.map(|bench| bench.name);
    let options = match Options::parse(std::env::args().skip(1), &names) {
        Ok(options) => options,
        Err(why) => {
            let names = names.join("|");
            eprintln!(
                "bench: {why}\nusage: cargo xtask bench [{names}]… [--json FILE] [--kills N] \
                 [--minutes N] [--rounds N]"
            );
            return ExitCode::from(2);
        }
    };
    let chosen = BENCHES.iter().filter(|bench| {
        options.wants(bench.name) || bench.with.is_some_and(|other| options.wants(other))
    });
    let reports: Vec<Report> = chosen
        .map(|bench| {
            let report = Report::new(bench.name, (bench.measure)(&options));
            println!("{report}");
            report
        })
        .collect();
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&reports).expect("a report is plain data");
        if let Err(why) = std::fs::write(path, text + "\n") {
            eprintln!("bench: write {}: {why}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
