//! What a proxy keeps in memory while ten thousand connections are open on which nothing happens, or
//! as many of them as the limit of descriptors lets it have.

use std::time::Duration;

use skiff_tests::wait;

use super::backends::Backends;
use super::clients::Clients;
use super::proxy::Proxy;
use super::{PROXIES, SERVICES};
use crate::machine;
use crate::report::Row;

/// Of a whole server with its gateway.
const MOST_MB: f64 = 64.0;
const ROUNDS: usize = 3;
/// Until buffers of a start, or of the last requests, are given back.
const SETTLE: Duration = Duration::from_secs(10);

/// All figures of this part; who is not installed has none.
pub(super) fn rows(backends: &Backends, count: usize) -> Vec<Row> {
    let all = PROXIES.into_iter();
    all.flat_map(|(name, start)| {
        let measured = (0..ROUNDS).filter_map(|_| Some(measure(&start(backends, count)?, count)));
        figures(name, count, &measured.collect::<Vec<_>>())
    })
    .collect()
}

/// Resident memory of a fresh proxy in MB, before it had connections and with all of them idle.
fn measure(proxy: &Proxy, count: usize) -> [f64; 2] {
    wait::pause(SETTLE);
    let before = machine::resident_mb_of(&proxy.family());
    let mut clients = Clients::connect(proxy.address, &SERVICES, count);
    wait::pause(SETTLE);
    let after = machine::resident_mb_of(&proxy.family());
    // A proxy that has closed some would have had an easier time.
    clients.ask_each();
    [before, after]
}

fn figures(name: &str, count: usize, measured: &[[f64; 2]]) -> Vec<Row> {
    if measured.is_empty() {
        return Vec::new();
    }
    let of = |figure: fn(&[f64; 2]) -> f64| -> Vec<f64> { measured.iter().map(figure).collect() };
    let idle = format!("{name}, {count} idle connections");
    let with = Row::new(&idle, "MB", &of(|[_, after]| *after));
    let grown = of(|[before, after]| after - before);
    let each = u32::try_from(count).map_or(f64::NAN, f64::from);
    let each: Vec<f64> = grown.iter().map(|grown| grown * 1000.0 / each).collect();
    vec![
        Row::new(
            &format!("{name}, no connection"),
            "MB",
            &of(|[before, _]| *before),
        ),
        if name == "skiff" {
            with.at_most(MOST_MB)
        } else {
            with
        },
        Row::new(&format!("{idle}: growth"), "MB", &grown),
        Row::new(&format!("{idle}: growth for each"), "KB", &each),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_growth_is_that_of_a_round_and_of_each_connection() {
        let rows = figures("skiff", 1000, &[[20.0, 25.0], [10.0, 20.0], [21.0, 27.0]]);
        let values: Vec<f64> = rows.iter().map(|row| row.value).collect();
        assert_eq!(values, [20.0, 25.0, 6.0, 6.0]);
        assert!(figures("nginx", 1000, &[]).is_empty());
    }
}
