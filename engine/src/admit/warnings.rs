//! What an object asks for and this version does not do. Such fields are kept, and the answer
//! carries a warning for each: never silence.

use serde_json::{Value, json};
use skiff_api::Kind;

use super::field::At;

/// Fields of a pod's spec that nothing acts on.
const IGNORED: [&str; 5] = [
    "overhead",
    "preemptionPolicy",
    "priorityClassName",
    "readinessGates",
    "topologySpreadConstraints",
];

/// Fields of a pod's spec for which a node refuses the pod.
const REFUSED: [&str; 8] = [
    "ephemeralContainers",
    "hostIPC",
    "hostPID",
    "resourceClaims",
    "resources",
    "runtimeClassName",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
];

/// Settings of a security context for which a node refuses the pod.
const REFUSED_SECURITY: [&str; 3] = ["appArmorProfile", "seLinuxOptions", "windowsOptions"];

/// Fields of a service's spec that nothing acts on.
const IGNORED_OF_SERVICES: [&str; 5] = [
    "healthCheckNodePort",
    "loadBalancerClass",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
    "trafficDistribution",
];

/// Sources of volumes that can be mounted.
const VOLUMES: [&str; 6] = [
    "configMap",
    "downwardAPI",
    "emptyDir",
    "hostPath",
    "projected",
    "secret",
];

/// Names every field that is understood but not acted on, as `Warning:` headers say it.
#[must_use]
pub fn warnings(kind: Kind, value: &Value) -> Vec<String> {
    let mut found = Warnings::default();
    let object = At::root(value);
    let spec = object.field("spec");
    match kind {
        Kind::Pod => found.pod(&spec),
        Kind::Deployment | Kind::ReplicaSet => {
            found.pod(&spec.field("template").field("spec"));
        }
        Kind::Service => found.service(&spec),
        Kind::EndpointSlice => found.slice(&object),
        Kind::IngressClass => found.ignored(&spec, &["parameters"]),
        Kind::Namespace
        | Kind::Node
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::Event
        | Kind::ServiceAccount
        | Kind::Lease
        | Kind::Endpoints
        | Kind::Ingress
        | Kind::NetworkPolicy => {}
    }
    found.0
}

/// Warnings in one answer; each is a header, and clients bound the size of all headers.
const WARNINGS_MAX: usize = 32;

#[derive(Default)]
struct Warnings(Vec<String>);

impl Warnings {
    fn pod(&mut self, spec: &At<'_, '_>) {
        self.ignored(spec, &IGNORED);
        self.ignored(&spec.field("affinity"), &["podAffinity", "podAntiAffinity"]);
        self.refused(spec, &REFUSED);
        let users = spec.field("hostUsers");
        if users.exists() && !users.is_true() {
            self.refuse(&users);
        }
        let scheduler = spec.field("schedulerName");
        if !matches!(scheduler.text(), "" | "default-scheduler") {
            self.add(
                &scheduler,
                "there is no scheduler of that name, the pod will wait",
            );
        }
        self.security(&spec.field("securityContext"));
        for list in ["initContainers", "containers"] {
            for container in spec.field(list).each() {
                self.container(&container);
            }
        }
        for volume in spec.field("volumes").each() {
            self.volume(&volume);
        }
    }

    fn container(&mut self, container: &At<'_, '_>) {
        self.ignored(container, &["resizePolicy"]);
        self.refused(container, &["volumeDevices"]);
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            self.refused(&container.field(probe), &["grpc"]);
        }
        self.refused(&container.field("lifecycle"), &["stopSignal"]);
        let resources = container.field("resources");
        self.refused(&resources, &["claims"]);
        self.unenforced(&resources.field("limits").key("ephemeral-storage"));
        self.security(&container.field("securityContext"));
        for mount in container.field("volumeMounts").each() {
            self.unless(&mount.field("mountPropagation"), "None");
            self.unless(&mount.field("recursiveReadOnly"), "Disabled");
        }
    }

    fn security(&mut self, context: &At<'_, '_>) {
        self.refused(context, &REFUSED_SECURITY);
        self.unless(
            &context.field("seccompProfile").field("type"),
            "RuntimeDefault",
        );
        self.unless(&context.field("procMount"), "Default");
        self.unless(&context.field("supplementalGroupsPolicy"), "Merge");
    }

    fn volume(&mut self, volume: &At<'_, '_>) {
        for (source, _) in volume.entries().filter(|(key, _)| *key != "name") {
            if !VOLUMES.contains(&source) {
                self.refuse(&volume.field(source));
            }
        }
        self.unenforced(&volume.field("emptyDir").field("sizeLimit"));
        for source in volume.field("projected").field("sources").each() {
            self.refused(&source, &["clusterTrustBundle", "serviceAccountToken"]);
        }
    }

    fn service(&mut self, spec: &At<'_, '_>) {
        let of = spec.field("type");
        let ports = spec.field("allocateLoadBalancerNodePorts");
        if of.text() == "LoadBalancer" && ports.exists() && !ports.is_true() {
            self.add(
                &ports,
                "there is no load balancer here, without node ports nobody outside reaches the service",
            );
        } else if of.text() == "LoadBalancer" {
            self.add(
                &of,
                "there is no load balancer here, the service is reached at the ports of the nodes",
            );
        }
        self.ignored(spec, &IGNORED_OF_SERVICES);
    }

    fn slice(&mut self, slice: &At<'_, '_>) {
        for endpoint in slice.field("endpoints").each() {
            self.ignored(&endpoint, &["deprecatedTopology", "hints"]);
        }
    }

    fn ignored(&mut self, at: &At<'_, '_>, names: &[&str]) {
        for name in names {
            if is_set(&at.field(name)) {
                self.add(
                    &at.field(name),
                    "kept, but this version of Skiff does not act on it",
                );
            }
        }
    }

    fn refused(&mut self, at: &At<'_, '_>, names: &[&str]) {
        for name in names {
            if is_set(&at.field(name)) {
                self.refuse(&at.field(name));
            }
        }
    }

    /// A limit that nobody watches: the pod runs, and may use more.
    fn unenforced(&mut self, at: &At<'_, '_>) {
        if is_set(at) {
            self.add(at, "kept, but this version of Skiff does not enforce it");
        }
    }

    /// A word of which only one can be had.
    fn unless(&mut self, at: &At<'_, '_>, standard: &str) {
        if at.exists() && at.text() != standard {
            self.refuse(at);
        }
    }

    fn refuse(&mut self, at: &At<'_, '_>) {
        self.add(
            at,
            "not supported by this version of Skiff, the pod will not start",
        );
    }

    fn add(&mut self, at: &At<'_, '_>, what: &str) {
        if self.0.len() < WARNINGS_MAX {
            self.0.push(format!("{at}: {what}"));
        }
    }
}

/// Whether a field asks for anything.
fn is_set(at: &At<'_, '_>) -> bool {
    at.value()
        .is_some_and(|value| *value != json!(false) && *value != json!([]))
}
