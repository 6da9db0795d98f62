//! The way to other name servers, with one in this process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable as _;
use tokio::net::UdpSocket;

use crate::dns::answer::Answer;
use crate::dns::upstream::Upstream;
use crate::dns::wire::{Asked, Transport, read};

/// A name server: names that begin with `dead` are not answered, those with `long` are cut.
struct Town {
    upstream: Arc<Upstream>,
    heard: Arc<AtomicUsize>,
}

impl Town {
    async fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let upstream = Arc::new(Upstream::new(Ipv4Addr::UNSPECIFIED.into()));
        upstream.ask_at(std::iter::once(socket.local_addr().unwrap()));
        let heard = Arc::new(AtomicUsize::new(0));
        tokio::spawn(serve(socket, Arc::clone(&heard)));
        Self { upstream, heard }
    }

    fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }

    async fn resolve(&self, client: u8, name: &str) -> Option<Answer> {
        let asked = asked(name);
        let from = IpAddr::from([10, 42, 0, client]);
        self.upstream.resolve(from, &asked.query, &asked).await
    }
}

async fn serve(socket: UdpSocket, heard: Arc<AtomicUsize>) {
    let mut bytes = [0; 1500];
    loop {
        let (count, from): (usize, SocketAddr) = socket.recv_from(&mut bytes).await.unwrap();
        let asked = Message::from_bytes(&bytes[..count]).unwrap();
        heard.fetch_add(1, Ordering::Relaxed);
        let name = asked.queries[0].name().clone();
        let mut answer = Message::response(asked.metadata.id, OpCode::Query);
        answer.metadata.message_type = MessageType::Response;
        answer.metadata.truncation = name.to_ascii().starts_with("long");
        answer.add_query(asked.queries[0].clone());
        let data = RData::A(A(Ipv4Addr::new(192, 0, 2, 1)));
        answer.add_answer(Record::from_rdata(name.clone(), 60, data));
        if !name.to_ascii().starts_with("dead") {
            socket
                .send_to(&answer.to_vec().unwrap(), from)
                .await
                .unwrap();
        }
    }
}

fn asked(name: &str) -> Asked {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_str(name).unwrap(), RecordType::A));
    read(&message.to_vec().unwrap(), Transport::Udp).unwrap()
}

#[tokio::test]
async fn a_pod_that_asks_for_dead_names_takes_no_other_pods_turn() {
    let town = Town::new().await;
    let names: Vec<String> = (0..400).map(|at| format!("dead{at}.example.")).collect();
    let dead = join_all(names.iter().map(|name| town.resolve(2, name)));
    let other = async {
        let began = Instant::now();
        let answer = town.resolve(3, "good.example.").await;
        (answer, began.elapsed())
    };
    let (dead, (answer, took)) = tokio::join!(dead, other);
    assert!(dead.iter().all(Option::is_none));
    assert_eq!(answer.expect("an answer").answers.len(), 1);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn what_many_ask_at_once_is_asked_once() {
    let town = Town::new().await;
    let all = (0..50).map(|client| town.resolve(client, "same.example."));
    let answers = join_all(all).await;
    assert!(answers.iter().all(Option::is_some));
    assert_eq!(town.heard(), 1);
}

#[tokio::test]
async fn an_answer_that_was_cut_says_so_and_is_not_kept() {
    let town = Town::new().await;
    for times in 1..=2 {
        let answer = town.resolve(2, "long.example.").await.expect("an answer");
        assert!(answer.truncated);
        let bytes = asked("long.example.").reply(answer, false).unwrap();
        assert!(Message::from_bytes(&bytes).unwrap().metadata.truncation);
        assert_eq!(town.heard(), times, "it is asked anew");
    }
    let whole = town.resolve(2, "good.example.").await.expect("an answer");
    assert!(!whole.truncated);
}
