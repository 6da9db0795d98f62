//! A small file system of its own, in a file: it can be filled, and its power can be cut.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skiff::run;

/// How long ext4 may keep what was not synced to itself; long, so that a power cut is harsh.
const COMMIT_SECONDS: u32 = 60;

/// An ext4 file system in a file, mounted.
pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
    // Dropped last: the mount point lies in it.
    folder: tempfile::TempDir,
}

impl Disk {
    /// Makes and mounts an empty one.
    ///
    /// # Panics
    /// Without root, ext4's tools or loop devices.
    #[must_use]
    pub fn new(size_mb: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let image = folder.path().join("disk.img");
        let file = fs::File::create(&image).expect("make the disk's file");
        file.set_len(size_mb * 1024 * 1024)
            .expect("size the disk's file");
        // No reserved blocks: "full" must mean the same for root as for anybody.
        let made = run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-m", "0"])
            .arg(&image));
        assert_eq!(made.code, 0, "mkfs.ext4: {}", made.err);
        Self::mounted(image, folder)
    }

    /// What a power cut at this moment would leave: a copy of the disk's blocks, without anything
    /// that is only in memory. Freeze the writer first, so that the copy is of one moment.
    ///
    /// # Panics
    /// If the copy can't be made or mounted.
    #[must_use]
    pub fn after_power_cut(&self) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let image = folder.path().join("disk.img");
        let copied = run(Command::new("cp")
            .arg("--sparse=always")
            .arg(&self.image)
            .arg(&image));
        assert_eq!(copied.code, 0, "cp: {}", copied.err);
        Self::mounted(image, folder)
    }

    fn mounted(image: PathBuf, folder: tempfile::TempDir) -> Self {
        let mount = folder.path().join("mount");
        fs::create_dir(&mount).expect("make the mount point");
        let options = format!("loop,commit={COMMIT_SECONDS}");
        let done = run(Command::new("mount")
            .args(["-o", &options])
            .arg(&image)
            .arg(&mount));
        assert_eq!(done.code, 0, "mount: {}", done.err);
        Self {
            image,
            mount,
            folder,
        }
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Its own folder, outside of the file system.
    #[must_use]
    pub fn outside(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazy: a process that a failing test left behind must not keep the mount.
        let done = run(Command::new("umount").arg("--lazy").arg(&self.mount));
        if done.code != 0 {
            eprintln!("umount {}: {}", self.mount.display(), done.err);
        }
    }
}
