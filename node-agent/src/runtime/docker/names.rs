//! The names and labels by which a node finds its containers again. The labels are the truth; the
//! names are for people, and let the Engine refuse a second copy.

use std::collections::HashMap;
use std::sync::Arc;

use crate::runtime::{Container, PodRef, SandboxId};
use crate::token::sha256_hex;

/// What tells one node's containers from all others on an Engine that several agents may share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The installation: two clusters on one Engine have two of them.
    pub(super) instance: String,
    /// The node.
    pub(super) node: String,
}

const INSTANCE: &str = "io.skiff.instance";
const NODE: &str = "io.skiff.node";
const NAMESPACE: &str = "io.skiff.namespace";
const POD: &str = "io.skiff.pod";
/// The label that carries a pod's uid.
pub(super) const UID: &str = "io.skiff.uid";
const ATTEMPT: &str = "io.skiff.attempt";
/// Only on containers; a sandbox is what lacks it.
const CONTAINER: &str = "io.skiff.container";
/// Only on containers: the id of their sandbox.
const SANDBOX: &str = "io.skiff.sandbox";
/// Only on containers.
const SPEC_HASH: &str = "io.skiff.spec-hash";

/// Stands for the container's name in the name of a sandbox; no container can be called that,
/// since Kubernetes allows no capitals.
const SANDBOX_NAME: &str = "POD";

/// Digits of the uid that go into a name: enough to tell the lives of one pod apart.
const UID_DIGITS: usize = 8;

/// Digits of a hash that tell the links of one machine apart.
const BRIDGE_DIGITS: usize = 8;

/// The labels of the Engine's containers.
pub(super) type Labels = HashMap<String, String>;

/// What labels say about one of the Engine's containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// It is the sandbox of a pod.
    Sandbox {
        /// Whose.
        pod: PodRef,
        /// Which.
        attempt: u32,
    },
    /// It is a container of a pod.
    Container {
        /// Which.
        container: Container,
        /// The sandbox it is in.
        sandbox: SandboxId,
        /// What it was made from.
        spec_hash: Arc<str>,
    },
}

impl Owner {
    /// The labels that all of this node's containers and its network carry.
    pub(super) fn labels(&self) -> Labels {
        labels([(INSTANCE, &self.instance), (NODE, &self.node)])
    }

    /// The same as a filter of the Engine's API.
    pub(super) fn filter(&self) -> HashMap<&'static str, Vec<String>> {
        let wanted = vec![
            format!("{INSTANCE}={}", self.instance),
            format!("{NODE}={}", self.node),
        ];
        HashMap::from([("label", wanted)])
    }

    /// The name of the node's network.
    pub(super) fn network(&self) -> String {
        format!("{}-{}", self.instance, self.node)
    }

    /// The name of the machine's link to that network. The kernel takes 15 letters at most, so it
    /// can't carry the node's name.
    pub(super) fn bridge(&self) -> String {
        let hash = sha256_hex(self.network().as_bytes());
        format!("sk{}", hash.get(..BRIDGE_DIGITS).unwrap_or_default())
    }

    /// The name of a sandbox.
    pub(super) fn sandbox_name(&self, pod: &PodRef, attempt: u32) -> String {
        self.name(pod, SANDBOX_NAME, attempt)
    }

    /// The name of a container.
    pub(super) fn container_name(&self, container: &Container) -> String {
        self.name(&container.pod, &container.name, container.attempt)
    }

    /// `skiff_n1_shop_front-7x2kq_web_0f3a9c1d_0`: an underscore is in no Kubernetes name.
    fn name(&self, pod: &PodRef, container: &str, attempt: u32) -> String {
        let Self { instance, node } = self;
        let PodRef {
            namespace,
            name,
            uid,
        } = pod;
        let uid = uid.get(..UID_DIGITS).unwrap_or(uid);
        format!("{instance}_{node}_{namespace}_{name}_{container}_{uid}_{attempt}")
    }

    /// The labels of a sandbox.
    pub(super) fn sandbox_labels(&self, pod: &PodRef, attempt: u32) -> Labels {
        let mut all = self.labels();
        all.extend(labels([
            (NAMESPACE, &pod.namespace),
            (POD, &pod.name),
            (UID, &pod.uid),
            (ATTEMPT, &attempt.to_string()),
        ]));
        all
    }

    /// The labels of a container.
    pub(super) fn container_labels(
        &self,
        container: &Container,
        sandbox: &SandboxId,
        spec_hash: &str,
    ) -> Labels {
        let mut all = self.sandbox_labels(&container.pod, container.attempt);
        all.extend(labels([
            (CONTAINER, &container.name),
            (SANDBOX, &sandbox.0),
            (SPEC_HASH, spec_hash),
        ]));
        all
    }
}

