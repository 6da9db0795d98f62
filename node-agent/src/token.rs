//! The join token: what a person hands to a new node so that both sides can trust each other.

use std::fmt;
use std::str::FromStr;

use ring::digest;

/// `<id>.<secret>.<sha256 of the CA's certificate, hex>`.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    text: String,
    id: String,
    ca_hash: String,
}

/// The text is no join token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("join token: expected ID.SECRET.SHA256, as in agent.token of a server's data directory")]
pub struct NoToken;

impl JoinToken {
    /// The whole token, as it goes into the `Authorization` header.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The SHA-256 of the CA's certificate, in hex.
    #[must_use]
    pub fn ca_hash(&self) -> &str {
        &self.ca_hash
    }

    /// Whether this is the CA that the token was made for.
    #[must_use]
    pub fn vouches_for(&self, ca_der: &[u8]) -> bool {
        sha256_hex(ca_der) == self.ca_hash
    }
}

/// The SHA-256 of some bytes, in hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    let found = digest::digest(&digest::SHA256, bytes);
    found
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl FromStr for JoinToken {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Self, NoToken> {
        let text = text.trim();
        let mut parts = text.split('.');
        let (Some(id), Some(secret), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NoToken);
        };
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        if id.is_empty() || secret.is_empty() || !is_hash {
            return Err(NoToken);
        }
        Ok(Self {
            text: text.to_owned(),
            id: id.to_owned(),
            ca_hash: hash.to_ascii_lowercase(),
        })
    }
}

/// Without the secret: this ends up in logs.
impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({}…)", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read() {
        let hash = "a".repeat(64);
        let cases = [
            ("as printed", format!("abc.secret.{hash}"), true),
            ("with a line end", format!("abc.secret.{hash}\n"), true),
            ("without a hash", "abc.secret".to_owned(), false),
            ("with a short hash", "abc.secret.aa".to_owned(), false),
            ("with no secret", format!("abc..{hash}"), false),
            ("with more parts", format!("a.b.c.{hash}"), false),
            ("empty", String::new(), false),
        ];
        for (name, text, ok) in cases {
            assert_eq!(text.parse::<JoinToken>().is_ok(), ok, "{name}");
        }
    }

    #[test]
    fn a_token_vouches_for_its_ca_only() {
        let hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let token: JoinToken = format!("id.secret.{hash}").parse().expect("a token");
        assert!(token.vouches_for(b"hello"));
        assert!(!token.vouches_for(b"hullo"));
        assert!(!format!("{token:?}").contains("secret"));
    }
}
