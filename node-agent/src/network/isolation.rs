//! Has new pods under their network policies before anything of them runs. The servers hear of a
//! pod's address only from its status; so the rules' keeper is told of this node's own pods by the
//! agent itself, and a start waits until the kernel has their rules. A pod that no policy selects
//! waits for nothing.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use skiff_api::Labels;
use skiff_network::catalog::{Protocol, ServiceKey};
use skiff_network::rules::{OwnPod, OwnPods, Policies};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::pod::{DesiredPod, Pods, Role};
use crate::sight::Sights;

/// How long a start waits. Rules that can't be set must not keep a node's pods from starting: the
/// node says that they are missing, and the pod has an event.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Tells of this node's pods, and knows what has come of it.
#[derive(Clone, Debug)]
pub struct Isolation {
    own: watch::Sender<OwnPods>,
    policies: watch::Receiver<Arc<Policies>>,
    enforced: watch::Receiver<Option<Arc<Policies>>>,
}

/// The other ends, for those who keep the rules.
#[derive(Debug)]
pub struct Enforcement {
    /// This node's pods, as its agent knows them.
    pub own: watch::Receiver<OwnPods>,
    /// Gets the policies that there are.
    pub policies: watch::Sender<Arc<Policies>>,
    /// Gets the policies that the kernel has the rules of.
    pub enforced: watch::Sender<Option<Arc<Policies>>>,
}

impl Isolation {
    /// Both ends, before anything is known.
    #[must_use]
    pub fn new() -> (Self, Enforcement) {
        let own = watch::Sender::new(OwnPods::new());
        let (policies_told, policies) = watch::channel(Arc::new(Policies::unknown()));
        let (enforced_told, enforced) = watch::channel(None);
        let enforcement = Enforcement {
            own: own.subscribe(),
            policies: policies_told,
            enforced: enforced_told,
        };
        let isolation = Self {
            own,
            policies,
            enforced,
        };
        (isolation, enforcement)
    }

    /// Tells of the pods that have a sandbox. What was told of those that are `busy` stays where
    /// there is nothing newer: the work on them knows of sandboxes that no list has shown yet.
    pub(crate) fn show(&self, desired: &Pods, sights: &Sights, busy: impl Fn(&str) -> bool) {
        self.own.send_if_modified(|own| {
            let address = |uid: &Arc<str>| {
                let seen = sights.get(uid).and_then(|sight| sight.sandbox());
                let seen = seen.and_then(|sandbox| v4(sandbox.ip));
                let told = || own.get(uid).filter(|_| busy(uid)).map(|pod| pod.address);
                seen.or_else(told)
            };
            let wanted = desired.iter().filter_map(|(uid, pod)| {
                let pod = own_pod(pod, address(uid)?);
                Some((Arc::clone(uid), Arc::new(pod)))
            });
            // Pods that the servers have forgotten are restricted until they are gone.
            let orphans = own
                .iter()
                .filter(|(uid, _)| !desired.contains_key(*uid) && address(uid).is_some())
                .map(|(uid, pod)| (Arc::clone(uid), Arc::clone(pod)));
            let now: OwnPods = wanted.chain(orphans).collect();
            let differs = *own != now;
            *own = now;
            differs
        });
    }

    /// Tells of a pod's new sandbox.
    pub(crate) fn tell(&self, pod: &DesiredPod, address: Ipv4Addr) {
        let own_pod = Arc::new(own_pod(pod, address));
        let uid = Arc::clone(&pod.pod.uid);
        self.own.send_if_modified(|own| {
            own.insert(uid, Arc::clone(&own_pod)).as_ref() != Some(&own_pod)
        });
    }

    /// Whether a policy is known to select a pod.
    pub(crate) fn selects(&self, pod: &DesiredPod) -> bool {
        selects(&self.policies.borrow(), pod)
    }

    /// Waits until the policies are known; tells whether one of them selects a pod.
    ///
    /// # Errors
    /// They did not become known in time.
    pub(crate) async fn known(&self, pod: &DesiredPod) -> Result<bool, String> {
        let mut policies = self.policies.clone();
        let known = policies.wait_for(|policies| policies.is_known());
        match timeout(WAIT_MAX, known).await {
            Ok(Ok(policies)) => Ok(selects(&policies, pod)),
            Ok(Err(_)) | Err(_) => Err("the servers have not told the network policies".to_owned()),
        }
    }

    /// Waits until the kernel keeps a pod at an address to its policies, or no policy selects it any
    /// more.
    ///
    /// # Errors
    /// That did not come in time.
    pub(crate) async fn enforced(&self, pod: &DesiredPod, at: Ipv4Addr) -> Result<(), String> {
        let (mut policies, mut enforced) = (self.policies.clone(), self.enforced.clone());
        let holds = |enforced: &Option<Arc<Policies>>| {
            let enforced = enforced.as_ref();
            enforced.is_some_and(|policies| policies.has_own(&pod.pod.uid, at))
        };
        let settled = async {
            tokio::select! {
                held = enforced.wait_for(holds) => held.is_ok(),
                free = policies.wait_for(|policies| !selects(policies, pod)) => free.is_ok(),
            }
        };
        match timeout(WAIT_MAX, settled).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err("the packet rules are not in place".to_owned()),
        }
    }
}

fn selects(policies: &Policies, pod: &DesiredPod) -> bool {
    policies.restrict(&pod.pod.namespace, &labels(pod))
}

fn labels(pod: &DesiredPod) -> Labels {
    let labels = pod.wire.metadata.labels.iter().flatten();
    labels.collect()
}

fn own_pod(pod: &DesiredPod, address: Ipv4Addr) -> OwnPod {
    // Init containers that go on running serve as well.
    let serves = |name: &str| pod.part(name).is_some_and(|part| part.role != Role::Init);
    let containers = pod.containers().filter(|container| serves(&container.name));
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let ports = ports.filter_map(|port| {
        let protocol = match port.protocol.as_deref() {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        };
        let number = u16::try_from(port.container_port).ok()?;
        Some((port.name.as_deref()?.into(), protocol, number))
    });
    OwnPod {
        key: ServiceKey::new(&pod.pod.namespace, &pod.pod.name),
        labels: labels(pod),
        address,
        ports: ports.collect(),
    }
}

fn v4(address: Option<IpAddr>) -> Option<Ipv4Addr> {
    match address? {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}
