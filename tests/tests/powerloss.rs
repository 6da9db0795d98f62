//! Power cuts: the server is frozen in mid-write, its disk's blocks are copied without what was only in
//! memory, and a new server opens the copy. (A disk that lies about its own cache is not modelled.)

use std::time::Duration;

use skiff_tests::api::Identity;
use skiff_tests::cluster::Cluster;
use skiff_tests::disk::Disk;
use skiff_tests::wait;
use skiff_tests::writers::{self, Writers};

const ROUNDS: u64 = 20;
const WRITERS: usize = 8;
const DISK_MB: u64 = 512;
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[test]
fn twenty_power_cuts_lose_nothing_that_was_acknowledged() {
    let mut total = 0;
    for round in 0..ROUNDS {
        let disk = Disk::new(DISK_MB);
        let mut cluster = Cluster::server_in(&disk.path().join("server"));
        let identity = Identity::of(&cluster.kubeconfig());
        let writers = Writers::start(&identity, WRITERS, &format!("cut{round}"));
        wait::pause(Duration::from_millis(300 + round * 61));
        cluster.server.freeze();
        let acknowledged = writers.acknowledged();
        let copy = disk.after_power_cut();
        cluster.server.kill();
        writers.stop();
        drop(cluster);

        let reopened = Cluster::server_in(&copy.path().join("server"));
        let list = reopened.api().get(CONFIG_MAPS);
        let kept = writers::check(&list, &acknowledged);
        kept.unwrap_or_else(|why| panic!("power cut {round}: {why}"));
        assert!(!acknowledged.is_empty(), "the cut struck a working server");
        total += acknowledged.len();
    }
    println!("{total} acknowledged writes survived {ROUNDS} power cuts");
}
