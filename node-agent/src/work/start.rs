//! The steps that start things: sandbox, image, container, hook.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use skiff_api::k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use super::names::Existing;
use super::{Stopped, Work, on_disk};
use crate::blueprint::{self, Found};
use crate::chain::Chain;
use crate::env;
use crate::events::Tone;
use crate::fields::Place;
use crate::handler::{Handler, Target};
use crate::images::{PullPolicy, credentials, policy};
use crate::memory::{FailureKind, WHOLE_POD};
use crate::pod::DesiredPod;
use crate::probe::Hooked;
use crate::refs::{Ref, RefKind};
use crate::runtime::{ContainerId, ImageInfo, RuntimeError, SandboxId};
use crate::support::unsupported;

/// How long a `postStart` hook may take. Kubernetes sets no bound; without one, a hook that hangs
/// would hold its pod for ever.
const HOOK_MAX: Duration = Duration::from_secs(120);

/// How long a pod waits for the pod network before it says so: with a new node it takes a moment.
const NETWORK_WAIT: Duration = Duration::from_secs(3);

impl Work {
    fn wanted(&self) -> Result<Arc<DesiredPod>, Stopped> {
        self.desired
            .clone()
            .ok_or_else(|| Stopped::Retry("the pod is gone".into()))
    }

    pub(super) async fn start_sandbox(&mut self, attempt: u32) -> Result<(), Stopped> {
        let pod = self.wanted()?;
        let refused = unsupported(&pod.spec());
        if !refused.is_empty() {
            let message = format!("not supported by this node: {}", refused.join(", "));
            return Err(Stopped::Failed(FailureKind::Unsupported, message));
        }
        self.tools.make_volumes(&pod).await?;
        let spec = blueprint::sandbox(&pod, attempt);
        if !spec.host_network {
            self.network().await?;
        }
        // After that: the file names the node's resolver, which is on the network.
        self.tools.write_resolv_conf(&pod, Existing::Renew).await?;
        let permit = self.tools.starts.acquire().await;
        let made = self.tools.runtime.run_sandbox(&spec).await;
        drop(permit);
        let id = made.map_err(|error| sort_out(error, FailureKind::Sandbox))?;
        self.sight.sandboxes.push(crate::runtime::ObservedSandbox {
            id,
            pod: self.pod.clone(),
            attempt,
            ip: None,
            running: true,
            host_network: spec.host_network,
            created_at: (self.tools.clock)(),
        });
        self.tools.failures().clear(&self.pod.uid, WHOLE_POD);
        self.show_address(&pod).await
    }

    /// Waits for the pod network; where it takes long, the pod tells why it waits.
    async fn network(&self) -> Result<(), Stopped> {
        let mut network = self.tools.network.clone();
        let ready = network.wait_for(|state| state.blocked().is_none());
        if let Ok(Ok(_)) = tokio::time::timeout(NETWORK_WAIT, ready).await {
            return Ok(());
        }
        let why = self.tools.network.borrow().blocked().unwrap_or_default();
        let message = format!("network is not ready: {why}");
        Err(Stopped::Failed(FailureKind::Network, message))
    }

    pub(super) async fn start_container(
        &mut self,
        name: &Arc<str>,
        attempt: u32,
    ) -> Result<(), Stopped> {
        let pod = self.wanted()?;
        let wire = pod
            .container(name)
            .ok_or_else(|| Stopped::Retry("no such container".into()))?;
        let sandbox = self.sight.sandbox().map(|sandbox| sandbox.id.clone());
        let sandbox = sandbox.ok_or_else(|| Stopped::Retry("the pod has no sandbox".into()))?;
        let image = self.ensure_image(&pod, wire).await?;
        let place = self.place(&pod, wire).await?;
        let refs = self
            .tools
            .fetch(&pod.pod.namespace, env::wanted(wire))
            .await?;
        let services = self.tools.service_env(&pod).await?;
        let env = env::build(wire, &pod, &refs, &place, services)
            .map_err(|error| Stopped::Failed(FailureKind::Config, Chain(&error).to_string()))?;
        self.tools.write_resolv_conf(&pod, Existing::Keep).await?;
        let mut mounts = {
            let (volumes, pod, wire) = (self.tools.volumes.clone(), Arc::clone(&pod), wire.clone());
            let env = env.clone();
            on_disk(move || volumes.mounts(&pod, &wire, attempt, &env)).await?
        };
        mounts.extend(self.tools.resolv_conf_mount(&pod, wire));
        let found = Found {
            sandbox: &sandbox,
            env,
            mounts,
            image: &image,
            place: &place,
        };
        self.isolate(&pod).await?;
        let (id, hooked) = self.create_and_start(&pod, wire, attempt, found).await?;
        self.tools.failures().clear(&self.pod.uid, name);
        self.post_start(&pod, wire, id).await?;
        drop(hooked);
        Ok(())
    }

    async fn create_and_start(
        &self,
        pod: &Arc<DesiredPod>,
        wire: &Container,
        attempt: u32,
        found: Found<'_>,
    ) -> Result<(ContainerId, Option<Hooked>), Stopped> {
        let spec = blueprint::container(pod, wire, attempt, found)
            .map_err(|error| Stopped::Failed(FailureKind::Config, error.to_string()))?;
        let name = wire.name.as_str();
        let events = &self.tools.events;
        let permit = self.tools.starts.acquire().await;
        let created = self.tools.runtime.create_container(&spec).await;
        let id = created.map_err(|error| sort_out(error, FailureKind::Create))?;
        events.container(
            (pod, name),
            Tone::Normal,
            "Created",
            format!("Created container: {name}"),
        );
        // Before it starts: from then on it may be seen running.
        let hooked = post_start_hook(wire).map(|_| self.tools.hooks.begin(&id));
        let started = self.tools.runtime.start_container(&id).await;
        drop(permit);
        started.map_err(|error| sort_out(error, FailureKind::Run))?;
        events.container(
            (pod, name),
            Tone::Normal,
            "Started",
            format!("Started container {name}"),
        );
        Ok((id, hooked))
    }

