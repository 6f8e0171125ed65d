//! Owns the rules of CronJobs.
//!
//! Parity: batch's `ValidateCronJobCreate` and `ValidateCronJobUpdate` at 1.32.

use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, JobSpec};

use super::{job, metadata, text};
use crate::model::field::{Errors, FieldError, Json, Path};
use crate::model::schedule::{self, Schedule};

/// Longest name: a Job's longest (63) less the `-` and ten digits of a run.
const NAME_MAX: usize = 52;
/// Longest part of a time zone's name, in bytes.
const ZONE_PART_MAX: usize = 14;

/// Every problem of a new CronJob.
pub fn create(cron: &CronJob) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::create(&mut errors, &cron.metadata, true, metadata::subdomain_name);
    spec(&mut errors, &cron.spec, None);
    let name = text(&cron.metadata.name);
    if name.len() > NAME_MAX {
        let words = format!("must be no more than {NAME_MAX} characters");
        errors.invalid(&Path::new("metadata.name"), &name, &words);
    }
    errors.into_vec()
}

/// Every problem of an update.
pub fn update(new: &CronJob, old: &CronJob) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    spec(&mut errors, &new.spec, Some(&old.spec));
    errors.into_vec()
}

fn spec(errors: &mut Errors, spec: &CronJobSpec, old: Option<&CronJobSpec>) {
    let path = Path::new("spec");
    if !errors.required_if_empty(&path.child("schedule"), &spec.schedule) {
        let zone_allowed = old.is_some_and(|old| old.schedule.contains("TZ"));
        self::schedule(errors, spec, zone_allowed, &path.child("schedule"));
    }
    errors.nonnegative_if_set(&path.child("startingDeadlineSeconds"), spec.starting_deadline_seconds);
    if old.is_none_or(|old| old.time_zone != spec.time_zone) {
        time_zone(errors, spec.time_zone.as_deref(), &path.child("timeZone"));
    }
    let policy = text(&spec.concurrency_policy);
    errors.required_one_of(&path.child("concurrencyPolicy"), policy, &["Allow", "Forbid", "Replace"]);
    template(errors, spec.job_template.spec.as_ref(), &path.child("jobTemplate.spec"));
    errors.nonnegative_if_set(&path.child("successfulJobsHistoryLimit"), spec.successful_jobs_history_limit);
    errors.nonnegative_if_set(&path.child("failedJobsHistoryLimit"), spec.failed_jobs_history_limit);
}

fn schedule(errors: &mut Errors, spec: &CronJobSpec, zone_allowed: bool, path: &Path<'_>) {
    let text = &spec.schedule;
    if let Err(problem) = Schedule::parse(text, &TimeZone::UTC) {
        errors.invalid(path, text, &problem);
    }
    if !text.contains("TZ") {
        return;
    }
    if !zone_allowed {
        errors.invalid(path, text, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    } else if spec.time_zone.is_some() {
        errors.invalid(path, text, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
    }
}

fn time_zone(errors: &mut Errors, zone: Option<&str>, path: &Path<'_>) {
    let Some(zone) = zone else { return };
    if zone.is_empty() {
        errors.invalid(path, &zone, "timeZone must be nil or non-empty string");
        return;
    }
    let fits = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'.' | b'-' | b'_' | b'+');
    let named = |part: &str| {
        (1..=ZONE_PART_MAX).contains(&part.len())
            && part.bytes().all(fits)
            && !matches!(part, "." | "..")
            && !part.starts_with('-')
    };
    if !zone.split('/').all(named) {
        errors.invalid(path, &zone, &format!("unknown time zone {zone}"));
        return;
    }
    if zone.eq_ignore_ascii_case("local") {
        let words = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.invalid(path, &zone, words);
    }
    if let Err(problem) = schedule::time_zone(zone) {
        errors.invalid(path, &zone, &problem);
    }
}

fn template(errors: &mut Errors, spec: Option<&JobSpec>, path: &Path<'_>) {
    let default = JobSpec::default();
    let spec = spec.unwrap_or(&default);
    job::spec(errors, spec, path);
    if let Some(selector) = &spec.selector {
        errors.invalid(&path.child("selector"), &Json(selector), "`selector` will be auto-generated");
    }
    if spec.manual_selector == Some(true) {
        errors.not_supported(&path.child("manualSelector"), &true, &["nil", "false"]);
    }
}
