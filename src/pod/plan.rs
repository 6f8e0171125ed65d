//! PURE. Owns the decision of what becomes of one pod. Never acts: `apply` does, and the next look at the facts shows
//! whether it went well. Nothing is remembered: the stage is worked out from the facts each time.
//!
//! ```text
//!  somebody else's, bound to no node, or not let in by the scheduler --------------> left alone
//!  Run (volumes, sandbox, init 1..n, sidecars, main containers, restarts)
//!   |- deleted, past its deadline, disrupted, init failed for good, main containers over
//!   v
//!  Stop (SIGTERM, then SIGKILL at the end of the grace) --all ended, all recorded--> phase Succeeded or Failed
//!   v
//!  Over (logs kept, containers and volumes removed, a deletion finished)
//! ```
//!
//! Parity: `syncPod`, `SyncTerminatingPod` and `SyncTerminatedPod` of `pkg/kubelet/kubelet.go`, `computePodActions` of
//! `pkg/kubelet/kuberuntime`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{PodCondition, PodSpec};

use super::devices::DevicesFact;
use super::draft::Draft;
use super::facts::{Action, PodFacts, PodPlan};
use super::resize::Progress;
use super::restart::Role;
use super::{anew, app_armor, cleanup, conditions, devices, health, phase, spec, start, stop, unenforced, unsupported};
use crate::model::condition::DISRUPTION_TARGET;
use crate::model::event::Severity;
use crate::model::resize;

/// The grace of a pod that does not say. Parity: the API's default.
const DEFAULT_GRACE_SECONDS: i64 = 30;
/// Deletion times are whole seconds, cut; nobody is killed before the grace is over.
const ROUNDING: SignedDuration = SignedDuration::from_secs(1);

/// Why a pod's containers are being stopped, and when the patience ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopping {
    /// It is being deleted.
    Deleted {
        /// When what still runs is killed.
        kill_at: Timestamp,
    },
    /// It was active longer than it may be.
    Deadline {
        /// When what still runs is killed.
        kill_at: Timestamp,
    },
    /// The engine or the machine went down under it.
    Disrupted {
        /// When what still runs is killed.
        kill_at: Timestamp,
    },
    /// It used more storage than it may.
    Evicted {
        /// When what still runs is killed.
        kill_at: Timestamp,
    },
    /// An init container failed for good.
    InitFailed {
        /// When what still runs is killed.
        kill_at: Timestamp,
    },
    /// Its main containers are over.
    Done {
        /// When what still runs (sidecars) is killed.
        kill_at: Timestamp,
    },
}

/// What a pod of this node is at.
enum Stage {
    Run,
    Anew,
    Stop(Stopping),
    Over,
}

/// Decides what to do about a pod, and what its status should say.
pub fn plan(facts: &PodFacts, now: Timestamp) -> PodPlan {
    let Some(spec) = &facts.pod.spec else { return PodPlan::default() };
    let deleted = facts.pod.metadata.deletion_timestamp.is_some();
    let bound = match spec.node_name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) if name == facts.node.name => true,
        // The scheduler's, whichever that is.
        None if !deleted => return PodPlan::default(),
        None => false,
        Some(_) => return PodPlan::default(),
    };
    if !deleted && !conditions::admitted(facts.pod.status.as_ref()) {
        return PodPlan::default();
    }
    let granted = resize::granted(&facts.pod);
    let mut draft = Draft::new(facts, granted.as_ref().unwrap_or(spec), now);
    draft.outcome.unbound = !bound;
    let first = bound && facts.pod.status.as_ref().is_none_or(|status| status.start_time.is_none());
    if first {
        warn(&mut draft);
    }
    match stage(&draft) {
        Stage::Run => run(&mut draft, first),
        Stage::Anew => anew::begin_anew(&mut draft),
        Stage::Stop(why) => stop::stop(&mut draft, why),
        Stage::Over => cleanup::over(&mut draft),
    }
    health::end_probes(&mut draft);
    cleanup::logs(&mut draft);
    draft.finish()
}

/// A resize that was under way is over.
fn resized(draft: &mut Draft<'_>) {
    if draft.outcome.resize == Progress::Done && resize::condition(draft.pod(), resize::IN_PROGRESS).is_some() {
        draft.note(Severity::Normal, "ResizeCompleted", "Pod resize completed".to_owned(), None);
    }
}

/// What comes before the first container, then the containers.
fn run(draft: &mut Draft<'_>, first: bool) {
    if let Some(why) = app_armor::refused(draft.spec, &draft.facts.node).filter(|_| first) {
        return reject(draft, app_armor::REASON, why);
    }
    let none_made = draft.facts.containers.is_empty();
    if let Some(why) = spec::no_runtime(&draft.facts.node).filter(|_| none_made) {
        return start::no_sandbox(draft, &why);
    }
    match &draft.facts.devices {
        DevicesFact::Short(why) => return reject(draft, devices::REASON, why),
        // One that runs without has begun before there were any.
        DevicesFact::Unassigned if none_made => {
            let wanted = devices::wanted(draft.spec, &draft.facts.node);
            if !wanted.is_empty() {
                return draft.act(Action::AssignDevices(wanted));
            }
        }
        DevicesFact::Unassigned | DevicesFact::Assigned(_) => {}
    }
    start::run(draft);
    resized(draft);
}

