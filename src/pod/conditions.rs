//! PURE. Owns a pod's conditions. Never touches those that are not the kubelet's.
//!
//! Parity: `pkg/kubelet/status/generate.go`; `DisruptionTarget` as `pkg/kubelet/nodeshutdown` sets it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodSpec, PodStatus};

use super::facts::PodFacts;
use super::names;
use super::resize::Progress;
use super::restart::{self, Role};
use super::status::Outcome;
use super::tracks::Track;
use crate::model::condition::DISRUPTION_TARGET;
use crate::model::{resize, time};
use crate::runtime::Seen;

/// Its reason where the node did it.
pub const TERMINATION_BY_KUBELET: &str = "TerminationByKubelet";
/// Its message, and the pod's.
pub const SHUTDOWN_MESSAGE: &str = "Pod was terminated in response to imminent node shutdown.";

/// A condition before it has its time.
struct Said {
    kind: &'static str,
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Said {
    fn plain(kind: &'static str, holds: bool) -> Self {
        Self { kind, holds, reason: None, message: None }
    }

    fn no(kind: &'static str, reason: &'static str, message: Option<String>) -> Self {
        Self { kind, holds: false, reason: Some(reason), message }
    }
}

/// All conditions of a pod that has `status` so far, others' first.
pub fn conditions(
    facts: &PodFacts,
    spec: &PodSpec,
    tracks: &[Track<'_>],
    statuses: &[&ContainerStatus],
    status: &PodStatus,
    outcome: &Outcome,
    now: Timestamp,
) -> Vec<PodCondition> {
    let before = status.conditions.as_deref().unwrap_or_default();
    let phase = status.phase.as_deref().unwrap_or_default();
    let disruption = Said {
        kind: DISRUPTION_TARGET,
        holds: true,
        reason: Some(TERMINATION_BY_KUBELET),
        message: Some(SHUTDOWN_MESSAGE.to_owned()),
    };
    let containers_ready = containers_ready(tracks, statuses, phase);
    let said = [
        outcome.disrupted.then_some(disruption),
        anew(spec, phase, outcome),
        Some(Said::plain("PodReadyToStartContainers", network_stands(facts, spec))),
        Some(initialized(spec, tracks, statuses, phase)),
        Some(ready(spec, before, &containers_ready)),
        Some(containers_ready),
        (!outcome.unbound).then(|| Said::plain("PodScheduled", true)),
    ];
    let said: Vec<Said> = said.into_iter().flatten().collect();
    let resizing = resizing(facts, outcome, now);
    let over = super::phase::terminal(Some(phase));
    let ours = |old: &PodCondition| match old.type_.as_str() {
        resize::PENDING => over || !resize::is_due(&facts.pod),
        resize::IN_PROGRESS => true,
        kind => said.iter().any(|said| said.kind == kind),
    };
    let others = before.iter().filter(|old| !ours(old)).cloned();
    others
        .chain(resizing)
        .chain(said.iter().map(|said| timed(said, before, facts.pod.metadata.generation, now)))
        .collect()
}

/// The condition of a pod whose containers have not yet what they were granted. Parity: it names the generation of the
/// resize.
fn resizing(facts: &PodFacts, outcome: &Outcome, now: Timestamp) -> Option<PodCondition> {
    let (reason, message) = match &outcome.resize {
        Progress::Done => return None,
        Progress::Underway => (None, None),
        Progress::Failed(message) => (Some("Error".to_owned()), Some(message.clone())),
    };
    let old = resize::condition(&facts.pod, resize::IN_PROGRESS);
    Some(PodCondition {
        type_: resize::IN_PROGRESS.to_owned(),
        status: "True".to_owned(),
        reason,
        message,
        observed_generation: old.and_then(|old| old.observed_generation).or(facts.pod.metadata.generation),
        last_transition_time: old.and_then(|old| old.last_transition_time.clone()).or(Some(time::seconds(now))),
        ..PodCondition::default()
    })
}

/// Whether the scheduler has bound the pod, or let it in where it came with its node; or it was begun or is over.
pub fn admitted(status: Option<&PodStatus>) -> bool {
    let Some(status) = status else { return false };
    let scheduled = |condition: &PodCondition| condition.type_ == "PodScheduled" && condition.status == "True";
    status.start_time.is_some()
        || super::phase::terminal(status.phase.as_deref())
        || status.conditions.iter().flatten().any(scheduled)
}

fn timed(said: &Said, before: &[PodCondition], generation: Option<i64>, now: Timestamp) -> PodCondition {
    let status = if said.holds { "True" } else { "False" };
    let old = before.iter().find(|old| old.type_ == said.kind && old.status == status);
    PodCondition {
        type_: said.kind.to_owned(),
        status: status.to_owned(),
        reason: said.reason.map(str::to_owned),
        message: said.message.clone(),
        observed_generation: generation,
        last_transition_time: old.and_then(|old| old.last_transition_time.clone()).or(Some(time::seconds(now))),
        ..old.cloned().unwrap_or_default()
    }
}

/// Parity: `GenerateAllContainersRestartingCondition`, told only of pods that have such a rule.
fn anew(spec: &PodSpec, phase: &str, outcome: &Outcome) -> Option<Said> {
    const KIND: &str = "AllContainersRestarting";
    let said = match phase {
        "Succeeded" => Said::no(KIND, "PodCompleted", None),
        "Failed" => Said::no(KIND, "PodFailed", None),
        _unfinished => Said::plain(KIND, outcome.anew),
    };
    restart::could_restart_all(spec).then_some(said)
}

fn network_stands(facts: &PodFacts, spec: &PodSpec) -> bool {
    let sandboxed = super::spec::sandboxed(spec, &facts.node);
    facts
        .containers
        .iter()
        .any(|seen| matches!(seen.state, Seen::Running { .. }) && (!sandboxed || names::identity(seen).is_none()))
}

fn containers_ready(tracks: &[Track<'_>], statuses: &[&ContainerStatus], phase: &str) -> Said {
    const KIND: &str = "ContainersReady";
    match phase {
        "Succeeded" => return Said::no(KIND, "PodCompleted", None),
        "Failed" => return Said::no(KIND, "PodFailed", None),
        _unfinished => {}
    }
    let awaited = tracks.iter().filter(|track| matches!(track.role, Role::Sidecar | Role::Main));
    let names: Vec<&str> =
        awaited.map(|track| track.spec.name.as_str()).filter(|name| !is(statuses, name, |s| s.ready)).collect();
    if names.is_empty() {
        return Said::plain(KIND, true);
    }
    Said::no(KIND, "ContainersNotReady", Some(format!("containers with unready status: [{}]", names.join(" "))))
}

fn is(statuses: &[&ContainerStatus], name: &str, holds: impl Fn(&ContainerStatus) -> bool) -> bool {
    statuses.iter().any(|status| status.name == name && holds(status))
}

/// Ready is what the containers are, and what the pod's readiness gates ask for besides.
fn ready(spec: &PodSpec, before: &[PodCondition], containers: &Said) -> Said {
    const KIND: &str = "Ready";
    if !containers.holds {
        return Said { kind: KIND, holds: false, reason: containers.reason, message: containers.message.clone() };
    }
    let unmet: Vec<String> = spec
        .readiness_gates
        .iter()
        .flatten()
        .filter_map(|gate| {
            let kind = &gate.condition_type;
            match before.iter().find(|condition| condition.type_ == *kind) {
                None => Some(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist.")),
                Some(condition) if condition.status != "True" => {
                    let status = &condition.status;
                    Some(format!("the status of pod readiness gate \"{kind}\" is not \"True\", but {status}"))
                }
                Some(_) => None,
            }
        })
        .collect();
    if unmet.is_empty() {
        return Said::plain(KIND, true);
    }
    Said::no(KIND, "ReadinessGatesNotReady", Some(unmet.join(", ")))
}

fn initialized(spec: &PodSpec, tracks: &[Track<'_>], statuses: &[&ContainerStatus], phase: &str) -> Said {
    const KIND: &str = "Initialized";
    if phase == "Succeeded" {
        return Said { kind: KIND, holds: true, reason: Some("PodCompleted"), message: None };
    }
    if tracks.iter().any(|track| track.role == Role::Main && track.ever_ran()) {
        return Said::plain(KIND, true);
    }
    let incomplete: Vec<&str> = restart::containers(spec)
        .filter(|(role, container)| match role {
            Role::Init => !is(statuses, &container.name, |status| status.ready),
            Role::Sidecar => !is(statuses, &container.name, |status| status.started == Some(true)),
            Role::Main => false,
        })
        .map(|(_, container)| container.name.as_str())
        .collect();
    if incomplete.is_empty() {
        return Said::plain(KIND, true);
    }
    let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
    Said::no(KIND, "ContainersNotInitialized", Some(message))
}
