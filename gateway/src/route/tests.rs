//! Which path of which Ingress a request belongs to.

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use serde_json::{Value, json};
use skiff_api::gateway::CONTROLLER;

use super::*;

fn rule(host: &str, path: &str, kind: &str, service: &str) -> Value {
    let backend = json!({"service": {"name": service, "port": {"number": 80}}});
    json!({"host": host, "http": {"paths": [{"path": path, "pathType": kind, "backend": backend}]}})
}

fn ingress(name: &str, created: &str, spec: Value, annotations: Value) -> Ingress {
    serde_json::from_value(
        json!({"metadata": {"name": name, "namespace": "d", "uid": name,
        "creationTimestamp": created, "annotations": annotations}, "spec": spec}),
    )
    .unwrap()
}

fn of(rules: &[Value]) -> Ingress {
    ingress(
        "a",
        "2026-01-01T00:00:00Z",
        json!({ "rules": rules }),
        json!({}),
    )
}

fn served(table: &Table, host: &str, path: &str) -> String {
    let route = table.find(host, path).and_then(|id| table.routes.get(id));
    let backend = route.map(|route| route.backend.as_ref().unwrap());
    backend.map_or("-".to_owned(), |backend| backend.service.name.to_string())
}

#[test]
fn the_longest_path_wins_and_the_exact_one_before_it() {
    let rules = [
        rule("", "/", "Prefix", "root"),
        rule("", "/a", "Prefix", "a"),
        rule("", "/a/b/", "Prefix", "ab"),
        rule("", "/a/b", "Exact", "exact"),
        rule("", "/x/", "Exact", "slash"),
    ];
    let (table, notes) = build(&[of(&rules)], &[]);
    assert!(notes.is_empty(), "{notes:?}");
    let cases = [
        ("/", "root"),
        ("/a", "a"),
        ("/a/", "a"),
        ("/ab", "root"),
        ("/a/c/d/e/f/g/h", "a"),
        ("/a/b", "exact"),
        ("/a/b/", "ab"),
        ("/a/b/c", "ab"),
        ("/a/bc", "a"),
        ("/x", "root"),
        ("/x/", "slash"),
        ("/x/y", "root"),
        ("//////////////////////", "root"),
        ("/a/éé", "a"),
        ("/aéééé", "root"),
        ("/日本語", "root"),
    ];
    for (path, expected) in cases {
        assert_eq!(served(&table, "h", path), expected, "{path}");
    }
}

#[test]
fn a_hosts_own_rules_go_before_a_wildcards_and_these_before_those_of_any_host() {
    let rules = [
        rule("shop.example", "/cart", "Prefix", "own"),
        rule("*.example", "/", "Prefix", "wild"),
        rule("", "/any", "Prefix", "any"),
    ];
    let (table, _) = build(&[of(&rules)], &[]);
    let cases = [
        ("shop.example", "/cart", "own"),
        ("Shop.Example:8080", "/cart/1", "own"),
        ("shop.example.", "/cart", "own"),
        ("shop.example", "/other", "wild"),
        ("a.b.example", "/", "-"),
        ("example", "/", "-"),
        (".example", "/", "-"),
        ("other", "/any", "any"),
        ("[::1]:80", "/any", "any"),
        ("other", "/", "-"),
    ];
    for (host, path, expected) in cases {
        assert_eq!(served(&table, host, path), expected, "{host}{path}");
    }
}

#[test]
fn the_oldest_keeps_a_path_and_the_other_is_told() {
    let old = json!({"rules": [rule("", "/p", "Prefix", "old")]});
    let new = json!({"rules": [rule("", "/p/", "Prefix", "new"), rule("", "/q", "Prefix", "q")]});
    let ingresses = [
        ingress("a", "2026-01-02T00:00:00Z", new, json!({})),
        ingress("b", "2026-01-01T00:00:00Z", old, json!({})),
    ];
    let (table, notes) = build(&ingresses, &[]);
    assert_eq!(served(&table, "h", "/p"), "old");
    assert_eq!(served(&table, "h", "/q"), "q");
    let notes: Vec<_> = notes
        .iter()
        .map(|note| (&*note.ingress.name, note.reason))
        .collect();
    assert_eq!(notes, [("a", "DuplicateRoute")]);
}

#[test]
fn a_default_backend_serves_what_no_rule_names() {
    let backend = json!({"service": {"name": "rest", "port": {"number": 80}}});
    let with_rules = json!({"defaultBackend": backend, "rules": [rule("h", "/a", "Prefix", "a")]});
    let (table, _) = build(
        &[ingress("a", "2026-01-01T00:00:00Z", with_rules, json!({}))],
        &[],
    );
    assert_eq!(served(&table, "h", "/b"), "rest");
    assert_eq!(served(&table, "other", "/b"), "-");
    let alone = json!({ "defaultBackend": backend });
    let (table, _) = build(
        &[ingress("a", "2026-01-01T00:00:00Z", alone, json!({}))],
        &[],
    );
    assert_eq!(served(&table, "other", "/b"), "rest");
}