    /// A `postStart` hook that fails ends the container, as Kubernetes does.
    async fn post_start(
        &self,
        pod: &DesiredPod,
        wire: &Container,
        id: ContainerId,
    ) -> Result<(), Stopped> {
        let Some(hook) = post_start_hook(wire) else {
            return Ok(());
        };
        let ip = self.pod_ip(pod).await?;
        let target = Target {
            runtime: Arc::clone(&self.tools.runtime),
            id: id.clone(),
            ip,
        };
        let Err(why) = Handler::of_hook(hook, wire).run(&target, HOOK_MAX).await else {
            return Ok(());
        };
        self.tools
            .runtime
            .stop_container(&id, pod.grace)
            .await
            .map_err(Stopped::Runtime)?;
        Err(Stopped::Failed(
            FailureKind::PostStart,
            format!("PostStartHook failed: {why}"),
        ))
    }

    /// The node as the container may ask about it, with the pod's address only if it does ask: the
    /// runtime must be listed for it.
    async fn place(&self, pod: &DesiredPod, wire: &Container) -> Result<Place, Stopped> {
        let asks = wire.env.iter().flatten().any(|var| {
            let source = var
                .value_from
                .as_ref()
                .and_then(|from| from.field_ref.as_ref());
            source.is_some_and(|field| field.field_path.starts_with("status.podIP"))
        });
        let mut place = self.tools.place.clone();
        if asks {
            place.pod_ip = self.pod_ip(pod).await?;
        }
        Ok(place)
    }

    pub(super) async fn pod_ip(&self, pod: &DesiredPod) -> Result<Option<IpAddr>, Stopped> {
        if pod.host_network() {
            return Ok(self.tools.place.host_ip);
        }
        let known = self
            .sight
            .sandbox()
            .map(|sandbox| (sandbox.id.clone(), sandbox.ip));
        let (id, ip): (SandboxId, _) = match known {
            Some(known) => known,
            None => return Ok(None),
        };
        if ip.is_some() {
            return Ok(ip);
        }
        let all = self.tools.runtime.list().await.map_err(Stopped::Runtime)?;
        Ok(all
            .sandboxes
            .into_iter()
            .find(|sandbox| sandbox.id == id)
            .and_then(|found| found.ip))
    }

    async fn ensure_image(&self, pod: &DesiredPod, wire: &Container) -> Result<ImageInfo, Stopped> {
        let image = wire.image.as_deref().unwrap_or("");
        let whose = (pod, wire.name.as_str());
        let events = &self.tools.events;
        let policy = policy(wire);
        if policy != PullPolicy::Always {
            let found = self.tools.runtime.image(image).await;
            if let Some(found) = found.map_err(|error| sort_out(error, FailureKind::Image))? {
                let message = format!("Container image {image:?} already present on machine");
                events.container(whose, Tone::Normal, "Pulled", message);
                return Ok(found);
            }
        }
        if policy == PullPolicy::Never {
            let message =
                format!("Container image {image:?} is not present with pull policy of Never");
            return Err(Stopped::Failed(FailureKind::ImageNever, message));
        }
        let secrets = pod.spec().image_pull_secrets.clone().unwrap_or_default();
        let wanted = secrets
            .iter()
            .map(|secret| Ref {
                kind: RefKind::Secret,
                name: secret.name.clone(),
            })
            .collect();
        let refs = self.tools.fetch(&pod.pod.namespace, wanted).await?;
        let found = secrets
            .iter()
            .filter_map(|secret| refs.get(RefKind::Secret, &secret.name));
        let login = credentials(image, found);
        events.container(
            whose,
            Tone::Normal,
            "Pulling",
            format!("Pulling image {image:?}"),
        );
        let began = Instant::now();
        let _permit = self.tools.pulls.acquire().await;
        let pulled = self.tools.runtime.pull(image, login.as_ref()).await;
        let info = pulled.map_err(|error| sort_out(error, FailureKind::Image))?;
        let took = began.elapsed().as_secs_f64();
        let message = format!("Successfully pulled image {image:?} in {took:.3}s");
        events.container(whose, Tone::Normal, "Pulled", message);
        Ok(info)
    }
}

fn post_start_hook(wire: &Container) -> Option<&LifecycleHandler> {
    wire.lifecycle.as_ref()?.post_start.as_ref()
}

/// Tells failures that the plan must know of from those that another look will show.
fn sort_out(error: RuntimeError, kind: FailureKind) -> Stopped {
    match error {
        // An engine that is away says nothing about the pod.
        RuntimeError::Unreachable { .. }
        // Somebody was quicker, or it is our own of before: the next look adopts it.
        | RuntimeError::NameTaken { .. }
        // The pod network went away meanwhile: the next try waits for it.
        | RuntimeError::NoNetwork
        // The sandbox died meanwhile: the next look sees it.
        | RuntimeError::Gone { .. } => Stopped::Runtime(error),
        RuntimeError::ImageName { .. } => {
            let message = format!("Failed to apply default image tag: {error}");
            Stopped::Failed(FailureKind::ImageName, message)
        }
        RuntimeError::ImageMissing { .. } => {
            Stopped::Failed(FailureKind::Image, error.to_string())
        }
        RuntimeError::TimedOut { .. }
        | RuntimeError::Pull { .. }
        | RuntimeError::Refused { .. }
        | RuntimeError::Unreadable { .. } => Stopped::Failed(kind, Chain(&error).to_string()),
    }
}
