//! Which way to whom, and that doing what differs makes it so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::{Value, json};
use skiff_api::Kind;
use skiff_client::Event;

use super::diff::{Change, Observed, diff};
use super::plan::{Hop, Me, Plan, plan};
use super::{Link, Mac, Mode, Overlay, pods_mtu};
use crate::catalog::{Catalog, Cidr};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn range(text: &str) -> Cidr {
    text.parse().expect("a range")
}

/// A node as `NAME ADDRESS RANGE MODE`; `-` stands for nothing.
fn node(line: &str) -> Value {
    let [name, address, range, mode] = line.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{line:?} is no node");
    };
    let mut node = json!({"metadata": {"name": name, "annotations": {}}, "spec": {}, "status": {}});
    if address != "-" {
        node["status"]["addresses"] = json!([{"type": "InternalIP", "address": address}]);
    }
    if range != "-" {
        node["spec"]["podCIDR"] = json!(range);
    }
    if mode != "-" {
        node["metadata"]["annotations"]["network.skiff.io/mode"] = json!(mode);
        if mode != "direct" {
            let mac = Mac::of(ip(address)).to_string();
            node["metadata"]["annotations"]["network.skiff.io/vtep"] = json!(mac);
        }
    }
    node
}

fn catalog(nodes: &str) -> Catalog {
    let mut catalog = Catalog::default();
    let nodes = nodes.split(", ").filter(|node| !node.is_empty());
    let nodes = nodes.map(node).collect();
    catalog.apply(Kind::Node, Event::Restarted(nodes));
    catalog
}

fn me(mode: Mode) -> Me {
    Me {
        name: "a".into(),
        address: ip("10.0.0.1"),
        mode,
        overlay: Overlay { vni: 0x00a1_b2c3 },
    }
}

/// A machine with one link, and its loopback.
fn links() -> Vec<Link> {
    let link = |index, mtu, address, net: &str| Link {
        index,
        mtu,
        is_loopback: index == 1,
        addresses: vec![(ip(address), range(net))],
    };
    vec![
        link(1, 65_536, "127.0.0.1", "127.0.0.0/8"),
        link(2, 1500, "10.0.0.1", "10.0.0.0/24"),
    ]
}

