//! The kinds of the network: what is filled in, what is refused, what stays.

mod ingress;
mod policies;
mod services;
mod slices;

use super::*;

/// The least that a service must say.
fn service() -> Value {
    json!({"metadata": {"name": "cart"}, "spec": {"selector": {"app": "cart"}, "ports": [{"port": 80}]}})
}

/// The least that a slice must say.
fn slice() -> Value {
    json!({"metadata": {"name": "cart-x7k2q"}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.42.0.7"]}], "ports": [{"port": 8080}]})
}

fn endpoints() -> Value {
    json!({"metadata": {"name": "cart"},
        "subsets": [{"addresses": [{"ip": "10.42.0.7"}], "ports": [{"port": 8080}]}]})
}

fn ingress() -> Value {
    json!({"metadata": {"name": "shop"}, "spec": {"rules": [{"host": "shop.example", "http": {"paths": [
        {"path": "/cart", "pathType": "Prefix", "backend": {"service": {"name": "cart", "port": {"number": 80}}}}]}}]}})
}

fn policy() -> Value {
    json!({"metadata": {"name": "only-front"}, "spec": {"ingress": [{
        "from": [{"podSelector": {"matchLabels": {"app": "front"}}}], "ports": [{"port": 80}]}]}})
}

/// Each row sets one thing in a good object and names what is said to that.
fn refused(kind: Kind, good: &Value, rows: &[(&str, Value, &str)]) {
    for (path, value, expected) in rows {
        let found = causes(created(kind, set(good.clone(), path, value.clone())));
        assert_eq!(&found, expected, "{path} {value}");
    }
}

#[test]
fn defaults_of_defaults_are_the_defaults_and_an_unchanged_object_stays() {
    for (kind, good) in [
        (Kind::Service, service()),
        (
            Kind::Service,
            set(service(), "/spec/type", json!("LoadBalancer")),
        ),
        (
            Kind::Service,
            set(service(), "/spec/clusterIP", json!("None")),
        ),
        (Kind::EndpointSlice, slice()),
        (Kind::Endpoints, endpoints()),
        (Kind::Ingress, ingress()),
        (Kind::NetworkPolicy, policy()),
    ] {
        let old = stored(kind, good);
        let mut twice = old.to_value();
        rules::default(kind, &mut twice);
        assert_eq!(twice, old.to_value(), "{kind}");
        let new = updated(&old, old.to_value()).unwrap();
        assert!(new.same_content(&old), "{kind}");
    }
}

#[test]
fn a_status_is_not_written_on_the_main_path() {
    for (kind, good) in [
        (
            Kind::Service,
            set(service(), "/spec/type", json!("LoadBalancer")),
        ),
        (Kind::Ingress, ingress()),
    ] {
        let brought = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}});
        let new = stored(kind, set(good, "/status", brought.clone()));
        assert_eq!(
            new.to_value()["status"],
            json!({"loadBalancer": {}}),
            "{kind}"
        );
        let change = set(new.to_value(), "/status", brought.clone());
        let reported = update_status(&new, change, &request(&state())).unwrap();
        assert_eq!(reported.to_value()["status"], brought);
        let kept = updated(
            &reported,
            set(
                set(new.to_value(), "/metadata/labels", json!({"a": "b"})),
                "/metadata/resourceVersion",
                json!(null),
            ),
        );
        assert_eq!(kept.unwrap().to_value()["status"], brought);
        let bad = json!({"loadBalancer": {"ingress": [{"ip": "here"}, {"hostname": "192.0.2.7"}]}});
        let status = update_status(
            &new,
            set(new.to_value(), "/status", bad),
            &request(&state()),
        );
        assert_eq!(
            causes(status),
            "status.loadBalancer.ingress[0].ip: Invalid value: \"here\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)\nstatus.loadBalancer.ingress[1].hostname: Invalid value: \"192.0.2.7\": must be a DNS name, not an IP address"
        );
    }
}
