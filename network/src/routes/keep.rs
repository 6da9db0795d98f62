//! Keeps the kernel's routes as planned: looks, plans, does what differs. Woken by nodes that come,
//! go or change, and by the kernel, whose routes vanish with a link that goes down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::watch;

use super::diff::diff;
use super::plan::{Me, plan};
use super::{Kernel, KernelError};
use crate::catalog::{Catalog, Cidr, Node};

/// The harm of a lost wake-up lasts no longer than this.
const RESYNC: Duration = Duration::from_secs(30);

/// The wait after the kernel refused something.
const RETRY: Duration = Duration::from_secs(1);

/// The kernel tells of every link; while many pods start, they are taken together.
const PASS_GAP: Duration = Duration::from_millis(100);

/// What is to be told of the routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Routes are as planned.
    pub done: bool,
    /// Why they are not.
    pub error: Option<String>,
    /// Nodes whose pods can't be reached from here, and why.
    pub unreachable: BTreeMap<Arc<str>, String>,
}

/// Keeps the routes of one machine.
#[derive(Clone, Debug)]
pub struct Keeper {
    /// This node.
    pub me: Me,
    /// The range of all pods of the cluster: only routes into it are ours.
    pub cluster: Cidr,
}

impl Keeper {
    /// Runs until nobody shows a catalog any more. The routes stay: the pods do as well.
    pub async fn run(self, mut catalog: watch::Receiver<Arc<Catalog>>, told: watch::Sender<Seen>) {
        // What an empty catalog does not know must not be taken away.
        if catalog.wait_for(|catalog| catalog.synced).await.is_err() {
            return;
        }
        loop {
            let ended = self.connected(&mut catalog, &told).await;
            let Err(error) = ended else { return };
            tell(&told, Err(error));
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Keeps the routes until the kernel's connection fails or nobody shows a catalog.
    async fn connected(
        &self,
        catalog: &mut watch::Receiver<Arc<Catalog>>,
        told: &watch::Sender<Seen>,
    ) -> Result<(), KernelError> {
        // Listening comes first, so that nothing between the look and the wait is missed.
        let mut changes = Kernel::changes()?;
        let kernel = Kernel::open()?;
        loop {
            let shown = Arc::clone(&catalog.borrow_and_update());
            let passed = self.pass(&kernel, &shown).await;
            let wait = if passed.is_ok() { RESYNC } else { RETRY };
            tell(told, passed);
            tokio::time::sleep(PASS_GAP).await;
            tokio::select! {
                gone = another(catalog, &shown) => if gone.is_err() { return Ok(()) },
                Some(()) = changes.next() => {}
                () = tokio::time::sleep(wait) => {}
            }
            // One pass answers all that was told until now.
            while let Some(Some(())) = futures_util::FutureExt::now_or_never(changes.next()) {}
        }
    }

    /// Brings the kernel to what is planned, and says which nodes can't be reached.
    ///
    /// # Errors
    /// [`KernelError`] of the first change that failed twice: another agent on this machine may
    /// have been doing the same at the same time.
    pub async fn pass(
        &self,
        kernel: &Kernel,
        catalog: &Catalog,
    ) -> Result<BTreeMap<Arc<str>, String>, KernelError> {
        match self.attempt(kernel, catalog).await {
            Ok(unreachable) => Ok(unreachable),
            Err(_) => self.attempt(kernel, catalog).await,
        }
    }

    async fn attempt(
        &self,
        kernel: &Kernel,
        catalog: &Catalog,
    ) -> Result<BTreeMap<Arc<str>, String>, KernelError> {
        let device = self.me.overlay.device();
        let links = kernel.links().await?;
        let planned = plan(catalog, &self.me, &links);
        let observed = kernel.observe(self.cluster, &device).await?;
        for change in diff(&planned, &observed) {
            tracing::debug!(%change, "route");
            kernel.change(&change, &device).await?;
        }
        Ok(planned.unreachable)
    }
}

/// Waits until the nodes are others than those shown; services change far more often.
async fn another(
    catalog: &mut watch::Receiver<Arc<Catalog>>,
    shown: &Catalog,
) -> Result<(), watch::error::RecvError> {
    let nodes = |catalog: &Catalog| -> Vec<Arc<Node>> { catalog.nodes().cloned().collect() };
    let before = nodes(shown);
    catalog
        .wait_for(|catalog| nodes(catalog) != before)
        .await
        .map(drop)
}

fn tell(told: &watch::Sender<Seen>, passed: Result<BTreeMap<Arc<str>, String>, KernelError>) {
    let seen = match passed {
        Ok(unreachable) => Seen {
            done: true,
            error: None,
            unreachable,
        },
        Err(error) => Seen {
            error: Some(error.to_string()),
            ..told.borrow().clone()
        },
    };
    told.send_if_modified(|known| {
        let changed = *known != seen;
        if changed && known.error != seen.error {
            match &seen.error {
                Some(error) => {
                    tracing::warn!(error, "routes to other nodes are not right; will retry")
                }
                None => tracing::info!("routes to other nodes are right again"),
            }
        }
        for (node, why) in &seen.unreachable {
            if known.unreachable.get(node) != Some(why) {
                tracing::warn!(%node, why, "no way to that node's pods");
            }
        }
        *known = seen;
        changed
    });
}
