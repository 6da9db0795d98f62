//! Paths of the machine in a pod: checked, or made, by the type that the pod names.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use skiff_api::k8s_openapi::api::core::v1::HostPathVolumeSource;

use super::VolumeError;

/// Makes sure that a path is what the pod takes it for.
pub(super) fn check(name: &str, source: &HostPathVolumeSource) -> Result<(), VolumeError> {
    let path = Path::new(&source.path);
    let type_ = source.type_.as_deref().unwrap_or("");
    let failed = |source| VolumeError::Disk {
        volume: name.to_owned(),
        step: "create",
        path: path.to_owned(),
        source,
    };
    match type_ {
        // Without a type nothing is checked, but the engine needs something to mount.
        "" if path.exists() => return Ok(()),
        "" | "DirectoryOrCreate" if !path.exists() => fs::create_dir_all(path).map_err(failed)?,
        "FileOrCreate" if !path.exists() => fs::write(path, "").map_err(failed)?,
        _ => {}
    }
    if is(path, type_) {
        Ok(())
    } else {
        let path = PathBuf::from(path);
        Err(VolumeError::HostPath {
            volume: name.to_owned(),
            path,
            expected: type_.to_owned(),
        })
    }
}

fn is(path: &Path, type_: &str) -> bool {
    let Ok(meta) = fs::metadata(path) else {
        return false;
    };
    let found = meta.file_type();
    match type_ {
        "" => true,
        "Directory" | "DirectoryOrCreate" => found.is_dir(),
        "File" | "FileOrCreate" => found.is_file(),
        "Socket" => found.is_socket(),
        "CharDevice" => found.is_char_device(),
        "BlockDevice" => found.is_block_device(),
        _ => false,
    }
}
