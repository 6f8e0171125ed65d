//! Owns the rules of volumes that live on other machines. None of them runs on this engine, but a manifest that names
//! one is answered as upstream answers it.
//!
//! Parity: core's validation of each source at 1.32.

use k8s_openapi::api::core::v1::{
    AWSElasticBlockStoreVolumeSource, AzureDiskVolumeSource, AzureFileVolumeSource, CSIVolumeSource,
    CephFSVolumeSource, CinderVolumeSource, FCVolumeSource, FlexVolumeSource, FlockerVolumeSource,
    GCEPersistentDiskVolumeSource, GlusterfsVolumeSource, ISCSIVolumeSource, NFSVolumeSource,
    PhotonPersistentDiskVolumeSource, PortworxVolumeSource, QuobyteVolumeSource, RBDVolumeSource, ScaleIOVolumeSource,
    StorageOSVolumeSource, Volume, VsphereVirtualDiskVolumeSource,
};

use super::{metadata, names, text};
use crate::model::field::{Errors, Path};

/// Longest CSI driver name, in bytes.
const CSI_DRIVER_MAX: usize = 63;
/// Longest `volume:portal` of an iSCSI volume with an initiator name, in bytes.
const ISCSI_NAME_MAX: usize = 64;
/// A Quobyte tenant is shorter than this, in bytes.
const QUOBYTE_TENANT_LIMIT: usize = 65;

fn partition(errors: &mut Errors, partition: Option<i32>, path: &Path<'_>) {
    if let Some(partition) = partition.filter(|partition| !(0..=255).contains(partition)) {
        errors.invalid(&path.child("partition"), &partition, &names::outside(1, 255));
    }
}

fn lun(errors: &mut Errors, lun: i32, path: &Path<'_>) {
    if !(0..=255).contains(&lun) {
        errors.invalid(&path.child("lun"), &lun, &names::outside(0, 255));
    }
}

/// Google's disk.
pub fn gce(errors: &mut Errors, source: &GCEPersistentDiskVolumeSource, path: &Path<'_>) {
    errors.required_if_empty(&path.child("pdName"), &source.pd_name);
    partition(errors, source.partition, path);
}

/// Amazon's disk.
pub fn aws(errors: &mut Errors, source: &AWSElasticBlockStoreVolumeSource, path: &Path<'_>) {
    errors.required_if_empty(&path.child("volumeID"), &source.volume_id);
    partition(errors, source.partition, path);
}

/// NFS.
pub fn nfs(errors: &mut Errors, source: &NFSVolumeSource, path: &Path<'_>) {
    errors.required_if_empty(&path.child("server"), &source.server);
    let path = path.child("path");
    errors.required_if_empty(&path, &source.path);
    if !source.path.starts_with('/') {
        errors.invalid(&path, &source.path, "must be an absolute path");
    }
}

/// iSCSI.
pub fn iscsi(errors: &mut Errors, source: &ISCSIVolumeSource, path: &Path<'_>) {
    errors.required_if_empty(&path.child("targetPortal"), &source.target_portal);
    if !errors.required_if_empty(&path.child("iqn"), &source.iqn) {
        iscsi_target(errors, &source.iqn, &path.child("iqn"));
    }
    lun(errors, source.lun, path);
    let chap = source.chap_auth_discovery == Some(true) || source.chap_auth_session == Some(true);
    if chap && source.secret_ref.is_none() {
        errors.required(&path.child("secretRef"), "");
    }
    if let Some(name) = &source.initiator_name {
        iscsi_target(errors, name, &path.child("initiatorname"));
    }
}

fn iscsi_target(errors: &mut Errors, name: &str, path: &Path<'_>) {
    let id = |rest: &str, length: usize| {
        let mut letters = rest.chars();
        letters.next().is_some()
            && letters.as_str().len() == length
            && letters.as_str().bytes().all(|letter| letter.is_ascii_alphanumeric())
    };
    let fits = match name.get(..3) {
        Some("iqn") => is_iqn(name),
        Some("eui") => id(&name[3..], 16),
        Some("naa") => id(&name[3..], 32),
        _ => return errors.invalid(path, &name, "must be valid format starting with iqn, eui, or naa"),
    };
    if !fits {
        errors.invalid(path, &name, "must be valid format");
    }
}

