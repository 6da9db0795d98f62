//! The Kubernetes HTTP API (step 3 of the walk): requests become kinds, keys and values; answers
//! are objects, lists, watches and `Status`es. Thin: `engine` decides, the store keeps.
//!
//! One handler routes every request by itself, because what a path means is data (`api::Kind`).
//! It never writes but through `Store::propose`, and never answers without an identity.
//!
//! - `path`, `query`, `options`, `negotiate`, `body`: what is asked; `reply`, `encode`, `table`:
//!   how it is answered;
//! - `filter`, `fields`, `pages`: which objects; `list`, `watching`, `read`: reads;
//! - `create`, `change`, `remove`, `pod`, `allocation`: writes; `discovery`, `openapi`, `access`: about the API.

mod access;
mod allocation;
pub(crate) mod body;
mod change;
mod create;
mod discovery;
mod encode;
mod fields;
mod filter;
mod json;
mod list;
mod negotiate;
mod openapi;
mod options;
mod pages;
mod path;
mod pod;
pub(crate) mod query;
mod read;
mod remove;
pub(crate) mod reply;
mod request;
mod store;
mod table;
mod watching;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::response::Response;
use http::{Method, StatusCode};
use skiff_api::Reason;

use crate::auth::{self, Identity};
use crate::nodes::Nodes;
use crate::store::Store;
use crate::watch::WatchHub;
use pages::Pages;
use path::Route;
use query::Query;
use reply::{Refused, refuse};
use request::{Call, Verb};

/// What the API is made of.
pub struct Api {
    /// Where objects are read and written.
    pub store: Store,
    /// Where watches begin.
    pub hub: WatchHub,
    /// The way to the agents.
    pub nodes: Nodes,
    /// The states that clients are paging through.
    pages: Pages,
    /// Whose turn it is to give addresses and ports to services.
    services: Arc<tokio::sync::Mutex<()>>,
}

impl Api {
    /// The API of a store.
    #[must_use]
    pub fn new(store: Store, hub: WatchHub, nodes: Nodes) -> Self {
        Self {
            store,
            hub,
            nodes,
            pages: Pages::default(),
            services: Arc::default(),
        }
    }

    async fn answer(self: Arc<Self>, request: Request) -> Result<Response, Refused> {
        let (parts, body) = request.into_parts();
        let who = parts.extensions.get::<Identity>();
        let route = Route::parse(parts.uri.path());
        let read = matches!(parts.method, Method::GET | Method::HEAD);
        match (&route, who) {
            (Some(Route::Health), _) if read => return Ok(self.health(parts.uri.path()).await),
            (Some(Route::Version), _) if read => return Ok(discovery::version()),
            (_, None) => return Err(auth::unauthorized().into()),
            (_, Some(_)) => {}
        }
        let (Some(route), Some(who)) = (route, who) else {
            return Err(not_found());
        };
        if let Route::Objects(target) = route {
            let query = Query::parse(parts.uri.query())?;
            let verb = Verb::of(&parts.method, &target, &query)?;
            let (headers, who) = (parts.headers, who.clone());
            let call = Call {
                api: self,
                verb,
                target,
                query,
                headers,
                who,
            };
            call.authorize().await?;
            let term = call.api.store.term();
            let answered = dispatch(&call, body).await;
            if !read && answered.as_ref().is_err_and(|refused| refused.code < 500) {
                call.api.led_since(term).await?;
            }
            return answered;
        }
        if route == Route::AccessReview && parts.method == Method::POST {
            return access::review(&self, who, &parts.headers, body).await;
        }
        if !read || route == Route::AccessReview {
            return Err(not_allowed());
        }
        describe(&route, &parts.headers).ok_or_else(not_found)
    }

    /// Ready means that a read would be answered; alive, that anything is.
    async fn health(&self, path: &str) -> Response {
        let ready = !path.starts_with("/readyz") || self.store.read().await.is_ok();
        let (code, text) = if ready {
            (StatusCode::OK, "ok")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "there is no leader")
        };
        reply::full(code, reply::TEXT, text)
    }
}

/// The API as an axum router. Each request brings its [`Identity`] as an extension; without one
/// only health and version are answered.
pub fn router(api: Arc<Api>) -> Router {
    Router::new().fallback(serve).with_state(api)
}

async fn serve(Shared(api): Shared<Arc<Api>>, request: Request) -> Response {
    match api.answer(request).await {
        Ok(response) => response,
        Err(status) => reply::status(&status),
    }
}

/// Answers questions about the API itself.
fn describe(route: &Route, headers: &http::HeaderMap) -> Option<Response> {
    match route {
        Route::CoreVersions => Some(discovery::core_versions(headers)),
        Route::Groups => Some(discovery::groups(headers)),
        Route::Group(name) => discovery::group(name),
        Route::Resources(version) => discovery::resources(version),
        Route::OpenApiV2 => Some(openapi::legacy(headers)),
        Route::OpenApiV3 => Some(openapi::root()),
        Route::OpenApiV3Of(version) => openapi::document(version),
        Route::Version | Route::Health | Route::AccessReview | Route::Objects(_) => None,
    }
}

async fn dispatch(call: &Call, body: Body) -> Result<Response, Refused> {
    use skiff_api::Subresource::{Binding, Eviction, Log, Scale, Status};
    match (call.verb, call.target.subresource) {
        (Verb::Get, None | Some(Status)) => read::object(call).await,
        (Verb::Get, Some(Scale)) => read::scale(call).await,
        (Verb::Get, Some(Log)) => pod::log(call).await,
        (Verb::List, None) => list::answer(call).await,
        (Verb::Watch, None) => watching::answer(call).await,
        (Verb::Create, None) => create::answer(call, body).await,
        (Verb::Create, Some(Binding)) => pod::bind(call, body).await,
        (Verb::Create, Some(Eviction)) => pod::evict(call, body).await,
        (Verb::Update, None | Some(Status | Scale)) => change::update(call, body).await,
        (Verb::Patch, None | Some(Status | Scale)) => change::patch(call, body).await,
        (Verb::Delete, None) => remove::object(call, body).await,
        (Verb::DeleteCollection, None) => remove::collection(call, body).await,
        (..) => Err(not_allowed()),
    }
}

fn not_found() -> Refused {
    refuse(
        Reason::NotFound,
        "the server could not find the requested resource",
    )
}

fn not_allowed() -> Refused {
    let message = "the server does not allow this method on the requested resource";
    refuse(Reason::MethodNotAllowed, message)
}
