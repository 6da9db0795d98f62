//! A server's data directory, while no server runs on it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{KeyPair, PublicKeyData as _};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{Found, RecoveryError, Restored, Survivor, examine, restore};
use crate::backup::{Backup, Keys};
use crate::join::check_name;
use crate::members::record::Record;
use crate::pki::{Pki, sha256_hex};
use crate::server::{ServerError, host_name, lock_data_dir};
use crate::store::StoreConfig;

/// The store, below the data directory.
const STORE: &str = "db";
/// The keys, below the data directory.
const PKI: &str = "pki";
/// Stands in the data directory for as long as a restore into it is not finished.
const UNFINISHED: &str = "restore-unfinished";
/// What may stand in an empty directory: the root of a file system has it.
const LOST_AND_FOUND: &str = "lost+found";

/// The data directory of a stopped server, locked for as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    dir: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Locks a data directory.
    ///
    /// # Errors
    /// [`RecoveryError`] if there is none, a server runs on it, or a restore into it broke off.
    pub fn open(dir: &Path) -> Result<Self, RecoveryError> {
        if !dir.join(STORE).is_dir() {
            let dir = dir.to_owned();
            return Err(RecoveryError::NoStore { dir });
        }
        refuse_unfinished(dir)?;
        let lock = lock(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            _lock: lock,
        })
    }

    /// Its store.
    ///
    /// # Errors
    /// [`RecoveryError`] if nobody can tell which member it belongs to.
    pub fn store(&self) -> Result<StoreConfig, RecoveryError> {
        let record = record(&self.dir)?;
        Ok(StoreConfig {
            founders: record.founders,
            ..StoreConfig::new(&self.dir.join(STORE), record.id)
        })
    }

    /// Reads its store. A name that the state does not tell comes from the directory.
    ///
    /// # Errors
    /// [`RecoveryError`]: the store is damaged, or a server works in it.
    pub fn examine(&self) -> Result<Found, RecoveryError> {
        let mut found = examine(&mut self.store()?, &self.cluster()?)?;
        let Survivor {
            id, name, names, ..
        } = &mut found.survivor;
        if name.is_empty() {
            *name = record(&self.dir)?.name;
            names.insert(*id, name.clone());
        }
        Ok(found)
    }

    /// The SHA-256 of the certificate of the cluster's CA, in hex; empty if there is none.
    ///
    /// # Errors
    /// [`RecoveryError`] if the certificate cannot be read.
    pub fn cluster(&self) -> Result<String, RecoveryError> {
        let path = self.dir.join(PKI).join("ca.crt");
        match fs::read_to_string(&path) {
            Ok(pem) => Ok(hash(&pem)?.1),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(source) => Err(file("read", &path)(source)),
        }
    }
}

impl Keys {
    /// Reads the CA from a directory that holds `ca.crt` and `ca.key`, as a data directory's `pki`
    /// does.
    ///
    /// # Errors
    /// [`RecoveryError::File`] if one of them cannot be read.
    pub fn read(dir: &Path) -> Result<Self, RecoveryError> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).map_err(file("read", &path))
        };
        Ok(Self {
            ca_cert: read("ca.crt")?,
            ca_key: read("ca.key")?,
        })
    }

    /// Checks that certificate and key belong together and are the CA with this hash.
    ///
    /// # Errors
    /// [`RecoveryError::Ca`] if not.
    pub fn check(&self, ca_hash: &str) -> Result<(), RecoveryError> {
        let (der, found) = hash(&self.ca_cert)?;
        if found != ca_hash {
            return Err(RecoveryError::Ca("the backup is of a cluster with another"));
        }
        let no_key = |_| RecoveryError::Ca("ca.key holds no private key");
        let key = KeyPair::from_pem(&self.ca_key).map_err(no_key)?;
        let no_cert = |_| RecoveryError::Ca("ca.crt holds no certificate");
        let (_, cert) = x509_parser::parse_x509_certificate(&der).map_err(no_cert)?;
        if cert.public_key().raw != key.subject_public_key_info() {
            return Err(RecoveryError::Ca("ca.key does not fit ca.crt"));
        }
        Ok(())
    }
}

