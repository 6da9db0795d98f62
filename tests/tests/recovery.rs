//! The way back when most servers are lost for good, with real servers, an agent and a pod: what
//! `docs/backup.md` says of `skiff cluster recover`, step by step.

use serde_json::Value;
use skiff_tests::cluster::{Cluster, UP_MAX, text};
use skiff_tests::docker::Engine;
use skiff_tests::given::{self, FOREVER};
use skiff_tests::wait;
use skiff_tests::writers::{self, CONFIG_MAPS, Writers};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

const WRITERS: usize = 6;
const WRITES: usize = 200;

/// The one that is left: it joined, and what only the founder had is gone.
const SURVIVOR: usize = 1;
const LOST: [usize; 2] = [0, 2];

/// How far recovery moves revisions on.
const MARGIN: u64 = 1_000_000;

#[test]
fn one_server_that_is_left_goes_on_with_everything_and_others_join_it() {
    Engine::default().busybox_image(given::BUSYBOX);
    let mut cluster = Cluster::servers(3);
    let node = format!("{}-1", cluster.prefix);
    cluster.add_agent(&node);
    cluster.wait_for_nodes(1);
    let web = given::deployment("web", 1, FOREVER);
    cluster.api().create(DEPLOYMENTS, &web);
    let before = cluster.wait_for_pods("default", "app=web", 1).remove(0);
    let writers = write(&cluster);
    let acknowledged = writers.stop();
    cluster.wait_until_all_agree(&acknowledged);

    let names = LOST.map(|number| name_of(&cluster, number));
    for number in LOST {
        cluster.lose_server(number);
    }
    assert!(cluster.process(SURVIVOR).terminate(UP_MAX).success());
    recover(&cluster, &names);

    cluster.start_server_again(SURVIVOR);
    cluster.wait_for_server(SURVIVOR);
    cluster.wait_for_voters(1);
    let api = cluster.api();
    let kept = writers::check(&api.get(CONFIG_MAPS), &acknowledged);
    kept.unwrap_or_else(|why| panic!("after the recovery: {why}"));
    let map = api.create(CONFIG_MAPS, &given::config_map("after", "key", "value"));
    let revision = text(&map["metadata"]["resourceVersion"]).parse::<u64>();
    assert!(revision.is_ok_and(|at| at > MARGIN), "{map}");

    // The agent knew the founder only, at first.
    cluster.skiff("scale deployment/web --replicas=2").ok();
    let pods = cluster.wait_for_pods("default", "app=web", 2);
    let same = |pod: &&Value| pod["metadata"]["uid"] == before["metadata"]["uid"];
    let same = pods.iter().find(same).expect("the pod of before");
    assert_eq!(same["status"]["containerStatuses"][0]["restartCount"], 0);

    let joined = cluster.join_server();
    cluster.wait_for_voters(2);
    let map = given::config_map("joined", "key", "value");
    cluster.api_of(joined).create(CONFIG_MAPS, &map);
    cluster.wait_until_all_agree(&acknowledged);
}

/// Writers that have written a good deal.
fn write(cluster: &Cluster) -> Writers {
    let servers: Vec<_> = (0..cluster.count())
        .map(|number| cluster.identity_of(number))
        .collect();
    let writers = Writers::start_over(&servers, WRITERS, "before");
    wait::until("writes are acknowledged", UP_MAX, || {
        let count = writers.count();
        (count > WRITES)
            .then_some(())
            .ok_or_else(|| format!("{count}"))
    });
    writers
}

/// A server's name, as the cluster has it.
fn name_of(cluster: &Cluster, number: usize) -> String {
    let status = cluster.status().expect("a status");
    let address = cluster.address_of(number);
    skiff_tests::cluster::members(&status)
        .find(|member| member["address"] == address)
        .map(|member| text(&member["name"]))
        .expect("it is listed")
}

/// Looks at what the survivor has, and makes it the only member.
fn recover(cluster: &Cluster, lost: &[String]) {
    let data = cluster.data_of(SURVIVOR).display().to_string();
    let recover = |flags: &str| {
        let line = format!("cluster recover --data-dir {data} {flags}");
        cluster.skiff(&line).ok()
    };
    let report: Value = serde_json::from_str(&recover("--report")).expect("a report is JSON");
    let last = &report["lastIndex"];
    let told = recover("");
    for words in [
        format!("last entry {last} of term {}", report["lastTerm"]),
        "it takes 2 of them to go on".to_owned(),
        format!("Everything up to entry {last} would be kept"),
        format!("Writes behind entry {last} that only the missing members acknowledged would be"),
        "Nothing was changed".to_owned(),
    ] {
        assert!(told.contains(&words), "{words}: {told}");
    }
    let unknown = told.lines().find(|line| line.contains("Nothing is known"));
    let unknown = unknown.unwrap_or_else(|| panic!("{told}"));
    for name in lost {
        assert!(unknown.contains(&format!("{name:?}")), "{name}: {unknown}");
    }
    assert_eq!(recover(""), told, "looking changes nothing");

    let done = recover("--yes");
    let words = format!("up to entry {last}; resourceVersions go on at");
    assert!(done.contains(&words), "{words}: {done}");
    assert!(done.contains("No other server may ever start"), "{done}");
    let again = recover("--yes");
    assert!(
        again.contains("is the only member of its group already"),
        "{again}"
    );
}
