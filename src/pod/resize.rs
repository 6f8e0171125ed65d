//! PURE. Owns the change of a running container's limits: when one is due, how it is made, what is told of it.
//! Never grants anything: `model::resize` says what the pod has been granted.
//!
//! ```text
//!  granted, other than told --> PodResizeInProgress --update--> in effect, told
//!                                |                     `-refused--> PodResizeInProgress with the error, tried again
//!                                `-- resizePolicy RestartContainer --> stopped, started anew with the new limits
//! ```
//!
//! Parity: `doPodResizeAction` of `pkg/kubelet/kuberuntime`, `convertContainerStatusResources`. Differs: the engine's
//! container has limits of its own and no pod around it, so they are changed container by container.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, PodSpec, ResourceRequirements};

use super::draft::Draft;
use super::facts::{Action, PodFacts};
use super::tracks::{State, Track, container_id};
use super::{bounds, health};
use crate::model::resize::same_requirements;
use crate::runtime::Limits;

/// How far the resizes of a pod's containers are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// What is granted is in effect.
    #[default]
    Done,
    /// Some container has not what it was granted.
    Underway,
    /// The engine refuses, with its words.
    Failed(String),
}

/// What is in effect of a container's resources, as the status tells it.
pub fn in_effect(facts: &PodFacts, spec: &PodSpec, track: &Track<'_>) -> ResourceRequirements {
    match told(track) {
        Some(before) if !is_applied(facts, spec, track) => before.resources.clone().unwrap_or_default(),
        Some(_) | None => track.spec.resources.clone().unwrap_or_default(),
    }
}

/// Brings the limits of a running container to what it was granted; says whether the container may be tended further.
pub fn tend(draft: &mut Draft<'_>, index: usize) -> bool {
    let track = &draft.tracks[index];
    let (Some(before), false) = (told(track), is_applied(draft.facts, draft.spec, track)) else { return true };
    let State::Running(seen, _) = &track.state else { return true };
    let name = seen.name.clone();
    let failure = draft.facts.resize_failures.get(&name).cloned();
    draft.outcome.resize = match &failure {
        Some(failure) => Progress::Failed(failure.message.clone()),
        None => Progress::Underway,
    };
    if let Some(at) = failure.map(|failure| failure.retry_at).filter(|at| *at > draft.now) {
        draft.wake(at);
        return true;
    }
    if restarts(track.spec, before) {
        health::restart_resized(draft, index, &name);
        return false;
    }
    let limits = bounds::limits(draft.spec, track.spec, &draft.facts.node);
    draft.act(Action::Resize { name, limits });
    true
}

/// What is told of this very run, where something is.
fn told<'t>(track: &'t Track<'_>) -> Option<&'t ContainerStatus> {
    let State::Running(seen, _) = &track.state else { return None };
    let id = container_id(seen);
    track.before.filter(|before| before.resources.is_some() && before.container_id.as_ref() == Some(&id))
}

/// What was granted is what was told to be in effect, or has come into effect since.
fn is_applied(facts: &PodFacts, spec: &PodSpec, track: &Track<'_>) -> bool {
    let (Some(before), State::Running(seen, _)) = (told(track), &track.state) else { return true };
    if same_requirements(before.resources.as_ref(), track.spec.resources.as_ref()) {
        return true;
    }
    let wanted = bounds::limits(spec, track.spec, &facts.node);
    facts.resized.get(&seen.name) == Some(&wanted) || (!restarts(track.spec, before) && holds(&seen.limits, &wanted))
}

/// The engine holds the container to it already. What is 0 cannot be asked for.
fn holds(seen: &Limits, wanted: &Limits) -> bool {
    let same = |seen: u64, wanted: u64| wanted == 0 || seen == wanted;
    same(seen.cpu_nanos, wanted.cpu_nanos)
        && same(seen.cpu_shares, wanted.cpu_shares)
        && same(seen.memory_bytes, wanted.memory_bytes)
}

/// Whether a resource has changed that the container wants to be restarted for.
fn restarts(container: &Container, before: &ContainerStatus) -> bool {
    let policies = container.resize_policy.iter().flatten();
    let mut restarting = policies.filter(|policy| policy.restart_policy == "RestartContainer");
    restarting.any(|policy| {
        let only = |all: Option<&ResourceRequirements>| {
            let mut all = all.cloned().unwrap_or_default();
            for list in [&mut all.limits, &mut all.requests].into_iter().flatten() {
                list.retain(|name, _| *name == policy.resource_name);
            }
            all
        };
        let (old, new) = (only(before.resources.as_ref()), only(container.resources.as_ref()));
        !same_requirements(Some(&old), Some(&new))
    })
}
