//! The resolver as a process of its own, so that names are answered whatever becomes of the agent.
//!
//! It is told what there is over a socket in its folder, and goes on with what it was told last. It
//! ends when a successor takes its sockets, when its folder is gone, and when the address that it
//! answers at is: then there is no pod left that could ask. Not being told anything for long is no
//! reason to end: services that do not change have the names that they had.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as StdUdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::feed::{Hello, LINE_MAX, Line, Listener};
use super::resolv_conf::ResolvConf;
use super::server::Resolver;
use super::sockets::{self, Sockets};
use super::{Settings, handover};
use crate::catalog::Cidr;

/// The socket in the folder at which the process is told what there is.
pub const FEED: &str = "feed.sock";

/// The file in the folder that holds the process's id.
pub const PID: &str = "pid";

/// Between two looks at the things that end the process or change its upstream servers.
const LOOK: Duration = Duration::from_secs(1);

/// An address that is away for so long does not come back. A bridge that is made anew is.
const ADDRESS_AWAY_MAX: Duration = Duration::from_secs(60);

/// A successor that is not told anything for so long answers all the same.
const FIRST_WORD_MAX: Duration = Duration::from_secs(5);

/// Questions that wait for upstream when the sockets are handed over may still be answered.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// How the process is set up.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// Where it answers: the address that pods are told, which must be this machine's.
    pub listen: SocketAddr,
    /// Its folder; made if it is not there.
    pub dir: PathBuf,
    /// The cluster's domain.
    pub domain: String,
    /// The ranges of services and pods.
    pub ranges: Vec<Cidr>,
    /// The file that names its upstream servers; read again when it changes.
    pub resolv_conf: PathBuf,
}

/// Why the process cannot begin.
#[derive(Debug, thiserror::Error)]
#[error("{step} {what}")]
pub struct ProcessError {
    step: &'static str,
    what: String,
    #[source]
    source: io::Error,
}

impl ProcessError {
    pub(super) fn new(step: &'static str, what: impl ToString) -> impl FnOnce(io::Error) -> Self {
        let what = what.to_string();
        move |source| Self { step, what, source }
    }
}

impl ProcessConfig {
    /// What the process says of itself.
    #[must_use]
    pub fn hello(&self) -> Hello {
        Hello {
            build: build(),
            listen: self.listen,
            domain: self.domain.clone(),
            ranges: self.ranges.iter().map(ToString::to_string).collect(),
            resolv_conf: self.resolv_conf.display().to_string(),
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            domain: self.domain.trim_matches('.').to_lowercase(),
            address: self.listen.ip(),
            ranges: self.ranges.clone(),
        }
    }
}

/// Tells this program from any other, also of the same version: by the file that it was started from.
fn build() -> String {
    let file = fs::metadata("/proc/self/exe")
        .map(|file| format!("{}-{}-{}", file.ino(), file.size(), file.mtime()))
        .unwrap_or_default();
    format!("{} {file}", env!("CARGO_PKG_VERSION"))
}

/// Answers until one of the reasons to end.
///
/// # Errors
/// [`ProcessError`] if it cannot begin.
pub async fn run(config: ProcessConfig) -> Result<(), ProcessError> {
    let mut dir = fs::DirBuilder::new();
    dir.recursive(true).mode(0o700);
    let failed = ProcessError::new("create", config.dir.display());
    dir.create(&config.dir).map_err(failed)?;
    let (sockets, begins) = sockets::acquire(&config).await?;
    let (feed, place) = open_feed(&config.dir)?;
    let resolver = Arc::new(Resolver::new(config.settings()));
    let process = Arc::new(Process {
        hello: config.hello(),
        resolver,
        sockets,
        learned: Notify::new(),
        gave: Notify::new(),
    });
    let listening = tokio::spawn(Arc::clone(&process).listen(feed));
    if begins == sockets::Begins::AfterAnother {
        process.first_word().await;
    }
    let mut serving = JoinSet::new();
    let (udp, tcp) = (&process.sockets.udp, &process.sockets.tcp);
    serving.spawn(Arc::clone(&process.resolver).serve_udp(Arc::clone(udp)));
    serving.spawn(Arc::clone(&process.resolver).serve_tcp(Arc::clone(tcp)));
    tracing::info!(listen = %config.listen, "the resolver answers");
    tokio::select! {
        () = process.gave.notified() => {
            serving.abort_all();
            tracing::info!("another process answers from now on");
            tokio::time::sleep(LAST_ANSWERS).await;
        }
        why = process.look(&config, place) => tracing::info!(why, "the resolver ends"),
    }
    listening.abort();
    Ok(())
}

