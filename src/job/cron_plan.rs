//! Owns the decision about one CronJob: which of its Jobs it forgets and deletes, which run is due, whether it starts.
//! Never reads or writes anything: `cronjob` observes and applies.
//!
//! ```text
//!  history     finished Jobs beyond the limits go
//!  active      finished and missing Jobs leave status.active
//!  stop?       being deleted, bad time zone, suspended, bad schedule
//!  due?        too late, already run, Forbid  ->  wait for the next
//!  start       Replace deletes who runs; then the Job
//! ```
//!
//! Parity: upstream's `syncCronJob` (`cronjob_controllerv2.go`). Differs: the Job and `status.active` are one commit, so
//! that a Job is never started and forgotten.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job, JobStatus};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};

use super::conditions::{self, COMPLETE};
use super::facts::Said;
use super::missed::{self, Missed};
use crate::model::object::Object;
use crate::model::schedule::{self, Schedule};
use crate::model::time;

/// Annotation of a Job: the instant for which it was scheduled.
const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// Why an Event tells of a Job that was made.
const CREATED: &str = "SuccessfulCreate";

/// What one look at a CronJob knows.
#[derive(Clone, Debug)]
pub struct CronFacts {
    /// The CronJob as it was read.
    pub cron_job: Object,
    /// The Jobs that it controls.
    pub jobs: Vec<Object>,
    /// Names in `status.active` of Jobs that exist without being controlled by it.
    pub strangers: BTreeSet<String>,
    /// The machine's time zone, for CronJobs that name none.
    pub zone: TimeZone,
}

/// What one look decides. Everything in it is one commit.
#[derive(Clone, Debug, Default)]
pub struct CronPlan {
    /// The Job to create, with its name.
    pub create: Option<Job>,
    /// Jobs to delete, their pods after them.
    pub delete: Vec<Object>,
    /// The new status, if it changes.
    pub status: Option<CronJobStatus>,
    /// Events about the CronJob.
    pub events: Vec<Said>,
    /// When to look again, if nothing happens before.
    pub wake_at: Option<Timestamp>,
}

/// Decides what one commit does about the CronJob.
pub fn plan(facts: &CronFacts, now: Timestamp) -> CronPlan {
    let mut plan = CronPlan::default();
    let Some(cron_job) = facts.cron_job.typed::<CronJob>() else { return plan };
    let spec = &cron_job.spec;
    let stored = cron_job.status.clone().unwrap_or_default();
    let mut look = Look { facts, cron_job, spec, status: stored.clone(), plan: &mut plan };
    look.trim_history();
    look.follow_jobs();
    if cron_job.metadata.deletion_timestamp.is_none() && spec.suspend != Some(true) {
        look.run_schedule(now);
    } else if cron_job.metadata.deletion_timestamp.is_none() {
        look.zone();
    }
    let mut status = look.status;
    status.active = status.active.filter(|active| !active.is_empty());
    plan.status = (status != stored).then_some(status);
    plan
}

/// Takes back the start that a plan holds, and says why it cannot be. What else was planned stays.
/// Parity: upstream deletes what the new Job would replace before it is refused.
pub fn refuse(facts: &CronFacts, plan: &mut CronPlan, why: &str) {
    let Some(job) = plan.create.take() else { return };
    let stored = facts.cron_job.typed::<CronJob>().and_then(|cron_job| cron_job.status.clone()).unwrap_or_default();
    if let Some(mut status) = plan.status.take() {
        status.last_schedule_time.clone_from(&stored.last_schedule_time);
        let others = status.active.into_iter().flatten().filter(|reference| reference.name != job.metadata.name);
        status.active = Some(others.collect::<Vec<_>>()).filter(|active| !active.is_empty());
        plan.status = (status != stored).then_some(status);
    }
    plan.events.retain(|said| said.reason != CREATED);
    plan.events.push(Said::warning("FailedCreate", &format!("Error creating job: {why}")));
}

struct Look<'p, 'a> {
    facts: &'a CronFacts,
    cron_job: &'a CronJob,
    spec: &'a CronJobSpec,
    status: CronJobStatus,
    plan: &'p mut CronPlan,
}

impl Look<'_, '_> {
    /// Deletes finished Jobs beyond the limits, the oldest first.
    fn trim_history(&mut self) {
        let limits = [(true, self.spec.successful_jobs_history_limit), (false, self.spec.failed_jobs_history_limit)];
        for (complete, limit) in limits {
            let Some(limit) = limit else { continue };
            let ended = |job: &&Object| end_of(job).is_some_and(|kind| (kind == COMPLETE) == complete);
            let mut jobs: Vec<Object> = self.facts.jobs.iter().filter(ended).cloned().collect();
            jobs.sort_by_key(started);
            let surplus = jobs.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
            jobs.truncate(surplus);
            jobs.into_iter().for_each(|job| self.delete(job));
        }
    }

