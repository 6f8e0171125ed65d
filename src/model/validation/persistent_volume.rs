//! Owns the rules of PersistentVolumes. Never reclaims one.
//!
//! Parity: core's `ValidatePersistentVolumeSpec` and its updates at 1.32. Sources that a pod has too are checked by the
//! same rules; those that are a volume's alone are checked for what they must have.

use serde::Serialize;
use serde::de::DeserializeOwned;

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, FlexPersistentVolumeSource, LocalVolumeSource, PersistentVolume, PersistentVolumeSpec,
};

use super::{affinity, amount, metadata, names, paths, text, volume_claim, volume_remote, volumes};
use crate::model::field::{Errors, FieldError, Json, Path, same};

const RECLAIM_POLICIES: &[&str] = &["Delete", "Recycle", "Retain"];
const CSI_DRIVER_MAX: usize = 63;

/// Every problem of a new volume.
pub fn create(volume: &PersistentVolume) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::create(&mut errors, &volume.metadata, false, metadata::subdomain_name);
    check(&mut errors, volume);
    errors.into_vec()
}

fn check(errors: &mut Errors, volume: &PersistentVolume) {
    let empty = PersistentVolumeSpec::default();
    let spec = volume.spec.as_ref().unwrap_or(&empty);
    let path = Path::new("spec");
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if modes.is_empty() {
        errors.required(&path.child("accessModes"), "");
    }
    volume_claim::access_modes(errors, modes, &path.child("accessModes"));
    capacity(errors, spec, &path.child("capacity"));
    let policy = text(&spec.persistent_volume_reclaim_policy);
    let policy_path = path.child("persistentVolumeReclaimPolicy");
    if !policy.is_empty() {
        errors.one_of(&policy_path, policy, RECLAIM_POLICIES);
    }
    if let Some(affinity) = &spec.node_affinity {
        match &affinity.required {
            Some(required) => {
                let path = path.child("nodeAffinity");
                affinity::node_selector(errors, required, &path.child("required"));
            }
            None => {
                errors.required(&path.child("nodeAffinity").child("required"), "must specify required node constraints")
            }
        }
    }
    source(errors, spec, &path);
    let is_root = |path: &str| !path.is_empty() && path.trim_end_matches('/').is_empty();
    let root = spec.host_path.as_ref().is_some_and(|source| is_root(&source.path));
    if root && policy == "Recycle" {
        errors.forbidden(&policy_path, "may not be 'recycle' for a hostPath mount of '/'");
    }
    if let Some(class) = spec.storage_class_name.as_deref().filter(|class| !class.is_empty()) {
        errors.invalid_each(&path.child("storageClassName"), &class, metadata::subdomain_name(class, false));
    }
    if let Some(mode) = &spec.volume_mode {
        errors.one_of(&path.child("volumeMode"), mode, &["Block", "Filesystem"]);
    }
}

fn capacity(errors: &mut Errors, spec: &PersistentVolumeSpec, path: &Path<'_>) {
    let amounts = spec.capacity.clone().unwrap_or_default();
    if amounts.is_empty() {
        errors.required(path, "");
    }
    if !amounts.contains_key("storage") || amounts.len() > 1 {
        errors.not_supported(path, &Json(&amounts), &["storage"]);
    }
    for (name, value) in &amounts {
        let path = path.key(name);
        if amount::is_negative(value) {
            errors.invalid(&path, &amount::of(value).units(), "must be a valid resource quantity");
        }
        if amount::is_negative(value) || amount::of(value).is_zero() {
            errors.invalid(&path, &value.0, "must be greater than zero");
        }
    }
}

