//! What is told of the network, and which pods move.

use std::sync::Arc;

use skiff_api::Millis;
use skiff_network::catalog::Cidr;
use tokio::sync::watch;

use super::state::{NetworkState, Part, trouble};
use crate::runtime::{NodeNetwork, Observed, ObservedSandbox, PodRef, SandboxId};
use crate::sight::sort;

fn range(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn ready() -> NetworkState {
    let subnet = range("10.42.3.0/24");
    NetworkState {
        range: Some(subnet),
        network: Some(NodeNetwork {
            name: "skiff-n1".into(),
            bridge: "sk1".into(),
            subnet,
            mtu: 1500,
        }),
        ..NetworkState::default()
    }
}

#[test]
fn the_condition_says_what_is_missing() {
    let waiting = NetworkState::default();
    let making = NetworkState {
        network: None,
        ..ready()
    };
    let cases = [
        (
            "no range yet",
            waiting,
            None,
            "True PodNetworkMissing",
            true,
        ),
        (
            "being made",
            making.clone(),
            None,
            "True PodNetworkMissing",
            true,
        ),
        (
            "refused",
            making,
            Some(Part::Bridge),
            "True PodNetworkMissing",
            true,
        ),
        ("ready", ready(), None, "False PodNetworkReady", false),
        (
            "no rules",
            ready(),
            Some(Part::Rules),
            "True RulesMissing",
            false,
        ),
        (
            "no routes",
            ready(),
            Some(Part::Routes),
            "True RoutesMissing",
            false,
        ),
    ];
    for (case, state, part, expected, blocks) in cases {
        let state = watch::Sender::new(state);
        if let Some(part) = part {
            trouble(&state, part, Some("because".to_owned()));
        }
        let state = state.borrow();
        let (holds, reason, message) = state.unavailable();
        let status = if holds { "True" } else { "False" };
        assert_eq!(format!("{status} {reason}"), expected, "{case}");
        assert_eq!(state.blocked().is_some(), blocks, "{case}");
        assert_eq!(
            message.contains("because"),
            part.is_some(),
            "{case}: {message}"
        );
    }
}

#[test]
fn only_sandboxes_that_nobody_can_reach_are_given_up() {
    let waiting = NetworkState {
        network: None,
        ..ready()
    };
    let cases = [
        ("in the range", Some("10.42.3.7"), false, ready(), true),
        (
            "in a range of before",
            Some("172.18.0.2"),
            false,
            ready(),
            false,
        ),
        (
            "in a range of before, none made",
            Some("10.42.9.2"),
            false,
            waiting.clone(),
            false,
        ),
        ("cut off", None, false, ready(), false),
        ("not listed with an address yet", None, false, waiting, true),
        ("on the machine's network", None, true, ready(), true),
        (
            "before a range is known",
            Some("172.18.0.2"),
            false,
            NetworkState::default(),
            true,
        ),
    ];
    for (case, ip, host_network, state, lives) in cases {
        let pod = PodRef {
            namespace: "default".into(),
            name: "p".into(),
            uid: "u".into(),
        };
        let sandbox = ObservedSandbox {
            id: SandboxId(Arc::from("s")),
            pod,
            attempt: 0,
            ip: ip.map(|ip| ip.parse().unwrap()),
            running: true,
            host_network,
            created_at: Millis(0),
        };
        let mut sights = sort(Observed {
            sandboxes: vec![sandbox],
            containers: Vec::new(),
        });
        state.condemn(&mut sights);
        assert_eq!(sights["u"].sandbox().is_some(), lives, "{case}");
    }
}
