//! The steps that end containers (hook, signal, patience, kill) and that remove them. Nothing here
//! can make a container live longer than its grace.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::join_all;

use super::{Stopped, Work};
use crate::events::Tone;
use crate::handler::{Handler, Target};
use crate::plan::{Stop, Why};
use crate::runtime::ContainerId;

/// What is left after a hook has used up the grace. Kubernetes'.
const GRACE_MIN: Duration = Duration::from_secs(2);

impl Work {
    /// Ends containers, all at the same time.
    pub(super) async fn stop(&self, stops: &[Stop]) -> Result<(), Stopped> {
        let left = self.leave(stops).boxed().shared();
        let all = join_all(stops.iter().map(|stop| self.stop_one(stop, left.clone()))).await;
        all.into_iter().collect()
    }

    /// Removes a container, and the file with its last message: it may be large, and the pod's
    /// directory stays for as long as the pod does.
    pub(super) async fn remove_container(&self, id: &ContainerId) -> Result<(), Stopped> {
        let removed = self.tools.runtime.remove_container(id).await;
        removed.map_err(Stopped::Runtime)?;
        let Some(found) = self.sight.by_id(id) else {
            return Ok(());
        };
        let (name, attempt) = (&found.container.name, found.container.attempt);
        let file = self
            .tools
            .volumes
            .message_file(&self.pod.uid, name, attempt);
        match tokio::fs::remove_file(&file).await {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(pod = %self.pod, file = %file.display(), %error, "file stays");
            }
            Err(_) | Ok(()) => {}
        }
        Ok(())
    }

    /// Hooks run while the pod is still sent something, signals come only then.
    async fn stop_one(
        &self,
        stop: &Stop,
        left: impl Future<Output = Duration>,
    ) -> Result<(), Stopped> {
        self.announce(stop);
        let began = Instant::now();
        let hooks = match stop.why {
            Why::Deleted | Why::Unhealthy(_) | Why::Changed | Why::Finished => {
                !stop.grace.is_zero()
            }
            Why::Orphaned | Why::SandboxLost => false,
        };
        let mut grace = stop.grace;
        let hook = async { hooks && self.pre_stop(stop).await };
        let (hooked, waited) = tokio::join!(hook, left);
        grace = if hooked {
            grace.saturating_sub(began.elapsed()).max(GRACE_MIN)
        } else {
            grace.saturating_sub(waited)
        };
        self.tools
            .runtime
            .stop_container(&stop.id, grace)
            .await
            .map_err(Stopped::Runtime)
    }

    fn announce(&self, stop: &Stop) {
        let Some(pod) = &self.desired else {
            tracing::info!(pod = %self.pod, container = %stop.name, "stopping an orphan");
            return;
        };
        let message = match &stop.why {
            Why::Unhealthy(words) => words.to_string(),
            Why::Changed => {
                format!(
                    "Container {} definition changed, will be restarted",
                    stop.name
                )
            }
            Why::Deleted | Why::Orphaned | Why::Finished | Why::SandboxLost => {
                format!("Stopping container {}", stop.name)
            }
        };
        self.tools
            .events
            .container((pod, &stop.name), Tone::Normal, "Killing", message);
    }

    /// Runs the `preStop` hook, if there is one; says so.
    async fn pre_stop(&self, stop: &Stop) -> bool {
        let Some(pod) = &self.desired else {
            return false;
        };
        let Some(wire) = pod.container(&stop.name) else {
            return false;
        };
        let Some(hook) = wire
            .lifecycle
            .as_ref()
            .and_then(|hooks| hooks.pre_stop.as_ref())
        else {
            return false;
        };
        let ip = match pod.host_network() {
            true => self.tools.place.host_ip,
            false => self.sight.sandbox().and_then(|sandbox| sandbox.ip),
        };
        let target = Target {
            runtime: Arc::clone(&self.tools.runtime),
            id: stop.id.clone(),
            ip,
        };
        if let Err(why) = Handler::of_hook(hook, wire).run(&target, stop.grace).await {
            let message = format!("PreStopHook failed: {why}");
            let whose = (&**pod, &*stop.name);
            self.tools
                .events
                .container(whose, Tone::Warning, "FailedPreStopHook", message);
        }
        true
    }
}
