//! Owns whom a change concerns: which Job, or which orphaned pod, has to be looked at. It reads the store where an object
//! alone does not say, and remembers in memory only what the store's lists do not find again. Never decides and never
//! writes.
//!
//! A sync reads the pods that carry a finalizer and those that the Job remembers. What else may concern it is noted here
//! as a hint: orphans that it may adopt, pods that no longer fit its selector, pods that somebody stripped of their
//! finalizer. A hint that is lost costs nothing but that: the next change of the pod gives it again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};

use super::claim;
use super::conditions;
use super::pods;
use crate::model::kind::Kind;
use crate::model::object::{Key, Object};
use crate::store::{Change, Error, Owner, Query, Store};

/// Labels under which a pod names its Job; both generations.
const JOB_NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

/// Works out whom changes concern.
pub struct Concerns {
    store: Store,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    /// Names of pods that a Job has to look at besides those that it finds itself.
    hints: HashMap<Key, BTreeSet<String>>,
    /// Live Jobs whose selector is of a person's making, so that pods of any origin may fit it.
    manual: BTreeMap<Key, LabelSelector>,
}

impl Concerns {
    /// Nothing noted yet.
    pub fn new(store: Store) -> Self {
        Self { store, noted: Mutex::default() }
    }

    /// Whom to look at after a start: every live Job, every finished one that still holds pods, and every pod that
    /// nobody holds.
    pub fn all(&self) -> Result<BTreeSet<Key>, Error> {
        let mut keys = BTreeSet::new();
        self.store.each(&Query::all(Kind::of::<Job>()), |job| {
            if !is_finished(job) {
                self.note_selector(job);
                keys.insert(job.key());
            }
            Ok(())
        })?;
        self.store.each(&Query { with_finalizers: true, ..Query::all(Kind::of::<Pod>()) }, |pod| {
            keys.extend(self.of_pod(pod)?);
            Ok(())
        })?;
        if !self.noted().manual.is_empty() {
            keys.extend(self.of_orphans()?);
        }
        Ok(keys)
    }

    /// Whom a change concerns.
    pub fn of(&self, change: &Change) -> Result<BTreeSet<Key>, Error> {
        if *change.kind == *Kind::of::<Job>() { self.of_job(change) } else { self.of_pod_change(change) }
    }

    /// The names of further pods to look at for this Job. They are forgotten with this: hints that come while the Job
    /// is being looked at are for the next look.
    pub fn take_hints(&self, job: &Key) -> BTreeSet<String> {
        self.noted().hints.remove(job).unwrap_or_default()
    }

    /// These pods were not looked at after all.
    pub fn give_back(&self, job: &Key, hints: BTreeSet<String>) {
        if !hints.is_empty() {
            self.noted().hints.entry(job.clone()).or_default().extend(hints);
        }
    }

    /// The Jobs that may have a say about this pod: its controller, those that it names, those that may select it.
    pub fn jobs_of(&self, pod: &Object) -> Result<Vec<Object>, Error> {
        let mut jobs = Vec::new();
        for key in self.candidates(pod) {
            jobs.extend(self.store.get(&key)?);
        }
        Ok(jobs)
    }

    fn of_job(&self, change: &Change) -> Result<BTreeSet<Key>, Error> {
        let Some(job) = &change.after else {
            let Some(gone) = &change.before else { return Ok(BTreeSet::new()) };
            self.noted().manual.remove(&gone.key());
            self.noted().hints.remove(&gone.key());
            return self.held_by(gone);
        };
        if is_finished(job) && change.before.as_ref().is_some_and(is_finished) {
            return Ok(BTreeSet::new());
        }
        let mut keys = BTreeSet::from([job.key()]);
        if self.note_selector(job) && change.before.is_none() {
            keys.extend(self.of_orphans()?);
        }
        Ok(keys)
    }

    fn of_pod_change(&self, change: &Change) -> Result<BTreeSet<Key>, Error> {
        let mut keys = BTreeSet::new();
        if let Some(pod) = &change.after {
            keys.extend(self.of_pod(pod)?);
        }
        let Some(before) = &change.before else { return Ok(keys) };
        let relabelled = |pod: &Object| pod.meta().labels != before.meta().labels;
        if let Some(key) = job_controller(before).map(|owner| job_key(before, owner)) {
            if let Some(pod) = change.after.as_ref().filter(|pod| relabelled(pod)) {
                self.hint(&key, pod);
            }
            keys.insert(key);
        }
        Ok(keys)
    }

