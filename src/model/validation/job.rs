//! Owns the rules of a new Job, and of the Job inside a CronJob.
//! The policies' rules stand in `failure_policy`, those of updates in `job_update`, of the status in `job_status`.
//!
//! Parity: batch's `ValidateJob` and `ValidateJobSpec` at 1.32.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSchedulingConfiguration, JobSpec};

use super::{failure_policy, labels, metadata, names, pod_spec, text};
use crate::model::field::{Errors, FieldError, Json, Path};

/// Most pods of an Indexed Job at once: it bounds the length of the lists of indexes in the status.
const INDEXED_PARALLELISM_MAX: i32 = 100_000;
/// Most failed indexes that a Job may allow.
const FAILED_INDEXES_MAX: i32 = 100_000;
/// From more completions than this on, a Job with a limit per index is held to the two limits below.
const COMPLETIONS_SOFT_LIMIT: i32 = 100_000;
/// Most pods at once of such a Job.
const PARALLELISM_MAX_OF_HUGE: i32 = 10_000;
/// Most failed indexes of such a Job.
const FAILED_INDEXES_MAX_OF_HUGE: i32 = 10_000;
/// Longest `managedBy`, in bytes.
const MANAGED_BY_MAX: usize = 63;

/// Labels that the server puts on the pods of a Job, each with what it holds.
const UID_LABELS: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];
const NAME_LABELS: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];

/// Every problem of a new Job.
pub fn create(job: &Job) -> Vec<FieldError> {
    let mut errors = Errors::new();
    self::job(&mut errors, job, true);
    errors.into_vec()
}

/// A Job's rules; `prefixed` where its pods must carry the labels with a domain too.
pub(super) fn job(errors: &mut Errors, job: &Job, prefixed: bool) {
    let default = JobSpec::default();
    let spec = job.spec.as_ref().unwrap_or(&default);
    metadata::create(errors, &job.metadata, true, metadata::subdomain_name);
    generated_selector(errors, job, spec, prefixed);
    with_selector(errors, spec);
    if let (Some("Indexed"), Some(completions)) = (spec.completion_mode.as_deref(), spec.completions)
        && completions > 0
    {
        // The controller appends the index to the host names of the pods.
        let name = text(&job.metadata.name);
        let hostname = format!("{name}-{}", completions - 1);
        if !names::dns_label(&hostname).is_empty() {
            let words = format!("will not able to create pod with invalid DNS label: {hostname}");
            errors.invalid(&Path::new("metadata.name"), &name, &words);
        }
    }
}

fn generated_selector(errors: &mut Errors, job: &Job, spec: &JobSpec, prefixed: bool) {
    let Some(selector) = spec.selector.as_ref().filter(|_| spec.manual_selector != Some(true)) else { return };
    let uid = text(&job.metadata.uid);
    let name = text(&job.metadata.name);
    errors.required_if_empty(&Path::new("metadata.uid"), uid);
    let none = BTreeMap::new();
    let carried = spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref()).unwrap_or(&none);
    let path = Path::new("spec.template.metadata");
    let mut expected = BTreeMap::new();
    for index in 0..if prefixed { 2 } else { 1 } {
        labels::has_label(errors, carried, &path, UID_LABELS[index], uid);
        labels::has_label(errors, carried, &path, NAME_LABELS[index], name);
        expected.insert(UID_LABELS[index].to_owned(), uid.to_owned());
        expected.insert(NAME_LABELS[index].to_owned(), name.to_owned());
    }
    if labels::selects(Some(selector), &expected) == Some(false) {
        errors.invalid(&Path::new("spec.selector"), &Json(selector), "`selector` not auto-generated");
    }
}

/// A Job's spec with its selector.
pub(super) fn with_selector(errors: &mut Errors, spec: &JobSpec) {
    let path = Path::new("spec");
    self::spec(errors, spec, &path);
    if spec.selector.is_none() {
        errors.required(&path.child("selector"), "");
    }
    labels::selector(errors, spec.selector.as_ref(), &path.child("selector"));
    let none = BTreeMap::new();
    let carried = spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref()).unwrap_or(&none);
    if labels::selects(spec.selector.as_ref(), carried) == Some(false) {
        let words = "`selector` does not match template `labels`";
        errors.invalid(&path.child("template.metadata.labels"), carried, words);
    }
}

