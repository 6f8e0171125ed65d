//! Owns what is told to metrics about Jobs: how each was looked at, which ended, which of their pods were counted.
//! Never decides: it reads what was decided and committed.
//!
//! Parity: the names and labels of `pkg/controller/job/metrics`.

use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobStatus};

use super::conditions::{self, COMPLETE};
use super::facts::{JobFacts, JobPlan};
use super::rules::Rules;
use crate::metrics::{FinishLabels, PodLabels, SyncLabels, metrics};

/// One look at a Job has ended: `committed` says whether what was planned stands.
pub fn looked(facts: &JobFacts, plan: &JobPlan, committed: bool, took: Duration) {
    let Some(job) = facts.job.typed::<Job>() else { return };
    let completion_mode = if Rules::of(job).is_some_and(|rules| rules.indexed) { "Indexed" } else { "NonIndexed" };
    let action = match (plan.create.is_empty(), plan.pods.iter().any(|write| write.delete)) {
        (false, _) => "pods_created",
        (true, true) => "pods_deleted",
        (true, false) => "reconciling",
    };
    let labels = SyncLabels { completion_mode, result: if committed { "success" } else { "error" }, action };
    metrics().syncs.get_or_create(&labels).inc();
    metrics().sync_seconds.get_or_create(&labels).observe(took.as_secs_f64());
    if let Some(after) = plan.status.as_ref().filter(|_| committed) {
        count(completion_mode, &job.status.clone().unwrap_or_default(), after);
    }
}

fn count(completion_mode: &'static str, before: &JobStatus, after: &JobStatus) {
    if let (None, Some(end)) = (conditions::finished(before), conditions::finished(after)) {
        let result = if end.type_ == COMPLETE { "succeeded" } else { "failed" };
        let reason = end.reason.clone().unwrap_or_default();
        metrics().jobs_finished.get_or_create(&FinishLabels { completion_mode, reason, result }).inc();
    }
    for (result, before, after) in
        [("succeeded", before.succeeded, after.succeeded), ("failed", before.failed, after.failed)]
    {
        // An elastic Job may forget successes: what was counted stays counted.
        let more = after.unwrap_or(0).saturating_sub(before.unwrap_or(0));
        if let Some(more) = u64::try_from(more).ok().filter(|more| *more > 0) {
            metrics().pods_finished.get_or_create(&PodLabels { completion_mode, result }).inc_by(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::batch::v1::JobCondition;

    use super::*;

    #[test]
    fn an_end_is_counted_once_and_pods_by_how_many_more_there_are() {
        let end = JobCondition {
            type_: COMPLETE.to_owned(),
            status: "True".to_owned(),
            reason: Some("Test".to_owned()),
            ..JobCondition::default()
        };
        let before = JobStatus { succeeded: Some(2), ..JobStatus::default() };
        let after = JobStatus { succeeded: Some(5), conditions: Some(vec![end]), ..JobStatus::default() };
        count("of-a-test", &before, &after);
        count("of-a-test", &after, &after);
        let finish = FinishLabels { completion_mode: "of-a-test", reason: "Test".to_owned(), result: "succeeded" };
        assert_eq!(metrics().jobs_finished.get_or_create(&finish).get(), 1);
        let pods = PodLabels { completion_mode: "of-a-test", result: "succeeded" };
        assert_eq!(metrics().pods_finished.get_or_create(&pods).get(), 3);
    }
}
