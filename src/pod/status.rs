//! PURE. Owns the pod's status as the kubelet writes it: container statuses, phase, addresses; `conditions` adds the
//! conditions. Never decides what happens next: the waiting reasons and the verdict come from `plan`.
//!
//! Parity: `generateAPIPodStatus` and `convertToAPIContainerStatuses` of `pkg/kubelet/kubelet_pods.go`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, HostIP,
    PodIP, PodSpec, PodStatus, VolumeMountStatus,
};

use super::facts::{ImageFact, PodFacts};
use super::resize::{self, Progress};
use super::restart::Role;
use super::tracks::{State, Track, container_id};
use super::{conditions, health, mounts, names, phase};
use crate::model::qos;
use crate::model::time;
use crate::runtime::Seen;

/// Why a container waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Upstream's reason.
    pub reason: &'static str,
    /// More words.
    pub message: Option<String>,
}

/// What the plan adds to the facts.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Why containers wait, by name; without an entry it is the ordinary reason.
    pub waits: BTreeMap<String, Wait>,
    /// Containers whose postStart hook runs: they wait until it is done.
    pub hooked: BTreeSet<String>,
    /// The pod is beginning anew in its place.
    pub anew: bool,
    /// Nothing of the pod will be started again.
    pub ending: bool,
    /// The phase that the pod gets whatever its containers say.
    pub phase: Option<&'static str>,
    /// `status.reason` and `status.message` that go with the end.
    pub reason: Option<(&'static str, String)>,
    /// The engine or the machine took the pod down.
    pub disrupted: bool,
    /// How far a resize of the pod is.
    pub resize: Progress,
    /// No node ever had it.
    pub unbound: bool,
    /// The node does not take it.
    pub rejected: bool,
}

/// The pod's status.
pub fn status(facts: &PodFacts, spec: &PodSpec, tracks: &[Track<'_>], outcome: &Outcome, now: Timestamp) -> PodStatus {
    let mut status = facts.pod.status.clone().unwrap_or_default();
    if let (true, Some((reason, message))) = (outcome.rejected, &outcome.reason) {
        return rejected(spec, reason, message.clone());
    }
    // It was turned away at the door: there is no more to tell of it.
    if phase::terminal(status.phase.as_deref()) && status.start_time.is_none() && facts.containers.is_empty() {
        return status;
    }
    let (init, main): (Vec<_>, Vec<_>) = tracks
        .iter()
        .map(|track| (track.role, container_status(facts, spec, track, outcome)))
        .partition(|(role, _)| matches!(role, Role::Init | Role::Sidecar));
    let plain = |list: Vec<(Role, ContainerStatus)>| list.into_iter().map(|(_, status)| status).collect::<Vec<_>>();
    let (init, mut main) = (plain(init), plain(main));
    main.sort_by(|a, b| a.name.cmp(&b.name));

    let all: Vec<&ContainerStatus> = init.iter().chain(&main).collect();
    let again = |name: &str| {
        tracks.iter().any(|track| track.spec.name == name && track.again && matches!(track.state, State::Ended(_)))
    };
    let computed = outcome.phase.unwrap_or_else(|| phase::phase(spec, &all, outcome.ending, again));
    // A terminal phase is never left.
    if !phase::terminal(status.phase.as_deref()) {
        if status.phase.as_deref() != Some(computed) {
            status.reason = None;
            status.message = None;
        }
        status.phase = Some(computed.to_owned());
        if let (Some((reason, message)), true) = (&outcome.reason, phase::terminal(Some(computed))) {
            status.reason = Some((*reason).to_owned());
            status.message = Some(message.clone());
        }
    }
    // Parity: which state of the pod it was worked out from; GA since 1.35.
    status.observed_generation = facts.pod.metadata.generation;
    status.conditions = Some(conditions::conditions(facts, spec, tracks, &all, &status, outcome, now));
    status.container_statuses = Some(main);
    status.init_container_statuses = (!init.is_empty()).then_some(init);
    status.qos_class = Some(qos::class(spec).to_owned());
    if !outcome.unbound {
        status.start_time = status.start_time.or_else(|| Some(time::seconds(now)));
        addresses(&mut status, facts, spec);
    }
    status
}

/// Of a pod that its node does not take nothing else is told, so that clients show the reason. Parity: `rejectPod`.
fn rejected(spec: &PodSpec, reason: &str, message: String) -> PodStatus {
    PodStatus {
        phase: Some("Failed".to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message),
        qos_class: Some(qos::class(spec).to_owned()),
        ..PodStatus::default()
    }
}

fn addresses(status: &mut PodStatus, facts: &PodFacts, spec: &PodSpec) {
    if !facts.node.ip.is_empty() {
        status.host_ip = Some(facts.node.ip.clone());
        status.host_ips = Some(vec![HostIP { ip: facts.node.ip.clone() }]);
    }
    // Once it had an address it keeps telling it, as a finished pod does upstream.
    if let Some(ip) = pod_ip(facts, spec) {
        status.pod_ip = Some(ip.clone());
        status.pod_ips = Some(vec![PodIP { ip }]);
    }
}

/// The pod's address, where it has one now.
pub fn pod_ip(facts: &PodFacts, spec: &PodSpec) -> Option<String> {
    if spec.host_network == Some(true) {
        return Some(facts.node.ip.clone()).filter(|ip| !ip.is_empty());
    }
    let running = facts.containers.iter().filter(|seen| matches!(seen.state, Seen::Running { .. }));
    let (sandbox, others): (Vec<_>, Vec<_>) = running.partition(|seen| names::identity(seen).is_none());
    sandbox.into_iter().chain(others).find_map(|seen| seen.ip.clone().filter(|ip| !ip.is_empty()))
}

/// Why a container waits where nothing is wrong.
pub fn ordinary_wait(spec: &PodSpec) -> &'static str {
    let has_init = spec.init_containers.as_ref().is_some_and(|list| !list.is_empty());
    if has_init { "PodInitializing" } else { "ContainerCreating" }
}

