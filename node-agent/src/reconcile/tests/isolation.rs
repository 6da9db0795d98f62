//! New pods and their network policies.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use skiff_api::Kind;
use skiff_client::Event;
use skiff_network::rules::Policies;

use super::rig::{Rig, pod};
use crate::runtime::simulated::Images;
use crate::runtime::{Runtime as _, Step};

/// A policy for the pods of the tests that are called `web`.
fn policies() -> Policies {
    let policy = json!({"metadata": {"namespace": "shop", "name": "p"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]}});
    let mut policies = Policies::default();
    policies.apply(Kind::NetworkPolicy, Event::Applied(policy));
    policies
}

fn labelled(name: &str) -> serde_json::Value {
    let mut pod = pod(name, json!([{"name": "a", "image": "shop:1"}]));
    pod["metadata"]["labels"] = json!({"app": name});
    pod
}

impl Rig {
    /// The keeper puts the rules in place for the pods that it was told of.
    fn enforce(&self) {
        let mut policies = policies();
        policies.take_own(self.enforcement.own.borrow().clone());
        let policies = Some(Arc::new(policies));
        self.enforcement.enforced.send_replace(policies);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_starts_once_it_is_kept_to_its_policies() {
    let rig = Rig::new(Images::All);
    rig.enforcement.policies.send_replace(policies().into());
    rig.apply(labelled("web"));
    rig.until("the keeper is told of the pod", || {
        !rig.enforcement.own.borrow().is_empty()
    })
    .await;
    let sandbox = rig.sim.list().await.unwrap().sandboxes.remove(0);
    let own = rig.enforcement.own.borrow().clone();
    assert_eq!(Some(own["uid-web"].address.into()), sandbox.ip);
    rig.after(Duration::from_secs(2)).await;
    assert_eq!(rig.sim.calls(Step::StartContainer), 0, "not before that");
    rig.enforce();
    rig.until_status("web", "Running", |_| true).await;

    // So does one whose sandbox is made anew.
    rig.enforcement.enforced.send_replace(None);
    rig.kill_sandbox().await;
    rig.until("a sandbox is made anew", || {
        rig.sim.calls(Step::CreateSandbox) == 2
    })
    .await;
    rig.after(Duration::from_secs(2)).await;
    assert_eq!(rig.sim.calls(Step::StartContainer), 1);
    rig.enforce();
    rig.until("it runs again", || rig.sim.calls(Step::StartContainer) == 2)
        .await;
}

#[tokio::test(start_paused = true)]
async fn only_pods_that_a_policy_selects_wait_and_not_for_ever() {
    let rig = Rig::new(Images::All);
    rig.enforcement.policies.send_replace(policies().into());
    rig.apply(labelled("other"));
    rig.apply(labelled("web"));
    rig.until_status("other", "Running", |_| true).await;
    assert_eq!(rig.sim.calls(Step::StartContainer), 1);
    rig.until_event("NetworkPolicyNotReady", "the packet rules are not in place")
        .await;
    rig.until_status("web", "Running", |_| true).await;
}
