//! PURE. Owns the translation of a plan into the writes of one commit. Never decides: what is written was planned.
//!
//! Parity: `bind`, `handleSchedulingFailure` and `recordSchedulingFailure` of kube-scheduler; their Events and texts.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};

use super::ledger::SCHEDULER;
use super::plan::{POD_SCHEDULED, Plan, UNSCHEDULABLE};
use crate::model::event::{self, Severity};
use crate::model::object::Object;
use crate::model::time;
use crate::store::{Expected, Write};

/// The commit that carries the plan out. Every pod is guarded by the revision that was read.
pub fn writes(plan: &Plan, node: &str, now: Timestamp) -> Vec<Write> {
    let mut writes = Vec::new();
    for object in &plan.bind {
        let Some(pod) = object.typed::<Pod>() else { continue };
        writes.push(update(object, bound(pod, node, now)));
        let (namespace, name) = (object.key().namespace, object.key().name);
        let text = format!("Successfully assigned {namespace}/{name} to {node}");
        writes.push(Write::Record(event::about(object, SCHEDULER, Severity::Normal, "Scheduled", &text, now)));
    }
    for (object, message) in &plan.tell {
        let Some(pod) = object.typed::<Pod>() else { continue };
        writes.push(update(object, unschedulable(pod, message, now)));
        let event = event::about(object, SCHEDULER, Severity::Warning, "FailedScheduling", message, now);
        writes.push(Write::Record(event));
    }
    writes
}

fn update(object: &Object, pod: Pod) -> Write {
    Write::Update { object: Object::new(pod), expected: Expected::Revision(object.revision()) }
}

fn bound(pod: &Pod, node: &str, now: Timestamp) -> Pod {
    let mut pod = pod.clone();
    pod.spec.get_or_insert_default().node_name = Some(node.to_owned());
    let condition = PodCondition {
        type_: POD_SCHEDULED.to_owned(),
        status: "True".to_owned(),
        last_transition_time: Some(time::seconds(now)),
        ..PodCondition::default()
    };
    replace(&mut pod, condition);
    pod
}

fn unschedulable(pod: &Pod, message: &str, now: Timestamp) -> Pod {
    let mut pod = pod.clone();
    let before = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let same = before.into_iter().find(|old| old.type_ == POD_SCHEDULED && old.status == "False");
    let since = same.and_then(|old| old.last_transition_time.clone());
    let condition = PodCondition {
        type_: POD_SCHEDULED.to_owned(),
        status: "False".to_owned(),
        reason: Some(UNSCHEDULABLE.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: since.or(Some(time::seconds(now))),
        ..PodCondition::default()
    };
    replace(&mut pod, condition);
    pod
}

fn replace(pod: &mut Pod, condition: PodCondition) {
    let generation = pod.metadata.generation;
    let status = pod.status.get_or_insert_default();
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|old| old.type_ != condition.type_);
    conditions.push(PodCondition { observed_generation: generation, ..condition });
}
