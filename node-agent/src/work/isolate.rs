//! Before the first container of a sandbox starts, the node keeps the pod to its network policies.

use std::net::IpAddr;

use super::{Stopped, Work};
use crate::events::Tone;
use crate::pod::DesiredPod;
use crate::runtime::ContainerState;

impl Work {
    /// Has the rules made for a new sandbox, so that they come while images are pulled. What fails
    /// here is done again before a container starts.
    pub(super) async fn show_address(&mut self, pod: &DesiredPod) -> Result<(), Stopped> {
        if pod.host_network() || !self.tools.isolation.selects(pod) {
            return Ok(());
        }
        let found = self.pod_ip(pod).await?;
        if let Some(IpAddr::V4(address)) = found {
            self.tools.isolation.tell(pod, address);
        }
        let newest = self.sight.sandboxes.last_mut();
        if let Some(sandbox) = newest.filter(|sandbox| sandbox.running) {
            sandbox.ip = found;
        }
        Ok(())
    }

    /// Waits until the pod is kept to its policies; not for long, and not again once something of
    /// it has run.
    pub(super) async fn isolate(&mut self, pod: &DesiredPod) -> Result<(), Stopped> {
        if pod.host_network() || self.isolated || self.has_begun() {
            return Ok(());
        }
        let late = match self.tools.isolation.known(pod).await {
            Ok(false) => None,
            Ok(true) => self.enforced(pod).await?,
            Err(why) => Some(why),
        };
        self.isolated = true;
        let Some(why) = late else { return Ok(()) };
        tracing::warn!(pod = %self.pod, why, "starts before its network policies hold");
        let message = format!("started before its network policies are in effect: {why}");
        self.tools
            .events
            .pod(&self.pod, Tone::Warning, "NetworkPolicyNotReady", message);
        Ok(())
    }

    /// Waits for the pod's rules; says why it waits no longer if they are not there.
    async fn enforced(&self, pod: &DesiredPod) -> Result<Option<String>, Stopped> {
        let Some(IpAddr::V4(address)) = self.pod_ip(pod).await? else {
            return Err(Stopped::Retry("the pod has no address yet".into()));
        };
        let isolation = &self.tools.isolation;
        isolation.tell(pod, address);
        Ok(isolation.enforced(pod, address).await.err())
    }

    /// Whether a container was started in the pod's sandbox.
    fn has_begun(&self) -> bool {
        let sandbox = self.sight.sandbox().map(|sandbox| &sandbox.id);
        let mut all = self.sight.all();
        all.any(|one| Some(&one.sandbox) == sandbox && one.state != ContainerState::Created)
    }
}
