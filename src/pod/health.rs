//! PURE. Owns what follows from hooks and probes of a container that runs: whether it has started, whether it is ready,
//! what is to be looked at, and when it has to be stopped to be started anew. Never runs a hook or a probe.
//!
//! ```text
//!  Running --postStart done--> up --startup probe--> started --readiness--> ready
//!               \--failed--\        \--failed--\         \--liveness failed--\
//!                           +-------------------+-----------------------------+--> stopped, restarted by its policy
//! ```
//!
//! Parity: `UpdatePodStatus` of `pkg/kubelet/prober`, `computePodActions` of `pkg/kubelet/kuberuntime`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Container;

use super::draft::Draft;
use super::facts::{Action, PodFacts};
use super::hook::{self, Hook, Progress};
use super::probe::{self, Kind, Target};
use super::restart::Role;
use super::tracks::{State, Track, container_id};
use super::{plan, restart, status, stop};
use crate::runtime::ContainerSeen;

/// Why a container is stopped though its pod goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    PostStart,
    Probe(Kind),
    Resize,
}

/// Sees to a container that runs; says whether what comes after it may start.
pub fn tend(draft: &mut Draft<'_>, index: usize) -> bool {
    let State::Running(seen, since) = draft.tracks[index].state else { return false };
    let name = seen.name.as_str();
    match post_start(draft, index, name) {
        Some(Progress::Running) => {
            let container = draft.tracks[index].spec.name.clone();
            draft.outcome.hooked.insert(container);
            return false;
        }
        Some(Progress::Failed { .. }) => {
            halt(draft, index, name, Cause::PostStart);
            return false;
        }
        Some(Progress::Done) | None => {}
    }
    for kind in [Kind::Liveness, Kind::Startup] {
        if result(draft.facts, name, kind) == Some(false) {
            halt(draft, index, name, Cause::Probe(kind));
            return false;
        }
    }
    let up = started(draft.facts, &draft.tracks[index]);
    begin_probes(draft, index, name, since, up);
    up && draft.tracks[index].role != Role::Init
}

/// How far the postStart hook is, which is begun where it is due; none where there is none to wait for.
fn post_start(draft: &mut Draft<'_>, index: usize, name: &str) -> Option<Progress> {
    let container = draft.tracks[index].spec;
    let handler = Hook::PostStart.of(container)?;
    let key = hook::Key { name: name.to_owned(), hook: Hook::PostStart };
    if let Some(fact) = draft.facts.hooks.get(&key) {
        return Some(fact.progress.clone());
    }
    if !draft.facts.begun.contains(name) {
        return None;
    }
    let ip = status::pod_ip(draft.facts, draft.spec).unwrap_or_default();
    let check = hook::check(handler, Target { container, name, ip: &ip });
    draft.act(Action::Hook { key, container: container.name.clone(), check, limit: None });
    Some(Progress::Running)
}

/// The words of a postStart hook that failed in this run.
pub fn post_start_failure(draft: &Draft<'_>, index: usize) -> Option<String> {
    let track = &draft.tracks[index];
    let handler = Hook::PostStart.of(track.spec)?;
    let key = hook::Key { name: track.seen()?.name.clone(), hook: Hook::PostStart };
    match &draft.facts.hooks.get(&key)?.progress {
        Progress::Failed { words } => {
            Some(hook::told(handler, &track.spec.name, &super::spec::pod_text(draft.pod()), words))
        }
        Progress::Running | Progress::Done => None,
    }
}

/// Begins the probes that are due and do not run yet.
fn begin_probes(draft: &mut Draft<'_>, index: usize, name: &str, since: Timestamp, up: bool) {
    let container = draft.tracks[index].spec;
    let ip = status::pod_ip(draft.facts, draft.spec).unwrap_or_default();
    for kind in [Kind::Startup, Kind::Readiness, Kind::Liveness] {
        let due = match kind {
            Kind::Startup => !up,
            Kind::Readiness | Kind::Liveness => up,
        };
        let begun = draft.facts.probes.contains_key(&probe::Key { name: name.to_owned(), kind });
        let Some(spec) = kind.of(container).filter(|_| due && !begun) else { continue };
        let target = Target { container, name, ip: &ip };
        let resumed = !draft.facts.begun.contains(name);
        draft.act(Action::Probe(Box::new(probe::watch(kind, spec, target, since, resumed))));
    }
}