/// One line for each source: that is why this is long.
fn source(errors: &mut Errors, spec: &PersistentVolumeSpec, path: &Path<'_>) {
    let mut sources = volumes::Sources::of(path);
    sources.check(errors, &spec.host_path, "hostPath", volumes::host_path);
    sources.check_as(errors, &spec.gce_persistent_disk, "gcePersistentDisk", "persistentDisk", volume_remote::gce);
    sources.check(errors, &spec.aws_elastic_block_store, "awsElasticBlockStore", volume_remote::aws);
    sources.check(errors, &spec.glusterfs, "glusterfs", as_in_pod(volume_remote::glusterfs));
    sources.check(errors, &spec.flocker, "flocker", volume_remote::flocker);
    sources.check(errors, &spec.nfs, "nfs", volume_remote::nfs);
    sources.check(errors, &spec.rbd, "rbd", as_in_pod(volume_remote::rbd));
    sources.check(errors, &spec.quobyte, "quobyte", volume_remote::quobyte);
    sources.check_as(errors, &spec.cephfs, "cephFS", "cephfs", as_in_pod(volume_remote::cephfs));
    sources.check(errors, &spec.iscsi, "iscsi", as_in_pod(volume_remote::iscsi));
    sources.check(errors, &spec.cinder, "cinder", as_in_pod(volume_remote::cinder));
    sources.check(errors, &spec.fc, "fc", volume_remote::fibre_channel);
    sources.check(errors, &spec.flex_volume, "flexVolume", flex);
    sources.check(errors, &spec.azure_file, "azureFile", as_in_pod(volume_remote::azure_file));
    sources.check(errors, &spec.vsphere_volume, "vsphereVolume", volume_remote::vsphere);
    sources.check(errors, &spec.photon_persistent_disk, "photonPersistentDisk", volume_remote::photon);
    sources.check(errors, &spec.portworx_volume, "portworxVolume", volume_remote::portworx);
    sources.check(errors, &spec.azure_disk, "azureDisk", volume_remote::azure_disk);
    sources.check(errors, &spec.scale_io, "scaleIO", as_in_pod(volume_remote::scale_io));
    sources.check(errors, &spec.local, "local", local);
    if spec.local.is_some() && sources.count == 1 && spec.node_affinity.is_none() {
        errors.required(&path.child("nodeAffinity"), "Local volume requires node affinity");
    }
    sources.check(errors, &spec.storageos, "storageos", as_in_pod(volume_remote::storage_os));
    sources.check(errors, &spec.csi, "csi", csi);
    if sources.count == 0 {
        errors.required(path, "must specify a volume type");
    }
}

/// The rule of the pod's form of a source, whose fields are the same but for where its secret is.
fn as_in_pod<S: Serialize, P: DeserializeOwned>(
    check: impl Fn(&mut Errors, &P, &Path<'_>),
) -> impl Fn(&mut Errors, &S, &Path<'_>) {
    move |errors, source, path| {
        let inline = serde_json::to_value(source).and_then(serde_json::from_value::<P>);
        if let Ok(inline) = inline {
            check(errors, &inline, path);
        }
    }
}

fn flex(errors: &mut Errors, source: &FlexPersistentVolumeSource, path: &Path<'_>) {
    errors.required_if_empty(&path.child("driver"), &source.driver);
}

fn local(errors: &mut Errors, source: &LocalVolumeSource, path: &Path<'_>) {
    let path = path.child("path");
    if !errors.required_if_empty(&path, &source.path) {
        paths::no_backsteps(errors, &source.path, &path);
    }
}

fn csi(errors: &mut Errors, source: &CSIPersistentVolumeSource, path: &Path<'_>) {
    let driver = path.child("driver");
    errors.required_if_empty(&driver, &source.driver);
    if source.driver.len() > CSI_DRIVER_MAX {
        errors.too_long(&driver, CSI_DRIVER_MAX);
    }
    errors.invalid_each(&driver, &source.driver, names::dns_subdomain(&source.driver.to_lowercase()));
    errors.required_if_empty(&path.child("volumeHandle"), &source.volume_handle);
}

/// Every problem of an update.
pub fn update(new: &PersistentVolume, old: &PersistentVolume) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    check(&mut errors, new);
    let (new, old) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
    if !same(&source_alone(&new), &source_alone(&old)) {
        let words = "spec.persistentvolumesource is immutable after creation";
        errors.forbidden(&Path::new("spec.persistentvolumesource"), words);
    }
    let mode = new.volume_mode.clone().unwrap_or_default();
    errors.immutable(&Path::new("volumeMode"), &new.volume_mode, &old.volume_mode, &mode);
    if old.node_affinity.is_some() && !same(&new.node_affinity, &old.node_affinity) {
        errors.invalid(&Path::new("nodeAffinity"), &Json(&new.node_affinity), "field is immutable");
    }
    errors.into_vec()
}

/// The spec without all that is not its source.
fn source_alone(spec: &PersistentVolumeSpec) -> PersistentVolumeSpec {
    PersistentVolumeSpec {
        access_modes: None,
        capacity: None,
        claim_ref: None,
        mount_options: None,
        node_affinity: None,
        persistent_volume_reclaim_policy: None,
        storage_class_name: None,
        volume_attributes_class_name: None,
        volume_mode: None,
        ..spec.clone()
    }
}

/// Every problem of a status update.
pub fn update_status(new: &PersistentVolume, old: &PersistentVolume) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    errors.into_vec()
}
