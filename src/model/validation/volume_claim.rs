//! Owns the rules of volumes that claim storage: by a claim's name, or by a claim made for the pod.
//! Never binds a claim.
//!
//! Parity: core's `ValidatePersistentVolumeClaimSpec` and `validateEphemeralVolumeSource` at 1.32.

use k8s_openapi::api::core::v1::{EphemeralVolumeSource, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource};

use super::{amount, labels, metadata, names, resources};
use crate::model::field::{Errors, Json, Path};

const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// A claim by its name.
pub fn reference(errors: &mut Errors, source: &PersistentVolumeClaimVolumeSource, path: &Path<'_>) {
    errors.required_if_empty(&path.child("claimName"), &source.claim_name);
}

/// A claim that is made for the pod.
pub fn ephemeral(errors: &mut Errors, source: &EphemeralVolumeSource, path: &Path<'_>) {
    let path = path.child("volumeClaimTemplate");
    let Some(template) = &source.volume_claim_template else { return errors.required(&path, "") };
    metadata::template(errors, template.metadata.as_ref(), &path.child("metadata"));
    spec(errors, &template.spec, &path.child("spec"));
}

fn spec(errors: &mut Errors, spec: &PersistentVolumeClaimSpec, path: &Path<'_>) {
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    let modes_path = path.child("accessModes");
    if modes.is_empty() {
        errors.required(&modes_path, "at least 1 access mode is required");
    }
    labels::selector(errors, spec.selector.as_ref(), &path.child("selector"));
    access_modes(errors, modes, &modes_path);
    storage(errors, spec, &path.child("resources").key("storage"));
    if let Some(class) = spec.storage_class_name.as_deref().filter(|class| !class.is_empty()) {
        errors.invalid_each(&path.child("storageClassName"), &class, metadata::subdomain_name(class, false));
    }
    if let Some(mode) = &spec.volume_mode {
        errors.one_of(&path.child("volumeMode"), mode, &["Block", "Filesystem"]);
    }
    data_sources(errors, spec, path);
}

fn access_modes(errors: &mut Errors, modes: &[String], path: &Path<'_>) {
    for mode in modes {
        errors.one_of(path, mode, ACCESS_MODES);
    }
    let alone = |mode: &&String| *mode == "ReadWriteOncePod";
    let known = |mode: &&String| ACCESS_MODES.contains(&mode.as_str());
    if modes.iter().any(|mode| alone(&mode)) && modes.iter().filter(known).any(|mode| !alone(&mode)) {
        errors.forbidden(path, "may not use ReadWriteOncePod with other access modes");
    }
}

fn storage(errors: &mut Errors, spec: &PersistentVolumeClaimSpec, path: &Path<'_>) {
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    match requests.and_then(|requests| requests.get("storage")) {
        None => errors.required(path, ""),
        Some(size) if amount::is_negative(size) || amount::of(size).is_zero() => {
            errors.invalid(path, &size.0, "must be greater than zero")
        }
        Some(size) => resources::amount_of(errors, "storage", size, path),
    }
}

fn data_sources(errors: &mut Errors, spec: &PersistentVolumeClaimSpec, path: &Path<'_>) {
    if let Some(source) = &spec.data_source {
        let path = path.child("dataSource");
        data_source(errors, &source.name, &source.kind, source.api_group.as_deref(), &path);
    }
    if let Some(source) = &spec.data_source_ref {
        let path = path.child("dataSourceRef");
        data_source(errors, &source.name, &source.kind, source.api_group.as_deref(), &path);
        if let Some(namespace) = source.namespace.as_deref().filter(|namespace| !namespace.is_empty()) {
            errors.invalid_each(&path.child("namespace"), &namespace, names::dns_label(namespace));
        }
    }
    let (Some(one), Some(other)) = (&spec.data_source, &spec.data_source_ref) else { return };
    if other.namespace.as_ref().is_some_and(|namespace| !namespace.is_empty()) {
        errors.invalid(path, &Json(one), "may not be specified when dataSourceRef.namespace is specified");
    } else if (&one.api_group, &one.kind, &one.name) != (&other.api_group, &other.kind, &other.name) {
        errors.invalid(path, &Json(one), "must match dataSourceRef");
    }
}

fn data_source(errors: &mut Errors, name: &str, kind: &str, group: Option<&str>, path: &Path<'_>) {
    errors.required_if_empty(&path.child("name"), name);
    errors.required_if_empty(&path.child("kind"), kind);
    let group = group.unwrap_or_default();
    if group.is_empty() {
        if kind != "PersistentVolumeClaim" {
            errors.invalid(path, &kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
        }
    } else {
        errors.invalid_each(&path.child("apiGroup"), &group, names::dns_subdomain(group));
    }
}
