//! Owns the rules of a Job's status and of how it may change: what is finished stays finished, counters do not fall.
//! The controller's own writes meet them too.
//!
//! Parity: the Job strategy's `getStatusValidationOptions` and batch's `ValidateJobStatusUpdate` at 1.32. Most rules
//! hold only where the write touches what they are about, so that a status that was wrong before can be mended.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};

use super::{indexes, metadata, text};
use crate::model::field::{Errors, FieldError, Json, Path, same};

/// Every problem of a status update.
pub fn update(new: &Job, old: &Job) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    let (spec, status, old_status) = (JobSpec::default(), JobStatus::default(), JobStatus::default());
    let write = Write {
        spec: new.spec.as_ref().unwrap_or(&spec),
        new: new.status.as_ref().unwrap_or(&status),
        old: old.status.as_ref().unwrap_or(&old_status),
    };
    let path = Path::new("status");
    write.numbers(&mut errors, &path);
    write.uncounted(&mut errors, &path.child("uncountedTerminatedPods"));
    write.outcome(&mut errors, &path);
    write.finished(&mut errors, &path);
    write.indexes(&mut errors, &path);
    write.terminating_and_ready(&mut errors, &path);
    write.success_criteria(&mut errors, &path.child("conditions"));
    write.transition(&mut errors, &path);
    errors.into_vec()
}

/// A status on its way in.
struct Write<'a> {
    spec: &'a JobSpec,
    new: &'a JobStatus,
    old: &'a JobStatus,
}

/// Whether a condition is True.
fn is_true(status: &JobStatus, kind: &str) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == kind && condition.status == "True")
}

fn is_finished(status: &JobStatus) -> bool {
    is_true(status, "Complete") || is_true(status, "Failed")
}

