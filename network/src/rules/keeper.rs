//! Keeps the kernel's table like the one that follows from the catalog and the policies: applies
//! changes as they come, several together when they come fast, and puts the table back when
//! somebody else changed it. Ending it changes nothing: the rules go on serving.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use skiff_api::Revision;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::conntrack::{self, Pending};
use super::events::{self, Stamp};
use super::{Failed, NodeView, Policies, Table, diff, nft, ports, text};
use crate::catalog::Catalog;

/// How long until a change that the kernel did not take is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// The table is put back at most this often: somebody who removes it again and again must not keep
/// the machine busy.
const RESTORE_EVERY: Duration = Duration::from_secs(1);

/// What is wrong where policies can't be kept in full.
const BYPASSED: &str = "network policies do not see packets between two pods of this node: load the \
                        kernel module br_netfilter";

/// Keeps a node's packet rules.
pub struct Keeper {
    /// Whose rules.
    pub node: NodeView,
    /// What is known of services.
    pub catalog: watch::Receiver<Arc<Catalog>>,
    /// The network policies.
    pub policies: watch::Receiver<Arc<Policies>>,
    /// Gets the catalog's revision once the kernel has the rules for it.
    pub applied: watch::Sender<Revision>,
    /// Gets the policies that the kernel has the rules of.
    pub enforced: watch::Sender<Option<Arc<Policies>>>,
    /// Gets why the rules are not as they should be, in words.
    pub state: watch::Sender<Result<(), String>>,
}

impl Keeper {
    /// Keeps the rules for as long as it is polled. Does nothing before services and policies are
    /// known: rules that an earlier agent left go on serving until then.
    pub async fn run(self) {
        let epoch = epoch();
        let (tell, others) = watch::channel(0);
        let table = text::bare_name(&self.node.table);
        let mut listening = JoinSet::new();
        listening.spawn(events::watch(table, epoch, tell));
        listening.spawn(ports::keep(self.node.bridge.clone()));
        let mut work = Work {
            keeper: self,
            held: None,
            stamp: Stamp { epoch, number: 0 },
            pending: Pending::default(),
            others,
        };
        work.run().await;
    }
}

/// Removes a node's table ([`NodeView::table`]), whether or not it is there.
///
/// # Errors
/// Why the kernel did not take that.
pub async fn remove(table: &str) -> Result<(), Failed> {
    nft::apply(&text::removal(table)).await
}

/// What the kernel took last.
struct Held {
    table: Table,
    catalog: Arc<Catalog>,
    policies: Arc<Policies>,
}

struct Work {
    keeper: Keeper,
    /// Nothing, if what the kernel has is not known.
    held: Option<Held>,
    stamp: Stamp,
    /// Ports whose clients are still led to endpoints that left.
    pending: Pending,
    /// Counts what others did to the table.
    others: watch::Receiver<u64>,
}

impl Work {
    async fn run(&mut self) {
        let mut restored = None;
        loop {
            let passed = self.pass().await;
            let retry = passed.is_err() || !self.pending.is_empty();
            if passed.as_ref().is_ok_and(|knows| !knows) {
                tracing::debug!("not everything is known yet that the packet rules follow from");
            } else {
                self.tell(passed.map(drop));
            }
            tokio::select! {
                changed = self.keeper.catalog.changed() => if changed.is_err() { return },
                Ok(()) = self.keeper.policies.changed() => {}
                Ok(()) = self.others.changed() => self.distrust(&mut restored).await,
                () = sleep(RETRY), if retry => {}
            }
        }
    }

    /// Somebody else changed the table: nothing that we know of it counts any more.
    async fn distrust(&mut self, restored: &mut Option<Instant>) {
        if self.held.take().is_none() {
            return;
        }
        tracing::warn!("somebody changed our packet rules; putting them back");
        if let Some(last) = *restored {
            sleep_until(last + RESTORE_EVERY).await;
        }
        *restored = Some(Instant::now());
        self.others.mark_unchanged();
    }

