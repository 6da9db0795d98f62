use serde_json::json;

use super::settings::parse;

#[test]
fn what_is_not_said_is_the_default() {
    let cases = [
        ("nothing", json!({}), "cluster.local", 0),
        (
            "another domain",
            json!({"data": {"clusterDomain": "corp.example", "podCIDR": "10.42.0.0/16",
                "serviceCIDR": "10.43.0.0/16"}}),
            "corp.example",
            2,
        ),
        (
            "nonsense",
            json!({"data": {"clusterDomain": "", "podCIDR": "pods"}}),
            "cluster.local",
            0,
        ),
    ];
    for (case, object, domain, ranges) in cases {
        let settings = parse(&object);
        assert_eq!(settings.domain, domain, "{case}");
        assert_eq!(settings.ranges.len(), ranges, "{case}");
    }
}