#[test]
fn classes_decide_as_in_kubernetes() {
    let class = |name: &str, controller: &str, default: &str| -> IngressClass {
        serde_json::from_value(json!({"metadata": {"name": name, "annotations":
            {"ingressclass.kubernetes.io/is-default-class": default}},
            "spec": {"controller": controller}}))
        .unwrap()
    };
    let skiff = |default| class("skiff", CONTROLLER, default);
    let nginx = |default| class("nginx", "k8s.io/ingress-nginx", default);
    let cases = [
        ("no class anywhere", None, vec![], true),
        (
            "ours is the default",
            None,
            vec![nginx("false"), skiff("true")],
            true,
        ),
        (
            "another is the default",
            None,
            vec![nginx("true"), skiff("false")],
            false,
        ),
        ("none is the default", None, vec![skiff("false")], false),
        (
            "named",
            Some("skiff"),
            vec![nginx("true"), skiff("false")],
            true,
        ),
        ("named, and never made", Some("skiff"), vec![], true),
        (
            "another's",
            Some("nginx"),
            vec![nginx("false"), skiff("true")],
            false,
        ),
        (
            "another's name of ours",
            Some("edge"),
            vec![class("edge", CONTROLLER, "false")],
            true,
        ),
        (
            "our name for another",
            Some("skiff"),
            vec![class("skiff", "x/y", "false")],
            false,
        ),
    ];
    for (name, class, classes, expected) in cases {
        let spec = json!({ "ingressClassName": class });
        let one = ingress("a", "2026-01-01T00:00:00Z", spec, json!({}));
        assert_eq!(is_ours(&one, &classes), expected, "{name}");
    }
}

#[test]
fn annotations_are_understood_or_told() {
    let cases = [
        ("body-limit", "10Mi", ""),
        ("body-limit", "ten", "must be a size"),
        ("response-timeout", "30s", ""),
        ("response-timeout", "0", "must be a time"),
        ("retries", "11", "must be a number from 0 to 10"),
        ("rate-limit", "10/s", ""),
        ("rate-limit", "10", "must be a rate"),
        ("rate-limit-burst", "10", "there is no valid rate-limit"),
        ("redirect-https", "yes", "must be \"true\""),
        ("canary-weight", "101", "must be a number from 0 to 100"),
        (
            "canary-auto",
            "true",
            "canary-auto needs to know of which service",
        ),
        ("canary-auto", "maybe", "must be \"true\""),
        ("canary-auto-step", "20", ""),
        ("canary-auto-step", "0", "must be a number from 1 to 100"),
        ("canary-auto-interval", "1d", "must be a time"),
        ("canary-auto-threshold", "5", "no such annotation"),
        ("canary-status", "promoted: b", ""),
        ("canary-colour", "yellow", "no such annotation"),
        (
            "canary-service",
            "other=x",
            "no path of the Ingress leads to service",
        ),
        ("unknown", "x", "no such annotation"),
    ];
    for (name, value, expected) in cases {
        let spec = json!({"rules": [rule("", "/", "Prefix", "web")]});
        let annotations = json!({format!("gateway.skiff.io/{name}"): value});
        let one = ingress("a", "2026-01-01T00:00:00Z", spec, annotations);
        let (_, notes) = build(&[one], &[]);
        let said = notes.first().map_or("", |note| note.message.as_str());
        assert_eq!(said.is_empty(), expected.is_empty(), "{name}: {said}");
        assert!(said.contains(expected), "{name}: {said}");
    }
}

#[test]
fn a_canary_belongs_to_the_service_that_it_is_one_of() {
    let spec = json!({"rules": [rule("", "/a", "Prefix", "a"), rule("", "/b", "Prefix", "b")]});
    let one = |service: &str| {
        let annotations = json!({"gateway.skiff.io/canary-service": service,
            "gateway.skiff.io/canary-weight": "5"});
        build(
            &[ingress(
                "i",
                "2026-01-01T00:00:00Z",
                spec.clone(),
                annotations,
            )],
            &[],
        )
    };
    let (table, notes) = one("b=next:8080");
    assert!(notes.is_empty(), "{notes:?}");
    let canaries: Vec<_> = table
        .routes
        .iter()
        .map(|route| route.canary.as_ref())
        .collect();
    assert_eq!(canaries[0], None);
    assert_eq!(canaries[1].unwrap().backend.to_string(), "d/next:8080");
    assert_eq!(
        one("next").1.len(),
        1,
        "which of two services is meant is not clear"
    );
}

#[test]
fn a_canary_that_judges_itself_has_the_weight_that_is_its_own() {
    let spec = json!({"rules": [rule("", "/", "Prefix", "a")]});
    let cases = [
        ("by hand", json!({"canary-weight": "30"}), 30, false),
        ("new", json!({"canary-auto": "true"}), 0, true),
        (
            "the next one",
            json!({"canary-auto": "true", "canary-weight": "100",
                "canary-status": "promoted: a-1 at noon"}),
            0,
            true,
        ),
        (
            "promoted",
            json!({"canary-auto": "true", "canary-weight": "100",
                "canary-status": "promoted: a-2 at noon"}),
            100,
            true,
        ),
    ];
    for (name, annotations, weight, is_auto) in cases {
        let mut all = json!({"gateway.skiff.io/canary-service": "a-2"});
        for (name, value) in annotations.as_object().unwrap() {
            all[format!("gateway.skiff.io/{name}")] = value.clone();
        }
        let one = ingress("i", "2026-01-01T00:00:00Z", spec.clone(), all);
        let (table, notes) = build(&[one], &[]);
        assert!(notes.is_empty(), "{name}: {notes:?}");
        let canary = table.routes[0].canary.as_ref().unwrap();
        let found = (canary.weight_percent, canary.auto.is_some());
        assert_eq!(found, (weight, is_auto), "{name}");
    }
}
