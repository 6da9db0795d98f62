//! Three or five servers as processes on real disks: killed, stopped, cut off from their disks, replaced.
//! Nothing acknowledged is lost, and workloads never notice.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use skiff_tests::api::{Call, Identity};
use skiff_tests::cluster::{Cluster, UP_MAX, items, members, text};
use skiff_tests::docker::Engine;
use skiff_tests::given;
use skiff_tests::slowdisk::SlowDisk;
use skiff_tests::wait;
use skiff_tests::writers::{self, CONFIG_MAPS, Writers};

const WRITERS: usize = 6;
/// Longer than any election takes, on a machine that does other things as well.
const ELECTION_MAX: Duration = Duration::from_secs(10);

fn everybody(cluster: &Cluster) -> Vec<Identity> {
    (0..cluster.count())
        .map(|number| cluster.identity_of(number))
        .collect()
}

/// Waits until more was acknowledged than before.
fn go_on(writers: &Writers, what: &str) -> Duration {
    let (before, began) = (writers.count(), Instant::now());
    wait::until(&format!("writes go on {what}"), ELECTION_MAX, || {
        let now = writers.count();
        if now > before {
            Ok(())
        } else {
            Err(format!("{now} are acknowledged"))
        }
    });
    began.elapsed()
}

#[test]
fn leaders_are_killed_under_load_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::servers(3);
    let writers = Writers::start_over(&everybody(&cluster), WRITERS, "kill");
    for round in 0..6_u64 {
        go_on(&writers, "before the kill");
        wait::pause(Duration::from_millis(50 + round * 173 % 400));
        let leader = cluster.leader();
        // Every third time a follower dies instead.
        let victim = if round % 3 == 2 {
            (leader + 1) % 3
        } else {
            leader
        };
        cluster.process(victim).kill();
        go_on(&writers, "without the killed one");
        cluster.start_server_again(victim);
        cluster.wait_for_server(victim);
    }
    let acknowledged = writers.stop();
    assert!(acknowledged.len() > 500, "{}", acknowledged.len());
    cluster.wait_until_all_agree(&acknowledged);
}

#[test]
fn a_server_that_missed_many_large_writes_catches_up_and_its_log_stays_small() {
    let disk = SlowDisk::new(Duration::from_millis(50));
    let mut cluster = Cluster::servers_on_slow_disk(disk, 3);
    let leader = cluster.leader();
    let away = (leader + 1) % 3;
    cluster.process(away).kill();
    // All of it is in the leader's log, and comes faster than segments are made ready for it.
    let (value, api) = ("v".repeat(900_000), cluster.api_of(leader));
    let names: Vec<String> = (0..60).map(|number| format!("large-{number}")).collect();
    for name in &names {
        api.create(CONFIG_MAPS, &given::config_map(name, "key", &value));
    }
    cluster.start_server_again(away);
    cluster.wait_for_server(away);
    let api = cluster.api_of(away);
    for name in &names {
        let found = api.get(&format!("{CONFIG_MAPS}/{name}?resourceVersion=0"));
        assert!(found["data"]["key"] == value.as_str(), "{name}");
    }
    let log_bytes: u64 = fs::read_dir(cluster.data_of(away).join("db/log"))
        .expect("the log's folder")
        .map(|file| {
            file.and_then(|file| file.metadata())
                .map_or(0, |of| of.len())
        })
        .sum();
    assert!(log_bytes < 200 << 20, "54 MB took {log_bytes} bytes of log");
}

#[test]
fn all_servers_die_at_once_and_come_back_with_everything() {
    let mut cluster = Cluster::servers(3);
    let writers = Writers::start_over(&everybody(&cluster), WRITERS, "all");
    go_on(&writers, "at first");
    wait::pause(Duration::from_millis(700));
    for number in 0..3 {
        cluster.process(number).kill();
    }
    let acknowledged = writers.stop();
    for number in 0..3 {
        cluster.start_server_again(number);
    }
    for number in 0..3 {
        cluster.wait_for_server(number);
    }
    cluster.wait_until_all_agree(&acknowledged);
}

