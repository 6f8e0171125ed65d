//! Owns the rules of a pod's volumes as a list: names, one source each, claims made for the pod.
//! The sources' own rules stand in `volume_files`, `volume_remote` and `volume_claim`.
//!
//! Parity: core's `ValidateVolumes` and `validateVolumeSource` at 1.32, odd paths included.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, HostPathVolumeSource, ImageVolumeSource, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::mounts::Volumes;
use super::{Subject, amount, container, metadata, names, paths, text, volume_claim, volume_files, volume_remote};
use crate::model::field::{Errors, Path, quote};

const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// Checks the volumes and answers with those that mounts may name: the valid ones. `meta` is a pod's own metadata.
pub fn volumes<'a>(
    errors: &mut Errors,
    volumes: &'a [Volume],
    meta: Option<&ObjectMeta>,
    subject: Subject,
    path: &Path<'_>,
) -> Volumes<'a> {
    let mut valid = Volumes::new();
    let pod_name = meta.map(|meta| text(&meta.name)).unwrap_or_default();
    let made = claims_made(volumes, pod_name);
    for (index, volume) in volumes.iter().enumerate() {
        let path = path.index(index);
        let before = errors.len();
        source(errors, volume, pod_name, subject, &path);
        let name_path = path.child("name");
        if !errors.required_if_empty(&name_path, &volume.name) {
            errors.invalid_each(&name_path, &volume.name, names::dns_label(&volume.name));
        }
        if valid.contains_key(volume.name.as_str()) {
            errors.duplicate(&name_path, &volume.name);
        }
        if errors.len() == before {
            valid.insert(&volume.name, volume);
        }
        if let Some(claim) = &volume.persistent_volume_claim
            && made.contains(&claim.claim_name)
        {
            let path = path.child("persistentVolumeClaim");
            let words = "must not reference a PVC that gets created for an ephemeral volume";
            errors.invalid(&path.child("claimName"), &claim.claim_name, words);
        }
    }
    valid
}

/// The names of the claims that will be made for the pod, where its name is known.
fn claims_made(volumes: &[Volume], pod_name: &str) -> BTreeSet<String> {
    let ephemeral = volumes.iter().filter(|volume| volume.ephemeral.is_some() && !pod_name.is_empty());
    ephemeral.map(|volume| format!("{pod_name}-{}", volume.name)).collect()
}

/// The first source is checked, any other refused. One block for each source: that is why this is long.
fn source(errors: &mut Errors, volume: &Volume, pod_name: &str, subject: Subject, path: &Path<'_>) {
    let mut count = 0;
    // The checks stand in upstream's order, which decides which source is the first.
    macro_rules! source {
        ($source:expr, $refused:literal, $name:literal, $check:expr) => {
            if let Some(source) = &$source {
                count += 1;
                if count > 1 {
                    errors.forbidden(&path.child($refused), "may not specify more than 1 volume type");
                } else {
                    $check(errors, source, &path.child($name));
                }
            }
        };
        ($source:expr, $name:literal, $check:expr) => {
            source!($source, $name, $name, $check)
        };
    }
    source!(volume.empty_dir, "emptyDir", empty_dir);
    source!(volume.host_path, "hostPath", host_path);
    source!(volume.git_repo, "gitRepo", volume_files::git_repo);
    source!(volume.gce_persistent_disk, "gcePersistentDisk", "persistentDisk", volume_remote::gce);
    source!(volume.aws_elastic_block_store, "awsElasticBlockStore", volume_remote::aws);
    source!(volume.secret, "secret", volume_files::secret);
    source!(volume.nfs, "nfs", volume_remote::nfs);
    source!(volume.iscsi, "iscsi", volume_remote::iscsi);
    volume_remote::iscsi_name(errors, volume, path);
    source!(volume.glusterfs, "glusterfs", volume_remote::glusterfs);
    source!(volume.flocker, "flocker", volume_remote::flocker);
    source!(volume.persistent_volume_claim, "persistentVolumeClaim", volume_claim::reference);
    source!(volume.rbd, "rbd", volume_remote::rbd);
    source!(volume.cinder, "cinder", volume_remote::cinder);
    source!(volume.cephfs, "cephFS", "cephfs", volume_remote::cephfs);
    source!(volume.quobyte, "quobyte", volume_remote::quobyte);
    source!(volume.downward_api, "downwarAPI", "downwardAPI", volume_files::downward_api);
    source!(volume.fc, "fc", volume_remote::fibre_channel);
    source!(volume.flex_volume, "flexVolume", volume_remote::flex);
    source!(volume.config_map, "configMap", volume_files::config_map);
    source!(volume.azure_file, "azureFile", volume_remote::azure_file);
    source!(volume.vsphere_volume, "vsphereVolume", volume_remote::vsphere);
    source!(volume.photon_persistent_disk, "photonPersistentDisk", volume_remote::photon);
    source!(volume.portworx_volume, "portworxVolume", volume_remote::portworx);
    source!(volume.azure_disk, "azureDisk", volume_remote::azure_disk);
    source!(volume.storageos, "storageos", volume_remote::storage_os);
    source!(volume.projected, "projected", volume_files::projected);
    source!(volume.scale_io, "scaleIO", volume_remote::scale_io);
    source!(volume.csi, "csi", volume_remote::csi);
    source!(volume.ephemeral, "ephemeral", volume_claim::ephemeral);
    if volume.ephemeral.is_some() && count == 1 {
        claim_name(errors, volume, pod_name, path);
    }
    source!(volume.image, "image", |errors, source, path: &Path<'_>| image(errors, source, subject, path));
    if count == 0 {
        errors.required(path, "must specify a volume type");
    }
}

fn empty_dir(errors: &mut Errors, source: &EmptyDirVolumeSource, path: &Path<'_>) {
    if source.size_limit.as_ref().is_some_and(amount::is_negative) {
        errors.forbidden(&path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
    }
}

/// A template may leave the image to be filled in later.
fn image(errors: &mut Errors, source: &ImageVolumeSource, subject: Subject, path: &Path<'_>) {
    if subject == Subject::Pod {
        errors.required_if_empty(&path.child("reference"), text(&source.reference));
    }
    container::pull_policy(errors, text(&source.pull_policy), &path.child("pullPolicy"));
}

/// A path of the machine.
pub fn host_path(errors: &mut Errors, source: &HostPathVolumeSource, path: &Path<'_>) {
    if errors.required_if_empty(&path.child("path"), &source.path) {
        return;
    }
    paths::no_backsteps(errors, &source.path, &path.child("path"));
    if let Some(kind) = &source.type_ {
        errors.one_of(&path.child("type"), kind, HOST_PATH_TYPES);
    }
}

/// The claim made for an ephemeral volume is named after the pod and the volume.
fn claim_name(errors: &mut Errors, volume: &Volume, pod_name: &str, path: &Path<'_>) {
    if pod_name.is_empty() || volume.name.is_empty() {
        return;
    }
    let name = format!("{pod_name}-{}", volume.name);
    for words in metadata::subdomain_name(&name, false) {
        errors.invalid(&path.child("name"), &volume.name, &format!("PVC name {}: {words}", quote(&name)));
    }
}
