//! `demo`: the whole path on one machine, told as it happens: one server or three, three agents, the
//! shop behind its gateway, a killed leader if there are several servers, a killed container; then,
//! with visitors coming in all the time, scaling, a rollout, a lost node. Everything it starts it also
//! ends.

mod cluster;
mod leader;
mod load;
mod network;
mod options;
mod request;
mod writes;

use std::time::Instant;

use cluster::Cluster;
use load::Load;
use options::Options;

use crate::shell::{Done, say};
use crate::tools::{self, Need};

const NODES: [&str; 3] = ["demo-1", "demo-2", "demo-3"];
/// The shop's namespace, as its manifests have it.
const SHOP: &str = "shop";
/// How many pods the shop's manifests ask for.
const PODS: usize = 9;
/// And of them for the service that is scaled alone.
const USER_PODS: usize = 2;

/// Runs the demo; `--keep` leaves the cluster running, `--stop` ends one that was left.
///
/// # Errors
/// Something is missing, or what the demo shows did not happen.
pub(crate) fn demo(args: &[String]) -> Done {
    let Options { servers, keep } = match options::parse(args)? {
        options::Wish::Show(options) => options,
        options::Wish::Stop => return cluster::stop_what_was_left(),
    };
    tools::provide(Need::Docker)?;
    tools::provide(Need::Network)?;
    title("Building skiff, and the shop's image from one static binary");
    tools::provide(Need::Skiff)?;
    tools::provide(Need::Shop)?;
    if servers > 1 {
        tools::provide(Need::Kubectl)?;
    }
    cluster::stop_what_was_left()?;

    title(&match servers {
        1 => "One server and three nodes".to_owned(),
        more => format!("{more} servers and three nodes"),
    });
    let mut cluster = Cluster::start(servers)?;
    let shown = show(&mut cluster);
    if keep && shown.is_ok() {
        cluster.keep();
        return Ok(());
    }
    title("Cleaning up");
    let cleaned = cluster.stop();
    shown.and(cleaned)
}

fn show(cluster: &mut Cluster) -> Done {
    for node in NODES {
        cluster.start_agent(node)?;
    }
    all_nodes_ready(cluster)?;
    cluster.show(&["get", "nodes"])?;
    if cluster.servers() > 1 {
        cluster.show(&["cluster", "status"])?;
    }

    title("The shop: five services from one directory of manifests");
    cluster.show(&["apply", "-f", "manifests/shop"])?;
    whole_shop(cluster, PODS)?;
    cluster.show(&["get", "pods", "-n", SHOP, "-o", "wide"])?;
    cluster.show(&["get", "services,ingresses", "-n", SHOP])?;

    title("It works: through the gateway, with services that find each other by name");
    let gateway = cluster.gateway();
    cluster.until_served(gateway, "/orders")?;
    say(&request::get(gateway, "/users")?);
    say(&request::post(gateway, "/cart/ann?item=tea")?);
    say(&request::post(gateway, "/orders/ann")?);

    if cluster.servers() > 1 {
        leader::killed(cluster)?;
    }
    killed_container(cluster)?;
    cluster.until_served(gateway, "/cart/ann")?;

    title("From here on visitors come in all the time; what fails is counted");
    let load = Load::start(gateway);
    let shown = under_load(cluster, &load);
    // The visitors leave in any case, before the gateway does.
    let left = load.stop();
    shown.and(left)
}

fn under_load(cluster: &mut Cluster, load: &Load) -> Done {
    let wanted = USER_PODS * 2;
    title(&format!(
        "Scaling one service alone: user from {USER_PODS} to {wanted}"
    ));
    let replicas = format!("--replicas={wanted}");
    cluster.show(&["scale", "deployment/user", "-n", SHOP, &replicas])?;
    whole_shop(cluster, PODS + USER_PODS)?;
    cluster.show(&["get", "deployments", "-n", SHOP])?;
    let replicas = format!("--replicas={USER_PODS}");
    cluster.show(&["scale", "deployment/user", "-n", SHOP, &replicas])?;
    whole_shop(cluster, PODS)?;
    load.tell("user was scaled up and down");

    title("A rollout to v2, and back");
    let image = "front=skiff/shop:v2";
    cluster.show(&["set", "image", "deployment/front", "-n", SHOP, image])?;
    cluster.show(&["rollout", "status", "deployment/front", "-n", SHOP])?;
    cluster.show(&["rollout", "undo", "deployment/front", "-n", SHOP])?;
    cluster.show(&["rollout", "status", "deployment/front", "-n", SHOP])?;
    cluster.show(&["rollout", "history", "deployment/front", "-n", SHOP])?;
    whole_shop(cluster, PODS)?;
    load.tell("front was rolled out and back");

    lost_node(cluster)?;
    load.tell("a node was lost and came back");
    Ok(())
}

fn killed_container(cluster: &mut Cluster) -> Done {
    title("An accident: one container is killed behind Skiff's back");
    cluster.kill_one_container("cart")?;
    let began = Instant::now();
    cluster.until(
        "cart was restarted",
        &["get", "pods", "-n", SHOP, "-l", "app=cart"],
        |pods| {
            let restarts = pods.column("RESTARTS");
            restarts.first().is_some_and(|cell| !cell.starts_with('0'))
                && pods.column("READY") == ["1/1"]
        },
    )?;
    say(&format!(
        "seen as Ready again after {} ms",
        began.elapsed().as_millis()
    ));
    cluster.show(&["get", "pods", "-n", SHOP, "-l", "app=cart"])
}

fn lost_node(cluster: &mut Cluster) -> Done {
    let lost = NODES[1];
    title(&format!(
        "A bigger accident: node {lost} is lost, its agent and its containers together"
    ));
    cluster.lose(lost)?;
    let began = Instant::now();
    cluster.until(
        "the whole shop runs elsewhere",
        &["get", "pods", "-n", SHOP, "-o", "wide"],
        |pods| {
            let ready = pods.column("READY");
            let nodes = pods.column("NODE");
            let status = pods.column("STATUS");
            let elsewhere = ready.iter().zip(&nodes).zip(&status);
            elsewhere
                .filter(|((ready, node), status)| {
                    **ready == "1/1" && **node != lost && **status == "Running"
                })
                .count()
                == PODS
        },
    )?;
    say(&format!(
        "{PODS} pods run on two nodes after {} ms",
        began.elapsed().as_millis()
    ));
    cluster.show(&["get", "nodes"])?;

    title(&format!("{lost} comes back; nothing runs twice"));
    cluster.start_agent(lost)?;
    all_nodes_ready(cluster)?;
    whole_shop(cluster, PODS)?;
    cluster.show(&["get", "pods", "-n", SHOP, "-o", "wide"])
}

/// Waits until every node is Ready.
fn all_nodes_ready(cluster: &mut Cluster) -> Done {
    cluster.until("three nodes are Ready", &["get", "nodes"], |nodes| {
        let status = nodes.column("STATUS");
        status.iter().filter(|cell| **cell == "Ready").count() == NODES.len()
    })
}

/// Waits until the shop has exactly so many pods and each of them is ready.
fn whole_shop(cluster: &mut Cluster, pods: usize) -> Done {
    cluster.until(
        "the whole shop is ready",
        &["get", "pods", "-n", SHOP],
        |table| {
            let ready = table
                .column("READY")
                .iter()
                .filter(|cell| **cell == "1/1")
                .count();
            table.len() == pods && ready == pods
        },
    )
}

fn title(text: &str) {
    say(&format!("\n=== {text}"));
}
