//! The row of a pod. READY, STATUS and RESTARTS follow kubectl's printer case by case, because
//! people and scripts read them: `CrashLoopBackOff`, `Init:0/2`, `Terminating`, `2 (3m ago)`.

use serde_json::Value;
use skiff_api::Millis;

use super::Show::{Always, Wide};
use super::{AGE, Column, NAME, age, at, condition, items, len, number, or_none, text};

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    ("Ready", "string", Always),
    ("Status", "string", Always),
    ("Restarts", "string", Always),
    AGE,
    ("IP", "string", Wide),
    ("Node", "string", Wide),
    ("Nominated Node", "string", Wide),
    ("Readiness Gates", "string", Wide),
];

pub(super) fn cells(pod: &Value, now: Millis) -> Vec<Value> {
    let summary = Summary::of(pod);
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let ip = match text(at(status, "/podIPs/0/ip")) {
        "" => text(&status["podIP"]),
        ip => ip,
    };
    vec![
        text(at(pod, "/metadata/name")).into(),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.clone().into(),
        summary.restarts.text(now).into(),
        age::since(at(pod, "/metadata/creationTimestamp"), now).into(),
        or_none(ip).into(),
        or_none(text(&spec["nodeName"])).into(),
        or_none(text(&status["nominatedNodeName"])).into(),
        readiness_gates(pod).into(),
    ]
}

#[derive(Default)]
struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: Restarts,
}

#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<Millis>,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.count += number(&container["restartCount"]);
        let ended = at(container, "/lastState/terminated/finishedAt");
        self.last = self.last.max(ended.as_str().and_then(Millis::parse));
    }

    fn text(self, now: Millis) -> String {
        match self.last {
            Some(last) if self.count != 0 => {
                format!(
                    "{} ({} ago)",
                    self.count,
                    age::human(now.0.saturating_sub(last.0))
                )
            }
            Some(_) | None => self.count.to_string(),
        }
    }
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let status = &pod["status"];
        let mut reason = text(&status["phase"]);
        if !text(&status["reason"]).is_empty() {
            reason = text(&status["reason"]);
        }
        if condition(pod, "PodScheduled").is_some_and(|c| c["reason"] == "SchedulingGated") {
            reason = "SchedulingGated";
        }
        let sidecars = items(at(pod, "/spec/initContainers"))
            .filter(|c| is_sidecar(c))
            .count();
        let mut summary = Self {
            total: len(at(pod, "/spec/containers")) + sidecars,
            reason: reason.to_owned(),
            ..Self::default()
        };
        let (initializing, of_sidecars) = summary.read_init_containers(pod);
        if !initializing || condition(pod, "Initialized").is_some_and(is_true) {
            summary.restarts = of_sidecars;
            summary.read_containers(pod);
        }
        if !at(pod, "/metadata/deletionTimestamp").is_null() {
            if status["reason"] == "NodeLost" {
                summary.reason = "Unknown".into();
            } else if !matches!(text(&status["phase"]), "Succeeded" | "Failed") {
                summary.reason = "Terminating".into();
            }
        }
        summary
    }

    /// Whether an init container keeps the pod back, and the restarts of those that keep running.
    fn read_init_containers(&mut self, pod: &Value) -> (bool, Restarts) {
        let specs = at(pod, "/spec/initContainers");
        let mut of_sidecars = Restarts::default();
        for (index, container) in items(at(pod, "/status/initContainerStatuses")).enumerate() {
            let spec = items(specs).find(|spec| spec["name"] == container["name"]);
            let sidecar = spec.is_some_and(is_sidecar);
            self.restarts.add(container);
            if sidecar {
                of_sidecars.add(container);
            }
            let state = &container["state"];
            let (ended, waiting) = (&state["terminated"], text(at(state, "/waiting/reason")));
            if !ended.is_null() && number(&ended["exitCode"]) == 0 {
                continue;
            }
            if sidecar && container["started"] == true {
                self.ready += usize::from(container["ready"] == true);
                continue;
            }
            self.reason = if !ended.is_null() {
                format!("Init:{}", end(ended))
            } else if !matches!(waiting, "" | "PodInitializing") {
                format!("Init:{waiting}")
            } else {
                format!("Init:{index}/{}", len(specs))
            };
            return (true, of_sidecars);
        }
        (false, of_sidecars)
    }

    /// The first container that has something to say gives the reason.
    fn read_containers(&mut self, pod: &Value) {
        let mut running = false;
        for container in items(at(pod, "/status/containerStatuses")).rev() {
            self.restarts.add(container);
            let state = &container["state"];
            let waiting = text(at(state, "/waiting/reason"));
            if !waiting.is_empty() {
                waiting.clone_into(&mut self.reason);
            } else if !state["terminated"].is_null() {
                self.reason = end(&state["terminated"]);
            } else if container["ready"] == true && !state["running"].is_null() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            let ready = condition(pod, "Ready").is_some_and(is_true);
            self.reason = if ready { "Running" } else { "NotReady" }.to_owned();
        }
    }
}

/// How a container ended: its reason, or what there is instead.
fn end(terminated: &Value) -> String {
    match (text(&terminated["reason"]), number(&terminated["signal"])) {
        ("", 0) => format!("ExitCode:{}", number(&terminated["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn readiness_gates(pod: &Value) -> String {
    let gates = at(pod, "/spec/readinessGates");
    if len(gates) == 0 {
        return "<none>".to_owned();
    }
    let open = items(gates)
        .filter(|gate| condition(pod, text(&gate["conditionType"])).is_some_and(is_true));
    format!("{}/{}", open.count(), len(gates))
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn is_true(condition: &Value) -> bool {
    condition["status"] == "True"
}
