//! Why a server did not start, worded for whoever runs it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use skiff_engine::network::SettingsError;

use crate::bootstrap::BootstrapError;
use crate::joining::JoinError;
use crate::listener::TlsError;
use crate::pki::PkiError;
use crate::recovery::RecoveryError;
use crate::store::OpenError;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The data directory cannot be used.
    #[error("use the data directory {path}")]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another server runs on this data directory.
    #[error("another skiff server is running on {path}; stop it, or use another --data-dir")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The address is taken or not ours.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The name is not one.
    #[error("{0}")]
    Name(String),
    /// The ranges of addresses cannot be used.
    #[error("use the ranges of addresses")]
    Network(#[source] SettingsError),
    /// Who this server is.
    #[error("find this server's place in the cluster")]
    Join(#[from] JoinError),
    /// Keys and certificates.
    #[error("prepare keys and certificates")]
    Pki(#[from] PkiError),
    /// TLS.
    #[error("set up TLS")]
    Tls(#[from] TlsError),
    /// The log or its checkpoints.
    #[error("open the store")]
    Store(#[from] OpenError),
    /// The store could not be opened because its thread died.
    #[error("open the store: its thread ended")]
    StoreThread,
    /// A restore into the directory was never finished.
    #[error("use what was restored")]
    Restored(#[from] RecoveryError),
    /// The first objects.
    #[error("set up the cluster")]
    Bootstrap(#[from] BootstrapError),
}