impl Identity {
    /// Reads labels back; `None` if one of ours is missing or no number where there must be one.
    pub(super) fn parse(labels: &Labels) -> Option<Self> {
        let get = |label: &str| {
            labels
                .get(label)
                .map(|value| Arc::<str>::from(value.as_str()))
        };
        let pod = PodRef {
            namespace: get(NAMESPACE)?,
            name: get(POD)?,
            uid: get(UID)?,
        };
        let attempt = labels.get(ATTEMPT)?.parse().ok()?;
        let Some(name) = get(CONTAINER) else {
            return Some(Self::Sandbox { pod, attempt });
        };
        Some(Self::Container {
            container: Container { pod, name, attempt },
            sandbox: SandboxId(get(SANDBOX)?),
            spec_hash: get(SPEC_HASH)?,
        })
    }
}

fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owner() -> Owner {
        Owner {
            instance: "skiff".into(),
            node: "n1".into(),
        }
    }

    fn container(attempt: u32) -> Container {
        let pod = PodRef {
            namespace: "shop".into(),
            name: "front-7x2kq".into(),
            uid: "0f3a9c1d-7e52-4a86-9d0e-5b1c2d3e4f50".into(),
        };
        Container {
            pod,
            name: "web".into(),
            attempt,
        }
    }

    #[test]
    fn names_read_from_the_large_to_the_small() {
        let web = container(3);
        assert_eq!(
            owner().container_name(&web),
            "skiff_n1_shop_front-7x2kq_web_0f3a9c1d_3"
        );
        assert_eq!(
            owner().sandbox_name(&web.pod, 0),
            "skiff_n1_shop_front-7x2kq_POD_0f3a9c1d_0"
        );
        assert_eq!(owner().network(), "skiff-n1");
    }

    #[test]
    fn what_lacks_a_label_is_not_ours_to_touch() {
        let full = owner().container_labels(&container(1), &SandboxId("abc".into()), "h1");
        for label in [NAMESPACE, POD, UID, ATTEMPT, SANDBOX, SPEC_HASH] {
            let mut labels = full.clone();
            labels.remove(label);
            assert_eq!(Identity::parse(&labels), None, "without {label}");
        }
        let mut labels = full;
        labels.insert(ATTEMPT.into(), "-1".into());
        assert_eq!(Identity::parse(&labels), None, "with a negative attempt");
    }

    proptest! {
        #[test]
        fn labels_are_read_as_they_were_written(
            namespace in ".{1,20}", name in ".{1,20}", uid in ".{1,40}", of in ".{1,20}",
            sandbox in "[0-9a-f]{64}", hash in ".{0,64}", attempt: u32,
        ) {
            let pod = PodRef { namespace: namespace.into(), name: name.into(), uid: uid.into() };
            prop_assert_eq!(
                Identity::parse(&owner().sandbox_labels(&pod, attempt)),
                Some(Identity::Sandbox { pod: pod.clone(), attempt })
            );
            let container = Container { pod, name: of.into(), attempt };
            let sandbox = SandboxId(sandbox.into());
            prop_assert_eq!(
                Identity::parse(&owner().container_labels(&container, &sandbox, &hash)),
                Some(Identity::Container { container, sandbox, spec_hash: hash.into() })
            );
        }
    }
}
