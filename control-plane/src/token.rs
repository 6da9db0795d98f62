//! Join tokens: `ID.SECRET.CA-HASH`, kept as Secrets of type `bootstrap.kubernetes.io/token` in
//! `kube-system`, as kubeadm does, so that they are replicated, listed and revoked like any object.
//! Only the hash of the secret part is stored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use skiff_api::{Key, Kind, Millis, Object, Reason, Status};
use skiff_engine::{Draft, Stamper, State};

use crate::pki::sha256_hex;

/// The type of Secrets that are tokens.
const TYPE: &str = "bootstrap.kubernetes.io/token";

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

    /// Where its Secret is.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(
            Kind::Secret,
            "kube-system",
            &format!("bootstrap-token-{}", self.id),
        )
    }

    /// The Secret to store.
    #[must_use]
    pub fn draft(&self, expires: Millis, stamper: &mut Stamper) -> Draft {
        let key = self.key();
        let data = json!({
            "token-id": STANDARD.encode(&self.id),
            "token-hash": STANDARD.encode(sha256_hex(self.secret.as_bytes())),
            "expiration": STANDARD.encode(expires.rfc3339()),
            "usage-skiff-join-node": STANDARD.encode("true"),
        });
        Draft::new(Kind::Secret, &key.namespace, &key.name, stamper)
            .with("type", TYPE.into())
            .with("data", data)
    }

    /// Whether the state knows this token and it has not expired.
    ///
    /// # Errors
    /// A 401 `Status` that says which.
    pub fn verify(&self, state: &State, now: Millis) -> Result<(), Status> {
        let refuse = |why: &str| Err(Status::failure(Reason::Unauthorized, why));
        let unknown = "the join token is not known to this cluster; take the current one from \
                       agent.token in the server's data directory";
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
            return refuse("the join token has expired; take a new one from the server");
        }
        Ok(())
    }
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

    #[test]
    fn only_the_right_token_in_time_is_accepted() {
        let token = Token::generate("abc");
        let mut state = State::default();
        let draft = token.draft(Millis(10_000), &mut Stamper::new(Millis(0), 1));
        let writes = vec![draft.write().unwrap()];
        state.apply(&Command {
            term: 1,
            at: Millis(0),
            writes,
        });
        let wrong = Token {
            secret: "guess".into(),
            ..token.clone()
        };
        let cases = [
            ("right", &token, 9_999, None),
            ("too late", &token, 10_000, Some("expired")),
            ("wrong secret", &wrong, 0, Some("not known")),
            ("unknown", &Token::generate("abc"), 0, Some("not known")),
        ];
        for (name, token, now, expected) in cases {
            let refused = token.verify(&state, Millis(now)).err();
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
    fn the_text_form_reads_back_and_nothing_else_is_read() {
        let token = Token::generate("abc");
        assert_eq!(Token::parse(&format!("{}\n", token.text())), Some(token));
        for wrong in ["", "a.b", "a.b.c.d", "a..c", "a.b/../x.c"] {
            assert_eq!(Token::parse(wrong), None, "{wrong}");
        }
    }
}
