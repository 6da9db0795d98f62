//! The gateways that the leader hears of, and what each told last. Kept in memory: a gateway tells
//! again within seconds.
//!
//! `POST /skiff/v1/network/gateways` takes a [`Report`] of an administrator (a server's gateway is
//! one) or of a node that says that it runs a gateway, and answers with how many of its canaries are
//! being judged. `GET` answers with [`Heard`]; only the leader knows it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State as Shared;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use skiff_api::gateway::{Gateway, Heard, Host, Known, PATH, Report};
use skiff_api::{Key, Kind, Reason};
use skiff_engine::State;

use super::canary::Canaries;
use crate::auth::{self, Identity};
use crate::http::reply::{self, Refused, refuse};
use crate::members;
use crate::store::Store;

/// A gateway that says nothing for so long is gone: some of its reports.
const SILENT: Duration = Duration::from_secs(10);

/// All that the leader hears of. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Gateways(Arc<Mutex<BTreeMap<(Host, String), Last>>>);

#[derive(Debug)]
struct Last {
    gateway: Gateway,
    at: Instant,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    judged: usize,
}

/// The route. Each request brings its [`Identity`] as an extension.
pub(crate) fn router(store: Store, gateways: Gateways, canaries: Canaries) -> Router {
    Router::new()
        .route(PATH, get(list).post(report))
        .with_state((store, gateways, canaries))
}

type Parts = (Store, Gateways, Canaries);

async fn report(
    Shared((store, gateways, canaries)): Shared<Parts>,
    who: Option<Extension<Identity>>,
    body: Bytes,
) -> Response {
    let take = || {
        let Extension(who) = who.ok_or_else(auth::unauthorized)?;
        let (state, now) = (store.state(), Instant::now());
        let report = read(&who, &body, &state)?;
        // A node speaks for its own gateway, whatever the report says.
        let mut gateway = report.gateway;
        let host = match who.node() {
            Some(node) => {
                node.clone_into(&mut gateway.name);
                Host::Node
            }
            None => Host::Server,
        };
        let named = (host, gateway.name.clone());
        let judged = canaries.take(&named, &report.instance, report.canaries, &state, now);
        gateways.lock().insert(named, Last { gateway, at: now });
        Ok(reply::value(StatusCode::OK, &Answer { judged }))
    };
    take().unwrap_or_else(|refused: Refused| reply::status(&refused))
}

async fn list(
    Shared((store, gateways, _)): Shared<Parts>,
    who: Option<Extension<Identity>>,
) -> Response {
    let answer = || {
        super::check(who)?;
        let gateways = gateways.known(&store.state(), Instant::now());
        Ok(reply::value(StatusCode::OK, &Heard { gateways }))
    };
    answer().unwrap_or_else(|refused: Refused| reply::status(&refused))
}

fn read(who: &Identity, body: &Bytes, state: &State) -> Result<Report, Refused> {
    let runs_gateway = |node| auth::gateway::runs_on(node, state);
    if !who.is_admin() && !who.node().is_some_and(runs_gateway) {
        let message = format!("User {:?} cannot report as a gateway", who.user);
        return Err(refuse(Reason::Forbidden, message));
    }
    serde_json::from_slice(body)
        .map_err(|err| refuse(Reason::BadRequest, format!("the body is no report: {err}")))
}

impl Gateways {
    /// Those that are heard of, by host and name.
    pub(crate) fn known(&self, state: &State, now: Instant) -> Vec<Known> {
        let mut all = self.lock();
        all.retain(|_, last| now.saturating_duration_since(last.at) < SILENT);
        let known = all.iter().map(|((host, name), last)| {
            let ago = now.saturating_duration_since(last.at).as_millis();
            Known {
                gateway: last.gateway.clone(),
                host: *host,
                address: address(*host, name, &last.gateway, state),
                heard_millis_ago: u64::try_from(ago).unwrap_or(u64::MAX),
            }
        });
        known.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Host, String), Last>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where clients reach it: where it listens, if that is one address, or else where its host is.
fn address(host: Host, name: &str, gateway: &Gateway, state: &State) -> Option<String> {
    let listens = gateway.http.ip();
    if !listens.is_unspecified() {
        return Some(listens.to_string());
    }
    match host {
        Host::Node => {
            let node = state.get(&Key::cluster(Kind::Node, name))?.to_value();
            let addresses = node.pointer("/status/addresses")?.as_array()?;
            let mut internal = addresses
                .iter()
                .filter(|one| one.get("type").is_some_and(|of| of == "InternalIP"));
            internal.next()?.get("address")?.as_str().map(str::to_owned)
        }
        Host::Server => {
            let members = members::of(state);
            let member = members.values().find(|member| member.name == name)?;
            let (host, _port) = member.address.rsplit_once(':')?;
            let plain = host.trim_start_matches('[').trim_end_matches(']');
            let nowhere = plain.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
            (!nowhere).then(|| plain.to_owned())
        }
    }
}
