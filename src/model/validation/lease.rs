//! Owns the rules of Leases.
//!
//! Parity: coordination's `ValidateLease` at 1.32.

use k8s_openapi::api::coordination::v1::Lease;

use super::{metadata, names, text};
use crate::model::field::{Errors, FieldError, Path};

/// Every problem of a new Lease.
pub fn create(lease: &Lease) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::create(&mut errors, &lease.metadata, true, metadata::subdomain_name);
    spec(&mut errors, lease);
    errors.into_vec()
}

/// Every problem of an update.
pub fn update(new: &Lease, old: &Lease) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    spec(&mut errors, new);
    errors.into_vec()
}

fn spec(errors: &mut Errors, lease: &Lease) {
    let Some(spec) = &lease.spec else { return };
    let path = Path::new("spec");
    if let Some(seconds) = spec.lease_duration_seconds.filter(|seconds| *seconds <= 0) {
        errors.invalid(&path.child("leaseDurationSeconds"), &seconds, "must be greater than 0");
    }
    errors.nonnegative_if_set(&path.child("leaseTransitions"), spec.lease_transitions);
    if let Some(strategy) = &spec.strategy {
        strategy_name(errors, strategy, &path.child("strategy"));
    }
    if !text(&spec.preferred_holder).is_empty() && text(&spec.strategy).is_empty() {
        errors.forbidden(&path.child("preferredHolder"), "may only be specified if `strategy` is defined");
    }
}

/// A strategy that Kubernetes knows, or one with a domain.
fn strategy_name(errors: &mut Errors, strategy: &str, path: &Path<'_>) {
    if strategy.contains('/') {
        errors.invalid_each(path, &strategy, names::qualified_name(strategy));
    } else {
        errors.one_of(path, strategy, &["OldestEmulationVersion"]);
    }
}
