//! PURE. Owns the translation of a plan into the writes of one commit. Never decides: what is written was planned.
//!
//! Parity: `bind`, `handleSchedulingFailure`, `PreemptPod` of kube-scheduler, `addConditionAndDeletePod` of the taint
//! eviction controller, the kubelet's `rejectPod`; their Events and texts.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};

use super::arrival::Refused;
use super::evict;
use super::ledger::{Guest, Ledger, SCHEDULER};
use super::plan::{Eviction, POD_SCHEDULED, Plan, Told, UNSCHEDULABLE, Why};
use super::resize::{self, Answer};
use crate::model::deletion::{self, Deletion, Propagation};
use crate::model::event::{self, Severity};
use crate::model::object::Object;
use crate::model::resize::{IN_PROGRESS, PENDING};
use crate::model::time;
use crate::store::{Expected, Write};

/// Who speaks of pods that come with a node.
const KUBELET: &str = "kubelet";
/// Who speaks of taints.
const TAINT_EVICTION: &str = "taint-eviction-controller";
/// Condition of a pod that was taken down by something other than itself.
const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// The commit that carries the plan out. Every object is guarded by the revision that was read.
pub fn writes(ledger: &Ledger, plan: &Plan, now: Timestamp) -> Vec<Write> {
    let node = ledger.node_name();
    let mut out = Writes { writes: Vec::new(), now };
    plan.bind.iter().for_each(|guest| out.bind(guest, node));
    plan.tell.iter().for_each(|told| out.tell(told, node));
    for guest in &plan.admit {
        out.update(guest, |pod| set(pod, condition(POD_SCHEDULED, true, now)));
    }
    plan.refuse.iter().for_each(|(guest, refused)| out.refuse(guest, refused));
    plan.evict.iter().for_each(|eviction| out.evict(eviction, node));
    plan.resize.iter().for_each(|(guest, answer)| out.resize(guest, answer));
    if plan.date_taints
        && let Some(object) = ledger.node_object()
        && let Some(node) = object.typed::<Node>()
    {
        let mut node = node.clone();
        let spec = node.spec.get_or_insert_default();
        spec.taints = spec.taints.as_deref().map(|taints| evict::dated(taints, now));
        let expected = Expected::Revision(object.revision());
        out.writes.push(Write::Update { object: Object::new(node), expected });
    }
    out.writes
}

struct Writes {
    writes: Vec<Write>,
    now: Timestamp,
}

impl Writes {
    fn update(&mut self, guest: &Guest, change: impl FnOnce(&mut Pod)) {
        let mut pod = guest.pod().clone();
        change(&mut pod);
        let expected = Expected::Revision(guest.object.revision());
        self.writes.push(Write::Update { object: Object::new(pod), expected });
    }

    fn say(&mut self, guest: &Guest, component: &str, severity: Severity, reason: &str, message: &str) {
        let event = event::about(&guest.object, component, severity, reason, message, self.now);
        self.writes.push(Write::Record(event));
    }

    fn bind(&mut self, guest: &Guest, node: &str) {
        let now = self.now;
        self.update(guest, |pod| {
            pod.spec.get_or_insert_default().node_name = Some(node.to_owned());
            pod.status.get_or_insert_default().nominated_node_name = None;
            set(pod, condition(POD_SCHEDULED, true, now));
        });
        let key = guest.object.key();
        let text = format!("Successfully assigned {}/{} to {node}", key.namespace, key.name);
        self.say(guest, SCHEDULER, Severity::Normal, "Scheduled", &text);
    }

    fn tell(&mut self, told: &Told, node: &str) {
        let now = self.now;
        self.update(&told.guest, |pod| {
            pod.status.get_or_insert_default().nominated_node_name = told.nominated.then(|| node.to_owned());
            let reason = Some(UNSCHEDULABLE.to_owned());
            let message = Some(told.message.clone());
            set(pod, PodCondition { reason, message, ..condition(POD_SCHEDULED, false, now) });
        });
        self.say(&told.guest, SCHEDULER, Severity::Warning, "FailedScheduling", &told.message);
    }

    fn refuse(&mut self, guest: &Guest, refused: &Refused) {
        self.update(guest, |pod| {
            let status = pod.status.get_or_insert_default();
            status.phase = Some("Failed".to_owned());
            status.reason = Some(refused.reason.clone());
            status.message = Some(format!("Pod was rejected: {}", refused.message));
        });
        self.say(guest, KUBELET, Severity::Warning, &refused.reason, &refused.message);
    }

    fn resize(&mut self, guest: &Guest, answer: &Answer) {
        let now = self.now;
        self.update(guest, |pod| match answer.refusal() {
            Some((reason, message)) => {
                let (reason, message) = (Some(reason.to_owned()), Some(message.to_owned()));
                set(pod, PodCondition { reason, message, ..condition(PENDING, true, now) });
            }
            None => {
                let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
                conditions.retain(|old| old.type_ != PENDING);
                set(pod, condition(IN_PROGRESS, true, now));
            }
        });
        let severity = if *answer == Answer::Granted { Severity::Normal } else { Severity::Warning };
        let (reason, text) = resize::event(guest.pod(), answer);
        self.say(guest, KUBELET, severity, reason, &text);
    }

    fn evict(&mut self, eviction: &Eviction, node: &str) {
        let guest = &eviction.guest;
        let key = guest.object.key();
        let (reason, message, component, event, text) = match &eviction.why {
            Why::Taint => (
                "DeletionByTaintManager",
                "Taint manager: deleting due to NoExecute taint",
                TAINT_EVICTION,
                "TaintManagerEviction",
                format!("Marking for deletion Pod {}/{}", key.namespace, key.name),
            ),
            Why::Preempted { by } => (
                "PreemptionByScheduler",
                "default-scheduler: preempting to accommodate a higher priority pod",
                SCHEDULER,
                "Preempted",
                format!("Preempted by pod {by} on node {node}"),
            ),
        };
        let mut pod = guest.pod().clone();
        let condition = condition(DISRUPTION_TARGET, true, self.now);
        let (reason, message) = (Some(reason.to_owned()), Some(message.to_owned()));
        set(&mut pod, PodCondition { reason, message, ..condition });
        let expected = Expected::Revision(guest.object.revision());
        let write = match deletion::delete(&Object::new(pod), None, Propagation::Background, self.now) {
            Deletion::Mark(object) => Write::Update { object, expected },
            Deletion::Remove => Write::Delete { key, expected },
            Deletion::Underway => return,
        };
        self.writes.push(write);
        self.say(guest, component, Severity::Normal, event, &text);
    }
}

fn condition(kind: &str, holds: bool, now: Timestamp) -> PodCondition {
    PodCondition {
        type_: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        last_transition_time: Some(time::seconds(now)),
        ..PodCondition::default()
    }
}

/// Puts a condition in the place of the one of its type; one that says the same as before is as old as that.
fn set(pod: &mut Pod, mut condition: PodCondition) {
    condition.observed_generation = pod.metadata.generation;
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    let same = conditions.iter().find(|old| old.type_ == condition.type_ && old.status == condition.status);
    if let Some(since) = same.and_then(|old| old.last_transition_time.clone()) {
        condition.last_transition_time = Some(since);
    }
    conditions.retain(|old| old.type_ != condition.type_);
    conditions.push(condition);
}
