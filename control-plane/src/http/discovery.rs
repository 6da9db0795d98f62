//! What is served: `/version`, `/api`, `/apis`, the resource lists and aggregated discovery, all
//! derived from the table of kinds.

use axum::response::Response;
use http::header::VARY;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};
use skiff_api::{Kind, KindInfo, Scope, Subresource};

use super::json::set;
use super::negotiate::{self, Discovery};
use super::path::GroupVersion;
use super::reply;

/// What can be done with objects of every kind.
const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// Groups without kinds of their own, which clients look for all the same: evictions are only
/// tried if `policy` is there, and `authorization.k8s.io` answers `auth can-i`.
const OTHER_GROUPS: [&str; 2] = ["authorization.k8s.io", "policy"];

/// `/version`.
pub(super) fn version() -> Response {
    let version = json!({
        "major": "1",
        "minor": "33",
        "gitVersion": concat!("v1.33.0+skiff.", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, go_arch()),
    });
    reply::value(StatusCode::OK, &version)
}

fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `/api`, plain or aggregated.
pub(super) fn core_versions(headers: &HeaderMap) -> Response {
    match negotiate::discovery(headers) {
        Discovery::Plain => {
            let versions = json!({
                "kind": "APIVersions",
                "versions": ["v1"],
                "serverAddressByClientCIDRs": [],
            });
            vary(reply::value(StatusCode::OK, &versions))
        }
        Discovery::V2 => aggregated("v2", &[""]),
        Discovery::V2Beta1 => aggregated("v2beta1", &[""]),
    }
}

/// `/apis`, plain or aggregated.
pub(super) fn groups(headers: &HeaderMap) -> Response {
    let names = group_names();
    match negotiate::discovery(headers) {
        Discovery::Plain => {
            let groups: Vec<Value> = names.iter().map(|name| group_value(name)).collect();
            let list = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups});
            vary(reply::value(StatusCode::OK, &list))
        }
        Discovery::V2 => aggregated("v2", &names),
        Discovery::V2Beta1 => aggregated("v2beta1", &names),
    }
}

/// `/apis/apps`.
pub(super) fn group(name: &str) -> Option<Response> {
    let name = group_names().into_iter().find(|found| *found == name)?;
    let mut group = group_value(name);
    set(&mut group, "kind", "APIGroup");
    set(&mut group, "apiVersion", "v1");
    Some(reply::value(StatusCode::OK, &group))
}

/// `/api/v1`, `/apis/apps/v1`.
pub(super) fn resources(version: &GroupVersion) -> Option<Response> {
    let known = version.group.is_empty() || group_names().contains(&version.group.as_str());
    if !known || version.version != "v1" {
        return None;
    }
    let mut resources = Vec::new();
    for info in kinds_of(&version.group) {
        resources.push(resource(info));
        resources.extend(
            info.subresources
                .iter()
                .map(|part| subresource(info, *part)),
        );
    }
    if version.group == "authorization.k8s.io" {
        resources.push(access_review());
    }
    let list = json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version.text(),
        "resources": resources,
    });
    Some(reply::value(StatusCode::OK, &list))
}

/// The groups served, without the core group.
fn group_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    let of_kinds = Kind::all().map(|kind| kind.info().group);
    for name in of_kinds.chain(OTHER_GROUPS) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn kinds_of(group: &str) -> impl Iterator<Item = &'static KindInfo> {
    Kind::all()
        .map(Kind::info)
        .filter(move |info| info.group == group)
}

fn group_value(name: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

fn resource(info: &KindInfo) -> Value {
    let mut value = json!({
        "name": info.plural,
        "singularName": info.singular,
        "namespaced": info.scope == Scope::Namespaced,
        "kind": info.name,
        "verbs": verbs(info),
    });
    if !info.short_names.is_empty() {
        set(&mut value, "shortNames", json!(info.short_names));
    }
    if !info.categories.is_empty() {
        set(&mut value, "categories", json!(info.categories));
    }
    value
}

fn verbs(info: &KindInfo) -> Vec<&'static str> {
    // All namespaces at once is more than anybody means.
    let left_out = (info.kind == Kind::Namespace).then_some("deletecollection");
    VERBS
        .into_iter()
        .filter(|verb| Some(*verb) != left_out)
        .collect()
}

