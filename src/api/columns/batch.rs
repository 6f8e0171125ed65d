//! Owns the cells of Jobs and CronJobs. PURE. Never reads a clock: `now` comes with the row.

use k8s_openapi::api::batch::v1::{CronJob, Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Value, json};

use super::super::duration;
use super::{Row, or_none};
use crate::model::selector::Selector;

pub(super) fn job(job: &Job, row: Row<'_>) -> Vec<Value> {
    let spec = job.spec.clone().unwrap_or_default();
    let status = job.status.clone().unwrap_or_default();
    let terminating = job.metadata.deletion_timestamp.is_some();
    let (names, images) = containers(&spec.template);
    vec![
        json!(row.name),
        json!(state(&status, terminating)),
        json!(completions(&spec, &status)),
        json!(took(&status, &row)),
        json!(row.age),
        json!(names),
        json!(images),
        json!(selector(spec.selector.as_ref())),
    ]
}

/// The first of these that holds. Parity: the order of upstream's `printJob`.
fn state(status: &JobStatus, terminating: bool) -> &'static str {
    let has = |wanted: &str| {
        status.conditions.iter().flatten().any(|condition| condition.type_ == wanted && condition.status == "True")
    };
    match () {
        () if has("Complete") => "Complete",
        () if has("Failed") => "Failed",
        () if terminating => "Terminating",
        () if has("Suspended") => "Suspended",
        () if has("FailureTarget") => "FailureTarget",
        () if has("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(spec: &JobSpec, status: &JobStatus) -> String {
    let succeeded = status.succeeded.unwrap_or(0);
    match (spec.completions, spec.parallelism.unwrap_or(0)) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn took(status: &JobStatus, row: &Row<'_>) -> String {
    let Some(start) = &status.start_time else { return String::new() };
    let end = status.completion_time.as_ref().map_or(row.now, |end| end.0);
    duration::human(end.duration_since(start.0).as_secs())
}

pub(super) fn cron_job(cron: &CronJob, row: Row<'_>) -> Vec<Value> {
    let spec = cron.spec.clone();
    let status = cron.status.clone().unwrap_or_default();
    let job = spec.job_template.spec.unwrap_or_default();
    let (names, images) = containers(&job.template);
    let suspend = match spec.suspend {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    };
    let last = status.last_schedule_time.as_ref();
    vec![
        json!(row.name),
        json!(spec.schedule),
        json!(spec.time_zone.as_deref().unwrap_or("<none>")),
        json!(suspend),
        json!(status.active.iter().flatten().count()),
        json!(last.map_or_else(|| "<none>".to_owned(), |at| duration::since(Some(at), row.now))),
        json!(row.age),
        json!(names),
        json!(images),
        json!(selector(job.selector.as_ref())),
    ]
}

/// Names and images of a template's containers.
pub(super) fn containers(template: &PodTemplateSpec) -> (String, String) {
    let containers: &[Container] = template.spec.as_ref().map_or(&[], |spec| &spec.containers);
    let names: Vec<&str> = containers.iter().map(|container| container.name.as_str()).collect();
    let images: Vec<&str> = containers.iter().map(|container| container.image.as_deref().unwrap_or_default()).collect();
    (names.join(","), images.join(","))
}

fn selector(selector: Option<&LabelSelector>) -> String {
    match selector.map(Selector::of) {
        None => "<none>".to_owned(),
        Some(Err(_)) => "<error>".to_owned(),
        Some(Ok(selector)) => or_none(Some(&selector.to_string())).to_owned(),
    }
}
