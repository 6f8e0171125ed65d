//! Owns the columns and cells of persistent volumes, claims and storage classes. PURE. Never looks at one's data.
//!
//! Parity: `printPersistentVolume`, `printPersistentVolumeClaim`, `printStorageClass` of 1.32.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, Row, Text, text, wide};
use crate::model::claims::{DEFAULT_CLASS, annotation};

const UNSET: &str = "<unset>";

const fn volume_spec(field: &'static str) -> Text {
    Text::Field("io.k8s.api.core.v1.PersistentVolumeSpec", field)
}

const fn volume_status(field: &'static str) -> Text {
    Text::Field("io.k8s.api.core.v1.PersistentVolumeStatus", field)
}

const fn claim_spec(field: &'static str) -> Text {
    Text::Field("io.k8s.api.core.v1.PersistentVolumeClaimSpec", field)
}

const fn claim_status(field: &'static str) -> Text {
    Text::Field("io.k8s.api.core.v1.PersistentVolumeClaimStatus", field)
}

const fn class_field(field: &'static str) -> Text {
    Text::Field("io.k8s.api.storage.v1.StorageClass", field)
}

pub(super) const VOLUME_COLUMNS: &[Column] = &[
    NAME,
    text("Capacity", volume_spec("capacity")),
    text("Access Modes", volume_spec("accessModes")),
    text("Reclaim Policy", volume_spec("persistentVolumeReclaimPolicy")),
    text("Status", volume_status("phase")),
    text("Claim", volume_spec("claimRef")),
    text("StorageClass", volume_spec("storageClassName")),
    text("VolumeAttributesClass", volume_spec("volumeAttributesClassName")),
    text("Reason", volume_status("reason")),
    AGE,
    wide("VolumeMode", volume_spec("volumeMode")),
];

pub(super) const CLAIM_COLUMNS: &[Column] = &[
    NAME,
    text("Status", claim_status("phase")),
    text("Volume", claim_spec("volumeName")),
    text("Capacity", claim_status("capacity")),
    text("Access Modes", claim_status("accessModes")),
    text("StorageClass", claim_spec("storageClassName")),
    text("VolumeAttributesClass", claim_spec("volumeAttributesClassName")),
    AGE,
    wide("VolumeMode", claim_spec("volumeMode")),
];

pub(super) const CLASS_COLUMNS: &[Column] = &[
    NAME,
    text("Provisioner", class_field("provisioner")),
    text("ReclaimPolicy", class_field("reclaimPolicy")),
    text("VolumeBindingMode", class_field("volumeBindingMode")),
    text("AllowVolumeExpansion", class_field("allowVolumeExpansion")),
    AGE,
];

pub(super) fn volume(volume: &PersistentVolume, row: Row<'_>) -> Vec<Value> {
    let spec = volume.spec.clone().unwrap_or_default();
    let status = volume.status.clone().unwrap_or_default();
    let claim = spec
        .claim_ref
        .map(|claim| format!("{}/{}", claim.namespace.unwrap_or_default(), claim.name.unwrap_or_default()));
    vec![
        json!(row.name),
        json!(storage(spec.capacity.as_ref())),
        json!(modes(spec.access_modes.as_deref())),
        json!(spec.persistent_volume_reclaim_policy.unwrap_or_default()),
        json!(phase(&volume.metadata, status.phase)),
        json!(claim.unwrap_or_default()),
        json!(spec.storage_class_name.unwrap_or_default()),
        json!(spec.volume_attributes_class_name.as_deref().unwrap_or(UNSET)),
        json!(status.reason.unwrap_or_default()),
        json!(row.age),
        json!(spec.volume_mode.as_deref().unwrap_or(UNSET)),
    ]
}

/// A claim that no volume is bound to shows neither capacity nor modes.
pub(super) fn claim(claim: &PersistentVolumeClaim, row: Row<'_>) -> Vec<Value> {
    let spec = claim.spec.clone().unwrap_or_default();
    let status = claim.status.clone().unwrap_or_default();
    let bound = spec.volume_name.as_deref().is_some_and(|name| !name.is_empty());
    let shown = |text: String| if bound { text } else { String::new() };
    vec![
        json!(row.name),
        json!(phase(&claim.metadata, status.phase)),
        json!(spec.volume_name.clone().unwrap_or_default()),
        json!(shown(storage(status.capacity.as_ref()))),
        json!(shown(modes(status.access_modes.as_deref()))),
        json!(spec.storage_class_name.unwrap_or_default()),
        json!(spec.volume_attributes_class_name.as_deref().unwrap_or(UNSET)),
        json!(row.age),
        json!(spec.volume_mode.as_deref().unwrap_or(UNSET)),
    ]
}

pub(super) fn class(class: &StorageClass, row: Row<'_>) -> Vec<Value> {
    let default = annotation(&class.metadata, DEFAULT_CLASS) == Some("true");
    let name = if default { format!("{} (default)", row.name) } else { row.name.to_owned() };
    vec![
        json!(name),
        json!(class.provisioner),
        json!(class.reclaim_policy.as_deref().unwrap_or("Delete")),
        json!(class.volume_binding_mode.as_deref().unwrap_or("Immediate")),
        json!(class.allow_volume_expansion.unwrap_or(false)),
        json!(row.age),
    ]
}

fn phase(meta: &ObjectMeta, phase: Option<String>) -> String {
    if meta.deletion_timestamp.is_some() { "Terminating".to_owned() } else { phase.unwrap_or_default() }
}

fn storage(amounts: Option<&BTreeMap<String, Quantity>>) -> String {
    amounts.and_then(|amounts| amounts.get("storage")).map_or_else(|| "0".to_owned(), |amount| amount.0.clone())
}

/// The modes by their initials, in upstream's order, each once.
fn modes(modes: Option<&[String]>) -> String {
    const SHORT: [(&str, &str); 4] =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let has = |mode: &str| modes.is_some_and(|all| all.iter().any(|one| one == mode));
    let short: Vec<&str> = SHORT.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect();
    short.join(",")
}
