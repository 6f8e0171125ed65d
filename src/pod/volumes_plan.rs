//! PURE. Owns what a pod's volumes consist of: which engine volumes, which files with which bytes and modes, which host
//! paths, and where each is mounted from. Never touches a file: `volumes.rs` carries the work out.
//!
//! An `emptyDir` is a volume of the engine, not a directory of ours, because a daemon without root could never remove
//! what a container's root wrote into a bind mount.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, EmptyDirVolumeSource, Pod, PodSpec, Volume};
use serde::Serialize;

use super::environment::{Context, missing};
use super::payload::{File, Payload};
use super::{bounds, env_file, mounts, names, persistent, quantity, restart};
use crate::model::claims;
use crate::runtime::directories::{self, Directory};
use crate::runtime::{ContainerSpec, MemoryDisk, VolumeSpec};

/// Anyone may use a fresh emptyDir. Parity: the kubelet's.
const EMPTY_DIR_MODE: u32 = 0o777;
/// What a directory that belongs to an fsGroup has besides: all for the group, and what is made in it is the group's.
/// Parity: `SetVolumeOwnership`.
const GROUP_DIR_MODE: u32 = 0o2770;
/// What jobdock can mount, for messages.
const SUPPORTED: &str =
    "emptyDir, hostPath, configMap, secret, downwardAPI, projected, persistentVolumeClaim, ephemeral, image";

/// One thing to make before the pod's containers.
#[derive(Clone, Debug, PartialEq)]
pub enum VolumeWork {
    /// A volume of the engine.
    Engine {
        /// The volume's name in the pod.
        volume: String,
        /// What to make.
        spec: VolumeSpec,
    },
    /// A directory of files, replaced as a whole.
    Files {
        /// The volume's name in the pod.
        volume: String,
        /// The directory.
        dir: PathBuf,
        /// By relative path.
        files: BTreeMap<String, File>,
        /// The group that may read them.
        group: Option<u32>,
    },
    /// A path of the host that must be of a type.
    Host {
        /// The volume's name in the pod.
        volume: String,
        /// The path.
        path: PathBuf,
        /// Upstream's `HostPathType`; empty checks nothing.
        check: String,
    },
    /// A volume of the engine that outlives the pod.
    Claimed {
        /// The volume's name in the pod.
        volume: String,
        /// What it is; it is there already, unless somebody removed it.
        spec: VolumeSpec,
    },
    /// A host path of a persistent volume, which must be there.
    Local {
        /// The volume's name in the pod.
        volume: String,
        /// The path.
        path: PathBuf,
    },
    /// Directories in fresh engine volumes are opened, through a container that is never started.
    Open {
        /// The container that mounts them all.
        holder: Box<ContainerSpec>,
        /// What they are to be.
        directories: Vec<Directory>,
    },
    /// Directories in engine volumes that outlive the pod are given to the pod's group, unless they are its already.
    Own {
        /// The container that mounts them all.
        holder: Box<ContainerSpec>,
        /// Their paths in it.
        paths: Vec<String>,
        /// The group.
        group: u64,
        /// What their modes have besides what they have.
        mode: u32,
    },
    /// A volume that cannot be had as things stand.
    Impossible {
        /// The volume's name in the pod.
        volume: String,
        /// Why, in the kubelet's words.
        message: String,
    },
}

/// Where the files of one volume are.
pub fn files_dir(pod_dir: &str, volume: &str) -> PathBuf {
    Path::new(pod_dir).join("volumes").join(volume)
}

/// What a volume of a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A volume of the engine, made for this pod.
    Own(String),
    /// A volume of the engine that outlives the pod.
    Claimed(String),
    /// A path of the engine's host.
    Host(PathBuf),
    /// Files that are made from objects.
    Files(PathBuf),
    /// The files of an image, by its id.
    Image(String),
}

/// Everything to make for the pod, but for images: those are had like the containers' own. The sandbox image serves to
/// reach into the engine's volumes.
pub fn work(context: Context<'_>, sandbox_image: &str) -> Vec<VolumeWork> {
    let each = volumes(context.pod).filter(|volume| volume.image.is_none()).map(|volume| {
        let name = volume.name.clone();
        one(context, volume).unwrap_or_else(|message| VolumeWork::Impossible { volume: name, message })
    });
    each.chain(opener(context.pod, sandbox_image)).chain(owner(context, sandbox_image)).collect()
}

/// The files that are made from objects, for volumes that stand: what has changed since is written anew.
pub fn refreshed(context: Context<'_>) -> Vec<VolumeWork> {
    let files = volumes(context.pod).filter(|volume| is_files(volume));
    files
        .map(|volume| {
            let name = volume.name.clone();
            one(context, volume).unwrap_or_else(|message| VolumeWork::Impossible { volume: name, message })
        })
        .collect()
}

/// Whether the volume's files are made from objects.
pub fn is_files(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten())
}

/// The group that the pod's volumes belong to.
fn fs_group(pod: &Pod) -> Option<u64> {
    let group = pod.spec.as_ref()?.security_context.as_ref()?.fs_group?;
    u64::try_from(group).ok()
}

