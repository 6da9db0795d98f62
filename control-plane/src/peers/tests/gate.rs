//! A door in front of a server that tests can shut: connections break as they do in the world.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Passes bytes to a server.
pub(super) struct Gate {
    /// Where to knock.
    pub(super) address: SocketAddr,
    inner: Arc<Inner>,
    _accepting: AbortOnDropHandle<()>,
}

struct Inner {
    /// `None` while it is shut.
    target: Mutex<Option<SocketAddr>>,
    open: Mutex<Vec<AbortOnDropHandle<()>>>,
    passed: AtomicU64,
    cut_at: AtomicU64,
    cuts: AtomicU64,
    frozen: watch::Sender<bool>,
}

impl Gate {
    pub(super) async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner {
            target: Mutex::new(Some(target)),
            open: Mutex::default(),
            passed: AtomicU64::new(0),
            cut_at: AtomicU64::new(u64::MAX),
            cuts: AtomicU64::new(0),
            frozen: watch::Sender::new(false),
        });
        let accepting = tokio::spawn({
            let inner = inner.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let target = *inner.target.lock().unwrap();
                    if let Some(target) = target {
                        let passing = tokio::spawn(pass(inner.clone(), stream, target));
                        inner
                            .open
                            .lock()
                            .unwrap()
                            .push(AbortOnDropHandle::new(passing));
                    }
                }
            }
        });
        Self {
            address,
            inner,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    /// Where it leads.
    pub(super) fn target(&self) -> SocketAddr {
        self.inner.target.lock().unwrap().unwrap()
    }

    /// Breaks every connection; new ones are let through.
    pub(super) fn cut(&self) {
        self.inner.open.lock().unwrap().clear();
    }

    /// Breaks every connection and lets none through.
    pub(super) fn shut(&self) {
        *self.inner.target.lock().unwrap() = None;
        self.cut();
    }

    /// Holds back all bytes, as a network that swallows them or a server that was stopped would:
    /// nobody hears that a connection is broken.
    pub(super) fn freeze(&self, frozen: bool) {
        self.inner.frozen.send_replace(frozen);
    }

    /// Lets connections through, to this server.
    pub(super) fn open(&self, target: SocketAddr) {
        *self.inner.target.lock().unwrap() = Some(target);
    }

    /// Bytes that went to the server.
    pub(super) fn passed(&self) -> u64 {
        self.inner.passed.load(Ordering::SeqCst)
    }

    /// Breaks, once, the connection on which this many more bytes are reached.
    pub(super) fn cut_after(&self, bytes: u64) {
        self.inner
            .cut_at
            .store(self.passed() + bytes, Ordering::SeqCst);
    }

    /// How often that happened.
    pub(super) fn cuts(&self) -> u64 {
        self.inner.cuts.load(Ordering::SeqCst)
    }
}

async fn pass(inner: Arc<Inner>, client: TcpStream, target: SocketAddr) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut frozen = inner.frozen.subscribe();
    let there = async {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(len @ 1..) = from_client.read(&mut buffer).await {
            let passed = inner.passed.fetch_add(len as u64, Ordering::SeqCst);
            if passed > inner.cut_at.load(Ordering::SeqCst) {
                inner.cut_at.store(u64::MAX, Ordering::SeqCst);
                inner.cuts.fetch_add(1, Ordering::SeqCst);
                return;
            }
            if frozen.wait_for(|frozen| !frozen).await.is_err()
                || to_server.write_all(&buffer[..len]).await.is_err()
            {
                return;
            }
        }
    };
    let back = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! {
        () = there => {}
        _ = back => {}
    }
}
