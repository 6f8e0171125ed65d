//! Owns the defaults of PersistentVolumeClaims, PersistentVolumes and StorageClasses, and what the server sets on each.
//! Never binds one, and never fills in the default class, which is in the store: admission does.

use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus,
    PersistentVolumeStatus, TypedLocalObjectReference, TypedObjectReference,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::containers::resource_list;
use super::{set, set_text};

/// Holds a claim while pods use it.
pub const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// Holds a volume while a claim is bound to it.
pub const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";

/// `SetDefaults_PersistentVolumeClaim`.
pub fn claim(claim: &mut PersistentVolumeClaim) {
    set_text(&mut claim.status.get_or_insert_default().phase, "Pending");
    claim_spec(claim.spec.get_or_insert_default());
}

/// `SetDefaults_PersistentVolumeClaimSpec`.
pub fn claim_spec(spec: &mut PersistentVolumeClaimSpec) {
    set(&mut spec.volume_mode, "Filesystem".to_owned());
    if let Some(resources) = &mut spec.resources {
        resource_list(resources.limits.as_mut());
        resource_list(resources.requests.as_mut());
    }
}

/// What the server sets on a new claim: its phase, its protection, both forms of its data source.
/// Parity: the strategy's `PrepareForCreate` and the admission of `StorageObjectInUseProtection`.
pub fn prepare_claim(claim: &mut PersistentVolumeClaim) {
    claim.status = Some(PersistentVolumeClaimStatus {
        phase: Some("Pending".to_owned()),
        ..PersistentVolumeClaimStatus::default()
    });
    protect(&mut claim.metadata, CLAIM_PROTECTION);
    both_sources(claim.spec.get_or_insert_default());
}

/// Parity: `NormalizeDataSources`.
fn both_sources(spec: &mut PersistentVolumeClaimSpec) {
    match (&spec.data_source, &spec.data_source_ref) {
        (Some(one), None) => {
            let (api_group, kind, name) = (one.api_group.clone(), one.kind.clone(), one.name.clone());
            spec.data_source_ref = Some(TypedObjectReference { api_group, kind, name, namespace: None });
        }
        (None, Some(one)) if one.namespace.as_deref().unwrap_or_default().is_empty() => {
            let (api_group, kind, name) = (one.api_group.clone(), one.kind.clone(), one.name.clone());
            spec.data_source = Some(TypedLocalObjectReference { api_group, kind, name });
        }
        (Some(_), Some(_)) | (None, _) => {}
    }
}

/// What an update of a claim leaves as it was: the status.
pub fn update_claim(new: &mut PersistentVolumeClaim, old: &PersistentVolumeClaim) {
    new.status.clone_from(&old.status);
    both_sources(new.spec.get_or_insert_default());
}

/// What a status update of a claim leaves as it was: the spec.
pub fn update_claim_status(new: &mut PersistentVolumeClaim, old: &PersistentVolumeClaim) {
    new.spec.clone_from(&old.spec);
}

/// `SetDefaults_PersistentVolume`, and those of the sources that have some.
pub fn volume(volume: &mut PersistentVolume) {
    set_text(&mut volume.status.get_or_insert_default().phase, "Pending");
    let spec = volume.spec.get_or_insert_default();
    set_text(&mut spec.persistent_volume_reclaim_policy, "Retain");
    set(&mut spec.volume_mode, "Filesystem".to_owned());
    resource_list(spec.capacity.as_mut());
    if let Some(path) = &mut spec.host_path {
        set(&mut path.type_, String::new());
    }
    if let Some(iscsi) = &mut spec.iscsi {
        set_text(&mut iscsi.iscsi_interface, "default");
    }
    if let Some(rbd) = &mut spec.rbd {
        set_text(&mut rbd.pool, "rbd");
        set_text(&mut rbd.user, "admin");
        set_text(&mut rbd.keyring, "/etc/ceph/keyring");
    }
    if let Some(disk) = &mut spec.azure_disk {
        super::volumes::azure_disk(disk);
    }
    if let Some(scale_io) = &mut spec.scale_io {
        set_text(&mut scale_io.storage_mode, "ThinProvisioned");
        set_text(&mut scale_io.fs_type, "xfs");
    }
}

/// What the server sets on a new volume: its phase and its protection.
pub fn prepare_volume(volume: &mut PersistentVolume) {
    volume.status =
        Some(PersistentVolumeStatus { phase: Some("Pending".to_owned()), ..PersistentVolumeStatus::default() });
    protect(&mut volume.metadata, VOLUME_PROTECTION);
}

/// What an update of a volume leaves as it was: the status.
pub fn update_volume(new: &mut PersistentVolume, old: &PersistentVolume) {
    new.status.clone_from(&old.status);
}

/// What a status update of a volume leaves as it was: the spec.
pub fn update_volume_status(new: &mut PersistentVolume, old: &PersistentVolume) {
    new.spec.clone_from(&old.spec);
}

/// `SetDefaults_StorageClass`.
pub fn class(class: &mut StorageClass) {
    set(&mut class.reclaim_policy, "Delete".to_owned());
    set(&mut class.volume_binding_mode, "Immediate".to_owned());
}

fn protect(meta: &mut ObjectMeta, finalizer: &str) {
    let finalizers = meta.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|name| name == finalizer) {
        finalizers.push(finalizer.to_owned());
    }
}
