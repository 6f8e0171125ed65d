//! PURE. Owns how a pod's containers are stopped and what its phase is then. Never decides that they should be.
//!
//! ```text
//!  running --asked (its stop signal)--> running --kill_at--> killed --> ended --recorded--> phase
//!  sidecars: the last one first, each only once those after it have ended
//! ```
//!
//! Parity: `killPod`, `TerminatePod` of `pkg/kubelet/status/status_manager.go`; the phase of a pod that is stopped for a
//! cause of its own (deadline, disruption) is Failed whatever its containers say.

use jiff::Timestamp;

use super::conditions::SHUTDOWN_MESSAGE;
use super::draft::Draft;
use super::facts::Action;
use super::phase;
use super::plan::{self, Stopping};
use super::restart::Role;
use super::tracks::State;
use crate::model::event::Severity;

const DEADLINE_REASON: &str = "DeadlineExceeded";
const DEADLINE_MESSAGE: &str = "Pod was active on the node longer than the specified deadline";
/// `status.reason` of a pod that used more storage than it may. Parity: `eviction.Reason`.
const EVICTED_REASON: &str = "Evicted";
/// `status.reason` of a pod that went down with its node. Parity: `nodeShutdownReason`.
const SHUTDOWN_REASON: &str = "Terminated";

/// Stops what runs; once nothing does, gives the pod its last phase.
pub fn stop(draft: &mut Draft<'_>, why: Stopping) {
    draft.outcome.ending = true;
    draft.outcome.disrupted = matches!(why, Stopping::Disrupted { .. } | Stopping::Evicted { .. });
    draft.outcome.evicted = if matches!(why, Stopping::Evicted { .. }) { plan::evicted(draft) } else { None };
    announce(draft, why);
    for index in 0..draft.tracks.len() {
        if let State::Created(seen) = &draft.tracks[index].state {
            let name = seen.name.clone();
            draft.act(Action::RemoveContainer { name });
        }
    }
    let running = draft.running();
    if running.is_empty() && !draft.settling() {
        verdict(draft, why);
        return;
    }
    let kill_at = kill_at(why);
    for index in now_stopping(draft, &running) {
        stop_one(draft, index, kill_at);
    }
}

fn kill_at(why: Stopping) -> Timestamp {
    match why {
        Stopping::Deleted { kill_at }
        | Stopping::Deadline { kill_at }
        | Stopping::Disrupted { kill_at }
        | Stopping::Evicted { kill_at }
        | Stopping::InitFailed { kill_at }
        | Stopping::Done { kill_at } => kill_at,
    }
}

fn announce(draft: &mut Draft<'_>, why: Stopping) {
    if let Some(message) = draft.outcome.evicted.clone().filter(|_| !plan::already_disrupted(draft)) {
        draft.note(Severity::Warning, EVICTED_REASON, message, None);
    }
    let none_asked = draft.facts.asked_to_stop.is_empty();
    if matches!(why, Stopping::Deadline { .. }) && none_asked && !draft.running().is_empty() {
        draft.note(Severity::Normal, DEADLINE_REASON, DEADLINE_MESSAGE.to_owned(), None);
    }
}

/// Everything but the sidecars at once; then the sidecars one by one, the last first.
fn now_stopping(draft: &Draft<'_>, running: &[usize]) -> Vec<usize> {
    let others: Vec<usize> =
        running.iter().copied().filter(|index| draft.tracks[*index].role != Role::Sidecar).collect();
    if others.is_empty() { running.last().copied().into_iter().collect() } else { others }
}

fn stop_one(draft: &mut Draft<'_>, index: usize, kill_at: Timestamp) {
    let track = &draft.tracks[index];
    let Some(seen) = track.seen() else { return };
    let (name, container) = (seen.name.clone(), track.spec.name.clone());
    let signal = track.spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.clone());
    if !draft.facts.asked_to_stop.contains(&name) {
        draft.note(Severity::Normal, "Killing", format!("Stopping container {container}"), Some(&container));
        draft.act(Action::Stop { name: name.clone(), signal });
    }
    if kill_at > draft.now {
        draft.wake(kill_at);
    } else if !draft.facts.killed.contains(&name) {
        draft.act(Action::Kill { name });
    }
}

/// The pod failed with its node.
fn went_down(draft: &mut Draft<'_>) {
    draft.outcome.phase = Some("Failed");
    draft.outcome.reason = Some((SHUTDOWN_REASON, SHUTDOWN_MESSAGE.to_owned()));
}

/// The phase of a pod of which nothing runs any more.
fn verdict(draft: &mut Draft<'_>, why: Stopping) {
    match why {
        Stopping::Deadline { .. } => {
            draft.outcome.phase = Some("Failed");
            draft.outcome.reason = Some((DEADLINE_REASON, DEADLINE_MESSAGE.to_owned()));
        }
        Stopping::Evicted { .. } => {
            draft.outcome.phase = Some("Failed");
            draft.outcome.reason = Some((EVICTED_REASON, draft.outcome.evicted.clone().unwrap_or_default()));
        }
        Stopping::Disrupted { .. } => went_down(draft),
        // A container that ends well when its node goes down has not done its work.
        Stopping::Deleted { .. } if plan::already_disrupted(draft) => went_down(draft),
        // Parity: what the containers say, and Failed where they do not say enough. A pod that never ran keeps its
        // waiting containers: an exit code that nobody saw is not made up.
        Stopping::Deleted { .. } | Stopping::InitFailed { .. } | Stopping::Done { .. } => {
            let status = super::status::status(draft.facts, draft.spec, &draft.tracks, &draft.outcome, draft.now);
            if !phase::terminal(status.phase.as_deref()) {
                draft.outcome.phase = Some("Failed");
            }
        }
    }
}
