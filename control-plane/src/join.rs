//! How agents get their certificates: `/skiff/v1/ca`, `/skiff/v1/join`, `/skiff/v1/renew`.
//!
//! An agent fetches the CA unverified, checks it against the hash in its token, and from then on
//! trusts only that CA. With the token it asks once for a certificate; later it renews over the
//! certificate that it has.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use skiff_api::{Key, Kind, Reason, Status};
use skiff_engine::State;

use crate::auth::{self, Identity};
use crate::nodes::Nodes;
use crate::pki::Pki;
use crate::store::Store;
use crate::token::{Token, Usage};

/// The annotation of a Node that tells which agent registered it.
pub const AGENT_ID: &str = "skiff.io/agent-id";

/// What joining needs.
pub struct Join {
    /// Knows the tokens.
    pub store: Store,
    /// Knows who is alive.
    pub nodes: Nodes,
    /// Signs.
    pub pki: Arc<Pki>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JoinRequest {
    node: String,
    agent_id: String,
    csr: String,
}

#[derive(Deserialize)]
struct RenewRequest {
    csr: String,
}

#[derive(Serialize)]
struct Joined {
    certificate: String,
    ca: String,
}

/// The routes.
pub fn router(join: Join) -> Router {
    Router::new()
        .route("/skiff/v1/ca", get(ca))
        .route("/skiff/v1/join", post(join_node))
        .route("/skiff/v1/renew", post(renew))
        .with_state(Arc::new(join))
}

async fn ca(Shared(join): Shared<Arc<Join>>) -> Response {
    (
        [(header::CONTENT_TYPE, "application/x-pem-file")],
        join.pki.ca_pem().to_owned(),
    )
        .into_response()
}

async fn join_node(
    Shared(join): Shared<Arc<Join>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let request: JoinRequest = read(&body)?;
    check_token(&headers, Usage::Agent, &join.store.state())?;
    check_name("node", &request.node)?;
    if join
        .nodes
        .taken_by_another(&request.node, &request.agent_id)
    {
        let why = "another live agent has this name; give this one another with --name, \
                   or stop the other";
        return Err(Status::conflict(Kind::Node, &request.node, why).into());
    }
    tracing::info!(node = request.node, "an agent joined");
    join.sign(&request.csr, &request.node)
}

async fn renew(
    Shared(join): Shared<Arc<Join>>,
    identity: Option<Extension<Identity>>,
    body: Bytes,
) -> Result<Response, Failure> {
    let identity = identity.ok_or_else(auth::unauthorized)?;
    let node = identity.node().ok_or_else(auth::unauthorized)?;
    let request: RenewRequest = read(&body)?;
    if join
        .store
        .state()
        .get(&Key::cluster(Kind::Node, node))
        .is_none()
    {
        return Err(Status::not_found(Kind::Node, node).into());
    }
    join.sign(&request.csr, node)
}

impl Join {
    fn sign(&self, csr: &str, node: &str) -> Result<Response, Failure> {
        let certificate = self.pki.sign_node(csr, node).map_err(|err| {
            Status::failure(Reason::BadRequest, format!("csr: cannot be signed: {err}"))
        })?;
        let joined = Joined {
            certificate,
            ca: self.pki.ca_pem().to_owned(),
        };
        Ok(json(StatusCode::OK, &joined))
    }
}

/// Checks that a request brings a token for this.
///
/// # Errors
/// A 401 `Status` that says what is wrong with it.
pub(crate) fn check_token(headers: &HeaderMap, usage: Usage, state: &State) -> Result<(), Status> {
    let token = bearer(headers).and_then(Token::parse).ok_or_else(|| {
        Status::failure(
            Reason::Unauthorized,
            "joining needs a token: Authorization: Bearer TOKEN",
        )
    })?;
    token.verify(usage, state, jiff::Timestamp::now().into())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")
}

/// Reads a JSON body.
///
/// # Errors
/// A 400 `Status` that says what is wrong with it.
pub(crate) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Status> {
    serde_json::from_slice(body).map_err(|err| {
        Status::failure(
            Reason::BadRequest,
            format!("the body cannot be read: {err}"),
        )
    })
}

/// The name of a node or server is a DNS subdomain: a node's becomes a certificate's name and a
/// label's value.
///
/// # Errors
/// A 400 `Status` that says which names are good.
pub(crate) fn check_name(whose: &str, name: &str) -> Result<(), Status> {
    let part_ok = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if name.len() <= 63 && name.split('.').all(part_ok) {
        return Ok(());
    }
    let message = format!(
        "{whose} name {name:?} is not valid: use at most 63 lower case letters, digits, '-' and '.'"
    );
    Err(Status::failure(Reason::BadRequest, message))
}

/// An answer of something that can be written as JSON.
pub(crate) fn json(code: StatusCode, body: &impl Serialize) -> Response {
    // Plain structs of texts always serialise.
    let body = serde_json::to_vec(body).unwrap_or_default();
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// A `Status` as the answer.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Status);

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self(status)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.0.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        json(code, &self.0)
    }
}
