//! Owns what a pod's status says to somebody who follows a run (PURE): which container outputs there are to read,
//! and how the pod failed. Never keeps anything between two states of a pod.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use serde::Serialize;

use crate::model::phase;

/// Annotation that carries the completion index of an Indexed Job's pod.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Label that carries the owning Job's uid.
pub const JOB_UID: &str = "batch.kubernetes.io/controller-uid";

/// One container of a pod, as far as its output is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerSeen {
    /// Its name.
    pub container: String,
    /// Restarts before the attempt that `started` and `ended` tell of.
    pub attempt: i32,
    /// The attempt runs or ran: it has an output to read.
    pub started: bool,
    /// The attempt is over.
    pub ended: bool,
    /// No attempt will follow.
    pub last: bool,
}

/// How a pod failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedPod {
    /// The pod's name.
    pub name: String,
    /// Its uid.
    #[serde(skip)]
    pub uid: String,
    /// Its completion index, in an Indexed Job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// The container that failed first, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// That container's exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The container's or the pod's reason: `Error`, `OOMKilled`, `DeadlineExceeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The container's or the pod's message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The last lines of that container's output.
    pub last_lines: Vec<String>,
}

impl FailedPod {
    /// `container main exited with 42 (Error)`: one line without the pod's name.
    pub fn cause(&self) -> String {
        let reason = self.reason.as_deref().unwrap_or("Error");
        let mut text = match (&self.container, self.exit_code) {
            (Some(container), Some(code)) => format!("container {container} exited with {code} ({reason})"),
            (Some(container), None) => format!("container {container}: {reason}"),
            (None, Some(_) | None) => self.reason.clone().unwrap_or_else(|| "none of its containers failed".to_owned()),
        };
        if let Some(message) = self.message.as_deref().filter(|message| !message.trim().is_empty()) {
            text.push_str(": ");
            text.push_str(message.trim());
        }
        text
    }
}

/// The uid of the Job that a pod belongs to.
pub fn job_uid(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(JOB_UID).map(String::as_str)
}

/// The pod's phase, empty before it has one.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether the pod was ended by something outside of it and of its Job: an eviction, a lost node.
fn is_disrupted(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|it| it.type_ == "DisruptionTarget" && it.status == "True")
}

/// Whether output of this pod needs the container's name beside the pod's.
pub fn has_several(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    spec.containers.len() + spec.init_containers.as_ref().map_or(0, Vec::len) > 1
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    let main = status.and_then(|status| status.container_statuses.as_ref());
    init.into_iter().chain(main).flatten()
}

/// Every container of the pod that has a status.
pub fn containers(pod: &Pod) -> Vec<ContainerSeen> {
    let last = phase::is_over(pod);
    statuses(pod)
        .map(|status| {
            let state = status.state.as_ref();
            let ended = state.is_some_and(|state| state.terminated.is_some());
            let waits = !ended && state.is_none_or(|state| state.running.is_none());
            let ran_before = status.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
            // Between two attempts (CrashLoopBackOff) the attempt before is the one that the status counts and logs serve.
            ContainerSeen {
                container: status.name.clone(),
                attempt: status.restart_count,
                started: !waits || ran_before,
                ended: ended || (waits && ran_before),
                last,
            }
        })
        .collect()
}

/// The exit code that a container of this pod ended with last.
pub fn exit_code(pod: &Pod, container: &str) -> Option<i32> {
    let status = statuses(pod).find(|status| status.name == container)?;
    last_end(status).map(|end| end.exit_code)
}

fn last_end(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let now = status.state.as_ref().and_then(|state| state.terminated.as_ref());
    now.or_else(|| status.last_state.as_ref().and_then(|state| state.terminated.as_ref()))
}

/// How the pod failed, if it did: its phase is Failed, or it was deleted after its containers had failed again and
/// again (which is how a Job with `restartPolicy: OnFailure` ends).
pub fn failure(pod: &Pod, deleted: bool) -> Option<FailedPod> {
    let failed = phase(pod) == "Failed";
    if !failed && !deleted {
        return None;
    }
    let failing = |status: &&ContainerStatus| last_end(status).is_some_and(|end| end.exit_code != 0);
    let restarted = |status: &&ContainerStatus| failing(status) && status.restart_count > 0;
    let culprit = if pod.metadata.deletion_timestamp.is_some() && !is_disrupted(pod) {
        // A container that was stopped because its pod is being deleted did not fail by itself.
        Some(statuses(pod).find(restarted)?)
    } else if failed {
        statuses(pod).filter(failing).min_by_key(|status| last_end(status).and_then(|end| end.finished_at.clone()))
    } else {
        Some(statuses(pod).find(failing)?)
    };
    let status = pod.status.as_ref();
    let end = culprit.and_then(last_end);
    let pod_reason = status.and_then(|status| status.reason.clone());
    let pod_message = status.and_then(|status| status.message.clone());
    Some(FailedPod {
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        index: pod.metadata.annotations.as_ref().and_then(|all| all.get(INDEX)).cloned(),
        container: culprit.map(|status| status.name.clone()),
        exit_code: end.map(|end| end.exit_code),
        reason: pod_reason.or_else(|| end.and_then(|end| end.reason.clone())),
        message: pod_message.or_else(|| end.and_then(|end| end.message.clone())),
        last_lines: Vec::new(),
    })
}

/// Why the pod does not run yet, where its status names a reason that a person can act on.
pub fn waiting(pod: &Pod) -> Option<String> {
    let waits = |status: &ContainerStatus| status.state.as_ref().and_then(|state| state.waiting.clone());
    let reason = statuses(pod).filter_map(waits).filter_map(|waiting| waiting.reason);
    let mut told = reason.filter(|reason| !matches!(reason.as_str(), "ContainerCreating" | "PodInitializing"));
    told.next().or_else(|| {
        let conditions = pod.status.as_ref()?.conditions.as_ref()?;
        let unscheduled = conditions.iter().find(|it| it.type_ == "PodScheduled" && it.status == "False")?;
        unscheduled.reason.clone()
    })
}

/// Why no node has begun with the pod, in words for a person: reason and message.
pub fn unplaced(pod: &Pod) -> Option<(String, String)> {
    if statuses(pod).next().is_some() {
        return None;
    }
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let refused = conditions.into_iter().flatten().find(|it| it.type_ == "PodScheduled" && it.status == "False");
    if let Some(refused) = refused {
        return Some((refused.reason.clone()?, refused.message.clone().unwrap_or_default()));
    }
    let spec = pod.spec.as_ref()?;
    Some(match (&spec.node_name, &spec.scheduler_name) {
        (Some(node), _) => ("NotStarted".to_owned(), format!("node {node:?} has not begun with it")),
        (None, scheduler) => {
            let name = scheduler.as_deref().unwrap_or("default-scheduler");
            ("NotScheduled".to_owned(), format!("scheduler {name:?} has not found a node for it"))
        }
    })
}

/// How far the pulls are that the pod waits for: image, and the node's words. Clusters other than jobdock tell nothing.
pub fn pulls(pod: &Pod) -> impl Iterator<Item = (&str, &str)> {
    let waiting = statuses(pod).filter_map(|status| status.state.as_ref()?.waiting.as_ref());
    waiting.filter_map(|waiting| {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let told = waiting.message.as_deref().filter(|_| matches!(reason, "ContainerCreating" | "PodInitializing"))?;
        told.strip_prefix("Pulling image \"")?.split_once("\": ")
    })
}

#[cfg(test)]
#[path = "pods_tests.rs"]
mod tests;
