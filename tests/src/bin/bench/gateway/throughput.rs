//! Requests per second, latency and CPU time through each proxy, rounds alternating.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Pid;

use super::backends::Backends;
use super::clients::Clients;
use super::{PROXIES, SERVICES};
use crate::load::Round;
use crate::machine;
use crate::report::Row;

const CONNECTIONS: [usize; 2] = [64, 256];
const ROUND: Duration = Duration::from_secs(5);
/// Until connections to the backends are open and buffers are as large as they will be.
const WARM_UP: Duration = Duration::from_secs(1);
/// The least rate, of nginx' with one worker per core.
const OF_NGINX_LEAST: f64 = 0.7;
/// Clients and backends with nothing between them: what they take of the cores.
const NO_PROXY: &str = "no proxy";

/// What is asked.
struct Target {
    name: &'static str,
    address: SocketAddr,
    services: &'static [&'static str],
    family: Vec<Pid>,
}

/// One round at one target.
struct Taken {
    round: Round,
    cpu: Duration,
}

impl Taken {
    /// The proxy's CPU time for a thousand requests, in ms.
    fn cpu_ms(&self) -> f64 {
        let count = u32::try_from(self.round.count).map_or(f64::NAN, f64::from);
        self.cpu.as_secs_f64() * 1e6 / count
    }
}

/// All figures of this part.
pub(super) fn rows(backends: &Backends, most: usize, rounds: u32) -> Vec<Row> {
    let started = PROXIES.map(|(name, start)| (name, start(backends, most)));
    let proxies = started.iter().filter_map(|(name, proxy)| {
        let proxy = proxy.as_ref()?;
        Some(Target {
            name,
            address: proxy.address,
            services: &SERVICES,
            family: proxy.family(),
        })
    });
    let mut targets: Vec<Target> = proxies.collect();
    targets.push(Target {
        name: NO_PROXY,
        address: backends.any(),
        services: &SERVICES[..1],
        family: Vec::new(),
    });
    let absent = started.iter().filter(|(_, proxy)| proxy.is_none());
    let mut rows: Vec<Row> = absent
        .map(|(name, _)| Row::absent(name, "not installed"))
        .collect();
    for connections in CONNECTIONS {
        let taken = alternate(&targets, connections, rounds);
        for (target, taken) in targets.iter().zip(&taken) {
            rows.extend(figures(target, connections, taken));
        }
        let [ours, others @ ..] = &*taken else {
            continue;
        };
        for (target, theirs) in targets.iter().skip(1).zip(others) {
            rows.extend(ratios(target.name, connections, ours, theirs));
        }
    }
    rows
}

/// Rounds at each target, a different one first each time; returned by target.
fn alternate(targets: &[Target], connections: usize, rounds: u32) -> Vec<Vec<Taken>> {
    let mut taken: Vec<Vec<Taken>> = targets.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds as usize {
        for turn in 0..targets.len() {
            let at = (turn + round) % targets.len();
            taken[at].push(take(&targets[at], connections));
        }
    }
    taken
}

fn take(target: &Target, connections: usize) -> Taken {
    let mut clients = Clients::connect(target.address, target.services, connections);
    clients.drive(WARM_UP);
    let before = machine::cpu_of(&target.family);
    let round = clients.drive(ROUND);
    let cpu = machine::cpu_of(&target.family).saturating_sub(before);
    Taken { round, cpu }
}

fn figures(target: &Target, connections: usize, taken: &[Taken]) -> Vec<Row> {
    let of = |figure: &dyn Fn(&Taken) -> f64| -> Vec<f64> { taken.iter().map(figure).collect() };
    let name = |what: &str| format!("{}, {connections} connections{what}", target.name);
    let mut rows = vec![
        Row::new(&name(""), "/s", &of(&|taken| taken.round.rate)),
        Row::new(&name(": p50"), "ms", &of(&|taken| taken.round.p50_ms)),
        Row::new(&name(": p99"), "ms", &of(&|taken| taken.round.p99_ms)),
    ];
    if !target.family.is_empty() {
        let cpu = of(&Taken::cpu_ms);
        rows.push(Row::new(&name(": CPU of 1,000 requests"), "ms", &cpu));
    }
    rows
}

/// Skiff's figures as shares of another proxy's, each of the same round.
fn ratios(other: &str, connections: usize, ours: &[Taken], theirs: &[Taken]) -> Vec<Row> {
    if other == NO_PROXY {
        return Vec::new();
    }
    let row = |what: &str, figure: &dyn Fn(&Taken) -> f64| {
        let pairs = ours.iter().zip(theirs);
        let shares: Vec<f64> = pairs
            .map(|(our, their)| figure(our) / figure(their))
            .collect();
        let name = format!("skiff, {connections} connections: {what}, of {other}'s");
        Row::new(&name, "×", &shares)
    };
    let rate = row("requests/s", &|taken| taken.round.rate);
    vec![
        if other == "nginx" {
            rate.at_least(OF_NGINX_LEAST)
        } else {
            rate
        },
        row("p99", &|taken| taken.round.p99_ms),
        row("CPU", &Taken::cpu_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(rate: f64, p99_ms: f64, count: usize, cpu_ms: u64) -> Taken {
        Taken {
            round: Round {
                rate,
                p50_ms: 1.0,
                p99_ms,
                count,
            },
            cpu: Duration::from_millis(cpu_ms),
        }
    }

    #[test]
    fn ratios_are_of_rounds_that_followed_each_other() {
        let ours = [taken(50.0, 3.0, 1000, 10), taken(10.0, 2.0, 2000, 30)];
        let theirs = [taken(100.0, 1.0, 1000, 20), taken(10.0, 2.0, 1000, 10)];
        let rows = ratios("nginx", 64, &ours, &theirs);
        let spreads: Vec<_> = rows.iter().map(|row| row.spread).collect();
        assert_eq!(spreads, [[0.5, 1.0], [1.0, 3.0], [0.5, 1.5]]);
        assert!(rows.iter().filter(|row| row.target.is_some()).count() == 1);
        assert!(ratios(NO_PROXY, 64, &ours, &theirs).is_empty());
    }
}
