//! A pod's volumes as directories of this machine, under `pods/<uid>/` of the data directory.
//! Everything here is idempotent: making volumes again only writes what has changed.
//! All calls touch the disk: callers keep them off the async threads.

mod atomic;
mod content;
mod host_path;
#[cfg(test)]
mod tests;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Component, Path, PathBuf};

use skiff_api::k8s_openapi::api::core::v1::{Container, EmptyDirVolumeSource, Volume, VolumeMount};

pub use content::{Content, ContentError, wanted};

use crate::env::expand;
use crate::fields::Place;
use crate::pod::DesiredPod;
use crate::refs::Refs;
use crate::runtime::Mount;

/// Where memory is a directory.
const MEMORY: &str = "/dev/shm";

/// Why a volume could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// What it should hold cannot be had.
    #[error("volume {volume:?}")]
    Content {
        /// The volume's name.
        volume: String,
        /// What is missing.
        #[source]
        source: ContentError,
    },
    /// The disk said no.
    #[error("volume {volume:?}: {step} {path}")]
    Disk {
        /// The volume's name.
        volume: String,
        /// What was tried.
        step: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// A path of the machine is not what the pod says it is.
    #[error("volume {volume:?}: hostPath type check failed: {path} is not a {expected}")]
    HostPath {
        /// The volume's name.
        volume: String,
        /// The path.
        path: PathBuf,
        /// The type asked for.
        expected: String,
    },
    /// The machine has no file system in memory.
    #[error("volume {volume:?}: medium Memory needs {MEMORY}, which this machine does not have")]
    NoMemory {
        /// The volume's name.
        volume: String,
    },
    /// A source of a kind that is not supported.
    #[error("volume {volume:?}: its kind of source is not supported by this node")]
    Unsupported {
        /// The volume's name.
        volume: String,
    },
    /// A mount names a volume that the pod does not have.
    #[error("volume {volume:?} is not defined")]
    Unknown {
        /// The name in the mount.
        volume: String,
    },
    /// A path inside a volume that leads out of it.
    #[error("volume {volume:?}: subPath {path:?} leads out of the volume")]
    Outside {
        /// The volume's name.
        volume: String,
        /// The path.
        path: String,
    },
}

/// The volumes of a node's pods.
#[derive(Clone, Debug)]
pub struct Volumes {
    root: PathBuf,
}

