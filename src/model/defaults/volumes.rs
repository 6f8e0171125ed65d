//! Owns the defaults of volumes, source by source. Never mounts anything.

use k8s_openapi::api::core::v1::{
    AzureDiskVolumeSource, DownwardAPIVolumeFile, EmptyDirVolumeSource, EphemeralVolumeSource, ProjectedVolumeSource,
    Volume,
};

use super::{containers, set, set_text};

/// Mode of the files in volumes made from objects: `rw-r--r--`.
const FILE_MODE: i32 = 0o644;
/// Life of a projected service account token.
const TOKEN_SECONDS: i64 = 3600;

/// `SetDefaults_Volume` and those of its source. A volume that says nothing is an empty directory.
pub fn volume(volume: &mut Volume) {
    let name = std::mem::take(&mut volume.name);
    if *volume == Volume::default() {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    volume.name = name;
    from_objects(volume);
    on_network(volume);
    if let Some(path) = &mut volume.host_path {
        set(&mut path.type_, String::new());
    }
    if let Some(disk) = &mut volume.azure_disk {
        azure_disk(disk);
    }
    if let Some(source) = &mut volume.ephemeral {
        ephemeral(source);
    }
    // Parity: an image volume's policy follows the tag, as a container's does.
    if let Some(image) = &mut volume.image {
        let policy = super::image::pull_policy(image.reference.as_deref().unwrap_or_default());
        set_text(&mut image.pull_policy, policy);
    }
}

fn from_objects(volume: &mut Volume) {
    if let Some(secret) = &mut volume.secret {
        set(&mut secret.default_mode, FILE_MODE);
    }
    if let Some(map) = &mut volume.config_map {
        set(&mut map.default_mode, FILE_MODE);
    }
    if let Some(downward) = &mut volume.downward_api {
        set(&mut downward.default_mode, FILE_MODE);
        downward_files(downward.items.as_deref_mut());
    }
    if let Some(source) = &mut volume.projected {
        projected(source);
    }
}

fn projected(source: &mut ProjectedVolumeSource) {
    set(&mut source.default_mode, FILE_MODE);
    for one in source.sources.iter_mut().flatten() {
        if let Some(token) = &mut one.service_account_token {
            set(&mut token.expiration_seconds, TOKEN_SECONDS);
        }
        if let Some(downward) = &mut one.downward_api {
            downward_files(downward.items.as_deref_mut());
        }
    }
}

fn downward_files(files: Option<&mut [DownwardAPIVolumeFile]>) {
    for file in files.into_iter().flatten() {
        if let Some(field) = &mut file.field_ref {
            containers::field_ref(field);
        }
    }
}

fn on_network(volume: &mut Volume) {
    if let Some(iscsi) = &mut volume.iscsi {
        set_text(&mut iscsi.iscsi_interface, "default");
    }
    if let Some(rbd) = &mut volume.rbd {
        set_text(&mut rbd.pool, "rbd");
        set_text(&mut rbd.user, "admin");
        set_text(&mut rbd.keyring, "/etc/ceph/keyring");
    }
    if let Some(scale_io) = &mut volume.scale_io {
        set_text(&mut scale_io.storage_mode, "ThinProvisioned");
        set_text(&mut scale_io.fs_type, "xfs");
    }
}

/// `SetDefaults_AzureDiskVolumeSource`.
pub(super) fn azure_disk(disk: &mut AzureDiskVolumeSource) {
    set(&mut disk.caching_mode, "ReadWrite".to_owned());
    set(&mut disk.kind, "Shared".to_owned());
    set(&mut disk.fs_type, "ext4".to_owned());
    set(&mut disk.read_only, false);
}

fn ephemeral(source: &mut EphemeralVolumeSource) {
    let Some(template) = &mut source.volume_claim_template else { return };
    super::storage::claim_spec(&mut template.spec);
}
