//! Owns what an update of a Job may change.
//!
//! Parity: the Job strategy's `ValidateUpdate` and batch's `ValidateJobSpecUpdate` at 1.32. The new Job is checked
//! twice, as upstream does: once as a new one, once as a change.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Affinity, PodTemplateSpec};

use super::{job, metadata};
use crate::model::field::{Errors, FieldError, Json, Path};

/// Every problem of an update.
pub fn update(new: &Job, old: &Job) -> Vec<FieldError> {
    let mut errors = Errors::new();
    let default = JobSpec::default();
    let (spec, old_spec) = (new.spec.as_ref().unwrap_or(&default), old.spec.as_ref().unwrap_or(&default));
    job::job(&mut errors, new, has_prefixed_labels(old_spec));
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    job::with_selector(&mut errors, spec);
    let started = old.status.as_ref().is_some_and(|status| status.start_time.is_some());
    let waiting = old_spec.suspend == Some(true) && !started;
    changes(&mut errors, spec, old_spec, waiting);
    errors.into_vec()
}

/// Jobs stored before the labels had a domain are not held to it.
fn has_prefixed_labels(spec: &JobSpec) -> bool {
    let none = BTreeMap::new();
    let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref()).unwrap_or(&none);
    let names = ["batch.kubernetes.io/job-name", "batch.kubernetes.io/controller-uid"];
    names.iter().all(|name| labels.contains_key(*name))
}

/// `waiting`: the Job is suspended and never ran, so where its pods go may still change.
fn changes(errors: &mut Errors, new: &JobSpec, old: &JobSpec, waiting: bool) {
    let path = Path::new("spec");
    completions(errors, new, old, &path.child("completions"));
    let shown = new.selector.as_ref().map(Json);
    errors.immutable(&path.child("selector"), &new.selector, &old.selector, &shown);
    template(errors, &new.template, &old.template, waiting, &path.child("template"));
    let (mode, old_mode) = (&new.completion_mode, &old.completion_mode);
    errors.immutable(&path.child("completionMode"), mode, old_mode, mode);
    let shown = new.pod_failure_policy.as_ref().map(Json);
    errors.immutable(&path.child("podFailurePolicy"), &new.pod_failure_policy, &old.pod_failure_policy, &shown);
    let (limit, old_limit) = (&new.backoff_limit_per_index, &old.backoff_limit_per_index);
    errors.immutable(&path.child("backoffLimitPerIndex"), limit, old_limit, limit);
    errors.immutable(&path.child("managedBy"), &new.managed_by, &old.managed_by, &new.managed_by);
    let shown = new.success_policy.as_ref().map(Json);
    errors.immutable(&path.child("successPolicy"), &new.success_policy, &old.success_policy, &shown);
    scheduling(errors, new, old, &path.child("scheduling"));
}

/// The completions of an Indexed Job follow its parallelism; otherwise they stay.
fn completions(errors: &mut Errors, new: &JobSpec, old: &JobSpec, path: &Path<'_>) {
    if new.completion_mode.as_deref() != Some("Indexed") {
        errors.immutable(path, &new.completions, &old.completions, &new.completions);
        return;
    }
    // That an Indexed Job needs completions is said elsewhere.
    let Some(count) = new.completions.filter(|_| new.completions != old.completions) else { return };
    if Some(count) != new.parallelism {
        errors.invalid(path, &count, "can only be modified in tandem with spec.parallelism");
    }
}

fn template(errors: &mut Errors, new: &PodTemplateSpec, old: &PodTemplateSpec, waiting: bool, path: &Path<'_>) {
    if waiting {
        errors.immutable(path, new, &with_placement(old, new), &Json(new));
    } else {
        errors.immutable(path, new, old, &Json(new));
    }
}

/// The old template with everything of the new one that decides where pods go.
fn with_placement(old: &PodTemplateSpec, new: &PodTemplateSpec) -> PodTemplateSpec {
    let mut result = old.clone();
    let labels = new.metadata.as_ref().and_then(|meta| meta.labels.clone());
    let annotations = new.metadata.as_ref().and_then(|meta| meta.annotations.clone());
    let had_meta = result.metadata.is_some();
    let meta = result.metadata.get_or_insert_default();
    meta.labels = labels;
    meta.annotations = annotations;
    if !had_meta && new.metadata.is_none() {
        result.metadata = None;
    }
    if let (Some(spec), Some(new)) = (&mut result.spec, &new.spec) {
        spec.affinity = affinity(spec.affinity.take(), new.affinity.as_ref());
        spec.node_selector.clone_from(&new.node_selector);
        spec.tolerations.clone_from(&new.tolerations);
        spec.scheduling_gates.clone_from(&new.scheduling_gates);
    }
    result
}

/// Only the affinity to nodes may change.
fn affinity(old: Option<Affinity>, new: Option<&Affinity>) -> Option<Affinity> {
    match (old, new) {
        (Some(old), None) => {
            let rest = Affinity { node_affinity: None, ..old };
            (rest != Affinity::default()).then_some(rest)
        }
        (None, Some(new)) => Some(Affinity { node_affinity: new.node_affinity.clone(), ..Affinity::default() }),
        (Some(old), Some(new)) => Some(Affinity { node_affinity: new.node_affinity.clone(), ..old }),
        (None, None) => None,
    }
}

/// Newer than 1.32: all of it stays but the size of the gang.
fn scheduling(errors: &mut Errors, new: &JobSpec, old: &JobSpec, path: &Path<'_>) {
    let without_count = |spec: &JobSpec| {
        let mut scheduling = spec.scheduling.clone();
        let policy = scheduling.as_mut().and_then(|scheduling| scheduling.scheduling_policy.as_mut());
        if let Some(gang) = policy.and_then(|policy| policy.gang.as_mut()) {
            gang.min_count = None;
        }
        scheduling
    };
    let shown = new.scheduling.as_ref().map(Json);
    errors.immutable(path, &without_count(new), &without_count(old), &shown);
}
