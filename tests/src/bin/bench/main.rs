//! `bench NAME…`: measures the built `skiff` against its targets, and where the Docker Engine is the
//! limit against the Engine itself. Prints a table; `--json FILE` keeps the same as JSON. Server CPU
//! stands beside wall time, since it survives a noisy machine.

mod api;
mod boot;
mod load;
mod machine;
mod memory;
mod pods;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use report::Report;

/// Measures, and returns what it found.
type Bench = fn() -> Vec<report::Row>;

const BENCHES: [(&str, Bench); 4] = [
    ("boot", boot::rows),
    ("memory", memory::rows),
    ("api", api::rows),
    ("pods", pods::rows),
];

fn main() -> ExitCode {
    let mut json = None;
    let mut wanted = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => match args.next() {
                Some(file) => json = Some(PathBuf::from(file)),
                None => return usage("--json: a file must follow"),
            },
            name if BENCHES.iter().any(|(known, _)| *known == name) => wanted.push(arg),
            other => return usage(&format!("no bench is called `{other}`")),
        }
    }
    let chosen = BENCHES
        .iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name));
    let reports: Vec<Report> = chosen
        .map(|(name, rows)| {
            let report = Report::new(name, rows());
            println!("{report}");
            report
        })
        .collect();
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&reports).expect("a report is plain data");
        if let Err(why) = std::fs::write(&path, text + "\n") {
            eprintln!("bench: write {}: {why}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn usage(why: &str) -> ExitCode {
    let names = BENCHES.map(|(name, _)| name).join("|");
    eprintln!("bench: {why}\nusage: cargo xtask bench [{names}]… [--json FILE]");
    ExitCode::from(2)
}
