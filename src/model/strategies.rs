//! Interim strategies: defaults and server-set fields, no validation yet.
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, Pod, Secret};

use super::defaults;
use super::field::FieldError;
use super::strategy::Strategy;

macro_rules! accept {
    () => {
        fn validate_create(&self) -> Vec<FieldError> {
            Vec::new()
        }
        fn validate_update(&self, _: &Self) -> Vec<FieldError> {
            Vec::new()
        }
    };
}

impl Strategy for Job {
    accept!();
    fn default(&mut self) {
        defaults::job(self);
    }
    fn prepare_create(&mut self) {
        defaults::job::prepare_create(self);
    }
    fn prepare_update(&mut self, old: &Self) {
        defaults::job::prepare_update(self, old);
    }
    fn prepare_status_update(&mut self, old: &Self) {
        defaults::job::prepare_status_update(self, old);
    }
}

impl Strategy for CronJob {
    accept!();
    fn default(&mut self) {
        defaults::cron_job(self);
    }
    fn prepare_create(&mut self) {
        defaults::cron_job::prepare_create(self);
    }
    fn prepare_update(&mut self, old: &Self) {
        defaults::cron_job::prepare_update(self, old);
    }
    fn prepare_status_update(&mut self, old: &Self) {
        defaults::cron_job::prepare_status_update(self, old);
    }
}

impl Strategy for Pod {
    accept!();
    fn default(&mut self) {
        defaults::pod(self);
    }
    fn prepare_create(&mut self) {
        defaults::pod::prepare_create(self);
    }
    fn prepare_update(&mut self, old: &Self) {
        defaults::pod::prepare_update(self, old);
    }
    fn prepare_status_update(&mut self, old: &Self) {
        defaults::pod::prepare_status_update(self, old);
    }
}

impl Strategy for Namespace {
    accept!();
    fn default(&mut self) {
        defaults::namespace(self);
    }
    fn prepare_create(&mut self) {
        defaults::namespace::prepare_create(self);
    }
    fn prepare_update(&mut self, old: &Self) {
        defaults::namespace::prepare_update(self, old);
    }
    fn prepare_status_update(&mut self, old: &Self) {
        defaults::namespace::prepare_status_update(self, old);
    }
}

impl Strategy for Node {
    accept!();
    fn default(&mut self) {
        defaults::node(self);
    }
    fn prepare_update(&mut self, old: &Self) {
        defaults::node::prepare_update(self, old);
    }
    fn prepare_status_update(&mut self, old: &Self) {
        defaults::node::prepare_status_update(self, old);
    }
}

impl Strategy for Secret {
    accept!();
    fn default(&mut self) {
        defaults::secret(self);
    }
}

impl Strategy for ConfigMap {
    accept!();
}

impl Strategy for Event {
    accept!();
}

impl Strategy for Lease {
    accept!();
}
