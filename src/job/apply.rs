//! Owns the translation of a Job's plan into the writes of one commit. Never decides: what is written was planned.
//!
//! Order: pods deleted and changed, pods created, then the Job's status, so that whoever watches sees the counters after
//! what they count. Every object that was read and is written is guarded by its revision, the Job in any case.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::facts::{BACKOFF_FACT, Claim, JobFacts, JobPlan, PodWrite, Said, UNTRACKED_FACT};
use super::pods::TRACKING_FINALIZER;
use super::template::{self, MAX_GENERATE_NAME};
use crate::admission::{self, Admission, Reservation};
use crate::model::deletion::{self, Deletion, Propagation};
use crate::model::event;
use crate::model::object::Object;
use crate::model::time;
use crate::store::{Expected, Identity, Write};

/// Who says a Job's events.
const COMPONENT: &str = "job-controller";
/// A Job's first pods are announced one by one, later ones not: a Job of 10,000 pods would drown every other event.
/// Upstream's recorder stops at the same number (its spam filter's burst).
const ANNOUNCED_PODS: usize = 25;

/// The commit that carries the plan out; empty if the plan changes nothing. `mint` gives each new pod its identity.
pub fn writes(facts: &JobFacts, plan: &JobPlan, mut mint: impl FnMut() -> Identity, now: Timestamp) -> Vec<Write> {
    if plan.is_quiet() {
        return Vec::new();
    }
    let mut writes = Vec::new();
    let mut said = Vec::new();
    for pod in &plan.pods {
        writes.push(pod_write(&facts.job, pod, now));
        if pod.delete && said.len() < ANNOUNCED_PODS {
            said.push(Said::normal("SuccessfulDelete", &format!("Deleted pod: {}", name(pod.pod.meta()))));
        }
    }
    let quota = ANNOUNCED_PODS.saturating_sub(made_before(facts));
    for (at, pod) in plan.create.iter().enumerate() {
        let object = newborn(pod, mint());
        if at < quota {
            said.push(Said::normal("SuccessfulCreate", &format!("Created pod: {}", name(object.meta()))));
        }
        writes.push(Write::Create(object));
    }
    writes.push(job_write(facts, plan));
    let events = said.iter().chain(&plan.events);
    writes.extend(events.map(|said| Write::Record(event(&facts.job, said, now))));
    let uid = facts.job.uid();
    if let Some(record) = plan.backoff {
        writes.push(remember(uid, BACKOFF_FACT, &record));
    }
    if let Some(names) = &plan.untracked {
        writes.push(remember(uid, UNTRACKED_FACT, names));
    }
    writes
}

/// How many pods the Job is known to have made.
fn made_before(facts: &JobFacts) -> usize {
    let status = facts.job.typed::<Job>().and_then(|job| job.status.as_ref());
    let counters = status.map(|status| [status.active, status.succeeded, status.failed]);
    let made: i32 = counters.into_iter().flatten().flatten().fold(0, i32::saturating_add);
    usize::try_from(made).unwrap_or(0)
}

fn name(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}

/// What is said of the Job.
pub fn event(job: &Object, said: &Said, now: Timestamp) -> Event {
    event::about(job, COMPONENT, said.severity, &said.reason, &said.message, now)
}

fn remember(uid: &str, name: &'static str, value: &impl serde::Serialize) -> Write {
    let value = serde_json::to_vec(value).expect("plain data serialises to JSON").into();
    Write::Remember { uid: uid.to_owned(), name, value }
}

fn job_write(facts: &JobFacts, plan: &JobPlan) -> Write {
    let revision = facts.job.revision();
    match (&plan.status, facts.job.typed::<Job>()) {
        (Some(status), Some(job)) => Write::Update {
            object: Object::new(Job { status: Some(status.clone()), ..job.clone() }),
            expected: Expected::Revision(revision),
        },
        _ => Write::Check { key: facts.job.key(), revision },
    }
}

/// The pod's next state, or its removal where nothing holds it.
fn pod_write(job: &Object, write: &PodWrite, now: Timestamp) -> Write {
    let expected = Expected::Revision(write.pod.revision());
    let object = write.pod.with_meta(|meta| change(job, meta, write));
    if !write.delete {
        return Write::Update { object, expected };
    }
    match deletion::delete(&object, None, Propagation::Background, now) {
        Deletion::Remove => Write::Delete { key: object.key(), expected },
        Deletion::Mark(marked) => Write::Update { object: marked, expected },
        Deletion::Underway => Write::Update { object, expected },
    }
}

fn change(job: &Object, meta: &mut ObjectMeta, write: &PodWrite) {
    let mut finalizers = meta.finalizers.take().unwrap_or_default();
    let mut owners = meta.owner_references.take().unwrap_or_default();
    match write.claim {
        Claim::Adopt => {
            owners.extend(job.typed::<Job>().map(template::owner));
            finalizers.retain(|name| name != TRACKING_FINALIZER);
            finalizers.push(TRACKING_FINALIZER.to_owned());
        }
        Claim::Release => owners.retain(|owner| owner.uid != job.uid()),
        Claim::Keep => {}
    }
    if write.untrack {
        finalizers.retain(|name| name != TRACKING_FINALIZER);
    }
    meta.finalizers = Some(finalizers).filter(|all| !all.is_empty());
    meta.owner_references = Some(owners).filter(|all| !all.is_empty());
}

/// A planned pod as its namespace lets it be made, charged to its quotas.
pub fn admitted(admission: &Admission<'_>, reservation: &mut Reservation, pod: &Pod) -> Result<Pod, admission::Error> {
    let object = admission.admit(&Object::new(pod.clone()), reservation)?;
    Ok(object.typed::<Pod>().cloned().unwrap_or_default())
}

/// Takes back what a plan would make beyond the pods that were admitted, and says why.
/// Parity: the event and the count of active pods of upstream's `manageJob`, where creations fail.
pub fn refuse(plan: &mut JobPlan, admitted: Vec<Pod>, missing: usize, why: &str) {
    plan.create = admitted;
    let missing = i32::try_from(missing).unwrap_or(i32::MAX);
    if let Some(status) = &mut plan.status {
        status.active = Some(status.active.unwrap_or(0).saturating_sub(missing).max(0)).filter(|active| *active > 0);
    }
    plan.events.push(Said::warning("FailedCreate", &format!("Error creating: {why}")));
}

/// A planned pod with the identity that makes it a real one, defaulted and prepared as a client's create would be.
fn newborn(pod: &Pod, identity: Identity) -> Object {
    let object = Object::new(pod.clone());
    let ops = &object.kind().ops;
    let object = (ops.default)(&object).with_meta(|meta| {
        let prefix = meta.generate_name.as_deref().unwrap_or_default();
        let prefix = prefix.get(..prefix.len().min(MAX_GENERATE_NAME)).unwrap_or(prefix);
        meta.name = Some(format!("{prefix}{}", identity.suffix));
        meta.uid = Some(identity.uid.clone());
        meta.creation_timestamp = Some(time::seconds(identity.now));
    });
    (ops.prepare_create)(&object)
}
