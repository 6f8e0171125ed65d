//! Owns the [`Strategy`] of RuntimeClasses.

use k8s_openapi::api::node::v1::RuntimeClass;

use super::{created, updated};
use crate::model::field::FieldError;
use crate::model::strategy::Strategy;
use crate::model::validation::runtime_class;

impl Strategy for RuntimeClass {
    fn validate_create(&self) -> Vec<FieldError> {
        created(self, runtime_class::create(self))
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, runtime_class::update(self, old))
    }
}
