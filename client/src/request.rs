//! Paths, queries and options of the Kubernetes API, as data. Sends nothing.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use skiff_api::{Key, Kind, Scope, Subresource};

use crate::error::ClientError;

/// How long the head of an answer may take; longer than the server's own limit for a write, so
/// that the server's words are heard and not ours.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(35);

/// One HTTP request, not yet bound to a server.
#[derive(Clone, Debug)]
pub struct Request {
    /// The verb.
    pub method: Method,
    /// The path, percent-encoded, without the query.
    pub path: String,
    /// The query's pairs, not encoded.
    pub query: Vec<(&'static str, String)>,
    /// The `Accept` header.
    pub accept: &'static str,
    /// The `Content-Type` header of the body, if there is one.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: Bytes,
    /// How long the head of the answer may take.
    pub timeout: Duration,
}

impl Request {
    /// A request without query and body that accepts JSON.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            accept: "application/json",
            content_type: None,
            body: Bytes::new(),
            timeout: REPLY_TIMEOUT,
        }
    }

    /// A `GET`.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Adds a pair to the query.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Adds a pair to the query if there is a value.
    #[must_use]
    pub fn query_opt(mut self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        self.query.extend(value.map(|value| (name, value.into())));
        self
    }

    /// Sets what forms of answer are welcome.
    #[must_use]
    pub fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    /// Sets a JSON body.
    ///
    /// # Errors
    /// [`ClientError::Encode`] if the value cannot be JSON.
    pub fn json(
        mut self,
        content_type: &'static str,
        body: &impl serde::Serialize,
    ) -> Result<Self, ClientError> {
        self.body = serde_json::to_vec(body)
            .map_err(ClientError::Encode)?
            .into();
        self.content_type = Some(content_type);
        Ok(self)
    }

    /// Whether the request changes nothing, so that sending it twice does no harm.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    /// Path and query, percent-encoded.
    #[must_use]
    pub fn target(&self) -> String {
        let mut target = self.path.clone();
        for (index, (name, value)) in self.query.iter().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            target.push_str(name);
            target.push('=');
            encode(value, &mut target);
        }
        target
    }
}

/// The path of a kind's objects: all of them, or those of one namespace.
#[must_use]
pub fn collection_path(kind: Kind, namespace: Option<&str>) -> String {
    let info = kind.info();
    let mut path = if info.group.is_empty() {
        format!("/api/{}", info.version)
    } else {
        format!("/apis/{}/{}", info.group, info.version)
    };
    if let (Scope::Namespaced, Some(namespace)) = (info.scope, namespace) {
        path.push_str("/namespaces/");
        encode(namespace, &mut path);
    }
    path.push('/');
    path.push_str(info.plural);
    path
}

/// The path of an object, or of a part of it.
#[must_use]
pub fn object_path(key: &Key, subresource: Option<Subresource>) -> String {
    let mut path = collection_path(key.kind, Some(&key.namespace));
    path.push('/');
    encode(&key.name, &mut path);
    if let Some(subresource) = subresource {
        path.push('/');
        path.push_str(subresource.path());
    }
    path
}

/// Percent-encodes everything but RFC 3986's unreserved characters: right in paths and queries.
fn encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.push(
                    HEX.get(usize::from(nibble))
                        .copied()
                        .map_or('0', char::from),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::ListOptions;

    #[test]
    fn paths_are_those_of_kubernetes() {
        let pod = Key::new(Kind::Pod, "shop", "front");
        let odd = Key::new(Kind::Pod, "shop", "../nodes?x");
        let node = Key::cluster(Kind::Node, "n1");
        let cases = [
            (collection_path(Kind::Pod, None), "/api/v1/pods"),
            (
                collection_path(Kind::Deployment, Some("a")),
                "/apis/apps/v1/namespaces/a/deployments",
            ),
            (
                collection_path(Kind::Node, Some("ignored")),
                "/api/v1/nodes",
            ),
            (
                object_path(&pod, None),
                "/api/v1/namespaces/shop/pods/front",
            ),
            (
                object_path(&pod, Some(Subresource::Log)),
                "/api/v1/namespaces/shop/pods/front/log",
            ),
            (
                object_path(&odd, None),
                "/api/v1/namespaces/shop/pods/..%2Fnodes%3Fx",
            ),
            (
                object_path(&node, Some(Subresource::Status)),
                "/api/v1/nodes/n1/status",
            ),
        ];
        for (path, expected) in cases {
            assert_eq!(path, expected);
        }
    }

    #[test]
    fn queries_are_encoded_once() {
        let request = ListOptions {
            limit: None,
            ..ListOptions::labels("app in (a,b)")
        }
        .select(Request::get("/api/v1/pods").query("limit", "500"));
        assert_eq!(
            request.target(),
            "/api/v1/pods?limit=500&labelSelector=app%20in%20%28a%2Cb%29"
        );
    }
}
