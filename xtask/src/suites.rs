//! Which end-to-end suites there are and what each needs from the machine.

use crate::tools::Need;

/// One test binary of the `skiff-tests` package.
pub(crate) struct Suite {
    /// The binary's name, `tests/tests/NAME.rs`.
    pub(crate) name: &'static str,
    /// What it can't run without.
    pub(crate) needs: &'static [Need],
}

/// What suites need that run pods on several hosts.
const ON_HOSTS: [Need; 6] = [
    Need::Skiff,
    Need::Hosts,
    Need::Docker,
    Need::SecondEngine,
    Need::Busybox,
    Need::Curl,
];
/// The same for those that ask for names there.
const ON_HOSTS_BY_NAME: [Need; 7] = [
    Need::Skiff,
    Need::Hosts,
    Need::Docker,
    Need::SecondEngine,
    Need::Busybox,
    Need::Curl,
    Need::Dig,
];

/// Every suite; `tidy` holds the list against the folder.
pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: "tidy",
        needs: &[],
    },
    Suite {
        name: "harness",
        needs: &[
            Need::Docker,
            Need::Busybox,
            Need::Kubectl,
            Need::Mounts,
            Need::SecondEngine,
        ],
    },
    Suite {
        name: "walk",
        needs: &[
            Need::Skiff,
            Need::Docker,
            Need::Busybox,
            Need::Shop,
            Need::Network,
        ],
    },
    Suite {
        name: "kubectl",
        needs: &[Need::Skiff, Need::Docker, Need::Busybox, Need::Kubectl],
    },
    Suite {
        name: "kubectl_network",
        needs: &[
            Need::Skiff,
            Need::Docker,
            Need::Busybox,
            Need::Kubectl,
            Need::Network,
        ],
    },
    Suite {
        name: "services",
        needs: &[Need::Skiff, Need::Docker, Need::Busybox],
    },
    Suite {
        name: "gateway",
        needs: &[Need::Skiff, Need::Docker, Need::Kubectl],
    },
    Suite {
        name: "gateway_agent",
        needs: &[Need::Skiff, Need::Docker, Need::Kubectl, Need::Curl],
    },
    Suite {
        name: "dns",
        needs: &[
            Need::Skiff,
            Need::Docker,
            Need::Busybox,
            Need::Network,
            Need::Dig,
        ],
    },
    Suite {
        name: "faults_input",
        needs: &[Need::Skiff, Need::Docker],
    },
    Suite {
        name: "faults_agent",
        needs: &[
            Need::Skiff,
            Need::Docker,
            Need::Busybox,
            Need::SecondEngine,
            Need::Faketime,
        ],
    },
    Suite {
        name: "faults_server",
        needs: &[Need::Skiff, Need::Mounts],
    },
    Suite {
        name: "servers",
        needs: &[Need::Skiff, Need::Docker, Need::Busybox],
    },
    Suite {
        name: "recovery",
        needs: &[Need::Skiff, Need::Docker, Need::Busybox],
    },
    Suite {
        name: "partitions",
        needs: &[Need::Skiff, Need::Hosts],
    },
    Suite {
        name: "network_hosts",
        needs: &ON_HOSTS,
    },
    Suite {
        name: "network_services",
        needs: &ON_HOSTS_BY_NAME,
    },
    Suite {
        name: "network_shared",
        needs: &[
            Need::Skiff,
            Need::Docker,
            Need::Busybox,
            Need::Network,
            Need::Curl,
        ],
    },
    Suite {
        name: "network_policies",
        needs: &ON_HOSTS_BY_NAME,
    },
    Suite {
        name: "network_faults",
        needs: &ON_HOSTS_BY_NAME,
    },
    Suite {
        name: "rollouts",
        needs: &ON_HOSTS,
    },
    Suite {
        name: "powerloss",
        needs: &[Need::Skiff, Need::Mounts],
    },
];

/// Test binaries of other packages that need something; the other tests of a package need nothing.
pub(crate) const CRATE_SUITES: &[Suite] = &[
    // `network/tests/rules.rs`
    Suite {
        name: "rules",
        needs: &[Need::Hosts],
    },
];
