//! Owns how a Job looks at one pod: active, terminating, succeeded or failed, tracked or already counted, its index,
//! when it finished. Never decides what follows.
//!
//! ```text
//!             deletionTimestamp
//!   active ---------------------> terminating
//!     |  \                          |
//!     |   `----------.              |
//!     v               v             v
//!  succeeded        failed <--------'          with the tracking finalizer: not counted yet
//! ```
//!
//! With `podReplacementPolicy: TerminatingOrFailed` a terminating pod already counts as failed.

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::policy::{self, Verdict};
use super::rules::Rules;
use crate::model::object::Object;

/// The finalizer that says that a pod has not been counted.
pub const TRACKING_FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Annotation and label: the pod's completion index.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Annotation: how often the index had failed before this pod.
pub const FAILURE_COUNT: &str = "batch.kubernetes.io/job-index-failure-count";
/// Annotation: how often the index had failed before this pod without it counting.
pub const IGNORED_FAILURE_COUNT: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not running yet; also a pod whose status nobody has written.
    Pending,
    /// Not known. Nothing here writes it.
    Unknown,
    /// At least one container runs or is about to.
    Running,
    /// Every container exited with 0.
    Succeeded,
    /// Some container failed and will not be restarted.
    Failed,
}

impl Phase {
    fn of(status: Option<&PodStatus>) -> Self {
        match status.and_then(|status| status.phase.as_deref()) {
            Some("Running") => Self::Running,
            Some("Succeeded") => Self::Succeeded,
            Some("Failed") => Self::Failed,
            Some("Unknown") => Self::Unknown,
            Some(_) | None => Self::Pending,
        }
    }

    /// Whether it never changes again.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed => true,
            Self::Pending | Self::Unknown | Self::Running => false,
        }
    }
}

/// One pod of the Job, looked at once.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// The pod as it was read.
    pub object: &'a Object,
    /// The same, typed.
    pub pod: &'a Pod,
    /// Where it is in its life.
    pub phase: Phase,
    /// Marked for deletion.
    pub deleting: bool,
    /// Is not the Job's yet and becomes so with this sync.
    pub adopted: bool,
    /// Has the tracking finalizer, or gets it with its adoption.
    pub tracked: bool,
    /// Its completion index, if it has one.
    pub index: Option<i32>,
    /// It counts as failed.
    pub failed: bool,
    /// What the failure policy says of it; asked only of failed pods.
    pub verdict: Option<Verdict>,
}

impl<'a> Member<'a> {
    /// Looks at a pod. None for an object that is no pod.
    pub fn of(object: &'a Object, adopted: bool, rules: &Rules<'_>) -> Option<Self> {
        let pod: &Pod = object.typed()?;
        let phase = Phase::of(pod.status.as_ref());
        let deleting = pod.metadata.deletion_timestamp.is_some();
        // Parity: a deleted pod that may never reach Failed counts at once, unless only failed pods are replaced.
        let failed = phase == Phase::Failed || (deleting && phase != Phase::Succeeded && !rules.replace_only_failed);
        Some(Self {
            object,
            pod,
            phase,
            deleting,
            adopted,
            tracked: adopted || is_tracked(&pod.metadata),
            index: completion_index(&pod.metadata),
            failed,
            verdict: failed.then(|| policy::judge(rules.failure_policy, pod)),
        })
    }

    /// Runs or will run.
    pub fn is_active(&self) -> bool {
        !self.phase.is_terminal() && !self.deleting
    }

    /// Was told to end and has not.
    pub fn is_terminating(&self) -> bool {
        !self.phase.is_terminal() && self.deleting
    }

    /// Its `Ready` condition is true.
    pub fn is_ready(&self) -> bool {
        ready_condition(self.pod).is_some_and(|(status, _)| status == "True")
    }

    /// Whether it may be counted: an Indexed Job counts only pods of its own indexes.
    pub fn has_place(&self, rules: &Rules<'_>) -> bool {
        !rules.indexed || self.index.is_some_and(|index| index < rules.indexes())
    }

