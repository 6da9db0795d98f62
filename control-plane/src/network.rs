//! What nodes need to know of the network beside the objects themselves, for nodes and
//! administrators: `/skiff/v1/network/…`.
//!
//! | path | what |
//! |---|---|
//! | `pods` | all pods' addresses and labels, and what changes of them ([`pods`]) |
//! | `applied?revision=R&timeoutMillis=T` | waits until all consumers have put the endpoints of revision R into effect ([`applied`]) |
//! | `gateways` | what gateways tell of themselves, and which ones do ([`gateways`]) |
//! | `gateway?revision=R&timeoutMillis=T` | the same for this server's own gateway; other servers ask it |

pub mod applied;
pub mod canary;
pub mod gateways;
mod pods;

use std::sync::Arc;

use axum::extract::{RawQuery, State as Shared};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use skiff_api::Reason;

use self::applied::Applied;
pub use skiff_engine::network::Range;

use crate::auth::{self, Identity};
use crate::http::reply::{Refused, refuse, status};
use crate::store::Store;
use crate::watch::WatchHub;

/// What the answers are made of.
struct Network {
    store: Store,
    hub: WatchHub,
    applied: Applied,
}

/// The routes. Each request brings its [`Identity`] as an extension.
pub fn router(store: Store, hub: WatchHub, applied: Applied) -> Router {
    let network = Network {
        store,
        hub,
        applied,
    };
    Router::new()
        .route("/skiff/v1/network/pods", get(pods))
        .route("/skiff/v1/network/applied", get(applied_by_all))
        .route(applied::GATEWAY, get(applied_by_gateway))
        .with_state(Arc::new(network))
}

type Who = Option<Extension<Identity>>;

/// Refuses all but nodes, servers and administrators.
fn check(who: Who) -> Result<(), Refused> {
    let Extension(who) = who.ok_or_else(auth::unauthorized)?;
    if who.is_admin() || who.is_server() || who.node().is_some() {
        return Ok(());
    }
    let message = format!("User {:?} cannot look at the network", who.user);
    Err(refuse(Reason::Forbidden, message))
}

async fn pods(Shared(network): Shared<Arc<Network>>, who: Who) -> Response {
    let answer = async {
        check(who)?;
        pods::answer(&network.store, &network.hub).await
    };
    answer.await.unwrap_or_else(|refused| status(&refused))
}

async fn applied_by_all(
    Shared(network): Shared<Arc<Network>>,
    who: Who,
    RawQuery(query): RawQuery,
) -> Response {
    let answer = async {
        check(who)?;
        let wanted = applied::Wanted::parse(query.as_deref())?;
        Ok::<_, Refused>(network.applied.by_all(wanted).await)
    };
    answer.await.unwrap_or_else(|refused| status(&refused))
}

async fn applied_by_gateway(
    Shared(network): Shared<Arc<Network>>,
    who: Who,
    RawQuery(query): RawQuery,
) -> Response {
    let answer = async {
        check(who)?;
        let wanted = applied::Wanted::parse(query.as_deref())?;
        Ok::<_, Refused>(network.applied.by_gateway(wanted).await)
    };
    answer.await.unwrap_or_else(|refused| status(&refused))
}