/// Which file something is, so that another one of the same name is not taken for it.
type Place = (u64, u64);

fn open_feed(dir: &Path) -> Result<(UnixListener, Place), ProcessError> {
    let path = dir.join(FEED);
    let failed = || ProcessError::new("listen at", path.display());
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed()(error)),
        Ok(()) | Err(_) => {}
    }
    let feed = UnixListener::bind(&path).map_err(failed())?;
    let place = place(&path).map_err(failed())?;
    let pid = dir.join(PID);
    fs::write(&pid, std::process::id().to_string())
        .map_err(ProcessError::new("write", pid.display()))?;
    Ok((feed, place))
}

fn place(path: &Path) -> io::Result<Place> {
    let file = fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

struct Process {
    hello: Hello,
    resolver: Arc<Resolver>,
    sockets: Sockets,
    learned: Notify,
    gave: Notify,
}

impl Process {
    async fn listen(self: Arc<Self>, feed: UnixListener) {
        loop {
            match feed.accept().await {
                Ok((stream, _)) => {
                    let me = Arc::clone(&self);
                    tokio::spawn(async move {
                        if let Err(error) = me.hear(stream).await {
                            tracing::warn!(%error, "cannot understand what is told");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "nobody can tell anything; will try again");
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }

    /// Hears one agent out.
    async fn hear(&self, stream: UnixStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut hello = serde_json::to_vec(&self.hello)?;
        hello.push(b'\n');
        stream.write_all(&hello).await?;
        let mut listener = Listener::default();
        let mut text = Vec::new();
        loop {
            text.clear();
            let mut bounded = (&mut stream).take(LINE_MAX);
            if bounded.read_until(b'\n', &mut text).await? == 0 {
                return Ok(());
            }
            let line: Line = serde_json::from_slice(&text)?;
            if line == Line::HandOver {
                let sockets = [self.sockets.udp.as_fd(), self.sockets.tcp.as_fd()];
                handover::give(stream.get_ref(), sockets).await?;
                self.gave.notify_one();
                return Ok(());
            }
            self.resolver.learn(|records| listener.take(line, records));
            if self.resolver.is_complete() {
                self.learned.notify_one();
            }
        }
    }

    /// Waits until everything was told, so that a successor does not begin by knowing less.
    async fn first_word(&self) {
        let told = async {
            while !self.resolver.is_complete() {
                self.learned.notified().await;
            }
        };
        if tokio::time::timeout(FIRST_WORD_MAX, told).await.is_err() {
            tracing::warn!("nobody has told what there is; answering without");
        }
    }

    /// Follows the upstream servers, until there is a reason to end.
    async fn look(&self, config: &ProcessConfig, feed: Place) -> &'static str {
        let mut read = None;
        let mut away: Option<Instant> = None;
        loop {
            self.follow(&config.resolv_conf, &mut read);
            match place(&config.dir.join(FEED)) {
                Ok(now) if now == feed => {}
                Ok(_) => return "another process has taken its place",
                Err(_) => return "its folder is gone",
            }
            if is_ours(config.listen.ip()) {
                away = None;
            } else if away.get_or_insert_with(Instant::now).elapsed() > ADDRESS_AWAY_MAX {
                return "its address is gone";
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn follow(&self, path: &Path, read: &mut Option<String>) {
        // A file that is being replaced is there again at the next look.
        let Ok(text) = fs::read_to_string(path) else {
            return;
        };
        if read.as_ref() != Some(&text) {
            self.resolver
                .upstream
                .ask(&ResolvConf::parse(&text).servers);
            *read = Some(text);
        }
    }
}

/// Whether the machine has an address.
fn is_ours(address: IpAddr) -> bool {
    let tried = StdUdpSocket::bind((address, 0));
    !tried.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}
