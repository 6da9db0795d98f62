//! What a new cluster starts with: the system's namespaces and a token for agents.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use skiff_api::{Key, Kind, Millis};
use skiff_engine::{Draft, Outcome, Stamper, State};

use crate::pki::{PkiError, write_secret};
use crate::store::{ProposeError, Store};
use crate::token::{Token, expiry};

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// The token in the data directory is as secret as the CA's key beside it, so it may live long.
const TOKEN_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why the cluster could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The write was refused.
    #[error("write the system's objects")]
    Propose(#[source] ProposeError),
    /// The token's file cannot be read or written.
    #[error("write the agents' token")]
    TokenFile(#[source] PkiError),
}

/// Creates what is missing. Safe to repeat: a conflict means that somebody was faster.
///
/// # Errors
/// [`BootstrapError`] by the step that failed.
pub async fn ensure(store: &Store, dir: &Path, ca_hash: &str) -> Result<(), BootstrapError> {
    let now = Millis::from(jiff::Timestamp::now());
    let mut stamper = Stamper::new(now, rand::random());
    let state = store.state();
    let mut drafts: Vec<Draft> = NAMESPACES
        .iter()
        .filter(|name| state.get(&Key::cluster(Kind::Namespace, name)).is_none())
        .map(|name| namespace(name, &mut stamper))
        .collect();
    let path = dir.join("agent.token");
    if !token_is_good(&path, &state, now) {
        let token = Token::generate(ca_hash);
        drafts.push(token.draft(now.after(TOKEN_LIFE), &mut stamper));
        let text = format!("{}\n", token.text());
        write_secret(&path, text.as_bytes()).map_err(BootstrapError::TokenFile)?;
    }
    let writes: Vec<_> = drafts.into_iter().filter_map(Draft::write).collect();
    if writes.is_empty() {
        return Ok(());
    }
    let outcomes = store
        .propose(writes)
        .await
        .map_err(BootstrapError::Propose)?;
    let refused = outcomes
        .iter()
        .filter(|o| matches!(o, Outcome::Conflict { .. }))
        .count();
    tracing::info!(
        created = outcomes.len() - refused,
        "the system's objects are there"
    );
    Ok(())
}

fn namespace(name: &str, stamper: &mut Stamper) -> Draft {
    Draft::new(Kind::Namespace, "", name, stamper)
        .with_meta("labels", json!({"kubernetes.io/metadata.name": name}))
        .with("spec", json!({"finalizers": ["kubernetes"]}))
        .with("status", json!({"phase": "Active"}))
}

/// Whether the file holds a token that the state knows and that has most of its life before it.
fn token_is_good(path: &Path, state: &State, now: Millis) -> bool {
    let Ok(text) = std::fs::read_to_string(path) else {
        return false;
    };
    let Some(token) = Token::parse(&text) else {
        return false;
    };
    let long = state
        .get(&token.key())
        .and_then(expiry)
        .is_some_and(|at| at.since(now) > TOKEN_LIFE / 3);
    long && token.verify(state, now).is_ok()
}
