//! What is counted of each route, and how Prometheus reads it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::route::Route;

/// Upper bounds of the latency histogram, in microseconds.
const BUCKETS_MICROS: [u64; 12] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// Which version of a service answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Stable,
    Canary,
}

/// Counts of one version of a route.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// By the first digit of the code, `1xx` first.
    codes: [AtomicU64; 5],
    buckets: [AtomicU64; BUCKETS_MICROS.len()],
    micros: AtomicU64,
    bytes: AtomicU64,
}

/// Counts of one route.
#[derive(Debug)]
pub(crate) struct RouteStats {
    /// `ingress="shop/front",host="*",path="/cart",kind="Prefix",service="shop/cart:80"`. No two
    /// routes have the same.
    pub(crate) label: String,
    pub(crate) stable: Counts,
    pub(crate) canary: Counts,
    pub(crate) retries: AtomicU64,
    pub(crate) limited: AtomicU64,
}

impl RouteStats {
    pub(crate) fn new(route: &Route) -> Self {
        let service = match &route.backend {
            Ok(backend) => backend.to_string(),
            Err(_) => String::new(),
        };
        let host = route.host.as_deref().unwrap_or("*");
        let label = format!(
            "ingress={:?},host={host:?},path={:?},kind=\"{:?}\",service={service:?}",
            route.ingress.to_string(),
            &*route.path,
            route.kind
        );
        Self {
            label,
            stable: Counts::default(),
            canary: Counts::default(),
            retries: AtomicU64::new(0),
            limited: AtomicU64::new(0),
        }
    }

    pub(crate) fn of(&self, version: Version) -> &Counts {
        match version {
            Version::Stable => &self.stable,
            Version::Canary => &self.canary,
        }
    }

    /// In Prometheus' text format, without the lines that name types.
    pub(crate) fn write(&self, text: &mut String) {
        let label = &self.label;
        for (version, counts) in [("stable", &self.stable), ("canary", &self.canary)] {
            if counts.requests() > 0 || version == "stable" {
                counts.write(text, &format!("{label},version=\"{version}\""));
            }
        }
        for (name, counter) in [("retries", &self.retries), ("limited", &self.limited)] {
            let count = counter.load(Ordering::Relaxed);
            writeln!(text, "skiff_gateway_{name}_total{{{label}}} {count}").ok();
        }
    }
}

impl Counts {
    /// An answer's head was there after so long.
    pub(crate) fn answered(&self, code: http::StatusCode, after: Duration) {
        let class = usize::from(code.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.codes.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        let at = BUCKETS_MICROS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Bytes of a body went to the client.
    pub(crate) fn sent(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn requests(&self) -> u64 {
        self.codes
            .iter()
            .map(|code| code.load(Ordering::Relaxed))
            .sum()
    }

    /// Those that failed: 5xx.
    pub(crate) fn errors(&self) -> u64 {
        self.codes
            .last()
            .map_or(0, |code| code.load(Ordering::Relaxed))
    }

    fn write(&self, text: &mut String, label: &str) {
        for (class, code) in self.codes.iter().enumerate() {
            let (class, count) = (class + 1, code.load(Ordering::Relaxed));
            if count > 0 {
                let name = "skiff_gateway_requests_total";
                writeln!(text, "{name}{{{label},code=\"{class}xx\"}} {count}").ok();
            }
        }
        let name = "skiff_gateway_request_seconds";
        let mut below = 0;
        for (bucket, bound) in self.buckets.iter().zip(BUCKETS_MICROS) {
            below += bucket.load(Ordering::Relaxed);
            let bound = seconds(bound);
            writeln!(text, "{name}_bucket{{{label},le=\"{bound}\"}} {below}").ok();
        }
        let (all, sum) = (
            self.requests(),
            seconds(self.micros.load(Ordering::Relaxed)),
        );
        writeln!(text, "{name}_bucket{{{label},le=\"+Inf\"}} {all}").ok();
        writeln!(text, "{name}_sum{{{label}}} {sum}").ok();
        writeln!(text, "{name}_count{{{label}}} {all}").ok();
        let bytes = self.bytes.load(Ordering::Relaxed);
        writeln!(text, "skiff_gateway_sent_bytes_total{{{label}}} {bytes}").ok();
    }
}

/// Microseconds as decimal seconds.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The lines that say what the names mean.
pub(crate) const TYPES: &str = "\
# TYPE skiff_gateway_requests_total counter
# TYPE skiff_gateway_request_seconds histogram
# TYPE skiff_gateway_sent_bytes_total counter
# TYPE skiff_gateway_retries_total counter
# TYPE skiff_gateway_limited_total counter
# TYPE skiff_gateway_connections gauge
";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use k8s_openapi::api::networking::v1::Ingress;
    use serde_json::json;

    use super::*;

    #[test]
    fn no_two_routes_are_counted_as_one() {
        let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
        let path =
            |path: &str, kind: &str| json!({"path": path, "pathType": kind, "backend": backend});
        let paths = [
            path("/", "Exact"),
            path("/", "Prefix"),
            path("/a", "Exact"),
            path("/a", "Prefix"),
        ];
        let ingress: Ingress = serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "d", "uid": "u"},
            "spec": {"rules": [{"http": {"paths": paths}}]},
        }))
        .unwrap();
        let (table, _) = crate::route::build(&[ingress], &[]);
        let labels = table
            .routes
            .iter()
            .map(|route| RouteStats::new(route).label);
        let labels: BTreeSet<_> = labels.collect();
        assert_eq!(labels.len(), 4, "{labels:?}");
    }
}