/// `iqn.2001-04.com.example:storage`.
fn is_iqn(name: &str) -> bool {
    let Some((head, tail)) = name.split_once(':') else { return false };
    let Some((date, domain)) = head.strip_prefix("iqn.").and_then(|rest| rest.split_once('.')) else { return false };
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|letter| letter.is_ascii_digit());
    let dated = date.split_once('-').is_some_and(|(year, month)| digits(year, 4) && digits(month, 2));
    let named = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'.');
    let plain = |letter: char| !letter.is_whitespace() && !",;*&$|".contains(letter);
    dated && !domain.is_empty() && domain.bytes().all(named) && !tail.is_empty() && tail.chars().all(plain)
}

/// The volume's name and portal name an interface together, whether or not iSCSI is the source that counts.
pub fn iscsi_name(errors: &mut Errors, volume: &Volume, path: &Path<'_>) {
    let Some(source) = volume.iscsi.as_ref().filter(|source| source.initiator_name.is_some()) else { return };
    if volume.name.len() + 1 + source.target_portal.len() > ISCSI_NAME_MAX {
        let words = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters \
                     if iscsi.initiatorName is specified.";
        errors.invalid(&path.child("name"), &volume.name, words);
    }
}

/// GlusterFS.
pub fn glusterfs(errors: &mut Errors, source: &GlusterfsVolumeSource, path: &Path<'_>) {
    errors.required_if_empty(&path.child("endpoints"), &source.endpoints);
    errors.required_if_empty(&path.child("path"), &source.path);
}

/// Flocker.
pub fn flocker(errors: &mut Errors, source: &FlockerVolumeSource, path: &Path<'_>) {
    let (name, uuid) = (text(&source.dataset_name), text(&source.dataset_uuid));
    if name.is_empty() && uuid.is_empty() {
        errors.required(path, "one of datasetName and datasetUUID is required");
    }
    if !name.is_empty() && !uuid.is_empty() {
        errors.invalid(path, &"resource", "datasetName and datasetUUID can not be specified simultaneously");
    }
    if name.contains('/') {
        errors.invalid(&path.child("datasetName"), &name, "must not contain '/'");
    }
}

/// Ceph's block device.
pub fn rbd(errors: &mut Errors, source: &RBDVolumeSource, path: &Path<'_>) {
    if source.monitors.is_empty() {
        errors.required(&path.child("monitors"), "");
    }
    errors.required_if_empty(&path.child("image"), &source.image);
}

/// Ceph's file system.
pub fn cephfs(errors: &mut Errors, source: &CephFSVolumeSource, path: &Path<'_>) {
    if source.monitors.is_empty() {
        errors.required(&path.child("monitors"), "");
    }
}

/// OpenStack's disk.
pub fn cinder(errors: &mut Errors, source: &CinderVolumeSource, path: &Path<'_>) {
    errors.required_if_empty(&path.child("volumeID"), &source.volume_id);
    if let Some(secret) = &source.secret_ref {
        errors.required_if_empty(&path.child("secretRef").child("name"), &secret.name);
    }
}

/// Quobyte.
pub fn quobyte(errors: &mut Errors, source: &QuobyteVolumeSource, path: &Path<'_>) {
    let words = "must be a host:port pair or multiple pairs separated by commas";
    if source.registry.is_empty() {
        errors.required(&path.child("registry"), words);
    } else if text(&source.tenant).len() >= QUOBYTE_TENANT_LIMIT {
        let words = "must be a UUID and may not exceed a length of 64 characters";
        errors.required(&path.child("tenant"), words);
    } else {
        for _ in source.registry.split(',').filter(|pair| !is_host_port(pair)) {
            errors.invalid(&path.child("registry"), &source.registry, words);
        }
    }
    errors.required_if_empty(&path.child("volume"), &source.volume);
}

/// `host:port` or `[address]:port`, as Go splits it; either part may be empty.
fn is_host_port(pair: &str) -> bool {
    if let Some(rest) = pair.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(host, port)| {
            !host.contains(['[', ']']) && port.strip_prefix(':').is_some_and(|port| !port.contains([':', '[', ']']))
        });
    }
    pair.matches(':').count() == 1 && !pair.contains(['[', ']'])
}

/// Fibre Channel.
pub fn fibre_channel(errors: &mut Errors, source: &FCVolumeSource, path: &Path<'_>) {
    let targets = source.target_wwns.as_deref().unwrap_or_default();
    let ids = source.wwids.as_deref().unwrap_or_default();
    let targets_path = path.child("targetWWNs");
    if targets.is_empty() && ids.is_empty() {
        errors.required(&targets_path, "must specify either targetWWNs or wwids, but not both");
    }
    if !targets.is_empty() && !ids.is_empty() {
        errors.invalid(&targets_path, &targets, "targetWWNs and wwids can not be specified simultaneously");
    }
    match source.lun {
        _ if targets.is_empty() => {}
        None => errors.required(&path.child("lun"), "lun is required if targetWWNs is specified"),
        Some(number) => lun(errors, number, path),
    }
}

