//! Headers that a proxy changes: what is between two neighbours ends here, and what the service
//! should know of the client is added. Pure.

use std::net::IpAddr;

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

/// What a connection's client is called in headers, made once.
#[derive(Debug)]
pub(crate) struct Via {
    pub(crate) tls: bool,
    address: HeaderValue,
    proto: HeaderValue,
    /// `for=…;proto=…`.
    forwarded: String,
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
        }
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

/// Whether this is a call of gRPC, whose streams may be as long as they like.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Makes a request's head what an endpoint should get.
pub(super) fn forward(head: &mut Parts, via: &Via, host: &HeaderValue, id: HeaderValue) {
    let wants_trailers = head
        .headers
        .get(header::TE)
        .is_some_and(|te| te.to_str().is_ok_and(|te| te.contains("trailers")));
    end_hop(&mut head.headers);
    let headers = &mut head.headers;
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    // The gateway has answered it itself.
    headers.remove(header::EXPECT);
    headers.insert(header::HOST, host.clone());
    append(headers, FORWARDED_FOR, &via.address);
    headers.insert(FORWARDED_PROTO, via.proto.clone());
    headers.insert(FORWARDED_HOST, host.clone());
    let name = String::from_utf8_lossy(host.as_bytes());
    let forwarded = format!("{};host=\"{name}\"", via.forwarded);
    if let Ok(forwarded) = HeaderValue::from_str(&forwarded) {
        append(headers, header::FORWARDED, &forwarded);
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

/// Adds to a header that is a list.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    if !headers.contains_key(&name) {
        headers.insert(name, value.clone());
        return;
    }
    let mut all: Vec<&[u8]> = headers
        .get_all(&name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    all.push(value.as_bytes());
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b", "[..])) {
        headers.insert(name, joined);
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
    for name in [
        KEEP_ALIVE,
        PROXY_CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
}

/// The client's request id, if it is one that can be passed on.
pub(super) fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let fits = !id.is_empty() && id.len() <= REQUEST_ID_MAX;
    (fits && id.as_bytes().iter().all(u8::is_ascii_graphic)).then(|| id.clone())
}

/// A request id out of any 128 bits.
pub(super) fn new_request_id(chance: u128) -> HeaderValue {
    let text = format!("{chance:032x}");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("0"))
}
