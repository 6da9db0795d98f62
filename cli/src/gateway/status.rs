//! `skiff gateway status`: the gateways that the leader hears of, and the nodes that say that they run
//! one of which it hears nothing.

use serde::Serialize;
use serde_json::Value;
use skiff_api::Kind;
use skiff_api::gateway::{Heard, Host, Known, PATH};
use skiff_client::{ListOptions, Request};

use crate::args::{GatewayShowArgs, VersionFormat};
use crate::connect::Cluster;
use crate::error::CliError;
use crate::get::pretty_json;
use crate::table::Table;
use crate::{json as read, print};

/// What a node with a gateway has, and where that listens.
const GATEWAY: &str = "network.skiff.io/gateway";

/// What is shown.
#[derive(Debug, Serialize)]
struct Shown {
    gateways: Vec<Known>,
    /// Nodes whose gateway is not heard of.
    silent: Vec<String>,
}

/// Runs the verb.
pub(crate) async fn run(cluster: &Cluster, args: &GatewayShowArgs) -> Result<(), CliError> {
    let heard: Heard = cluster.client.json(Request::get(PATH)).await?;
    let all = ListOptions::default();
    let nodes = cluster.client.list::<Value>(Kind::Node, None, &all).await?;
    let shown = Shown {
        silent: silent(&nodes.items, &heard.gateways),
        gateways: heard.gateways,
    };
    match args.output {
        Some(format) => {
            let value = serde_json::to_value(&shown).unwrap_or_default();
            print::text(&match format {
                VersionFormat::Json => pretty_json(&value),
                VersionFormat::Yaml => skiff_api::manifest::to_yaml(&value),
            })
        }
        None if shown.gateways.is_empty() && shown.silent.is_empty() => {
            print::note("No gateway runs: start a server or an agent with --gateway");
            Ok(())
        }
        None => print::text(&text(&shown)),
    }
}

/// The nodes that say that they run a gateway of which nothing is heard.
fn silent(nodes: &[Value], heard: &[Known]) -> Vec<String> {
    let says = |node: &&Value| {
        let annotations = node.pointer("/metadata/annotations");
        annotations.is_some_and(|all| all.get(GATEWAY).is_some_and(Value::is_string))
    };
    let names = nodes.iter().filter(says);
    let names = names.map(|node| read::text(node, "/metadata/name").to_owned());
    let is_heard = |name: &str| {
        let mut all = heard.iter().filter(|one| one.host == Host::Node);
        all.any(|one| one.gateway.name == name)
    };
    names.filter(|name| !is_heard(name)).collect()
}

fn text(shown: &Shown) -> String {
    let mut table = Table::new(&[
        "GATEWAY",
        "ADDRESS",
        "HTTP",
        "HTTPS",
        "CONNECTIONS",
        "REQUESTS",
        "ERRORS",
        "STATUS",
    ]);
    let none = || "<none>".to_owned();
    for known in &shown.gateways {
        let gateway = &known.gateway;
        let host = match known.host {
            Host::Node => "node",
            Host::Server => "server",
        };
        table.row(vec![
            format!("{host}/{}", gateway.name),
            known.address.clone().unwrap_or_else(none),
            gateway.http.to_string(),
            gateway.https.map_or_else(none, |https| https.to_string()),
            gateway.connections.to_string(),
            gateway.requests.to_string(),
            gateway.errors.to_string(),
            "Ready".to_owned(),
        ]);
    }
    for node in &shown.silent {
        let unknown = std::iter::repeat_n("<unknown>".to_owned(), 6);
        let row = std::iter::once(format!("node/{node}")).chain(unknown);
        table.row(row.chain(["Silent".to_owned()]).collect());
    }
    table.text(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use snapbox::{assert_data_eq, str};

    use super::*;

    #[test]
    fn gateways_are_listed_and_those_that_are_silent() {
        let node = |name: &str, listens: Option<&str>| json!({"metadata": {"name": name, "annotations": {GATEWAY: listens}}});
        let heard: Heard = serde_json::from_value(json!({"gateways": [
            {"host": "node", "name": "a", "http": "0.0.0.0:80", "https": "0.0.0.0:443",
                "address": "10.0.0.1", "connections": 3, "requests": 1200, "errors": 7,
                "heardMillisAgo": 900},
            {"host": "server", "name": "s1", "http": "127.0.0.1:8080", "https": null,
                "address": "127.0.0.1", "connections": 0, "requests": 0, "errors": 0,
                "heardMillisAgo": 10},
        ]}))
        .unwrap();
        let nodes = [
            node("a", Some("0.0.0.0:80,0.0.0.0:443")),
            node("b", None),
            node("c", Some("127.0.0.1:8080")),
        ];
        let shown = Shown {
            silent: silent(&nodes, &heard.gateways),
            gateways: heard.gateways,
        };
        assert_data_eq!(
            text(&shown),
            str![[r#"
GATEWAY     ADDRESS     HTTP             HTTPS         CONNECTIONS   REQUESTS    ERRORS      STATUS
node/a      10.0.0.1    0.0.0.0:80       0.0.0.0:443   3             1200        7           Ready
server/s1   127.0.0.1   127.0.0.1:8080   <none>        0             0           0           Ready
node/c      <unknown>   <unknown>        <unknown>     <unknown>     <unknown>   <unknown>   Silent

"#]]
        );
    }
}
