//! PURE. Owns what the claims of a pod bring it: the persistent volume behind each, and what that needs before it is
//! mounted, or why it cannot be had. Never binds a claim: `storage` did.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec, Pod, Volume};

use super::environment::{Context, missing};
use super::restart;
use super::volumes_plan::{VolumeWork, source_field};
use crate::model::claims;
use crate::runtime::{LABEL_VOLUME, VolumeSpec};

/// Fields of a persistent volume that say other things than where it is.
const NO_SOURCES: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

/// The persistent volume that a volume's claim is bound to; none for volumes without a claim.
pub fn claimed<'a>(context: Context<'a>, volume: &Volume) -> Result<Option<&'a PersistentVolume>, String> {
    let Some((name, _)) = claims::of_volume(context.pod, volume) else { return Ok(None) };
    let claim = context.sources.claims.get(&name).ok_or_else(|| missing("persistentvolumeclaim", &name))?;
    if !claims::is_bound(claim) {
        return Err(format!("persistentvolumeclaim \"{name}\" is not bound"));
    }
    let bound = claims::volume_name(claim).unwrap_or_default();
    let found = context.sources.volumes.get(bound);
    found.map(Some).ok_or_else(|| missing("persistentvolume", bound))
}

/// What a persistent volume needs before the pod's volume of this name is mounted.
pub fn work(pod: &Pod, volume: String, found: &PersistentVolume) -> Result<VolumeWork, String> {
    let spec = found.spec.clone().unwrap_or_default();
    let block = spec.volume_mode.as_deref() == Some("Block");
    used_as_it_is(pod, &volume, block)?;
    if block {
        return Err("block volumes are not supported by jobdock, only volumeMode Filesystem".to_owned());
    }
    if let Some(engine) = claims::engine_volume(found) {
        let labels = [(LABEL_VOLUME.to_owned(), found.metadata.name.clone().unwrap_or_default())];
        let spec = VolumeSpec { name: engine.to_owned(), labels: labels.into(), memory: None };
        return Ok(VolumeWork::Claimed { volume, spec });
    }
    if let Some(source) = &spec.host_path {
        let check = source.type_.clone().unwrap_or_default();
        return Ok(VolumeWork::Host { volume, path: PathBuf::from(&source.path), check });
    }
    if let Some(source) = &spec.local {
        return Ok(VolumeWork::Local { volume, path: PathBuf::from(&source.path) });
    }
    Err(format!(
        "persistentvolume \"{}\" is of type {}, which is not supported by jobdock; supported are hostPath, local and \
         volumes of the class of jobdock",
        found.metadata.name.as_deref().unwrap_or_default(),
        kind(&spec)
    ))
}

/// A container gets a file system as a directory and a block device as a device, never one for the other.
/// Parity: `createVolumeSpec` of the kubelet's desired state of the world.
fn used_as_it_is(pod: &Pod, volume: &str, block: bool) -> Result<(), String> {
    let containers = || pod.spec.iter().flat_map(restart::containers).map(|(_, container)| container);
    let mounted = || containers().flat_map(|one| one.volume_mounts.iter().flatten()).any(|one| one.name == volume);
    let device = || containers().flat_map(|one| one.volume_devices.iter().flatten()).any(|one| one.name == volume);
    if block && mounted() {
        return Err(format!("volume {volume} has volumeMode Block, but is specified in volumeMounts"));
    }
    if !block && device() {
        return Err(format!("volume {volume} has volumeMode Filesystem, but is specified in volumeDevices"));
    }
    Ok(())
}

/// The field that says where the volume is, as the manifest writes it.
fn kind(spec: &PersistentVolumeSpec) -> String {
    if let Some(csi) = &spec.csi {
        return format!("csi (driver {})", csi.driver);
    }
    source_field(spec, &NO_SOURCES).unwrap_or_default()
}
