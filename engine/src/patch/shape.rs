//! Which lists a strategic merge patch merges, and by what: the one table of Kubernetes'
//! `patchStrategy` and `patchMergeKey`. What is not named here is merged if it is a map and
//! replaced if it is a list.

use skiff_api::Kind;

/// The fields of a map that are not plain.
#[derive(Debug)]
pub(super) struct Shape {
    fields: &'static [(&'static str, Field)],
}

/// How a patch treats one field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    /// A map with a shape of its own.
    Map(&'static Shape),
    /// A list of maps, merged by a key of theirs.
    ListBy(&'static str, &'static Shape),
    /// A list of plain values, merged as a set.
    Set,
    /// A list that is replaced as a whole, or anything that is no list and has nothing special.
    Plain,
}

impl Shape {
    /// How a patch treats the field of that name.
    pub(super) fn field(&self, name: &str) -> Field {
        self.fields
            .iter()
            .find(|(field, _)| *field == name)
            .map_or(Field::Plain, |row| row.1)
    }
}

use Field::{ListBy, Map, Set};

/// A map without special fields, labels for instance.
pub(super) static PLAIN: Shape = Shape { fields: &[] };

static METADATA: Shape = Shape {
    fields: &[
        ("ownerReferences", ListBy("uid", &PLAIN)),
        ("finalizers", Set),
    ],
};

static CONTAINER: Shape = Shape {
    fields: &[
        ("ports", ListBy("containerPort", &PLAIN)),
        ("env", ListBy("name", &PLAIN)),
        ("volumeMounts", ListBy("mountPath", &PLAIN)),
        ("volumeDevices", ListBy("devicePath", &PLAIN)),
    ],
};

static POD_SPEC: Shape = Shape {
    fields: &[
        ("containers", ListBy("name", &CONTAINER)),
        ("initContainers", ListBy("name", &CONTAINER)),
        ("ephemeralContainers", ListBy("name", &CONTAINER)),
        ("volumes", ListBy("name", &PLAIN)),
        ("imagePullSecrets", ListBy("name", &PLAIN)),
        ("hostAliases", ListBy("ip", &PLAIN)),
        ("topologySpreadConstraints", ListBy("topologyKey", &PLAIN)),
        ("resourceClaims", ListBy("name", &PLAIN)),
        ("schedulingGates", ListBy("name", &PLAIN)),
    ],
};

static POD_STATUS: Shape = Shape {
    fields: &[
        ("conditions", ListBy("type", &PLAIN)),
        ("podIPs", ListBy("ip", &PLAIN)),
        ("hostIPs", ListBy("ip", &PLAIN)),
        ("resourceClaimStatuses", ListBy("name", &PLAIN)),
    ],
};

static POD: Shape = Shape {
    fields: &[
        ("metadata", Map(&METADATA)),
        ("spec", Map(&POD_SPEC)),
        ("status", Map(&POD_STATUS)),
    ],
};

static TEMPLATE: Shape = Shape {
    fields: &[("metadata", Map(&METADATA)), ("spec", Map(&POD_SPEC))],
};

static CONDITIONS: Shape = Shape {
    fields: &[("conditions", ListBy("type", &PLAIN))],
};

static WORKLOAD: Shape = Shape {
    fields: &[
        ("metadata", Map(&METADATA)),
        (
            "spec",
            Map(&Shape {
                fields: &[("template", Map(&TEMPLATE))],
            }),
        ),
        ("status", Map(&CONDITIONS)),
    ],
};

static NAMESPACE: Shape = Shape {
    fields: &[("metadata", Map(&METADATA)), ("status", Map(&CONDITIONS))],
};

// A node's taints are one value, as in Kubernetes: `kubectl taint` sends all that shall remain.
static NODE: Shape = Shape {
    fields: &[
        ("metadata", Map(&METADATA)),
        (
            "spec",
            Map(&Shape {
                fields: &[("podCIDRs", Set)],
            }),
        ),
        (
            "status",
            Map(&Shape {
                fields: &[
                    ("conditions", ListBy("type", &PLAIN)),
                    ("addresses", ListBy("type", &PLAIN)),
                ],
            }),
        ),
    ],
};

// Ports are told apart by their number alone, though two protocols may share it: Kubernetes' own
// oddity, which its clients reckon with.
static SERVICE: Shape = Shape {
    fields: &[
        ("metadata", Map(&METADATA)),
        (
            "spec",
            Map(&Shape {
                fields: &[("ports", ListBy("port", &PLAIN))],
            }),
        ),
        ("status", Map(&CONDITIONS)),
    ],
};

static SERVICE_ACCOUNT: Shape = Shape {
    fields: &[
        ("metadata", Map(&METADATA)),
        ("secrets", ListBy("name", &PLAIN)),
    ],
};

static WITH_METADATA: Shape = Shape {
    fields: &[("metadata", Map(&METADATA))],
};

/// The shape of a kind's objects.
pub(super) fn of(kind: Kind) -> &'static Shape {
    match kind {
        Kind::Pod => &POD,
        Kind::Deployment | Kind::ReplicaSet => &WORKLOAD,
        Kind::Namespace => &NAMESPACE,
        Kind::Node => &NODE,
        Kind::ServiceAccount => &SERVICE_ACCOUNT,
        Kind::Service => &SERVICE,
        Kind::ConfigMap
        | Kind::Secret
        | Kind::Event
        | Kind::Lease
        | Kind::Endpoints
        | Kind::EndpointSlice
        | Kind::Ingress
        | Kind::IngressClass
        | Kind::NetworkPolicy => &WITH_METADATA,
    }
}