#[test]
fn five_servers_go_on_without_two_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::servers(5);
    let writers = Writers::start_over(&everybody(&cluster), WRITERS, "five");
    go_on(&writers, "with all of them");
    let leader = cluster.leader();
    let dead = [leader, (leader + 1) % 5];
    for number in dead {
        cluster.process(number).kill();
    }
    // One more could be an answer that was on its way.
    for _ in 0..3 {
        go_on(&writers, "without two");
    }
    let acknowledged = writers.stop();
    for number in (0..5).filter(|number| !dead.contains(number)) {
        let list = cluster.api_of(number).get(CONFIG_MAPS);
        let kept = writers::check(&list, &acknowledged);
        kept.unwrap_or_else(|why| panic!("server {number}: {why}"));
    }
    for number in dead {
        cluster.start_server_again(number);
        cluster.wait_for_server(number);
    }
    cluster.wait_until_all_agree(&acknowledged);
}

#[test]
fn a_leader_that_is_stopped_for_a_while_gives_way_and_follows_when_it_goes_on() {
    let mut cluster = Cluster::servers(3);
    let writers = Writers::start_over(&everybody(&cluster), WRITERS, "stop");
    go_on(&writers, "at first");
    let leader = cluster.leader();
    cluster.process(leader).signal(Signal::STOP);
    go_on(&writers, "without the stopped leader");
    wait::pause(Duration::from_secs(2));
    cluster.process(leader).signal(Signal::CONT);
    go_on(&writers, "with it as a follower");
    let acknowledged = writers.stop();
    cluster.wait_until_all_agree(&acknowledged);
}

#[test]
fn an_orderly_stop_hands_the_leadership_over() {
    let mut cluster = Cluster::servers(3);
    let writers = Writers::start_over(&everybody(&cluster), WRITERS, "hand");
    go_on(&writers, "at first");
    let leader = cluster.leader();
    assert!(cluster.process(leader).terminate(UP_MAX).success());
    let gap = go_on(&writers, "after the leader stopped");
    println!("the next write was acknowledged {gap:?} after the leader had stopped");
    let said = cluster.process(leader).log();
    assert!(said.contains("handed the leadership over"), "{said}");
    cluster.start_server_again(leader);
    cluster.wait_for_server(leader);
    cluster.wait_until_all_agree(&writers.stop());
}

#[test]
fn every_server_takes_writes_and_answers_reads_that_see_them() {
    let cluster = Cluster::servers(3);
    for number in 0..60_usize {
        let name = format!("map-{number}");
        let (writer, reader) = (number % 3, (number / 3) % 3);
        let map = given::config_map(&name, "key", "value");
        cluster.api_of(writer).create(CONFIG_MAPS, &map);
        let found = cluster.api_of(reader).get(&format!("{CONFIG_MAPS}/{name}"));
        assert_eq!(found["data"]["key"], "value", "{name}");
        let revision = text(&found["metadata"]["resourceVersion"]);
        let other = cluster.api_of((reader + 1) % 3);
        let list = other.get(&format!("{CONFIG_MAPS}?resourceVersion={revision}"));
        let names = items(&list).map(|map| text(&map["metadata"]["name"]));
        assert!(names.collect::<Vec<_>>().contains(&name));
    }
    let ahead = format!("{CONFIG_MAPS}?resourceVersion=999999999");
    for number in 0..3 {
        let answer = cluster.api_of(number).send(&Call::get(&ahead));
        assert_eq!(answer.status, 504, "{}", answer.text());
        assert!(
            answer.message().contains("Too large resource version"),
            "{}",
            answer.message()
        );
    }
}

#[test]
fn a_server_that_lost_its_disk_is_replaced() {
    let mut cluster = Cluster::servers(3);
    let writers = Writers::start_over(&everybody(&cluster), WRITERS, "disk");
    go_on(&writers, "at first");
    let victim = (cluster.leader() + 1) % 3;
    // The first one is in everybody's --join.
    let victim = if victim == 0 {
        (cluster.leader() + 2) % 3
    } else {
        victim
    };
    cluster.lose_server(victim);
    let status = cluster.status().expect("a status");
    let name = members(&status)
        .find(|member| member["address"] == cluster.address_of(victim))
        .map(|member| text(&member["name"]))
        .expect("it is still listed");

    cluster.skiff_at(0, &format!("cluster remove {name}")).ok();
    cluster.wait_for_voters(2);
    cluster.start_server_again(victim);
    cluster.wait_for_server(victim);
    cluster.wait_for_voters(3);
    cluster.wait_until_all_agree(&writers.stop());
}

