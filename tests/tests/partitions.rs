//! Three servers on hosts of their own whose network is cut: the majority goes on, the minority
//! refuses, and after the repair all hold the same.

use std::time::Duration;

use skiff_tests::api::Call;
use skiff_tests::cluster::{Cluster, items, text};
use skiff_tests::given;
use skiff_tests::hosts::Hosts;
use skiff_tests::wait;
use skiff_tests::writers::{self, CONFIG_MAPS, Writers};

const ELECTION_MAX: Duration = Duration::from_secs(15);

#[test]
fn a_leader_that_is_cut_off_refuses_and_the_others_go_on() {
    let cluster = Cluster::servers_on(Hosts::new(3));
    let hosts = cluster.hosts();
    let leader = cluster.leader();
    let others: Vec<usize> = (0..3).filter(|number| *number != leader).collect();
    let identities: Vec<_> = others
        .iter()
        .map(|number| cluster.identity_of(*number))
        .collect();
    hosts.isolate(leader);
    let map = given::config_map("lost", "key", "value");
    wait::until("the cut-off leader refuses", ELECTION_MAX, || {
        let call = Call::post(CONFIG_MAPS, &map);
        let answer = cluster.api_of(leader).send(&call);
        // Until it notices it cannot say whether the write will happen; it must not say that it did.
        assert_ne!(answer.status, 201, "{}", answer.text());
        if answer.status == 503 {
            Ok(())
        } else {
            Err(answer.text())
        }
    });
    let read = cluster.api_of(leader).send(&Call::get(CONFIG_MAPS));
    assert_eq!(read.status, 503, "its state may be old: {}", read.text());
    let old = format!("{CONFIG_MAPS}?resourceVersion=0");
    assert_eq!(cluster.api_of(leader).send(&Call::get(&old)).status, 200);

    let writers = Writers::start_over(&identities, 4, "cut");
    wait::until("the others go on", ELECTION_MAX, || {
        if writers.count() > 100 {
            Ok(())
        } else {
            Err(format!("{}", writers.count()))
        }
    });
    hosts.rejoin(leader);
    wait::until("all hold the same", ELECTION_MAX, || {
        let acknowledged = writers.acknowledged();
        writers::check(&cluster.api_of(leader).get(&old), &acknowledged)
    });
    let acknowledged = writers.stop();
    cluster.wait_until_all_agree(&acknowledged);
}

#[test]
fn a_cut_in_one_direction_neither_stops_the_cluster_nor_makes_it_flap() {
    let cluster = Cluster::servers_on(Hosts::new(3));
    let hosts = cluster.hosts();
    let leader = cluster.leader();
    let deaf = (leader + 1) % 3;
    let all: Vec<_> = (0..3).map(|number| cluster.identity_of(number)).collect();
    let writers = Writers::start_over(&all, 4, "oneway");
    hosts.cut(leader, deaf);
    // Long enough for many elections, if the deaf server could force any.
    wait::pause(Duration::from_secs(5));
    let before = (writers.count(), term(&cluster));
    wait::pause(Duration::from_secs(5));
    let after = (writers.count(), term(&cluster));
    assert!(after.0 > before.0 + 50, "{before:?} {after:?}");
    assert!(after.1 <= before.1 + 1, "it flaps: {before:?} {after:?}");
    hosts.mend(leader, deaf);
    let acknowledged = writers.stop();
    cluster.wait_until_all_agree(&acknowledged);
}

#[test]
fn without_a_majority_nothing_is_acknowledged_until_the_network_is_back() {
    let cluster = Cluster::servers_on(Hosts::new(3));
    let hosts = cluster.hosts();
    let first = given::config_map("before", "key", "value");
    cluster.api_of(0).create(CONFIG_MAPS, &first);
    hosts.isolate(0);
    hosts.cut(1, 2);
    hosts.cut(2, 1);
    wait::until("all refuse", ELECTION_MAX, || {
        for number in 0..3 {
            let map = given::config_map(&format!("alone-{number}"), "key", "value");
            let answer = cluster.api_of(number).send(&Call::post(CONFIG_MAPS, &map));
            assert_ne!(answer.status, 201, "{}", answer.text());
            if answer.status != 503 {
                return Err(answer.text());
            }
        }
        Ok(())
    });
    hosts.mend(1, 2);
    hosts.mend(2, 1);
    hosts.rejoin(0);
    wait::until("writes are taken again", ELECTION_MAX, || {
        let map = given::config_map("after", "key", "value");
        let answer = cluster.api_of(0).send(&Call::post(CONFIG_MAPS, &map));
        match answer.status {
            // One that was not answered in time may have been carried out.
            201 | 409 => Ok(()),
            _ => Err(answer.text()),
        }
    });
    let names: Vec<String> = items(&cluster.api_of(2).get(CONFIG_MAPS))
        .map(|map| text(&map["metadata"]["name"]))
        .collect();
    assert!(names.contains(&"before".to_owned()), "{names:?}");
}

fn term(cluster: &Cluster) -> u64 {
    let status = wait::until("a server answers", ELECTION_MAX, || cluster.status());
    status["term"].as_u64().expect("a term")
}
