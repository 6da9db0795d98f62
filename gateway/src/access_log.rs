//! The access log: one JSON object per line. Written by a thread of its own; when that can't keep
//! up, lines are lost and counted rather than requests held up.

use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use http::header::{self, HeaderValue};
use http::request::Parts;
use serde::Serialize;

/// Lines waiting to be written: some hundred milliseconds of a busy gateway.
const QUEUE: usize = 16 * 1024;

/// The longest text taken over from a request.
const TEXT_MAX: usize = 1024;

/// How often the writer looks whether its file was moved away, as logrotate does.
const LOOK: Duration = Duration::from_secs(1);

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
        let to = if path == Path::new("-") {
            Output::Standard(io::stdout())
        } else {
            Output::File(path.to_owned(), open(path)?)
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

/// Where lines go.
enum Output {
    Standard(io::Stdout),
    File(PathBuf, File),
}

impl Output {
    /// Opens the file anew if another one, or none, is in its place.
    fn look(&mut self) -> io::Result<()> {
        let Self::File(path, file) = self else {
            return Ok(());
        };
        let which = |meta: Metadata| (meta.dev(), meta.ino());
        let there = std::fs::metadata(&*path).map(which).ok();
        if there != Some(which(file.metadata()?)) {
            *file = open(path)?;
        }
        Ok(())
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(to) => to.write(bytes),
            Self::File(_, to) => to.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(to) => to.flush(),
            Self::File(_, to) => to.flush(),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

/// Writes until the last sender is gone; what is written is flushed whenever nothing waits.
fn write_all(lines: &Receiver<Box<Entry>>, to: Output) {
    let mut to = BufWriter::new(to);
    let mut failing = false;
    let mut tell = |done: io::Result<()>| {
        if let Err(error) = &done
            && !failing
        {
            tracing::error!(%error, "cannot write the access log");
        }
        failing = done.is_err();
    };
    let mut looked = Instant::now();
    loop {
        let first = match lines.recv_timeout(LOOK) {
            Ok(entry) => Some(entry),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            // Whole lines only are in the buffer, and it is empty whenever nothing waits.
            if let Err(error) = to.flush().and_then(|()| to.get_mut().look()) {
                tell(Err(error));
            }
        }
        let Some(first) = first else {
            continue;
        };
        tell(write_line(&first, &mut to));
        // Not for ever, so that also a log that is never idle looks at its file.
        for entry in lines.try_iter().take(QUEUE) {
            tell(write_line(&entry, &mut to));
        }
        if let Err(error) = to.flush() {
            tell(Err(error));
        }
    }
}

fn write_line(entry: &Entry, to: &mut impl io::Write) -> io::Result<()> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    to.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> Box<Entry> {
        let (head, ()) = http::Request::get(path).body(()).unwrap().into_parts();
        let client = IpAddr::from([10, 0, 0, 1]);
        let id = HeaderValue::from_static("id");
        Box::new(Entry::begin(client, false, &head, &id))
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (now, before) = (folder.path().join("log"), folder.path().join("log.1"));
        let log = AccessLog::open(&now).unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let until = |done: &dyn Fn() -> bool| {
            let begun = Instant::now();
            while !done() {
                assert!(
                    begun.elapsed() < Duration::from_secs(20),
                    "it takes too long"
                );
                std::thread::yield_now();
            }
        };
        log.write(entry("/first"));
        until(&|| read(&now).contains("/first"));
        std::fs::rename(&now, &before).unwrap();
        until(&|| now.exists());
        log.write(entry("/second"));
        until(&|| read(&now).contains("/second"));
        assert!(!read(&now).contains("/first") && !read(&before).contains("/second"));
        assert_eq!(log.lost(), 0);
    }
}