/// Engine volumes of the pod, to be removed when it ends.
pub fn engine_volumes(pod: &Pod) -> Vec<String> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter(|volume| empty_dir(volume).is_some()).map(|volume| names::volume(uid, &volume.name)).collect()
}

fn one(context: Context<'_>, volume: &Volume) -> Result<VolumeWork, String> {
    let name = volume.name.clone();
    if let Some(source) = empty_dir(volume) {
        return engine_volume(context, &name, &source).map(|spec| VolumeWork::Engine { volume: name, spec });
    }
    if let Some(source) = &volume.host_path {
        let check = source.type_.clone().unwrap_or_default();
        return Ok(VolumeWork::Host { volume: name, path: PathBuf::from(&source.path), check });
    }
    if let Some(found) = persistent::claimed(context, volume)? {
        return persistent::work(context.pod, name, found);
    }
    let mut payload = Payload::new(context);
    if let Some(source) = &volume.config_map {
        let optional = source.optional == Some(true);
        payload.config_map(&source.name, source.items.as_deref(), optional, source.default_mode)?;
    } else if let Some(source) = &volume.secret {
        let secret = source.secret_name.as_deref().unwrap_or_default();
        payload.secret(secret, source.items.as_deref(), source.optional == Some(true), source.default_mode)?;
    } else if let Some(source) = &volume.downward_api {
        payload.downward(source.items.as_deref(), source.default_mode)?;
    } else if let Some(source) = &volume.projected {
        for projection in source.sources.iter().flatten() {
            payload.projection(projection, source.default_mode)?;
        }
    } else {
        return Err(unsupported(&kind(volume).unwrap_or_default()));
    }
    let dir = files_dir(&context.node.pod_dir, &volume.name);
    let group = fs_group(context.pod).and_then(|group| u32::try_from(group).ok());
    Ok(VolumeWork::Files { volume: name, dir, files: payload.into_files(), group })
}

fn unsupported(kind: &str) -> String {
    format!("volumes of type {kind} are not supported by jobdock; supported are {SUPPORTED}")
}

/// What a volume of the pod is, once it stands.
pub fn backing(context: Context<'_>, volume: &Volume) -> Result<Backing, String> {
    if empty_dir(volume).is_some() {
        return Ok(Backing::Own(names::volume(context.pod.metadata.uid.as_deref().unwrap_or_default(), &volume.name)));
    }
    if let Some(source) = &volume.host_path {
        return Ok(Backing::Host(PathBuf::from(&source.path)));
    }
    if volume.image.is_some() {
        let image = context.sources.images.get(&volume.name).cloned();
        return image.map(Backing::Image).ok_or_else(|| missing("image volume", &volume.name));
    }
    let Some(found) = persistent::claimed(context, volume)? else {
        return Ok(Backing::Files(files_dir(&context.node.pod_dir, &volume.name)));
    };
    Ok(match persistent::work(context.pod, volume.name.clone(), found)? {
        VolumeWork::Host { path, .. } | VolumeWork::Local { path, .. } => Backing::Host(path),
        _engine => Backing::Claimed(claims::engine_volume(found).unwrap_or_default().to_owned()),
    })
}

/// The volume as an `emptyDir`; a volume without any source is one too.
fn empty_dir(volume: &Volume) -> Option<EmptyDirVolumeSource> {
    volume.empty_dir.clone().or_else(|| kind(volume).is_none().then(EmptyDirVolumeSource::default))
}

/// Whether the volume is a memory file system.
pub fn in_memory(volume: &Volume) -> bool {
    volume.empty_dir.as_ref().is_some_and(|source| source.medium.as_deref() == Some("Memory"))
}

fn engine_volume(context: Context<'_>, volume: &str, source: &EmptyDirVolumeSource) -> Result<VolumeSpec, String> {
    let pod = context.pod;
    let limit = source.size_limit.as_ref().and_then(|limit| quantity::nanos(&limit.0)).map_or(0, quantity::units);
    let memory = match source.medium.as_deref().unwrap_or_default() {
        "" => false,
        "Memory" => true,
        // Parity: what the kubelet says of a medium that it does not know.
        huge if huge.starts_with("HugePages") => {
            return Err(format!(
                "emptyDir with medium {huge} is not supported by jobdock; supported are \"\" and Memory"
            ));
        }
        other => return Err(format!("unknown storage medium \"{other}\"")),
    };
    Ok(VolumeSpec {
        name: names::volume(pod.metadata.uid.as_deref().unwrap_or_default(), volume),
        labels: names::pod_labels(&pod.metadata),
        memory: memory.then(|| MemoryDisk { bytes: memory_size(context, limit), group: fs_group(pod) }),
    })
}

