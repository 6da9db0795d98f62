//! Joining a cluster with a token, and renewing the certificate that came of it.
//! The token's hash proves the CA before anything secret is sent.

use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::json;
use skiff_api::{Reason, Status};
use skiff_client::{Client, ClientConfig, ClientError, Request, Server, Trust, Writes, tls};

use crate::chain::Chain;
use crate::identity::{Identity, IdentityError, KeyAndRequest, request};
use crate::token::JoinToken;

/// The first wait after no server answered; it doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(500);

/// Servers that come up after the agent are found within this.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// How long a server that lives may take to answer; another one is asked after this.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Why an agent could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Nothing was found in the data directory, and no token was given.
    #[error("this node has not joined a cluster yet: give it a join token (--token)")]
    NoToken,
    /// The token cannot be one.
    #[error(transparent)]
    BadToken(#[from] crate::token::NoToken),
    /// The server's CA is not the one that the token was made for.
    #[error(
        "the CA of {servers} is not the one that the join token was made for: wrong server, or \
         somebody in between"
    )]
    WrongCa {
        /// Who was asked.
        servers: String,
    },
    /// The token is unknown, used up or expired.
    #[error(
        "join token refused: {0}; a server keeps a good one in agent.token of its data directory"
    )]
    TokenRefused(Status),
    /// Another agent of this name is alive.
    #[error("node name {node:?} is in use: {status}; choose another name with --name")]
    NameTaken {
        /// The name asked for.
        node: String,
        /// The server's words.
        status: Status,
    },
    /// The server said no.
    #[error("join refused: {0}")]
    Refused(Status),
    /// A connection could not be set up.
    #[error("connect to the cluster")]
    Client(#[source] skiff_client::ConfigError),
    /// What the server sent as its CA or as a certificate cannot be read.
    #[error("read what the server sent")]
    Answer(#[source] skiff_client::TlsError),
    /// The exchange failed.
    #[error("ask the servers")]
    Ask(#[source] ClientError),
    /// The key or the identity's files.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

#[derive(Deserialize)]
struct Joined {
    certificate: String,
    ca: String,
}

/// Joins the cluster; waits as long as no server answers, and gives up when one says no.
///
/// # Errors
/// [`JoinError`], except for servers that cannot be reached.
pub async fn join(
    servers: &[Server],
    token: &JoinToken,
    node: &str,
    agent_id: &str,
) -> Result<Identity, JoinError> {
    let made = request(node)?;
    let mut wait = RETRY_FIRST;
    loop {
        match attempt(servers, token, node, agent_id, &made).await {
            Err(JoinError::Ask(error)) if error.status().is_none_or(|s| s.code >= 500) => {
                tracing::warn!(error = %Chain(&error), "cannot join yet; will retry");
            }
            result => return result,
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

async fn attempt(
    servers: &[Server],
    token: &JoinToken,
    node: &str,
    agent_id: &str,
    made: &KeyAndRequest,
) -> Result<Identity, JoinError> {
    let ca = fetch_ca(servers, token).await?;
    let trust = Trust::from_pem(ca.as_bytes()).map_err(JoinError::Answer)?;
    let mut config = ClientConfig::new(servers.to_vec(), trust);
    config.token = Some(skiff_client::Token::new(token.text()));
    // To join twice under one agent's id is to join once.
    config.writes = Writes::Repeatable;
    config.reply_timeout = ANSWER_MAX;
    let client = Client::new(config).map_err(JoinError::Client)?;
    let body = json!({"node": node, "agentId": agent_id, "csr": made.csr});
    let post = Request::new(Method::POST, "/skiff/v1/join")
        .json("application/json", &body)
        .map_err(JoinError::Ask)?;
    let joined: Joined = client
        .json(post)
        .await
        .map_err(|error| refusal(error, node))?;
    identity(joined, &made.key)
}

/// Fetches the CA from a server that nobody vouches for yet, and lets the token vouch for it.
async fn fetch_ca(servers: &[Server], token: &JoinToken) -> Result<String, JoinError> {
    let config = ClientConfig::new(servers.to_vec(), Trust::Anything);
    let client = Client::new(config).map_err(JoinError::Client)?;
    let pem = client
        .bytes(Request::get("/skiff/v1/ca"))
        .await
        .map_err(JoinError::Ask)?;
    let found = tls::certificates("the CA", &pem).map_err(JoinError::Answer)?;
    if !found
        .iter()
        .all(|certificate| token.vouches_for(certificate))
    {
        let names: Vec<String> = servers.iter().map(ToString::to_string).collect();
        return Err(JoinError::WrongCa {
            servers: names.join(", "),
        });
    }
    Ok(String::from_utf8_lossy(&pem).into_owned())
}

fn refusal(error: ClientError, node: &str) -> JoinError {
    match error.status() {
        Some(status) if status.is(Reason::Unauthorized) => JoinError::TokenRefused(status.clone()),
        Some(status) if status.code == 409 => JoinError::NameTaken {
            node: node.to_owned(),
            status: status.clone(),
        },
        Some(status) if status.code < 500 => JoinError::Refused(status.clone()),
        Some(_) | None => JoinError::Ask(error),
    }
}

/// Asks for a new certificate with a new key, in the name of the old one.
///
/// # Errors
/// [`JoinError`]; the old certificate remains good until it expires.
pub async fn renew(client: &Client, node: &str) -> Result<Identity, JoinError> {
    let made = request(node)?;
    let post = Request::new(Method::POST, "/skiff/v1/renew")
        .json("application/json", &json!({"csr": made.csr}))
        .map_err(JoinError::Ask)?;
    let renewed: Joined = client.json(post).await.map_err(JoinError::Ask)?;
    identity(renewed, &made.key)
}

/// Checks that what came is a certificate that goes with the key.
fn identity(joined: Joined, key: &str) -> Result<Identity, JoinError> {
    let Joined { certificate, ca } = joined;
    tls::certificates("the CA", ca.as_bytes()).map_err(JoinError::Answer)?;
    let pair = format!("{}\n{key}", certificate.trim_end());
    let found = skiff_client::Identity::from_pem(pair.as_bytes(), pair.as_bytes())
        .map_err(JoinError::Answer)?;
    tls::client_config(&Trust::Anything, Some(&found), &[]).map_err(JoinError::Answer)?;
    Ok(Identity { pair, ca })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    #[tokio::test]
    async fn a_dead_server_stops_nobody_from_joining() {
        let made = rcgen::generate_simple_self_signed(["skiff".to_owned()]).expect("a CA");
        let ca = made.cert.pem();
        let token = format!("id.secret.{}", crate::token::sha256_hex(made.cert.der()));
        let token: JoinToken = token.parse().expect("a token");
        let (dead, ended) = fake::server(|_| (200, String::new())).await;
        drop(ended);
        let (live, _task) = fake::server(move |line| {
            let status = Status::failure(Reason::Unauthorized, "the token has expired");
            match line.starts_with("GET /skiff/v1/ca ") {
                true => (200, ca.clone()),
                false => (401, serde_json::to_string(&status).expect("JSON")),
            }
        })
        .await;
        let joined = join(&[dead, live], &token, "n1", "id").await;
        assert!(
            matches!(joined, Err(JoinError::TokenRefused(_))),
            "the living server is asked for both, and its word counts"
        );
    }

    #[test]
    fn refusals_say_what_to_do() {
        let refused = |reason: Reason, message: &str| {
            let status = Status::failure(reason, message);
            refusal(ClientError::Status(Box::new(status)), "n1").to_string()
        };
        let cases = [
            (
                "an expired token",
                refused(Reason::Unauthorized, "the token has expired"),
                "join token refused: the token has expired; a server keeps a good one in agent.token of its data directory",
            ),
            (
                "a name that is taken",
                refused(Reason::Conflict, "a live agent has it"),
                "node name \"n1\" is in use: a live agent has it; choose another name with --name",
            ),
            (
                "anything else",
                refused(Reason::Forbidden, "not today"),
                "join refused: not today",
            ),
            (
                "a server in trouble is asked again",
                refused(Reason::InternalError, "no"),
                "ask the servers",
            ),
        ];
        for (name, found, expected) in cases {
            assert_eq!(found, expected, "{name}");
        }
    }
}
