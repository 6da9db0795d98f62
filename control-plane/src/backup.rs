//! A backup of the control plane: `GET /skiff/v1/cluster/backup` streams one state, consistent and
//! up to date, while writes go on. The client pulls; nothing is made before it is asked for.
//! Reading it again, and what a file holds: `file`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State as Shared};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http::header::HeaderValue;
use skiff_api::{Reason, Status};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::{self, Identity};
use crate::http::reply::{Refused, refuse, retry_after, status, with_body};
use crate::pki::Pki;
use crate::snapshot::StateAt;
use crate::store::Store;

pub mod file;

pub use file::{Backup, BackupError, Header, Keys, Reader};

/// Where a backup is asked for.
pub const PATH: &str = "/skiff/v1/cluster/backup";
/// The query that asks for the keys, too.
pub const WITH_KEYS: &str = "keys=true";
/// Backups that are streamed at once: each holds on to the state that it began with.
const STREAMS_MAX: usize = 4;
/// Seconds after which a refused backup may be asked for again.
const RETRY_SECONDS: u32 = 5;
const MEDIA: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// What backing up needs.
struct Backups {
    store: Store,
    pki: Arc<Pki>,
    places: Arc<Semaphore>,
}

/// The route. Each request brings its [`Identity`] as an extension.
pub fn router(store: Store, pki: Arc<Pki>) -> Router {
    let places = Arc::new(Semaphore::new(STREAMS_MAX));
    let backups = Backups { store, pki, places };
    Router::new()
        .route(PATH, get(answer))
        .with_state(Arc::new(backups))
}

async fn answer(
    Shared(backups): Shared<Arc<Backups>>,
    identity: Option<Extension<Identity>>,
    RawQuery(query): RawQuery,
) -> Response {
    let who = identity.map(|Extension(who)| who);
    let begun = begin(&backups, who, query.as_deref()).await;
    begun.unwrap_or_else(|refused| status(&refused))
}

async fn begin(
    backups: &Backups,
    who: Option<Identity>,
    query: Option<&str>,
) -> Result<Response, Refused> {
    let who = who.ok_or_else(auth::unauthorized)?;
    if !who.is_admin() {
        let message = format!("User {:?} cannot back up the cluster", who.user);
        return Err(refuse(Reason::Forbidden, message));
    }
    let with_keys = wants_keys(query)?;
    let place = backups.places.clone().try_acquire_owned().map_err(|_| {
        let message = "too many backups are being taken";
        let busy = Status::failure(Reason::TooManyRequests, message);
        retry_after(busy, RETRY_SECONDS)
    })?;
    // Whatever was acknowledged before the request is in the state from here on.
    backups.store.read().await.map_err(|err| {
        let lost = Status::failure(Reason::ServiceUnavailable, err.to_string());
        retry_after(lost, RETRY_SECONDS)
    })?;
    let at = backups.store.state_at();
    let revision = at.mark.revision;
    tracing::info!(user = who.user, with_keys, revision, "a backup is taken");
    let head = file::head(&backups.header(with_keys), backups.keys(with_keys).as_ref());
    let body = Body::from_stream(stream_of(head, at, place));
    Ok(with_body(StatusCode::OK, MEDIA, body))
}

fn wants_keys(query: Option<&str>) -> Result<bool, Refused> {
    match query.unwrap_or_default() {
        "" => Ok(false),
        WITH_KEYS => Ok(true),
        other => {
            let message = format!("{other:?} is not known here; the one query is {WITH_KEYS}");
            Err(refuse(Reason::BadRequest, message))
        }
    }
}

impl Backups {
    fn header(&self, keys: bool) -> Header {
        Header {
            ca_hash: self.pki.ca_hash(),
            time: jiff::Timestamp::now().to_string(),
            keys,
        }
    }

    fn keys(&self, wanted: bool) -> Option<Keys> {
        wanted.then(|| Keys {
            ca_cert: self.pki.ca_pem().to_owned(),
            ca_key: self.pki.ca_key_pem(),
        })
    }
}

/// The file, piece by piece, each made when the one before was taken.
fn stream_of(
    head: Bytes,
    at: StateAt,
    place: OwnedSemaphorePermit,
) -> impl stream::Stream<Item = Result<Bytes, std::convert::Infallible>> + Send {
    let pieces = std::iter::once(head).chain(at.frames());
    stream::unfold((pieces, place), async |(mut pieces, place)| {
        // Making a piece takes a fraction of a millisecond; others on this thread go first.
        tokio::task::yield_now().await;
        let piece = pieces.next()?;
        Some((Ok(piece), (pieces, place)))
    })
}

#[cfg(test)]
mod tests;
