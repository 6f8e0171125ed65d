//! PURE. Owns what each container of a pod is doing now, worked out from the stored status and from the engine.
//! Never decides what to do about it: that is `plan`.
//!
//! ```text
//!  Waiting(n) --create--> Created(n) --start--> Running(n) --exit--> Ended(n), unrecorded --commit--> Ended(n), recorded
//!      ^                      \--start refused-----------------------^                                    |
//!      +--------------------------------- restart, n + 1 -------------------------------------------------+
//! ```
//!
//! An end is recorded once the stored status tells it for that attempt: as `state.terminated`, or as
//! `lastState.terminated` of a container that waits for its restart. `restartCount` is the attempt that it tells of.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, ContainerStatus, PodSpec, PodStatus};

use super::facts::{Attempt, Outage, PodFacts};
use super::restart::{self, Role};
use super::{names, termination};
use crate::model::time;
use crate::runtime::{ContainerSeen, Seen};

/// The exit code of a container whose end nobody saw. Parity: the kubelet's.
const UNKNOWN_CODE: i32 = 137;
/// The exit code of a container that never ran because its start failed. Parity: containerd's CRI plugin.
const START_ERROR_CODE: i32 = 128;
/// Exits this close to an outage may be its doing: a stopping engine gives containers 10 to 15 s, and a starting one
/// stamps those that it lost with its own time.
const OUTAGE_MARGIN: SignedDuration = SignedDuration::from_secs(30);

/// Reason of an end that nobody saw.
pub const STATUS_UNKNOWN: &str = "ContainerStatusUnknown";
/// Reason of an end before the beginning.
pub const START_ERROR: &str = "StartError";

/// One container of the pod.
#[derive(Clone, Debug)]
pub struct Track<'a> {
    /// Its specification.
    pub spec: &'a Container,
    /// What it is for.
    pub role: Role,
    /// The stored status of it.
    pub before: Option<&'a ContainerStatus>,
    /// The run that `state` tells of, or the one to come where it waits.
    pub attempt: u32,
    /// What it is doing.
    pub state: State<'a>,
    /// How the run before ended.
    pub last: Option<ContainerStateTerminated>,
    /// Containers of earlier runs that the engine still has.
    pub old: Vec<&'a ContainerSeen>,
    /// This run was stopped to be started anew: what it ends with does not matter.
    pub again: bool,
    /// This run ends because the whole pod begins anew.
    pub with_all: bool,
}

