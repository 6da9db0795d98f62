//! Join tokens: `ID.SECRET.CA-HASH`, kept as Secrets of type `bootstrap.kubernetes.io/token` in
//! `kube-system`, as kubeadm does, so that they are replicated, listed and revoked like any object.
//! Only the hash of the secret part is stored. A token is for agents or for servers, never for both:
//! whoever joins as a server gets the CA's key.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use skiff_api::{Key, Kind, Millis, Object, Reason, Status};
use skiff_engine::{Draft, Stamper, State, Write};

use crate::pki::sha256_hex;

/// What the names of their Secrets begin with.
const PREFIX: &str = "bootstrap-token-";
/// So long after its end a token is still known, for its user to be told that it expired.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// The type of Secrets that are tokens.
const TYPE: &str = "bootstrap.kubernetes.io/token";

/// Who may join with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Agents, as nodes.
    Agent,
    /// Servers of the control plane.
    Server,
}

impl Usage {
    /// The file in a server's data directory that holds a token for this.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Agent => "agent.token",
            Self::Server => "server.token",
        }
    }

    /// The field of the Secret that allows it.
    const fn field(self) -> &'static str {
        match self {
            Self::Agent => "usage-skiff-join-node",
            Self::Server => "usage-skiff-join-server",
        }
    }

    const fn whom(self) -> &'static str {
        match self {
            Self::Agent => "an agent",
            Self::Server => "a server",
        }
    }
}

/// A join token in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Names the Secret; no secret itself.
    pub id: String,
    secret: String,
    ca_hash: String,
}

impl Token {
    /// A new token for the CA with this hash.
    #[must_use]
    pub fn generate(ca_hash: &str) -> Self {
        let id: u32 = rand::random();
        let secret: u128 = rand::random();
        Self {
            id: format!("{:06x}", id >> 8),
            secret: format!("{secret:032x}"),
            ca_hash: ca_hash.to_owned(),
        }
    }

    /// Reads the text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('.').map(str::to_owned);
        let token = Self {
            id: parts.next()?,
            secret: parts.next()?,
            ca_hash: parts.next()?,
        };
        let plain =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
        let whole = [&token.id, &token.secret, &token.ca_hash]
            .into_iter()
            .all(|part| plain(part));
        (whole && parts.next().is_none()).then_some(token)
    }

    /// The text form.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}.{}.{}", self.id, self.secret, self.ca_hash)
    }

    /// The SHA-256 of the certificate of the cluster's CA, in hex.
    #[must_use]
    pub fn ca_hash(&self) -> &str {
        &self.ca_hash
    }

    /// Where its Secret is.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(Kind::Secret, "kube-system", &format!("{PREFIX}{}", self.id))
    }

    /// The Secret to store.
    #[must_use]
    pub fn draft(&self, usage: Usage, expires: Millis, stamper: &mut Stamper) -> Draft {
        let key = self.key();
        let data = json!({
            "token-id": STANDARD.encode(&self.id),
            "token-hash": STANDARD.encode(sha256_hex(self.secret.as_bytes())),
            "expiration": STANDARD.encode(expires.rfc3339()),
            usage.field(): STANDARD.encode("true"),
        });
        Draft::new(Kind::Secret, &key.namespace, &key.name, stamper)
            .with("type", TYPE.into())
            .with("data", data)
    }

    /// Whether the state knows this token, it is for this and has not expired.
    ///
    /// # Errors
    /// A 401 `Status` that says which.
    pub fn verify(&self, usage: Usage, state: &State, now: Millis) -> Result<(), Status> {
        let refuse = |why: String| Err(Status::failure(Reason::Unauthorized, why));
        let (file, whom) = (usage.file(), usage.whom());
        let unknown = format!(
            "the join token is not known to this cluster; take the current one from {file} in the \
             server's data directory"
        );
        let Some(secret) = state.get(&self.key()) else {
            return refuse(unknown);
        };
        // Hashes are compared, so the time that the comparison takes tells nothing of the secret.
        let hash = sha256_hex(self.secret.as_bytes());
        if field(secret, "token-hash").as_deref() != Some(hash.as_str())
            || secret
                .to_value()
                .get("type")
                .is_none_or(|found| found != TYPE)
        {
            return refuse(unknown);
        }
        if expiry(secret).is_some_and(|expires| expires <= now) {
            return refuse(format!(
                "the join token has expired; take a new one from {file} in the server's data \
                 directory"
            ));
        }
        if field(secret, usage.field()).as_deref() != Some("true") {
            return refuse(format!(
                "with this join token {whom} cannot join; take the one in {file} in the server's \
                 data directory"
            ));
        }
        Ok(())
    }
}

