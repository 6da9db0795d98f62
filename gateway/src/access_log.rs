//! The access log: one JSON object per line. Written by a thread of its own; when that can't keep
//! up, lines are lost and counted rather than requests held up.

use std::io::{self, BufWriter, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use http::header::{self, HeaderValue};
use http::request::Parts;
use serde::Serialize;

/// Lines waiting to be written: some hundred milliseconds of a busy gateway.
const QUEUE: usize = 16 * 1024;

/// The longest text taken over from a request.
const TEXT_MAX: usize = 1024;

/// One line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    time: String,
    client: IpAddr,
    method: String,
    host: String,
    path: String,
    protocol: &'static str,
    tls: bool,
    request_id: String,
    user_agent: String,
    pub(crate) status: u16,
    /// Why the gateway answered itself, or the answer broke off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    pub(crate) bytes: u64,
    pub(crate) millis: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) canary: bool,
    pub(crate) tries: u32,
}

impl Entry {
    pub(crate) fn begin(client: IpAddr, tls: bool, head: &Parts, id: &HeaderValue) -> Self {
        let text = |name| text(head.headers.get(name));
        let host = head.uri.authority().map(|host| host.to_string());
        Self {
            time: jiff::Timestamp::now().to_string(),
            client,
            method: head.method.to_string(),
            host: host.unwrap_or_else(|| text(header::HOST)),
            path: head.uri.path().chars().take(TEXT_MAX).collect(),
            protocol: match head.version {
                http::Version::HTTP_2 => "HTTP/2",
                http::Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            },
            tls,
            request_id: String::from_utf8_lossy(id.as_bytes()).into_owned(),
            user_agent: text(header::USER_AGENT),
            status: 0,
            reason: None,
            bytes: 0,
            millis: 0,
            route: None,
            endpoint: None,
            canary: false,
            tries: 0,
        }
    }
}

fn text(value: Option<&HeaderValue>) -> String {
    let text = value.map(|value| String::from_utf8_lossy(value.as_bytes()));
    text.map_or_else(String::new, |text| text.chars().take(TEXT_MAX).collect())
}

/// Takes lines.
#[derive(Debug)]
pub(crate) struct AccessLog {
    queue: SyncSender<Box<Entry>>,
    lost: Arc<AtomicU64>,
}

impl AccessLog {
    /// Begins to write to a file, at its end; `-` is the standard output.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let to: Box<dyn io::Write + Send> = if path == Path::new("-") {
            Box::new(io::stdout())
        } else {
            Box::new(io::BufWriter::new(
                std::fs::File::options()
                    .create(true)
                    .append(true)
                    .open(path)?,
            ))
        };
        let (queue, lines) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("gateway-log".to_owned())
            .spawn(move || write_all(&lines, to))?;
        Ok(Self {
            queue,
            lost: Arc::default(),
        })
    }

    pub(crate) fn write(&self, entry: Box<Entry>) {
        if self.queue.try_send(entry).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that were not written.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Writes until the last sender is gone; what is written is flushed whenever nothing waits.
fn write_all(lines: &Receiver<Box<Entry>>, to: Box<dyn io::Write + Send>) {
    let mut to = BufWriter::new(to);
    let mut failing = false;
    let mut write = |entry: Box<Entry>, to: &mut BufWriter<Box<dyn io::Write + Send>>| {
        let mut line = serde_json::to_vec(&entry).unwrap_or_default();
        line.push(b'\n');
        let written = to.write_all(&line);
        if let Err(error) = &written
            && !failing
        {
            tracing::error!(%error, "cannot write the access log");
        }
        failing = written.is_err();
    };
    while let Ok(entry) = lines.recv() {
        write(entry, &mut to);
        while let Ok(entry) = lines.try_recv() {
            write(entry, &mut to);
        }
        to.flush().ok();
    }
}