/// What a container is doing.
#[derive(Clone, Debug)]
pub enum State<'a> {
    /// There is none yet.
    Waiting,
    /// Made, not started.
    Created(&'a ContainerSeen),
    /// Its process runs.
    Running(&'a ContainerSeen, Timestamp),
    /// It ended, but what it last said is not known yet.
    Settling(&'a ContainerSeen),
    /// It ended.
    Ended(End<'a>),
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct End<'a> {
    /// As the status tells it.
    pub terminated: ContainerStateTerminated,
    /// When, for the back-off; the time of the observation where the engine does not say.
    pub at: Timestamp,
    /// The stored status tells it.
    pub recorded: bool,
    /// The engine or the machine restarted around it: what the engine says of it proves nothing.
    pub disrupted: bool,
    /// What the engine still has of it.
    pub seen: Option<&'a ContainerSeen>,
}

impl Track<'_> {
    /// This run, or the one to come.
    pub fn run(&self) -> Attempt {
        Attempt { container: self.spec.name.clone(), number: self.attempt }
    }

    /// The container in the engine.
    pub fn seen(&self) -> Option<&ContainerSeen> {
        match &self.state {
            State::Created(seen) | State::Running(seen, _) | State::Settling(seen) => Some(seen),
            State::Ended(end) => end.seen,
            State::Waiting => None,
        }
    }

    /// Its process may still run.
    pub fn running(&self) -> bool {
        matches!(self.state, State::Running(..))
    }

    /// Its end, where it has ended.
    pub fn end(&self) -> Option<&End<'_>> {
        match &self.state {
            State::Ended(end) => Some(end),
            State::Waiting | State::Created(_) | State::Running(..) | State::Settling(_) => None,
        }
    }

    /// It ended and is not started again.
    pub fn over(&self, pod: &PodSpec) -> bool {
        self.end()
            .is_some_and(|end| !self.again && !restart::restarts(pod, self.role, self.spec, end.terminated.exit_code))
    }

    /// It ended well, for an init container: the next may start.
    pub fn succeeded(&self) -> bool {
        !self.with_all && self.end().is_some_and(|end| end.terminated.exit_code == 0 && !end.disrupted)
    }

    /// Some run of it has begun.
    pub fn ever_ran(&self) -> bool {
        match self.state {
            State::Waiting | State::Created(_) => self.last.is_some(),
            State::Running(..) | State::Settling(_) | State::Ended(_) => true,
        }
    }
}

/// Every container of the pod in the order of starting.
pub fn tracks<'a>(facts: &'a PodFacts, spec: &'a PodSpec, now: Timestamp) -> Vec<Track<'a>> {
    let status = facts.pod.status.as_ref();
    restart::containers(spec).map(|(role, container)| track(facts, spec, status, role, container, now)).collect()
}

fn track<'a>(
    facts: &'a PodFacts,
    pod: &'a PodSpec,
    status: Option<&'a PodStatus>,
    role: Role,
    spec: &'a Container,
    now: Timestamp,
) -> Track<'a> {
    let before = stored(status, role, &spec.name);
    let mut runs: Vec<(u32, &ContainerSeen)> = facts
        .containers
        .iter()
        .filter_map(|seen| names::identity(seen).filter(|(name, _)| *name == spec.name).map(|(_, n)| (n, seen)))
        .collect();
    runs.sort_by_key(|(attempt, _)| *attempt);
    let newest = runs.pop();
    let old = runs.into_iter().map(|(_, seen)| seen).collect();
    let recorded = before.and_then(recorded_end);
    let last_before = before.and_then(|status| status.last_state.as_ref()?.terminated.clone());
    let with = |attempt, state, last| {
        let again = facts.again(&spec.name, attempt);
        let with_all = again && facts.restarts.get(&spec.name).is_some_and(|entry| entry.with_all);
        Track { spec, role, before, attempt, state, last, old, again, with_all }
    };

    match (newest, recorded) {
        (Some((attempt, seen)), Some((told, end))) if told >= attempt => {
            let seen = (told == attempt).then_some(seen);
            with(told, State::Ended(from_record(end, seen, now)), last_of(before, last_before))
        }
        (Some((attempt, seen)), recorded) => {
            let last = recorded.map(|(_, end)| end.clone()).or(last_before);
            let run = Attempt { container: spec.name.clone(), number: attempt };
            with(attempt, observed(facts, pod, spec, seen, &run, now), last)
        }
        (None, Some((told, end))) => {
            with(told, State::Ended(from_record(end, None, now)), last_of(before, last_before))
        }
        (None, None) => {
            let attempt = before.map_or(0, |status| u32::try_from(status.restart_count).unwrap_or(0));
            let ran = before.is_some_and(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()));
            let state = if ran { State::Ended(vanished(before, facts.outage, now)) } else { State::Waiting };
            with(attempt, state, last_before)
        }
    }
}

fn stored<'a>(status: Option<&'a PodStatus>, role: Role, name: &str) -> Option<&'a ContainerStatus> {
    let status = status?;
    let list = match role {
        Role::Init | Role::Sidecar => &status.init_container_statuses,
        Role::Main => &status.container_statuses,
    };
    list.iter().flatten().find(|status| status.name == name)
}

/// The newest end that a stored status tells, with its attempt.
fn recorded_end(status: &ContainerStatus) -> Option<(u32, &ContainerStateTerminated)> {
    let attempt = u32::try_from(status.restart_count).unwrap_or(0);
    let state = status.state.as_ref();
    if let Some(end) = state.and_then(|state| state.terminated.as_ref()) {
        return Some((attempt, end));
    }
    let waiting = state.is_none_or(|state| state.running.is_none());
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    last.filter(|_| waiting).map(|end| (attempt, end))
}

/// The run before the recorded one: known only where `state` tells the recorded one, for else `lastState` does.
fn last_of(
    before: Option<&ContainerStatus>,
    last: Option<ContainerStateTerminated>,
) -> Option<ContainerStateTerminated> {
    let told = before.and_then(|status| status.state.as_ref()).is_some_and(|state| state.terminated.is_some());
    last.filter(|_| told)
}

fn from_record<'a>(end: &ContainerStateTerminated, seen: Option<&'a ContainerSeen>, now: Timestamp) -> End<'a> {
    let at = end.finished_at.as_ref().map_or(now, |at| at.0);
    End { terminated: end.clone(), at, recorded: true, disrupted: false, seen }
}