/// What a probe of this run has come to, if anything.
fn result(facts: &PodFacts, name: &str, kind: Kind) -> Option<bool> {
    facts.probes.get(&probe::Key { name: name.to_owned(), kind })?.result
}

/// The engine's container of a run that is told as running.
fn running<'a>(track: &Track<'a>) -> Option<&'a ContainerSeen> {
    match track.state {
        State::Running(seen, _) | State::Settling(seen) => Some(seen),
        State::Waiting | State::Created(_) | State::Ended(_) => None,
    }
}

/// Whether a container that runs has started, as its status tells it.
pub fn started(facts: &PodFacts, track: &Track<'_>) -> bool {
    let Some(seen) = running(track) else { return false };
    if track.spec.startup_probe.is_none() {
        return true;
    }
    result(facts, &seen.name, Kind::Startup).unwrap_or_else(|| told(track, |before| before.started == Some(true)))
}

/// Whether a container that has started is ready.
pub fn ready(facts: &PodFacts, track: &Track<'_>) -> bool {
    let Some(seen) = running(track) else { return false };
    if !started(facts, track) {
        return false;
    }
    if track.spec.readiness_probe.is_none() {
        return true;
    }
    result(facts, &seen.name, Kind::Readiness).unwrap_or_else(|| told(track, |before| before.ready))
}

/// What the stored status tells of this very run: it stands until a probe has come to something in this agent's life.
fn told(track: &Track<'_>, holds: impl Fn(&k8s_openapi::api::core::v1::ContainerStatus) -> bool) -> bool {
    let id = track.seen().map(container_id);
    track.before.is_some_and(|before| before.container_id == id && holds(before))
}

/// Stops a container that is to be started anew with other resources.
pub fn restart_resized(draft: &mut Draft<'_>, index: usize, name: &str) {
    halt(draft, index, name, Cause::Resize);
}

/// Stops a container whose pod goes on.
fn halt(draft: &mut Draft<'_>, index: usize, name: &str, cause: Cause) {
    let track = &draft.tracks[index];
    let (container, role, attempt) = (track.spec, track.role, track.attempt);
    let again = restart::after_halt(draft.spec, role, container);
    if again {
        draft.enter_again(&container.name, attempt, false);
    }
    let text = match cause {
        Cause::PostStart => "FailedPostStartHook".to_owned(),
        Cause::Resize => format!("Container {} resize requires restart", container.name),
        Cause::Probe(kind) => {
            let kind = kind.title().to_lowercase();
            let after = if again { ", will be restarted" } else { "" };
            format!("Container {} failed {kind} probe{after}", container.name)
        }
    };
    let kill_at = stop::begun(draft, name).unwrap_or(draft.now) + grace(draft, container, cause);
    stop::wind_down(draft, index, &stop::Ending { kill_at, text, in_turn: true });
}

/// Parity: `setTerminationGracePeriod`.
fn grace(draft: &Draft<'_>, container: &Container, cause: Cause) -> SignedDuration {
    let own = match cause {
        Cause::PostStart | Cause::Resize => None,
        Cause::Probe(kind) => kind.of(container).and_then(|probe| probe.termination_grace_period_seconds),
    };
    own.map_or_else(|| plan::grace(draft.spec), |seconds| SignedDuration::from_secs(seconds.max(0)))
}

/// Ends probes of runs that are over, and of a pod that ends all but those of readiness.
pub fn end_probes(draft: &mut Draft<'_>) {
    let running: Vec<&str> =
        draft.running().into_iter().filter_map(|index| Some(draft.tracks[index].seen()?.name.as_str())).collect();
    let needless = |key: &probe::Key| {
        !running.contains(&key.name.as_str()) || (draft.outcome.ending && key.kind != Kind::Readiness)
    };
    let working = draft.facts.probes.iter().filter(|(_, fact)| fact.working);
    let over: Vec<probe::Key> = working.map(|(key, _)| key).filter(|key| needless(key)).cloned().collect();
    for key in over {
        draft.act(Action::EndProbe { key });
    }
}
