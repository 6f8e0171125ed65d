//! PURE. Owns a pod's plan while it is being made: what was seen, what was decided so far.
//! Never decides: `plan`, `start`, `stop` and `cleanup` fill it in.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::environment::Context;
use super::facts::{Action, Note, PodFacts, PodPlan};
use super::names;
use super::restart::Role;
use super::status::{self, Outcome, Wait};
use super::tracks::{self, State, Track};
use crate::model::event::Severity;
use crate::runtime::ContainerSeen;

/// The component that speaks of containers.
pub const KUBELET: &str = "kubelet";

/// A plan in the making.
pub struct Draft<'a> {
    /// What was seen.
    pub facts: &'a PodFacts,
    /// The pod's specification.
    pub spec: &'a PodSpec,
    /// Its containers in the order of starting.
    pub tracks: Vec<Track<'a>>,
    /// The time of the decision.
    pub now: Timestamp,
    /// What the status is made from besides the facts.
    pub outcome: Outcome,
    plan: PodPlan,
}

impl<'a> Draft<'a> {
    /// Nothing decided yet.
    pub fn new(facts: &'a PodFacts, spec: &'a PodSpec, now: Timestamp) -> Self {
        let tracks = tracks::tracks(facts, spec, now);
        Self { facts, spec, tracks, now, outcome: Outcome::default(), plan: PodPlan::default() }
    }

    /// The pod.
    pub fn pod(&self) -> &'a Pod {
        &self.facts.pod
    }

    /// The pod's uid.
    pub fn uid(&self) -> &'a str {
        self.facts.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The container that holds what the others share.
    pub fn sandbox(&self) -> Option<&'a ContainerSeen> {
        let name = names::sandbox(self.uid());
        self.facts.containers.iter().find(|seen| seen.name == name)
    }

    /// What environments and volumes are made from.
    pub fn context<'c>(&'c self, pod_ip: &'c str) -> Context<'c> {
        Context { pod: &self.facts.pod, node: &self.facts.node, pod_ip, sources: &self.facts.sources }
    }

    /// Adds an act.
    pub fn act(&mut self, action: Action) {
        if !self.plan.actions.contains(&action) {
            self.plan.actions.push(action);
        }
    }

    /// Looks again at `at` at the latest.
    pub fn wake(&mut self, at: Timestamp) {
        self.plan.wake_at = Some(self.plan.wake_at.map_or(at, |before| before.min(at)));
    }

    /// Adds an Event about the pod or one of its containers.
    pub fn note(&mut self, severity: Severity, reason: &'static str, message: String, container: Option<&str>) {
        let container = container.map(str::to_owned);
        self.plan.events.push(Note { component: KUBELET, severity, reason, message, container });
    }

    /// Says why a container waits. The stored status tells whether that is new, and so worth an Event.
    pub fn wait(&mut self, track: usize, reason: &'static str, message: Option<String>) -> Novelty {
        let track = &self.tracks[track];
        let before = track.before.and_then(|status| status.state.as_ref()?.waiting.as_ref());
        let known = before.is_some_and(|before| before.reason.as_deref() == Some(reason));
        let same = known && before.is_some_and(|before| before.message == message);
        self.outcome.waits.insert(track.spec.name.clone(), Wait { reason, message });
        match (known, same) {
            (_, true) => Novelty::Same,
            (true, false) => Novelty::OtherWords,
            (false, false) => Novelty::New,
        }
    }

    /// Enters that a run after the first may start now, so that the next one waits longer.
    pub fn enter_restart(&mut self, container: &str, attempt: u32) {
        let mut all = self.plan.restarts.take().unwrap_or_else(|| self.facts.restarts.clone());
        let entry = super::backoff::started(all.get(container), attempt, self.now);
        all.insert(container.to_owned(), entry);
        self.plan.restarts = (all != self.facts.restarts).then_some(all);
    }

    /// Enters that a run is to be followed by another, `with_all` where the whole pod begins anew.
    pub fn enter_again(&mut self, container: &str, attempt: u32, with_all: bool) {
        let mut all = self.plan.restarts.take().unwrap_or_else(|| self.facts.restarts.clone());
        let entry = super::backoff::again(all.get(container), attempt, with_all, self.now);
        all.insert(container.to_owned(), entry);
        self.plan.restarts = (all != self.facts.restarts).then_some(all);
    }

    /// Containers whose process may still run.
    pub fn running(&self) -> Vec<usize> {
        (0..self.tracks.len()).filter(|index| self.tracks[*index].running()).collect()
    }

    /// Some container ended, but its last words are not known yet.
    pub fn settling(&self) -> bool {
        self.tracks.iter().any(|track| matches!(track.state, State::Settling(_)))
    }

    /// Some main container has begun since the pod last began anew: the init containers are behind.
    pub fn initialized(&self) -> bool {
        self.tracks.iter().any(|track| track.role == Role::Main && track.ever_ran() && !track.with_all)
    }

    /// The plan, with the status that follows from it.
    pub fn finish(mut self) -> PodPlan {
        self.plan.status = Some(status::status(self.facts, self.spec, &self.tracks, &self.outcome, self.now));
        self.plan
    }

    /// Restart entries of this plan or of the facts.
    pub fn restarts(&self) -> &BTreeMap<String, super::backoff::Restarts> {
        &self.facts.restarts
    }
}

/// How a waiting reason relates to the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// It is already told.
    Same,
    /// It is told in other words.
    OtherWords,
    /// It is new.
    New,
}
