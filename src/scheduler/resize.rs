//! PURE. Owns whether a bound pod that asks for other requests may have them: at once, later, or never on this node.
//! Never changes a container: the node agent does, once it is granted.
//!
//! Parity: `handlePodResourcesResize` of `pkg/kubelet/allocation`, `isResizeFeasible`, and their texts.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::arrival;
use super::demand::Demand;
use super::fit;
use super::ledger::{Guest, Load, NodeSeen};
use crate::model::resize;

/// What becomes of a resize that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There is room.
    Granted,
    /// Not until others end.
    Deferred(String),
    /// Never: the node is too small.
    Infeasible(String),
}

impl Answer {
    /// Reason and message of the condition that says so; none where it is granted.
    pub fn refusal(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Granted => None,
            Self::Deferred(message) => Some((resize::DEFERRED, message)),
            Self::Infeasible(message) => Some((resize::INFEASIBLE, message)),
        }
    }
}

/// The pods of which a resize is to be answered anew, the most important first. What is granted is gone for those after.
pub fn answers(node: &NodeSeen, load: &Load) -> Vec<(Arc<Guest>, Answer)> {
    let mut due: Vec<&Arc<Guest>> = load.guests().filter(|guest| resize::is_due(guest.pod())).collect();
    if due.is_empty() {
        return Vec::new();
    }
    due.sort_by_key(|guest| (std::cmp::Reverse(guest.priority), guest.object.meta().creation_timestamp.clone()));
    let mut taken = Demand::default();
    load.guests().for_each(|guest| taken.add(&granted(guest.pod())));
    let mut out = Vec::new();
    for guest in due {
        let wanted = guest.pod().spec.as_ref().map(Demand::of_pod).unwrap_or_default();
        let own = granted(guest.pod());
        taken.subtract(&own);
        let answer = answer(node, &taken, &wanted);
        taken.add(if answer == Answer::Granted { &wanted } else { &own });
        if answer == Answer::Granted || !is_told(guest.pod(), &answer) {
            out.push((Arc::clone(guest), answer));
        }
    }
    out
}

fn answer(node: &NodeSeen, taken: &Demand, wanted: &Demand) -> Answer {
    let wanted = wanted.only(|name| resize::RESIZABLE.contains(&name));
    for (name, requested) in wanted.some() {
        let capacity = node.allocatable.get(name);
        if requested > capacity {
            return Answer::Infeasible(format!(
                "Node didn't have enough capacity: {name}, requested: {requested}, capacity: {capacity}"
            ));
        }
    }
    let short = fit::lacking(node, taken, &wanted).into_iter().next();
    short.map_or(Answer::Granted, |short| Answer::Deferred(arrival::words(&short)))
}

/// What a pod has been granted.
pub fn granted(pod: &Pod) -> Demand {
    resize::granted(pod).as_ref().or(pod.spec.as_ref()).map(Demand::of_pod).unwrap_or_default()
}

/// What is kept for a bound pod: what it has and what it asks for, whichever is more; what the node can never give is not
/// kept. Parity: `determineContainerReqs` of component-helpers.
pub fn kept(pod: &Pod) -> Demand {
    let asked = pod.spec.as_ref().map(Demand::of_pod).unwrap_or_default();
    let Some(has) = resize::granted(pod) else { return asked };
    let mut demand = Demand::of_pod(&has);
    let infeasible = resize::condition(pod, resize::PENDING)
        .is_some_and(|condition| condition.reason.as_deref() == Some(resize::INFEASIBLE));
    if !infeasible {
        demand.raise(&asked);
    }
    demand
}

/// Whether the pod was told so for what it asks for now.
fn is_told(pod: &Pod, answer: &Answer) -> bool {
    let told = resize::condition(pod, resize::PENDING);
    told.is_some_and(|told| {
        told.observed_generation == pod.metadata.generation
            && told.reason.as_deref().zip(told.message.as_deref()) == answer.refusal()
    })
}

/// The Event about an answer: its reason and its text.
pub fn event(pod: &Pod, answer: &Answer) -> (&'static str, String) {
    let containers = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let containers: Vec<Value> = containers
        .filter(|one| one.resources.is_some())
        .map(|one| json!({"name": one.name, "resources": one.resources}))
        .collect();
    let mut about = json!({"containers": containers, "generation": pod.metadata.generation});
    if let Some((_, message)) = answer.refusal() {
        about["error"] = json!(message);
    }
    match answer {
        Answer::Granted => ("ResizeStarted", format!("Pod resize started: {about}")),
        Answer::Deferred(_) => ("ResizeDeferred", format!("Pod resize Deferred: {about}")),
        Answer::Infeasible(_) => ("ResizeInfeasible", format!("Pod resize Infeasible: {about}")),
    }
}