/// The pod may not run here. Parity: `rejectPod`.
fn reject(draft: &mut Draft<'_>, reason: &'static str, message: &str) {
    draft.outcome.rejected = true;
    draft.outcome.reason = Some((reason, format!("Pod was rejected: {message}")));
    draft.note(Severity::Warning, reason, message.to_owned(), None);
}

/// The first look at a pod says which of its fields it runs without.
fn warn(draft: &mut Draft<'_>) {
    for field in unsupported::ignored(draft.spec, &draft.facts.node) {
        let text = format!("{field} is not honoured by jobdock yet: the pod runs without it");
        draft.note(Severity::Warning, "FieldNotHonoured", text, None);
    }
    for found in unenforced::unenforced(draft.spec, &draft.facts.node) {
        let text = format!("{} is not fully honoured: {}", found.field, found.why);
        draft.note(Severity::Warning, "FieldNotHonoured", text, None);
    }
}

fn stage(draft: &Draft<'_>) -> Stage {
    let status = draft.pod().status.as_ref();
    if phase::terminal(status.and_then(|status| status.phase.as_deref())) {
        return Stage::Over;
    }
    if let Some(at) = &draft.pod().metadata.deletion_timestamp {
        let graceful = draft.pod().metadata.deletion_grace_period_seconds.unwrap_or(0) > 0;
        let kill_at = if graceful { at.0 + ROUNDING } else { at.0 };
        return Stage::Stop(Stopping::Deleted { kill_at });
    }
    let after_ends = || last_end(draft) + grace(draft.spec);
    if evicted(draft).is_some() {
        return Stage::Stop(Stopping::Evicted { kill_at: draft.now });
    }
    if disrupted(draft) {
        return Stage::Stop(Stopping::Disrupted { kill_at: after_ends() });
    }
    if let Some(at) = deadline(draft).filter(|at| *at <= draft.now) {
        return Stage::Stop(Stopping::Deadline { kill_at: at + grace(draft.spec) });
    }
    if anew::due(draft) {
        return Stage::Anew;
    }
    let init_failed =
        |track: &super::tracks::Track<'_>| track.role == Role::Init && track.over(draft.spec) && !track.succeeded();
    if draft.tracks.iter().any(init_failed) {
        return Stage::Stop(Stopping::InitFailed { kill_at: after_ends() });
    }
    let mut main = draft.tracks.iter().filter(|track| track.role == Role::Main);
    if main.all(|track| track.over(draft.spec)) {
        return Stage::Stop(Stopping::Done { kill_at: after_ends() });
    }
    Stage::Run
}

/// An end that the outage made doubtful takes the pod down, unless the container is started again anyway.
fn disrupted(draft: &Draft<'_>) -> bool {
    let doubtful = |track: &super::tracks::Track<'_>| {
        track.end().is_some_and(|end| end.disrupted) && track.over(draft.spec) && track.role != Role::Sidecar
    };
    draft.tracks.iter().any(doubtful) || already_disrupted(draft)
}

/// What the kubelet says of a pod that uses more storage than it may: measured now, or told before.
pub fn evicted(draft: &Draft<'_>) -> Option<String> {
    let told = || disruption(draft).and_then(|condition| condition.message.clone());
    draft.facts.exceeded.clone().or_else(|| told().filter(|message| message != conditions::SHUTDOWN_MESSAGE))
}

/// The condition stands already: it was seen before all containers had ended, or the daemon is ending its pods.
pub fn already_disrupted(draft: &Draft<'_>) -> bool {
    disruption(draft).is_some()
}

/// The condition of a pod that its node takes down.
fn disruption<'a>(draft: &Draft<'a>) -> Option<&'a PodCondition> {
    let by_node = |condition: &&PodCondition| condition.reason.as_deref() == Some(conditions::TERMINATION_BY_KUBELET);
    disruption_target(draft).filter(by_node)
}

/// The condition of a pod that somebody marked as one that has to make way.
pub fn disruption_target<'a>(draft: &Draft<'a>) -> Option<&'a PodCondition> {
    let mut conditions = draft.pod().status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.find(|condition| condition.type_ == DISRUPTION_TARGET && condition.status == "True")
}

/// When the pod has been active for as long as it may be.
pub fn deadline(draft: &Draft<'_>) -> Option<Timestamp> {
    let seconds = draft.spec.active_deadline_seconds?;
    let started = draft.pod().status.as_ref()?.start_time.as_ref()?.0;
    started.checked_add(SignedDuration::from_secs(seconds)).ok()
}

/// How long the pod's containers may take to stop.
pub fn grace(spec: &PodSpec) -> SignedDuration {
    SignedDuration::from_secs(spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE_SECONDS).max(0))
}

fn last_end(draft: &Draft<'_>) -> Timestamp {
    draft.tracks.iter().filter_map(|track| track.end()).map(|end| end.at).max().unwrap_or(draft.now).min(draft.now)
}
