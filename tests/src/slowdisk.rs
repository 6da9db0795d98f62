//! A disk whose fdatasync takes long, without a disk: a library that the loader puts in front of the
//! system's own, for every process that is started with [`SlowDisk::env`].

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::skiff::run;

/// Waits, then does the real thing: the data are as safe as ever, only later. The system call itself
/// is what `fdatasync` does, so there is no need to look for the function that this one hides.
const SOURCE: &str = r"
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int fdatasync(int fd) {
    struct timespec left = { DELAY_MS / 1000, (DELAY_MS % 1000) * 1000000L };
    while (nanosleep(&left, &left) == -1 && errno == EINTR) {}
    return (int) syscall(SYS_fdatasync, fd);
}
";

/// The library, built; gone when this is dropped, which running processes don't mind.
pub struct SlowDisk {
    library: PathBuf,
    _folder: tempfile::TempDir,
}

impl SlowDisk {
    /// Builds it with the C compiler that Rust links with.
    ///
    /// # Panics
    /// Without `cc` and the C library's headers.
    #[must_use]
    pub fn new(delay: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let source = folder.path().join("slowdisk.c");
        let library = folder.path().join("slowdisk.so");
        fs::write(&source, SOURCE).expect("write the library's source");
        let built = run(Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror"])
            .arg(format!("-DDELAY_MS={}", delay.as_millis()))
            .arg("-o")
            .args([&library, &source]));
        assert_eq!(built.code, 0, "cc: {}", built.err);
        Self {
            library,
            _folder: folder,
        }
    }

    /// What a process must find in its environment.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        let library = self.library.display().to_string();
        vec![("LD_PRELOAD".to_owned(), library)]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_program_under_it_waits_for_the_disk() {
        let delay = Duration::from_millis(200);
        let disk = SlowDisk::new(delay);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let target = format!("of={}", folder.path().join("file").display());
        let mut dd = Command::new("dd");
        dd.args([
            "if=/dev/zero",
            &target,
            "bs=1k",
            "count=1",
            "conv=fdatasync",
        ]);
        let began = Instant::now();
        let said = run(dd.envs(disk.env()));
        assert_eq!(said.code, 0, "dd: {}", said.err);
        assert!(began.elapsed() >= delay, "{:?}", began.elapsed());
        let written = fs::metadata(folder.path().join("file")).expect("dd made it");
        assert_eq!(written.len(), 1024);
    }
}
