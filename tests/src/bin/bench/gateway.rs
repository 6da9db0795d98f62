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
/// Of this process and of each proxy: ten thousand clients and what else is open.
const DESCRIPTORS: u64 = 20_000;

/// The proxies, Skiff first: by name, and how each is started.
const PROXIES: [(&str, Start); 3] = [
    ("skiff", skiff::start),
    ("nginx", nginx::start),
    ("haproxy", haproxy::start),
];

/// Starts a proxy before backends; nothing if it is not installed.
type Start = fn(&Backends) -> Option<Proxy>;

/// All figures of this benchmark.
pub(crate) fn rows(rounds: u32) -> Vec<Row> {
    // Before any proxy is started, so that each may have as many.
    let enough = machine::allow_descriptors(DESCRIPTORS);
    let backends = Backends::start();
    let mut rows = throughput::rows(&backends, rounds);
    if enough {
        rows.extend(idle::rows(&backends));
    } else {
        rows.push(Row::absent(
            "10,000 idle connections",
            "the limit of descriptors may not be raised",
        ));
    }
    rows
}
