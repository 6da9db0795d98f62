//! Keys and certificates as files: written whole or not at all, keys readable by the owner only.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::PkiError;

pub(super) fn make_private_dir(dir: &Path) -> Result<(), PkiError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(file("create", dir))
}

/// Loads `NAME.crt` and `NAME.key`, or makes both if they are missing or not `usable`.
pub(super) fn load_or_make(
    dir: &Path,
    name: &str,
    usable: impl Fn(&str) -> bool,
    make: impl FnOnce() -> Result<(String, String), PkiError>,
) -> Result<(String, String), PkiError> {
    let (cert_path, key_path) = (
        dir.join(format!("{name}.crt")),
        dir.join(format!("{name}.key")),
    );
    if cert_path.exists() && key_path.exists() {
        let cert = fs::read_to_string(&cert_path).map_err(file("read", &cert_path))?;
        let key = fs::read_to_string(&key_path).map_err(file("read", &key_path))?;
        if usable(&cert) {
            return Ok((cert, key));
        }
    }
    let (cert, key) = make()?;
    write_secret(&key_path, key.as_bytes())?;
    write_secret(&cert_path, cert.as_bytes())?;
    Ok((cert, key))
}

/// Writes a file of mode 0600 through a temporary name, so that it is never seen half written.
///
/// # Errors
/// [`PkiError::File`] if the directory cannot be written.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), PkiError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = Path::new(&temporary);
    let write = || {
        let mut options = fs::OpenOptions::new();
        let mut out = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(temporary)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(temporary, path)
    };
    write().map_err(file("write", path))
}

/// Makes durable which files a directory has.
///
/// # Errors
/// [`PkiError::File`] if the disk says no.
pub fn sync_dir(dir: &Path) -> Result<(), PkiError> {
    let sync = || fs::File::open(dir)?.sync_all();
    sync().map_err(file("sync", dir))
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PkiError {
    let path = path.to_owned();
    move |source| PkiError::File {
        action,
        path,
        source,
    }
}
