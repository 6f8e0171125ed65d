//! Owns the judgement that a pod can never start (PURE), so that a build that runs `jobdock run` does not hang.
//! Never ends anything: the caller deletes the Job.
//!
//! A cluster retries such pods for ever, in the hope that somebody repairs the cause. In a terminal or in CI nobody
//! will, so `run` gives up after what would have mended a passing fault.
//!
//! ```text
//!  waiting: InvalidImageName, ErrImageNeverPull             -> never, at once
//!  waiting: ErrImagePull <-> ImagePullBackOff               -> never, at the third ErrImagePull
//!  waiting: CreateContainerConfigError, CreateContainerError -> never, after 30 s
//!  ContainerCreating with FailedMount: … not found, no such type, not of that kind -> never, after 30 s
//!  ContainerCreating, FailedCreatePodSandBox said last      -> never, after 30 s
//!  FailedCreate of the Job, and no pod of it (quotas aside) -> never, after 30 s
//!  Unschedulable, whatever other pods do                    -> never, after 30 s
//! ```

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Node, Pod, PodCondition};

/// Pulls that fail before the image is given up: the third comes about half a minute after the first.
pub const PULLS: u32 = 3;
/// How long pulls may fail where single tries were not seen (a watch that was cut off).
const PULL_PATIENCE: SignedDuration = SignedDuration::from_secs(180);
/// How long a missing ConfigMap, account or port may stay missing: somebody may be creating or freeing it just now.
pub const CONFIG_PATIENCE: SignedDuration = SignedDuration::from_secs(30);
/// Words of a volume that stays as it is until somebody does something; others may only be slow, as file servers are.
const HOPELESS_MOUNTS: [&str; 7] = [
    "not found",
    "non-existent",
    "does not exist",
    "not supported by jobdock",
    "hostPath type check failed",
    "unknown storage medium",
    "has volumeMode",
];

/// Words of a pod that a taint keeps away.
pub const TAINTED: &str = "untolerated taint";

/// What has kept one pod from starting so far.
#[derive(Debug, Default)]
pub struct Start {
    pulls: BTreeMap<String, Pull>,
    config_error: Option<Waiting>,
    misfit: Option<Waiting>,
    creating_since: Option<Timestamp>,
    told_by_events: Option<String>,
    hopeless: Option<String>,
}

/// Failed pulls of one container's image.
#[derive(Debug)]
struct Pull {
    since: Timestamp,
    failures: u32,
    failing_now: bool,
    message: String,
}

/// Something that has been true since an instant.
#[derive(Debug)]
struct Waiting {
    since: Timestamp,
    message: String,
}

impl Start {
    /// Takes in the pod's state as it is at `now`.
    pub fn observe(&mut self, pod: &Pod, now: Timestamp) {
        let status = pod.status.clone().unwrap_or_default();
        let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
        let mut config_error = None;
        let mut creating = false;
        for container in all {
            let Some(waiting) = container.state.as_ref().and_then(|state| state.waiting.clone()) else {
                self.pulls.remove(&container.name);
                continue;
            };
            let message = waiting.message.unwrap_or_default();
            match waiting.reason.as_deref().unwrap_or_default() {
                reason @ ("InvalidImageName" | "ErrImageNeverPull") => {
                    self.hopeless = Some(image_text(container, reason, &message));
                }
                "ErrImagePull" => {
                    self.pull_failed(&container.name, image_text(container, "ErrImagePull", &message), now)
                }
                "ImagePullBackOff" => {
                    self.pull_waits(&container.name, image_text(container, "ImagePullBackOff", &message), now)
                }
                "CreateContainerConfigError" | "CreateContainerError" => {
                    config_error = Some(format!("container {}: {message}", container.name));
                }
                "ContainerCreating" => creating = true,
                _ => {}
            }
        }
        self.config_error = config_error.map(|message| {
            let since = self.config_error.as_ref().map_or(now, |before| before.since);
            Waiting { since, message }
        });
        self.misfit = misfit(status.conditions.as_deref().unwrap_or_default()).map(|message| {
            let since = self.misfit.as_ref().map_or(now, |before| before.since);
            Waiting { since, message }
        });
        self.creating_since = creating.then(|| self.creating_since.unwrap_or(now));
    }

    /// Takes in the pod's Events: why its volumes or its network cannot be set up is told there alone.
    pub fn events(&mut self, events: &[Event]) {
        let of = |event: &&Event, reason: &str| event.reason.as_deref() == Some(reason);
        let mount = events.iter().filter(|event| of(event, "FailedMount"));
        let hopeless = |message: &String| HOPELESS_MOUNTS.iter().any(|words| message.contains(words));
        let missing = mount.filter_map(|event| event.message.clone()).rfind(hopeless);
        // Anything said later means that the pod has got on since.
        let newest = events.iter().max_by_key(|event| said_at(event));
        let network =
            newest.filter(|event| of(event, "FailedCreatePodSandBox")).and_then(|event| event.message.clone());
        self.told_by_events = missing.or(network);
    }

