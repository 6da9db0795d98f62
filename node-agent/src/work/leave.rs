//! The end of what comes to a pod: before the containers of a deleted pod are told to stop, nobody
//! sends them anything new. Whoever is told of an endpoint too late would otherwise send to a port
//! that nobody listens at.
//!
//! All of it is bounded, and part of the pod's grace: what does not come in time was not worth
//! keeping a pod alive for.

use std::sync::Arc;
use std::time::Duration;

use skiff_api::Revision;
use skiff_network::Catalog;
use skiff_network::catalog::Leaving;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::Work;
use crate::chain::Chain;
use crate::plan::{Stop, Why};
use crate::runtime::PodRef;
use crate::servers::Servers;

/// How long it may take until the servers have taken the pod out of its services, and this node has
/// heard of it: one pass of a plan, and one change on a watch.
const SEEN_MAX: Duration = Duration::from_secs(2);

/// How long it may take until everybody has put that into effect. Who takes longer is not well, and
/// not a reason to hold up a rollout.
const APPLIED_MAX: Duration = Duration::from_secs(3);

/// How long a server may wait before it says who is missing.
const ASK: Duration = Duration::from_secs(1);

/// The wait before servers that gave no answer are asked again.
const RETRY: Duration = Duration::from_millis(200);

impl Work {
    /// Waits until nobody sends the pod anything new, if it is deleted and anybody does; how long
    /// that took.
    pub(super) async fn leave(&self, stops: &[Stop]) -> Duration {
        let deleted = stops.iter().find(|stop| stop.why == Why::Deleted);
        let (Some(pod), Some(stop)) = (&self.desired, deleted) else {
            return Duration::ZERO;
        };
        // Who sends to the node's own address does not know the pod.
        if stop.grace.is_zero() || pod.host_network() {
            return Duration::ZERO;
        }
        let catalog = self.tools.catalog.clone();
        let began = Instant::now();
        until_left(catalog, &*self.tools.servers, &self.pod, stop.grace).await;
        began.elapsed()
    }
}

async fn until_left(
    catalog: watch::Receiver<Arc<Catalog>>,
    servers: &dyn Servers,
    pod: &PodRef,
    grace: Duration,
) {
    let began = Instant::now();
    // Half of the grace at most: the rest is for the containers themselves.
    let end = began + grace / 2;
    let seen = timeout_at(end.min(began + SEEN_MAX), out_of_services(catalog, pod)).await;
    let Ok(Some(revision)) = seen else {
        return;
    };
    let end = end.min(Instant::now() + APPLIED_MAX);
    match timeout_at(end, in_effect(servers, revision)).await {
        Ok(()) => tracing::debug!(%pod, waited = ?began.elapsed(), "nobody sends there any more"),
        Err(_) => tracing::warn!(%pod, waited = ?began.elapsed(), "somebody may still send there"),
    }
}

/// The revision as of which no service sends new connections to the pod; none if none ever did.
async fn out_of_services(
    mut catalog: watch::Receiver<Arc<Catalog>>,
    pod: &PodRef,
) -> Option<Revision> {
    loop {
        let known = Arc::clone(&catalog.borrow_and_update());
        if known.synced {
            match known.leaving(&pod.namespace, &pod.uid) {
                Leaving::NoEndpoint => return None,
                Leaving::SeenAt(revision) => return Some(revision),
                Leaving::StillWanted => {}
            }
        }
        catalog.changed().await.ok()?;
    }
}

