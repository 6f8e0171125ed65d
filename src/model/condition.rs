//! Owns how a condition is put into a pod's status. Never decides whether one holds.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};

use super::time;

/// Condition of a pod that was taken down by something other than itself.
pub const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// A condition that begins to be so now, in no further words.
pub fn new(kind: &str, holds: bool, now: Timestamp) -> PodCondition {
    PodCondition {
        type_: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        last_transition_time: Some(time::seconds(now)),
        ..PodCondition::default()
    }
}

/// Puts a condition in the place of the one of its type; one that says the same as before is as old as that.
/// Parity: it names the generation that it was worked out from, as all have since 1.35.
pub fn set(pod: &mut Pod, mut condition: PodCondition) {
    condition.observed_generation = pod.metadata.generation;
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    let same = conditions.iter().find(|old| old.type_ == condition.type_ && old.status == condition.status);
    if let Some(since) = same.and_then(|old| old.last_transition_time.clone()) {
        condition.last_transition_time = Some(since);
    }
    conditions.retain(|old| old.type_ != condition.type_);
    conditions.push(condition);
}

/// Says who takes the pod down, and why.
pub fn disrupt(pod: &mut Pod, reason: &str, message: &str, now: Timestamp) {
    let (reason, message) = (Some(reason.to_owned()), Some(message.to_owned()));
    set(pod, PodCondition { reason, message, ..new(DISRUPTION_TARGET, true, now) });
}
