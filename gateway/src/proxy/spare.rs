//! What it takes to send a request once more. Most are answered at once, so that it must cost little
//! to keep and may cost more to use.

use http::header::{HeaderName, HeaderValue};
use http::{Method, Request, Uri, Version};

use crate::body::Payload;

/// A request without a body. Its headers are copied as text: copies of the parsed ones would each be
/// counted with the client's head.
pub(super) struct Spare {
    method: Method,
    uri: Uri,
    version: Version,
    text: Vec<u8>,
    /// How long each name is, and the value behind it.
    lengths: Vec<(usize, usize)>,
}

impl Spare {
    pub(super) fn of(request: &Request<Payload>) -> Self {
        let headers = request.headers();
        let mut text = Vec::with_capacity(1024);
        let mut lengths = Vec::with_capacity(headers.len());
        for (name, value) in headers {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            text.extend_from_slice(name);
            text.extend_from_slice(value);
            lengths.push((name.len(), value.len()));
        }
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            text,
            lengths,
        }
    }

    /// The request; `None` cannot be, as its headers were headers before.
    pub(super) fn request(self) -> Option<Request<Payload>> {
        let mut request = Request::new(Payload::none());
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        let headers = request.headers_mut();
        let mut rest = &*self.text;
        for (name, value) in self.lengths {
            let (head, tail) = rest.split_at_checked(name)?;
            let (tail, after) = tail.split_at_checked(value)?;
            let name = HeaderName::from_bytes(head).ok()?;
            headers.append(name, HeaderValue::from_bytes(tail).ok()?);
            rest = after;
        }
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_request_comes_back() {
        let request = Request::delete("/a?b=c")
            .header("host", "h")
            .header("accept", "a")
            .header("accept", "b")
            .header("x-empty", "")
            .header("x-bytes", HeaderValue::from_bytes(b"\xff\xfe").unwrap())
            .body(Payload::none())
            .unwrap();
        let again = Spare::of(&request).request().unwrap();
        assert_eq!(again.headers(), request.headers());
        assert_eq!(
            (again.method(), again.uri(), again.version()),
            (request.method(), request.uri(), request.version())
        );
    }
}
