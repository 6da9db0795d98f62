//! What a forwarded request carries beside itself: who the client is. Such headers count on the
//! servers' own connections only, and are dropped from whatever a client sends.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response};

use crate::auth::Identity;

/// Marks a request that was forwarded once: it is never forwarded again.
const FORWARDED: HeaderName = HeaderName::from_static("skiff-forwarded");
/// The client's name.
const USER: HeaderName = HeaderName::from_static("skiff-user");
/// One of the client's groups.
const GROUP: HeaderName = HeaderName::from_static("skiff-group");
/// Marks the answer of a server that does not lead: the request had no effect.
const NOT_LEADER: HeaderName = HeaderName::from_static("skiff-not-leader");
/// All of ours begin like this.
const OURS: &str = "skiff-";

/// About one connection, not about a request (RFC 9110, 7.6.1), and what the next connection says
/// for itself.
const HOP_BY_HOP: [HeaderName; 11] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    header::HOST,
];

/// Says that a request came from another server, which vouches for the client's identity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forwarded;

/// The headers for the leader; `None` if the client's name has characters that no header may have.
pub(crate) fn outgoing(sent: &HeaderMap, client: Option<&Identity>) -> Option<HeaderMap> {
    let mut headers = sent.clone();
    strip(&mut headers);
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(FORWARDED, HeaderValue::from_static("1"));
    if let Some(client) = client {
        headers.insert(USER, HeaderValue::from_bytes(client.user.as_bytes()).ok()?);
        for group in &client.groups {
            headers.append(GROUP, HeaderValue::from_bytes(group.as_bytes()).ok()?);
        }
    }
    Some(headers)
}

/// Whether another server says that it forwards this. Means nothing on a client's connection.
pub(crate) fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED)
}

/// Turns the headers of a forwarded request into what the listener attaches to a client's; whether
/// they could be read.
pub(crate) fn take_in<B>(request: &mut Request<B>) -> bool {
    let text = |value: &HeaderValue| String::from_utf8(value.as_bytes().to_vec()).ok();
    let headers = request.headers();
    let user = headers.get(USER).map(text);
    let groups: Option<Vec<_>> = headers.get_all(GROUP).iter().map(text).collect();
    let client = match (user, groups) {
        (None, _) => None,
        (Some(Some(user)), Some(groups)) => Some(Identity { user, groups }),
        (Some(_), _) => return false,
    };
    strip(request.headers_mut());
    let extensions = request.extensions_mut();
    extensions.insert(Forwarded);
    if let Some(client) = client {
        extensions.insert(client);
    }
    true
}

/// Marks an answer: this server does not lead and did nothing.
pub(super) fn mark_not_leader(headers: &mut HeaderMap) {
    headers.insert(NOT_LEADER, HeaderValue::from_static("1"));
}

/// Whether an answer says that the server does not lead and did nothing.
pub(super) fn is_not_leader<B>(response: &Response<B>) -> bool {
    response.headers().contains_key(NOT_LEADER)
}

/// Drops what concerns one connection only, and everything that only servers may say.
pub(super) fn strip(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let ours = headers
        .keys()
        .filter(|name| name.as_str().starts_with(OURS));
    let dropped: Vec<HeaderName> = ours.cloned().chain(listed).chain(HOP_BY_HOP).collect();
    for name in dropped {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let lines = lines.iter();
        let lines =
            lines.map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        lines.collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn the_identity_arrives_whole() {
        let client = Identity {
            user: "system:node:käse".into(),
            groups: vec!["system:nodes".into(), "b".into()],
        };
        let sent = outgoing(&headers(&[("accept", "application/json")]), Some(&client)).unwrap();
        assert!(is_forwarded(&sent));
        let mut request = Request::new(());
        *request.headers_mut() = sent;
        assert!(take_in(&mut request));
        assert_eq!(request.extensions().get::<Identity>(), Some(&client));
        assert!(request.extensions().get::<Forwarded>().is_some());
        assert_eq!(names(request.headers()), ["accept"]);
    }

    #[test]
    fn a_client_cannot_say_who_it_is() {
        let spoofed = headers(&[
            ("skiff-user", "admin"),
            ("skiff-group", "system:masters"),
            ("skiff-forwarded", "1"),
            ("skiff-member", "1"),
        ]);
        let sent = outgoing(&spoofed, None).unwrap();
        assert_eq!(names(&sent), ["skiff-forwarded"]);
        let mut request = Request::new(());
        *request.headers_mut() = sent;
        assert!(take_in(&mut request));
        assert!(request.extensions().get::<Identity>().is_none());
    }

    #[test]
    fn what_concerns_the_connection_stays_behind() {
        let sent = headers(&[
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("content-type", "application/json"),
            ("authorization", "Bearer t"),
            ("host", "there"),
            ("expect", "100-continue"),
        ]);
        let sent = outgoing(&sent, None).unwrap();
        assert_eq!(
            names(&sent),
            ["authorization", "content-type", "skiff-forwarded"]
        );
    }

    #[test]
    fn a_name_that_no_header_may_have_is_refused() {
        let client = Identity {
            user: "a\nskiff-group: system:masters".into(),
            groups: vec![],
        };
        assert_eq!(outgoing(&HeaderMap::new(), Some(&client)), None);
    }
}