    /// The Job that holds the pod, or, where nobody does, those that may take it and the pod itself.
    fn of_pod(&self, pod: &Object) -> Result<BTreeSet<Key>, Error> {
        let tracked = pods::is_tracked(pod.meta());
        let Some(owner) = job_controller(pod) else {
            if claim::controller_uid(pod.meta()).is_some() {
                return Ok(BTreeSet::new());
            }
            let mut keys: BTreeSet<Key> = self.candidates(pod).into_iter().collect();
            keys.iter().for_each(|key| self.hint(key, pod));
            keys.extend(tracked.then(|| pod.key()));
            return Ok(keys);
        };
        let key = job_key(pod, owner);
        let alive = pod.typed::<Pod>().is_some_and(pods::is_alive);
        if !tracked && alive {
            self.hint(&key, pod);
        }
        let holds = self.store.get(&key)?.is_some_and(|job| job.uid() == owner.uid);
        Ok(if holds { BTreeSet::from([key]) } else { tracked.then(|| pod.key()).into_iter().collect() })
    }

    fn of_orphans(&self) -> Result<BTreeSet<Key>, Error> {
        let mut keys = BTreeSet::new();
        self.store.each(&Query { owner: Owner::Nobody, ..Query::all(Kind::of::<Pod>()) }, |pod| {
            keys.extend(self.of_pod(pod)?);
            Ok(())
        })?;
        Ok(keys)
    }

    /// Pods that a Job that has gone still tracks.
    fn held_by(&self, job: &Object) -> Result<BTreeSet<Key>, Error> {
        let mut keys = BTreeSet::new();
        self.store.each(
            &Query { owner: Owner::Uid(job.uid()), with_finalizers: true, ..Query::all(Kind::of::<Pod>()) },
            |pod| {
                keys.insert(pod.key());
                Ok(())
            },
        )?;
        Ok(keys)
    }

    fn candidates(&self, pod: &Object) -> Vec<Key> {
        let namespace = pod.meta().namespace.clone().unwrap_or_default();
        if let Some(owner) = job_controller(pod) {
            return vec![job_key(pod, owner)];
        }
        let labels = pod.meta().labels.iter().flatten();
        let named = labels.filter(|(label, _)| JOB_NAME_LABELS.contains(&label.as_str()));
        let mut keys: BTreeSet<Key> = named.map(|(_, name)| Key::of::<Job>(&namespace, name)).collect();
        let noted = self.noted();
        let manual = noted.manual.iter().filter(|(key, _)| key.namespace == namespace);
        let fitting = manual.filter(|(_, selector)| claim::selects(selector, pod.meta()));
        keys.extend(fitting.map(|(key, _)| key.clone()));
        keys.into_iter().collect()
    }

    fn hint(&self, job: &Key, pod: &Object) {
        let name = pod.meta().name.clone().unwrap_or_default();
        self.noted().hints.entry(job.clone()).or_default().insert(name);
    }

    /// Notes the selector of a live Job that a person wrote. Returns whether it is one.
    fn note_selector(&self, job: &Object) -> bool {
        let spec = job.typed::<Job>().and_then(|job| job.spec.as_ref());
        let selector = spec.filter(|spec| spec.manual_selector == Some(true)).and_then(|spec| spec.selector.clone());
        let mut noted = self.noted();
        match selector.filter(|_| !is_finished(job)) {
            Some(selector) => {
                noted.manual.insert(job.key(), selector);
                true
            }
            None => {
                noted.manual.remove(&job.key());
                false
            }
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The batch/v1 Job that controls the pod.
fn job_controller(pod: &Object) -> Option<&OwnerReference> {
    let owners = pod.meta().owner_references.iter().flatten();
    let controller = owners.into_iter().find(|owner| owner.controller == Some(true))?;
    (controller.kind == "Job" && controller.api_version == "batch/v1").then_some(controller)
}

fn job_key(pod: &Object, owner: &OwnerReference) -> Key {
    Key::of::<Job>(pod.meta().namespace.as_deref().unwrap_or_default(), &owner.name)
}

fn is_finished(job: &Object) -> bool {
    let status = job.typed::<Job>().and_then(|job| job.status.as_ref());
    status.is_some_and(|status| conditions::finished(status).is_some())
}
