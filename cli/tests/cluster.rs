//! Backup, restore and recovery from the command line: with a server as a process of its own, and
//! with downloads that break.

#[cfg(test)]
mod process;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use process::{Server, ask, bad, download, good, recover, run, skiff, text};

const CONFIG: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: kept, namespace: default}
data: {k: v}
";

#[test]
fn a_cluster_is_backed_up_restored_and_goes_on() {
    let all = tempfile::tempdir().unwrap();
    let path = |name: &str| all.path().join(name).to_str().unwrap().to_owned();
    let (old, new) = (all.path().join("old"), all.path().join("new"));
    let (file, bare, manifest) = (path("backup"), path("bare"), path("config.yaml"));
    let server = Server::start(&old);
    fs::write(&manifest, CONFIG).unwrap();
    good(&ask(&old, &["apply", "-f", &manifest]));
    let told = good(&ask(&old, &["cluster", "backup", &file, "--with-keys"]));
    assert!(told.starts_with("Backed up revision "), "{told}");
    assert!(told.contains("whoever has it can be anybody"), "{told}");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let without = ask(&old, &["cluster", "backup", "-"]);
    assert!(text(&without.stderr).contains("does not hold the key"));
    fs::write(&bare, &without.stdout).unwrap();
    drop(server);

    let restore = |file: &str| run(&["cluster", "restore", file, "--data-dir", &path("new")]);
    assert!(bad(&restore(&bare)).contains("--pki"));
    assert!(!new.exists());
    let told = good(&restore(&file));
    assert!(told.contains("The CA is the old one"), "{told}");
    assert!(bad(&restore(&file)).contains("is not empty"));

    let server = Server::start(&new);
    let found = good(&ask(&new, &["get", "configmap", "kept", "-o", "name"]));
    assert_eq!(found.trim(), "configmap/kept");
    let told = good(&ask(&new, &["cluster", "status"]));
    assert!(
        told.contains("leader"),
        "the new server lists itself: {told}"
    );
    good(&ask(&new, &["label", "configmap", "kept", "a=b"]));
    drop(server);
    let ca = |dir: &Path| fs::read(dir.join("pki/ca.crt")).unwrap();
    assert_eq!(ca(&old), ca(&new));
}

#[test]
fn a_server_is_examined_only_when_it_is_stopped() {
    let all = tempfile::tempdir().unwrap();
    let dir = all.path().join("old");
    assert!(bad(&recover(&dir, &[])).contains("holds no raft log"));
    let server = Server::start(&dir);
    assert!(bad(&recover(&dir, &[])).contains("stop it first"));
    drop(server);
    let told = good(&recover(&dir, &["--yes"]));
    assert!(
        told.contains("is the only member of its group already"),
        "{told}"
    );
    let report = good(&recover(&dir, &["--report"]));
    assert!(report.contains("\"voters\": [\n    1\n  ]"), "{report}");
    let file = all.path().join("report");
    fs::write(&file, report).unwrap();
    let twice = recover(&dir, &["--survivor", file.to_str().unwrap()]);
    assert!(bad(&twice).contains("member 1 is named twice"));
}

#[test]
fn a_download_that_breaks_leaves_nothing_under_the_name_of_the_file() {
    let all = tempfile::tempdir().unwrap();
    let old = all.path().join("old");
    let server = Server::start(&old);
    let bytes = ask(&old, &["cluster", "backup", "-"]).stdout;
    drop(server);
    let folder = all.path().join("backups");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("b");
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 4;
    let (half, whole) = (bytes.len() / 2, bytes.len());
    let last = whole - 1;
    let cases: [(&str, &[u8], usize); 6] = [
        ("the connection breaks off", &bytes[..half], whole),
        ("somebody in between cuts it off", &bytes[..half], half),
        ("the last byte is missing", &bytes[..last], last),
        ("there is nothing", b"", 0),
        ("a bit was flipped", &damaged, whole),
        ("it is something else", b"<html>", 6),
    ];
    for (name, bytes, declared) in cases {
        for before in [None, Some("an older backup")] {
            if let Some(before) = before {
                fs::write(&file, before).unwrap();
            }
            bad(&download(bytes, declared, &file));
            let kept = fs::read_to_string(&file).ok();
            assert_eq!(kept.as_deref(), before, "{name}");
            let left = fs::read_dir(&folder).unwrap().count();
            assert_eq!(left, usize::from(before.is_some()), "{name}");
        }
        fs::remove_file(&file).unwrap();
    }
    good(&download(&bytes, whole, &file));
    assert_eq!(fs::read(&file).unwrap(), bytes);
    let restored = all.path().join("new");
    fs::write(&file, &damaged).unwrap();
    let args = [
        "cluster",
        "restore",
        file.to_str().unwrap(),
        "--new-ca",
        "--data-dir",
    ];
    let refused = skiff(&args).arg(&restored).output().unwrap();
    assert!(bad(&refused).contains("damaged"), "{refused:?}");
    assert!(!restored.exists());
}