fn hash(pem: &str) -> Result<(CertificateDer<'static>, String), RecoveryError> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes());
    let der = der.map_err(|_| RecoveryError::Ca("ca.crt holds no certificate"))?;
    let hash = sha256_hex(&der);
    Ok((der, hash))
}

/// Refuses a data directory that a restore has left half done.
///
/// # Errors
/// [`RecoveryError::Unfinished`].
pub fn refuse_unfinished(dir: &Path) -> Result<(), RecoveryError> {
    if dir.join(UNFINISHED).exists() {
        let dir = dir.to_owned();
        return Err(RecoveryError::Unfinished { dir });
    }
    Ok(())
}

/// Restores a backup into a data directory that is absent, empty, or left half done by an earlier
/// restore, for a server of this name, or of its host's. Without keys the first start makes a new CA. A server can
/// start on the directory only once this has returned.
///
/// # Errors
/// [`RecoveryError`]; the same restore may be tried again.
pub fn restore_into(
    dir: &Path,
    backup: Backup,
    keys: Option<&Keys>,
    name: Option<&str>,
    margin: u64,
) -> Result<Restored, RecoveryError> {
    let name = name.map_or_else(host_name, str::to_owned);
    check_name("server", &name).map_err(|no| RecoveryError::Name(no.message))?;
    if let Some(keys) = keys {
        keys.check(&backup.header.ca_hash)?;
    }
    refuse_full(dir)?;
    let _lock = lock(dir)?;
    let marker = dir.join(UNFINISHED);
    let begin = || File::create(&marker)?.sync_all();
    begin().map_err(file("create", &marker))?;
    sync(dir)?;
    clear(dir)?;
    if let Some(keys) = keys {
        Pki::adopt_ca(dir, &keys.ca_cert, &keys.ca_key)?;
    }
    let member = restore::member_for(&backup.at);
    let record = Record {
        id: member,
        founders: vec![member],
        ..Record::founder(&name)
    };
    record.save(dir)?;
    let mut config = StoreConfig::new(&dir.join(STORE), member);
    let restored = restore(&mut config, backup.at, margin)?;
    sync(dir)?;
    fs::remove_file(&marker).map_err(file("remove", &marker))?;
    sync(dir)?;
    Ok(restored)
}

/// What the directory says about its member; a directory that says nothing is the founder's.
fn record(dir: &Path) -> Result<Record, RecoveryError> {
    Ok(Record::load(dir)?.unwrap_or_else(|| Record::founder("")))
}

fn refuse_full(dir: &Path) -> Result<(), RecoveryError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(file("list", dir)(source)),
    };
    let mut full = false;
    for entry in entries {
        let name = entry.map_err(file("list", dir))?.file_name();
        if name == UNFINISHED {
            return Ok(());
        }
        full |= name != LOST_AND_FOUND;
    }
    if full {
        let dir = dir.to_owned();
        return Err(RecoveryError::NotEmpty { dir });
    }
    Ok(())
}

/// Removes what an unfinished restore has left.
fn clear(dir: &Path) -> Result<(), RecoveryError> {
    for path in [dir.join(STORE), dir.join(PKI)] {
        if path.exists() {
            fs::remove_dir_all(&path).map_err(file("remove", &path))?;
        }
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File, RecoveryError> {
    lock_data_dir(dir).map_err(|err| {
        if let ServerError::DataDir { path, source } = err {
            return file("use", &path)(source);
        }
        // Nothing else can go wrong with a lock.
        let dir = dir.to_owned();
        RecoveryError::Running { dir }
    })
}

fn sync(dir: &Path) -> Result<(), RecoveryError> {
    let synced = File::open(dir).and_then(|opened| opened.sync_all());
    synced.map_err(file("sync", dir))
}

pub(super) fn file(step: &'static str, path: &Path) -> impl Fn(io::Error) -> RecoveryError {
    let path = path.to_owned();
    move |source| RecoveryError::File {
        step,
        path: path.clone(),
        source,
    }
}
