//! Facts about clusters of several servers that the benchmarks wait for.

use std::time::Duration;

use serde_json::Value;
use skiff_tests::cluster::{Cluster, members};
use skiff_tests::wait;

/// A server that was away for minutes of writes takes a snapshot, on two busy cores.
const CATCH_UP_MAX: Duration = Duration::from_secs(120);

/// Starts a server again that was killed, and waits until it has all that was committed when it
/// answered for the first time.
pub(crate) fn bring_back(cluster: &mut Cluster, number: usize) {
    cluster.start_server_again(number);
    cluster.wait_for_server(number);
    wait_until_caught_up(cluster, number);
}

/// Waits until a server has all that is committed now.
pub(crate) fn wait_until_caught_up(cluster: &Cluster, number: usize) {
    let address = cluster.identity_of(number).address().to_owned();
    let mut goal = None;
    let fact = format!("server {number} has caught up");
    wait::until(&fact, CATCH_UP_MAX, || {
        let status = cluster.status()?;
        let goal = *goal.get_or_insert(committed(&status)?);
        let member = members(&status).find(|member| member["address"] == address.as_str());
        // Only the leader knows; another server's view has null here.
        let matched = member.and_then(|member| member["matched"].as_u64());
        match matched {
            Some(matched) if matched >= goal => Ok(()),
            Some(_) | None => Err(format!("{goal} was committed: {status}")),
        }
    });
}

fn committed(status: &Value) -> Result<u64, String> {
    status["commit"].as_u64().ok_or_else(|| status.to_string())
}

/// The term that the cluster is in: it grows by each election.
pub(crate) fn term(cluster: &Cluster) -> u64 {
    wait::until("a server says the term", CATCH_UP_MAX, || {
        let status = cluster.status()?;
        status["term"].as_u64().ok_or_else(|| status.to_string())
    })
}