fn container_status(facts: &PodFacts, spec: &PodSpec, track: &Track<'_>, outcome: &Outcome) -> ContainerStatus {
    let ordinary = ordinary_wait(spec);
    let wait = outcome.waits.get(&track.spec.name);
    let waiting = || ContainerState { waiting: Some(waiting(wait, ordinary)), ..ContainerState::default() };
    let ended =
        |end: &ContainerStateTerminated| ContainerState { terminated: Some(end.clone()), ..ContainerState::default() };
    // While a container waits, `restartCount` is the run that `lastState` tells of.
    let told_last = |attempt: u32| if track.last.is_some() { attempt.saturating_sub(1) } else { attempt };
    let (state, last, count) = match &track.state {
        State::Waiting | State::Created(_) => (waiting(), track.last.clone(), told_last(track.attempt)),
        // Parity: the kubelet tells of a container once its postStart hook is over.
        State::Running(..) if outcome.hooked.contains(&track.spec.name) => {
            let told = told_waiting(track).cloned();
            (told.unwrap_or_else(waiting), track.last.clone(), told_last(track.attempt))
        }
        State::Running(_, since) => (running(*since), track.last.clone(), track.attempt),
        // Not known to be over before its last words are: it goes on as it was last told.
        State::Settling(seen) => (still(seen), track.last.clone(), track.attempt),
        State::Ended(end) if wait.is_some() => (waiting(), Some(end.terminated.clone()), track.attempt),
        // About to be started again: it waits as it was told to, rather than to be told as ended anew.
        State::Ended(end) if end.recorded && !outcome.ending && told_waiting(track).is_some() => {
            (told_waiting(track).cloned().unwrap_or_default(), Some(end.terminated.clone()), track.attempt)
        }
        State::Ended(end) => (ended(&end.terminated), track.last.clone(), track.attempt),
    };
    let running = state.running.is_some();
    let succeeded = state.terminated.as_ref().is_some_and(|end| end.exit_code == 0);
    let id = track.seen().map(container_id);
    let told = state.terminated.as_ref().or(last.as_ref()).and_then(|end| end.container_id.clone());
    ContainerStatus {
        name: track.spec.name.clone(),
        image: track.spec.image.clone().unwrap_or_default(),
        image_id: image_id(facts, track),
        container_id: id.or(told),
        ready: match track.role {
            Role::Init => succeeded,
            Role::Sidecar | Role::Main => running && health::ready(facts, track),
        },
        started: Some(match track.role {
            Role::Init => running,
            Role::Sidecar | Role::Main => running && health::started(facts, track),
        }),
        restart_count: i32::try_from(count).unwrap_or(i32::MAX),
        state: Some(state),
        last_state: Some(last.as_ref().map(ended).unwrap_or_default()),
        resources: Some(resize::in_effect(facts, spec, track)),
        allocated_resources: track.spec.resources.as_ref().and_then(|resources| resources.requests.clone()),
        volume_mounts: mounted(track),
        ..ContainerStatus::default()
    }
}

