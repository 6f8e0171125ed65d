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

/// The sources of one volume: the first is checked, any other refused.
pub(super) struct Sources<'p> {
    path: &'p Path<'p>,
    /// How many there are so far.
    pub(super) count: usize,
}

impl<'p> Sources<'p> {
    /// None so far.
    pub(super) fn of(path: &'p Path<'p>) -> Self {
        Self { path, count: 0 }
    }

    /// The next source, if it is set.
    pub(super) fn check<T>(
        &mut self,
        errors: &mut Errors,
        source: &Option<T>,
        name: &str,
        check: impl FnOnce(&mut Errors, &T, &Path<'_>),
    ) {
        self.check_as(errors, source, name, name, check);
    }

    /// [`Sources::check`], where upstream refuses a second source by another name than it checks the first by.
    pub(super) fn check_as<T>(
        &mut self,
        errors: &mut Errors,
        source: &Option<T>,
        refused: &str,
        name: &str,
        check: impl FnOnce(&mut Errors, &T, &Path<'_>),
    ) {
        let Some(source) = source else { return };
        self.count += 1;
        if self.count > 1 {
            errors.forbidden(&self.path.child(refused), "may not specify more than 1 volume type");
        } else {
            check(errors, source, &self.path.child(name));
        }
    }
}

/// One line for each source: that is why this is long.
fn source(errors: &mut Errors, volume: &Volume, pod_name: &str, subject: Subject, path: &Path<'_>) {
    // The checks stand in upstream's order, which decides which source is the first.
    let mut sources = Sources::of(path);
    sources.check(errors, &volume.empty_dir, "emptyDir", empty_dir);
    sources.check(errors, &volume.host_path, "hostPath", host_path);
    sources.check(errors, &volume.git_repo, "gitRepo", volume_files::git_repo);
    sources.check_as(errors, &volume.gce_persistent_disk, "gcePersistentDisk", "persistentDisk", volume_remote::gce);
    sources.check(errors, &volume.aws_elastic_block_store, "awsElasticBlockStore", volume_remote::aws);
    sources.check(errors, &volume.secret, "secret", volume_files::secret);
    sources.check(errors, &volume.nfs, "nfs", volume_remote::nfs);
    sources.check(errors, &volume.iscsi, "iscsi", volume_remote::iscsi);
    volume_remote::iscsi_name(errors, volume, path);
    sources.check(errors, &volume.glusterfs, "glusterfs", volume_remote::glusterfs);
    sources.check(errors, &volume.flocker, "flocker", volume_remote::flocker);
    sources.check(errors, &volume.persistent_volume_claim, "persistentVolumeClaim", volume_claim::reference);
    sources.check(errors, &volume.rbd, "rbd", volume_remote::rbd);
    sources.check(errors, &volume.cinder, "cinder", volume_remote::cinder);
    sources.check_as(errors, &volume.cephfs, "cephFS", "cephfs", volume_remote::cephfs);
    sources.check(errors, &volume.quobyte, "quobyte", volume_remote::quobyte);
    sources.check_as(errors, &volume.downward_api, "downwarAPI", "downwardAPI", volume_files::downward_api);
    sources.check(errors, &volume.fc, "fc", volume_remote::fibre_channel);
    sources.check(errors, &volume.flex_volume, "flexVolume", volume_remote::flex);
    sources.check(errors, &volume.config_map, "configMap", volume_files::config_map);
    sources.check(errors, &volume.azure_file, "azureFile", volume_remote::azure_file);
    sources.check(errors, &volume.vsphere_volume, "vsphereVolume", volume_remote::vsphere);
    sources.check(errors, &volume.photon_persistent_disk, "photonPersistentDisk", volume_remote::photon);
    sources.check(errors, &volume.portworx_volume, "portworxVolume", volume_remote::portworx);
    sources.check(errors, &volume.azure_disk, "azureDisk", volume_remote::azure_disk);
    sources.check(errors, &volume.storageos, "storageos", volume_remote::storage_os);
    sources.check(errors, &volume.projected, "projected", volume_files::projected);
    sources.check(errors, &volume.scale_io, "scaleIO", volume_remote::scale_io);
    sources.check(errors, &volume.csi, "csi", volume_remote::csi);
    sources.check(errors, &volume.ephemeral, "ephemeral", volume_claim::ephemeral);
    if volume.ephemeral.is_some() && sources.count == 1 {
        claim_name(errors, volume, pod_name, path);
    }
    sources
        .check(errors, &volume.image, "image", |errors, source, path: &Path<'_>| image(errors, source, subject, path));
    if sources.count == 0 {
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