async fn in_effect(servers: &dyn Servers, revision: Revision) {
    loop {
        match servers.applied(revision, ASK).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "nobody says who sends where");
                sleep(RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use skiff_api::{Key, Kind, Reason, Status};
    use skiff_client::{ClientError, Event};

    use super::*;
    use crate::servers::{Answer, Presence};

    /// Servers that say one thing, each time after so long.
    struct Fixed(Option<bool>, Duration);

    impl Servers for Fixed {
        fn applied<'a>(&'a self, _: Revision, _: Duration) -> Answer<'a, bool> {
            Box::pin(async move {
                sleep(self.1).await;
                let status = || Status::failure(Reason::ServiceUnavailable, "away");
                self.0
                    .ok_or_else(|| ClientError::Status(Box::new(status())))
            })
        }

        fn read<'a>(&'a self, _: &'a Key) -> Answer<'a, Option<Value>> {
            Box::pin(async { Ok(None) })
        }

        fn report<'a>(&'a self, _: &'a PodRef, _: Value) -> Answer<'a, Presence> {
            Box::pin(async { Ok(Presence::Gone) })
        }

        fn confirm<'a>(&'a self, _: &'a PodRef) -> Answer<'a, ()> {
            Box::pin(async { Ok(()) })
        }

        fn create_event<'a>(&'a self, _: &'a str, _: Value) -> Answer<'a, ()> {
            Box::pin(async { Ok(()) })
        }

        fn patch_event<'a>(&'a self, _: &'a Key, _: Value) -> Answer<'a, Presence> {
            Box::pin(async { Ok(Presence::Gone) })
        }
    }

    /// A catalog in which the pod `u` is an endpoint, ready or not.
    fn catalog(endpoint: Option<bool>) -> Arc<Catalog> {
        let mut catalog = Catalog::default();
        catalog.synced = true;
        if let Some(ready) = endpoint {
            let slice = json!({"metadata": {"namespace": "d", "name": "s", "resourceVersion": "7",
                    "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4", "endpoints": [{"addresses": ["10.42.0.2"],
                    "conditions": {"ready": ready, "serving": true, "terminating": !ready},
                    "targetRef": {"kind": "Pod", "name": "p", "uid": "u"}}]});
            catalog.apply(Kind::EndpointSlice, Event::Applied(slice));
        }
        Arc::new(catalog)
    }

    #[tokio::test(start_paused = true)]
    #[expect(clippy::too_many_lines, reason = "one table")]
    async fn a_pod_is_waited_for_as_long_as_somebody_may_send_to_it() {
        let pod = PodRef {
            namespace: "d".into(),
            name: "p".into(),
            uid: "u".into(),
        };
        let at_once = Duration::ZERO;
        let unsynced = || Arc::new(Catalog::default());
        let cases = [
            // name, catalog, then after 500 ms, the servers, grace in s, waited in ms
            (
                "nobody's endpoint",
                catalog(None),
                None,
                Fixed(Some(true), at_once),
                30,
                0,
            ),
            (
                "all have seen it",
                catalog(Some(false)),
                None,
                Fixed(Some(true), at_once),
                30,
                0,
            ),
            (
                "the news come, the others take a while",
                catalog(Some(true)),
                Some(catalog(Some(false))),
                Fixed(Some(true), Duration::from_millis(300)),
                30,
                800,
            ),
            (
                "no news",
                catalog(Some(true)),
                None,
                Fixed(Some(true), at_once),
                30,
                2000,
            ),
            (
                "nothing known yet",
                unsynced(),
                None,
                Fixed(Some(true), at_once),
                30,
                2000,
            ),
            (
                "somebody does not follow",
                catalog(Some(false)),
                None,
                Fixed(Some(false), Duration::from_secs(1)),
                30,
                3000,
            ),
            (
                "no server answers",
                catalog(Some(false)),
                None,
                Fixed(None, at_once),
                30,
                3000,
            ),
            (
                "little grace",
                catalog(Some(true)),
                None,
                Fixed(Some(true), at_once),
                1,
                500,
            ),
        ];
        for (name, first, then, servers, grace, expected) in cases {
            let (tell, told) = watch::channel(first);
            let news = async {
                sleep(Duration::from_millis(500)).await;
                if let Some(then) = then {
                    tell.send_replace(then);
                }
                std::future::pending::<()>().await;
            };
            let began = Instant::now();
            tokio::select! {
                () = until_left(told, &servers, &pod, Duration::from_secs(grace)) => {}
                () = news => {}
            }
            assert_eq!(began.elapsed().as_millis(), expected, "{name}");
        }
    }
}
