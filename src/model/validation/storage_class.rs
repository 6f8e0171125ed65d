//! Owns the rules of StorageClasses. Never provisions anything.
//!
//! Parity: storage's `ValidateStorageClass` and its update at 1.32.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::TopologySelectorTerm;
use k8s_openapi::api::storage::v1::StorageClass;

use super::{labels, metadata, names, text};
use crate::model::field::{Errors, FieldError, Path, same};

/// Bytes of parameters, keys and values together, and how many there may be. Parity: upstream's bounds.
const MAX_PARAMETER_BYTES: usize = 256 * 1024;
const MAX_PARAMETERS: usize = 512;

/// Every problem of a new class.
pub fn create(class: &StorageClass) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::create(&mut errors, &class.metadata, false, metadata::subdomain_name);
    let path = Path::new("provisioner");
    if !errors.required_if_empty(&path, &class.provisioner) {
        errors.invalid_each(&path, &class.provisioner, names::qualified_name(&class.provisioner.to_lowercase()));
    }
    parameters(&mut errors, class, &Path::new("parameters"));
    let policy = text(&class.reclaim_policy);
    if !policy.is_empty() {
        errors.one_of(&Path::new("reclaimPolicy"), policy, &["Delete", "Retain"]);
    }
    let mode = text(&class.volume_binding_mode);
    errors.required_one_of(&Path::new("volumeBindingMode"), mode, &["Immediate", "WaitForFirstConsumer"]);
    topologies(&mut errors, class.allowed_topologies.as_deref().unwrap_or_default());
    errors.into_vec()
}

fn parameters(errors: &mut Errors, class: &StorageClass, path: &Path<'_>) {
    let Some(all) = &class.parameters else { return };
    if all.len() > MAX_PARAMETERS {
        errors.too_many(path, all.len(), MAX_PARAMETERS);
        return;
    }
    for name in all.keys().filter(|name| name.is_empty()) {
        errors.invalid(path, name, "field can not be empty.");
    }
    let bytes: usize = all.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_PARAMETER_BYTES {
        errors.too_long(path, MAX_PARAMETER_BYTES);
    }
}

fn topologies(errors: &mut Errors, terms: &[TopologySelectorTerm]) {
    let path = Path::new("allowedTopologies");
    let mut known: Vec<BTreeMap<&str, BTreeSet<&str>>> = Vec::new();
    for (index, term) in terms.iter().enumerate() {
        let path = path.index(index);
        let path = path.child("matchLabelExpressions");
        let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (index, requirement) in term.match_label_expressions.iter().flatten().enumerate() {
            let path = path.index(index);
            let values = values(errors, &requirement.values, &path.child("values"));
            labels::label_name(errors, &requirement.key, &path.child("key"));
            if labels.insert(&requirement.key, values).is_some() {
                errors.duplicate(&path.child("key"), &requirement.key);
            }
        }
        if known.contains(&labels) {
            errors.duplicate(&path, &"");
        }
        known.push(labels);
    }
}

fn values<'a>(errors: &mut Errors, values: &'a [String], path: &Path<'_>) -> BTreeSet<&'a str> {
    if values.is_empty() {
        errors.required(path, "");
    }
    let mut known = BTreeSet::new();
    for (index, value) in values.iter().enumerate() {
        if !known.insert(value.as_str()) {
            errors.duplicate(&path.index(index), value);
        }
    }
    known
}

/// Every problem of an update.
pub fn update(new: &StorageClass, old: &StorageClass) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    if !same(&new.parameters, &old.parameters) {
        errors.forbidden(&Path::new("parameters"), "updates to parameters are forbidden.");
    }
    if new.provisioner != old.provisioner {
        errors.forbidden(&Path::new("provisioner"), "updates to provisioner are forbidden.");
    }
    if new.reclaim_policy != old.reclaim_policy {
        errors.forbidden(&Path::new("reclaimPolicy"), "updates to reclaimPolicy are forbidden.");
    }
    let mode = new.volume_binding_mode.clone().unwrap_or_default();
    errors.immutable(&Path::new("volumeBindingMode"), &new.volume_binding_mode, &old.volume_binding_mode, &mode);
    topologies(&mut errors, new.allowed_topologies.as_deref().unwrap_or_default());
    errors.into_vec()
}
