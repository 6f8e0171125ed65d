//! Owns the strategy of ServiceAccounts: their rules, and what is kept of the secrets that they name.
//! Never makes a token: the API does.
//!
//! Parity: core's `ValidateServiceAccount` and the registry's strategy at 1.32.

use k8s_openapi::api::core::v1::{ObjectReference, ServiceAccount};

use super::super::field::{Errors, FieldError};
use super::super::strategy::Strategy;
use super::super::validation::metadata;
use super::{created, updated};

/// Annotation that upstream no longer recommends.
const MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";

impl Strategy for ServiceAccount {
    fn prepare_create(&mut self) {
        names_only(self);
    }

    fn validate_create(&self) -> Vec<FieldError> {
        let mut errors = Errors::new();
        metadata::create(&mut errors, &self.metadata, true, metadata::subdomain_name);
        created(self, errors.into_vec())
    }

    fn prepare_update(&mut self, _old: &Self) {
        names_only(self);
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        let mut errors = Errors::new();
        metadata::update(&mut errors, &self.metadata, &old.metadata);
        metadata::create(&mut errors, &self.metadata, true, metadata::subdomain_name);
        updated(self, old, errors.into_vec())
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let has = |account: &Self| account.metadata.annotations.iter().any(|all| all.contains_key(MOUNTABLE));
        if !has(self) || old.is_some_and(has) {
            return Vec::new();
        }
        let advice = "prefer separate namespaces to isolate access to mounted secrets";
        vec![format!("metadata.annotations[{MOUNTABLE}]: deprecated in v1.32+; {advice}")]
    }
}

/// Of a secret's reference only the name means anything.
fn names_only(account: &mut ServiceAccount) {
    for secret in account.secrets.iter_mut().flatten() {
        *secret = ObjectReference { name: secret.name.take(), ..ObjectReference::default() };
    }
}