/// What the container mounts. Parity: whether a mount is read-only below it, too, is told of read-only ones.
fn mounted(track: &Track<'_>) -> Option<Vec<VolumeMountStatus>> {
    let mounts = track.spec.volume_mounts.as_ref().filter(|mounts| !mounts.is_empty())?;
    let told = mounts.iter().map(|mount| {
        let read_only = mount.read_only == Some(true);
        let recursive = if mounts::is_recursive(mount) { "Enabled" } else { "Disabled" };
        VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: read_only.then_some(true),
            recursive_read_only: read_only.then(|| recursive.to_owned()),
            ..VolumeMountStatus::default()
        }
    });
    Some(told.collect())
}

/// The stored state, where it says that the container waits.
fn told_waiting<'a>(track: &'a Track<'_>) -> Option<&'a ContainerState> {
    track.before?.state.as_ref().filter(|state| state.waiting.is_some())
}

fn waiting(wait: Option<&Wait>, ordinary: &str) -> ContainerStateWaiting {
    ContainerStateWaiting {
        reason: Some(wait.map_or(ordinary, |wait| wait.reason).to_owned()),
        message: wait.and_then(|wait| wait.message.clone()),
    }
}

fn running(since: Timestamp) -> ContainerState {
    let running = ContainerStateRunning { started_at: Some(time::seconds(since)) };
    ContainerState { running: Some(running), ..ContainerState::default() }
}

fn still(seen: &crate::runtime::ContainerSeen) -> ContainerState {
    match &seen.state {
        Seen::Running { started_at } | Seen::Exited { started_at, .. } => running(*started_at),
        Seen::Created { .. } | Seen::Dead => ContainerState::default(),
    }
}

/// The image that a container runs: the name with its digest where the registry gave one, else its id.
fn image_id(facts: &PodFacts, track: &Track<'_>) -> String {
    let seen = track.seen();
    if let Some(ImageFact::Ready { image, .. }) = facts.images.get(&track.spec.name)
        && seen.is_some_and(|seen| seen.image_id == image.id)
    {
        // An image may have several; the one that was asked for is among them.
        let asked = track.spec.image.as_deref().and_then(|image| image.split_once('@'));
        let same = asked.and_then(|(_, digest)| image.repo_digests.iter().find(|one| one.ends_with(digest)));
        return same.or_else(|| image.repo_digests.first()).unwrap_or(&image.id).clone();
    }
    let before = track.before.map(|status| status.image_id.clone()).filter(|id| !id.is_empty());
    let same = track.before.and_then(|status| status.container_id.clone()) == seen.map(container_id);
    match (before, seen) {
        (Some(before), None) => before,
        (Some(before), Some(_)) if same => before,
        (_, Some(seen)) => seen.image_id.clone(),
        (None, None) => String::new(),
    }
}
