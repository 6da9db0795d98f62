//! A process in the network of a pod, from where requests are sent as pods send them.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use skiff_tests::api::Api;
use skiff_tests::cluster::{Cluster, condition, summary, text};
use skiff_tests::given;
use skiff_tests::wait;

/// Where pods are.
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
const READY_MAX: Duration = Duration::from_secs(60);

/// A pod on a node that does nothing. Programs of this machine run in its network.
pub(crate) struct Viewpoint {
    pid: String,
}

impl Viewpoint {
    /// Makes it on the cluster's node of that number.
    pub(crate) fn on(cluster: &Cluster, number: usize) -> Self {
        let mut pod = given::pod(&format!("view-{number}"), given::FOREVER);
        pod["spec"]["nodeName"] = format!("{}-{number}", cluster.prefix).into();
        let api = cluster.api();
        let pod = api.create(PODS, &pod);
        wait_until_ready(&api, &text(&pod["metadata"]["name"]));
        let containers = cluster.containers_of(&pod);
        let container = containers.first().expect("the pod has a container");
        Self {
            pid: cluster.engine.inspect(container, "{{.State.Pid}}"),
        }
    }

    /// The command that runs a program there.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        let network = format!("--net=/proc/{}/ns/net", self.pid);
        command.args([&network, "--"]).arg(program);
        command
    }
}

/// Returns when it was seen to be, in milliseconds of the calendar.
pub(crate) fn wait_until_ready(api: &Api, name: &str) -> u64 {
    wait::closely(&format!("{name} is ready"), READY_MAX, || {
        let pod = api.get(&format!("{PODS}/{name}"));
        if condition(&pod, "Ready") == "True" {
            Ok(())
        } else {
            Err(summary(&pod))
        }
    });
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}
