use serde_json::{Value, json};
use skiff_network::dns::resolv_conf::ResolvConf;

use super::of_pod;
use crate::resolver::ClusterDns;

const CLUSTER: &str = "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\n\
    nameserver 10.42.0.1\noptions ndots:5\n";
const HOST: &str = "search corp.example\nnameserver 10.0.0.2\noptions rotate\n";

fn made(spec: Value, host: &str, known: bool) -> String {
    let cluster = known.then(|| ClusterDns {
        address: "10.42.0.1".parse().unwrap(),
        domain: "cluster.local".into(),
    });
    let mut spec = spec;
    spec["containers"] = json!([]);
    let spec = serde_json::from_value(spec).unwrap();
    match of_pod(&spec, "shop", &ResolvConf::parse(host), cluster.as_ref()) {
        Ok(file) => file.to_string(),
        Err(why) => why.to_string(),
    }
}

#[test]
fn the_file_follows_the_policy() {
    let own = json!({"nameservers": ["1.2.3.4"], "searches": ["my.example"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]});
    let cases = [
        ("by default", json!({}), CLUSTER),
        (
            "cluster first",
            json!({"dnsPolicy": "ClusterFirst"}),
            CLUSTER,
        ),
        ("the host's", json!({"dnsPolicy": "Default"}), HOST),
        ("on the host's network", json!({"hostNetwork": true}), HOST),
        (
            "on it, and the cluster's names",
            json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}),
            CLUSTER,
        ),
        (
            "only its own",
            json!({"dnsPolicy": "None", "dnsConfig": own}),
            "search my.example\nnameserver 1.2.3.4\noptions ndots:2 edns0\n",
        ),
        (
            "its own as well",
            json!({"dnsConfig": own}),
            "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example my.example\n\
             nameserver 10.42.0.1\nnameserver 1.2.3.4\noptions ndots:2 edns0\n",
        ),
        (
            "no servers but four",
            json!({"dnsPolicy": "None", "dnsConfig": {"nameservers":
            ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"]}}),
            "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\n",
        ),
    ];
    for (case, spec, expected) in cases {
        assert_eq!(made(spec, HOST, true), expected, "{case}");
    }
}

#[test]
fn a_server_on_the_hosts_loopback_is_asked_by_the_nodes_resolver() {
    let host = "nameserver 127.0.0.53\nnameserver 10.0.0.3\n";
    let default = json!({"dnsPolicy": "Default"});
    let shared = json!({"dnsPolicy": "Default", "hostNetwork": true});
    let replaced = "nameserver 10.42.0.1\nnameserver 10.0.0.3\n";
    assert_eq!(made(default.clone(), host, true), replaced);
    assert_eq!(made(shared, host, true), host);
    assert_eq!(made(default, HOST, false), HOST, "nobody on the loopback");
}

#[test]
fn without_a_resolver_only_those_wait_that_need_it() {
    let waits = "the node's resolver has no address yet";
    assert_eq!(made(json!({}), HOST, false), waits);
    assert_eq!(made(json!({"hostNetwork": true}), HOST, false), HOST);
    assert_eq!(made(json!({"dnsPolicy": "None"}), HOST, false), "");
}
