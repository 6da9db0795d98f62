//! The harness itself: a tool that can't tell broken from whole would let every suite pass.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use skiff_tests::disk::Disk;
use skiff_tests::dockerd::Dockerd;
use skiff_tests::given::BUSYBOX;
use skiff_tests::kubectl::Kubectl;

#[test]
fn a_power_cut_keeps_what_was_synced_and_nothing_else() {
    let disk = Disk::new(64);
    let mut synced = File::create(disk.path().join("synced")).expect("make a file");
    synced.write_all(b"kept").expect("write");
    synced.sync_all().expect("sync the file");
    File::open(disk.path())
        .and_then(|folder| folder.sync_all())
        .expect("sync the folder");
    fs::write(disk.path().join("unsynced"), b"lost").expect("write");

    let copy = disk.after_power_cut();
    assert_eq!(
        fs::read(copy.path().join("synced")).expect("it is there"),
        b"kept"
    );
    let unsynced = fs::read(copy.path().join("unsynced")).unwrap_or_default();
    assert!(
        unsynced.is_empty(),
        "a model that keeps what was not synced proves nothing"
    );
}

#[test]
fn a_second_engine_can_be_stopped_and_the_machines_own_goes_on() {
    let mut dockerd = Dockerd::start();
    let engine = dockerd.engine();
    engine.busybox_image(BUSYBOX);
    let id = engine
        .docker(&["run", "--detach", "--network", "none", BUSYBOX])
        .ok();
    dockerd.stop();
    assert_ne!(engine.docker(&["ps"]).code, 0);
    skiff_tests::docker::Engine::default().docker(&["ps"]).ok();
    dockerd.start_again();
    assert_eq!(engine.inspect(id.trim(), "{{.State.Running}}"), "false");
    engine.docker(&["rm", id.trim()]).ok();
}

#[test]
fn a_kubectl_is_there_and_each_version_once() {
    let all = Kubectl::all(Path::new("/nonexistent"));
    assert!(all.windows(2).all(|pair| pair[0].minor < pair[1].minor));
    println!(
        "{:?}",
        all.iter().map(|kubectl| kubectl.minor).collect::<Vec<_>>()
    );
}
