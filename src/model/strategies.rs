//! Owns each kind's [`Strategy`]: which rules and which warnings apply to it when.
//! Never holds a rule: those stand in `validation` and `warnings`.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, Pod, Secret};

use super::field::FieldError;
use super::strategy::Strategy;
use super::validation::{config, cron_job, event, job, job_status, job_update, lease, namespace, node, pod};
use super::warnings;

impl Strategy for Job {
    fn validate_create(&self) -> Vec<FieldError> {
        job::create(self)
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        job_update::update(self, old)
    }

    fn validate_status_update(&self, old: &Self) -> Vec<FieldError> {
        job_status::update(self, old)
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        warnings::job(self, old)
    }
}

impl Strategy for CronJob {
    fn validate_create(&self) -> Vec<FieldError> {
        cron_job::create(self)
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        cron_job::update(self, old)
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        warnings::cron_job(self, old)
    }
}

impl Strategy for Pod {
    fn validate_create(&self) -> Vec<FieldError> {
        pod::create(self)
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        pod::update(self, old)
    }

    fn validate_status_update(&self, old: &Self) -> Vec<FieldError> {
        pod::update_status(self, old)
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        warnings::pod(self, old)
    }
}

impl Strategy for ConfigMap {
    fn validate_create(&self) -> Vec<FieldError> {
        config::config_map(self)
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        config::config_map_update(self, old)
    }
}

impl Strategy for Secret {
    fn validate_create(&self) -> Vec<FieldError> {
        config::secret(self)
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        config::secret_update(self, old)
    }
}

impl Strategy for Event {
    fn validate_create(&self) -> Vec<FieldError> {
        event::check(self)
    }

    fn validate_update(&self, _old: &Self) -> Vec<FieldError> {
        event::check(self)
    }
}

impl Strategy for Namespace {
    fn validate_create(&self) -> Vec<FieldError> {
        namespace::create(self)
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        namespace::update(self, old)
    }

    fn validate_status_update(&self, old: &Self) -> Vec<FieldError> {
        namespace::update_status(self, old)
    }
}

impl Strategy for Node {
    fn validate_create(&self) -> Vec<FieldError> {
        node::create(self)
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        node::update(self, old)
    }

    fn validate_status_update(&self, old: &Self) -> Vec<FieldError> {
        node::update_status(self, old)
    }
}

impl Strategy for Lease {
    fn validate_create(&self) -> Vec<FieldError> {
        lease::create(self)
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        lease::update(self, old)
    }
}
