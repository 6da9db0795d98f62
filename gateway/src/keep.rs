//! Keeps what the gateway serves up to date: objects in, table, endpoints and certificates out.
//! Deciding is in `route`, `upstream::resolve` and `tls`; here it is put in place.

mod certificates;
mod follow;
mod notes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use skiff_api::Revision;
use skiff_api::gateway::Report;
use skiff_network::Catalog;
use tokio::sync::{mpsc, watch};

use self::certificates::Keys;
use crate::route::{self, Note};
use crate::serve::Shared;
use crate::tls::Resolver;

pub(crate) use follow::follow;
pub(crate) use notes::tell;

/// How often unused connections to endpoints are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// Notes that wait to become Events; more of them are dropped, as the next change says them again.
pub(crate) const NOTES_QUEUE: usize = 256;

/// The two texts of a TLS Secret, or why there are none.
pub type Pair = Result<(Vec<u8>, Vec<u8>), Arc<str>>;

/// The objects that a gateway is made from, beside the catalog.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// All Ingresses, whoever serves them.
    pub ingresses: Vec<Ingress>,
    /// All classes.
    pub classes: Vec<IngressClass>,
    /// The TLS Secrets that they name, by namespace and name. A name is absent until it was read.
    pub secrets: BTreeMap<(Arc<str>, Arc<str>), Pair>,
    /// Whether everything there was has been listed once.
    pub synced: bool,
}

/// Where a gateway gets what it serves, and whom it tells.
#[derive(Debug)]
pub struct Sources {
    /// Ingresses, classes, Secrets.
    pub objects: watch::Receiver<Arc<Objects>>,
    /// Services and endpoints.
    pub catalog: watch::Receiver<Arc<Catalog>>,
    /// What is wrong with Ingresses.
    pub notes: mpsc::Sender<Note>,
    /// The revision whose endpoints are in use.
    pub applied: watch::Sender<Revision>,
    /// What the servers are told of the gateway; begins with [`Config::report`](crate::Config::report).
    pub reports: watch::Sender<Arc<Report>>,
}

/// What was put in place last.
struct Keeper {
    shared: Arc<Shared>,
    resolver: Arc<Resolver>,
    workers: usize,
    objects: Arc<Objects>,
    catalog: Arc<Catalog>,
    keys: Keys,
    /// What is wrong with routes.
    notes: BTreeSet<Note>,
    told: BTreeSet<Note>,
}

/// Keeps everything up to date for as long as it is polled; `ready` is told once requests can be
/// served.
pub(crate) async fn keep(
    shared: Arc<Shared>,
    resolver: Arc<Resolver>,
    workers: usize,
    mut sources: Sources,
    ready: watch::Sender<bool>,
) {
    let mut keeper = Keeper {
        shared,
        resolver,
        workers,
        objects: Arc::default(),
        catalog: Arc::default(),
        keys: Keys::default(),
        notes: BTreeSet::new(),
        told: BTreeSet::new(),
    };
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let objects = Arc::clone(&sources.objects.borrow_and_update());
        let catalog = Arc::clone(&sources.catalog.borrow_and_update());
        if objects.synced && catalog.synced {
            keeper.take_over(objects, catalog, &sources);
            ready.send_replace(true);
        }
        let woken = tokio::select! {
            woken = sources.objects.changed() => woken,
            woken = sources.catalog.changed() => woken,
            _ = sweep.tick() => {
                keeper.sweep(&sources.notes);
                Ok(())
            }
        };
        if woken.is_err() {
            // Whoever knew more is gone; what is known goes on being served.
            std::future::pending::<()>().await;
        }
    }
}

impl Keeper {
    fn take_over(&mut self, objects: Arc<Objects>, catalog: Arc<Catalog>, sources: &Sources) {
        let now = self.shared.clock.tick();
        let live = self.shared.live();
        if !Arc::ptr_eq(&catalog, &self.catalog) {
            let changed = catalog.changed_since(&self.catalog);
            for upstream in live.upstreams() {
                if changed.contains(&upstream.backend.service) {
                    upstream.take_over(&catalog, self.workers, now);
                }
            }
        }
        if !Arc::ptr_eq(&objects, &self.objects) {
            let (table, notes) = route::build(&objects.ingresses, &objects.classes);
            let next = Arc::new(live.next(table, &catalog, self.workers, now));
            self.shared.set_live(Arc::clone(&next));
            live.retire_but(&next);
            self.notes = notes;
            self.judge(&objects, seconds(), &sources.notes);
        }
        let revision = catalog.revision;
        (self.objects, self.catalog) = (objects, catalog);
        sources.applied.send_if_modified(|applied| {
            let newer = revision > *applied;
            *applied = revision.max(*applied);
            newer
        });
    }

    /// Takes the certificates that are good at a moment.
    fn judge(&mut self, objects: &Objects, now: i64, to: &mpsc::Sender<Note>) {
        let (certificates, bad) = self.keys.choose(objects, now);
        self.resolver.set(Arc::new(certificates));
        let notes = self.notes.iter().cloned().chain(bad);
        self.tell(notes.collect(), to);
    }

    /// Tells what was not told before.
    fn tell(&mut self, notes: BTreeSet<Note>, to: &mpsc::Sender<Note>) {
        for note in notes.difference(&self.told) {
            tracing::warn!(ingress = %note.ingress, reason = note.reason, "{}", note.message);
            if to.try_send(note.clone()).is_err() {
                tracing::debug!("an event was dropped: the queue is full");
            }
        }
        self.told = notes;
    }

    fn sweep(&mut self, to: &mpsc::Sender<Note>) {
        let now = self.shared.clock.tick();
        for upstream in self.shared.live().upstreams() {
            upstream.sweep(now);
        }
        let now = seconds();
        if self.keys.is_due(now) {
            let objects = Arc::clone(&self.objects);
            self.judge(&objects, now, to);
        }
    }
}

/// By the clock on the wall, since 1970: certificates know no other.
fn seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}
