//! The table as it is used: each route with its upstreams, its counters and its limits. What
//! belongs to a route stays with it when the table changes.

use std::collections::HashMap;
use std::sync::Arc;

use skiff_network::Catalog;

use crate::balance::Tick;
use crate::limiter::Limiter;
use crate::metrics::RouteStats;
use crate::route::{Backend, IngressRef, Rate, Route, RouteId, Table};
use crate::trial::Trial;
use crate::upstream::Upstream;

/// A route with all that its requests need.
#[derive(Debug)]
pub(crate) struct LiveRoute {
    pub(crate) route: Route,
    pub(crate) stable: Option<Arc<Upstream>>,
    pub(crate) canary: Option<Arc<Upstream>>,
    pub(crate) stats: Arc<RouteStats>,
    pub(crate) limiter: Option<Arc<Limiter>>,
    /// While its canary is being judged.
    pub(crate) trial: Option<Arc<Trial>>,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Live {
    table: Table,
    routes: Vec<Arc<LiveRoute>>,
    upstreams: HashMap<Backend, Arc<Upstream>>,
    limiters: HashMap<(IngressRef, Rate), Arc<Limiter>>,
    /// By the Ingress and the canary's service.
    trials: HashMap<(IngressRef, String), Arc<Trial>>,
}

impl Live {
    /// Takes over a table; what was there before and is wanted still stays as it is.
    pub(crate) fn next(&self, table: Table, catalog: &Catalog, workers: usize, now: Tick) -> Self {
        let mut next = Self::default();
        let known: HashMap<_, _> = self
            .routes
            .iter()
            .map(|live| (live.stats.label.clone(), Arc::clone(&live.stats)))
            .collect();
        for route in &table.routes {
            let mut upstream = |backend: &Backend| {
                let all = next.upstreams.entry(backend.clone());
                let one = all.or_insert_with(|| match self.upstreams.get(backend) {
                    Some(known) => Arc::clone(known),
                    None => {
                        let new = Arc::new(Upstream::new(backend.clone()));
                        new.take_over(catalog, workers, now);
                        new
                    }
                });
                Arc::clone(one)
            };
            let stable = route.backend.as_ref().ok().map(&mut upstream);
            let canary = route
                .canary
                .as_ref()
                .map(|canary| upstream(&canary.backend));
            let limiter = route.settings.rate.map(|rate| {
                let key = (route.ingress.clone(), rate);
                let known = self.limiters.get(&key).cloned();
                let all = next.limiters.entry(key);
                Arc::clone(
                    all.or_insert_with(|| known.unwrap_or_else(|| Arc::new(Limiter::new(rate)))),
                )
            });
            let trial = self.trial(route, &mut next.trials);
            let stats = RouteStats::new(route);
            let stats = known
                .get(&stats.label)
                .cloned()
                .unwrap_or_else(|| Arc::new(stats));
            next.routes.push(Arc::new(LiveRoute {
                route: route.clone(),
                stable,
                canary,
                stats,
                limiter,
                trial,
            }));
        }
        next.table = table;
        next
    }

    /// What is counted of a route's canary: together with the other routes of its Ingress, and on from
    /// where it was.
    fn trial(
        &self,
        route: &Route,
        next: &mut HashMap<(IngressRef, String), Arc<Trial>>,
    ) -> Option<Arc<Trial>> {
        let auto = route.canary.as_ref()?.auto.as_ref()?;
        if auto.verdict().is_some() {
            return None;
        }
        let key = (route.ingress.clone(), auto.step.service.clone());
        let known = self.trials.get(&key).cloned();
        let trial = next.entry(key).or_insert_with(|| known.unwrap_or_default());
        Some(Arc::clone(trial))
    }

    /// Closes what the next one does not use any more.
    pub(crate) fn retire_but(&self, next: &Self) {
        for (backend, upstream) in &self.upstreams {
            if !next.upstreams.contains_key(backend) {
                upstream.retire();
            }
        }
    }

    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&Arc<LiveRoute>> {
        let id: RouteId = self.table.find(host, path)?;
        self.routes.get(id)
    }

    pub(crate) fn routes(&self) -> &[Arc<LiveRoute>] {
        &self.routes
    }

    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.upstreams.values()
    }
}
