//! Owns a Job's conditions: how they are found, set and worded. Never decides when.
//!
//! Parity: reasons and messages are upstream's (`batch/v1/types.go`, `job_controller.go`).

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobCondition, JobStatus};

use crate::model::time;

/// The Job will succeed once its last pods have ended.
pub const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
/// The Job will fail once its last pods have ended.
pub const FAILURE_TARGET: &str = "FailureTarget";
/// The Job has succeeded.
pub const COMPLETE: &str = "Complete";
/// The Job has failed.
pub const FAILED: &str = "Failed";
/// The Job may run no pods.
pub const SUSPENDED: &str = "Suspended";

/// Why a Job ends: reason and message of its conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The machine-readable reason.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Cause {
    /// A cause with fixed texts.
    pub fn new(reason: &str, message: &str) -> Self {
        Self { reason: reason.to_owned(), message: message.to_owned() }
    }

    /// More failures than `backoffLimit`.
    pub fn backoff_limit() -> Self {
        Self::new("BackoffLimitExceeded", "Job has reached the specified backoff limit")
    }

    /// Active for longer than `activeDeadlineSeconds`.
    pub fn deadline() -> Self {
        Self::new("DeadlineExceeded", "Job was active longer than specified deadline")
    }

    /// More failed indexes than `maxFailedIndexes`.
    pub fn max_failed_indexes() -> Self {
        Self::new("MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes")
    }

    /// Every index has ended, some of them in failure.
    pub fn failed_indexes() -> Self {
        Self::new("FailedIndexes", "Job has failed indexes")
    }

    /// A rule of the pod failure policy says so.
    pub fn failure_policy(message: String) -> Self {
        Self { reason: "PodFailurePolicy".to_owned(), message }
    }

    /// A rule of the success policy is met.
    pub fn success_policy(message: String) -> Self {
        Self { reason: "SuccessPolicy".to_owned(), message }
    }

    /// As many successes as were wanted.
    pub fn completions() -> Self {
        Self::new("CompletionsReached", "Reached expected number of succeeded pods")
    }

    /// The cause that a condition carries.
    pub fn of(condition: &JobCondition) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Self { reason: text(&condition.reason), message: text(&condition.message) }
    }
}

/// The condition of this type, if it is true.
pub fn holding<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind && condition.status == "True")
}

/// The condition that says that the Job has ended, in success or in failure.
pub fn finished(status: &JobStatus) -> Option<&JobCondition> {
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|one| one.status == "True" && (one.type_ == COMPLETE || one.type_ == FAILED))
}

/// Sets a condition. One that says the same already is left as it is, and one that would appear as false is not added,
/// because nothing has changed to false. Returns whether anything changed.
pub fn ensure(status: &mut JobStatus, kind: &str, holds: bool, cause: &Cause, now: Timestamp) -> bool {
    let wanted = new(kind, holds, cause, now);
    let known = status.conditions.iter_mut().flatten().find(|condition| condition.type_ == kind);
    match known {
        Some(known) if known.status == wanted.status && Cause::of(known) == *cause => false,
        Some(known) => {
            *known = wanted;
            true
        }
        None if holds => {
            status.conditions.get_or_insert_with(Vec::new).push(wanted);
            true
        }
        None => false,
    }
}

fn new(kind: &str, holds: bool, cause: &Cause, now: Timestamp) -> JobCondition {
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    JobCondition {
        type_: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        last_probe_time: Some(time::seconds(now)),
        last_transition_time: Some(time::seconds(now)),
        reason: text(&cause.reason),
        message: text(&cause.message),
    }
}

/// Whether two statuses say the same: a counter that is absent is 0, and so is an absent record of uncounted pods.
pub fn same(one: &JobStatus, other: &JobStatus) -> bool {
    normal(one) == normal(other)
}

fn normal(status: &JobStatus) -> JobStatus {
    let mut normal = status.clone();
    for counter in [&mut normal.active, &mut normal.succeeded, &mut normal.failed] {
        *counter = counter.filter(|count| *count != 0);
    }
    normal.completed_indexes = normal.completed_indexes.filter(|text| !text.is_empty());
    normal.conditions = normal.conditions.filter(|all| !all.is_empty());
    let uncounted = normal.uncounted_terminated_pods.get_or_insert_default();
    for uids in [&mut uncounted.succeeded, &mut uncounted.failed] {
        *uids = uids.take().filter(|all| !all.is_empty());
    }
    normal
}
