//! `skiff gateway status`: the nodes that say that they run a gateway.

use serde_json::{Value, json};
use skiff_api::Kind;
use skiff_client::ListOptions;

use crate::args::{GatewayShowArgs, VersionFormat};
use crate::connect::Cluster;
use crate::error::CliError;
use crate::get::pretty_json;
use crate::table::Table;
use crate::{json as read, print};

/// What a node with a gateway has, and where that listens.
const GATEWAY: &str = "network.skiff.io/gateway";

/// Runs the verb.
pub(crate) async fn run(cluster: &Cluster, args: &GatewayShowArgs) -> Result<(), CliError> {
    let all = ListOptions::default();
    let nodes = cluster.client.list::<Value>(Kind::Node, None, &all).await?;
    let gateways: Vec<Value> = nodes.items.iter().filter_map(gateway).collect();
    match args.output {
        Some(VersionFormat::Json) => print::text(&pretty_json(&json!({ "gateways": gateways }))),
        Some(VersionFormat::Yaml) => print::text(&skiff_api::manifest::to_yaml(
            &json!({ "gateways": gateways }),
        )),
        None if gateways.is_empty() => {
            print::note(
                "No node runs a gateway: start an agent with --gateway. One that a server runs \
                 is not listed here.",
            );
            Ok(())
        }
        None => print::text(&text(&gateways)),
    }
}

fn gateway(node: &Value) -> Option<Value> {
    let listens = node.get("metadata")?.get("annotations")?.get(GATEWAY)?;
    let (http, https) = match listens.as_str()?.split_once(',') {
        Some((http, https)) => (http, Some(https)),
        None => (listens.as_str()?, None),
    };
    let of_type = |list: &str, kind: &str, field: &str| {
        let all = read::items(node, list).iter();
        let mut found = all.filter(|one| read::text(one, "/type") == kind);
        found.next().map(|one| read::text(one, field).to_owned())
    };
    Some(json!({
        "node": read::text(node, "/metadata/name"),
        "address": of_type("/status/addresses", "InternalIP", "/address"),
        "http": http,
        "https": https,
        "ready": of_type("/status/conditions", "Ready", "/status").as_deref() == Some("True"),
    }))
}

fn text(gateways: &[Value]) -> String {
    let mut table = Table::new(&["NODE", "ADDRESS", "HTTP", "HTTPS", "STATUS"]);
    for gateway in gateways {
        let word = |field: &str| match read::text(gateway, field) {
            "" => "<none>".to_owned(),
            text => text.to_owned(),
        };
        let ready = read::flag(gateway, "/ready");
        table.row(vec![
            word("/node"),
            word("/address"),
            word("/http"),
            word("/https"),
            if ready { "Ready" } else { "NotReady" }.to_owned(),
        ]);
    }
    table.text(true)
}

#[cfg(test)]
mod tests {
    use snapbox::{assert_data_eq, str};

    use super::*;

    #[test]
    fn nodes_with_a_gateway_are_listed() {
        let node = |name: &str, listens: Option<&str>, ready: &str| {
            json!({"metadata": {"name": name, "annotations": {GATEWAY: listens}},
                "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                    "conditions": [{"type": "Ready", "status": ready}]}})
        };
        let nodes = [
            node("a", Some("0.0.0.0:80,0.0.0.0:443"), "True"),
            node("b", None, "True"),
            node("c", Some("127.0.0.1:8080"), "Unknown"),
        ];
        let gateways: Vec<_> = nodes.iter().filter_map(gateway).collect();
        assert_data_eq!(
            text(&gateways),
            str![[r#"
NODE   ADDRESS    HTTP             HTTPS         STATUS
a      10.0.0.1   0.0.0.0:80       0.0.0.0:443   Ready
c      10.0.0.1   127.0.0.1:8080   <none>        NotReady

"#]]
        );
    }
}
