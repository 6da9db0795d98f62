//! The doors: connections are taken, counted, and given to the worker that has the fewest.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Shared, Worker, connection};

/// Connections that the kernel holds until they are taken.
const BACKLOG: u32 = 4096;

/// After a failure to take one (no descriptor is free), the next attempt waits so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// A connection on its way to a worker.
struct Arrived {
    stream: std::net::TcpStream,
    client: IpAddr,
    tls: bool,
    permit: OwnedSemaphorePermit,
}

/// One thread and its connections.
struct Thread {
    queue: mpsc::UnboundedSender<Arrived>,
    load: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

/// The threads that serve connections. Each has a runtime of its own: connections never change
/// threads, and the agent in the same process is not held up.
pub(crate) struct Workers {
    threads: Vec<Thread>,
    permits: Arc<Semaphore>,
    hurry: CancellationToken,
}

/// A door.
#[derive(Debug)]
pub(crate) struct Front {
    listener: TcpListener,
    tls: bool,
}

impl Front {
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Opens a door.
pub(crate) fn listen(address: SocketAddr, tls: bool) -> io::Result<Front> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A gateway that starts again must not wait for connections of the one before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    Ok(Front { listener, tls })
}

impl Workers {
    /// Starts so many threads, for so many connections in all.
    pub(crate) fn start(
        count: usize,
        connections_max: usize,
        shared: &Arc<Shared>,
        tls: &TlsAcceptor,
        stop: &CancellationToken,
    ) -> io::Result<Self> {
        let hurry = CancellationToken::new();
        let mut threads = Vec::with_capacity(count);
        for id in 0..count {
            let worker = Arc::new(Worker {
                id,
                shared: Arc::clone(shared),
                stop: stop.clone(),
                tls: tls.clone(),
                seen: Mutex::default(),
            });
            threads.push(Thread::start(worker, hurry.clone())?);
        }
        Ok(Self {
            threads,
            permits: Arc::new(Semaphore::new(connections_max)),
            hurry,
        })
    }

    /// Takes connections at a door until `stop`.
    pub(crate) async fn take_in(&self, front: Front, stop: &CancellationToken) {
        let mut told = false;
        loop {
            // Without a permit none is taken: the kernel holds them, and then refuses.
            let permit = tokio::select! {
                permit = Arc::clone(&self.permits).acquire_owned() => permit,
                () = stop.cancelled() => return,
            };
            let Ok(permit) = permit else {
                return;
            };
            let accepted = tokio::select! {
                accepted = front.listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    told = false;
                    let arrived = stream.set_nodelay(true).and_then(|()| stream.into_std());
                    if let Ok(stream) = arrived {
                        self.hand_over(Arrived {
                            stream,
                            client: peer.ip(),
                            tls: front.tls,
                            permit,
                        });
                    }
                }
                Err(error) => {
                    if !told {
                        told = true;
                        tracing::warn!(%error, "cannot take connections; will retry");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn hand_over(&self, arrived: Arrived) {
        let load = |thread: &&Thread| thread.load.load(Ordering::Relaxed);
        if let Some(thread) = self.threads.iter().min_by_key(load) {
            thread.load.fetch_add(1, Ordering::Relaxed);
            if thread.queue.send(arrived).is_err() {
                tracing::error!("a worker of the gateway is gone");
            }
        }
    }

    /// Waits until all connections are over, `drain` at the longest. `stop` has told them to end.
    pub(crate) async fn finish(self, drain: Duration) {
        let (queues, threads): (Vec<_>, Vec<_>) = self
            .threads
            .into_iter()
            .map(|thread| (thread.queue, thread.thread))
            .unzip();
        drop(queues);
        let hurry = self.hurry;
        let mut joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().all(|thread| thread.join().is_ok())
        });
        if tokio::time::timeout(drain, &mut joined).await.is_ok() {
            return;
        }
        tracing::info!("connections are still open; closing them");
        hurry.cancel();
        if !matches!(joined.await, Ok(true)) {
            tracing::error!("a worker of the gateway failed");
        }
    }
}

impl Thread {
    fn start(worker: Arc<Worker>, hurry: CancellationToken) -> io::Result<Self> {
        let (queue, arrivals) = mpsc::unbounded_channel();
        let load = Arc::new(AtomicUsize::new(0));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let count = Arc::clone(&load);
        let thread = std::thread::Builder::new()
            .name(format!("gateway-{}", worker.id))
            .spawn(move || runtime.block_on(work(worker, arrivals, count, hurry)))?;
        Ok(Self {
            queue,
            load,
            thread,
        })
    }
}

/// Serves what arrives until the queue is closed and all is served, or until there is a hurry.
async fn work(
    worker: Arc<Worker>,
    mut arrivals: mpsc::UnboundedReceiver<Arrived>,
    load: Arc<AtomicUsize>,
    hurry: CancellationToken,
) {
    let tracker = TaskTracker::new();
    let serve = async {
        while let Some(arrived) = arrivals.recv().await {
            let (worker, load) = (Arc::clone(&worker), Arc::clone(&load));
            tracker.spawn(async move {
                if let Ok(stream) = tokio::net::TcpStream::from_std(arrived.stream) {
                    connection(worker, stream, arrived.client, arrived.tls).await;
                }
                load.fetch_sub(1, Ordering::Relaxed);
                drop(arrived.permit);
            });
        }
        tracker.close();
        tracker.wait().await;
    };
    tokio::select! {
        () = serve => {}
        () = hurry.cancelled() => {}
    }
}
