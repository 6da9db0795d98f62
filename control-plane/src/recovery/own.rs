//! Which member a data directory belongs to: `member.json`.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::RecoveryError;
use super::place::file;
use crate::pki::write_secret;

const FILE: &str = "member.json";
/// The member of a directory that does not say: the one that founded the cluster.
const FOUNDER: u64 = 1;

#[derive(Serialize, Deserialize)]
struct Own {
    id: u64,
}

pub(super) fn read(dir: &Path) -> Result<u64, RecoveryError> {
    let path = dir.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(FOUNDER),
        Err(source) => return Err(file("read", &path)(source)),
    };
    let own: Own =
        serde_json::from_slice(&text).map_err(|err| file("read", &path)(io::Error::other(err)))?;
    Ok(own.id)
}

pub(super) fn write(dir: &Path, id: u64) -> Result<(), RecoveryError> {
    // A number always serialises.
    let text = serde_json::to_vec(&Own { id }).unwrap_or_default();
    Ok(write_secret(&dir.join(FILE), &text)?)
}