#[test]
fn a_server_with_a_damaged_log_refuses_to_start_and_names_the_way_out() {
    let mut cluster = Cluster::servers(3);
    let writers = Writers::start_over(&everybody(&cluster), WRITERS, "damage");
    go_on(&writers, "at first");
    wait::pause(Duration::from_secs(1));
    let victim = if cluster.leader() == 1 { 2 } else { 1 };
    cluster.process(victim).kill();
    damage(&cluster, victim);
    cluster.start_server_again(victim);
    assert!(!cluster.process(victim).ended(UP_MAX).success());
    let said = cluster.process(victim).log();
    assert!(said.contains("damaged"), "{said}");
    assert!(said.contains("join"), "the way out is named: {said}");
    go_on(&writers, "all the same");
    drop(writers.stop());
}

/// Flips bits in the middle of what a server's log holds.
fn damage(cluster: &Cluster, number: usize) {
    let folder = cluster.data_of(number).join("db/log");
    let mut used: Vec<_> = fs::read_dir(&folder)
        .expect("the log's folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .filter(|path| fs::read(path).is_ok_and(|bytes| bytes.iter().any(|byte| *byte != 0)))
        .collect();
    used.sort();
    let log = used.first().expect("a segment in use");
    let mut bytes = fs::read(log).expect("read the log");
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("not empty");
    for byte in bytes.iter_mut().skip(end / 2).take(16) {
        *byte ^= 0xFF;
    }
    fs::write(log, bytes).expect("damage the log");
}

#[test]
fn removals_that_would_lose_the_quorum_are_refused_in_words() {
    let mut cluster = Cluster::servers(3);
    let leader = cluster.leader();
    let (dead, alive) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.process(dead).kill();
    wait::until("the leader notices", ELECTION_MAX, || {
        let status = cluster.status()?;
        let address = cluster.address_of(dead);
        let silent = members(&status)
            .find(|member| member["address"] == address)
            .is_some_and(|member| member["active"] == false);
        if silent {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    let status = cluster.status().expect("a status");
    let name_of = |number: usize| {
        let address = cluster.address_of(number);
        members(&status)
            .find(|member| member["address"] == address)
            .map(|member| text(&member["name"]))
            .expect("listed")
    };
    let words = cluster
        .skiff_at(leader, &format!("cluster remove {}", name_of(alive)))
        .refused();
    assert!(words.contains("no write would be accepted"), "{words}");
    cluster
        .skiff_at(leader, &format!("cluster remove {}", name_of(dead)))
        .ok();
    cluster.wait_for_voters(2);
}

#[test]
fn workloads_do_not_notice_that_the_leader_dies_and_the_cluster_goes_on_working() {
    Engine::default().busybox_image(given::BUSYBOX);
    let mut cluster = Cluster::servers(3);
    for number in 1..=2 {
        // Agents know the first server only; they learn of the others.
        cluster.add_agent(&format!("{}-{number}", cluster.prefix));
    }
    cluster.wait_for_nodes(2);
    cluster.api().create(
        "/apis/apps/v1/namespaces/default/deployments",
        &given::deployment("web", 3, given::FOREVER),
    );
    let before = cluster.wait_for_pods("default", "app=web", 3);
    let first = 0;
    cluster.process(first).kill();
    let other = cluster.kubeconfig_of(1);
    let scaled = skiff_tests::skiff::skiff(&other, "scale deployment/web --replicas=4");
    scaled.ok();
    let pods = wait::until("four pods are Ready", Duration::from_secs(30), || {
        let list = cluster
            .api_of(1)
            .try_send(&Call::get("/api/v1/namespaces/default/pods"))?
            .json();
        let ready = items(&list)
            .filter(|pod| skiff_tests::cluster::condition(pod, "Ready") == "True")
            .cloned()
            .collect::<Vec<_>>();
        if ready.len() == 4 {
            Ok(ready)
        } else {
            Err(format!("{} are", ready.len()))
        }
    });
    for pod in &before {
        let after = pods
            .iter()
            .find(|other| other["metadata"]["uid"] == pod["metadata"]["uid"]);
        let after = after.unwrap_or_else(|| panic!("{} was replaced", pod["metadata"]["name"]));
        assert_eq!(after["status"]["containerStatuses"][0]["restartCount"], 0);
    }
    cluster.start_server_again(first);
    cluster.wait_for_server(first);
    cluster.wait_for_nodes(2);
}
