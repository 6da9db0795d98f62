//! OpenAPI as far as clients need it to write: which kinds can be patched, with which parameters.
//! kubectl asks here whether the server validates fields and understands a dry run. Schemas are
//! not served, so `kubectl explain` finds none.

mod v2;

use axum::response::Response;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};
use skiff_api::{Kind, KindInfo, Scope};

use super::path::GroupVersion;
use super::reply;

/// Changes whenever the documents may: clients cache by it.
const HASH: &str = env!("CARGO_PKG_VERSION");

/// `/openapi/v3`: where the documents are.
pub(super) fn root() -> Response {
    let mut paths = Map::new();
    for info in Kind::all().map(Kind::info) {
        let path = prefix(info);
        let path = path.trim_start_matches('/');
        let url = format!("/openapi/v3/{path}?hash={HASH}");
        paths.insert(path.to_owned(), json!({"serverRelativeURL": url}));
    }
    reply::value(StatusCode::OK, &json!({"paths": paths}))
}

/// `/openapi/v3/apis/apps/v1`: the operations of one group version.
pub(super) fn document(version: &GroupVersion) -> Option<Response> {
    let served = |info: &&KindInfo| info.group == version.group && info.version == version.version;
    let mut paths = Map::new();
    for info in Kind::all().map(Kind::info).filter(served) {
        let collection = collection_path(info);
        let one = format!("{collection}/{{name}}");
        paths.insert(collection, json!({"post": operation(info, "post")}));
        let object = json!({"put": operation(info, "put"), "patch": operation(info, "patch")});
        paths.insert(one, object);
    }
    if paths.is_empty() {
        return None;
    }
    let document = json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.33.0"},
        "paths": paths,
        "components": {"schemas": {}},
    });
    Some(reply::value(StatusCode::OK, &document))
}

/// `/openapi/v2`: the same facts as protobuf, which is all that old kubectls read, or as JSON.
pub(super) fn legacy(headers: &HeaderMap) -> Response {
    let accept = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    if accept.trim() == "application/json" {
        let info = json!({"title": "Kubernetes", "version": "v1.33.0"});
        let document = json!({"swagger": "2.0", "info": info, "paths": {}});
        return reply::value(StatusCode::OK, &document);
    }
    // Not the type that kubectl asks for: its own parser of media types refuses the "@" in it.
    let media = HeaderValue::from_static("application/octet-stream");
    reply::full(StatusCode::OK, media, v2::document())
}

/// `/api/v1`, `/apis/apps/v1`.
fn prefix(info: &KindInfo) -> String {
    if info.group.is_empty() {
        format!("/api/{}", info.version)
    } else {
        format!("/apis/{}/{}", info.group, info.version)
    }
}

fn collection_path(info: &KindInfo) -> String {
    match info.scope {
        Scope::Namespaced => format!("{}/namespaces/{{namespace}}/{}", prefix(info), info.plural),
        Scope::Cluster => format!("{}/{}", prefix(info), info.plural),
    }
}

fn operation(info: &KindInfo, action: &str) -> Value {
    let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    let parameters = ["dryRun", "fieldManager", "fieldValidation"].map(parameter);
    json!({
        "operationId": format!("{action}{}{}", info.version, info.name),
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {
            "group": info.group, "version": info.version, "kind": info.name,
        },
    })
}
