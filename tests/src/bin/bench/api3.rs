//! Durable creates on three servers against one: all connections to the leader, and spread evenly
//! with two thirds forwarded; then the same while one follower is dead or stands still.

use std::time::Duration;

use rustix::process::{Pid, Signal};
use skiff_tests::api::Identity;
use skiff_tests::cluster::Cluster;

use crate::api::create;
use crate::load::{self, Round, Until};
use crate::machine;
use crate::report::Row;
use crate::servers::{bring_back, wait_until_caught_up};

const SERVERS: usize = 3;
const ROUNDS: usize = 7;
const ROUND: Until = Until::Elapsed(Duration::from_secs(4));
const WARM_UP: Until = Until::Elapsed(Duration::from_secs(2));
/// Connections while a follower is ill.
const CONNECTIONS: usize = 64;
/// Three servers should create at least this share of what one does.
const SHARE_LEAST: f64 = 0.5;
/// A follower's illness may cost the leader's p99 so many per cent.
const ILLNESS_MOST: f64 = 20.0;

/// All figures of this benchmark.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = [64, 256].into_iter().flat_map(against_one).collect();
    rows.extend(with_an_ill_follower());
    rows
}

/// Whom a round of load asks, and whose CPU time it costs.
struct Shape {
    name: &'static str,
    asked: Vec<Identity>,
    leader: Pid,
    others: Vec<Pid>,
}

/// A round, and the CPU time in it of the leader and of all servers.
struct Taken {
    round: Round,
    leader: Duration,
    all: Duration,
}

/// Rounds on one server and on three alternate, so that a noisy minute hits all of them.
fn against_one(connections: usize) -> Vec<Row> {
    let single = Cluster::server();
    let mut three = Cluster::servers(SERVERS);
    let leader = three.leader();
    let pids: Vec<Pid> = (0..SERVERS).map(|at| three.process(at).pid()).collect();
    let others = (0..SERVERS).filter(|at| *at != leader);
    let others: Vec<Pid> = others.map(|at| pids[at]).collect();
    let shapes = [
        Shape {
            name: "one server",
            asked: vec![single.identity_of(0)],
            leader: single.server.pid(),
            others: Vec::new(),
        },
        Shape {
            name: "three servers, all to the leader",
            asked: vec![three.identity_of(leader)],
            leader: pids[leader],
            others: others.clone(),
        },
        Shape {
            name: "three servers, spread over them",
            asked: (0..SERVERS).map(|at| three.identity_of(at)).collect(),
            leader: pids[leader],
            others,
        },
    ];
    for (at, shape) in shapes.iter().enumerate() {
        let call = create(&format!("warm-{at}"));
        load::drive(&shape.asked, connections, WARM_UP, 201, call);
    }
    let mut taken: [Vec<Taken>; 3] = Default::default();
    for round in 0..ROUNDS {
        for (at, (shape, rounds)) in shapes.iter().zip(&mut taken).enumerate() {
            let prefix = format!("c{connections}-{round}-{at}");
            rounds.push(take(shape, connections, &prefix));
        }
    }
    assert_eq!(three.leader(), leader, "the same server led all the time");
    let [one, rest @ ..] = &taken;
    let mut rows = figures(connections, shapes[0].name, one);
    for (shape, rounds) in shapes.iter().skip(1).zip(rest) {
        rows.extend(figures(connections, shape.name, rounds));
        let ratios: Vec<f64> = rounds
            .iter()
            .zip(one)
            .map(|(three, one)| three.round.rate / one.round.rate)
            .collect();
        let name = format!("{}, concurrency {connections}: of one server's", shape.name);
        rows.push(Row::new(&name, "×", &ratios).at_least(SHARE_LEAST));
    }
    rows
}

fn take(shape: &Shape, connections: usize, prefix: &str) -> Taken {
    let others = || shape.others.iter().map(|pid| machine::cpu(*pid)).sum();
    let (leader_before, others_before): (_, Duration) = (machine::cpu(shape.leader), others());
    let round = load::drive(&shape.asked, connections, ROUND, 201, create(prefix));
    let leader = machine::cpu(shape.leader).saturating_sub(leader_before);
    let others: Duration = others();
    Taken {
        round,
        leader,
        all: leader + others.saturating_sub(others_before),
    }
}

fn figures(connections: usize, shape: &str, taken: &[Taken]) -> Vec<Row> {
    let row = |what: &str, unit, figure: &dyn Fn(&Taken) -> f64| {
        let name = format!("create, {shape}, concurrency {connections}{what}");
        Row::new(&name, unit, &taken.iter().map(figure).collect::<Vec<_>>())
    };
    let each = |cpu: Duration, round: &Round| {
        cpu.as_secs_f64() * 1000.0 / u32::try_from(round.count).map_or(f64::NAN, f64::from)
    };
    vec![
        row("", "/s", &|taken| taken.round.rate),
        row(": p50", "ms", &|taken| taken.round.p50_ms),
        row(": p99", "ms", &|taken| taken.round.p99_ms),
        row(": CPU of the leader", "ms", &|taken| {
            each(taken.leader, &taken.round)
        }),
        row(": CPU of all servers", "ms", &|taken| {
            each(taken.all, &taken.round)
        }),
    ]
}

/// The leader's p99 with all three well, with one follower dead, and with one standing still.
fn with_an_ill_follower() -> Vec<Row> {
    let mut three = Cluster::servers(SERVERS);
    let leader = three.leader();
    let follower = (leader + 1) % SERVERS;
    let asked = [three.identity_of(leader)];
    let drive = |until: Until, prefix: &str| {
        load::drive(&asked, CONNECTIONS, until, 201, create(prefix)).p99_ms
    };
    drive(WARM_UP, "warm");
    let (mut well, mut dead, mut still) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        well.push(drive(ROUND, &format!("well-{round}")));

        three.process(follower).kill();
        dead.push(drive(ROUND, &format!("dead-{round}")));
        bring_back(&mut three, follower);

        three.process(follower).signal(Signal::STOP);
        still.push(drive(ROUND, &format!("still-{round}")));
        three.process(follower).signal(Signal::CONT);
        wait_until_caught_up(&three, follower);
    }
    assert_eq!(three.leader(), leader, "the same server led all the time");
    let mut rows = vec![Row::new("leader's p99, all well", "ms", &well)];
    for (name, ill) in [("one follower dead", dead), ("one follower stopped", still)] {
        let change: Vec<f64> = ill
            .iter()
            .zip(&well)
            .map(|(ill, well)| (ill / well - 1.0) * 100.0)
            .collect();
        rows.push(Row::new(&format!("leader's p99, {name}"), "ms", &ill));
        let name = format!("leader's p99, {name}: change");
        rows.push(Row::new(&name, "%", &change).at_most(ILLNESS_MOST));
    }
    rows
}
