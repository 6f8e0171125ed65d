//! Owns the defaults of Jobs, and what the server sets on a Job before it is stored: selector, labels, generation.
//! Never counts pods and never ends a Job.
//!
//! Parity: `SetDefaults_Job` and `pkg/registry/batch/job/strategy.go`.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::{disabled, pod_template_spec, set, set_text};

/// Label with the Job's name, and the one it had before.
pub const JOB_NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];
/// Label with the Job's uid.
pub const CONTROLLER_UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
/// The label with the Job's uid, and the one it had before.
pub const CONTROLLER_UID_LABELS: [&str; 2] = [CONTROLLER_UID_LABEL, "controller-uid"];

/// Retries, where nobody says how many.
const BACKOFF_LIMIT: i32 = 6;

/// `SetDefaults_Job` and all below it. The labels follow the template's once those are complete (see
/// [`prepare_create`]).
pub fn job(job: &mut Job) {
    let spec = job.spec.get_or_insert_default();
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    set(&mut spec.parallelism, 1);
    let backoff_limit = if spec.backoff_limit_per_index.is_some() { i32::MAX } else { BACKOFF_LIMIT };
    set(&mut spec.backoff_limit, backoff_limit);
    set(&mut spec.completion_mode, "NonIndexed".to_owned());
    set(&mut spec.suspend, false);
    set(&mut spec.manual_selector, false);
    let replace = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    set(&mut spec.pod_replacement_policy, replace.to_owned());
    job_spec(spec);
    let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
    if labels.is_some_and(|labels| labels.contains_key(CONTROLLER_UID_LABEL)) {
        labels_from_template(job);
    }
}

/// What a Job's spec gets even inside a CronJob: its template's defaults, and that a failure policy's conditions match
/// `True` unless they say otherwise.
pub fn job_spec(spec: &mut JobSpec) {
    pod_template_spec(&mut spec.template);
    let rules = spec.pod_failure_policy.iter_mut().flat_map(|policy| &mut policy.rules);
    for pattern in rules.flat_map(|rule| rule.on_pod_conditions.iter_mut().flatten()) {
        set_text(&mut pattern.status, "True");
    }
}

/// What the server sets on a new Job. Its name and uid are set already.
pub fn prepare_create(job: &mut Job) {
    let (name, uid) = (job.metadata.name.clone().unwrap_or_default(), job.metadata.uid.clone().unwrap_or_default());
    let spec = job.spec.get_or_insert_default();
    let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
    let labelled = labels.is_some_and(|labels| !labels.is_empty());
    if spec.manual_selector != Some(true) {
        generate_selector(spec, &name, &uid);
    }
    disabled::drop_from_template(spec.template.spec.get_or_insert_default(), None);
    job.status = Some(JobStatus::default());
    job.metadata.generation = Some(1);
    if labelled {
        labels_from_template(job);
    }
}

/// What an update leaves as it was: the status. A changed spec raises the generation.
pub fn prepare_update(new: &mut Job, old: &Job) {
    labels_from_template(new);
    new.status.clone_from(&old.status);
    if let Some(spec) = new.spec.as_mut().and_then(|spec| spec.template.spec.as_mut()) {
        disabled::drop_from_template(spec, old.spec.as_ref().and_then(|old| old.template.spec.as_ref()));
    }
    new.metadata.generation = old.metadata.generation;
    if new.spec != old.spec {
        new.metadata.generation = Some(old.metadata.generation.unwrap_or(0) + 1);
    }
}

/// What a status update leaves as it was: the spec.
pub fn prepare_status_update(new: &mut Job, old: &Job) {
    labels_from_template(new);
    new.spec.clone_from(&old.spec);
    new.metadata.generation = old.metadata.generation;
}

/// Labels and a selector that match the Job's own pods alone. What is set by hand stays, and validation judges it.
fn generate_selector(spec: &mut JobSpec, name: &str, uid: &str) {
    let labels = labels_mut(&mut spec.template);
    for label in JOB_NAME_LABELS {
        labels.entry(label.to_owned()).or_insert_with(|| name.to_owned());
    }
    for label in CONTROLLER_UID_LABELS {
        labels.entry(label.to_owned()).or_insert_with(|| uid.to_owned());
    }
    let matched = spec.selector.get_or_insert_default().match_labels.get_or_insert_default();
    matched.entry(CONTROLLER_UID_LABEL.to_owned()).or_insert_with(|| uid.to_owned());
}

fn labels_mut(template: &mut PodTemplateSpec) -> &mut BTreeMap<String, String> {
    template.metadata.get_or_insert_default().labels.get_or_insert_default()
}

/// A Job without labels has its template's.
///
/// Parity: upstream defaults this before it generates the selector, into a map that both share where the template has
/// labels of its own, and again when it reads the object back. Either way the Job ends with the generated labels too;
/// only in the first case are they there when it is validated.
fn labels_from_template(job: &mut Job) {
    if job.metadata.labels.as_ref().is_some_and(|labels| !labels.is_empty()) {
        return;
    }
    let template = job.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
    job.metadata.labels = template.and_then(|meta| meta.labels.clone());
}
