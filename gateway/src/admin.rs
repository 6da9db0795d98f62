//! What a gateway tells of itself: `/metrics` for Prometheus, `/status` as JSON, `/healthz`. Meant
//! for this host: it has neither TLS nor a password.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::metrics;
use crate::serve::Shared;

/// Askers at once: a scraper, a person, and some in reserve.
const CONNECTIONS_MAX: usize = 32;

/// How long a request's head may take.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);

/// Answers for as long as it is polled.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(&shared, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME_MAX)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "an asker is gone");
            }
            drop(permit);
        });
    }
}

fn answer(shared: &Shared, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (code, kind, body) = match request.uri().path() {
        "/metrics" => (StatusCode::OK, "text/plain; version=0.0.4", metrics(shared)),
        "/status" => (
            StatusCode::OK,
            "application/json",
            status(shared).to_string() + "\n",
        ),
        "/healthz" => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        _ => {
            let text = "There are /metrics, /status and /healthz.\n".to_owned();
            (StatusCode::NOT_FOUND, "text/plain", text)
        }
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn metrics(shared: &Shared) -> String {
    let mut text = metrics::TYPES.to_owned();
    for live in shared.live().routes() {
        live.stats.write(&mut text);
    }
    let lost = shared
        .log
        .as_ref()
        .map_or(0, crate::access_log::AccessLog::lost);
    for (name, value) in [
        (
            "skiff_gateway_unrouted_total",
            shared.unrouted.load(Ordering::Relaxed),
        ),
        ("skiff_gateway_log_lines_lost_total", lost),
        (
            "skiff_gateway_connections",
            u64::try_from(shared.connections.load(Ordering::Relaxed)).unwrap_or(u64::MAX),
        ),
    ] {
        writeln!(text, "{name} {value}").ok();
    }
    text
}

/// Routes with their counts, and endpoints with their load.
pub(crate) fn status(shared: &Shared) -> Value {
    let live = shared.live();
    let now = shared.clock.tick();
    let routes = live.routes().iter().map(|live| {
        let (stable, canary) = (&live.stats.stable, &live.stats.canary);
        json!({
            "ingress": live.route.ingress.to_string(),
            "host": live.route.host,
            "path": &*live.route.path,
            "requests": stable.requests() + canary.requests(),
            "errors": stable.errors() + canary.errors(),
            "canaryRequests": canary.requests(),
            "canaryErrors": canary.errors(),
        })
    });
    let upstreams = live.upstreams().map(|upstream| {
        let endpoints = upstream.endpoints(now).into_iter().map(|(address, open, out)| {
            json!({"address": address.to_string(), "open": open, "ejected": out})
        });
        json!({
            "backend": upstream.backend.to_string(),
            "endpoints": endpoints.collect::<Vec<_>>(),
        })
    });
    json!({
        "connections": shared.connections.load(Ordering::Relaxed),
        "routes": routes.collect::<Vec<_>>(),
        "upstreams": upstreams.collect::<Vec<_>>(),
    })
}
