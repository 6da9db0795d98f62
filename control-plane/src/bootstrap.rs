//! What a new cluster starts with: the system's namespaces, tokens for agents and servers, the list
//! of servers with the first one in it, and what the network begins with.

pub(crate) mod network;

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use skiff_api::{Key, Kind, Millis};
use skiff_engine::network::Settings;
use skiff_engine::{Draft, Outcome, Stamper, State, Write};

use crate::members::{List, Member};
use crate::pki::{PkiError, write_secret};
use crate::store::{ProposeError, Store};
use crate::token::{self, Token, Usage, expiry};

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// The tokens in the data directory are as secret as the CA's key beside them, so they may live
/// long.
const TOKEN_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// A token that is printed for one more server is used soon.
pub(crate) const INVITATION_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Why the cluster could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The write was refused.
    #[error("write the system's objects")]
    Propose(#[source] ProposeError),
    /// A token's file cannot be read or written.
    #[error("write the tokens for agents and servers")]
    TokenFile(#[source] PkiError),
}

/// The texts of one token of each kind.
#[derive(Clone, Serialize, Deserialize)]
pub struct Tokens {
    agent: String,
    server: String,
}

impl Tokens {
    /// Writes them into a data directory.
    ///
    /// # Errors
    /// [`PkiError::File`].
    pub fn save(&self, dir: &Path) -> Result<(), PkiError> {
        save(dir, Usage::Agent, &self.agent)?;
        save(dir, Usage::Server, &self.server)
    }
}

/// New tokens, and the writes that make them known.
pub(crate) fn new_tokens(
    ca_hash: &str,
    now: Millis,
    stamper: &mut Stamper,
) -> (Tokens, Vec<Write>) {
    let [agent, server] = [(); 2].map(|()| Token::generate(ca_hash));
    let expires = now.after(TOKEN_LIFE);
    let writes = vec![
        agent.draft(Usage::Agent, expires, stamper).create(),
        server.draft(Usage::Server, expires, stamper).create(),
    ];
    let (agent, server) = (agent.text(), server.text());
    (Tokens { agent, server }, writes)
}

/// Whether a data directory has tokens that the state knows and that last.
pub(crate) fn has_tokens(dir: &Path, state: &State, now: Millis) -> bool {
    let mut usages = [Usage::Agent, Usage::Server].into_iter();
    usages.all(|usage| is_good(dir, usage, state, now))
}

/// Creates what is missing; on the leader. Safe to repeat: a conflict means that somebody was
/// faster.
///
/// # Errors
/// [`BootstrapError`] by the step that failed.
pub async fn ensure(
    store: &Store,
    dir: &Path,
    ca_hash: &str,
    me: &Member,
    given: &Settings,
) -> Result<(), BootstrapError> {
    let now = Millis::from(jiff::Timestamp::now());
    let mut stamper = Stamper::new(now, rand::random());
    let state = store.state();
    let missing = NAMESPACES
        .iter()
        .filter(|name| state.get(&Key::cluster(Kind::Namespace, name)).is_none());
    let mut writes: Vec<Write> = missing
        .map(|name| namespace(name, &mut stamper).create())
        .collect();
    for usage in [Usage::Agent, Usage::Server] {
        if !is_good(dir, usage, &state, now) {
            let token = Token::generate(ca_hash);
            let draft = token.draft(usage, now.after(TOKEN_LIFE), &mut stamper);
            writes.push(draft.create());
            save(dir, usage, &token.text()).map_err(BootstrapError::TokenFile)?;
        }
    }
    let list = List::read(&state);
    writes.extend(network::writes(&state, given, &list.members, &mut stamper));
    if !list.members.contains_key(&me.id) {
        let mut members = list.members.clone();
        members.insert(me.id, me.clone());
        writes.extend(list.replace_by(&members, &mut stamper));
    }
    writes.extend(token::remove_expired(&state, now));
    propose(store, writes).await
}

/// Brings the service that stands for the API servers in line with the list of servers; on the
/// leader.
///
/// # Errors
/// [`BootstrapError::Propose`].
pub(crate) async fn keep_network(store: &Store, given: &Settings) -> Result<(), BootstrapError> {
    let now = Millis::from(jiff::Timestamp::now());
    let mut stamper = Stamper::new(now, rand::random());
    let state = store.state();
    let members = crate::members::of(&state);
    let writes = network::writes(&state, given, &members, &mut stamper);
    propose(store, writes).await
}

async fn propose(store: &Store, writes: Vec<Write>) -> Result<(), BootstrapError> {
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
        written = outcomes.len() - refused,
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

fn save(dir: &Path, usage: Usage, text: &str) -> Result<(), PkiError> {
    write_secret(&dir.join(usage.file()), format!("{text}\n").as_bytes())
}

/// Whether the file holds a token that the state knows and that has most of its life before it.
fn is_good(dir: &Path, usage: Usage, state: &State, now: Millis) -> bool {
    let Ok(text) = std::fs::read_to_string(dir.join(usage.file())) else {
        return false;
    };
    let Some(token) = Token::parse(&text) else {
        return false;
    };
    let long = state
        .get(&token.key())
        .and_then(expiry)
        .is_some_and(|at| at.since(now) > TOKEN_LIFE / 3);
    long && token.verify(usage, state, now).is_ok()
}
