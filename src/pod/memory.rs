//! PURE. Owns what the agent knows of pods between two looks at them. All of it can be lost: it costs time (an
//! inspection, a second SIGTERM, a second preStop, probes that begin anew), never correctness.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::env_file::EnvRead;
use super::facts::{Attempt, Note, ProbeFact, ResizeFailure, StartFailure, VolumesFact};
use super::{hook, probe};
use crate::model::object::Key;
use crate::runtime::{ContainerSeen, LABEL_IMAGE, Limits};

/// Events that may wait for a pod's next commit; more would mean that nothing is ever committed.
const MAX_NOTES: usize = 64;

/// What is known of one pod.
#[derive(Default)]
pub struct PodMemory {
    /// Its key, once it was seen.
    pub key: Option<Key>,
    /// Its containers in the engine, by engine name.
    pub containers: BTreeMap<String, ContainerSeen>,
    /// Something happened to its containers since they were inspected.
    pub stale: bool,
    /// How far its volumes are.
    pub volumes: VolumesFact,
    /// How often the objects that its files are made from have changed.
    pub files_changed: u64,
    /// Which of these changes the files show; none before they were made.
    pub files_shown: Option<u64>,
    /// Images (by id) that it mounts: whether they can be mounted already.
    pub mountable: BTreeMap<String, bool>,
    /// It uses more storage than it may.
    pub exceeded: Option<String>,
    /// There are too few devices for it: the words.
    pub devices_short: Option<String>,
    /// When its tokens are to be replaced.
    pub tokens_due: Option<Timestamp>,
    /// Engine volumes that were made for it.
    pub engine_volumes: Vec<String>,
    /// Files that variables come from, as they were read last, by container name.
    pub env_files: BTreeMap<String, EnvRead>,
    /// Creates and starts that failed, by container name.
    pub failures: BTreeMap<String, StartFailure>,
    /// Engine names of containers that this agent has started.
    pub begun: BTreeSet<String>,
    /// How far hooks are.
    pub hooks: BTreeMap<hook::Key, hook::Fact>,
    /// Probes that were begun.
    pub probes: BTreeMap<probe::Key, ProbeFact>,
    /// Engine names of containers that were asked to stop, and when.
    pub asked_to_stop: BTreeMap<String, Timestamp>,
    /// Engine names of containers that were killed.
    pub killed: BTreeSet<String>,
    /// Engine names of containers whose limits were changed, and to what.
    pub resized: BTreeMap<String, Limits>,
    /// Engine names of containers whose limits the engine did not change.
    pub resize_failures: BTreeMap<String, ResizeFailure>,
    /// Runs whose output is being copied.
    pub followed: BTreeSet<Attempt>,
    /// Events that wait for the next commit.
    pub notes: Vec<Note>,
    /// Its hosts file, where it has one that is kept here.
    pub hosts: Option<HostsMemory>,
    /// The revision that this agent wrote last.
    pub own_revision: u64,
}

/// What a pod's hosts file is made from, besides the names of Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostsMemory {
    /// The pod's namespace.
    pub namespace: String,
    /// The part that is about the pod itself.
    pub head: String,
}

/// Images (by id) that a container mounts.
fn mounted(seen: &ContainerSeen) -> impl Iterator<Item = String> {
    seen.labels.get(LABEL_IMAGE).into_iter().flat_map(|ids| ids.split(',').map(str::to_owned))
}

impl PodMemory {
    /// Forgets a container that is gone.
    pub fn forget_container(&mut self, name: &str) {
        let gone = self.containers.remove(name);
        // It may have been made by an earlier agent: what it mounted is still the pod's.
        self.mountable.extend(gone.iter().flat_map(mounted).map(|id| (id, true)));
        self.begun.remove(name);
        self.hooks.retain(|key, _| key.name != name);
        self.probes.retain(|key, _| key.name != name);
        self.asked_to_stop.remove(name);
        self.killed.remove(name);
        self.resized.remove(name);
        self.resize_failures.remove(name);
    }

    /// Keeps an Event for the next commit.
    pub fn note(&mut self, note: Note) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(note);
        }
    }
}

/// What is known of all active pods, by uid.
#[derive(Default)]
pub struct Memories(Mutex<HashMap<String, PodMemory>>);

impl Memories {
    /// Works with one pod's memory, making it where there is none.
    pub fn with<T>(&self, uid: &str, work: impl FnOnce(&mut PodMemory) -> T) -> T {
        work(self.lock().entry(uid.to_owned()).or_default())
    }

    /// Works with one pod's memory where there is one.
    pub fn known<T>(&self, uid: &str, work: impl FnOnce(&mut PodMemory) -> T) -> Option<T> {
        self.lock().get_mut(uid).map(work)
    }

    /// Forgets a pod; returns what was known.
    pub fn forget(&self, uid: &str) -> Option<PodMemory> {
        self.lock().remove(uid)
    }

    /// The uids of pods for which `holds`.
    pub fn uids(&self, holds: impl Fn(&PodMemory) -> bool) -> Vec<String> {
        self.lock().iter().filter(|(_, memory)| holds(memory)).map(|(uid, _)| uid.clone()).collect()
    }

    /// Images (by id) that pods mount, or are about to.
    pub fn mounted_images(&self) -> BTreeSet<String> {
        let pods = self.lock();
        let known = pods.values().flat_map(|memory| memory.mountable.keys().cloned());
        let told = pods.values().flat_map(|memory| memory.containers.values().flat_map(mounted));
        known.chain(told).collect()
    }

    /// The hosts files that are kept, by uid.
    pub fn hosts(&self) -> Vec<(String, HostsMemory)> {
        self.lock().iter().filter_map(|(uid, memory)| Some((uid.clone(), memory.hosts.clone()?))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, PodMemory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