    /// Makes the kernel's table follow from what is known now; tells whether enough is known.
    async fn pass(&mut self) -> Result<bool, Failed> {
        let catalog = self.keeper.catalog.borrow_and_update().clone();
        let policies = self.keeper.policies.borrow_and_update().clone();
        if !catalog.synced || !policies.known {
            return Ok(false);
        }
        // Until it is certain that the kernel took it, it counts as unknown.
        match self.held.take() {
            Some(held) => {
                self.change(held, catalog.clone(), policies.clone()).await?;
            }
            None => self.replace(catalog.clone(), policies.clone()).await?,
        }
        self.keeper.enforced.send_replace(Some(policies));
        let revision = catalog.revision;
        self.keeper
            .applied
            .send_if_modified(|applied| std::mem::replace(applied, revision) != revision);
        Ok(true)
    }

    async fn change(
        &mut self,
        held: Held,
        catalog: Arc<Catalog>,
        policies: Arc<Policies>,
    ) -> Result<(), Failed> {
        let mut wanted = held.table.clone();
        let changed = catalog.changed_since(&held.catalog);
        for key in &changed {
            wanted.put_service(&catalog, key);
        }
        if !Arc::ptr_eq(&policies, &held.policies) {
            wanted.put_policies(&policies);
        }
        let changes = diff(&held.table, &wanted);
        if !changes.is_empty() {
            let table = Arc::clone(&self.keeper.node.table);
            self.apply(text::transaction(&table, &changes)).await?;
        }
        let ports = conntrack::left_ports(Some(&held.catalog), &catalog, changed.iter());
        self.pending.add(ports);
        self.pending.forget(&self.keeper.node).await;
        self.hold(wanted, catalog, policies);
        Ok(())
    }

    async fn replace(
        &mut self,
        catalog: Arc<Catalog>,
        policies: Arc<Policies>,
    ) -> Result<(), Failed> {
        let table = super::table(&catalog, &self.keeper.node, &policies);
        self.apply(text::whole(&table)).await?;
        let all = catalog.services().map(|service| &service.key);
        let ports = conntrack::left_ports(None, &catalog, all);
        self.pending.add(ports);
        self.pending.forget(&self.keeper.node).await;
        self.hold(table, catalog, policies);
        Ok(())
    }

    fn hold(&mut self, table: Table, catalog: Arc<Catalog>, policies: Arc<Policies>) {
        self.held = Some(Held {
            table,
            catalog,
            policies,
        });
    }

    async fn apply(&mut self, mut text: String) -> Result<(), Failed> {
        self.stamp.number += 1;
        text.push_str(&text::stamp(&self.keeper.node.table, self.stamp));
        nft::apply(&text).await
    }

    /// Whether there are policies that some packets never meet.
    fn is_bypassed(&self) -> bool {
        let node = &self.keeper.node;
        node.same_bridge_masquerade && !self.keeper.policies.borrow().is_empty()
    }

    /// Tells how it stands; in the log only when that changed.
    fn tell(&self, passed: Result<(), Failed>) {
        let now = match passed {
            Err(error) => Err(in_words(&error)),
            Ok(()) if self.is_bypassed() => Err(BYPASSED.to_owned()),
            Ok(()) => Ok(()),
        };
        self.keeper.state.send_if_modified(|state| {
            if *state == now {
                return false;
            }
            match &now {
                Ok(()) => tracing::info!("the packet rules are in place"),
                Err(error) => {
                    tracing::error!(%error, "the packet rules are not as they should be")
                }
            }
            *state = now;
            true
        });
    }
}

/// An error with what caused it.
fn in_words(error: &Failed) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// A number that no earlier keeper of this machine had, to all likelihood.
fn epoch() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = now.map(|now| now.subsec_nanos()).unwrap_or_default();
    nanos ^ std::process::id().rotate_left(16)
}
