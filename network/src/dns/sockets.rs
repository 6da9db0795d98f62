//! Where a process gets its sockets from: from the one before it, or from the system.

use std::fs;
use std::io;
use std::net::{TcpListener as StdTcpListener, UdpSocket as StdUdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, UdpSocket, UnixStream};
use tokio::time::{sleep, timeout};

use super::feed::{Hello, Line};
use super::handover;
use super::process::{FEED, PID, ProcessConfig, ProcessError};

/// A process that lives gives its sockets at once; one that does not is ended.
const HANDOVER_MAX: Duration = Duration::from_secs(2);

/// How long a process that was killed may take to be gone.
const DEATH_MAX: Duration = Duration::from_secs(2);

/// Between two looks whether it is.
const LOOK: Duration = Duration::from_millis(20);

/// Bytes of questions that may wait while the processor is busy with something else.
const RECEIVE_BUFFER: usize = 1 << 20;

/// The sockets of a resolver.
pub(super) struct Sockets {
    pub(super) udp: Arc<UdpSocket>,
    pub(super) tcp: Arc<TcpListener>,
}

/// How a process begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// Nobody answered before.
    Anew,
    /// Another one did until now, and knew what there is.
    AfterAnother,
}

/// Takes the sockets of the process that answers, or makes new ones.
///
/// # Errors
/// [`ProcessError`] if the address cannot be had.
pub(super) async fn acquire(config: &ProcessConfig) -> Result<(Sockets, Begins), ProcessError> {
    match timeout(HANDOVER_MAX, take_over(config)).await {
        Ok(Ok(Some(sockets))) => return Ok((sockets, Begins::AfterAnother)),
        Ok(Ok(None)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "no process gives its sockets"),
        Err(_) => tracing::warn!("the process before does not give its sockets; it is ended"),
    }
    end_other(&config.dir).await;
    let sockets = bind(config).map_err(ProcessError::new("listen at", config.listen))?;
    Ok((sockets, Begins::Anew))
}

/// None if the other one answers somewhere else: it ends, and its sockets are of no use.
async fn take_over(config: &ProcessConfig) -> io::Result<Option<Sockets>> {
    let stream = UnixStream::connect(config.dir.join(FEED)).await?;
    let mut stream = BufReader::new(stream);
    let mut text = String::new();
    stream.read_line(&mut text).await?;
    let hello: Hello = serde_json::from_str(&text)?;
    let mut line = serde_json::to_vec(&Line::HandOver)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let [udp, tcp] = handover::take(stream.get_ref()).await?;
    if hello.listen != config.listen {
        return Ok(None);
    }
    let udp = UdpSocket::from_std(udp.into())?;
    let tcp = TcpListener::from_std(tcp.into())?;
    Ok(Some(Sockets {
        udp: Arc::new(udp),
        tcp: Arc::new(tcp),
    }))
}

fn bind(config: &ProcessConfig) -> io::Result<Sockets> {
    let udp = StdUdpSocket::bind(config.listen)?;
    if let Err(error) = rustix::net::sockopt::set_socket_recv_buffer_size(&udp, RECEIVE_BUFFER) {
        tracing::debug!(%error, "the socket keeps its usual room");
    }
    let tcp = StdTcpListener::bind(config.listen)?;
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    Ok(Sockets {
        udp: Arc::new(UdpSocket::from_std(udp)?),
        tcp: Arc::new(TcpListener::from_std(tcp)?),
    })
}

/// Ends the process that the folder belongs to, if it lives: it holds the address.
async fn end_other(dir: &Path) {
    let Some(pid) = living(dir) else {
        return;
    };
    if let Err(error) = kill_process(pid, Signal::KILL) {
        tracing::warn!(%error, "cannot end the process before");
        return;
    }
    let began = Instant::now();
    while test_kill_process(pid).is_ok() && began.elapsed() < DEATH_MAX {
        sleep(LOOK).await;
    }
}

/// The process of a folder, if there is one: ids are used again, so its command line must fit.
fn living(dir: &Path) -> Option<Pid> {
    let pid: i32 = fs::read_to_string(dir.join(PID))
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let ours = i32::try_from(std::process::id()).ok();
    if Some(pid) == ours {
        return None;
    }
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0);
    let wanted = dir.as_os_str().as_encoded_bytes();
    let fits = words.any(|word| word == wanted);
    fits.then(|| Pid::from_raw(pid)).flatten()
}
