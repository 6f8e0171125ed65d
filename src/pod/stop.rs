//! PURE. Owns how a pod's containers are stopped and what its phase is then. Never decides that they should be.
//!
//! ```text
//!  running --preStop--> asked (its stop signal) --kill_at--> killed --> ended --recorded--> phase
//!  sidecars: their preStop at once, the signal to the last one first, to each only once those after it have ended
//! ```
//!
//! Parity: `killPod`, `killContainer`, `SyncTerminatingPod` of `pkg/kubelet`: a pod whose containers end well while it is
//! deleted has succeeded, past its deadline it has failed all the same. Differs: it has failed, too, if it was disrupted.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::conditions::SHUTDOWN_MESSAGE;
use super::draft::Draft;
use super::facts::Action;
use super::hook::{self, Hook, Progress};
use super::plan::{self, Stopping};
use super::probe::Target;
use super::restart::Role;
use super::tracks::{State, Track};
use super::{phase, status};
use crate::model::event::Severity;

/// What a container gets between its stop signal and its end, however long its preStop took. Parity:
/// `minimumGracePeriodInSeconds`.
const MIN_GRACE: SignedDuration = SignedDuration::from_secs(2);

const DEADLINE_REASON: &str = "DeadlineExceeded";
const DEADLINE_MESSAGE: &str = "Pod was active on the node longer than the specified deadline";
/// `status.reason` of a pod that used more storage than it may. Parity: `eviction.Reason`.
const EVICTED_REASON: &str = "Evicted";
/// `status.reason` of a pod that went down with its node. Parity: `nodeShutdownReason`.
const SHUTDOWN_REASON: &str = "Terminated";

