//! Volumes on a real disk.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::*;
use crate::refs::{Ref, RefKind};

fn pod(volumes: Value) -> DesiredPod {
    let wire = json!({
        "metadata": {"namespace": "shop", "name": "front", "uid": "u", "labels": {"app": "front"}},
        "spec": {"containers": [{"name": "web"}], "volumes": volumes},
    });
    DesiredPod::read(serde_json::from_value(wire).expect("a pod")).expect("complete")
}

fn refs(map: Value) -> Refs {
    let mut refs = Refs::default();
    let name = |kind, name: &str| Ref {
        kind,
        name: name.to_owned(),
    };
    refs.insert(
        name(RefKind::ConfigMap, "settings"),
        Some(&json!({ "data": map })),
    );
    refs.insert(
        name(RefKind::Secret, "login"),
        Some(&json!({"data": {"password": "aHVudGVy"}})),
    );
    refs
}

/// The files of a volume, as `name=content`.
fn files(dir: &Path) -> String {
    let mut found: Vec<String> = fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .filter(|name| !name.starts_with(".."))
        .map(|name| {
            let path = dir.join(&name);
            match fs::read_to_string(&path) {
                Ok(text) => format!("{name}={text}"),
                Err(_) => format!("{name}/({})", files(&path)),
            }
        })
        .collect();
    found.sort();
    found.join(" ")
}

#[test]
fn volumes_hold_what_they_should() {
    let cases = [
        (
            "a ConfigMap",
            json!({"configMap": {"name": "settings"}}),
            "host=db port=5432",
        ),
        (
            "some of its keys elsewhere",
            json!({"configMap": {"name": "settings", "items": [{"key": "host", "path": "a/b"}]}}),
            "a/(b=db)",
        ),
        (
            "a Secret",
            json!({"secret": {"secretName": "login"}}),
            "password=hunter",
        ),
        (
            "an optional one that is not there",
            json!({"secret": {"secretName": "none", "optional": true}}),
            "",
        ),
        (
            "the downward API",
            json!({"downwardAPI": {"items": [
                {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}),
            "labels=app=\"front\" name=front",
        ),
        (
            "several projected into one",
            json!({"projected": {"sources": [
                {"configMap": {"name": "settings", "items": [{"key": "host", "path": "host"}]}},
                {"secret": {"name": "login"}}]}}),
            "host=db password=hunter",
        ),
    ];
    for (name, mut volume, expected) in cases {
        let dir = tempfile::tempdir().expect("a directory");
        let volumes = Volumes::new(dir.path());
        volume["name"] = json!("v");
        let pod = pod(json!([volume]));
        let refs = refs(json!({"host": "db", "port": "5432"}));
        volumes.prepare(&pod, &refs, &Place::default()).expect(name);
        assert_eq!(
            files(&dir.path().join("pods/u/volumes/v")),
            expected,
            "{name}"
        );
    }
}

#[test]
fn changes_replace_all_files_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let volumes = Volumes::new(dir.path());
    let pod = pod(json!([{"name": "v", "configMap": {"name": "settings"}}]));
    let root = dir.path().join("pods/u/volumes/v");
    let prepare = |map| {
        volumes
            .prepare(&pod, &refs(map), &Place::default())
            .expect("made")
    };
    prepare(json!({"a": "1", "b": "1"}));
    let before = fs::read_link(root.join("..data")).expect("a link");
    prepare(json!({"a": "1", "b": "1"}));
    assert_eq!(
        fs::read_link(root.join("..data")).expect("a link"),
        before,
        "nothing has changed"
    );
    prepare(json!({"a": "2", "c": "2"}));
    assert_eq!(files(&root), "a=2 c=2");
    assert!(!root.join(before).exists(), "the old version is gone");
}

#[test]
fn what_cannot_be_made_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("written");
    let cases = [
        (
            "a missing object",
            json!({"configMap": {"name": "none"}}),
            "volume \"v\": configmap \"none\" not found",
        ),
        (
            "a missing key",
            json!({"configMap": {"name": "settings", "items": [{"key": "x", "path": "x"}]}}),
            "volume \"v\": configmap \"settings\" references non-existent config key: x",
        ),
        (
            "a path that leads out",
            json!({"configMap": {"name": "settings", "items": [{"key": "host", "path": "../x"}]}}),
            "volume \"v\": path \"../x\" must be relative and must not contain '..'",
        ),
        (
            "a kind that is not supported",
            json!({"nfs": {"server": "s", "path": "/"}}),
            "volume \"v\": its kind of source is not supported by this node",
        ),
        (
            "a file that should be a directory",
            json!({"hostPath": {"path": file, "type": "Directory"}}),
            &format!(
                "volume \"v\": hostPath type check failed: {} is not a Directory",
                file.display()
            ),
        ),
        (
            "a token, which does not exist yet",
            json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}),
            "volume \"v\": projected source serviceAccountToken is not supported by this node",
        ),
    ];
    for (name, mut volume, expected) in cases {
        volume["name"] = json!("v");
        let refs = refs(json!({"host": "db"}));
        let error = Volumes::new(dir.path())
            .prepare(&pod(json!([volume])), &refs, &Place::default())
            .expect_err(name);
        assert_eq!(crate::chain::Chain(&error).to_string(), expected, "{name}");
    }
}

