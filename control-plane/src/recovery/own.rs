//! Which member a data directory belongs to: `member.json`, which the server reads at its start.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::RecoveryError;
use super::place::file;
use crate::pki::write_secret;

const FILE: &str = "member.json";
/// The member of a directory that does not say: the one that founded the cluster.
const FOUNDER: u64 = 1;

/// What matters here of the file.
#[derive(Deserialize)]
pub(super) struct Own {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) name: String,
}

/// The id of the member that a data directory belongs to.
///
/// # Errors
/// [`RecoveryError::File`] if the directory says something that cannot be understood.
pub fn member_of(dir: &Path) -> Result<u64, RecoveryError> {
    Ok(read(dir)?.id)
}

pub(super) fn read(dir: &Path) -> Result<Own, RecoveryError> {
    let path = dir.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            return Ok(Own {
                id: FOUNDER,
                name: String::new(),
            });
        }
        Err(source) => return Err(file("read", &path)(source)),
    };
    let damaged = |err| file("read", &path)(io::Error::other(err));
    serde_json::from_slice(&text).map_err(damaged)
}

/// Says that the directory belongs to the only member of a group that begins with it. Who the
/// others are, the server finds out for itself.
pub(super) fn write(dir: &Path, own: &Own) -> Result<(), RecoveryError> {
    let Own { id, name } = own;
    let record = json!({"id": id, "name": name, "founders": [id], "revision": 0, "members": []});
    Ok(write_secret(
        &dir.join(FILE),
        format!("{record}\n").as_bytes(),
    )?)
}
