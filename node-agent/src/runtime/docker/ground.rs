//! What every pod of the node needs: its network and the pause image.
//!
//! Both are looked up once and remembered; [`Ground::forget`] makes the next sandbox look again,
//! which is how the agent recovers from an Engine that has lost them.

use std::sync::{Mutex, PoisonError};

use bollard::Docker;
use bollard::query_parameters::ImportImageOptions;
use futures_util::TryStreamExt;

use super::error::{Subject, within};
use super::names::Owner;
use super::network::{self, PREPARE_TIMEOUT, Ready};
use super::pause;
use crate::runtime::{NetworkSpec, RuntimeError, Step};

/// What is known to be there, and what was asked for.
#[derive(Debug, Default)]
pub(super) struct Ground {
    // A std mutex: held for a copy of a few strings, never across an await.
    known: Mutex<Known>,
    /// One preparation at a time, or two sandboxes would make two networks.
    preparing: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    wanted: Option<NetworkSpec>,
    network: Option<Ready>,
    has_image: bool,
}

impl Ground {
    /// Makes the network, and brings the pause image in beside it.
    pub(super) async fn prepare(
        &self,
        docker: &Docker,
        owner: &Owner,
        wanted: NetworkSpec,
    ) -> Result<Ready, RuntimeError> {
        self.know(|known| {
            *known = Known {
                wanted: Some(wanted),
                ..Known::default()
            };
        });
        self.network(docker, owner).await
    }

    /// The network that was asked for, with the pause image; made again if it was forgotten.
    pub(super) async fn network(
        &self,
        docker: &Docker,
        owner: &Owner,
    ) -> Result<Ready, RuntimeError> {
        let _one_at_a_time = self.preparing.lock().await;
        let known = self.know(|known| known.clone());
        let wanted = known.wanted.ok_or(RuntimeError::NoNetwork)?;
        if let (Some(ready), true) = (known.network, known.has_image) {
            return Ok(ready);
        }
        let image = load_pause_image(docker);
        let ((), ready) = tokio::try_join!(image, network::ensure(docker, owner, &wanted))?;
        self.know(|known| {
            known.has_image = true;
            // Another network may have been asked for meanwhile.
            if known.wanted == Some(wanted) {
                known.network = Some(ready.clone());
            }
        });
        Ok(ready)
    }

    /// Brings the pause image in: all that a pod on the machine's own network needs.
    pub(super) async fn image(&self, docker: &Docker) -> Result<(), RuntimeError> {
        let _one_at_a_time = self.preparing.lock().await;
        if self.know(|known| known.has_image) {
            return Ok(());
        }
        load_pause_image(docker).await?;
        self.know(|known| known.has_image = true);
        Ok(())
    }

    /// Makes the next sandbox look again.
    pub(super) fn forget(&self) {
        self.know(|known| {
            known.network = None;
            known.has_image = false;
        });
    }

    fn know<T>(&self, with: impl FnOnce(&mut Known) -> T) -> T {
        with(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn load_pause_image(docker: &Docker) -> Result<(), RuntimeError> {
    let step = Step::ImportPause;
    let call = async {
        if docker.inspect_image(pause::PAUSE_IMAGE).await.is_ok() {
            return Ok(None);
        }
        docker.version().await.map(Some)
    };
    let Some(version) = within(step, Subject::Engine, PREPARE_TIMEOUT, call).await? else {
        return Ok(());
    };
    let arch = version.arch.unwrap_or_default();
    let archive = pause::archive(&arch).ok_or_else(|| RuntimeError::Refused {
        step,
        message: format!("there is no pause program for the architecture {arch:?}"),
    })?;
    let archive = archive.map_err(|err| RuntimeError::Unreadable {
        step,
        source: Box::new(err),
    })?;
    let load = docker
        .import_image(
            ImportImageOptions::default(),
            bollard::body_full(archive.into()),
            None,
        )
        .try_for_each(|_progress| std::future::ready(Ok(())));
    within(step, Subject::Engine, PREPARE_TIMEOUT, load).await
}
