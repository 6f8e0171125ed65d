//! Owns the data that goes into a Job's plan and comes out of it. Never decides.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::JobStatus;
use k8s_openapi::api::core::v1::Pod;
use serde::de::DeserializeOwned;

use super::backoff::{BackoffRecord, Delays};
use super::claim::{self, Claims};
use super::conditions::Cause;
use super::policy::Verdict;
use crate::model::event::Severity;
use crate::model::object::Object;

/// Pods written by one commit at most, for each of: created, deleted, counted. Upstream's `MaxPodCreateDeletePerSync`
/// and `MaxUncountedPods`; it keeps one Job from holding up the writer that all share.
pub const MAX_PODS_PER_COMMIT: usize = 500;

/// The private fact that holds a Job's failures, as JSON.
pub const BACKOFF_FACT: &str = "backoff";
/// The private fact that holds the names of pods that run on untracked, as a JSON list.
pub const UNTRACKED_FACT: &str = "untracked";

/// How this controller behaves, apart from any Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The delay before a failed pod is replaced.
    pub delays: Delays,
    /// Whether suspending a Job clears its start time, as upstream does since 1.36. Before, it stayed until the Job
    /// was resumed.
    pub suspend_clears_start_time: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { delays: Delays::default(), suspend_clears_start_time: true }
    }
}

/// What one sync of a Job knows.
#[derive(Clone, Debug)]
pub struct JobFacts {
    /// The Job as it was read.
    pub job: Object,
    /// Its pods, but for those that have ended and are counted.
    pub claims: Claims,
    /// What is remembered of its failures.
    pub backoff: BackoffRecord,
    /// What is remembered of pods that run on without the tracking finalizer: their names, in order.
    pub untracked: Vec<String>,
    /// How the controller behaves.
    pub options: Options,
}

impl JobFacts {
    /// Puts together what was read: the Job, pods of its namespace that may be its own (each once or more often), and
    /// the private facts. A private fact that does not decode counts as none: it is worth a delay, not a Job.
    pub fn assemble(
        job: Object,
        mut pods: Vec<Object>,
        backoff: Option<&[u8]>,
        untracked: Option<&[u8]>,
        options: Options,
    ) -> Self {
        pods.sort_by(|one, other| (one.meta().name.as_ref()).cmp(&other.meta().name.as_ref()));
        pods.dedup_by(|one, other| one.uid() == other.uid());
        Self { claims: claim::sort(&job, pods), job, backoff: decoded(backoff), untracked: decoded(untracked), options }
    }
}

fn decoded<T: Default + DeserializeOwned>(bytes: Option<&[u8]>) -> T {
    bytes.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default()
}

/// What one sync decides. Everything in it is one commit.
#[derive(Clone, Debug, Default)]
pub struct JobPlan {
    /// Why the Job is left alone, if it is.
    pub skipped: Option<Skip>,
    /// Pods to create; their names are to be minted.
    pub create: Vec<Pod>,
    /// Pods to write or delete.
    pub pods: Vec<PodWrite>,
    /// The Job's new status, if it changes.
    pub status: Option<JobStatus>,
    /// Events about the Job.
    pub events: Vec<Said>,
    /// The failures to remember, if that changes.
    pub backoff: Option<BackoffRecord>,
    /// The names of untracked pods to remember, if that changes.
    pub untracked: Option<Vec<String>>,
    /// When the Job must be looked at again, if nothing happens before.
    pub wake_at: Option<Timestamp>,
    /// How the decision came about.
    pub why: Explanation,
}

impl JobPlan {
    /// Whether there is nothing to write.
    pub fn is_quiet(&self) -> bool {
        self.create.is_empty()
            && self.pods.is_empty()
            && self.status.is_none()
            && self.events.is_empty()
            && self.backoff.is_none()
            && self.untracked.is_none()
    }

    /// Asks for another look at `at`, or sooner.
    pub fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }
}

/// Why a Job is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skip {
    /// It has ended. Pods that still carry the tracking finalizer lose it.
    Finished,
    /// Somebody else manages it.
    ManagedBy(String),
    /// No known version has its completion mode.
    UnknownMode,
    /// It has no spec, which validation refuses.
    NoSpec,
}

/// One pod's part in a commit.
#[derive(Clone, Debug)]
pub struct PodWrite {
    /// The pod as it was read.
    pub pod: Object,
    /// What becomes of its owner.
    pub claim: Claim,
    /// It loses the tracking finalizer.
    pub untrack: bool,
    /// It is deleted, with its own grace period.
    pub delete: bool,
}

/// What becomes of a pod's controlling owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It stays.
    Keep,
    /// It becomes the Job.
    Adopt,
    /// It is no longer the Job.
    Release,
}

/// An Event about the Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// How serious it is.
    pub severity: Severity,
    /// In one word.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Said {
    /// A normal event.
    pub fn normal(reason: &str, message: &str) -> Self {
        Self { severity: Severity::Normal, reason: reason.to_owned(), message: message.to_owned() }
    }

    /// A warning.
    pub fn warning(reason: &str, message: &str) -> Self {
        Self { severity: Severity::Warning, reason: reason.to_owned(), message: message.to_owned() }
    }
}

/// How a decision came about; what `jobdock plan` prints.
#[derive(Clone, Debug, Default)]
pub struct Explanation {
    /// Each pod that was looked at.
    pub pods: Vec<PodJudged>,
    /// Successes, the ones found now included.
    pub succeeded: i32,
    /// Failures that count, the ones found now included.
    pub failed: i32,
    /// Indexed Jobs: the indexes that have succeeded.
    pub completed_indexes: Option<String>,
    /// With `backoffLimitPerIndex`: the indexes that have failed.
    pub failed_indexes: Option<String>,
    /// Whether and why the Job ends.
    pub decision: Option<Decision>,
    /// The failures since the last success, the ones found now included.
    pub backoff: BackoffRecord,
    /// What the plan waits for.
    pub waits: Vec<Wait>,
}

/// One pod and what the failure policy says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodJudged {
    /// The pod's name.
    pub name: String,
    /// What the policy says; none for a pod that has not failed.
    pub verdict: Option<Verdict>,
}

/// The condition that a sync works towards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The condition's type.
    pub kind: &'static str,
    /// Why.
    pub cause: Cause,
}

/// Something in the future that the plan waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A failed pod may be replaced then.
    Backoff(Timestamp),
    /// The Job will have been active for too long then.
    Deadline(Timestamp),
}

impl Wait {
    /// When it is over.
    pub fn at(self) -> Timestamp {
        match self {
            Self::Backoff(at) | Self::Deadline(at) => at,
        }
    }
}
