//! The accident of a cluster with several servers: the leading one is killed in the middle of writes.

use std::time::{Duration, Instant};

use super::cluster::{Cluster, server_name};
use super::title;
use super::writes::Writes;
use crate::shell::{self, Done, Failure, say};
use crate::table::Table;

/// Writes before the accident, and after the cluster has a leader again.
const UNDISTURBED: Duration = Duration::from_secs(3);
const STATUS: [&str; 2] = ["cluster", "status"];

/// Kills the leader under a stream of writes, shows that the work goes on, and brings it back.
///
/// # Errors
/// The writes don't go on, one is lost, the server does not catch up, or a pod was disturbed.
pub(super) fn killed(cluster: &mut Cluster) -> Done {
    title("The leading server is killed in the middle of a stream of writes");
    let before = cluster.containers_of_shop()?;
    let leader = leader(cluster)?;
    let name = server_name(leader);
    say(&format!(
        "{name} leads; kubectl patches a ConfigMap about every 100 ms, through {} at first",
        server_name(cluster.asked())
    ));
    let kubeconfigs = rotated(cluster);
    let writes = Writes::start(cluster.folder(), kubeconfigs)?;
    shell::pause(UNDISTURBED);
    cluster.kill_server(leader);
    if cluster.asked() == leader {
        let survivor = (leader + 1) % cluster.servers();
        cluster.ask(survivor);
        say(&format!(
            "the kubeconfig in use names {name}, which is gone: from here on that of {}",
            server_name(survivor)
        ));
    }
    let outcome = go_on(cluster, leader);
    // The stream ends in any case, before its servers do.
    let told = writes.stop(&cluster.kubeconfig(cluster.asked()));
    outcome?;
    let told = told?;
    say(&format!(
        "writes that succeeded: {}; attempts that failed: {}; acknowledged and lost: none; longest \
         time between two successes: {} ms",
        told.succeeded,
        told.failed,
        told.longest_gap.as_millis()
    ));
    come_back(cluster, leader)?;
    if cluster.containers_of_shop()? != before {
        return Err(Failure::Broken(
            "the shop's containers are not the ones from before".to_owned(),
        ));
    }
    say("the shop's containers are the same as before: no pod was restarted");
    Ok(())
}

fn go_on(cluster: &mut Cluster, killed: usize) -> Done {
    let name = server_name(killed);
    let began = Instant::now();
    cluster.until("another server leads", &STATUS, |status| {
        find(status, "ROLE", "leader").is_some_and(|leader| leader != name)
    })?;
    let after = began.elapsed().as_millis();
    say(&format!("another server was seen leading after {after} ms"));
    cluster.show_kubectl(&["get", "nodes"])?;
    cluster.show_kubectl(&["get", "deployments", "-n", super::SHOP])?;
    shell::pause(UNDISTURBED);
    cluster.show(&STATUS)
}

fn come_back(cluster: &mut Cluster, killed: usize) -> Done {
    let name = server_name(killed);
    title(&format!("{name} comes back and catches up"));
    cluster.start_server(killed)?;
    let began = Instant::now();
    cluster.until("the server has caught up", &STATUS, |status| {
        let names = status.column("NAME");
        let health = status.column("HEALTH");
        let lag = status.column("LAG");
        let mut servers = names.iter().zip(health.iter().zip(&lag));
        servers.any(|(server, (health, lag))| *server == name && *health == "ok" && *lag == "0")
    })?;
    let after = began.elapsed().as_millis();
    say(&format!("it has caught up after {after} ms"));
    cluster.show(&STATUS)
}

/// The number of the server that leads.
fn leader(cluster: &Cluster) -> Done<usize> {
    let text = cluster.read(&STATUS)?;
    let name = find(&Table::parse(&text), "ROLE", "leader");
    (0..cluster.servers())
        .find(|number| name.as_ref() == Some(&server_name(*number)))
        .ok_or_else(|| Failure::Broken(format!("no server leads:\n{text}")))
}

/// The name in the first row whose cell of a column is as given.
fn find(status: &Table<'_>, column: &str, cell: &str) -> Option<String> {
    let names = status.column("NAME");
    let cells = status.column(column);
    let mut rows = names.iter().zip(&cells);
    rows.find(|(_, found)| **found == cell)
        .map(|(name, _)| (*name).to_owned())
}

/// Every server's kubeconfig, the one in use first.
fn rotated(cluster: &Cluster) -> Vec<std::path::PathBuf> {
    (0..cluster.servers())
        .map(|step| cluster.kubeconfig((cluster.asked() + step) % cluster.servers()))
        .collect()
}
