//! Owns the rule of what a delete request does to an object: remove it now, or mark it and wait.
//! Never removes anything: the caller commits the answer. Whoever deletes (a client, the Job controller, TTL,
//! garbage collection) asks here.
//!
//! ```text
//!  live --delete--> marked (deletionTimestamp, grace) --finalizers gone and grace 0--> removed (by the store)
//!    \--no finalizer, no grace--> removed
//! ```
//!
//! Parity: apimachinery's `rest.BeforeDelete` and the pod strategy's `CheckGracefulDelete`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::object::Object;
use super::{phase, time};

/// Finalizer that holds an owner until its dependents with `blockOwnerDeletion` are gone.
pub const FINALIZER_FOREGROUND: &str = "foregroundDeletion";
/// Finalizer that holds an owner until its dependents no longer name it.
pub const FINALIZER_ORPHAN: &str = "orphan";

/// What becomes of the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Deleted after their owner.
    Background,
    /// Deleted before their owner.
    Foreground,
    /// Kept, without the owner.
    Orphan,
}

/// The answer to a delete request.
#[derive(Clone, Debug)]
pub enum Deletion {
    /// Nothing holds it: remove it.
    Remove,
    /// Write this state; the store removes the object when its last finalizer and its grace are gone.
    Mark(Object),
    /// The same or a sooner deletion is under way: nothing to write.
    Underway,
}

/// Decides a delete of `object` at `now`. `grace_seconds` is the request's, absent for the object's own default.
pub fn delete(object: &Object, grace_seconds: Option<i64>, propagation: Propagation, now: Timestamp) -> Deletion {
    let meta = object.meta();
    let grace = grace(object, grace_seconds);
    let finalizers = finalizers(meta, propagation);
    let held = !finalizers.is_empty() || held_by_spec(object);
    if let Some(at) = &meta.deletion_timestamp {
        let before = meta.deletion_grace_period_seconds.unwrap_or(0);
        if grace >= before && Some(&finalizers) == meta.finalizers.as_ref().or(Some(&Vec::new())) {
            return if held || before > 0 { Deletion::Underway } else { Deletion::Remove };
        }
        let shorter = grace.min(before);
        if shorter == 0 && !held {
            return Deletion::Remove;
        }
        let at = at.0 - SignedDuration::from_secs(before - shorter);
        return Deletion::Mark(object.with_meta(|meta| mark(meta, at, shorter, &finalizers)));
    }
    if grace == 0 && !held {
        return Deletion::Remove;
    }
    let at = now + SignedDuration::from_secs(grace);
    Deletion::Mark(marked(object, at, grace, &finalizers))
}

/// Whether an object that was marked has nothing left to wait for: no finalizer and no grace. The store then removes it.
pub fn is_over(object: &Object) -> bool {
    let meta = object.meta();
    meta.deletion_timestamp.is_some()
        && meta.finalizers.as_ref().is_none_or(Vec::is_empty)
        && meta.deletion_grace_period_seconds.unwrap_or(0) == 0
        && !held_by_spec(object)
}

/// A pod's last state where it is not the stored one: upstream writes that nothing is left to wait for before it removes a
/// pod, also one that goes at once, and watchers are told so. Others go as they are.
pub fn last_state(object: &Object, now: Timestamp) -> Option<Object> {
    object.typed::<Pod>()?;
    let meta = object.meta();
    let finalizers = meta.finalizers.as_deref().unwrap_or_default();
    match (&meta.deletion_timestamp, meta.deletion_grace_period_seconds.unwrap_or(0)) {
        (Some(_), 0) => None,
        (Some(at), before) => {
            let at = at.0 - SignedDuration::from_secs(before);
            Some(object.with_meta(|meta| mark(meta, at, 0, finalizers)))
        }
        (None, _) => Some(marked(object, now, 0, finalizers)),
    }
}

/// An object that a deletion reaches first.
fn marked(object: &Object, at: Timestamp, grace: i64, finalizers: &[String]) -> Object {
    object.with_meta(|meta| {
        mark(meta, at, grace, finalizers);
        meta.generation = meta.generation.map(|generation| generation + 1);
    })
}

/// A namespace has finalizers of its own in `spec.finalizers`, which hold it until it is empty.
fn held_by_spec(object: &Object) -> bool {
    let spec = object.typed::<Namespace>().and_then(|namespace| namespace.spec.as_ref());
    spec.and_then(|spec| spec.finalizers.as_ref()).is_some_and(|finalizers| !finalizers.is_empty())
}

fn mark(meta: &mut ObjectMeta, at: Timestamp, grace: i64, finalizers: &[String]) {
    meta.deletion_timestamp = Some(time::seconds(at));
    meta.deletion_grace_period_seconds = Some(grace);
    meta.finalizers = (!finalizers.is_empty()).then(|| finalizers.to_vec());
}

/// Only pods end gracefully; one that no node runs, or that has ended, has nothing to wait for.
fn grace(object: &Object, asked: Option<i64>) -> i64 {
    let Some(pod) = object.typed::<Pod>() else { return 0 };
    let spec = pod.spec.as_ref();
    if spec.and_then(|spec| spec.node_name.as_deref()).unwrap_or_default().is_empty() || phase::is_over(pod) {
        return 0;
    }
    let default = || spec.and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
    match asked.unwrap_or_else(default) {
        negative if negative < 0 => 1,
        grace => grace,
    }
}

fn finalizers(meta: &ObjectMeta, propagation: Propagation) -> Vec<String> {
    let mut all = meta.finalizers.clone().unwrap_or_default();
    all.retain(|name| name != FINALIZER_FOREGROUND && name != FINALIZER_ORPHAN);
    match propagation {
        Propagation::Background => {}
        Propagation::Foreground => all.push(FINALIZER_FOREGROUND.to_owned()),
        Propagation::Orphan => all.push(FINALIZER_ORPHAN.to_owned()),
    }
    all
}
