//! Owns the rules of namespaces.
//!
//! Parity: core's `ValidateNamespace` and its updates at 1.32.

use k8s_openapi::api::core::v1::Namespace;

use super::{metadata, names, text};
use crate::model::field::{Errors, FieldError, Path};

/// Every problem of a new namespace.
pub fn create(namespace: &Namespace) -> Vec<FieldError> {
    let mut errors = Errors::new();
    check(&mut errors, namespace);
    errors.into_vec()
}

fn check(errors: &mut Errors, namespace: &Namespace) {
    metadata::create(errors, &namespace.metadata, false, metadata::label_name);
    let path = Path::new("spec.finalizers");
    for name in namespace.spec.iter().flat_map(|spec| spec.finalizers.iter().flatten()) {
        errors.invalid_each(&path, name, names::qualified_name(name));
        metadata::kube_finalizer(errors, name, &path);
    }
}

/// Every problem of an update.
pub fn update(new: &Namespace, old: &Namespace) -> Vec<FieldError> {
    let mut errors = Errors::new();
    check(&mut errors, new);
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    errors.into_vec()
}

/// Every problem of a status update.
pub fn update_status(new: &Namespace, old: &Namespace) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    let phase = new.status.as_ref().map(|status| text(&status.phase)).unwrap_or_default();
    let deleting = new.metadata.deletion_timestamp.is_some();
    let path = Path::new("status.Phase");
    if !deleting && phase != "Active" {
        errors.invalid(&path, &phase, "may only be 'Active' if `deletionTimestamp` is empty");
    }
    if deleting && phase != "Terminating" {
        errors.invalid(&path, &phase, "may only be 'Terminating' if `deletionTimestamp` is not empty");
    }
    errors.into_vec()
}
