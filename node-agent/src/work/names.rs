//! What a container is told of names: its `/etc/resolv.conf` and the variables of services.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use skiff_api::k8s_openapi::api::core::v1::Container;
use skiff_network::Catalog;
use skiff_network::dns::resolv_conf::ResolvConf;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Stopped, Tools, on_disk};
use crate::env;
use crate::pod::DesiredPod;
use crate::resolv_conf::of_pod;
use crate::resolver::ClusterDns;
use crate::runtime::Mount;

/// Where resolvers look.
const PATH: &str = "/etc/resolv.conf";

/// How long a start waits for the services to be listed once; then it is tried again.
const SERVICES_MAX: Duration = Duration::from_secs(5);

/// What is known of names on this node.
#[derive(Clone, Debug)]
pub struct Names {
    /// The node's resolver, once it has an address.
    pub cluster: watch::Receiver<Option<ClusterDns>>,
    /// The machine's own file.
    pub host_file: PathBuf,
}

/// What is done with a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// It is written again, for a new sandbox.
    Renew,
    /// It stays: all containers of a sandbox have the same, and may have changed it.
    Keep,
}

impl Tools {
    /// Writes the file that a pod's containers get as `/etc/resolv.conf`.
    pub(super) async fn write_resolv_conf(
        &self,
        pod: &Arc<DesiredPod>,
        existing: Existing,
    ) -> Result<(), Stopped> {
        let (volumes, pod) = (self.volumes.clone(), Arc::clone(pod));
        let host_file = self.names.host_file.clone();
        let cluster = self.names.cluster.borrow().clone();
        let made = on_disk(move || {
            if existing == Existing::Keep && volumes.resolv_conf(&pod.pod.uid).is_file() {
                return Ok(Ok(()));
            }
            let host = read(&host_file);
            match of_pod(&pod.spec(), &pod.pod.namespace, &host, cluster.as_ref()) {
                Ok(file) => volumes
                    .write_resolv_conf(&pod.pod.uid, &file.to_string())
                    .map(Ok),
                Err(none) => Ok(Err(none)),
            }
        });
        made.await?.map_err(|none| Stopped::Retry(none.to_string()))
    }

    /// The mount of that file, unless the container has something of its own there.
    pub(super) fn resolv_conf_mount(&self, pod: &DesiredPod, wire: &Container) -> Option<Mount> {
        let mut own = wire.volume_mounts.iter().flatten();
        if own.any(|mount| mount.mount_path.trim_end_matches('/') == PATH) {
            return None;
        }
        let context = wire.security_context.as_ref();
        Some(Mount {
            source: self.volumes.resolv_conf(&pod.pod.uid),
            target: PATH.to_owned(),
            read_only: context
                .and_then(|context| context.read_only_root_filesystem)
                .unwrap_or(false),
        })
    }

    /// The variables of services, once all services are known.
    pub(super) async fn service_env(
        &self,
        pod: &DesiredPod,
    ) -> Result<Vec<(String, String)>, Stopped> {
        let mut catalog = self.catalog.clone();
        let known = timeout(SERVICES_MAX, catalog.wait_for(|catalog| catalog.synced)).await;
        let Ok(Ok(catalog)) = known else {
            return Err(Stopped::Retry("the services are not known yet".into()));
        };
        let catalog: &Catalog = &catalog;
        Ok(env::services(catalog, &pod.pod.namespace, &pod.spec()))
    }
}

/// A machine without the file asks nobody.
fn read(path: &Path) -> ResolvConf {
    let text = std::fs::read_to_string(path);
    text.map(|text| ResolvConf::parse(&text))
        .unwrap_or_default()
}