/// Stops what runs; once nothing does, gives the pod its last phase.
pub fn stop(draft: &mut Draft<'_>, why: Stopping) {
    draft.outcome.ending = true;
    draft.outcome.disrupted = matches!(why, Stopping::Disrupted { .. });
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
    let in_turn = now_stopping(draft, &running);
    for index in running {
        let text = format!("Stopping container {}", draft.tracks[index].spec.name);
        wind_down(draft, index, &Ending { kill_at, text, in_turn: in_turn.contains(&index) });
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
    if !draft.facts.asked_to_stop.is_empty() {
        return;
    }
    match why {
        // Of one that runs when it is stopped, of another when it is over.
        Stopping::Deadline { .. } if !draft.running().is_empty() || !draft.settling() => {
            draft.note(Severity::Normal, DEADLINE_REASON, DEADLINE_MESSAGE.to_owned(), None);
        }
        // Of one that the node is short because of, it was told with the condition.
        Stopping::Evicted { .. } if !plan::already_disrupted(draft) => {
            let message = plan::evicted(draft).unwrap_or_default();
            draft.note(Severity::Warning, EVICTED_REASON, message, None);
        }
        Stopping::Deadline { .. }
        | Stopping::Evicted { .. }
        | Stopping::Deleted { .. }
        | Stopping::Disrupted { .. }
        | Stopping::InitFailed { .. }
        | Stopping::Done { .. } => {}
    }
}

/// Everything but the sidecars at once; then the sidecars one by one, the last first.
fn now_stopping(draft: &Draft<'_>, running: &[usize]) -> Vec<usize> {
    let others: Vec<usize> =
        running.iter().copied().filter(|index| draft.tracks[*index].role != Role::Sidecar).collect();
    if others.is_empty() { running.last().copied().into_iter().collect() } else { others }
}

/// How a container is brought to its end.
pub struct Ending {
    /// When the patience ends.
    pub kill_at: Timestamp,
    /// Text of the Event.
    pub text: String,
    /// It may be asked to stop now; else only its preStop runs.
    pub in_turn: bool,
}

/// When the end of a container was begun, as far as this agent knows.
pub fn begun(draft: &Draft<'_>, name: &str) -> Option<Timestamp> {
    let key = hook::Key { name: name.to_owned(), hook: Hook::PreStop };
    let hook = draft.facts.hooks.get(&key).map(|fact| fact.begun);
    hook.or_else(|| draft.facts.asked_to_stop.get(name).copied())
}

/// Brings a running container one step nearer to its end: preStop, its stop signal, SIGKILL.
pub fn wind_down(draft: &mut Draft<'_>, index: usize, ending: &Ending) {
    let Some(name) = draft.tracks[index].seen().map(|seen| seen.name.clone()) else { return };
    let Some(asked) = draft.facts.asked_to_stop.get(&name).copied() else {
        let first = begun(draft, &name).is_none();
        let waits = pre_stop(draft, index, &name, ending.kill_at);
        if first && (waits || ending.in_turn) {
            let container = draft.tracks[index].spec.name.clone();
            draft.note(Severity::Normal, "Killing", ending.text.clone(), Some(&container));
        }
        if waits {
            draft.wake(ending.kill_at);
        } else if ending.in_turn {
            ask(draft, index, name, ending.kill_at);
        }
        return;
    };
    if draft.facts.killed.contains(&name) {
        return;
    }
    let kill_at = ending.kill_at.max(asked + MIN_GRACE);
    if kill_at > draft.now && !at_once(draft) {
        draft.wake(kill_at);
    } else {
        draft.act(Action::Kill { name });
    }
}

/// Sends the stop signal; a pod that is deleted without grace is not waited for.
fn ask(draft: &mut Draft<'_>, index: usize, name: String, kill_at: Timestamp) {
    let lifecycle = draft.tracks[index].spec.lifecycle.as_ref();
    let signal = lifecycle.and_then(|lifecycle| lifecycle.stop_signal.clone());
    draft.act(Action::Stop { name: name.clone(), signal });
    if at_once(draft) {
        draft.act(Action::Kill { name });
    } else {
        draft.wake(kill_at.max(draft.now + MIN_GRACE));
    }
}

fn at_once(draft: &Draft<'_>) -> bool {
    let meta = &draft.pod().metadata;
    meta.deletion_timestamp.is_some() && meta.deletion_grace_period_seconds.unwrap_or(0) == 0
}

/// Runs the preStop hook where there is time for it; says whether it is to be waited for.
fn pre_stop(draft: &mut Draft<'_>, index: usize, name: &str, kill_at: Timestamp) -> bool {
    let container = draft.tracks[index].spec;
    let Some(handler) = Hook::PreStop.of(container).filter(|_| kill_at > draft.now) else { return false };
    let key = hook::Key { name: name.to_owned(), hook: Hook::PreStop };
    match draft.facts.hooks.get(&key).map(|fact| &fact.progress) {
        Some(Progress::Running) => true,
        Some(Progress::Done | Progress::Failed { .. }) => false,
        None => {
            let ip = status::pod_ip(draft.facts, draft.spec).unwrap_or_default();
            let check = hook::check(handler, Target { container, name, ip: &ip });
            let limit = Duration::try_from(kill_at.duration_since(draft.now)).ok();
            draft.act(Action::Hook { key, container: container.name.clone(), check, limit });
            true
        }
    }
}

/// The phase of a pod of which nothing runs any more.
fn verdict(draft: &mut Draft<'_>, why: Stopping) {
    match why {
        Stopping::Deadline { .. } => fail(draft, Some((DEADLINE_REASON, DEADLINE_MESSAGE.to_owned()))),
        // What its containers say cannot be trusted.
        Stopping::Disrupted { .. } => fail(draft, Some((SHUTDOWN_REASON, SHUTDOWN_MESSAGE.to_owned()))),
        Stopping::Evicted { .. } | Stopping::Deleted { .. } | Stopping::InitFailed { .. } | Stopping::Done { .. } => {
            let status = status::status(draft.facts, draft.spec, &draft.tracks, &draft.outcome, draft.now);
            let early = interrupted(draft);
            if status.phase.as_deref() == Some("Succeeded") && !early {
                return;
            }
            let reason = taken_down(draft);
            // Parity: Failed where they do not say enough. A pod that never ran keeps its waiting containers: an exit
            // code that nobody saw is not made up.
            if early || reason.is_some() || !phase::terminal(status.phase.as_deref()) {
                fail(draft, reason);
            }
        }
    }
}

/// A program was asked to end before its time, and not because somebody wanted the pod gone.
///
/// Differs: upstream believes whatever such a program exits with, so that one that ends well on SIGTERM counts as done with
/// work that nobody has done (kubernetes/kubernetes#118310). A pod that is merely deleted is believed here, too.
fn interrupted(draft: &Draft<'_>) -> bool {
    let asked = |track: &Track<'_>| track.seen().is_some_and(|seen| draft.facts.asked_to_stop.contains_key(&seen.name));
    let early = draft.tracks.iter().filter(|track| track.role == Role::Main).any(asked);
    early && (plan::evicted(draft).is_some() || plan::disruption_target(draft).is_some())
}

fn fail(draft: &mut Draft<'_>, reason: Option<(&'static str, String)>) {
    draft.outcome.phase = Some("Failed");
    draft.outcome.reason = reason;
}

/// What the node says of a pod that it has taken down.
fn taken_down(draft: &Draft<'_>) -> Option<(&'static str, String)> {
    match plan::evicted(draft) {
        Some(message) => Some((EVICTED_REASON, message)),
        None => plan::already_disrupted(draft).then(|| (SHUTDOWN_REASON, SHUTDOWN_MESSAGE.to_owned())),
    }
}