    /// The pod's uid.
    pub fn uid(&self) -> &'a str {
        self.object.uid()
    }

    /// The pod's name.
    pub fn name(&self) -> &'a str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    /// Failures of the index before this pod that counted. Absent or corrupt means 0.
    pub fn failure_count(&self) -> i32 {
        annotated_count(&self.pod.metadata, FAILURE_COUNT)
    }

    /// Failures of the index before this pod that were ignored. Absent or corrupt means 0.
    pub fn ignored_failure_count(&self) -> i32 {
        annotated_count(&self.pod.metadata, IGNORED_FAILURE_COUNT)
    }

    /// All failures of the index before this pod, ignored ones included.
    pub fn absolute_failure_count(&self) -> i32 {
        self.failure_count().saturating_add(self.ignored_failure_count())
    }

    /// The restarts of all of its containers.
    pub fn restarts(&self) -> i32 {
        statuses(self.pod).map(|status| status.restart_count).fold(0, i32::saturating_add)
    }

    /// When it finished: the last container's end; else when it stopped being ready; else when it was deleted; else,
    /// which a node agent does not let happen, when it was made.
    pub fn finished_at(&self) -> Timestamp {
        let meta = &self.pod.metadata;
        last_exit(self.pod)
            .or_else(|| ready_condition(self.pod).filter(|(status, _)| *status == "False")?.1)
            .or_else(|| deleted_at(meta))
            .or(meta.creation_timestamp.as_ref().map(|time| time.0))
            .unwrap_or_else(zero_time)
    }

    /// Sorts active pods so that those least missed come first: not bound, pending, not ready, ready for the shortest
    /// time, most restarts, newest.
    ///
    /// Parity: upstream's `controller.ActivePods`.
    pub fn removal_order(&self) -> impl Ord + use<> {
        let spec = self.pod.spec.as_ref();
        let bound = spec.and_then(|spec| spec.node_name.as_deref()).is_some_and(|name| !name.is_empty());
        let ready = self.is_ready();
        let ready_since = ready_condition(self.pod).filter(|_| ready).and_then(|(_, at)| at).map(Reverse);
        let created = self.pod.metadata.creation_timestamp.as_ref().map(|time| Reverse(time.0));
        let (main, sidecars) = most_restarts(self.pod);
        (bound, self.phase, ready, ready_since, Reverse(main), Reverse(sidecars), created)
    }
}

/// What upstream takes for a time that nobody has written: the first instant of year 1.
fn zero_time() -> Timestamp {
    Timestamp::from_second(-62_135_596_800).expect("year 1 is a time")
}

/// Whether the tracking finalizer is on it.
pub fn is_tracked(meta: &ObjectMeta) -> bool {
    meta.finalizers.iter().flatten().any(|name| name == TRACKING_FINALIZER)
}

/// Whether the pod has been told to end and runs on, or runs without being told, uncounted either way.
pub fn is_alive(pod: &Pod) -> bool {
    !Phase::of(pod.status.as_ref()).is_terminal()
}

fn completion_index(meta: &ObjectMeta) -> Option<i32> {
    let index: i64 = meta.annotations.as_ref()?.get(INDEX)?.parse().ok()?;
    // Larger than any index a Job can have: it has a place in none, and is one nevertheless.
    (index >= 0).then(|| i32::try_from(index).unwrap_or(i32::MAX))
}

fn annotated_count(meta: &ObjectMeta, name: &str) -> i32 {
    let text = meta.annotations.as_ref().and_then(|all| all.get(name));
    text.and_then(|text| text.parse::<i32>().ok()).filter(|count| *count >= 0).unwrap_or(0)
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
    })
}

/// The `Ready` condition's status and when it came to be so.
fn ready_condition(pod: &Pod) -> Option<(&str, Option<Timestamp>)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    Some((&ready.status, ready.last_transition_time.as_ref().map(|time| time.0)))
}

/// When the last of the main containers ended, if all of them have.
fn last_exit(pod: &Pod) -> Option<Timestamp> {
    let mut last = None;
    for container in pod.status.as_ref()?.container_statuses.iter().flatten() {
        let ended = container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?;
        last = last.max(Some(ended.0));
    }
    last
}

/// When the deletion was asked for: the deletion time lies a grace period later.
fn deleted_at(meta: &ObjectMeta) -> Option<Timestamp> {
    let Time(at) = meta.deletion_timestamp.as_ref()?;
    let grace = SignedDuration::from_secs(meta.deletion_grace_period_seconds.unwrap_or(0));
    at.checked_sub(grace).ok()
}

/// The most restarts of any one main container, and of any one sidecar.
fn most_restarts(pod: &Pod) -> (i32, i32) {
    let Some(status) = &pod.status else { return (0, 0) };
    let is_sidecar = |name: &str| {
        let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        init.filter(|container| container.restart_policy.as_deref() == Some("Always"))
            .any(|container| container.name == name)
    };
    let main = status.container_statuses.iter().flatten().map(|status| status.restart_count).max();
    let sidecars = status.init_container_statuses.iter().flatten().filter(|status| is_sidecar(&status.name));
    (main.unwrap_or(0), sidecars.map(|status| status.restart_count).max().unwrap_or(0))
}