/// How large a volume in memory may become: no larger than its limit, than what the pod's containers may use together where
/// each has a limit, and than what pods may use on this node. Parity: `calculateEmptyDirMemorySize`.
fn memory_size(context: Context<'_>, limit: i128) -> u64 {
    let of_pod = context.pod.spec.as_ref().and_then(|spec| {
        let own = |container: &Container| bounds::limit(spec, container, "memory").filter(|limit| *limit > 0);
        let each = restart::containers(spec).all(|(_, container)| own(container).is_some());
        each.then(|| quantity::units(restart::at_once(spec, |container| own(container).unwrap_or(0))))
    });
    let most = [limit, of_pod.unwrap_or(0), context.node.memory_bytes];
    most.into_iter().filter(|bytes| *bytes > 0).min().map_or(0, bounds::unsigned)
}

/// The field that names the volume's type, as the manifest writes it.
fn kind(volume: &Volume) -> Option<String> {
    source_field(volume, &["name"])
}

/// The field that is set, as the manifest writes it, beside those that are no sources.
pub fn source_field(holder: &impl Serialize, beside: &[&str]) -> Option<String> {
    let tree = serde_json::to_value(holder).ok()?;
    tree.as_object()?.keys().find(|field| !beside.contains(&field.as_str())).cloned()
}

/// The volumes of the engine that lie on disk, with the mode that each is to have.
pub fn on_disk(pod: &Pod) -> BTreeMap<&str, u32> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter_map(|volume| {
            let source = empty_dir(volume).filter(|source| source.medium.as_deref().unwrap_or_default().is_empty())?;
            let mode = source.mode.and_then(|mode| u32::try_from(mode).ok());
            Some((volume.name.as_str(), mode.unwrap_or(EMPTY_DIR_MODE)))
        })
        .collect()
}

/// Whether something has to be looked at or made inside the engine's volumes, which takes a container.
pub fn reaches_into_volumes(pod: &Pod) -> bool {
    let claims = !claims::of_pod(pod).is_empty();
    !on_disk(pod).is_empty() || (claims && fs_group(pod).is_some()) || mounts::uses_sub_paths(pod)
}

/// The container through which the pod's engine volumes are reached.
pub fn holder<'a>(pod: &Pod, image: &str, volumes: impl IntoIterator<Item = &'a str>) -> ContainerSpec {
    let owner = format!("jobdock-{}", pod.metadata.uid.as_deref().unwrap_or_default());
    directories::holder(&owner, image, names::pod_labels(&pod.metadata), volumes)
}

/// Opens fresh engine volumes, which belong to root alone, to whoever the containers run as. A volume in memory is open
/// by itself, and forgets what is done to it while nothing runs.
fn opener(pod: &Pod, sandbox_image: &str) -> Option<VolumeWork> {
    let modes = on_disk(pod);
    if modes.is_empty() {
        return None;
    }
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let group = fs_group(pod);
    let modes: Vec<(String, u32)> =
        modes.into_iter().map(|(volume, mode)| (names::volume(uid, volume), mode)).collect();
    let directories = modes.iter().map(|(volume, mode)| Directory {
        path: directories::place(volume),
        mode: group.map_or(*mode, |_| mode | GROUP_DIR_MODE),
        uid: 0,
        gid: group.unwrap_or(0),
    });
    let directories = directories.collect();
    let holder = holder(pod, sandbox_image, modes.iter().map(|(volume, _)| volume.as_str()));
    Some(VolumeWork::Open { holder: Box::new(holder), directories })
}

/// Gives engine volumes that outlive the pod to its group.
/// Differs: only the root of the volume is changed, as with `fsGroupChangePolicy: OnRootMismatch` and a root that fits;
/// what is made in it afterwards is the group's by the setgid bit.
fn owner(context: Context<'_>, sandbox_image: &str) -> Option<VolumeWork> {
    let group = fs_group(context.pod)?;
    let found = volumes(context.pod).filter_map(|volume| persistent::claimed(context, volume).ok().flatten());
    let names: Vec<&str> = found.filter_map(claims::engine_volume).collect();
    if names.is_empty() {
        return None;
    }
    let paths = names.iter().map(|name| directories::place(name)).collect();
    let holder = Box::new(holder(context.pod, sandbox_image, names));
    Some(VolumeWork::Own { holder, paths, group, mode: GROUP_DIR_MODE })
}

/// Volumes in memory that must outlive the container that uses them, because another run uses them after it, or because
/// a part of one is mounted: the engine forgets one that nobody has mounted, so the sandbox holds it.
pub fn held_in_memory(spec: &PodSpec) -> Vec<&str> {
    let runs_again = spec.restart_policy.as_deref() != Some("Never");
    let in_part = |volume: &str| mounts::sub_path_mounts(spec).any(|mount| mount.name == volume);
    let users = |volume: &str| {
        let mounts = |container: &Container| container.volume_mounts.iter().flatten().any(|mount| mount.name == volume);
        restart::containers(spec).filter(|(_, container)| mounts(container)).count()
    };
    let memory = spec.volumes.iter().flatten().filter(|volume| in_memory(volume)).map(|volume| volume.name.as_str());
    let read = |volume: &str| restart::containers(spec).any(|(_, container)| env_file::is_read(container, volume));
    let shared = |volume: &str| users(volume) > 1 || (runs_again && users(volume) == 1);
    memory.filter(|volume| shared(volume) || in_part(volume) || read(volume)).collect()
}
