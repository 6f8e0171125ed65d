//! Owns when a pod's tracking finalizer comes off without the pod being counted: nobody is left who would count it.
//! Never writes.
//!
//! Parity: upstream's `syncOrphanPod`. Differs: a pod without a controller that a live Job would adopt is left to it,
//! where upstream's two workers race.

use k8s_openapi::api::batch::v1::Job;

use super::claim;
use super::conditions;
use super::pods::{TRACKING_FINALIZER, is_tracked};
use super::rules;
use crate::model::object::Object;

/// Whether nobody will count this tracked pod. `jobs` are the Jobs of its namespace that may be concerned: its
/// controller, and those that may select it.
pub fn is_forsaken(pod: &Object, jobs: &[Object]) -> bool {
    let meta = pod.meta();
    if !is_tracked(meta) {
        return false;
    }
    let owners = meta.owner_references.iter().flatten();
    match owners.into_iter().find(|owner| owner.controller == Some(true)) {
        Some(owner) if owner.kind != "Job" || owner.api_version != "batch/v1" => false,
        Some(owner) => jobs.iter().find(|job| job.uid() == owner.uid).is_none_or(|job| !keeps(job)),
        None => !jobs.iter().any(|job| adopts(job, pod)),
    }
}

/// The pod without the tracking finalizer.
#[must_use]
pub fn released(pod: &Object) -> Object {
    pod.with_meta(|meta| {
        let left = meta.finalizers.take().into_iter().flatten().filter(|name| name != TRACKING_FINALIZER);
        meta.finalizers = Some(left.collect::<Vec<_>>()).filter(|all| !all.is_empty());
    })
}

/// Whether the Job still counts its pods, or somebody else does on its behalf.
fn keeps(job: &Object) -> bool {
    let Some(job) = job.typed::<Job>() else { return false };
    let finished = job.status.as_ref().is_some_and(|status| conditions::finished(status).is_some());
    !finished || rules::foreign_manager(job).is_some()
}

fn adopts(job: &Object, pod: &Object) -> bool {
    let mine = job.typed::<Job>().is_some_and(|job| rules::foreign_manager(job).is_none());
    mine && keeps(job) && !claim::sort(job, [pod.clone()]).adopted.is_empty()
}
