//! Owns how a Job's spec is read: each field with its default, in the shape in which the plan asks for it.
//! Never changes the spec and never judges whether it is valid.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, PodFailurePolicy, SuccessPolicy};

/// `completionMode: Indexed`.
const INDEXED: &str = "Indexed";
/// `completionMode: NonIndexed`.
const NON_INDEXED: &str = "NonIndexed";
/// The one value of `managedBy` that means this controller.
const THIS_CONTROLLER: &str = "kubernetes.io/job-controller";
/// Upstream's default of `backoffLimit`.
const BACKOFF_LIMIT: i32 = 6;

/// A Job's spec as the plan reads it. The defaults are those of the API version, so that a Job that was never defaulted
/// means the same as one that was.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// How many pods may run at a time.
    pub parallelism: i32,
    /// How many successes are wanted; none for a work queue, where any success ends the Job.
    pub completions: Option<i32>,
    /// Whether each completion has an index of its own.
    pub indexed: bool,
    /// How many failures the whole Job may have.
    pub backoff_limit: i32,
    /// How many failures each index may have. Only Indexed Jobs have it.
    pub backoff_limit_per_index: Option<i32>,
    /// How many indexes may fail.
    pub max_failed_indexes: Option<i32>,
    /// What a failed pod means.
    pub failure_policy: Option<&'a PodFailurePolicy>,
    /// When an Indexed Job has succeeded before all of its indexes have.
    pub success_policy: Option<&'a SuccessPolicy>,
    /// How long the Job may be active.
    pub deadline: Option<SignedDuration>,
    /// Whether no pod may run now.
    pub suspended: bool,
    /// Whether a pod is replaced only when it has failed, rather than as soon as it is terminating.
    pub replace_only_failed: bool,
    /// Whether containers are restarted inside their pod.
    pub restart_on_failure: bool,
}

impl<'a> Rules<'a> {
    /// Reads the spec.
    pub fn of(job: &'a Job) -> Option<Self> {
        let spec = job.spec.as_ref()?;
        let work_queue = spec.parallelism.is_some() && spec.completions.is_none();
        let policy = spec.pod_failure_policy.as_ref();
        let per_index = spec.backoff_limit_per_index;
        let indexed = spec.completion_mode.as_deref() == Some(INDEXED);
        let restart = spec.template.spec.as_ref().and_then(|pod| pod.restart_policy.as_deref());
        Some(Self {
            parallelism: spec.parallelism.unwrap_or(1),
            completions: if work_queue { None } else { Some(spec.completions.unwrap_or(1)) },
            indexed,
            backoff_limit: spec.backoff_limit.unwrap_or(if per_index.is_some() { i32::MAX } else { BACKOFF_LIMIT }),
            backoff_limit_per_index: per_index.filter(|_| indexed),
            max_failed_indexes: spec.max_failed_indexes,
            failure_policy: policy,
            success_policy: spec.success_policy.as_ref(),
            deadline: spec.active_deadline_seconds.map(SignedDuration::from_secs),
            suspended: spec.suspend.unwrap_or(false),
            // Parity: with a pod failure policy, a pod is judged and replaced only once it has failed.
            replace_only_failed: policy.is_some() || spec.pod_replacement_policy.as_deref() == Some("Failed"),
            restart_on_failure: restart == Some("OnFailure"),
        })
    }

    /// The indexes of an Indexed Job are those below this number.
    pub fn indexes(&self) -> i32 {
        self.completions.unwrap_or(0)
    }

    /// When a Job that started at `start` has been active for too long. None while it is suspended.
    pub fn deadline_at(&self, start: Option<Timestamp>) -> Option<Timestamp> {
        let deadline = self.deadline.filter(|_| !self.suspended)?;
        Some(start?.saturating_add(deadline).expect("a signed duration has no calendar units"))
    }
}

/// Who manages the Job, where it is somebody else.
pub fn foreign_manager(job: &Job) -> Option<&str> {
    let manager = job.spec.as_ref()?.managed_by.as_deref()?;
    (manager != THIS_CONTROLLER).then_some(manager)
}

/// Whether the completion mode is one that no version known here has.
pub fn unknown_mode(job: &Job) -> bool {
    let mode = job.spec.as_ref().and_then(|spec| spec.completion_mode.as_deref());
    !matches!(mode, None | Some(INDEXED | NON_INDEXED))
}