/// The plan in short: `RANGE>ADDRESS` straight, `RANGE~ADDRESS` through VXLAN, `!NODE` unreachable.
fn short(plan: &Plan) -> String {
    let hosts: BTreeMap<Mac, IpAddr> = plan.forwarding.iter().copied().collect();
    let behind = |gateway: &IpAddr| {
        let found = plan.neighbours.iter().find(|(at, _)| at == gateway);
        found.and_then(|(_, mac)| hosts.get(mac)).copied()
    };
    let routes = plan.routes.iter().map(|(range, hop)| match hop {
        Hop::Direct { link: 2, gateway } => format!("{range}>{gateway}"),
        Hop::Direct { link, .. } => format!("{range} by link {link}"),
        Hop::Tunnel { gateway } => match behind(gateway) {
            Some(host) => format!("{range}~{host}"),
            None => format!("{range} to nobody"),
        },
    });
    let lost = plan.unreachable.keys().map(|node| format!("!{node}"));
    let device = plan
        .device
        .as_ref()
        .map(|device| format!("mtu {}", device.mtu));
    routes
        .chain(lost)
        .chain(device)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The nodes beside this one, `NAME ADDRESS RANGE MODE`, and the plan in short.
const PLANS: [(&str, Mode, &str, &str); 14] = [
    ("alone", Mode::Auto, "", ""),
    (
        "on the same link",
        Mode::Auto,
        "b 10.0.0.2 10.42.1.0/24 auto",
        "10.42.1.0/24>10.0.0.2",
    ),
    (
        "behind a router",
        Mode::Auto,
        "b 10.0.0.2 10.42.1.0/24 auto, c 10.9.0.3 10.42.2.0/24 auto",
        "10.42.1.0/24>10.0.0.2 10.42.2.0/24~10.9.0.3 mtu 1450",
    ),
    (
        "told to use VXLAN",
        Mode::Vxlan,
        "b 10.0.0.2 10.42.1.0/24 auto",
        "10.42.1.0/24~10.0.0.2 mtu 1450",
    ),
    (
        "the other one was told so",
        Mode::Auto,
        "b 10.0.0.2 10.42.1.0/24 vxlan",
        "10.42.1.0/24~10.0.0.2 mtu 1450",
    ),
    (
        "direct only, behind a router",
        Mode::Direct,
        "b 10.0.0.2 10.42.1.0/24 direct, c 10.9.0.3 10.42.2.0/24 auto",
        "10.42.1.0/24>10.0.0.2 !c",
    ),
    (
        "the other one direct only, behind a router",
        Mode::Auto,
        "c 10.9.0.3 10.42.2.0/24 direct",
        "!c",
    ),
    (
        "ends that exclude each other",
        Mode::Vxlan,
        "b 10.0.0.2 10.42.1.0/24 direct",
        "!b",
    ),
    (
        "an older agent on the same link",
        Mode::Auto,
        "b 10.0.0.2 10.42.1.0/24 -",
        "10.42.1.0/24>10.0.0.2",
    ),
    (
        "an older agent behind a router",
        Mode::Auto,
        "c 10.9.0.3 10.42.2.0/24 -",
        "!c",
    ),
    (
        "without an address or a range",
        Mode::Auto,
        "b - 10.42.1.0/24 -, c 10.0.0.3 - auto",
        "",
    ),
    (
        "on the same machine",
        Mode::Vxlan,
        "b 10.0.0.1 10.42.1.0/24 vxlan",
        "",
    ),
    (
        "on the same machine, another address of it",
        Mode::Vxlan,
        "b 127.0.0.1 10.42.1.0/24 vxlan",
        "",
    ),
    (
        "two nodes on one machine far away",
        Mode::Auto,
        "c 10.9.0.3 10.42.2.0/24 auto, d 10.9.0.3 10.42.3.0/24 auto",
        "10.42.2.0/24~10.9.0.3 10.42.3.0/24~10.9.0.3 mtu 1450",
    ),
];

#[test]
fn every_other_node_is_reached_as_both_ends_want() {
    for (case, mode, others, expected) in PLANS {
        let nodes = format!("a 10.0.0.1 10.42.0.0/24 -, {others}");
        let plan = plan(&catalog(&nodes), &me(mode), &links());
        assert_eq!(short(&plan), expected, "{case}");
    }
}

#[test]
fn agents_that_share_a_machine_plan_the_same() {
    let nodes = catalog(
        "a 10.0.0.1 10.42.0.0/24 auto, b 10.0.0.1 10.42.1.0/24 auto, c 10.9.0.3 10.42.2.0/24 auto",
    );
    let other = Me {
        name: "b".into(),
        ..me(Mode::Auto)
    };
    let mine = plan(&nodes, &me(Mode::Auto), &links());
    assert_eq!(mine, plan(&nodes, &other, &links()));
    assert_eq!(
        mine.device.map(|device| device.address),
        Some(ip("10.42.0.0"))
    );
}

/// Does a change as the kernel would.
fn apply(kernel: &mut Observed, change: Change) {
    let exists = |there: bool| assert!(there, "{change}");
    match change.clone() {
        Change::RemoveRoute(range, hop) => exists(kernel.routes.remove(&range) == Some(hop)),
        Change::RemoveDevice => {
            exists(kernel.has_device);
            kernel
                .routes
                .retain(|_, hop| matches!(hop, Hop::Direct { .. }));
            let routes = std::mem::take(&mut kernel.routes);
            *kernel = Observed {
                routes,
                ..Observed::default()
            };
        }
        Change::MakeDevice(device) => {
            exists(!kernel.has_device);
            (kernel.device, kernel.has_device) = (Some(device), true);
        }
        Change::RemoveNeighbour(at, mac) => exists(kernel.neighbours.remove(&(at, mac))),
        Change::RemoveForwarding(mac, to) => exists(kernel.forwarding.remove(&(mac, to))),
        Change::AddForwarding(mac, to) => {
            exists(kernel.has_device && kernel.forwarding.insert((mac, to)));
        }
        Change::SetNeighbour(at, mac) => {
            exists(kernel.has_device);
            kernel.neighbours.retain(|(old, _)| *old != at);
            kernel.neighbours.insert((at, mac));
        }
        Change::AddRoute(range, hop) => {
            exists(kernel.has_device || matches!(hop, Hop::Direct { .. }));
            exists(kernel.routes.insert(range, hop).is_none());
        }
    }
}

fn as_planned(plan: &Plan) -> Observed {
    Observed {
        routes: plan.routes.clone(),
        device: plan.device.clone(),
        has_device: plan.device.is_some(),
        neighbours: plan.neighbours.clone(),
        forwarding: plan.forwarding.clone(),
    }
}

/// From whatever state to whatever plan, what differs makes it so, and then nothing differs.
#[test]
fn doing_what_differs_makes_it_so() {
    let own = "a 10.0.0.1 10.42.0.0/24 auto";
    let near = "b 10.0.0.2 10.42.1.0/24";
    let far = "c 10.9.0.3 10.42.2.0/24 auto";
    let worlds = [
        own.to_owned(),
        format!("{own}, {near} auto"),
        format!("{own}, {near} vxlan"),
        format!("{own}, {far}"),
        format!("{own}, {near} auto, {far}"),
        format!("{own}, b 10.0.0.3 10.42.1.0/24 vxlan, {far}"),
        format!("{own}, b 10.9.0.3 10.42.2.0/24 vxlan, c 10.0.0.2 10.42.1.0/24 vxlan"),
        "a 10.0.0.1 10.42.9.0/24 auto, c 10.9.0.3 10.42.2.0/24 auto".to_owned(),
    ];
    let plans: Vec<Plan> = worlds
        .iter()
        .flat_map(|nodes| {
            [Mode::Auto, Mode::Vxlan].map(|mode| plan(&catalog(nodes), &me(mode), &links()))
        })
        .collect();
    let mut starts: Vec<Observed> = plans.iter().map(as_planned).collect();
    // A device of that name that somebody else made.
    starts.push(Observed {
        has_device: true,
        neighbours: BTreeSet::from([(ip("10.42.2.0"), Mac([2; 6]))]),
        ..Observed::default()
    });
    for start in &starts {
        for plan in &plans {
            let mut kernel = start.clone();
            for change in diff(plan, &kernel) {
                apply(&mut kernel, change);
            }
            assert_eq!(kernel, as_planned(plan), "from {start:?}");
            assert_eq!(diff(plan, &kernel), [], "a second pass does nothing");
        }
    }
}

#[test]
fn pods_send_packets_that_get_through() {
    let cases = [
        ("straight", Mode::Direct, Some("10.0.0.1"), 1500),
        ("either way", Mode::Auto, Some("10.0.0.1"), 1500),
        ("through VXLAN", Mode::Vxlan, Some("10.0.0.1"), 1450),
        ("only on this machine", Mode::Auto, Some("127.0.0.1"), 1500),
        (
            "no link has the address",
            Mode::Vxlan,
            Some("10.7.7.7"),
            1450,
        ),
        ("no address at all", Mode::Auto, None, 1500),
        (
            "through VXLAN over IPv6",
            Mode::Vxlan,
            Some("fd00::1"),
            1430,
        ),
    ];
    for (case, mode, address, expected) in cases {
        assert_eq!(
            pods_mtu(&links(), address.map(ip), mode),
            expected,
            "{case}"
        );
    }
}

#[test]
fn a_clusters_device_has_its_number_and_a_name_that_fits() {
    let cases = [
        ("skiff-a1b2c3", 0x00a1_b2c3, "skvxa1b2c3"),
        ("skiff-000000", 1, "skvx000001"),
        ("skiff-odd", 1, "skvx000001"),
    ];
    for (instance, vni, device) in cases {
        let overlay = Overlay::of(instance);
        assert_eq!(
            (overlay.vni, &*overlay.device()),
            (vni, device),
            "{instance}"
        );
        assert!(overlay.device().len() <= 15);
    }
}

#[test]
fn words_are_read_as_they_are_written() {
    for mode in [Mode::Auto, Mode::Direct, Mode::Vxlan] {
        assert_eq!(mode.word().parse(), Ok(mode));
    }
    let mac = Mac::of(ip("10.0.0.1"));
    assert_eq!(mac.to_string(), "0a:5b:0a:00:00:01");
    assert_eq!(mac.to_string().parse(), Ok(mac));
    for odd in ["", "0a:5b", "0a:5b:0a:00:00:01:02", "zz:5b:0a:00:00:01"] {
        assert!(odd.parse::<Mac>().is_err(), "{odd}");
    }
}
