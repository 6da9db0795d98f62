//! One stream of requests: some clients at a steady pace, over kept or over new connections.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::account::Account;

/// A request that takes longer has failed.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// What one stream sends: `NAME,keep|new,HOST:PORT,PATH[,HOST-HEADER]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// What its account is called.
    pub name: String,
    /// Whether a connection carries many requests, or each request has its own.
    pub keep: bool,
    /// Where to connect.
    pub address: String,
    /// What to ask for.
    pub path: String,
    /// The `Host` header; the address if none is given.
    pub host: Option<String>,
}

impl FromStr for Stream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',').map(str::to_owned);
        let mut part = |what: &str| parts.next().ok_or_else(|| format!("{text}: no {what}"));
        let name = part("name")?;
        let keep = match part("keep|new")?.as_str() {
            "keep" => true,
            "new" => false,
            other => return Err(format!("{text}: `{other}` is neither keep nor new")),
        };
        Ok(Self {
            name,
            keep,
            address: part("address")?,
            path: part("path")?,
            host: parts.next(),
        })
    }
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keep = if self.keep { "keep" } else { "new" };
        write!(f, "{},{keep},{},{}", self.name, self.address, self.path)?;
        match &self.host {
            Some(host) => write!(f, ",{host}"),
            None => Ok(()),
        }
    }
}

/// Sends requests, one each `pace`, until `stop`; a late answer delays the next request.
pub(super) async fn drive(stream: Stream, pace: Duration, stop: Arc<AtomicBool>) -> Account {
    let mut account = Account::default();
    let mut open = None;
    while !stop.load(Ordering::Relaxed) {
        let (sent, began) = (SystemTime::now(), Instant::now());
        let asked = tokio::time::timeout(ANSWER_MAX, ask(&stream, &mut open)).await;
        let outcome = asked.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let took = began.elapsed();
        if outcome.is_err() || !stream.keep {
            open = None;
        }
        account.enter(sent, took, outcome);
        tokio::time::sleep(pace.saturating_sub(took)).await;
    }
    account
}

type Sender = http1::SendRequest<Empty<Bytes>>;

async fn ask(stream: &Stream, open: &mut Option<Sender>) -> Result<(), String> {
    loop {
        let (mut sender, fresh) = match open.take() {
            Some(sender) => (sender, false),
            None => (dial(&stream.address).await?, true),
        };
        // A connection that its server has closed in order takes nothing more: nothing was sent.
        if sender.ready().await.is_err() && !fresh {
            continue;
        }
        let request = Request::get(&stream.path)
            .header("host", stream.host.as_ref().unwrap_or(&stream.address))
            .body(Empty::new())
            .map_err(|err| err.to_string())?;
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            Err(err) if err.is_canceled() && !fresh => continue,
            Err(err) => return Err(words(&err)),
        };
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body.map_err(|err| words(&err))?.to_bytes();
        if !status.is_success() {
            let text = String::from_utf8_lossy(&body);
            return Err(format!("{status}: {}", text.trim()));
        }
        *open = Some(sender);
        return Ok(());
    }
}

async fn dial(address: &str) -> Result<Sender, String> {
    let tcp = TcpStream::connect(address)
        .await
        .map_err(|err| format!("connect: {err}"))?;
    tcp.set_nodelay(true).map_err(|err| err.to_string())?;
    let (sender, connection) = http1::handshake(TokioIo::new(tcp))
        .await
        .map_err(|err| words(&err))?;
    // Its errors come back through the sender.
    tokio::spawn(connection);
    Ok(sender)
}

/// An error with what is beneath it.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        text = format!("{text}: {cause}");
        below = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::Stream;

    #[test]
    fn a_stream_is_written_as_it_is_read() {
        for text in ["a,keep,127.0.0.1:80,/", "b,new,10.43.0.9:80,/x,shop.test"] {
            let stream: Stream = text.parse().expect("a stream");
            assert_eq!(stream.to_string(), text);
        }
        for wrong in ["", "a", "a,once,h:1,/", "a,keep,h:1"] {
            assert!(wrong.parse::<Stream>().is_err(), "{wrong}");
        }
    }
}
