//! Requests and limits as the kernel takes them: shares, quota, bytes, and who dies first.

use skiff_api::k8s_openapi::api::core::v1::Container;
use skiff_api::quantity;

use crate::runtime::Resources;

/// Kubernetes' least weight: what a container without a request gets.
const SHARES_MIN: u64 = 2;

/// The kernel's least quota per period of 100 ms.
const QUOTA_MIN_MICROS: u64 = 1000;

/// Bounds of a container's resources, by Kubernetes' rules. `node_memory` is in bytes.
#[must_use]
pub fn resources(container: &Container, qos: &str, node_memory: i64) -> Resources {
    let amount = |list: &str, name: &str| {
        let resources = container.resources.as_ref()?;
        let amounts = if list == "limits" {
            &resources.limits
        } else {
            &resources.requests
        };
        let text = &amounts.as_ref()?.get(name)?.0;
        let parse = if name == "cpu" {
            quantity::millicores
        } else {
            quantity::units
        };
        parse(text).ok().and_then(|value| u64::try_from(value).ok())
    };
    let cpu_limit = amount("limits", "cpu").filter(|millicores| *millicores > 0);
    let cpu_request = amount("requests", "cpu").or(cpu_limit).unwrap_or(0);
    let memory_limit = amount("limits", "memory").filter(|bytes| *bytes > 0);
    let memory_request = amount("requests", "memory").or(memory_limit).unwrap_or(0);
    Resources {
        cpu_shares: Some((cpu_request.saturating_mul(1024) / 1000).max(SHARES_MIN)),
        cpu_quota_micros: cpu_limit
            .map(|millicores| millicores.saturating_mul(100).max(QUOTA_MIN_MICROS)),
        memory_bytes: memory_limit,
        pids: None,
        oom_score_adj: Some(oom_score(qos, memory_request, node_memory)),
    }
}

/// The kernel kills the highest score first: those who asked for nothing, then those who asked for
/// a small part of the machine.
fn oom_score(qos: &str, memory_request: u64, node_memory: i64) -> i32 {
    match qos {
        "Guaranteed" => -997,
        "BestEffort" => 1000,
        _ => {
            let total = u64::try_from(node_memory).unwrap_or(0).max(1);
            let part = memory_request.saturating_mul(1000) / total;
            i32::try_from(1000_u64.saturating_sub(part).clamp(3, 999)).unwrap_or(999)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_and_limits_become_the_kernels_numbers() {
        const GI: i64 = 1 << 30;
        let row = |shares, quota, memory, score| Resources {
            cpu_shares: Some(shares),
            cpu_quota_micros: quota,
            memory_bytes: memory,
            pids: None,
            oom_score_adj: Some(score),
        };
        let cases = [
            (
                "nothing asked",
                json!({}),
                "BestEffort",
                row(2, None, None, 1000),
            ),
            (
                "a request is a weight",
                json!({"requests": {"cpu": "250m", "memory": "512Mi"}}),
                "Burstable",
                row(256, None, None, 500),
            ),
            (
                "a limit is a bound, and the request besides",
                json!({"limits": {"cpu": "500m", "memory": "64Mi"}}),
                "Guaranteed",
                row(512, Some(50_000), Some(64 << 20), -997),
            ),
            (
                "the least quota",
                json!({"limits": {"cpu": "1m"}}),
                "Burstable",
                row(2, Some(1000), None, 999),
            ),
        ];
        for (name, resources_json, qos, expected) in cases {
            let container = json!({"name": "c", "resources": resources_json});
            let container = serde_json::from_value(container).expect("a container");
            assert_eq!(resources(&container, qos, GI), expected, "{name}");
        }
    }
}
