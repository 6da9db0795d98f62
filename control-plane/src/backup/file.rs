//! A backup as bytes: eight letters and a format number, a section that says what it is, one with
//! the keys if they were asked for, and then the state in the frames of `snapshot`.
//!
//! A section is `length u32 | crc32 u32 | JSON`, little-endian. Every byte is under a checksum or
//! has only one right value, and the last frame counts the objects: what was cut or changed is
//! refused as a whole.

use std::fmt;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::snapshot::{Assembly, SnapshotError, StateAt};

const MAGIC: &[u8; 8] = b"skiffbak";
const FORMAT: u32 = 1;
const INTRO_BYTES: usize = 12;
const SECTION_HEAD_BYTES: usize = 8;
/// Certificates and keys are a few kilobytes; more is not a section.
const SECTION_BYTES_MAX: usize = 64 << 10;

/// What a backup says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// The SHA-256 of the certificate of the cluster's CA, in hex.
    pub ca_hash: String,
    /// When it was taken, by the server's clock, as RFC 3339.
    pub time: String,
    /// Whether it holds the CA's certificate and key.
    pub keys: bool,
}

/// The identity of a cluster: with it, the certificates of agents and users go on being valid.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keys {
    /// The CA's certificate in PEM.
    pub ca_cert: String,
    /// The CA's private key in PEM.
    pub ca_key: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

/// A backup that was read and verified.
#[derive(Clone, Debug)]
pub struct Backup {
    /// What it says about itself.
    pub header: Header,
    /// The CA, if it is in the file.
    pub keys: Option<Keys>,
    /// The state and where it stands.
    pub at: StateAt,
    /// The length of the file.
    pub bytes: u64,
}

/// Why bytes are not a backup that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The first letters are others.
    #[error("it is not a backup of skiff")]
    Foreign,
    /// A later version wrote it.
    #[error("it has format {0}, and this version of skiff reads format {FORMAT} only")]
    Format(u32),
    /// A section's checksum or form is wrong.
    #[error("the backup is damaged: {0} cannot be read; use another one")]
    Section(&'static str),
    /// The state's frames are damaged or not all there.
    #[error("the backup is damaged or was cut off; use another one")]
    State(#[from] SnapshotError),
}

/// What stands before the state.
#[must_use]
pub fn head(header: &Header, keys: Option<&Keys>) -> Bytes {
    let mut out = Vec::from(MAGIC.as_slice());
    out.extend_from_slice(&FORMAT.to_le_bytes());
    section(header, &mut out);
    if let Some(keys) = keys {
        section(keys, &mut out);
    }
    out.into()
}

fn section(content: &impl Serialize, out: &mut Vec<u8>) {
    // Plain structs of texts: there is nothing that JSON could refuse.
    let payload = serde_json::to_vec(content).unwrap_or_default();
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    out.extend_from_slice(&payload);
}

/// Reads a backup from bytes as they come.
#[derive(Debug, Default)]
pub struct Reader {
    /// What is not understood yet, until the state begins.
    unread: Vec<u8>,
    introduced: bool,
    header: Option<Header>,
    keys: Option<Keys>,
    state: Assembly,
    bytes: u64,
}

impl Reader {
    /// Takes bytes, in order, however they were cut.
    ///
    /// # Errors
    /// [`BackupError`]; nothing of the reader can be used then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.bytes += bytes.len() as u64;
        if self.state_begins() {
            return Ok(self.state.push(bytes)?);
        }
        self.unread.extend_from_slice(bytes);
        while !self.state_begins() {
            if !self.step()? {
                return Ok(());
            }
        }
        let rest = std::mem::take(&mut self.unread);
        Ok(self.state.push(&rest)?)
    }

    /// The backup, once all of it was taken.
    ///
    /// # Errors
    /// [`BackupError`] if something is missing.
    pub fn finish(self) -> Result<Backup, BackupError> {
        let (Some(header), bytes) = (self.header, self.bytes) else {
            return Err(if self.introduced {
                SnapshotError::Incomplete.into()
            } else {
                BackupError::Foreign
            });
        };
        Ok(Backup {
            header,
            keys: self.keys,
            at: self.state.finish()?,
            bytes,
        })
    }

    fn state_begins(&self) -> bool {
        let header = self.header.as_ref();
        header.is_some_and(|header| header.keys == self.keys.is_some())
    }

    /// Understands one more part of the head; false if it is not all there yet.
    fn step(&mut self) -> Result<bool, BackupError> {
        let taken = if !self.introduced {
            let seen = self.unread.len().min(MAGIC.len());
            if self.unread.get(..seen) != MAGIC.get(..seen) {
                return Err(BackupError::Foreign);
            }
            let Some((intro, _)) = self.unread.split_first_chunk::<INTRO_BYTES>() else {
                return Ok(false);
            };
            let format = intro.last_chunk().map(|bytes| u32::from_le_bytes(*bytes));
            if format != Some(FORMAT) {
                return Err(BackupError::Format(format.unwrap_or_default()));
            }
            self.introduced = true;
            INTRO_BYTES
        } else if self.header.is_none() {
            let Some((header, taken)) = read_section(&self.unread, "its header")? else {
                return Ok(false);
            };
            self.header = Some(header);
            taken
        } else {
            let Some((keys, taken)) = read_section(&self.unread, "the part with the keys")? else {
                return Ok(false);
            };
            self.keys = Some(keys);
            taken
        };
        self.unread.drain(..taken);
        Ok(true)
    }
}

/// A section and its length, if all of it is there.
fn read_section<T: DeserializeOwned>(
    bytes: &[u8],
    what: &'static str,
) -> Result<Option<(T, usize)>, BackupError> {
    let damaged = || BackupError::Section(what);
    let Some((len, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| damaged())?;
    if len > SECTION_BYTES_MAX {
        return Err(damaged());
    }
    let Some((sum, rest)) = rest.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let Some(payload) = rest.get(..len) else {
        return Ok(None);
    };
    if crc32fast::hash(payload) != u32::from_le_bytes(*sum) {
        return Err(damaged());
    }
    let content = serde_json::from_slice(payload).map_err(|_| damaged())?;
    Ok(Some((content, SECTION_HEAD_BYTES + len)))
}
