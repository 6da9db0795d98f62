//! The resolver's process, as the agent that starts it sees it.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use skiff_network::dns::feed::Hello;
use skiff_network::dns::process::{FEED, ProcessConfig};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::ResolverError;

/// How long a process that lives takes to greet at most.
const HELLO_MAX: Duration = Duration::from_secs(2);

/// How long a process may take until it greets: it may have to end a predecessor that hangs.
const START_MAX: Duration = Duration::from_secs(10);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// The log of the process begins anew beyond this many bytes.
const LOG_MAX: u64 = 1 << 20;

/// The process that this agent started, if it did.
pub(super) struct Child {
    program: PathBuf,
    dir: PathBuf,
    running: Option<std::process::Child>,
}

/// Finds the process of a folder, and what it says of itself.
pub(super) async fn connect(dir: &Path) -> io::Result<(BufReader<UnixStream>, Hello)> {
    let greeted = async {
        let stream = UnixStream::connect(dir.join(FEED)).await?;
        let mut stream = BufReader::new(stream);
        let mut text = String::new();
        stream.read_line(&mut text).await?;
        Ok((stream, serde_json::from_str(&text)?))
    };
    timeout(HELLO_MAX, greeted).await?
}

impl Child {
    pub(super) fn new(program: &Path, dir: &Path) -> Self {
        Self {
            program: program.to_owned(),
            dir: dir.to_owned(),
            running: None,
        }
    }

    /// Waits until the machine has the address.
    pub(super) async fn wait_for_address(&self, address: IpAddr) {
        while UdpSocket::bind((address, 0)).is_err() {
            sleep(LOOK).await;
        }
    }

    /// Starts a process. It knows nothing of the agent but its arguments.
    pub(super) fn start(&mut self, config: &ProcessConfig) -> Result<(), ResolverError> {
        self.reap();
        let log = self.log().map_err(|source| ResolverError::Folder {
            path: self.dir.clone(),
            source,
        })?;
        let ranges: Vec<String> = config.ranges.iter().map(ToString::to_string).collect();
        let mut command = Command::new(&self.program);
        command
            .arg0("skiff")
            .arg("dns")
            .args(["--listen", &config.listen.to_string()])
            .arg("--dir")
            .arg(&config.dir)
            .args(["--cluster-domain", &config.domain])
            .arg("--resolv-conf")
            .arg(&config.resolv_conf)
            // The agent's own environment may hold its token.
            .env_clear()
            .envs(std::env::var_os("SKIFF_LOG").map(|filter| ("SKIFF_LOG", filter)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if !ranges.is_empty() {
            command.args(["--range", &ranges.join(",")]);
        }
        let running = command.spawn().map_err(|source| ResolverError::Start {
            program: self.program.clone(),
            source,
        })?;
        tracing::info!(pid = running.id(), listen = %config.listen, "started the resolver");
        self.running = Some(running);
        Ok(())
    }

    fn log(&self) -> io::Result<File> {
        let mut dir = fs::DirBuilder::new();
        dir.recursive(true).mode(0o700).create(&self.dir)?;
        let path = self.dir.join("log");
        let mut open = File::options();
        if fs::metadata(&path).is_ok_and(|log| log.len() > LOG_MAX) {
            open.write(true).truncate(true);
        } else {
            open.append(true);
        }
        open.create(true).open(path)
    }

    /// Waits until the process that was started greets.
    pub(super) async fn answer(
        &mut self,
        wanted: &Hello,
    ) -> Result<BufReader<UnixStream>, ResolverError> {
        let until = Instant::now() + START_MAX;
        while Instant::now() < until {
            // The one before may still be there.
            if let Ok((stream, hello)) = connect(&self.dir).await
                && hello == *wanted
            {
                return Ok(stream);
            }
            if self.reap() {
                return Err(ResolverError::Ended { last: self.last() });
            }
            sleep(LOOK).await;
        }
        Err(ResolverError::Silent)
    }

    /// Takes note of the end of the process that was started; says whether none is left.
    pub(super) fn reap(&mut self) -> bool {
        let ended = match &mut self.running {
            Some(running) => running.try_wait().is_ok_and(|ended| ended.is_some()),
            None => true,
        };
        if ended {
            self.running = None;
        }
        ended
    }

    fn last(&self) -> String {
        let text = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        text.lines().last().unwrap_or("it says nothing").to_owned()
    }
}
