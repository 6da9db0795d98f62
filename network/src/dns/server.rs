//! The sockets: datagrams and connections in, answers out. Names of the cluster are answered on the
//! spot; a question for others waits in a task of its own and holds up nobody.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::Name;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Settings;
use super::answer::{Answer, Decision, answer};
use super::records::Records;
use super::upstream::Upstream;
use super::wire::{Asked, Transport, Unread, read};

/// Connections at once; each holds a socket and at most two packets. One more waits.
const CONNECTIONS_MAX: usize = 128;

/// A connection on which nobody asks, or nobody reads, is closed after this.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// The largest datagram that is read; questions are far smaller.
const DATAGRAM_MAX: usize = 4096;

/// After an error of a socket: what caused it may pass, and must not use up the processor.
const PAUSE: Duration = Duration::from_millis(20);

/// Answers questions.
pub struct Resolver {
    settings: Settings,
    records: RwLock<Records>,
    /// The way to other name servers.
    pub upstream: Upstream,
    turn: AtomicUsize,
}

/// How far the answer to a packet is.
enum Begun {
    Ready(Vec<u8>),
    /// Upstream is asked for a name; what comes before it in the answer is known.
    Upstream(Box<Asked>, Query, Answer),
    Nothing,
}

impl Resolver {
    /// A resolver that knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            upstream: Upstream::new(settings.address),
            settings,
            records: RwLock::default(),
            turn: AtomicUsize::new(0),
        }
    }

    /// Changes what is known.
    pub fn learn(&self, change: impl FnOnce(&mut Records)) {
        change(&mut self.records.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether everything there is has been told once.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let records = self.records.read();
        records.unwrap_or_else(PoisonError::into_inner).complete
    }

    fn begin(&self, bytes: &[u8], transport: Transport) -> Begun {
        let asked = match read(bytes, transport) {
            Ok(asked) => asked,
            Err(Unread::Ignore) => return Begun::Nothing,
            Err(Unread::Refuse(bytes)) => return Begun::Ready(bytes),
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let decision = {
            let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
            answer(&records, &self.settings, &asked.query, turn)
        };
        match decision {
            Decision::Answer(answer) => ready(&asked, answer, true),
            Decision::Forward => {
                let query = asked.query.clone();
                let begun = Answer::code(ResponseCode::NoError);
                Begun::Upstream(Box::new(asked), query, begun)
            }
            Decision::Continue(begun, name) => {
                let query = renamed(&asked.query, name);
                Begun::Upstream(Box::new(asked), query, begun)
            }
        }
    }

    async fn finish(
        &self,
        from: IpAddr,
        (asked, query, mut begun): (&Asked, &Query, Answer),
    ) -> Option<Vec<u8>> {
        match self.upstream.resolve(from, query, asked).await {
            Some(mut heard) => {
                begun.truncated = heard.truncated;
                begun.answers.append(&mut heard.answers);
                begun.code = heard.code;
                begun.authorities = heard.authorities;
                begun.additionals = heard.additionals;
            }
            None => begun.code = ResponseCode::ServFail,
        }
        match ready(asked, begun, false) {
            Begun::Ready(bytes) => Some(bytes),
            Begun::Nothing | Begun::Upstream(..) => None,
        }
    }

    /// Answers datagrams for as long as it is polled.
    pub async fn serve_udp(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let mut bytes = [0; DATAGRAM_MAX];
        loop {
            let (count, from) = match socket.recv_from(&mut bytes).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "cannot receive");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let packet = bytes.get(..count).unwrap_or_default();
            match self.begin(packet, Transport::Udp) {
                Begun::Ready(bytes) => send(&socket, &bytes, from).await,
                Begun::Upstream(asked, query, begun) => {
                    let (me, socket) = (Arc::clone(&self), Arc::clone(&socket));
                    // Bounded by what a client may have open: one more is refused at once.
                    tokio::spawn(async move {
                        let begun = (&*asked, &query, begun);
                        if let Some(bytes) = me.finish(from.ip(), begun).await {
                            send(&socket, &bytes, from).await;
                        }
                    });
                }
                Begun::Nothing => {}
            }
        }
    }

    /// Answers on connections for as long as it is polled.
    pub async fn serve_tcp(self: Arc<Self>, listener: Arc<TcpListener>) {
        let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(permit) = Arc::clone(&free).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, from)) => {
                    let me = Arc::clone(&self);
                    tokio::spawn(async move {
                        if let Err(error) = me.converse(stream, from.ip()).await {
                            tracing::debug!(%error, "a connection failed");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn converse(&self, mut stream: TcpStream, from: IpAddr) -> io::Result<()> {
        stream.set_nodelay(true)?;
        loop {
            let mut packet = Vec::new();
            let heard = timeout(IDLE_MAX, async {
                let length = stream.read_u16().await?;
                packet.resize(length.into(), 0);
                stream.read_exact(&mut packet).await
            });
            match heard.await {
                Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Ok(read) => read?,
                Err(_) => return Ok(()),
            };
            let bytes = match self.begin(&packet, Transport::Tcp) {
                Begun::Ready(bytes) => Some(bytes),
                Begun::Upstream(asked, query, begun) => {
                    self.finish(from, (&asked, &query, begun)).await
                }
                Begun::Nothing => return Ok(()),
            };
            let Some(bytes) = bytes else { return Ok(()) };
            let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
            let mut framed = length.to_be_bytes().to_vec();
            framed.extend(bytes);
            timeout(IDLE_MAX, stream.write_all(&framed)).await??;
        }
    }
}

fn renamed(query: &Query, name: Name) -> Query {
    let mut renamed = query.clone();
    renamed.set_name(name);
    renamed
}

fn ready(asked: &Asked, answer: Answer, authoritative: bool) -> Begun {
    match asked.reply(answer, authoritative) {
        Ok(bytes) => Begun::Ready(bytes),
        Err(error) => {
            tracing::debug!(%error, "an answer cannot be written");
            let failed = Answer::code(ResponseCode::ServFail);
            asked
                .reply(failed, false)
                .map_or(Begun::Nothing, Begun::Ready)
        }
    }
}

async fn send(socket: &UdpSocket, bytes: &[u8], to: std::net::SocketAddr) {
    if let Err(error) = socket.send_to(bytes, to).await {
        tracing::debug!(%error, "cannot answer");
    }
}
