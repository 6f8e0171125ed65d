//! Owns the rules of PersistentVolumeClaims, and of volumes that claim storage: by a claim's name, or by a claim made for
//! the pod. Never binds a claim.
//!
//! Parity: core's `ValidatePersistentVolumeClaim`, its updates and `validateEphemeralVolumeSource` at 1.32.

use std::cmp::Ordering;

use k8s_openapi::api::core::v1::{
    EphemeralVolumeSource, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::pod_update::changed;
use super::{amount, labels, metadata, names, resources, text};
use crate::model::field::{Errors, FieldError, Json, Path, same};

const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// The storage class of a claim, as it was named before there was a field.
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// Every problem of a new claim.
pub fn create(claim: &PersistentVolumeClaim) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::create(&mut errors, &claim.metadata, true, metadata::subdomain_name);
    spec(&mut errors, &claim.spec.clone().unwrap_or_default(), &Path::new("spec"));
    errors.into_vec()
}

/// Every problem of an update.
pub fn update(new: &PersistentVolumeClaim, old: &PersistentVolumeClaim) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    let bound = new.status.as_ref().is_some_and(|status| text(&status.phase) == "Bound");
    let capacity = old.status.as_ref().and_then(|status| status.capacity.as_ref()?.get("storage").cloned());
    let annotation = |claim: &PersistentVolumeClaim| claim.metadata.annotations.as_ref()?.get(OLD_CLASS).cloned();
    let (annotated, annotated_before) = (annotation(new), annotation(old));
    let (new, old) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
    let path = Path::new("spec");
    spec(&mut errors, &new, &path);
    let mut rest = new.clone();
    rest.volume_attributes_class_name.clone_from(&old.volume_attributes_class_name);
    if text(&old.volume_name).is_empty() {
        rest.volume_name.clone_from(&old.volume_name);
    }
    // A class may be named where there was none: upstream's way to a default class that came later.
    if old.storage_class_name.is_none() && (annotated_before.is_none() || annotated_before == new.storage_class_name) {
        rest.storage_class_name = None;
    } else if annotated != annotated_before {
        let path = Path::new("metadata");
        let path = path.child("annotations");
        errors.invalid(&path.key(OLD_CLASS), &annotated.unwrap_or_default(), "field is immutable");
    }
    if bound {
        rest.resources.clone_from(&old.resources);
    }
    if !same(&rest, &old) {
        let words = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
                     claims";
        errors.forbidden(&path, &format!("{words}\n{}", changed(&rest, &old)));
    }
    shrunk(&mut errors, (&new, &old), capacity.as_ref(), &path.child("resources"));
    let mode = new.volume_mode.clone().unwrap_or_default();
    errors.immutable(&Path::new("volumeMode"), &new.volume_mode, &old.volume_mode, &mode);
    errors.into_vec()
}

/// A size may fall, but not to what there is already.
fn shrunk(
    errors: &mut Errors,
    (new, old): (&PersistentVolumeClaimSpec, &PersistentVolumeClaimSpec),
    capacity: Option<&Quantity>,
    path: &Path<'_>,
) {
    let (Some(new), Some(old)) = (size(new), size(old)) else { return };
    let zero = Quantity("0".to_owned());
    if amount::compare(new, old) == Ordering::Less
        && amount::compare(new, capacity.unwrap_or(&zero)) != Ordering::Greater
    {
        errors.forbidden(&path.child("requests").child("storage"), "field can not be less than status.capacity");
    }
}

fn size(spec: &PersistentVolumeClaimSpec) -> Option<&Quantity> {
    spec.resources.as_ref()?.requests.as_ref()?.get("storage")
}

/// Every problem of a status update.
pub fn update_status(new: &PersistentVolumeClaim, old: &PersistentVolumeClaim) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    let path = Path::new("spec");
    if new.spec.as_ref().is_none_or(|spec| spec.access_modes.as_ref().is_none_or(Vec::is_empty)) {
        errors.required(&path.child("accessModes"), "");
    }
    errors.into_vec()
}

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

/// What a claim asks for, or a volume offers.
pub fn access_modes(errors: &mut Errors, modes: &[String], path: &Path<'_>) {
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
    match size(spec) {
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
