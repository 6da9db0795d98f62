//! The shop's image: one static binary in an image with nothing else, built without a network.

use std::process::{Command, Stdio};

use crate::shell::{self, Done, Failure, cargo, command, read};

/// The tags, one for each version that a rollout can go between; they differ in `SHOP_VERSION`.
const VERSIONS: [&str; 2] = ["v1", "v2"];
/// Tells an image that was made from the same binary from one that was not.
const DIGEST_LABEL: &str = "io.skiff.shop.sha256";

/// Makes `skiff/shop:v1` and `skiff/shop:v2`, unless they are there already.
///
/// # Errors
/// The binary does not build, or the Engine refuses the image.
pub(crate) fn shop() -> Done {
    let folder = shell::target_dir().join("shop");
    let host = host_triple()?;
    shell::run(
        cargo([
            "build",
            "--quiet",
            "--release",
            "--package",
            "skiff-shop",
            "--target",
            &host,
        ])
        .arg("--target-dir")
        .arg(&folder)
        // Nothing in the image can load a library.
        .env("RUSTFLAGS", "-C target-feature=+crt-static"),
    )?;
    let built = folder.join(host).join("release");
    let sum = read(Command::new("sha256sum").arg(built.join("shop")))?;
    let digest = sum.split(' ').next().unwrap_or_default();
    for version in VERSIONS {
        let tag = format!("skiff/shop:{version}");
        let label = format!("{{{{index .Config.Labels \"{DIGEST_LABEL}\"}}}}");
        let present = read(&mut command(
            "docker",
            ["image", "inspect", "--format", &label, &tag],
        ));
        if present.is_ok_and(|found| found == digest) {
            continue;
        }
        import(&built, &tag, version, digest)?;
    }
    Ok(())
}

/// `docker import` of one file: no build context, no cache, no builder to install.
fn import(folder: &std::path::Path, tag: &str, version: &str, digest: &str) -> Done {
    shell::say(&format!("image {tag}"));
    let mut tar = Command::new("tar")
        .args(["--create", "--owner=0", "--group=0", "--directory"])
        .arg(folder)
        .arg("shop")
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|source| Failure::Start {
            command: "tar".to_owned(),
            source,
        })?;
    let mut import = Command::new("docker");
    import.arg("import");
    for change in [
        "ENTRYPOINT [\"/shop\"]".to_owned(),
        // A number: the image has no user names.
        "USER 65534".to_owned(),
        "EXPOSE 8080".to_owned(),
        format!("ENV SHOP_VERSION={version}"),
        format!("LABEL {DIGEST_LABEL}={digest}"),
    ] {
        import.args(["--change", &change]);
    }
    import.args(["-", tag]).stdout(Stdio::null());
    if let Some(archive) = tar.stdout.take() {
        import.stdin(archive);
    }
    let imported = import.status().map_err(|source| Failure::Start {
        command: "docker import".to_owned(),
        source,
    })?;
    let packed = tar.wait().map_err(|source| Failure::Start {
        command: "tar".to_owned(),
        source,
    })?;
    for (name, status) in [("tar", packed), ("docker import", imported)] {
        if !status.success() {
            let command = format!("{name} {tag}");
            return Err(Failure::Exit {
                command,
                status,
                said: String::new(),
            });
        }
    }
    Ok(())
}

/// The machine's own target, whose standard library every Rust installation has.
fn host_triple() -> Done<String> {
    let about = read(Command::new("rustc").arg("-vV"))?;
    about
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| Failure::Missing("`rustc -vV` names no host".to_owned()))
}
