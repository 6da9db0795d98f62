//! The gateway beside nginx and HAProxy: requests per second, latency and CPU time on the same way to
//! the same backends, and what ten thousand idle connections keep in memory.
//!
//! All three look at the path's prefix, send a request to that one of three backends which has the
//! fewest under way, keep connections on both sides, and tell the backend who asked. Load generator
//! and backends run in this process; they share the cores with the proxy, which is why the proxy's
//! CPU time stands beside its rate.

mod answer;
mod backends;
mod clients;
mod haproxy;
mod idle;
mod nginx;
mod proxy;
mod skiff;
mod throughput;

use backends::Backends;
use proxy::Proxy;

use crate::machine;
use crate::report::Row;

/// The services, each behind the prefix of its name.
const SERVICES: [&str; 4] = ["users", "cart", "pay", "orders"];
/// Pods of each service.
const BACKENDS_EACH: usize = 3;
/// Idle connections that a proxy should hold.
const IDLE: usize = 10_000;
/// Descriptors of a proxy with so many connections and of this process: each takes another one for
/// every connection, in case that it leads to a backend. More than that are files and listeners.
const DESCRIPTORS: u64 = 2 * 10_000 + DESCRIPTORS_SPARE;
const DESCRIPTORS_SPARE: u64 = 1024;

/// The proxies, Skiff first: by name, and how each is started.
const PROXIES: [(&str, Start); 3] = [
    ("skiff", skiff::start),
    ("nginx", nginx::start),
    ("haproxy", haproxy::start),
];

/// Starts a proxy before backends, for so many connections; nothing if it is not installed.
type Start = fn(&Backends, usize) -> Option<Proxy>;

/// All figures of this benchmark.
pub(crate) fn rows(rounds: u32) -> Vec<Row> {
    // Before any proxy is started, so that each may have as many.
    let descriptors = machine::allow_descriptors(DESCRIPTORS);
    let most = connections_max(descriptors);
    let backends = Backends::start();
    let mut rows = throughput::rows(&backends, most, rounds);
    rows.extend(idle::rows(&backends, most));
    rows
}

/// How many connections a proxy can have with so many descriptors.
fn connections_max(descriptors: u64) -> usize {
    let possible = descriptors.saturating_sub(DESCRIPTORS_SPARE) / 2;
    usize::try_from(possible).map_or(IDLE, |possible| possible.min(IDLE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_descriptors_are_fewer_connections() {
        let cases = [
            (DESCRIPTORS, IDLE),
            (u64::MAX, IDLE),
            (20_000, 9488),
            (100, 0),
        ];
        for (descriptors, expected) in cases {
            assert_eq!(connections_max(descriptors), expected, "{descriptors}");
        }
    }
}
