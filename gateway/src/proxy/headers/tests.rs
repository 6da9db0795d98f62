//! Heads of requests on their way to an endpoint, as tables.

use super::*;

fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
    let all = all.iter().map(|(name, value)| {
        let name = HeaderName::from_static(name);
        (name, HeaderValue::from_static(value))
    });
    all.collect()
}

#[test]
fn only_grpc_is_grpc() {
    let cases = [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc; a=b", true),
        ("application/grpc-x", false),
        ("application/grpc-web", false),
        ("application/grpcx", false),
        ("text/plain", false),
    ];
    for (kind, expected) in cases {
        let headers = headers(&[("content-type", kind)]);
        assert_eq!(is_grpc(&headers), expected, "{kind}");
    }
    assert!(!is_grpc(&HeaderMap::new()));
}

#[test]
fn a_head_says_how_long_its_body_is() {
    let cases = [
        ("nothing is there and nothing was said", None, Some(0), None),
        (
            "nothing is there, as was said",
            Some("0"),
            Some(0),
            Some("0"),
        ),
        ("more was said than is there", Some("7"), Some(0), Some("0")),
        ("it was not said", None, Some(7), Some("7")),
        ("nobody knows", Some("7"), None, None),
    ];
    for (name, said, length, expected) in cases {
        let said: Vec<_> = said
            .map(|said| ("content-length", said))
            .into_iter()
            .collect();
        let mut headers = headers(&said);
        frame(&mut headers, length);
        let says = headers
            .get("content-length")
            .map(|value| value.to_str().unwrap());
        assert_eq!(says, expected, "{name}");
    }
}

#[test]
fn what_a_client_says_of_itself_is_replaced() {
    let client = "10.1.2.3".parse().unwrap();
    let via = Via::new(client, false);
    let claims = [
        ("x-forwarded-for", "9.9.9.9"),
        ("x_forwarded_for", "9.9.9.9"),
        ("x-forwarded-port", "9"),
        ("x-forwarded-prefix", "/9"),
        ("x-real-ip", "9.9.9.9"),
        ("forwarded", "for=9.9.9.9"),
        ("x-forward", "no claim"),
        ("x-real-ip-of", "no claim"),
    ];
    for host in ["a", "b", "b"] {
        let mut request = http::Request::new(());
        *request.headers_mut() = headers(&claims);
        let (mut head, ()) = request.into_parts();
        let host = HeaderValue::from_static(host);
        forward(&mut head, &via, &host, HeaderValue::from_static("id"));
        let mut all: Vec<_> = head
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        all.sort_unstable();
        let host = host.to_str().unwrap();
        let expected = [
            &*format!("forwarded: for=10.1.2.3;proto=http;host=\"{host}\""),
            &*format!("host: {host}"),
            "x-forward: no claim",
            "x-forwarded-for: 10.1.2.3",
            &*format!("x-forwarded-host: {host}"),
            "x-forwarded-proto: http",
            "x-real-ip-of: no claim",
            "x-request-id: id",
        ];
        assert_eq!(all, expected);
    }
}

#[test]
fn a_request_id_is_its_bits_in_hexadecimal() {
    for bits in [0, 1, 0xdead_beef, u128::MAX] {
        assert_eq!(new_request_id(bits), format!("{bits:032x}"));
    }
}