    /// Whether the pod's Events should be asked for: it has been creating its containers for suspiciously long.
    pub fn wants_events(&self, now: Timestamp) -> bool {
        self.creating_since.is_some_and(|since| now.duration_since(since) >= CONFIG_PATIENCE)
    }

    /// Why the pod can never start, where that is sure enough by `now`.
    pub fn never(&self, now: Timestamp) -> Option<String> {
        if self.hopeless.is_some() {
            return self.hopeless.clone();
        }
        let given_up = |pull: &&Pull| pull.failures >= PULLS || now.duration_since(pull.since) >= PULL_PATIENCE;
        if let Some(pull) = self.pulls.values().find(given_up) {
            return Some(format!("{} ({} tries)", pull.message, pull.failures.max(1)));
        }
        if let Some(error) = self.config_error.as_ref().or(self.misfit.as_ref()).filter(|error| error.lasts(now)) {
            return Some(error.told());
        }
        self.told_by_events.clone().filter(|_| self.wants_events(now))
    }

    fn pull_failed(&mut self, container: &str, message: String, now: Timestamp) {
        let pull = self.pull(container, now);
        if !pull.failing_now {
            pull.failures += 1;
        }
        pull.failing_now = true;
        pull.message = message;
    }

    fn pull_waits(&mut self, container: &str, message: String, now: Timestamp) {
        let pull = self.pull(container, now);
        pull.failing_now = false;
        if pull.message.is_empty() {
            pull.message = message;
        }
    }

    fn pull(&mut self, container: &str, now: Timestamp) -> &mut Pull {
        self.pulls.entry(container.to_owned()).or_insert(Pull {
            since: now,
            failures: 0,
            failing_now: false,
            message: String::new(),
        })
    }
}

/// What keeps a Job's pods from being made at all: an account or a priority class that is missing, a rule of the
/// namespace.
#[derive(Debug, Default)]
pub struct Creation {
    refused: Option<Waiting>,
    newest: Option<Timestamp>,
}

impl Creation {
    /// Takes in a pod of the Job: it was made, so what refused it earlier is over.
    pub fn made(&mut self, pod: &Pod) {
        let made = pod.metadata.creation_timestamp.as_ref().map(|at| at.0);
        if made > self.newest {
            self.newest = made;
            self.refused = None;
        }
    }

    /// Takes in an Event of the Job. A quota that is used up is freed by other pods; Events from before the newest pod
    /// tell of what is over.
    pub fn event(&mut self, event: &Event, now: Timestamp) {
        let message = event.message.clone().unwrap_or_default();
        if event.reason.as_deref() != Some("FailedCreate") || message.contains("quota") || said_at(event) < self.newest
        {
            return;
        }
        let since = self.refused.as_ref().map_or(now, |before| before.since);
        self.refused = Some(Waiting { since, message });
    }

    /// Why no pod will be made, where that is sure enough by `now`.
    pub fn never(&self, now: Timestamp) -> Option<String> {
        self.refused.as_ref().filter(|refused| refused.lasts(now)).map(Waiting::told)
    }
}

impl Waiting {
    fn lasts(&self, now: Timestamp) -> bool {
        now.duration_since(self.since) >= CONFIG_PATIENCE
    }

    fn told(&self) -> String {
        format!("{} (for {} s)", self.message, CONFIG_PATIENCE.as_secs())
    }
}

/// When an Event was said last; clients that write the new API give one time alone.
fn said_at(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|at| at.0);
    let once = || event.event_time.as_ref().map(|at| at.0);
    event.last_timestamp.as_ref().map(|at| at.0).or(series).or_else(once)
}

/// Why the machine cannot take the pod, where the end of other pods would not help.
fn misfit(conditions: &[PodCondition]) -> Option<String> {
    let refused = conditions.iter().find(|it| it.type_ == "PodScheduled" && it.status == "False")?;
    let message = refused.message.as_deref().filter(|text| text.contains("Preemption is not helpful"))?;
    Some(message.split(" preemption:").next().unwrap_or(message).to_owned())
}

/// What a node is short of, in words that go on from those about its taint.
pub fn short(node: &Node) -> Option<String> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    let pressed = conditions.iter().find(|it| it.type_.ends_with("Pressure") && it.status == "True")?;
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let message = pressed.message.as_deref().unwrap_or_default();
    Some(format!("; node {name} has {}: {message} (--eviction-hard says what is kept free)", pressed.type_))
}

fn image_text(container: &ContainerStatus, reason: &str, message: &str) -> String {
    format!("container {}: image {:?}: {reason}: {message}", container.name, container.image)
}

#[cfg(test)]
#[path = "stuck_tests.rs"]
mod tests;
