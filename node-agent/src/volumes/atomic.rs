//! Writes the files of a volume so that a reader sees all of the old ones or all of the new ones:
//! a directory per version, a link `..data` to the current one, and a link per file through it.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

use ring::digest;

use super::Content;

/// The link to the current version.
const DATA: &str = "..data";

/// Brings a directory to a content; does nothing if it has it already.
pub(super) fn write(dir: &Path, content: &Content, group: Option<i64>) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let version = format!("..{}", fingerprint(content, group));
    if fs::read_link(dir.join(DATA)).is_ok_and(|current| current == Path::new(&version)) {
        return Ok(());
    }
    let fresh = dir.join(&version);
    // What is there is left of a write that was cut off.
    remove(&fresh)?;
    for (path, file) in content {
        let path = fresh.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, &file.bytes)?;
        let mut mode = file.mode;
        if let Some(group) = group.and_then(|group| u32::try_from(group).ok()) {
            chown(&path, None, Some(group))?;
            mode |= 0o440;
        }
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    fs::create_dir_all(&fresh)?;
    let draft = dir.join("..data_tmp");
    remove(&draft)?;
    symlink(&version, &draft)?;
    fs::rename(&draft, dir.join(DATA))?;
    link(dir, content)?;
    clean(dir, &version)
}

/// One link per first part of a path.
fn link(dir: &Path, content: &Content) -> io::Result<()> {
    for name in tops(content) {
        let path = dir.join(name);
        if path.symlink_metadata().is_err() {
            symlink(Path::new(DATA).join(name), &path)?;
        }
    }
    Ok(())
}

/// Removes older versions, and the links to files that are no more.
fn clean(dir: &Path, version: &str) -> io::Result<()> {
    let current = dir.join(DATA);
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_version = name.starts_with("..");
        let stale = if is_version {
            name != DATA && name != version
        } else {
            !current.join(&*name).exists()
        };
        if stale {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn tops(content: &Content) -> BTreeSet<&str> {
    content
        .keys()
        .filter_map(|path| path.split('/').next())
        .collect()
}

fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn fingerprint(content: &Content, group: Option<i64>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&group.unwrap_or(-1).to_be_bytes());
    for (path, file) in content {
        for part in [path.as_bytes(), &file.mode.to_be_bytes(), &file.bytes] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
    }
    context
        .finish()
        .as_ref()
        .iter()
        .take(10)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
