//! Owns the rules of a container's volume mounts and devices, against the volumes that the pod has.
//! Never mounts anything.
//!
//! Parity: core's `ValidateVolumeMounts` and `ValidateVolumeDevices` at 1.32.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, Volume, VolumeMount};

use super::{paths, text};
use crate::model::field::{Errors, Path};

/// The pod's valid volumes by name.
pub type Volumes<'a> = BTreeMap<&'a str, &'a Volume>;

/// A container's mounts. Parity: what is wrong with a sub path, a propagation or a recursion is said of the list.
pub fn mounts(errors: &mut Errors, container: &Container, volumes: &Volumes<'_>, path: &Path<'_>) {
    let devices = container.volume_devices.iter().flatten();
    let (device_names, device_paths): (BTreeSet<&str>, BTreeSet<&str>) =
        devices.map(|device| (device.name.as_str(), device.device_path.as_str())).unzip();
    let mut targets: BTreeSet<&str> = BTreeSet::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let item = path.index(index);
        let name_path = item.child("name");
        let target_path = item.child("mountPath");
        errors.required_if_empty(&name_path, &mount.name);
        if !volumes.contains_key(mount.name.as_str()) {
            errors.not_found(&name_path, &mount.name);
        }
        errors.required_if_empty(&target_path, &mount.mount_path);
        if !targets.insert(&mount.mount_path) {
            errors.invalid(&target_path, &mount.mount_path, "must be unique");
        }
        if device_names.contains(mount.name.as_str()) {
            errors.invalid(&name_path, &mount.name, "must not already exist in volumeDevices");
        }
        if device_paths.contains(mount.mount_path.as_str()) {
            let words = "must not already exist as a path in volumeDevices";
            errors.invalid(&target_path, &mount.mount_path, words);
        }
        sub_paths(errors, mount, &item, path);
        propagation(errors, mount, container, &path.child("mountPropagation"));
        recursive_read_only(errors, mount, &path.child("recursiveReadOnly"));
    }
}

/// Parity: of image volumes too, since 1.33.
fn sub_paths(errors: &mut Errors, mount: &VolumeMount, item: &Path<'_>, list: &Path<'_>) {
    let (sub, expr) = (text(&mount.sub_path), text(&mount.sub_path_expr));
    if !sub.is_empty() {
        paths::relative(errors, sub, &list.child("subPath"));
    }
    if !expr.is_empty() {
        if !sub.is_empty() {
            errors.invalid(&item.child("subPathExpr"), &expr, "subPathExpr and subPath are mutually exclusive");
        }
        paths::relative(errors, expr, &list.child("subPathExpr"));
    }
}

fn propagation(errors: &mut Errors, mount: &VolumeMount, container: &Container, path: &Path<'_>) {
    let Some(mode) = &mount.mount_propagation else { return };
    errors.one_of(path, mode, &["Bidirectional", "HostToContainer", "None"]);
    let privileged = container.security_context.as_ref().and_then(|context| context.privileged) == Some(true);
    if mode == "Bidirectional" && !privileged {
        errors.forbidden(path, "Bidirectional mount propagation is available only to privileged containers");
    }
}

fn recursive_read_only(errors: &mut Errors, mount: &VolumeMount, path: &Path<'_>) {
    let Some(mode) = mount.recursive_read_only.as_deref() else { return };
    match mode {
        "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if mount.read_only != Some(true) {
                errors.forbidden(path, "may only be specified when readOnly is true");
            }
            if mount.mount_propagation.as_deref().is_some_and(|mode| mode != "None") {
                errors.forbidden(path, "may only be specified when mountPropagation is None or not specified");
            }
        }
        other => errors.not_supported(path, &other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

/// A container's block devices.
pub fn devices(errors: &mut Errors, container: &Container, volumes: &Volumes<'_>, path: &Path<'_>) {
    let mounts = container.volume_mounts.iter().flatten();
    let (mount_names, mount_paths): (BTreeSet<&str>, BTreeSet<&str>) =
        mounts.map(|mount| (mount.name.as_str(), mount.mount_path.as_str())).unzip();
    let (mut seen_names, mut seen_paths) = (BTreeSet::new(), BTreeSet::new());
    for (index, device) in container.volume_devices.iter().flatten().enumerate() {
        let item = path.index(index);
        let (name_path, device_path) = (item.child("name"), item.child("devicePath"));
        let (name, file) = (&device.name, device.device_path.as_str());
        let volume = volumes.get(name.as_str());
        errors.required_if_empty(&name_path, name);
        if !name.is_empty() && !seen_names.insert(name) {
            errors.invalid(&name_path, name, "must be unique");
        }
        match volume {
            Some(volume) if volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none() => {
                let words = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid(&name_path, name, words);
            }
            Some(_) => {}
            None => errors.not_found(&name_path, name),
        }
        errors.required_if_empty(&device_path, file);
        if seen_paths.contains(file) {
            errors.invalid(&device_path, &file, "must be unique");
        }
        if paths::has_backsteps(file) {
            errors.invalid(&device_path, &file, "can not contain backsteps ('..')");
        } else {
            seen_paths.insert(file);
        }
        if mount_names.contains(name.as_str()) {
            errors.invalid(&name_path, name, "must not already exist in volumeMounts");
        }
        if mount_paths.contains(file) {
            errors.invalid(&device_path, &file, "must not already exist as a path in volumeMounts");
        }
    }
}
