//! The pause image: built into the binary and loaded into the Engine, so that nothing is pulled.
//!
//! The archive is the same, bit for bit, for every agent of one version: loading it twice, or from
//! two agents at once, gives one image.

mod elf;

use std::io;

use ring::digest;
use serde_json::json;

use elf::Arch;

/// The pause image's name. The tag grows when the program or the image's settings change.
pub(super) const PAUSE_IMAGE: &str = "skiff/pause:1";

/// The pause image for an Engine of that architecture (in Go's words), as the archive that
/// `docker load` reads; `None` if there is no pause program for it.
///
/// # Errors
/// Never in practice: everything is written to memory.
pub(super) fn archive(arch: &str) -> Option<io::Result<Vec<u8>>> {
    Arch::from_go(arch).map(build)
}

fn build(arch: Arch) -> io::Result<Vec<u8>> {
    let mut layer = Tar::new();
    layer.file("pause", 0o555, &elf::program(arch))?;
    let layer = layer.finish()?;
    let config = json!({
        "architecture": arch.as_go(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": { "Entrypoint": ["/pause"], "User": "65535:65535" },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))] },
    })
    .to_string();
    let manifest =
        json!([{ "Config": "config.json", "RepoTags": [PAUSE_IMAGE], "Layers": ["layer.tar"] }]);
    let mut image = Tar::new();
    image.file("manifest.json", 0o444, manifest.to_string().as_bytes())?;
    image.file("config.json", 0o444, config.as_bytes())?;
    image.file("layer.tar", 0o444, &layer)?;
    image.finish()
}

fn sha256(bytes: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, bytes);
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A tar archive in memory whose entries carry no time and no owner.
struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        self.0.append_data(&mut header, path, content)
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        self.0.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    use super::*;

    #[test]
    fn the_image_is_the_same_every_time() {
        let first = build(Arch::Amd64).unwrap();
        assert_eq!(first, build(Arch::Amd64).unwrap());
        assert!(first.len() < 16 * 1024, "{} bytes", first.len());
        assert!(archive("riscv64").is_none());
    }

    #[test]
    fn both_programs_are_small_and_aligned() {
        for arch in [Arch::Amd64, Arch::Arm64] {
            let program = elf::program(arch);
            assert_eq!(program.len() % 8, 0, "{arch:?}: the data is not aligned");
            assert!(program.len() < 256, "{arch:?}: {} bytes", program.len());
            assert_eq!(Arch::from_go(arch.as_go()), Some(arch));
        }
    }

    /// Holds still until a signal comes, then ends well: SIGTERM is proof that it waited, since a
    /// program that had crashed or ended by itself would not report this.
    #[test]
    fn the_program_waits_for_sigterm_and_ends_with_zero() {
        let Some(arch) = (match std::env::consts::ARCH {
            "x86_64" => Some(Arch::Amd64),
            "aarch64" => Some(Arch::Arm64),
            _ => None,
        }) else {
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pause");
        std::fs::write(&path, elf::program(arch)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut child = Running(Command::new(&path).spawn().unwrap());
        let pid = i32::try_from(child.0.id()).unwrap();
        wait_for_system_call(pid, &["128 ", "137 "]);
        assert_eq!(child.0.try_wait().unwrap(), None, "it ended by itself");
        let process = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        let status = child.0.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(0), None));
    }

    /// A process that does not outlive a failed test.
    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            // It has mostly ended already, and then there is nothing to kill.
            drop(self.0.kill().and_then(|()| self.0.wait()));
        }
    }

    /// Waits until the kernel shows the process in one of those system calls, with SIGCHLD ignored.
    fn wait_for_system_call(pid: i32, calls: &[&str]) {
        let begun = std::time::Instant::now();
        loop {
            let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
            if calls.iter().any(|number| call.starts_with(number)) {
                break;
            }
            assert!(begun.elapsed().as_secs() < 10, "{call}");
            std::thread::yield_now();
        }
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let ignored = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:\t"))
            .unwrap();
        let ignored = u64::from_str_radix(ignored, 16).unwrap();
        assert_ne!(ignored & (1 << 16), 0, "SIGCHLD is not ignored: {status}");
    }
}
