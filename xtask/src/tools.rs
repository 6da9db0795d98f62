//! What the machine must have for the tests and the demo, and how to get it: on Debian as root it
//! is installed; anywhere else the person is told exactly what to do.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::image;
use crate::shell::{self, Done, Failure, cargo, command, run};

/// How long a freshly started Docker Engine may take to answer.
const ENGINE_START_MAX: Duration = Duration::from_secs(60);

/// Something that a suite or a verb can't do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// An answering Docker Engine.
    Docker,
    /// The release binary `skiff`.
    Skiff,
    /// The demo shop's images.
    Shop,
    /// A real `kubectl`.
    Kubectl,
    /// A static busybox, from which test images are made.
    Busybox,
    /// The right to mount file systems, and ext4's tools.
    Mounts,
    /// The right to run a second Docker Engine.
    SecondEngine,
    /// A way to run a program with a wrong clock.
    Faketime,
    /// `dig`, to ask a resolver.
    Dig,
    /// `curl`, as a client that everybody knows.
    Curl,
    /// The right to make network namespaces, and the tools for it.
    Hosts,
    /// The right to say where packets go, and the program for it.
    Network,
    /// nginx, to be measured against.
    Nginx,
    /// `HAProxy`, to be measured against.
    Haproxy,
}

/// Makes sure that a need is met, installing what is missing if that can be done without asking.
///
/// # Errors
/// [`Failure::Missing`] with what the person can do about it; others if an attempt failed.
pub(crate) fn provide(need: Need) -> Done {
    match need {
        Need::Docker => docker(),
        Need::Skiff => skiff(),
        Need::Shop => image::shop(),
        Need::Kubectl => installed("kubectl", "kubernetes-client"),
        Need::Busybox => busybox(),
        Need::Mounts => mounts(),
        Need::SecondEngine => root("starting a Docker Engine"),
        Need::Faketime => installed("faketime", "faketime"),
        Need::Dig => installed("dig", "dnsutils"),
        Need::Curl => installed("curl", "curl"),
        Need::Hosts => hosts(),
        Need::Network => network(),
        Need::Nginx => installed("nginx", "nginx-light"),
        Need::Haproxy => installed("haproxy", "haproxy"),
    }
}

/// The release binary, where everything that runs it looks for it.
pub(crate) fn skiff_binary() -> PathBuf {
    shell::target_dir().join("release/skiff")
}

fn skiff() -> Done {
    run(&mut cargo([
        "build",
        "--quiet",
        "--release",
        "--package",
        "skiff",
    ]))
}

fn docker() -> Done {
    installed("docker", "docker.io")?;
    if engine_answers() {
        return Ok(());
    }
    if !is_root() {
        return Err(Failure::Missing(
            "the Docker Engine does not answer: start it (systemctl start docker) and make sure \
             that you may use it (`docker info` must work)"
                .to_owned(),
        ));
    }
    start_engine()
}

/// Starts the Engine as the init system would, or by itself where none runs (in a container).
fn start_engine() -> Done {
    if Path::new("/run/systemd/system").exists() {
        run(&mut command("systemctl", ["start", "docker"]))?;
    } else {
        let path = std::env::temp_dir().join("dockerd.log");
        let file = |source| Failure::File {
            path: path.clone(),
            source,
        };
        let log = File::create(&path).map_err(file)?;
        let errors = log.try_clone().map_err(file)?;
        shell::say(&format!("starting dockerd; its log is {}", path.display()));
        let mut dockerd = command("dockerd", []);
        dockerd
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0);
        dockerd.spawn().map_err(|source| Failure::Start {
            command: "dockerd".to_owned(),
            source,
        })?;
    }
    let began = Instant::now();
    while !engine_answers() {
        if began.elapsed() > ENGINE_START_MAX {
            return Err(Failure::Missing(format!(
                "the Docker Engine did not answer within {} s of its start",
                ENGINE_START_MAX.as_secs()
            )));
        }
        shell::pause(Duration::from_millis(200));
    }
    Ok(())
}

fn engine_answers() -> bool {
    shell::works(&mut command(
        "docker",
        ["version", "--format", "{{.Server.Version}}"],
    ))
}

fn busybox() -> Done {
    if shell::works(&mut command("busybox", ["true"])) {
        return Ok(());
    }
    installed("busybox", "busybox-static")
}

fn mounts() -> Done {
    if !is_root() {
        return Err(Failure::Missing(
            "mounting a file system takes root".to_owned(),
        ));
    }
    installed("mkfs.ext4", "e2fsprogs")?;
    let probe = command("losetup", ["--find"]);
    if shell::works(&mut { probe }) {
        return Ok(());
    }
    Err(Failure::Missing(
        "this machine has no loop devices (`losetup --find` fails)".to_owned(),
    ))
}

fn hosts() -> Done {
    root("making network namespaces")?;
    installed("ip", "iproute2")?;
    installed("sysctl", "procps")?;
    installed("nft", "nftables")
}

fn network() -> Done {
    root("connecting pods over the addresses of services")?;
    installed("nft", "nftables")
}

/// Installs `package` from Debian if `program` is not there.
fn installed(program: &str, package: &str) -> Done {
    if on_path(program) {
        return Ok(());
    }
    if !is_root() || !on_path("apt-get") {
        return Err(Failure::Missing(format!(
            "`{program}` is not installed: on Debian, run `sudo apt-get install {package}`"
        )));
    }
    let mut update = command("apt-get", ["update", "--quiet"]);
    run(update.stdout(Stdio::null()))?;
    let mut install = command(
        "apt-get",
        ["install", "--yes", "--quiet", "--no-install-recommends"],
    );
    run(install
        .arg(package)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null()))
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Root's tools are not on every login's path, but they can be run all the same.
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(more)
        .any(|dir| dir.join(program).is_file())
}

fn root(what: &str) -> Done {
    if is_root() {
        return Ok(());
    }
    Err(Failure::Missing(format!("{what} takes root")))
}

fn is_root() -> bool {
    shell::read(Command::new("id").arg("-u")).is_ok_and(|uid| uid == "0")
}
