//! EndpointSlices and Endpoints.

use super::*;

#[test]
fn ports_get_a_name_and_a_protocol() {
    let slice = stored(Kind::EndpointSlice, slice()).to_value();
    assert_eq!(
        slice["ports"],
        json!([{"port": 8080, "name": "", "protocol": "TCP"}])
    );
    let endpoints = stored(Kind::Endpoints, endpoints()).to_value();
    assert_eq!(
        endpoints["subsets"][0]["ports"],
        json!([{"port": 8080, "protocol": "TCP"}])
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn slices_have_rules() {
    refused(
        Kind::EndpointSlice,
        &slice(),
        &[
            ("/addressType", json!(""), "addressType: Required value"),
            (
                "/addressType",
                json!("MAC"),
                "addressType: Unsupported value: \"MAC\": supported values: \"FQDN\", \"IPv4\", \"IPv6\"",
            ),
            (
                "/addressType",
                json!("IPv6"),
                "endpoints[0].addresses[0]: Invalid value: \"10.42.0.7\": must be a valid IPv6 address",
            ),
            (
                "/endpoints/0/addresses",
                json!([]),
                "endpoints[0].addresses: Required value: must contain at least 1 address",
            ),
            (
                "/endpoints/0/addresses",
                json!(vec!["10.42.0.7"; 101]),
                "endpoints[0].addresses: Too many: 101: must have at most 100 items",
            ),
            (
                "/endpoints",
                json!(vec![json!({"addresses": ["10.42.0.7"]}); 1001]),
                "endpoints: Too many: 1001: must have at most 1000 items",
            ),
            (
                "/endpoints/0/addresses",
                json!(["here"]),
                "endpoints[0].addresses[0]: Invalid value: \"here\": must be a valid IPv4 address",
            ),
            (
                "/endpoints/0/addresses",
                json!(["169.254.169.254"]),
                "endpoints[0].addresses[0]: Invalid value: \"169.254.169.254\": may not be in the link-local range (169.254.0.0/16, fe80::/10)",
            ),
            (
                "/endpoints/0/addresses",
                json!(["0.0.0.0"]),
                "endpoints[0].addresses[0]: Invalid value: \"0.0.0.0\": may not be unspecified (0.0.0.0)",
            ),
            (
                "/ports",
                json!([{"port": 1}, {"port": 2}]),
                "ports[1].name: Duplicate value: \"\"",
            ),
            (
                "/ports/0/port",
                json!(0),
                "ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
            (
                "/endpoints/0/hints",
                json!({"forZones": [{"name": "a"}, {"name": "a"}]}),
                "endpoints[0].hints.forZones[1].name: Duplicate value: \"a\"",
            ),
        ],
    );
    let names = json!({"metadata": {"name": "db"}, "addressType": "FQDN", "endpoints": [{"addresses": ["db.example."]}]});
    refused(
        Kind::EndpointSlice,
        &names,
        &[(
            "/endpoints/0/addresses",
            json!(["db"]),
            "endpoints[0].addresses[0]: Invalid value: \"db\": should be a domain with at least two segments separated by dots",
        )],
    );
    assert!(created(Kind::EndpointSlice, names).is_ok());
    let old = stored(Kind::EndpointSlice, slice());
    let other = set(
        set(old.to_value(), "/addressType", json!("IPv6")),
        "/endpoints",
        json!([]),
    );
    assert_eq!(
        causes(updated(&old, other)),
        "addressType: Invalid value: \"IPv6\": field is immutable"
    );
}

#[test]
fn endpoints_have_rules() {
    refused(
        Kind::Endpoints,
        &endpoints(),
        &[
            (
                "/subsets/0/addresses",
                json!([]),
                "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
            ),
            (
                "/subsets/0/addresses/0/ip",
                json!(null),
                "subsets[0].addresses[0].ip: Invalid value: \"\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ),
            (
                "/subsets/0/addresses/0/ip",
                json!("127.0.0.1"),
                "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ),
            (
                "/subsets/0/notReadyAddresses",
                json!([{"ip": "224.0.0.1"}]),
                "subsets[0].notReadyAddresses[0].ip: Invalid value: \"224.0.0.1\": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
            ),
            (
                "/subsets/0/ports/1",
                json!({"port": 1, "name": "a"}),
                "subsets[0].ports[0].name: Required value",
            ),
            (
                "/subsets/0/ports/0/port",
                json!(null),
                "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
        ],
    );
}
