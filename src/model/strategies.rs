//! Owns each kind's [`Strategy`]: which defaults, rules and warnings apply to it when.
//! Never holds one of them: those stand in `defaults`, `validation` and `warnings`.

mod account;
mod events;
mod limits;
mod network;
mod priority;
mod runtime;
mod storage;
mod template;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, Pod, Secret};

use super::field::{Errors, FieldError};
use super::kind::Kind;
use super::object::Resource;
use super::strategy::Strategy;
use super::validation::{
    config, cron_job, event, job, job_status, job_update, lease, metadata, namespace, node, pod, pod_resize,
};
use super::{defaults, warnings};

/// A create's problems: the kind's own, or where there are none those of metadata in general.
/// Parity: `rest.BeforeCreate`.
fn created<T: Resource>(new: &T, own: Vec<FieldError>) -> Vec<FieldError> {
    if !own.is_empty() {
        return own;
    }
    let mut errors = Errors::new();
    metadata::common(&mut errors, new.metadata(), Kind::of::<T>().namespaced, metadata::path_segment_name);
    errors.into_vec()
}

/// An update's problems: those of metadata in general, then the kind's own, which say some of them again.
/// Parity: `rest.BeforeUpdate`.
fn updated<T: Resource>(new: &T, old: &T, own: Vec<FieldError>) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::common(&mut errors, new.metadata(), Kind::of::<T>().namespaced, metadata::path_segment_name);
    metadata::common_update(&mut errors, new.metadata(), old.metadata());
    let mut errors = errors.into_vec();
    errors.extend(own);
    errors
}

impl Strategy for Job {
    fn default(&mut self) {
        defaults::job(self);
    }

    fn prepare_create(&mut self) {
        defaults::job::prepare_create(self);
    }

    fn validate_create(&self) -> Vec<FieldError> {
        created(self, job::create(self))
    }

    fn prepare_update(&mut self, old: &Self) {
        defaults::job::prepare_update(self, old);
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, job_update::update(self, old))
    }

    fn prepare_status_update(&mut self, old: &Self) {
        defaults::job::prepare_status_update(self, old);
    }

    fn validate_status_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, job_status::update(self, old))
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        warnings::job(self, old)
    }
}

impl Strategy for CronJob {
    fn default(&mut self) {
        defaults::cron_job(self);
    }

    fn prepare_create(&mut self) {
        defaults::cron_job::prepare_create(self);
    }

    fn validate_create(&self) -> Vec<FieldError> {
        created(self, cron_job::create(self))
    }

    fn prepare_update(&mut self, old: &Self) {
        defaults::cron_job::prepare_update(self, old);
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, cron_job::update(self, old))
    }

    fn prepare_status_update(&mut self, old: &Self) {
        defaults::cron_job::prepare_status_update(self, old);
    }

    fn validate_status_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, Vec::new())
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        warnings::cron_job(self, old)
    }
}

impl Strategy for Pod {
    fn default(&mut self) {
        defaults::pod(self);
    }

    fn prepare_create(&mut self) {
        defaults::pod::prepare_create(self);
    }

    fn validate_create(&self) -> Vec<FieldError> {
        created(self, pod::create(self))
    }

    fn prepare_update(&mut self, old: &Self) {
        defaults::pod::prepare_update(self, old);
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, pod::update(self, old))
    }

    fn prepare_status_update(&mut self, old: &Self) {
        defaults::pod::prepare_status_update(self, old);
    }

    fn validate_status_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, pod::update_status(self, old))
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        warnings::pod(self, old)
    }
}

/// What a resize makes of a pod.
pub(super) fn prepare_resize(new: &Pod, old: &Pod) -> Pod {
    let mut pod = new.clone();
    defaults::pod::prepare_resize(&mut pod, old);
    pod
}

/// Every problem of a resize.
pub(super) fn validate_resize(new: &Pod, old: &Pod) -> Vec<FieldError> {
    updated(new, old, pod_resize::update(new, old))
}

impl Strategy for ConfigMap {
    fn validate_create(&self) -> Vec<FieldError> {
        created(self, config::config_map(self))
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, config::config_map_update(self, old))
    }
}

impl Strategy for Secret {
    fn default(&mut self) {
        defaults::secret(self);
    }

    fn validate_create(&self) -> Vec<FieldError> {
        created(self, config::secret(self))
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, config::secret_update(self, old))
    }

    // Differs: upstream fills these in. Nothing has made them by itself since 1.24, and a token that never ends is no loss.
    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let empty = self.data.as_ref().is_none_or(|data| !data.contains_key("token"));
        let asks = old.is_none() && empty && self.type_.as_deref() == Some(config::ACCOUNT_TOKEN);
        let words = "jobdock puts no token into a Secret of this type: ask for one with `kubectl create token`";
        asks.then(|| words.to_owned()).into_iter().collect()
    }
}

impl Strategy for Event {
    const CREATE_ON_UPDATE: bool = true;

    fn validate_create(&self) -> Vec<FieldError> {
        created(self, event::check(self))
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, event::check(self))
    }
}

impl Strategy for Namespace {
    fn default(&mut self) {
        defaults::namespace(self);
    }

    fn prepare_create(&mut self) {
        defaults::namespace::prepare_create(self);
    }

    fn validate_create(&self) -> Vec<FieldError> {
        created(self, namespace::create(self))
    }

    fn prepare_update(&mut self, old: &Self) {
        defaults::namespace::prepare_update(self, old);
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, namespace::update(self, old))
    }

    fn prepare_status_update(&mut self, old: &Self) {
        defaults::namespace::prepare_status_update(self, old);
    }

    fn validate_status_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, namespace::update_status(self, old))
    }
}

impl Strategy for Node {
    fn default(&mut self) {
        defaults::node(self);
    }

    fn validate_create(&self) -> Vec<FieldError> {
        created(self, node::create(self))
    }

    fn prepare_update(&mut self, old: &Self) {
        defaults::node::prepare_update(self, old);
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, node::update(self, old))
    }

    fn prepare_status_update(&mut self, old: &Self) {
        defaults::node::prepare_status_update(self, old);
    }

    fn validate_status_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, node::update_status(self, old))
    }
}

impl Strategy for Lease {
    const CREATE_ON_UPDATE: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;

    fn validate_create(&self) -> Vec<FieldError> {
        created(self, lease::create(self))
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, lease::update(self, old))
    }
}