#[test]
fn sub_paths_stay_inside() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("v");
    fs::create_dir_all(root.join("inside")).expect("made");
    fs::set_permissions(&root, Permissions::from_mode(0o2777)).expect("opened");
    symlink("/etc", root.join("out")).expect("linked");
    symlink("inside", root.join("in")).expect("linked");
    let cases = [
        ("a directory", "inside", true),
        ("one that is made", "new/er", true),
        ("a link that stays", "in", true),
        ("a link that leads out", "out", false),
        ("something new behind it", "out/new", false),
        ("the parent", "../v", false),
        ("an absolute path", "/etc", false),
    ];
    for (name, path, ok) in cases {
        assert_eq!(inside("v", &root, path, true).is_ok(), ok, "{name}");
    }
    assert!(!Path::new("/etc/new").exists());
    let mode = |path: &str| {
        fs::metadata(root.join(path))
            .expect("there")
            .permissions()
            .mode()
    };
    assert_eq!(
        mode("new/er"),
        mode(""),
        "what is made is as open as the volume"
    );
}

#[test]
fn mounts_lead_to_their_volumes() {
    let dir = tempfile::tempdir().expect("a directory");
    let volumes = Volumes::new(dir.path());
    let pod = pod(json!([
        {"name": "scratch", "emptyDir": {}},
        {"name": "settings", "configMap": {"name": "settings"}},
    ]));
    volumes
        .prepare(&pod, &refs(json!({"host": "db"})), &Place::default())
        .expect("made");
    let container = json!({"name": "web", "volumeMounts": [
        {"name": "scratch", "mountPath": "/tmp"},
        {"name": "scratch", "mountPath": "/sub", "subPathExpr": "$(POD)", "readOnly": true},
        {"name": "settings", "mountPath": "/etc/settings"},
    ]});
    let container = serde_json::from_value(container).expect("a container");
    let env = [("POD".to_owned(), "front".to_owned())];
    let mounts = volumes.mounts(&pod, &container, 0, &env).expect("mounts");
    let shown: Vec<String> = mounts
        .iter()
        .map(|mount| {
            format!(
                "{}{}",
                mount.target,
                if mount.read_only { " ro" } else { "" }
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "/tmp",
            "/sub ro",
            "/etc/settings ro",
            "/dev/termination-log"
        ]
    );
    assert!(mounts[1].source.ends_with("scratch/front"));
    assert!(mounts.iter().all(|mount| mount.source.exists()));
    volumes.remove("u").expect("removed");
    assert_eq!(volumes.stored(), Vec::<String>::new());
    volumes.remove("u").expect("removing again does no harm");
}