impl Volumes {
    /// Volumes below an agent's data directory.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self {
            root: data_dir.join("pods"),
        }
    }

    /// Makes or brings up to date all volumes of a pod.
    ///
    /// # Errors
    /// [`VolumeError`] for the first that cannot be made.
    pub fn prepare(&self, pod: &DesiredPod, refs: &Refs, place: &Place) -> Result<(), VolumeError> {
        for volume in pod.spec().volumes.iter().flatten() {
            self.make(pod, volume, refs, place)?;
        }
        Ok(())
    }

    fn make(
        &self,
        pod: &DesiredPod,
        volume: &Volume,
        refs: &Refs,
        place: &Place,
    ) -> Result<(), VolumeError> {
        let name = || volume.name.clone();
        let dir = self.dir(pod, volume);
        let group = pod
            .spec()
            .security_context
            .as_ref()
            .and_then(|context| context.fs_group);
        if let Some(source) = &volume.empty_dir {
            return empty_dir(&volume.name, source, &dir, group);
        }
        if let Some(source) = &volume.host_path {
            return host_path::check(&volume.name, source);
        }
        let content = content::of(volume, pod, refs, place)
            .map_err(|source| VolumeError::Content {
                volume: name(),
                source,
            })?
            .ok_or_else(|| VolumeError::Unsupported { volume: name() })?;
        atomic::write(&dir, &content, group).map_err(|source| VolumeError::Disk {
            volume: name(),
            step: "write files below",
            path: dir,
            source,
        })
    }

    /// The mounts of a container, and the file for its last message.
    ///
    /// # Errors
    /// [`VolumeError`] for the first that leads nowhere.
    pub fn mounts(
        &self,
        pod: &DesiredPod,
        container: &Container,
        attempt: u32,
        env: &[(String, String)],
    ) -> Result<Vec<Mount>, VolumeError> {
        let mut mounts = Vec::new();
        for mount in container.volume_mounts.iter().flatten() {
            mounts.push(self.mount(pod, mount, env)?);
        }
        let source = self.message_file(&pod.pod.uid, &container.name, attempt);
        make_file(&source).map_err(|error| VolumeError::Disk {
            volume: "termination message".into(),
            step: "create",
            path: source.clone(),
            source: error,
        })?;
        let target = container.termination_message_path.as_deref();
        let target = target
            .filter(|path| !path.is_empty())
            .unwrap_or("/dev/termination-log");
        mounts.push(Mount {
            source,
            target: target.to_owned(),
            read_only: false,
        });
        Ok(mounts)
    }

    fn mount(
        &self,
        pod: &DesiredPod,
        mount: &VolumeMount,
        env: &[(String, String)],
    ) -> Result<Mount, VolumeError> {
        let spec = pod.spec();
        let volume = spec
            .volumes
            .iter()
            .flatten()
            .find(|volume| volume.name == mount.name)
            .ok_or_else(|| VolumeError::Unknown {
                volume: mount.name.clone(),
            })?;
        let owned = volume.empty_dir.is_some() || volume.host_path.is_some();
        let mut source = self.dir(pod, volume);
        let sub_path = match (&mount.sub_path, &mount.sub_path_expr) {
            (Some(path), _) => path.clone(),
            (None, Some(path)) => expand(path, env),
            (None, None) => String::new(),
        };
        if !sub_path.is_empty() {
            source = inside(&volume.name, &source, &sub_path, owned)?;
        }
        let read_only = mount.read_only.unwrap_or(false) || !owned;
        Ok(Mount {
            source,
            target: mount.mount_path.clone(),
            read_only,
        })
    }

    /// Removes everything of a pod.
    ///
    /// # Errors
    /// The disk said no; what is left is removed by the next call.
    pub fn remove(&self, uid: &str) -> Result<(), VolumeError> {
        for path in [self.root.join(uid), memory_dir(uid)] {
            match fs::remove_dir_all(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    let volume = "of the pod".into();
                    return Err(VolumeError::Disk {
                        volume,
                        step: "remove",
                        path,
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    /// The uids of pods that have a directory here.
    #[must_use]
    pub fn stored(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.root) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// The file in which a container may leave its last message.
    #[must_use]
    pub fn message_file(&self, uid: &str, container: &str, attempt: u32) -> PathBuf {
        self.root
            .join(uid)
            .join("messages")
            .join(format!("{container}-{attempt}"))
    }

    /// The file that a pod's containers get as `/etc/resolv.conf`.
    #[must_use]
    pub fn resolv_conf(&self, uid: &str) -> PathBuf {
        self.root.join(uid).join("resolv.conf")
    }

    /// Writes that file. It is written in place: running containers have it mounted.
    ///
    /// # Errors
    /// The disk said no.
    pub fn write_resolv_conf(&self, uid: &str, text: &str) -> Result<(), VolumeError> {
        let path = self.resolv_conf(uid);
        let dir = path.parent().unwrap_or(&self.root);
        let written = fs::create_dir_all(dir).and_then(|()| fs::write(&path, text));
        written.map_err(|source| VolumeError::Disk {
            volume: "resolv.conf".into(),
            step: "write",
            path: path.clone(),
            source,
        })
    }

    fn dir(&self, pod: &DesiredPod, volume: &Volume) -> PathBuf {
        if let Some(source) = &volume.host_path {
            return PathBuf::from(&source.path);
        }
        let in_memory = volume.empty_dir.as_ref().is_some_and(is_memory);
        if in_memory {
            return memory_dir(&pod.pod.uid).join(&volume.name);
        }
        self.root
            .join(&*pod.pod.uid)
            .join("volumes")
            .join(&volume.name)
    }
}

fn memory_dir(uid: &str) -> PathBuf {
    Path::new(MEMORY).join(format!("skiff-{uid}"))
}

fn is_memory(source: &EmptyDirVolumeSource) -> bool {
    source.medium.as_deref() == Some("Memory")
}

fn empty_dir(
    name: &str,
    source: &EmptyDirVolumeSource,
    dir: &Path,
    group: Option<i64>,
) -> Result<(), VolumeError> {
    if is_memory(source) && !Path::new(MEMORY).is_dir() {
        return Err(VolumeError::NoMemory {
            volume: name.to_owned(),
        });
    }
    let failed = |source| VolumeError::Disk {
        volume: name.to_owned(),
        step: "create",
        path: dir.to_owned(),
        source,
    };
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(failed)?;
    // The container's user is not known here: anybody may write, as with Kubernetes.
    let mut mode = 0o777;
    if let Some(group) = group.and_then(|group| u32::try_from(group).ok()) {
        chown(dir, None, Some(group)).map_err(failed)?;
        mode |= 0o2000;
    }
    fs::set_permissions(dir, Permissions::from_mode(mode)).map_err(failed)
}

fn make_file(path: &Path) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(path, "")?;
    // Whoever the container runs as may write its message.
    fs::set_permissions(path, Permissions::from_mode(0o666))
}

/// A path inside a volume. A container may have put a link there that leads out: the path is
/// resolved before it is believed.
fn inside(name: &str, root: &Path, sub: &str, create: bool) -> Result<PathBuf, VolumeError> {
    let outside = || VolumeError::Outside {
        volume: name.to_owned(),
        path: sub.to_owned(),
    };
    let plain = Path::new(sub)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !plain {
        return Err(outside());
    }
    let path = root.join(sub);
    let failed = |step, source| VolumeError::Disk {
        volume: name.to_owned(),
        step,
        path: path.clone(),
        source,
    };
    let real_root = root
        .canonicalize()
        .map_err(|source| failed("resolve", source))?;
    if create && !path.exists() {
        // The nearest part that exists must lie inside before anything is made below it.
        let known = path.ancestors().find_map(|part| part.canonicalize().ok());
        if !known.is_some_and(|known| known.starts_with(&real_root)) {
            return Err(outside());
        }
        make_like(root, sub).map_err(|source| failed("create", source))?;
    }
    let real = path
        .canonicalize()
        .map_err(|source| failed("resolve", source))?;
    if real.starts_with(&real_root) {
        Ok(real)
    } else {
        Err(outside())
    }
}

/// Makes the directories of a path inside a volume, open to the same people as the volume itself.
fn make_like(root: &Path, sub: &str) -> io::Result<()> {
    let mode = fs::metadata(root)?.permissions();
    let mut path = root.to_owned();
    for part in Path::new(sub).components() {
        path.push(part);
        match fs::create_dir(&path) {
            Ok(()) => fs::set_permissions(&path, mode.clone())?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
