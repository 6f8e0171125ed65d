//! Owns the columns and cells of pods: above all the one word that tells how a pod is. PURE.
//! Never changes a phase: the word is worked out from the status.
//!
//! Parity: upstream's `printPod`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, ContainerStatus, Pod, PodSpec, PodStatus};
use serde_json::{Value, json};

use super::super::duration;
use super::{AGE, Column, NAME, Row, Text, or_none, text, wide};

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    text("Ready", Text::Own("The aggregate readiness state of this pod for accepting traffic.")),
    text("Status", Text::Own("The aggregate status of the containers in this pod.")),
    text(
        "Restarts",
        Text::Own(
            "The number of times the containers in this pod have been restarted and when the last container in this pod \
             has restarted.",
        ),
    ),
    AGE,
    wide("IP", Text::Field("io.k8s.api.core.v1.PodStatus", "podIP")),
    wide("Node", Text::Field("io.k8s.api.core.v1.PodSpec", "nodeName")),
    wide("Nominated Node", Text::Field("io.k8s.api.core.v1.PodStatus", "nominatedNodeName")),
    wide("Readiness Gates", Text::Field("io.k8s.api.core.v1.PodSpec", "readinessGates")),
];

/// What is counted and said while the containers are gone through.
#[derive(Default)]
struct Summary {
    reason: String,
    ready: usize,
    restarts: Restarts,
}

/// How many restarts, and when the last ended container ended.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i32,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, container: &ContainerStatus) {
        self.count += container.restart_count;
        let ended = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        self.last = self.last.max(ended.and_then(|ended| ended.finished_at.as_ref()).map(|at| at.0));
    }
}

pub(super) fn cells(pod: &Pod, row: Row<'_>) -> Vec<Value> {
    let spec = pod.spec.clone().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container)).count();
    let summary = summarise(pod, &spec, &status);
    let restarts = match (summary.restarts.count, summary.restarts.last) {
        (0, _) | (_, None) => summary.restarts.count.to_string(),
        (count, Some(last)) => format!("{count} ({} ago)", duration::human(row.now.duration_since(last).as_secs())),
    };
    let ip = status.pod_ips.iter().flatten().next().map(|ip| ip.ip.as_str());
    vec![
        json!(row.name),
        json!(format!("{}/{}", summary.ready, spec.containers.len() + sidecars)),
        json!(summary.reason),
        json!(restarts),
        json!(row.age),
        json!(or_none(ip)),
        json!(or_none(spec.node_name.as_deref())),
        json!(or_none(status.nominated_node_name.as_deref())),
        json!(gates(&spec, &status)),
    ]
}

/// The row condition of a finished pod, by which old clients hide it.
pub(super) fn conditions(pod: &Pod) -> Option<Value> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let message = match phase {
        Some("Succeeded") => "The pod has completed successfully.",
        Some("Failed") => "The pod failed.",
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": phase, "message": message}]))
}

fn summarise(pod: &Pod, spec: &PodSpec, status: &PodStatus) -> Summary {
    let phase = status.phase.clone().unwrap_or_default();
    let mut summary = Summary {
        reason: status.reason.clone().filter(|reason| !reason.is_empty()).unwrap_or_else(|| phase.clone()),
        ..Summary::default()
    };
    let gated = |condition: &&k8s_openapi::api::core::v1::PodCondition| {
        condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("SchedulingGated")
    };
    if status.conditions.iter().flatten().any(|condition| gated(&condition)) {
        summary.reason = "SchedulingGated".to_owned();
    }
    let (initializing, sidecars) = init_containers(&mut summary, spec, status);
    if !initializing || holds(status, "Initialized") {
        summary.restarts = sidecars;
        main_containers(&mut summary, status);
    }
    if pod.metadata.deletion_timestamp.is_some() {
        if status.reason.as_deref() == Some("NodeLost") {
            summary.reason = "Unknown".to_owned();
        } else if !matches!(phase.as_str(), "Succeeded" | "Failed") {
            summary.reason = "Terminating".to_owned();
        }
    }
    summary
}

/// Goes through the init containers up to the first that is not done; tells whether there is one, and the restarts of
/// the sidecars, which count for as long as the pod lives.
fn init_containers(summary: &mut Summary, spec: &PodSpec, status: &PodStatus) -> (bool, Restarts) {
    let mut sidecars = Restarts::default();
    let all: &[Container] = spec.init_containers.as_deref().unwrap_or_default();
    for (at, container) in status.init_container_statuses.iter().flatten().enumerate() {
        summary.restarts.add(container);
        let sidecar = all.iter().any(|one| one.name == container.name && is_sidecar(one));
        if sidecar {
            sidecars.add(container);
        }
        let state = container.state.clone().unwrap_or_default();
        let waiting = state.waiting.and_then(|waiting| waiting.reason).filter(|reason| !reason.is_empty());
        summary.reason = match (state.terminated, waiting) {
            (Some(ended), _) if ended.exit_code == 0 => continue,
            (_, _) if sidecar && container.started == Some(true) => {
                summary.ready += usize::from(container.ready);
                continue;
            }
            (Some(ended), _) => format!("Init:{}", end(&ended)),
            (None, Some(reason)) if reason != "PodInitializing" => format!("Init:{reason}"),
            (None, _) => format!("Init:{at}/{}", all.len()),
        };
        return (true, sidecars);
    }
    (false, sidecars)
}

fn main_containers(summary: &mut Summary, status: &PodStatus) {
    let mut running = false;
    // From the last to the first: the first container has the last word.
    for container in status.container_statuses.iter().flatten().rev() {
        summary.restarts.add(container);
        let state = container.state.clone().unwrap_or_default();
        let waiting = state.waiting.and_then(|waiting| waiting.reason).filter(|reason| !reason.is_empty());
        match (waiting, state.terminated) {
            (Some(reason), _) => summary.reason = reason,
            (None, Some(ended)) => summary.reason = end(&ended),
            (None, None) if container.ready && state.running.is_some() => {
                running = true;
                summary.ready += 1;
            }
            (None, None) => {}
        }
    }
    if summary.reason == "Completed" && running {
        summary.reason = if holds(status, "Ready") { "Running" } else { "NotReady" }.to_owned();
    }
}

/// Why a container ended: its reason, else its signal, else its code.
fn end(ended: &ContainerStateTerminated) -> String {
    match (ended.reason.as_deref().filter(|reason| !reason.is_empty()), ended.signal.unwrap_or(0)) {
        (Some(reason), _) => reason.to_owned(),
        (None, 0) => format!("ExitCode:{}", ended.exit_code),
        (None, signal) => format!("Signal:{signal}"),
    }
}

fn holds(status: &PodStatus, condition: &str) -> bool {
    status.conditions.iter().flatten().any(|one| one.type_ == condition && one.status == "True")
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn gates(spec: &PodSpec, status: &PodStatus) -> String {
    let gates = spec.readiness_gates.as_deref().unwrap_or_default();
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let open = gates.iter().filter(|gate| holds(status, &gate.condition_type)).count();
    format!("{open}/{}", gates.len())
}
