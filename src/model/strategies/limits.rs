//! Owns the strategies of LimitRanges and ResourceQuotas. Never holds anybody to them: admission does.

use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota};

use super::super::defaults;
use super::super::field::FieldError;
use super::super::strategy::Strategy;
use super::super::validation::{limit_range, resource_quota};
use super::{created, updated};

impl Strategy for LimitRange {
    const CREATE_ON_UPDATE: bool = true;

    fn default(&mut self) {
        defaults::limits::limit_range(self);
    }

    fn validate_create(&self) -> Vec<FieldError> {
        created(self, limit_range::check(self))
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, limit_range::check(self))
    }
}

impl Strategy for ResourceQuota {
    fn default(&mut self) {
        defaults::limits::resource_quota(self);
    }

    fn prepare_create(&mut self) {
        self.status = Some(Default::default());
    }

    fn validate_create(&self) -> Vec<FieldError> {
        created(self, resource_quota::create(self))
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, resource_quota::update(self, old))
    }

    fn prepare_status_update(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate_status_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, resource_quota::update_status(self, old))
    }
}
