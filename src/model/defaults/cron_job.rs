//! Owns the defaults of CronJobs and what the server sets on one before it is stored.
//! Never reads a schedule.

use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus};
use k8s_openapi::api::core::v1::PodSpec;

use super::{disabled, job, set, set_text};

/// Finished Jobs that are kept: those that succeeded, and those that failed.
const SUCCESSFUL_KEPT: i32 = 3;
const FAILED_KEPT: i32 = 1;

/// `SetDefaults_CronJob` and all below it. The Job inside gets its defaults when it is made.
pub fn cron_job(cron_job: &mut CronJob) {
    let spec = &mut cron_job.spec;
    set_text(&mut spec.concurrency_policy, "Allow");
    set(&mut spec.suspend, false);
    set(&mut spec.successful_jobs_history_limit, SUCCESSFUL_KEPT);
    set(&mut spec.failed_jobs_history_limit, FAILED_KEPT);
    job::job_spec(spec.job_template.spec.get_or_insert_default());
}

/// What the server sets on a new CronJob.
pub fn prepare_create(cron_job: &mut CronJob) {
    cron_job.status = Some(CronJobStatus::default());
    cron_job.metadata.generation = Some(1);
    if let Some(spec) = pod_spec_mut(cron_job) {
        disabled::drop_from_template(spec, None);
    }
}

/// What an update leaves as it was: the status. A changed spec raises the generation.
pub fn prepare_update(new: &mut CronJob, old: &CronJob) {
    new.status.clone_from(&old.status);
    if let Some(spec) = pod_spec_mut(new) {
        let mut old = old.clone();
        disabled::drop_from_template(spec, pod_spec_mut(&mut old).as_deref());
    }
    new.metadata.generation = old.metadata.generation;
    if new.spec != old.spec {
        new.metadata.generation = Some(old.metadata.generation.unwrap_or(0) + 1);
    }
}

/// What a status update leaves as it was: the spec.
pub fn prepare_status_update(new: &mut CronJob, old: &CronJob) {
    new.spec.clone_from(&old.spec);
    new.metadata.generation = old.metadata.generation;
}

fn pod_spec_mut(cron_job: &mut CronJob) -> Option<&mut PodSpec> {
    cron_job.spec.job_template.spec.as_mut()?.template.spec.as_mut()
}
