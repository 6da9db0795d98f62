//! Data directories on a real disk.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::backup::{Backup, Keys, Reader, file};
use crate::pki::{Pki, ServerNames};
use crate::server::lock_data_dir;

/// A server's directory with some objects, and a backup of it.
struct Old {
    dir: tempfile::TempDir,
    backup: Vec<u8>,
}

fn old(with_keys: bool) -> Old {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::open(dir.path(), &ServerNames::default()).unwrap();
    let store = StoreConfig::new(&dir.path().join("db"), 1);
    let at = run(async {
        let store = Store::open(store, Box::new(|_, _| ())).unwrap();
        let writes = (0..40).map(|n| config_map(&format!("c{n}"), 5000));
        store.propose(writes.collect()).await.unwrap();
        let list = server_list(&[1], 2);
        store.propose(vec![list]).await.unwrap();
        let at = store.state_at();
        store.shutdown().await;
        at
    });
    let header = file::Header {
        ca_hash: pki.ca_hash(),
        time: "2026-01-02T03:04:05Z".into(),
        keys: with_keys,
    };
    let keys = with_keys.then(|| Keys::read(&dir.path().join("pki")).unwrap());
    let head = file::head(&header, keys.as_ref());
    let frames = at.frames().flat_map(|frame| frame.to_vec());
    let backup = head.into_iter().chain(frames).collect();
    Old { dir, backup }
}

fn read(bytes: &[u8]) -> Backup {
    let mut reader = Reader::default();
    reader.push(bytes).unwrap();
    reader.finish().unwrap()
}

fn restored(dir: &Path, backup: Backup, keys: Option<&Keys>) -> Result<Restored, RecoveryError> {
    restore_into(dir, backup, keys, Some("front"), MARGIN)
}

#[test]
fn a_cluster_comes_back_out_of_a_file_with_its_identity() {
    let old = old(true);
    let new = tempfile::tempdir().unwrap();
    let dir = new.path().join("absent");
    let backup = read(&old.backup);
    let (ca_hash, keys) = (backup.header.ca_hash.clone(), backup.keys.clone());
    let restored = restored(&dir, backup, keys.as_ref()).unwrap();
    assert_eq!((restored.member, restored.objects), (2, 41));

    let pki = Pki::open(&dir, &ServerNames::default()).unwrap();
    assert_eq!(pki.ca_hash(), ca_hash);
    let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("pki"), mode("pki/ca.key")), (0o700, 0o600));
    let data = DataDir::open(&dir).unwrap();
    let config = data.store().unwrap();
    assert_eq!(config.member, 2);
    let survivor = data.examine().unwrap().survivor;
    assert_eq!(
        (survivor.name.as_str(), survivor.cluster),
        ("front", ca_hash)
    );
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.join("member.json")).unwrap()).unwrap();
    assert_eq!(record["founders"], json!([2]));
    run(async {
        let store = Store::open(config, Box::new(|_, _| ())).unwrap();
        assert!((0..40).all(|n| has(&store.state(), &format!("c{n}"))));
        store.propose(vec![config_map("later", 1)]).await.unwrap();
        store.shutdown().await;
    });
}

#[test]
fn keys_of_another_ca_are_refused_before_anything_is_written() {
    let (one, other) = (old(false), old(false));
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("new");
    let own = Keys::read(&one.dir.path().join("pki")).unwrap();
    let foreign = Keys::read(&other.dir.path().join("pki")).unwrap();
    let mixed = Keys {
        ca_key: foreign.ca_key.clone(),
        ..own.clone()
    };
    let broken = Keys {
        ca_key: "none".into(),
        ..own.clone()
    };
    let cases = [
        (
            foreign,
            "the CA is of no use: the backup is of a cluster with another",
        ),
        (mixed, "the CA is of no use: ca.key does not fit ca.crt"),
        (broken, "the CA is of no use: ca.key holds no private key"),
    ];
    for (keys, expected) in cases {
        let err = restored(&target, read(&one.backup), Some(&keys)).unwrap_err();
        assert_eq!(err.to_string(), expected);
        assert!(!target.exists());
    }
    restored(&target, read(&one.backup), Some(&own)).unwrap();
}

#[test]
fn only_an_empty_directory_or_an_unfinished_restore_is_restored_into() {
    let old = old(false);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    fs::write(dir.path().join("note"), "mine").unwrap();
    let err = restored(dir.path(), read(&old.backup), None).unwrap_err();
    assert!(err.to_string().contains("is not empty"), "{err}");
    fs::remove_file(dir.path().join("note")).unwrap();

    // What a restore leaves that broke off.
    fs::write(dir.path().join("restore-unfinished"), "").unwrap();
    fs::create_dir_all(dir.path().join("db/log")).unwrap();
    fs::write(dir.path().join("db/log/half"), "x").unwrap();
    assert!(refuse_unfinished(dir.path()).is_err());
    let err = DataDir::open(dir.path()).unwrap_err().to_string();
    assert!(err.contains("run `skiff cluster restore` again"), "{err}");
    restored(dir.path(), read(&old.backup), None).unwrap();
    refuse_unfinished(dir.path()).unwrap();
    let err = restored(dir.path(), read(&old.backup), None).unwrap_err();
    assert!(matches!(err, RecoveryError::NotEmpty { .. }), "{err}");
}

#[test]
fn a_running_server_is_left_alone() {
    let old = old(false);
    let dir = old.dir.path();
    let lock = lock_data_dir(dir).unwrap();
    let err = DataDir::open(dir).unwrap_err();
    assert!(err.to_string().ends_with("stop it first"), "{err}");
    drop(lock);

    // A store that is open without a server around it holds a lock of its own.
    let data = DataDir::open(dir).unwrap();
    run(async {
        let store = Store::open(data.store().unwrap(), Box::new(|_, _| ())).unwrap();
        let err = examine(&mut data.store().unwrap(), "").err().unwrap();
        assert!(err.to_string().ends_with("stop it first"), "{err}");
        store.shutdown().await;
    });
    assert!(examine(&mut data.store().unwrap(), "").is_ok());
    let nothing = tempfile::tempdir().unwrap();
    let err = DataDir::open(nothing.path()).unwrap_err();
    assert!(matches!(err, RecoveryError::NoStore { .. }), "{err}");
    assert_eq!(fs::read_dir(nothing.path()).unwrap().count(), 0);
}

#[test]
fn a_survivor_on_a_real_disk_is_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let config = || StoreConfig {
        founders: vec![1, 2, 3],
        ..StoreConfig::new(dir.path(), 1)
    };
    let base = Base {
        conf_state: voters(&[1, 2, 3]),
        ..Base::default()
    };
    let mut log = Log::open(config().disk, &log::dir_below(dir.path()), &base).unwrap();
    let entries = vec![
        entry(1, 1, Vec::new()),
        writing(2, 1, config_map("a", 100_000)),
    ];
    log.view().append(&entries);
    let mut batch = Batch {
        hard_state: None,
        entries,
    };
    log.append(&mut batch).unwrap();
    drop(log);
    let found = examine(&mut config(), "").unwrap();
    assert!(
        !judge(std::slice::from_ref(&found.survivor), 0)
            .unwrap()
            .done
    );
    rebuild(&mut config(), found, MARGIN).unwrap();
    run(async {
        let store = Store::open(config(), Box::new(|_, _| ())).unwrap();
        assert!(store.is_leader() && has(&store.state(), "a"));
        store.shutdown().await;
    });
}