/// The writes that remove the tokens that expired long before `now`.
#[must_use]
pub fn remove_expired(state: &State, now: Millis) -> Vec<Write> {
    let secrets = state.list(Kind::Secret, Some("kube-system"));
    let tokens = secrets.filter(|secret| secret.key().name.starts_with(PREFIX));
    let expired =
        tokens.filter(|secret| expiry(secret).is_some_and(|expires| expires.after(KEPT) <= now));
    expired.map(Write::remove).collect()
}

/// When a token's Secret expires; `None` if never.
#[must_use]
pub fn expiry(secret: &Object) -> Option<Millis> {
    Millis::parse(&field(secret, "expiration")?)
}

fn field(secret: &Object, name: &str) -> Option<String> {
    let value = secret.to_value();
    let text = value.get("data")?.get(name)?.as_str()?;
    let bytes = STANDARD.decode(text).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_engine::Command;

    /// A state with these tokens.
    fn knowing(tokens: &[(&Token, Usage, i64)]) -> State {
        let mut stamper = Stamper::new(Millis(0), 1);
        let drafts = tokens
            .iter()
            .map(|(token, usage, expires)| token.draft(*usage, Millis(*expires), &mut stamper));
        let writes = drafts.map(Draft::create).collect();
        let mut state = State::default();
        state.apply(&Command {
            term: 1,
            at: Millis(0),
            writes,
        });
        state
    }

    #[test]
    fn only_the_right_token_in_time_is_accepted() {
        use Usage::{Agent, Server};
        let (token, other) = (Token::generate("abc"), Token::generate("abc"));
        let state = knowing(&[(&token, Agent, 10_000), (&other, Server, 10_000)]);
        let wrong = Token {
            secret: "guess".into(),
            ..token.clone()
        };
        let stranger = Token::generate("abc");
        let cases = [
            ("an agent's", &token, Agent, 9_999, None),
            ("a server's", &other, Server, 9_999, None),
            ("too late", &token, Agent, 10_000, Some("expired")),
            ("wrong secret", &wrong, Agent, 0, Some("not known")),
            ("unknown", &stranger, Agent, 0, Some("not known")),
            (
                "an agent's for a server",
                &token,
                Server,
                0,
                Some("a server cannot join; take the one in server.token"),
            ),
            (
                "a server's for an agent",
                &other,
                Agent,
                0,
                Some("an agent cannot join; take the one in agent.token"),
            ),
        ];
        for (name, token, usage, now, expected) in cases {
            let refused = token.verify(usage, &state, Millis(now)).err();
            assert_eq!(refused.is_some(), expected.is_some(), "{name}");
            let message = refused.map(|status| status.message).unwrap_or_default();
            assert!(
                message.contains(expected.unwrap_or("")),
                "{name}: {message}"
            );
        }
        let stored = state.get(&token.key()).unwrap().to_json();
        assert!(!String::from_utf8(stored).unwrap().contains(&token.secret));
    }

    #[test]
    fn expired_tokens_are_swept_and_others_stay() {
        let (old, young) = (Token::generate("abc"), Token::generate("abc"));
        let state = knowing(&[
            (&old, Usage::Server, 10_000),
            (&young, Usage::Agent, 20_000),
        ]);
        assert!(remove_expired(&state, Millis(20_000)).is_empty());
        let writes = remove_expired(&state, Millis(10_000).after(KEPT));
        let keys: Vec<_> = writes.iter().map(Write::key).collect();
        assert_eq!(keys, [&old.key()]);
    }

    #[test]
    fn the_text_form_reads_back_and_nothing_else_is_read() {
        let token = Token::generate("abc");
        assert_eq!(Token::parse(&format!("{}\n", token.text())), Some(token));
        for wrong in ["", "a.b", "a.b.c.d", "a..c", "a.b/../x.c"] {
            assert_eq!(Token::parse(wrong), None, "{wrong}");
        }
    }
}
