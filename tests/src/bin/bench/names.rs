//! How soon a node's resolver answers a name of the cluster: threads that ask one question after the
//! other, as pods' resolver libraries do.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use crate::load::Round;
use crate::report::Row;

/// Questions of each client.
const QUESTIONS: u16 = 20_000;
/// Clients at once, beside a lone one.
const CLIENTS: usize = 16;
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// The type and class of an address of the internet.
const ADDRESS: [u8; 4] = [0, 1, 0, 1];

/// The figures of a resolver that knows these services of namespace `default`: the clients ask for
/// one after the other.
pub(crate) fn rows(resolver: Ipv4Addr, services: &[String]) -> Vec<Row> {
    let questions: Vec<Vec<u8>> = services.iter().map(|name| question(name)).collect();
    let mut rows = Vec::new();
    for clients in [1, CLIENTS] {
        let round = drive(resolver, clients, &questions);
        let what = match clients {
            1 => "a cluster's name, one client".to_owned(),
            _ => format!("a cluster's name, {clients} clients at once"),
        };
        rows.push(Row::new(&format!("{what}: p50"), "ms", &[round.p50_ms]));
        let slowest = Row::new(&format!("{what}: p99"), "ms", &[round.p99_ms]);
        rows.push(match clients {
            1 => slowest.at_most(1.0),
            _ => slowest,
        });
        rows.push(Row::new(&format!("{what}: answers"), "/s", &[round.rate]));
    }
    rows
}

fn drive(resolver: Ipv4Addr, clients: usize, questions: &[Vec<u8>]) -> Round {
    let began = Instant::now();
    let latencies = std::thread::scope(|scope| {
        let all: Vec<_> = (0..clients)
            .map(|_| scope.spawn(|| client(resolver, questions)))
            .collect();
        let joined = all.into_iter().map(|one| one.join());
        joined
            .flat_map(|latencies| latencies.expect("every question is answered"))
            .collect()
    });
    Round::of(latencies, began.elapsed())
}

fn client(resolver: Ipv4Addr, questions: &[Vec<u8>]) -> Vec<Duration> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
    socket.connect((resolver, 53)).expect("an address");
    socket.set_read_timeout(Some(ANSWER_MAX)).expect("a bound");
    let mut latencies = Vec::with_capacity(usize::from(QUESTIONS));
    let mut answer = [0; 512];
    for (id, question) in (0..QUESTIONS).zip(questions.iter().cycle()) {
        let id = id.to_be_bytes();
        let message = [&id[..], question].concat();
        let sent = Instant::now();
        socket.send(&message).expect("a way to the resolver");
        let length = socket.recv(&mut answer).expect("an answer");
        latencies.push(sent.elapsed());
        let (head, count) = (&answer[..4], &answer[6..8]);
        assert!(
            length > message.len() && head[..2] == id && head[3] & 0x0f == 0 && count == [0, 1],
            "not an address: {:?}",
            &answer[..length]
        );
    }
    latencies
}

/// A question for a service's address, all but its id: recursion is desired.
fn question(service: &str) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [service, "default", "svc", "cluster", "local"] {
        bytes.push(u8::try_from(label.len()).expect("a short label"));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(ADDRESS);
    bytes
}
