//! Owns the [`Strategy`] of PriorityClasses.

use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::{created, updated};
use crate::model::field::FieldError;
use crate::model::priority::PREEMPT_LOWER;
use crate::model::strategy::Strategy;
use crate::model::validation::priority_class;

impl Strategy for PriorityClass {
    fn default(&mut self) {
        self.preemption_policy.get_or_insert_with(|| PREEMPT_LOWER.to_owned());
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
    }

    fn validate_create(&self) -> Vec<FieldError> {
        created(self, priority_class::create(self))
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        updated(self, old, priority_class::update(self, old))
    }
}