    fn delete(&mut self, job: Object) {
        self.forget(job.uid());
        self.say(Said::normal("SuccessfulDelete", &format!("Deleted job {}", name(&job))));
        // A Job that is on its way out is not told again.
        if job.meta().deletion_timestamp.is_none() {
            self.plan.delete.push(job);
        }
    }

    /// Brings `status.active` and the time of the last success up to date.
    fn follow_jobs(&mut self) {
        for job in &self.facts.jobs {
            let known = self.active().any(|reference| reference.uid.as_deref() == Some(job.uid()));
            match (end_of(job), known) {
                (None, false) => self.say(Said::warning(
                    "UnexpectedJob",
                    &format!("Saw a job that the controller did not create or forgot: {}", name(job)),
                )),
                (Some(kind), true) => {
                    self.forget(job.uid());
                    let message = format!("Saw completed job: {}, condition: {kind}", name(job));
                    self.say(Said::normal("SawCompletedJob", &message));
                    self.note_success(job);
                }
                (Some(_), false) => self.note_success(job),
                (None, true) => {}
            }
        }
        let children: BTreeSet<&str> = self.facts.jobs.iter().map(Object::uid).collect();
        let gone = |reference: &&ObjectReference| {
            let uid = reference.uid.as_deref().unwrap_or_default();
            let name = reference.name.as_deref().unwrap_or_default();
            !children.contains(uid) && !self.facts.strangers.contains(name)
        };
        let gone: Vec<ObjectReference> = self.active().filter(gone).cloned().collect();
        for reference in gone {
            let name = reference.name.as_deref().unwrap_or_default();
            self.say(Said::normal("MissingJob", &format!("Active job went missing: {name}")));
            self.forget(reference.uid.as_deref().unwrap_or_default());
        }
    }

    fn note_success(&mut self, job: &Object) {
        if end_of(job) != Some(COMPLETE) {
            return;
        }
        let ended = job_status(job).and_then(|status| status.completion_time.clone());
        if ended.as_ref().map(|time| time.0) > self.status.last_successful_time.as_ref().map(|time| time.0) {
            self.status.last_successful_time = ended;
        }
    }

    /// The zone in which the schedule counts; none if it is not a zone.
    fn zone(&mut self) -> Option<TimeZone> {
        let Some(name) = &self.spec.time_zone else { return Some(self.facts.zone.clone()) };
        match schedule::time_zone(name) {
            Ok(zone) => Some(zone),
            Err(problem) => {
                self.say(Said::warning("UnknownTimeZone", &format!("invalid timeZone: {name:?}: {problem}")));
                None
            }
        }
    }

    fn run_schedule(&mut self, now: Timestamp) {
        let Some(zone) = self.zone() else { return };
        let text = &self.spec.schedule;
        if text.contains("TZ") {
            let message = format!(
                "CRON_TZ or TZ used in schedule {text:?} is not officially supported, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
            );
            self.say(Said::warning("UnsupportedSchedule", &message));
        }
        let schedule = match Schedule::parse(text, &zone) {
            Ok(schedule) => schedule,
            Err(problem) => {
                let message = format!("unparseable schedule: {text:?} : {problem}");
                self.say(Said::warning("UnparseableSchedule", &message));
                return;
            }
        };
        let deadline = self.spec.starting_deadline_seconds.map(SignedDuration::from_secs);
        let oldest = deadline.and_then(|deadline| now.checked_sub(deadline).ok());
        let since = self.last_run().max(oldest.unwrap_or(Timestamp::MIN));
        match missed::due(&schedule, since, now) {
            Err(problem) => {
                let message = format!("invalid schedule: {text} : {problem}");
                self.say(Said::warning("InvalidSchedule", &message));
                return;
            }
            Ok(due) => {
                if due.at.is_some() && due.missed == Missed::Many {
                    self.say(Said::warning(
                        "TooManyMissedTimes",
                        "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew",
                    ));
                }
                if let Some(at) = due.at {
                    let late = deadline.is_some_and(|deadline| at.saturating_add(deadline).is_ok_and(|end| end < now));
                    self.run(at, late);
                }
            }
        }
        self.plan.wake_at = missed::next(&schedule, self.last_run(), now);
    }

    /// The last run, or else the creation.
    fn last_run(&self) -> Timestamp {
        let last = self.status.last_schedule_time.as_ref().or(self.cron_job.metadata.creation_timestamp.as_ref());
        last.map_or(Timestamp::UNIX_EPOCH, |time| time.0)
    }