fn subresource(info: &KindInfo, part: Subresource) -> Value {
    let (group, version, kind) = response_kind(info, part);
    let mut value = json!({
        "name": format!("{}/{}", info.plural, part.path()),
        "singularName": "",
        "namespaced": info.scope == Scope::Namespaced,
        "kind": kind,
        "verbs": subresource_verbs(part),
    });
    if (group, version) != (info.group, info.version) {
        set(&mut value, "group", group);
        set(&mut value, "version", version);
    }
    value
}

/// The group, version and kind that a subresource speaks.
fn response_kind(info: &KindInfo, part: Subresource) -> (&'static str, &'static str, &'static str) {
    let own = Kind::info(info.kind);
    match part {
        Subresource::Status | Subresource::Log => (own.group, own.version, own.name),
        Subresource::Scale => ("autoscaling", "v1", "Scale"),
        Subresource::Eviction => ("policy", "v1", "Eviction"),
        Subresource::Binding => ("", "v1", "Binding"),
    }
}

const fn subresource_verbs(part: Subresource) -> &'static [&'static str] {
    match part {
        Subresource::Status | Subresource::Scale => &["get", "patch", "update"],
        Subresource::Log => &["get"],
        Subresource::Eviction | Subresource::Binding => &["create"],
    }
}

fn access_review() -> Value {
    json!({
        "name": "selfsubjectaccessreviews",
        "singularName": "selfsubjectaccessreview",
        "namespaced": false,
        "kind": "SelfSubjectAccessReview",
        "verbs": ["create"],
    })
}

fn aggregated(version: &str, groups: &[&str]) -> Response {
    let items: Vec<Value> = groups.iter().map(|group| aggregated_group(group)).collect();
    let list = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    });
    let media = if version == "v2" {
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    } else {
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    };
    let body = serde_json::to_vec(&list).unwrap_or_default();
    vary(reply::full(
        StatusCode::OK,
        HeaderValue::from_static(media),
        body,
    ))
}

fn aggregated_group(group: &str) -> Value {
    let mut resources: Vec<Value> = kinds_of(group).map(aggregated_resource).collect();
    if group == "authorization.k8s.io" {
        resources.push(json!({
            "resource": "selfsubjectaccessreviews",
            "responseKind": {"group": group, "version": "v1", "kind": "SelfSubjectAccessReview"},
            "scope": "Cluster",
            "singularResource": "selfsubjectaccessreview",
            "verbs": ["create"],
        }));
    }
    let mut metadata = json!({"creationTimestamp": null});
    if !group.is_empty() {
        set(&mut metadata, "name", group);
    }
    json!({
        "metadata": metadata,
        "versions": [{"version": "v1", "resources": resources, "freshness": "Current"}],
    })
}

fn aggregated_resource(info: &KindInfo) -> Value {
    let mut value = json!({
        "resource": info.plural,
        "responseKind": {"group": info.group, "version": info.version, "kind": info.name},
        "scope": match info.scope {
            Scope::Namespaced => "Namespaced",
            Scope::Cluster => "Cluster",
        },
        "singularResource": info.singular,
        "verbs": verbs(info),
    });
    if !info.short_names.is_empty() {
        set(&mut value, "shortNames", json!(info.short_names));
    }
    if !info.categories.is_empty() {
        set(&mut value, "categories", json!(info.categories));
    }
    let parts = info.subresources.iter().map(|part| {
        let (group, version, kind) = response_kind(info, *part);
        json!({
            "subresource": part.path(),
            "responseKind": {"group": group, "version": version, "kind": kind},
            "verbs": subresource_verbs(*part),
        })
    });
    let parts: Vec<Value> = parts.collect();
    if !parts.is_empty() {
        set(&mut value, "subresources", parts);
    }
    value
}

/// The answer depends on `Accept`: caches must know.
fn vary(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    response
}
