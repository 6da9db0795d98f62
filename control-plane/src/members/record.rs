//! What a server knows about itself before it has opened anything: `member.json` in its data
//! directory. With it a restart finds its peers before it has replayed its log.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Member, Members};
use crate::pki::{PkiError, sync_dir, write_secret};

/// The name of the file.
const FILE: &str = "member.json";
/// The id of the server that founds a cluster.
const FOUNDER: u64 = 1;

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// This server's id in the raft group.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The voters with which the raft group began; a log from its beginning starts with them.
    pub founders: Vec<u64>,
    /// The revision of the list of servers below.
    pub revision: u64,
    /// The servers.
    pub members: Vec<Member>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It says nothing that can be understood.
    #[error(
        "{path} is damaged; move this server's data directory away and let it join again as a new \
         server"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// It cannot be written.
    #[error("write down who this server is")]
    Write(#[from] PkiError),
}

impl Record {
    /// The server that founds a cluster.
    #[must_use]
    pub fn founder(name: &str) -> Self {
        Self {
            id: FOUNDER,
            name: name.to_owned(),
            founders: vec![FOUNDER],
            revision: 0,
            members: Vec::new(),
        }
    }

    /// Reads the file of a data directory; `None` if there is none.
    ///
    /// # Errors
    /// [`RecordError`]; a server that does not know its id must not start.
    pub fn load(dir: &Path) -> Result<Option<Self>, RecordError> {
        let path = dir.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(RecordError::Read { path, source }),
        };
        let read = serde_json::from_slice(&bytes);
        read.map(Some)
            .map_err(|source| RecordError::Damaged { path, source })
    }

    /// Writes the file; it is durable when this returns, or the old one is still there.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn save(&self, dir: &Path) -> Result<(), RecordError> {
        // A struct of plain texts and numbers always serialises.
        let bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        write_secret(&dir.join(FILE), &bytes)?;
        Ok(sync_dir(dir)?)
    }

    /// The servers by their ids.
    #[must_use]
    pub fn members(&self) -> Members {
        let members = self.members.iter();
        members.map(|member| (member.id, member.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::member;
    use super::*;

    #[test]
    fn the_record_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Record::load(dir.path()).unwrap(), None);
        let record = Record {
            members: vec![member(1), member(2)],
            ..Record::founder("a")
        };
        record.save(dir.path()).unwrap();
        assert_eq!(Record::load(dir.path()).unwrap(), Some(record));
    }

    #[test]
    fn a_damaged_record_stops_the_server() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        let refused = Record::load(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("join again"), "{refused}");
    }
}
