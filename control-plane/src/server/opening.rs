//! Opening a data directory: the lock that keeps a second server out, then the store.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use skiff_api::Revision;
use skiff_engine::State;
use tokio::net::TcpListener;

use super::ServerError;
use crate::members::record::Record;
use crate::members::roster::Roster;
use crate::peers::Peers;
use crate::recovery;
use crate::store::{News, OpenError, Store, StoreConfig};
use crate::watch::WatchHub;

/// Recent changes kept for watches, in bytes of objects.
const HISTORY_BYTES: usize = 64 << 20;

/// Opens the store as the member that this server is; what it applies reaches the watches and the
/// roster.
pub(super) async fn open_store(
    dir: &Path,
    record: &Record,
    roster: &Roster,
    peers: &Peers,
) -> Result<(Store, WatchHub), ServerError> {
    let config = StoreConfig {
        founders: record.founders.clone(),
        outbound: Arc::new(peers.clone()),
        ..StoreConfig::new(&dir.join("db"), record.id)
    };
    let roster = roster.clone();
    let opening = tokio::task::spawn_blocking(move || {
        let hub = WatchHub::new(Revision(0), HISTORY_BYTES);
        let publisher = hub.clone();
        let on_applied = Box::new(move |state: &State, news: News<'_>| {
            roster.take(state, news);
            publisher.take(state, news);
        });
        let store = Store::open(config, on_applied)?;
        hub.begin_at(store.state().revision());
        Ok::<_, OpenError>((store, hub))
    });
    let (store, hub) = opening.await.map_err(|_| ServerError::StoreThread)??;
    Ok((store, hub))
}

/// Listens where it is wanted; port 0 takes a free one.
pub(super) async fn listen(wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), ServerError> {
    let failed = |source| ServerError::Listen {
        address: wanted,
        source,
    };
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Locks a data directory that a server can work in.
pub(super) fn take_data_dir(dir: &Path) -> Result<File, ServerError> {
    let lock = lock_data_dir(dir)?;
    recovery::refuse_unfinished(dir)?;
    Ok(lock)
}

/// Two servers on one directory would destroy it; the lock goes with the process.
pub(crate) fn lock_data_dir(dir: &Path) -> Result<File, ServerError> {
    let data_dir = |source| ServerError::DataDir {
        path: dir.to_owned(),
        source,
    };
    std::fs::create_dir_all(dir).map_err(data_dir)?;
    let lock = File::create(dir.join("lock")).map_err(data_dir)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(ServerError::Locked {
            path: dir.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(source)) => Err(data_dir(source)),
    }
}