impl Write<'_> {
    fn changed(&self, kind: &str) -> bool {
        is_true(self.new, kind) != is_true(self.old, kind)
    }

    fn completion_time_changed(&self) -> bool {
        self.new.completion_time != self.old.completion_time
    }

    fn start_time_changed(&self) -> bool {
        self.new.start_time != self.old.start_time
    }

    fn is_indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some("Indexed")
    }

    fn numbers(&self, errors: &mut Errors, path: &Path<'_>) {
        errors.nonnegative_if_set(&path.child("active"), self.new.active);
        errors.nonnegative_if_set(&path.child("succeeded"), self.new.succeeded);
        errors.nonnegative_if_set(&path.child("failed"), self.new.failed);
        errors.nonnegative_if_set(&path.child("ready"), self.new.ready);
        errors.nonnegative_if_set(&path.child("terminating"), self.new.terminating);
    }

    fn uncounted(&self, errors: &mut Errors, path: &Path<'_>) {
        let Some(pods) = &self.new.uncounted_terminated_pods else { return };
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (name, uids) in [("succeeded", &pods.succeeded), ("failed", &pods.failed)] {
            let path = path.child(name);
            for (index, uid) in uids.iter().flatten().enumerate() {
                let path = path.index(index);
                if uid.is_empty() {
                    errors.invalid(&path, uid, "must not be empty");
                } else if !seen.insert(uid) {
                    errors.duplicate(&path, uid);
                }
            }
        }
    }

    /// Conditions that exclude or need each other, and the completion time.
    fn outcome(&self, errors: &mut Errors, path: &Path<'_>) {
        let conditions_path = path.child("conditions");
        let time_path = path.child("completionTime");
        let (complete, failed) = (is_true(self.new, "Complete"), is_true(self.new, "Failed"));
        let time = self.new.completion_time.as_ref();
        if (self.changed("Complete") || self.changed("Failed")) && complete && failed {
            errors.invalid_omitted(&conditions_path, "cannot set Complete=True and Failed=true conditions");
        }
        let target = is_true(self.new, "FailureTarget");
        if (self.changed("Complete") || self.changed("FailureTarget")) && complete && target {
            errors.invalid_omitted(&conditions_path, "cannot set Complete=True and FailureTarget=true conditions");
        }
        let touched = self.changed("Complete") || self.completion_time_changed();
        if let Some(time) = time.filter(|_| touched && !complete) {
            let words = "cannot set completionTime when there is no Complete=True condition";
            errors.invalid(&time_path, time, words);
        }
        if touched && complete && time.is_none() {
            errors.required(&time_path, "completionTime is required for Complete jobs");
        }
        if let (Some(start), Some(end)) = (&self.new.start_time, time)
            && (self.start_time_changed() || self.completion_time_changed())
            && end.0 < start.0
        {
            errors.invalid(&time_path, end, "completionTime cannot be set before startTime");
        }
        if self.changed("Failed") && failed && !target {
            let words = "cannot set Failed=True condition without the FailureTarget=true condition";
            errors.invalid_omitted(&conditions_path, words);
        }
        if self.changed("Complete") && complete && !is_true(self.new, "SuccessCriteriaMet") {
            let words = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
            errors.invalid_omitted(&conditions_path, words);
        }
    }

    /// What a finished Job may not have, and must have.
    fn finished(&self, errors: &mut Errors, path: &Path<'_>) {
        let finished = is_finished(self.new);
        let newly = finished != is_finished(self.old);
        if !finished {
            return;
        }
        let active = self.new.active.unwrap_or(0);
        if (newly || active != self.old.active.unwrap_or(0)) && active > 0 {
            errors.invalid(&path.child("active"), &active, "active>0 is invalid for finished job");
        }
        if (newly || self.start_time_changed()) && self.new.start_time.is_none() {
            errors.required(&path.child("startTime"), "startTime is required for finished job");
        }
        let pods = &self.new.uncounted_terminated_pods;
        if let Some(left) = pods
            && (newly || !same(pods, &self.old.uncounted_terminated_pods))
            && left.failed.iter().chain(&left.succeeded).any(|uids| !uids.is_empty())
        {
            let words = "uncountedTerminatedPods needs to be empty for finished job";
            errors.invalid(&path.child("uncountedTerminatedPods"), &Json(left), words);
        }
    }

    /// The lists of indexes: well formed, of an Indexed Job, apart from each other.
    fn indexes(&self, errors: &mut Errors, path: &Path<'_>) {
        let (completed, failed) = (text(&self.new.completed_indexes), &self.new.failed_indexes);
        let completed_changed = completed != text(&self.old.completed_indexes);
        let failed_changed = *failed != self.old.failed_indexes;
        let completed_path = path.child("completedIndexes");
        let failed_path = path.child("failedIndexes");
        if let Some(completions) = self.spec.completions {
            if completed_changed && let Err(problem) = indexes::count(completed, completions) {
                errors.invalid(&completed_path, &completed, &format!("error parsing completedIndexes: {problem}"));
            }
            if let Some(list) = failed
                && failed_changed
                && self.spec.backoff_limit_per_index.is_some()
                && let Err(problem) = indexes::count(list, completions)
            {
                errors.invalid(&failed_path, list, &format!("error parsing failedIndexes: {problem}"));
            }
        }
        if completed_changed && !completed.is_empty() && !self.is_indexed() {
            let words = "cannot set non-empty completedIndexes when non-indexed completion mode";
            errors.invalid(&completed_path, &completed, words);
        }
        let Some(list) = failed else { return };
        if failed_changed && self.spec.backoff_limit_per_index.is_none() {
            let words = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
            errors.invalid(&failed_path, list, words);
        }
        if let Some(completions) = self.spec.completions.filter(|_| completed_changed || failed_changed)
            && let Some(index) = indexes::overlap(completed, list, completions)
        {
            let words = format!("failedIndexes and completedIndexes overlap at index: {index}");
            errors.invalid(&failed_path, list, &words);
        }
    }

    fn terminating_and_ready(&self, errors: &mut Errors, path: &Path<'_>) {
        let newly = is_finished(self.new) != is_finished(self.old);
        let terminating = self.new.terminating.unwrap_or(0);
        if (newly || self.new.terminating != self.old.terminating) && terminating > 0 && is_finished(self.new) {
            let words = "terminating>0 is invalid for finished job";
            errors.invalid(&path.child("terminating"), &terminating, words);
        }
        let (ready, active) = (self.new.ready.unwrap_or(0), self.new.active.unwrap_or(0));
        let touched = self.new.ready != self.old.ready || active != self.old.active.unwrap_or(0);
        if touched && ready > active {
            errors.invalid(&path.child("ready"), &ready, "cannot set more ready pods than active");
        }
    }

    fn success_criteria(&self, errors: &mut Errors, path: &Path<'_>) {
        if is_true(self.new, "SuccessCriteriaMet") {
            if is_true(self.new, "Failed") {
                errors.invalid_omitted(path, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
            }
            if is_true(self.new, "FailureTarget") {
                errors.invalid_omitted(path, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
            }
        } else if self.spec.success_policy.is_some() && is_true(self.new, "Complete") {
            let words = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
            errors.invalid_omitted(path, words);
        }
    }

    /// What may not be taken back.
    fn transition(&self, errors: &mut Errors, path: &Path<'_>) {
        let conditions_path = path.child("conditions");
        for kind in ["Failed", "Complete", "FailureTarget"] {
            if is_true(self.old, kind) && !is_true(self.new, kind) {
                errors.invalid_omitted(&conditions_path, &format!("cannot disable the terminal {kind}=True condition"));
            }
        }
        let (failed, succeeded) = (self.new.failed.unwrap_or(0), self.new.succeeded.unwrap_or(0));
        if failed < self.old.failed.unwrap_or(0) {
            errors.invalid(&path.child("failed"), &failed, "cannot decrease the failed counter");
        }
        // An elastic Indexed Job can be made smaller, and then has fewer successes.
        let elastic = self.is_indexed() && self.spec.completions == self.spec.parallelism;
        if !elastic && succeeded < self.old.succeeded.unwrap_or(0) {
            errors.invalid(&path.child("succeeded"), &succeeded, "cannot decrease the succeeded counter");
        }
        if let (Some(time), Some(before)) = (&self.new.completion_time, &self.old.completion_time)
            && time != before
        {
            errors.invalid(&path.child("completionTime"), time, "completionTime cannot be mutated");
        }
        let suspended = self.spec.suspend == Some(true);
        if self.old.start_time.is_some() && self.start_time_changed() && !suspended {
            errors.required(&path.child("startTime"), "startTime cannot be removed for unsuspended job");
        }
        let (met, was_met) = (is_true(self.new, "SuccessCriteriaMet"), is_true(self.old, "SuccessCriteriaMet"));
        if was_met && !met {
            errors.invalid_omitted(&conditions_path, "cannot disable the SuccessCriteriaMet=True condition");
        }
        if is_true(self.old, "Complete") && !was_met && met {
            let words = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
            errors.invalid_omitted(&conditions_path, words);
        }
    }
}
