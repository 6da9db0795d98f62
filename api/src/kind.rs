//! The one table of the kinds that are served: names, scope, verbs' subresources.
//! Adding a kind starts with a variant and a row here; the compiler then names the other places.

use std::fmt;

/// A kind of object that Skiff serves.
///
/// The order is the order of the table and of keys. Stored commands name a kind by its
/// [`KindInfo::name`], so variants may be added anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "each variant is the Kubernetes kind of that name"
)]
pub enum Kind {
    Namespace,
    Node,
    Pod,
    ConfigMap,
    Secret,
    Event,
    ServiceAccount,
    Service,
    Endpoints,
    Deployment,
    ReplicaSet,
    Lease,
    EndpointSlice,
    Ingress,
    IngressClass,
    NetworkPolicy,
}

/// Whether the objects of a kind live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One flat set of names.
    Cluster,
    /// A set of names for each namespace.
    Namespaced,
}

/// A part of an object, or an action on it, with a path of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subresource {
    /// What controllers and agents report; the main path cannot write it.
    Status,
    /// The replica count as `autoscaling/v1 Scale`.
    Scale,
    /// A container's output.
    Log,
    /// Deletion that may be refused by a disruption budget (`policy/v1 Eviction`).
    Eviction,
    /// The scheduler's assignment of a pod to a node.
    Binding,
}

impl Subresource {
    /// The last part of its path.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Log => "log",
            Self::Eviction => "eviction",
            Self::Binding => "binding",
        }
    }
}

/// What discovery says of a kind.
#[derive(Debug)]
pub struct KindInfo {
    /// The kind described.
    pub kind: Kind,
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version served.
    pub version: &'static str,
    /// The name in `kind:`.
    pub name: &'static str,
    /// The name in paths.
    pub plural: &'static str,
    /// The name of one.
    pub singular: &'static str,
    /// What `kubectl get` accepts besides.
    pub short_names: &'static [&'static str],
    /// Cluster-wide or by namespace.
    pub scope: Scope,
    /// Groups of kinds: `all`.
    pub categories: &'static [&'static str],
    /// The subresources served.
    pub subresources: &'static [Subresource],
}

impl KindInfo {
    /// `v1`, `apps/v1`: the text of `apiVersion:`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `deployments.apps`, `pods`: how messages name the resource.
    #[must_use]
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// Whether the kind has this subresource.
    #[must_use]
    pub fn has(&self, subresource: Subresource) -> bool {
        self.subresources.contains(&subresource)
    }
}

use Scope::{Cluster, Namespaced};
use Subresource::{Binding, Eviction, Log, Scale, Status};

macro_rules! row {
    ($kind:ident, $group:literal, $plural:literal, $singular:literal, $short:expr, $scope:ident,
     $categories:expr, $subresources:expr) => {
        KindInfo {
            kind: Kind::$kind,
            group: $group,
            version: "v1",
            name: stringify!($kind),
            plural: $plural,
            singular: $singular,
            short_names: &$short,
            scope: $scope,
            categories: &$categories,
            subresources: &$subresources,
        }
    };
}