    /// Starts the run that is due at `at`, if the policy lets it.
    fn run(&mut self, at: Timestamp, late: bool) {
        let job_name = self.job_name(at);
        if late {
            let at = at.strftime("%a, %d %b %Y %H:%M:%S +0000");
            self.say(Said::warning("MissSchedule", &format!("Missed scheduled time to start a job: {at}")));
            return;
        }
        let started = self.active().any(|reference| reference.name.as_deref() == Some(job_name.as_str()));
        if started || self.status.last_schedule_time.as_ref().is_some_and(|last| last.0 == at) {
            return;
        }
        match self.spec.concurrency_policy.as_deref() {
            Some("Forbid") if self.active().next().is_some() => {
                self.say(Said::normal(
                    "JobAlreadyActive",
                    "Not starting job because prior execution is running and concurrency policy is Forbid",
                ));
                return;
            }
            Some("Replace") => self.stop_active(),
            Some(_) | None => {}
        }
        self.start(at, job_name);
    }

    fn stop_active(&mut self) {
        let active: BTreeSet<String> = self.active().filter_map(|reference| reference.uid.clone()).collect();
        let running: Vec<Object> = self.facts.jobs.iter().filter(|job| active.contains(job.uid())).cloned().collect();
        running.into_iter().for_each(|job| self.delete(job));
    }

    fn start(&mut self, at: Timestamp, job_name: String) {
        // The same run was started before and the status went back: it is only noted again.
        let known = self.facts.jobs.iter().find(|job| name(job) == job_name);
        let reference = ObjectReference {
            api_version: Some("batch/v1".to_owned()),
            kind: Some("Job".to_owned()),
            name: Some(job_name.clone()),
            namespace: self.cron_job.metadata.namespace.clone(),
            uid: known.map(|job| job.uid().to_owned()),
            ..ObjectReference::default()
        };
        if known.is_none() {
            self.say(Said::normal(CREATED, &format!("Created job {job_name}")));
            self.plan.create = Some(self.job(at, job_name));
        }
        self.status.active.get_or_insert_with(Vec::new).push(reference);
        self.status.last_schedule_time = Some(time::seconds(at));
    }

    /// Named after the minute that it is scheduled for, so that no run can happen twice.
    fn job_name(&self, at: Timestamp) -> String {
        let name = self.cron_job.metadata.name.as_deref().unwrap_or_default();
        format!("{name}-{}", at.as_second().div_euclid(60))
    }

    fn job(&self, at: Timestamp, job_name: String) -> Job {
        let template = &self.spec.job_template;
        let from = template.metadata.clone().unwrap_or_default();
        let mut annotations = from.annotations.unwrap_or_default();
        let named = schedule::time_zone(self.spec.time_zone.as_deref().unwrap_or_default());
        annotations.insert(SCHEDULED_AT.to_owned(), local_time(at, &named.unwrap_or(TimeZone::UTC)));
        let meta = &self.cron_job.metadata;
        let owner = OwnerReference {
            api_version: "batch/v1".to_owned(),
            block_owner_deletion: Some(true),
            controller: Some(true),
            kind: "CronJob".to_owned(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
        };
        Job {
            metadata: ObjectMeta {
                annotations: Some(annotations),
                labels: from.labels,
                name: Some(job_name),
                namespace: meta.namespace.clone(),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec: template.spec.clone(),
            status: None,
        }
    }

    fn active(&self) -> impl Iterator<Item = &ObjectReference> {
        self.status.active.iter().flatten()
    }

    fn forget(&mut self, uid: &str) {
        if let Some(active) = &mut self.status.active {
            active.retain(|reference| reference.uid.as_deref() != Some(uid));
        }
    }

    fn say(&mut self, said: Said) {
        self.plan.events.push(said);
    }
}

fn name(job: &Object) -> &str {
    job.meta().name.as_deref().unwrap_or_default()
}

fn job_status(job: &Object) -> Option<&JobStatus> {
    job.typed::<Job>()?.status.as_ref()
}

/// The type of the condition that ended the Job.
fn end_of(job: &Object) -> Option<&str> {
    job_status(job).and_then(conditions::finished).map(|condition| condition.type_.as_str())
}

/// Orders Jobs by their start, those that never started last, equal ones by name.
fn started(job: &Object) -> (bool, Option<Timestamp>, String) {
    let start = job_status(job).and_then(|status| status.start_time.as_ref()).map(|Time(at)| *at);
    (start.is_none(), start, name(job).to_owned())
}

/// An instant as RFC 3339 in a zone: `Z` for UTC, else the offset.
fn local_time(at: Timestamp, zone: &TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    let offset = if local.offset().seconds() == 0 { "Z" } else { "%:z" };
    local.strftime(&format!("%Y-%m-%dT%H:%M:%S{offset}")).to_string()
}
