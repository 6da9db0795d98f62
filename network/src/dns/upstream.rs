//! Asks others for names that are not the cluster's: each server of `/etc/resolv.conf` in its turn,
//! from a port and with an id that nobody can guess. A server that is away is asked last. What
//! several ask at the same time is asked once.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::serialize::binary::BinDecodable as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::timeout;

use super::answer::Answer;
use super::cache::{Cache, Question};
use super::turns::Turns;
use super::wire::{Asked, UDP_MAX};

/// Where name servers listen.
const PORT: u16 = 53;

/// How long a client waits for a name that nobody answers: less than clients' own patience, so that
/// they hear a "no" from us before they ask again.
const PATIENCE: Duration = Duration::from_millis(1900);

/// Servers that are asked; resolvers never know more than these.
const SERVERS_MAX: usize = 3;

/// For so long a server that did not answer is asked after the others.
const AWAY: Duration = Duration::from_secs(10);

/// The way to other name servers.
pub struct Upstream {
    own: IpAddr,
    state: Mutex<State>,
    turns: Turns,
}

#[derive(Default)]
struct State {
    servers: Vec<Server>,
    cache: Cache,
    /// What is being asked; its answer comes there, or none.
    under_way: HashMap<Question, Heard>,
}

/// Where an answer comes that somebody else asks for.
type Heard = watch::Receiver<Option<Answer>>;

/// How far a question is.
enum Begun<'a> {
    /// It was answered before.
    Answered(Answer),
    /// Somebody else asks it.
    UnderWay(Heard),
    /// We have to ask it.
    Ours(Asking<'a>),
}

/// A question that we ask for all who want to know, until this is dropped.
struct Asking<'a> {
    upstream: &'a Upstream,
    question: Question,
    tell: watch::Sender<Option<Answer>>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.upstream.state().under_way.remove(&self.question);
    }
}

#[derive(Clone, Debug)]
struct Server {
    address: SocketAddr,
    /// Since when it does not answer.
    away: Option<Instant>,
}

