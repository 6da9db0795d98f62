//! What a proxy keeps in memory while ten thousand connections are open on which nothing happens.

use std::time::Duration;

use skiff_tests::wait;

use super::backends::Backends;
use super::clients::Clients;
use super::{PROXIES, SERVICES, Start};
use crate::machine;
use crate::report::Row;

const CONNECTIONS: usize = 10_000;
/// Of a whole server with its gateway.
const MOST_MB: f64 = 64.0;
const ROUNDS: usize = 3;
/// Until buffers of a start, or of the last requests, are given back.
const SETTLE: Duration = Duration::from_secs(10);

/// All figures of this part; who is not installed has none.
pub(super) fn rows(backends: &Backends) -> Vec<Row> {
    let all = PROXIES.into_iter();
    all.flat_map(|(name, start)| figures(name, start, backends))
        .collect()
}

fn figures(name: &str, start: Start, backends: &Backends) -> Vec<Row> {
    let taken: Vec<[f64; 2]> = (0..ROUNDS)
        .filter_map(|_| measure(start, backends))
        .collect();
    if taken.is_empty() {
        return Vec::new();
    }
    let [without, with] = [0, 1].map(|at| taken.iter().map(|pair| pair[at]).collect::<Vec<_>>());
    let grown: Vec<f64> = taken.iter().map(|[before, after]| after - before).collect();
    let with = Row::new(&format!("{name}, 10,000 idle connections"), "MB", &with);
    vec![
        Row::new(&format!("{name}, no connection"), "MB", &without),
        if name == "skiff" {
            with.at_most(MOST_MB)
        } else {
            with
        },
        Row::new(
            &format!("{name}, 10,000 idle connections: growth"),
            "MB",
            &grown,
        ),
    ]
}

/// Resident memory of a fresh proxy in MB, before it had connections and with all of them idle.
fn measure(start: Start, backends: &Backends) -> Option<[f64; 2]> {
    let proxy = start(backends)?;
    wait::pause(SETTLE);
    let before = machine::resident_mb_of(&proxy.family());
    let mut clients = Clients::connect(proxy.address, &SERVICES, CONNECTIONS);
    wait::pause(SETTLE);
    let after = machine::resident_mb_of(&proxy.family());
    // A proxy that has closed some would have had an easier time.
    clients.ask_each();
    Some([before, after])
}
