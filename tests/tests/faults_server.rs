//! Faults of the server: killed in the middle of writes, its log torn or damaged, its disk full.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use skiff_tests::api::{Call, Identity};
use skiff_tests::cluster::{Cluster, UP_MAX, free_address};
use skiff_tests::disk::Disk;
use skiff_tests::given;
use skiff_tests::process::Process;
use skiff_tests::skiff::binary;
use skiff_tests::wait;
use skiff_tests::writers::{self, CONFIG_MAPS, Writers};

const KILLS: u64 = 100;
const WRITERS: usize = 8;

#[test]
fn a_hundred_kills_in_the_middle_of_writes_lose_nothing_and_leave_nothing_half() {
    let mut cluster = Cluster::server();
    let mut all = BTreeSet::new();
    for round in 0..KILLS {
        let label = format!("r{round}");
        let writers = Writers::start(&Identity::of(&cluster.kubeconfig()), WRITERS, &label);
        // At another moment each time: between a few writes and some hundreds.
        wait::pause(Duration::from_millis(5 + round * 37 % 150));
        cluster.server.kill();
        let acknowledged = writers.stop();
        cluster.restart_server();
        let list = cluster
            .api()
            .get(&format!("{CONFIG_MAPS}?labelSelector=round%3D{label}"));
        writers::check(&list, &acknowledged).unwrap_or_else(|why| panic!("kill {round}: {why}"));
        all.extend(acknowledged);
    }
    let list = cluster.api().get(CONFIG_MAPS);
    writers::check(&list, &all).unwrap_or_else(|why| panic!("after all kills: {why}"));
    println!("{} acknowledged writes in {KILLS} lives", all.len());
    assert!(
        all.len() > 1000,
        "the kills struck a busy server: {}",
        all.len()
    );
}

#[test]
fn a_server_that_is_asked_to_stop_stops_and_keeps_everything() {
    let mut cluster = Cluster::server();
    let writers = Writers::start(&Identity::of(&cluster.kubeconfig()), WRITERS, "last");
    wait::until("some writes are acknowledged", UP_MAX, || {
        if writers.count() > 100 {
            Ok(())
        } else {
            Err(format!("{}", writers.count()))
        }
    });
    assert!(cluster.server.terminate(Duration::from_secs(15)).success());
    let acknowledged = writers.stop();
    cluster.restart_server();
    let kept = writers::check(&cluster.api().get(CONFIG_MAPS), &acknowledged);
    kept.unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn two_servers_on_one_data_directory_are_one_too_many() {
    let cluster = Cluster::server();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut second = Command::new(binary());
    second
        .args(["server", "--listen", &free_address(), "--data-dir"])
        .arg(cluster.data());
    let mut process = Process::start("second", &mut second, folder.path());
    assert!(!process.ended(UP_MAX).success());
    assert!(
        process.log().contains("another skiff server"),
        "{}",
        process.log()
    );
    assert_eq!(cluster.api().send(&Call::get("/readyz")).status, 200);
}

#[test]
fn a_full_disk_refuses_writes_in_words_serves_reads_and_recovers() {
    let disk = Disk::new(96);
    let cluster = Cluster::server_in(&disk.path().join("server"));
    let api = cluster.api();
    api.create(CONFIG_MAPS, &given::config_map("first", "key", "value"));

    let filler = disk.path().join("filler");
    let filled = Command::new("dd")
        .args([
            "if=/dev/zero",
            "bs=64k",
            &format!("of={}", filler.display()),
        ])
        .output()
        .expect("dd runs");
    assert!(String::from_utf8_lossy(&filled.stderr).contains("No space left"));

    let large = "x".repeat(500_000);
    let mut number = 0;
    let refused = wait::until("a write is refused", Duration::from_secs(120), || {
        number += 1;
        let map = given::config_map(&format!("fill-{number}"), "key", &large);
        let answer = api.send(&Call::post(CONFIG_MAPS, &map));
        if answer.status == 201 {
            Err(format!("{number} were taken"))
        } else {
            Ok(answer)
        }
    });
    assert!([500, 507].contains(&refused.status), "{}", refused.text());
    assert_eq!(refused.json()["kind"], "Status", "{}", refused.text());
    assert!(
        refused.message().contains("disk is full"),
        "{}",
        refused.message()
    );
    assert_eq!(
        api.get(&format!("{CONFIG_MAPS}/first"))["data"]["key"],
        "value"
    );
    let gone = api.send(&Call::get(&format!("{CONFIG_MAPS}/fill-{number}")));
    assert_eq!(gone.status, 404, "what was refused is not there");

    fs::remove_file(filler).expect("make space");
    wait::until("writes are taken again", Duration::from_secs(60), || {
        number += 1;
        let map = given::config_map(&format!("again-{number}"), "key", "value");
        let answer = api.send(&Call::post(CONFIG_MAPS, &map));
        if answer.status == 201 {
            Ok(())
        } else {
            Err(answer.text())
        }
    });
}

#[test]
fn a_torn_end_of_the_log_is_cut_off_and_damage_before_it_stops_the_server() {
    let mut cluster = Cluster::server();
    let writers = Writers::start(&Identity::of(&cluster.kubeconfig()), WRITERS, "torn");
    wait::until("some writes are acknowledged", UP_MAX, || {
        if writers.count() > 200 {
            Ok(())
        } else {
            Err(format!("{}", writers.count()))
        }
    });
    cluster.server.kill();
    let acknowledged = writers.stop();
    let log = newest_log(&cluster);
    let bytes = fs::read(&log).expect("read the log");
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("the log is not empty");

    // A power cut in the middle of a write: part of a record that nobody was told about.
    let mut torn = bytes.clone();
    let tail = torn
        .get(end / 2..end / 2 + 300)
        .expect("some bytes of the log")
        .to_vec();
    torn.splice(end + 1..end + 1 + tail.len(), tail);
    fs::write(&log, torn).expect("tear the log");
    cluster.restart_server();
    let kept = writers::check(&cluster.api().get(CONFIG_MAPS), &acknowledged);
    kept.unwrap_or_else(|why| panic!("after a torn end: {why}"));
    cluster.server.kill();

    // The same segment: its frames are followed by others, so this cannot be a torn end.
    let mut damaged = fs::read(&log).expect("read the log");
    // Two sectors: wherever they lie, some of it is covered by a checksum and not mere padding.
    let middle = end / 2;
    for byte in damaged
        .get_mut(middle..middle + 1024)
        .expect("some bytes of the log")
    {
        *byte ^= 0xFF;
    }
    fs::write(&log, damaged).expect("damage the log");
    cluster.start_server();
    let status = cluster.server.ended(UP_MAX);
    assert!(
        !status.success(),
        "acknowledged writes are gone: it must not go on as if not"
    );
    let words = cluster.server.log();
    assert!(
        words.contains("damaged") || words.contains("checksum"),
        "{words}"
    );
}

/// The log's last segment that is in use; those written in advance hold nothing but zeros.
fn newest_log(cluster: &Cluster) -> PathBuf {
    let folder = cluster.data().join("db/log");
    let entries = fs::read_dir(&folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    let mut used: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .filter(|path| fs::read(path).is_ok_and(|bytes| bytes.iter().any(|byte| *byte != 0)))
        .collect();
    used.sort();
    used.pop().expect("a segment that is in use")
}
