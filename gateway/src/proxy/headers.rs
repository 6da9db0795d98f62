//! Headers that a proxy changes: what is between two neighbours ends here, and what the service
//! should know of the client is added. Pure.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// The header that names a request through all services.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is taken over from a client.
const REQUEST_ID_MAX: usize = 128;

/// Headers that the gateway adds to a request, and some to spare: room for them is made at once.
const ADDED: usize = 8;

/// What a connection's client is called in headers, made once.
#[derive(Debug)]
pub(crate) struct Via {
    pub(crate) tls: bool,
    address: HeaderValue,
    proto: HeaderValue,
    /// `for=…;proto=…`.
    forwarded: String,
    /// The host that was asked for last, and `Forwarded` with it: a client mostly stays with one.
    last: Mutex<Option<(HeaderValue, HeaderValue)>>,
}

impl Via {
    pub(crate) fn new(client: IpAddr, tls: bool) -> Self {
        let proto = if tls { "https" } else { "http" };
        let node = match client {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("\"[{v6}]\""),
        };
        let address = HeaderValue::from_str(&client.to_string());
        Self {
            tls,
            address: address.unwrap_or(HeaderValue::from_static("unknown")),
            proto: HeaderValue::from_static(proto),
            forwarded: format!("for={node};proto={proto}"),
            last: Mutex::default(),
        }
    }

    /// What `Forwarded` says of a request to a host.
    fn forwarded(&self, host: &HeaderValue) -> Option<HeaderValue> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((same, forwarded)) = &*last
            && same == host
        {
            return Some(forwarded.clone());
        }
        let name = String::from_utf8_lossy(host.as_bytes());
        let forwarded = format!("{};host=\"{name}\"", self.forwarded);
        let forwarded = HeaderValue::from_str(&forwarded).ok()?;
        // Copied: the client's shares the memory of its whole head.
        let host = HeaderValue::from_bytes(host.as_bytes()).ok()?;
        *last = Some((host, forwarded.clone()));
        Some(forwarded)
    }
}

/// The host that a request names; `None` if that can't be one.
pub(super) fn host(head: &Parts) -> Option<HeaderValue> {
    let mut named = head.headers.get_all(header::HOST).iter();
    let host = match (head.uri.authority(), named.next()) {
        // The address counts more than the header (RFC 9112, 3.2.2).
        (Some(authority), _) => HeaderValue::from_str(authority.as_str()).ok()?,
        (None, Some(host)) => host.clone(),
        (None, None) => return None,
    };
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]%".contains(byte);
    let valid = named.next().is_none() && !host.is_empty() && host.as_bytes().iter().all(is_host);
    valid.then_some(host)
}

/// Whether this says that it is a call of gRPC: `application/grpc`, and what may follow that.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let rest = kind.and_then(|kind| kind.as_bytes().strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Makes a head say how long the body is that follows it, whatever the client's head said.
pub(super) fn frame(headers: &mut HeaderMap, length: Option<u64>) {
    match length {
        Some(0) if !headers.contains_key(header::CONTENT_LENGTH) => {}
        Some(length) => {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        None => {
            headers.remove(header::CONTENT_LENGTH);
        }
    }
}

/// Makes a request's head what an endpoint should get.
pub(super) fn forward(head: &mut Parts, via: &Via, host: &HeaderValue, id: HeaderValue) {
    let wants_trailers = head
        .headers
        .get(header::TE)
        .is_some_and(|te| te.to_str().is_ok_and(|te| te.contains("trailers")));
    end_hop(&mut head.headers);
    let headers = &mut head.headers;
    headers.reserve(ADDED);
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    // The gateway has answered it itself.
    headers.remove(header::EXPECT);
    headers.insert(header::HOST, host.clone());
    // What the client says of itself may be a lie, and is replaced rather than added to: many
    // services believe the first of a list.
    remove(headers, is_claim);
    headers.insert(FORWARDED_FOR, via.address.clone());
    headers.insert(FORWARDED_PROTO, via.proto.clone());
    headers.insert(FORWARDED_HOST, host.clone());
    if let Some(forwarded) = via.forwarded(host) {
        headers.insert(header::FORWARDED, forwarded);
    }
    headers.insert(REQUEST_ID, id);
    join_cookies(headers);
    head.uri = origin_form(&head.uri);
}

/// The path and query alone.
fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned();
    Uri::from(path.unwrap_or(PathAndQuery::from_static("/")))
}

/// HTTP/2 may send cookies apart; HTTP/1.1 may not.
fn join_cookies(headers: &mut HeaderMap) {
    let mut all = headers.get_all(header::COOKIE).iter();
    if all.next().is_none() || all.next().is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Whether a header says who asks, or where: only a proxy may. Some services take `_` for `-`.
fn is_claim(name: &HeaderName) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    let name = name.as_str().as_bytes();
    let begins = |prefix: &[u8]| {
        let mut both = name.iter().zip(prefix);
        let same = |(is, wanted): (&u8, &u8)| is == wanted || (*is, *wanted) == (b'_', b'-');
        name.len() >= prefix.len() && both.all(same)
    };
    match name.first() {
        Some(b'x') => begins(PREFIX) || (begins(b"x-real-ip") && name.len() == 9),
        Some(b'f') => name == b"forwarded",
        Some(_) | None => false,
    }
}

/// Removes headers by their names. Most heads have none of them, so that looking comes first.
fn remove(headers: &mut HeaderMap, which: impl Fn(&HeaderName) -> bool) {
    let found: Vec<HeaderName> = headers.keys().filter(|name| which(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Removes what is meant for the next neighbour only (RFC 9110, 7.6.1).
pub(super) fn end_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    const ENDS_HERE: [HeaderName; 7] = [
        KEEP_ALIVE,
        PROXY_CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    remove(headers, |name| ENDS_HERE.contains(name));
}

/// The client's request id, if it is one that can be passed on.
pub(super) fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let fits = !id.is_empty() && id.len() <= REQUEST_ID_MAX;
    (fits && id.as_bytes().iter().all(u8::is_ascii_graphic)).then(|| id.clone())
}

/// A request id out of any 128 bits.
pub(super) fn new_request_id(chance: u128) -> HeaderValue {
    let mut text = [0; 32];
    for (place, byte) in text.chunks_exact_mut(2).zip(chance.to_be_bytes()) {
        for (digit, half) in place.iter_mut().zip([byte >> 4, byte & 15]) {
            *digit = if half < 10 {
                b'0' + half
            } else {
                b'a' - 10 + half
            };
        }
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
}
