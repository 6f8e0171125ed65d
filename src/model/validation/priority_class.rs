//! Owns the rules of PriorityClasses.
//!
//! Parity: `ValidatePriorityClass` and `ValidatePriorityClassUpdate` of the scheduling group.

use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::{metadata, text};
use crate::model::field::{Errors, FieldError, Path};
use crate::model::priority::{HIGHEST_USER, SYSTEM_PREFIX, not_the_systems};

/// Every problem of a new class.
pub fn create(class: &PriorityClass) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::create(&mut errors, &class.metadata, false, metadata::subdomain_name);
    if text(&class.metadata.name).starts_with(SYSTEM_PREFIX) {
        if let Some(error) = not_the_systems(class) {
            let words = "priority class names with 'system-' prefix are reserved for system use only. error:";
            errors.forbidden(&Path::new("metadata").child("name"), &format!("{words} {error}"));
        }
    } else if class.value.unwrap_or(0) > HIGHEST_USER {
        let words = format!("maximum allowed value of a user defined priority is {HIGHEST_USER}");
        errors.forbidden(&Path::new("value"), &words);
    }
    if let Some(policy) = &class.preemption_policy {
        errors.required_one_of(&Path::new("preemptionPolicy"), policy, &["PreemptLowerPriority", "Never"]);
    }
    errors.into_vec()
}

/// Every problem of an update.
pub fn update(new: &PriorityClass, old: &PriorityClass) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    if new.value.unwrap_or(0) != old.value.unwrap_or(0) {
        errors.forbidden(&Path::new("value"), "may not be changed in an update.");
    }
    let shown = text(&new.preemption_policy);
    errors.immutable(&Path::new("preemptionPolicy"), &new.preemption_policy, &old.preemption_policy, &shown);
    errors.into_vec()
}