/// Why a server's word is of no use.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("no answer in time")]
    Late(#[from] tokio::time::error::Elapsed),
    #[error("cannot be asked")]
    Socket(#[from] io::Error),
    #[error("the question cannot be written, or the answer not be read")]
    Wire(#[from] hickory_proto::ProtoError),
}

impl Upstream {
    /// A way to nobody yet, for a resolver that answers at an address.
    #[must_use]
    pub fn new(own: IpAddr) -> Self {
        Self {
            own,
            state: Mutex::default(),
            turns: Turns::default(),
        }
    }

    /// Asks these servers from now on. Asking ourselves would never end: we are left out.
    pub fn ask(&self, servers: &[IpAddr]) {
        let wanted = servers.iter().filter(|server| **server != self.own);
        self.ask_at(wanted.map(|server| SocketAddr::new(*server, PORT)));
    }

    /// Asks servers at these ports.
    pub(super) fn ask_at(&self, servers: impl Iterator<Item = SocketAddr>) {
        let mut state = self.state();
        let known = std::mem::take(&mut state.servers);
        let servers = servers.take(SERVERS_MAX).map(|address| {
            let same = known.iter().find(|server| server.address == address);
            same.cloned().unwrap_or(Server {
                address,
                away: None,
            })
        });
        state.servers = servers.collect();
    }

    /// What upstream says of a name that a client asks for; none if nobody there can be asked.
    pub async fn resolve(&self, from: IpAddr, query: &Query, asked: &Asked) -> Option<Answer> {
        let question = Question::new(query, asked.dnssec(), asked.unchecked());
        if let Some(answer) = self.state().cache.get(&question, Instant::now()) {
            return Some(answer);
        }
        let deadline = Instant::now() + PATIENCE;
        let Some(open) = self.turns.open(from) else {
            tracing::debug!(%from, "too many of its questions are open");
            return None;
        };
        // Only those who have their turn ask: nobody waits for the turn of somebody else.
        let asked_already = self.state().under_way.get(&question).cloned();
        if let Some(heard) = asked_already {
            return hear(heard).await;
        }
        let Some(turn) = self.turns.wait(&open, deadline).await else {
            tracing::debug!(%from, "too many questions are on their way upstream");
            return None;
        };
        let asking = match self.begin(question) {
            Begun::Answered(answer) => return Some(answer),
            Begun::UnderWay(heard) => {
                drop(turn);
                return hear(heard).await;
            }
            Begun::Ours(asking) => asking,
        };
        let answer = self.ask_all(query, asked, deadline).await?;
        let (question, now) = (asking.question.clone(), Instant::now());
        self.state().cache.put(question, &answer, now);
        asking.tell.send_replace(Some(answer.clone()));
        Some(answer)
    }

    fn begin(&self, question: Question) -> Begun<'_> {
        let mut state = self.state();
        if let Some(answer) = state.cache.get(&question, Instant::now()) {
            return Begun::Answered(answer);
        }
        if let Some(heard) = state.under_way.get(&question) {
            return Begun::UnderWay(heard.clone());
        }
        let (tell, heard) = watch::channel(None);
        state.under_way.insert(question.clone(), heard);
        Begun::Ours(Asking {
            upstream: self,
            question,
            tell,
        })
    }

    async fn ask_all(&self, query: &Query, asked: &Asked, deadline: Instant) -> Option<Answer> {
        let servers = self.in_turn();
        let mut said = None;
        for (at, server) in servers.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let turns = u32::try_from(servers.len() - at).unwrap_or(1);
            let heard = match timeout(left / turns, exchange(*server, query, asked)).await {
                Ok(heard) => heard,
                Err(late) => Err(late.into()),
            };
            match heard {
                Ok(answer) => {
                    self.note(*server, None);
                    if matches!(answer.code, ResponseCode::NoError | ResponseCode::NXDomain) {
                        return Some(answer);
                    }
                    // Another one may know better.
                    said = Some(answer);
                }
                Err(error) => self.note(*server, Some(&error)),
            }
        }
        said
    }

    /// Whom to ask: first those that answered last time. A single one is asked twice: a datagram
    /// may be lost.
    fn in_turn(&self) -> Vec<SocketAddr> {
        let now = Instant::now();
        let mut servers = self.state().servers.clone();
        let is_away = |server: &Server| {
            let since = server.away;
            since.is_some_and(|since| now.saturating_duration_since(since) < AWAY)
        };
        servers.sort_by_key(is_away);
        let mut addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
        if let [only] = addresses[..] {
            addresses.push(only);
        }
        addresses
    }

    /// Remembers how a server behaved, and tells of it when that has changed.
    fn note(&self, address: SocketAddr, error: Option<&NoAnswer>) {
        let mut state = self.state();
        let mut all = state.servers.iter_mut();
        let Some(server) = all.find(|server| server.address == address) else {
            return;
        };
        match (error, server.away) {
            (Some(error), None) => {
                tracing::warn!(server = %address.ip(), %error, "a name server does not answer");
                server.away = Some(Instant::now());
            }
            (Some(_), Some(_)) => server.away = Some(Instant::now()),
            (None, Some(_)) => {
                tracing::info!(server = %address.ip(), "the name server answers again");
                server.away = None;
            }
            (None, None) => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the answer to what somebody else asks; none if they hear none.
async fn hear(mut answer: Heard) -> Option<Answer> {
    let heard = answer.wait_for(Option::is_some).await;
    heard.ok()?.clone()
}

/// Asks one server, again by TCP if its answer did not fit into a datagram.
async fn exchange(server: SocketAddr, query: &Query, asked: &Asked) -> Result<Answer, NoAnswer> {
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.checking_disabled = asked.unchecked();
    message.add_query(query.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_MAX).set_dnssec_ok(asked.dnssec());
    message.set_edns(edns);
    let heard = by_udp(server, &message).await?;
    if !heard.metadata.truncation {
        return Ok(taken(heard));
    }
    // What fits is better than nothing where no connection can be made; whoever asked is told that
    // it is not all.
    Ok(taken(by_tcp(server, &message).await.unwrap_or(heard)))
}

fn taken(message: Message) -> Answer {
    Answer {
        code: message.metadata.response_code,
        truncated: message.metadata.truncation,
        answers: message.answers,
        authorities: message.authorities,
        additionals: message.additionals,
    }
}

async fn by_udp(server: SocketAddr, message: &Message) -> Result<Message, NoAnswer> {
    let any: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&message.to_vec()?).await?;
    let mut bytes = [0; UDP_MAX as usize];
    loop {
        let count = socket.recv(&mut bytes).await?;
        // Something else than the answer may be somebody's attempt to answer in its place.
        let heard = bytes.get(..count).map(Message::from_bytes);
        if let Some(Ok(heard)) = heard
            && answers(&heard, message)
        {
            return Ok(heard);
        }
    }
}

async fn by_tcp(server: SocketAddr, message: &Message) -> Result<Message, NoAnswer> {
    let mut stream = TcpStream::connect(server).await?;
    let bytes = message.to_vec()?;
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&bytes).await?;
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).await?;
    let unreadable = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let heard = Message::from_bytes(&bytes).map_err(unreadable)?;
    if answers(&heard, message) {
        return Ok(heard);
    }
    let other = io::Error::new(io::ErrorKind::InvalidData, "an answer to something else");
    Err(other.into())
}

/// Whether a message answers another one.
fn answers(heard: &Message, asked: &Message) -> bool {
    heard.metadata.id == asked.metadata.id
        && heard.metadata.message_type == MessageType::Response
        && heard.queries == asked.queries
}
