//! Owns when a finished Job is to go (`ttlSecondsAfterFinished`). Never deletes it: `ttl` does.
//!
//! Parity: upstream's `ttlafterfinished_controller.go`. The time counts from the condition that ended the Job, so that
//! failed Jobs expire too; a Job that finished in the future, by a clock that has since been set back, waits.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;

use super::conditions;

/// When the Job expires; none if it never does, has not finished, or is being deleted already.
pub fn expires_at(job: &Job) -> Option<Timestamp> {
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let finished = conditions::finished(job.status.as_ref()?)?.last_transition_time.as_ref()?;
    let live = job.metadata.deletion_timestamp.is_none();
    finished.0.checked_add(SignedDuration::from_secs(i64::from(ttl))).ok().filter(|_| live)
}