fn observed<'a>(
    facts: &PodFacts,
    pod: &PodSpec,
    spec: &Container,
    seen: &'a ContainerSeen,
    run: &Attempt,
    now: Timestamp,
) -> State<'a> {
    match &seen.state {
        Seen::Created { error: None } => State::Created(seen),
        Seen::Created { error: Some(error) } => State::Ended(start_error(seen, error, now)),
        Seen::Running { started_at } => State::Running(seen, *started_at),
        Seen::Dead => State::Ended(unknown(Some(seen), now)),
        Seen::Exited { code, oom_killed, error, started_at, finished_at } => {
            if disrupted(facts.outage, *started_at, *finished_at) {
                return State::Ended(End { disrupted: true, ..unknown(Some(seen), now) });
            }
            let file = facts.messages.get(run).map(String::as_str).filter(|text| !text.is_empty());
            let log_wanted = file.is_none() && termination::falls_back_to_logs(spec, *code);
            if log_wanted && !facts.logs_finished.contains(run) {
                return State::Settling(seen);
            }
            let tail = facts.log_tails.get(run).map(String::as_str).filter(|_| log_wanted);
            let reason = exit_reason(*code, *oom_killed, error.is_some());
            let message = termination::message(pod, file, tail).or_else(|| error.clone());
            // A clock that was set back must not make a run end before it began.
            let finished = (*finished_at).max(*started_at);
            State::Ended(End {
                terminated: ContainerStateTerminated {
                    container_id: Some(container_id(seen)),
                    exit_code: *code,
                    finished_at: Some(time::seconds(finished)),
                    message,
                    reason: Some(reason.to_owned()),
                    signal: None,
                    started_at: Some(time::seconds(*started_at)),
                },
                at: finished,
                recorded: false,
                disrupted: false,
                seen: Some(seen),
            })
        }
    }
}

/// OOMKilled only where the kernel said so: any SIGKILL gives 137.
fn exit_reason(code: i32, oom_killed: bool, start_failed: bool) -> &'static str {
    match (oom_killed, start_failed, code) {
        (true, _, _) => "OOMKilled",
        (false, true, _) => "ContainerCannotRun",
        (false, false, 0) => "Completed",
        (false, false, _) => "Error",
    }
}

fn start_error<'a>(seen: &'a ContainerSeen, error: &str, now: Timestamp) -> End<'a> {
    End {
        terminated: ContainerStateTerminated {
            container_id: Some(container_id(seen)),
            exit_code: START_ERROR_CODE,
            finished_at: Some(time::seconds(now)),
            message: Some(error.to_owned()),
            reason: Some(START_ERROR.to_owned()),
            signal: None,
            started_at: None,
        },
        at: now,
        recorded: false,
        disrupted: false,
        seen: Some(seen),
    }
}

/// Parity: the kubelet's words for a container that is gone.
/// Differs: the kubelet raises the restart count too; here it stays the number of runs that came before.
fn unknown(seen: Option<&ContainerSeen>, now: Timestamp) -> End<'_> {
    End {
        terminated: ContainerStateTerminated {
            container_id: seen.map(container_id),
            exit_code: UNKNOWN_CODE,
            finished_at: None,
            message: Some("The container could not be located when the pod was terminated".to_owned()),
            reason: Some(STATUS_UNKNOWN.to_owned()),
            signal: None,
            started_at: None,
        },
        at: now,
        recorded: false,
        disrupted: false,
        seen,
    }
}

/// A container that ran and that the engine no longer has.
fn vanished(before: Option<&ContainerStatus>, outage: Option<Outage>, now: Timestamp) -> End<'static> {
    let running = before.and_then(|status| status.state.as_ref()?.running.as_ref());
    let started = running.and_then(|running| running.started_at.as_ref()).map(|at| at.0);
    let disrupted = outage.is_some_and(|outage| started.is_some_and(|started| started < outage.to));
    let mut end = unknown(None, now);
    end.terminated.container_id = before.and_then(|status| status.container_id.clone());
    End { disrupted, ..end }
}

/// Whether an exit fell into an outage, so that its code may be the outage's.
fn disrupted(outage: Option<Outage>, started_at: Timestamp, finished_at: Timestamp) -> bool {
    outage.is_some_and(|outage| {
        started_at < outage.to
            && (finished_at < started_at
                || (finished_at >= outage.from - OUTAGE_MARGIN && finished_at <= outage.to + OUTAGE_MARGIN))
    })
}

/// `docker://` and the engine's id.
pub fn container_id(seen: &ContainerSeen) -> String {
    format!("docker://{}", seen.id)
}