/// A driver on the node.
pub fn flex(errors: &mut Errors, source: &FlexVolumeSource, path: &Path<'_>) {
    errors.required_if_empty(&path.child("driver"), &source.driver);
    let path = path.child("options");
    for key in source.options.iter().flatten().map(|(key, _)| key) {
        let namespace = format!(".{}", key.split_once('/').map_or(key.as_str(), |(namespace, _)| namespace));
        let namespace = namespace.to_lowercase();
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            errors.invalid(&path.key(key), key, "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

/// Azure's files.
pub fn azure_file(errors: &mut Errors, source: &AzureFileVolumeSource, path: &Path<'_>) {
    errors.required_if_empty(&path.child("secretName"), &source.secret_name);
    errors.required_if_empty(&path.child("shareName"), &source.share_name);
}

/// Azure's disk.
pub fn azure_disk(errors: &mut Errors, source: &AzureDiskVolumeSource, path: &Path<'_>) {
    errors.required_if_empty(&path.child("diskName"), &source.disk_name);
    errors.required_if_empty(&path.child("diskURI"), &source.disk_uri);
    if let Some(mode) = &source.caching_mode {
        errors.one_of(&path.child("cachingMode"), mode, &["None", "ReadOnly", "ReadWrite"]);
    }
    let Some(kind) = source.kind.as_deref() else { return };
    errors.one_of(&path.child("kind"), kind, &["Dedicated", "Managed", "Shared"]);
    let path = path.child("diskURI");
    let managed = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    let blob = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    if kind == "Managed" && !source.disk_uri.starts_with("/subscriptions/") {
        errors.not_supported(&path, &source.disk_uri, &[managed]);
    }
    if kind != "Managed" && !source.disk_uri.starts_with("https://") {
        errors.not_supported(&path, &source.disk_uri, &[blob]);
    }
}

/// vSphere's disk.
pub fn vsphere(errors: &mut Errors, source: &VsphereVirtualDiskVolumeSource, path: &Path<'_>) {
    errors.required_if_empty(&path.child("volumePath"), &source.volume_path);
}

/// Photon's disk.
pub fn photon(errors: &mut Errors, source: &PhotonPersistentDiskVolumeSource, path: &Path<'_>) {
    errors.required_if_empty(&path.child("pdID"), &source.pd_id);
}

/// Portworx.
pub fn portworx(errors: &mut Errors, source: &PortworxVolumeSource, path: &Path<'_>) {
    errors.required_if_empty(&path.child("volumeID"), &source.volume_id);
}

/// StorageOS.
pub fn storage_os(errors: &mut Errors, source: &StorageOSVolumeSource, path: &Path<'_>) {
    let (name, namespace) = (text(&source.volume_name), text(&source.volume_namespace));
    if !errors.required_if_empty(&path.child("volumeName"), name) {
        errors.invalid_each(&path.child("volumeName"), &name, names::dns_label(name));
    }
    if !namespace.is_empty() {
        errors.invalid_each(&path.child("volumeNamespace"), &namespace, names::dns_label(namespace));
    }
    if let Some(secret) = &source.secret_ref {
        errors.required_if_empty(&path.child("secretRef").child("name"), &secret.name);
    }
}

/// ScaleIO.
pub fn scale_io(errors: &mut Errors, source: &ScaleIOVolumeSource, path: &Path<'_>) {
    errors.required_if_empty(&path.child("gateway"), &source.gateway);
    errors.required_if_empty(&path.child("system"), &source.system);
    errors.required_if_empty(&path.child("volumeName"), text(&source.volume_name));
}

/// A CSI driver.
pub fn csi(errors: &mut Errors, source: &CSIVolumeSource, path: &Path<'_>) {
    let driver_path = path.child("driver");
    errors.required_if_empty(&driver_path, &source.driver);
    if source.driver.len() > CSI_DRIVER_MAX {
        errors.too_long(&driver_path, CSI_DRIVER_MAX);
    }
    errors.invalid_each(&driver_path, &source.driver, names::dns_subdomain(&source.driver.to_lowercase()));
    let Some(secret) = &source.node_publish_secret_ref else { return };
    let name_path = path.child("nodePublishSecretRef");
    if !errors.required_if_empty(&name_path.child("name"), &secret.name) {
        errors.invalid_each(&path.child("name"), &secret.name, metadata::subdomain_name(&secret.name, false));
    }
}
