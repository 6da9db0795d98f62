//! Clients on kept connections, each sending its next request when the last is answered. They write
//! the bytes of a request and look for the end of its answer: more would be time that the proxy has
//! not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::answer;
use crate::load::Round;
use crate::machine;

/// More than any proxy's answer has, head and body.
const ANSWER_MAX: usize = 4096;

/// A request, and who has to answer it.
struct Ask {
    request: Vec<u8>,
    service: &'static str,
}

/// Some clients of one address.
pub(super) struct Clients {
    open: Vec<Client>,
    runtime: Runtime,
}

struct Client {
    stream: TcpStream,
    asks: Arc<[Ask]>,
    /// The request that is next.
    next: usize,
    buffer: Box<[u8; ANSWER_MAX]>,
}

impl Clients {
    /// Connects so many, one after the other; each asks once. `services` are asked for by turns.
    ///
    /// # Panics
    /// If one of them is not answered by the service that it asked.
    pub(super) fn connect(
        address: SocketAddr,
        services: &'static [&'static str],
        count: usize,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(machine::cores().div_ceil(2))
            .enable_all()
            .build()
            .expect("a runtime");
        let asks: Arc<[Ask]> = services.iter().map(|service| ask(service)).collect();
        let open = runtime.block_on(async {
            let mut open = Vec::with_capacity(count);
            for number in 0..count {
                let mut client = Client::connect(address, Arc::clone(&asks), number).await;
                client.ask().await.expect("an answer");
                open.push(client);
            }
            open
        });
        Self { open, runtime }
    }

    /// All of them ask again and again for so long.
    ///
    /// # Panics
    /// If any answer is missing or wrong: a figure for failures would mean nothing.
    pub(super) fn drive(&mut self, time: Duration) -> Round {
        let open = std::mem::take(&mut self.open);
        let began = Instant::now();
        let (back, latencies) = self.runtime.block_on(async move {
            let tasks: Vec<_> = open
                .into_iter()
                .map(|client| tokio::spawn(client.ask_until(began + time)))
                .collect();
            let (mut back, mut latencies) = (Vec::new(), Vec::new());
            for task in tasks {
                let (client, own) = task.await.expect("no request fails");
                back.push(client);
                latencies.extend(own);
            }
            (back, latencies)
        });
        self.open = back;
        Round::of(latencies, began.elapsed())
    }

    /// Each asks once, one after the other.
    ///
    /// # Panics
    /// If any answer is missing or wrong.
    pub(super) fn ask_each(&mut self) {
        let open = &mut self.open;
        self.runtime.block_on(async {
            for client in open {
                client.ask().await.expect("an answer");
            }
        });
    }
}

fn ask(service: &'static str) -> Ask {
    let request = format!(
        "GET /{service}/42 HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
    );
    Ask {
        request: request.into_bytes(),
        service,
    }
}

impl Client {
    async fn connect(address: SocketAddr, asks: Arc<[Ask]>, next: usize) -> Self {
        let stream = TcpStream::connect(address).await.expect("it accepts");
        stream.set_nodelay(true).expect("send at once");
        Self {
            stream,
            asks,
            next,
            buffer: Box::new([0; ANSWER_MAX]),
        }
    }

    async fn ask_until(mut self, end: Instant) -> (Self, Vec<Duration>) {
        let mut latencies = Vec::new();
        let mut now = Instant::now();
        while now < end {
            self.ask().await.expect("an answer");
            let sent = std::mem::replace(&mut now, Instant::now());
            latencies.push(now - sent);
        }
        (self, latencies)
    }

    /// Sends a request and reads its answer.
    async fn ask(&mut self) -> Result<(), String> {
        let ask = &self.asks[self.next % self.asks.len()];
        self.next += 1;
        let sent = self.stream.write_all(&ask.request).await;
        sent.map_err(|err| format!("send: {err}"))?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await;
            match read.map_err(|err| format!("read: {err}"))? {
                0 => return Err("the connection was closed".to_owned()),
                count => filled += count,
            }
            let Some(body) = answer::body(&self.buffer[..filled])? else {
                continue;
            };
            return if body.starts_with(ask.service.as_bytes()) {
                Ok(())
            } else {
                Err(format!("another service than {} answered", ask.service))
            };
        }
    }
}