/// In the order of the enum.
static TABLE: [KindInfo; 16] = [
    row!(
        Namespace,
        "",
        "namespaces",
        "namespace",
        ["ns"],
        Cluster,
        [],
        [Status]
    ),
    row!(Node, "", "nodes", "node", ["no"], Cluster, [], [Status]),
    row!(
        Pod,
        "",
        "pods",
        "pod",
        ["po"],
        Namespaced,
        ["all"],
        [Status, Log, Eviction, Binding]
    ),
    row!(
        ConfigMap,
        "",
        "configmaps",
        "configmap",
        ["cm"],
        Namespaced,
        [],
        []
    ),
    row!(Secret, "", "secrets", "secret", [], Namespaced, [], []),
    row!(Event, "", "events", "event", ["ev"], Namespaced, [], []),
    row!(
        ServiceAccount,
        "",
        "serviceaccounts",
        "serviceaccount",
        ["sa"],
        Namespaced,
        [],
        []
    ),
    row!(
        Service,
        "",
        "services",
        "service",
        ["svc"],
        Namespaced,
        ["all"],
        [Status]
    ),
    row!(
        Endpoints,
        "",
        "endpoints",
        "endpoints",
        ["ep"],
        Namespaced,
        [],
        []
    ),
    row!(
        Deployment,
        "apps",
        "deployments",
        "deployment",
        ["deploy"],
        Namespaced,
        ["all"],
        [Status, Scale]
    ),
    row!(
        ReplicaSet,
        "apps",
        "replicasets",
        "replicaset",
        ["rs"],
        Namespaced,
        ["all"],
        [Status, Scale]
    ),
    row!(
        Lease,
        "coordination.k8s.io",
        "leases",
        "lease",
        [],
        Namespaced,
        [],
        []
    ),
    row!(
        EndpointSlice,
        "discovery.k8s.io",
        "endpointslices",
        "endpointslice",
        [],
        Namespaced,
        [],
        []
    ),
    row!(
        Ingress,
        "networking.k8s.io",
        "ingresses",
        "ingress",
        ["ing"],
        Namespaced,
        [],
        [Status]
    ),
    row!(
        IngressClass,
        "networking.k8s.io",
        "ingressclasses",
        "ingressclass",
        [],
        Cluster,
        [],
        []
    ),
    row!(
        NetworkPolicy,
        "networking.k8s.io",
        "networkpolicies",
        "networkpolicy",
        ["netpol"],
        Namespaced,
        [],
        []
    ),
];

impl Kind {
    /// Every kind, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|info| info.kind)
    }

    /// The kind's row in the table.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        reason = "a unit test checks that row n describes kind n"
    )]
    pub fn info(self) -> &'static KindInfo {
        &TABLE[self as usize]
    }

    /// Finds a kind by `apiVersion` and `kind`.
    #[must_use]
    pub fn find(api_version: &str, name: &str) -> Option<Self> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        TABLE
            .iter()
            .find(|info| info.group == group && info.version == version && info.name == name)
            .map(|info| info.kind)
    }

    /// Finds a kind by its name alone; names are unique among the kinds served.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        TABLE
            .iter()
            .find(|info| info.name == name)
            .map(|info| info.kind)
    }

    /// Finds a kind by the path parts of its resource.
    #[must_use]
    pub fn by_path(group: &str, version: &str, plural: &str) -> Option<Self> {
        TABLE
            .iter()
            .find(|info| info.group == group && info.version == version && info.plural == plural)
            .map(|info| info.kind)
    }

    /// Finds a kind by anything that people type for it: `po`, `pod`, `pods`, `Pod`,
    /// `deployments.apps`, `deployments.v1.apps`.
    #[must_use]
    pub fn by_alias(alias: &str) -> Option<Self> {
        let alias = alias.to_ascii_lowercase();
        let (word, rest) = alias.split_once('.').unwrap_or((&alias, ""));
        TABLE
            .iter()
            .find(|info| {
                let named = info.plural == word
                    || info.singular == word
                    || info.short_names.contains(&word);
                let group = rest == info.group
                    || rest
                        .strip_prefix(info.version)
                        .and_then(|r| r.strip_prefix('.'))
                        == Some(info.group);
                named && (rest.is_empty() || group)
            })
            .map(|info| info.kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.info().name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_n_describes_kind_n() {
        for (index, info) in TABLE.iter().enumerate() {
            assert_eq!(info.kind as usize, index, "{}", info.name);
            assert_eq!(Kind::by_name(info.name), Some(info.kind));
        }
    }

    #[test]
    fn kinds_are_found_by_what_people_type() {
        let cases = [
            ("po", Some(Kind::Pod)),
            ("Pods", Some(Kind::Pod)),
            ("deployments.apps", Some(Kind::Deployment)),
            ("deployment.v1.apps", Some(Kind::Deployment)),
            ("deployments.batch", None),
            ("widgets", None),
        ];
        for (alias, expected) in cases {
            assert_eq!(Kind::by_alias(alias), expected, "{alias}");
        }
    }
}