/// What a Job and a CronJob's template of one have in common: the spec without its selector.
pub(super) fn spec(errors: &mut Errors, spec: &JobSpec, path: &Path<'_>) {
    errors.nonnegative_if_set(&path.child("parallelism"), spec.parallelism);
    errors.nonnegative_if_set(&path.child("completions"), spec.completions);
    errors.nonnegative_if_set(&path.child("activeDeadlineSeconds"), spec.active_deadline_seconds);
    errors.nonnegative_if_set(&path.child("backoffLimit"), spec.backoff_limit);
    errors.nonnegative_if_set(&path.child("ttlSecondsAfterFinished"), spec.ttl_seconds_after_finished);
    errors.nonnegative_if_set(&path.child("backoffLimitPerIndex"), spec.backoff_limit_per_index);
    if let Some(limit) = spec.max_failed_indexes {
        errors.nonnegative(&path.child("maxFailedIndexes"), limit);
        if spec.backoff_limit_per_index.is_none() {
            errors.required(&path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
        }
    }
    managed_by(errors, spec, &path.child("managedBy"));
    completion_mode(errors, spec, path);
    failure_policy::failure(errors, spec, &path.child("podFailurePolicy"));
    success_policy(errors, spec, &path.child("successPolicy"));
    failure_policy::replacement(errors, spec, &path.child("podReplacementPolicy"));
    if let Some(scheduling) = &spec.scheduling {
        self::scheduling(errors, scheduling, &path.child("scheduling.schedulingPolicy"));
    }
    pod_spec::template(errors, &spec.template, &path.child("template"));
    restart_policy(errors, spec, &path.child("template.spec.restartPolicy"));
}

fn managed_by(errors: &mut Errors, spec: &JobSpec, path: &Path<'_>) {
    let Some(manager) = &spec.managed_by else { return };
    if !errors.required_if_empty(path, manager) {
        match manager.split_once('/') {
            Some((domain, rest)) if !domain.is_empty() && !rest.is_empty() => {
                errors.invalid_each(path, &domain, names::dns_subdomain(domain));
                errors.invalid_each(path, &rest, names::http_path(rest));
            }
            _ => errors.invalid(path, manager, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
        }
    }
    if manager.len() > MANAGED_BY_MAX {
        errors.too_long(path, MANAGED_BY_MAX);
    }
}

fn completion_mode(errors: &mut Errors, spec: &JobSpec, path: &Path<'_>) {
    let mode = spec.completion_mode.as_deref().unwrap_or("NonIndexed");
    errors.one_of(&path.child("completionMode"), mode, &["NonIndexed", "Indexed"]);
    match mode {
        "Indexed" => indexed(errors, spec, path),
        "NonIndexed" => {
            let fields =
                [("backoffLimitPerIndex", spec.backoff_limit_per_index), ("maxFailedIndexes", spec.max_failed_indexes)];
            for (name, value) in fields {
                if let Some(value) = value {
                    errors.invalid(&path.child(name), &value, "requires indexed completion mode");
                }
            }
        }
        _ => {}
    }
}

fn indexed(errors: &mut Errors, spec: &JobSpec, path: &Path<'_>) {
    let parallelism = spec.parallelism.unwrap_or(0);
    let parallelism_path = path.child("parallelism");
    let failed_path = path.child("maxFailedIndexes");
    let most_failed = spec.max_failed_indexes;
    if spec.completions.is_none() {
        errors.required(&path.child("completions"), "when completion mode is Indexed");
    }
    if parallelism > INDEXED_PARALLELISM_MAX {
        let words = format!("must be less than or equal to {INDEXED_PARALLELISM_MAX} when completion mode is Indexed");
        errors.invalid(&parallelism_path, &parallelism, &words);
    }
    if let (Some(completions), Some(limit)) = (spec.completions, most_failed)
        && limit > completions
    {
        errors.invalid(&failed_path, &limit, "must be less than or equal to completions");
    }
    if let Some(limit) = most_failed.filter(|limit| *limit > FAILED_INDEXES_MAX) {
        errors.invalid(&failed_path, &limit, &format!("must be less than or equal to {FAILED_INDEXES_MAX}"));
    }
    let huge = spec.completions.is_some_and(|completions| completions > COMPLETIONS_SOFT_LIMIT);
    if !huge || spec.backoff_limit_per_index.is_none() {
        return;
    }
    let when = format!("when completions are above {COMPLETIONS_SOFT_LIMIT} and used with backoff limit per index");
    if most_failed.is_none() {
        let words = format!("must be specified when completions is above {COMPLETIONS_SOFT_LIMIT}");
        errors.required(&failed_path, &words);
    }
    if parallelism > PARALLELISM_MAX_OF_HUGE {
        let words = format!("must be less than or equal to {PARALLELISM_MAX_OF_HUGE} {when}");
        errors.invalid(&parallelism_path, &parallelism, &words);
    }
    if let Some(limit) = most_failed.filter(|limit| *limit > FAILED_INDEXES_MAX_OF_HUGE) {
        let words = format!("must be less than or equal to {FAILED_INDEXES_MAX_OF_HUGE} {when}");
        errors.invalid(&failed_path, &limit, &words);
    }
}

fn success_policy(errors: &mut Errors, spec: &JobSpec, path: &Path<'_>) {
    let Some(policy) = &spec.success_policy else { return };
    if spec.completion_mode.as_deref() != Some("Indexed") {
        errors.invalid(path, &Json(policy), "requires indexed completion mode");
        return;
    }
    // Without completions the Job is refused already; upstream does not get this far.
    failure_policy::success(errors, policy, spec.completions.unwrap_or(0), path);
}

/// Newer than 1.32: how the Job's pods are placed together. As the newest upstream has it, lightly.
fn scheduling(errors: &mut Errors, scheduling: &JobSchedulingConfiguration, path: &Path<'_>) {
    let Some(policy) = &scheduling.scheduling_policy else { return };
    match (&policy.basic, &policy.gang) {
        (Some(_), Some(_)) => errors.invalid(path, &Json(policy), "exactly one of `basic` and `gang` must be set"),
        (None, None) => errors.required(path, "exactly one of `basic` and `gang` must be set"),
        (None, Some(gang)) => {
            if let Some(count) = gang.min_count.filter(|count| *count <= 0) {
                errors.invalid(&path.child("gang.minCount"), &count, "must be greater than zero");
            }
        }
        (Some(_), None) => {}
    }
}

fn restart_policy(errors: &mut Errors, spec: &JobSpec, path: &Path<'_>) {
    let policy = spec.template.spec.as_ref().map(|pod| text(&pod.restart_policy)).unwrap_or_default();
    match policy {
        // A pod's default does not suit a Job, and to the server it looks as if the client had given it.
        "" | "Always" => errors.required(path, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if spec.pod_failure_policy.is_some() => {
            let words = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.invalid(path, &policy, words);
        }
        "OnFailure" | "Never" => {}
        other => errors.not_supported(path, &other, &["OnFailure", "Never"]),
    }
}
