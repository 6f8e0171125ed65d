//! PURE. Owns what a pod's volumes consist of: which engine volumes, which files with which bytes and modes, which host
//! paths, and where each is mounted from. Never touches a file: `volumes.rs` carries the work out.
//!
//! An `emptyDir` is a volume of the engine, not a directory of ours, because a daemon without root could never remove
//! what a container's root wrote into a bind mount.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, EmptyDirVolumeSource, Pod, PodSpec, Volume, VolumeMount};

use super::environment::{Context, Environment};
use super::payload::{File, Payload};
use super::restart;
use super::{names, quantity, tokens};
use crate::runtime::{ContainerSpec, Mount, MountSource, VolumeSpec};

/// Anyone may use a fresh emptyDir. Parity: the kubelet's.
const EMPTY_DIR_MODE: u32 = 0o777;
/// Where the container that opens volumes has them.
const OPENED: &str = "volumes";
/// What jobdock can mount, for messages.
const SUPPORTED: &str = "emptyDir, hostPath, configMap, secret, downwardAPI, projected";

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
    /// The modes of directories in fresh engine volumes, set through a container that is never started.
    Open {
        /// The container that mounts them all.
        spec: Box<ContainerSpec>,
        /// Modes by path in it, without the leading slash.
        modes: BTreeMap<String, u32>,
    },
    /// A directory inside a host path, which must not lead out of it.
    HostSubPath {
        /// The volume's name in the pod.
        volume: String,
        /// The volume's path.
        root: PathBuf,
        /// The path below it.
        sub: PathBuf,
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

/// Everything to make for the pod. The sandbox image serves to open volumes on disk.
pub fn work(context: Context<'_>, sandbox_image: &str) -> Vec<VolumeWork> {
    let volumes = context.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .flat_map(|volume| {
            let name = volume.name.clone();
            let work = one(context, volume).unwrap_or_else(|message| VolumeWork::Impossible { volume: name, message });
            std::iter::once(work).chain(host_sub_paths(context.pod, volume))
        })
        .chain(opener(context.pod, sandbox_image))
        .collect()
}

/// The volumes that hold tokens, to be written anew.
pub fn token_work(context: Context<'_>) -> Vec<VolumeWork> {
    let volumes = context.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let volumes = volumes.filter(|volume| tokens::of_volume(volume).next().is_some());
    volumes
        .map(|volume| {
            let name = volume.name.clone();
            one(context, volume).unwrap_or_else(|message| VolumeWork::Impossible { volume: name, message })
        })
        .collect()
}

/// The sub paths of a host path that containers mount; those that depend on the environment are not made beforehand.
fn host_sub_paths(pod: &Pod, volume: &Volume) -> Vec<VolumeWork> {
    let (Some(source), Some(spec)) = (&volume.host_path, &pod.spec) else { return Vec::new() };
    let mounts = restart::containers(spec).flat_map(|(_, container)| container.volume_mounts.iter().flatten());
    mounts
        .filter(|mount| mount.name == volume.name)
        .filter_map(|mount| mount.sub_path.as_ref().filter(|path| !path.is_empty()))
        .map(|sub| VolumeWork::HostSubPath {
            volume: volume.name.clone(),
            root: PathBuf::from(&source.path),
            sub: PathBuf::from(sub),
        })
        .collect()
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
        return Ok(VolumeWork::Engine { volume: name, spec: engine_volume(context.pod, &volume.name, &source) });
    }
    if let Some(source) = &volume.host_path {
        let check = source.type_.clone().unwrap_or_default();
        return Ok(VolumeWork::Host { volume: name, path: PathBuf::from(&source.path), check });
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
        let kind = kind(volume).unwrap_or_default();
        return Err(format!("volumes of type {kind} are not supported by jobdock; supported are {SUPPORTED}"));
    }
    let dir = files_dir(&context.node.pod_dir, &volume.name);
    Ok(VolumeWork::Files { volume: name, dir, files: payload.into_files() })
}

/// The volume as an `emptyDir`; a volume without any source is one too.
fn empty_dir(volume: &Volume) -> Option<EmptyDirVolumeSource> {
    volume.empty_dir.clone().or_else(|| kind(volume).is_none().then(EmptyDirVolumeSource::default))
}

fn in_memory(volume: &Volume) -> bool {
    volume.empty_dir.as_ref().is_some_and(|source| source.medium.as_deref() == Some("Memory"))
}

fn engine_volume(pod: &Pod, volume: &str, source: &EmptyDirVolumeSource) -> VolumeSpec {
    let limit = source.size_limit.as_ref().and_then(|limit| quantity::nanos(&limit.0)).map_or(0, quantity::units);
    let memory = source.medium.as_deref() == Some("Memory");
    VolumeSpec {
        name: names::volume(pod.metadata.uid.as_deref().unwrap_or_default(), volume),
        labels: names::pod_labels(&pod.metadata),
        memory_bytes: memory.then(|| u64::try_from(limit).unwrap_or(0)),
    }
}

/// The field that names the volume's type, as the manifest writes it.
fn kind(volume: &Volume) -> Option<String> {
    let tree = serde_json::to_value(volume).ok()?;
    tree.as_object()?.keys().find(|field| *field != "name").cloned()
}

/// Where a container sees the pod's volumes, or why one cannot be shown there.
pub fn mounts(context: Context<'_>, env: &Environment, container: &Container) -> Result<Vec<Mount>, String> {
    let volumes: BTreeMap<&str, &Volume> =
        context.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).map(|v| (v.name.as_str(), v)).collect();
    let all = container.volume_mounts.iter().flatten();
    all.map(|mount| {
        let volume = volumes.get(mount.name.as_str());
        let volume = volume.ok_or_else(|| format!("cannot find volume \"{}\" to mount", mount.name))?;
        one_mount(context, env, volume, mount)
    })
    .collect()
}

fn one_mount(context: Context<'_>, env: &Environment, volume: &Volume, mount: &VolumeMount) -> Result<Mount, String> {
    let sub = sub_path(env, mount)?;
    let target =
        if mount.mount_path.starts_with('/') { mount.mount_path.clone() } else { format!("/{}", mount.mount_path) };
    let asked = mount.read_only == Some(true);
    if empty_dir(volume).is_some() {
        if sub.is_some() {
            return Err(format!(
                "subPath of the emptyDir volume \"{}\" is not supported by jobdock: the engine mounts volumes whole",
                volume.name
            ));
        }
        let name = names::volume(context.pod.metadata.uid.as_deref().unwrap_or_default(), &volume.name);
        return Ok(Mount { source: MountSource::Volume(name), target, read_only: asked });
    }
    let (root, read_only) = match &volume.host_path {
        Some(source) => (PathBuf::from(&source.path), asked),
        // Files made from objects are never written from inside, as on a node.
        None => (files_dir(&context.node.pod_dir, &volume.name), true),
    };
    let path = sub.map_or_else(|| root.clone(), |sub| root.join(sub));
    Ok(Mount { source: MountSource::Bind(path), target, read_only })
}

/// The mount's sub path, expanded; none where the whole volume is mounted.
fn sub_path(env: &Environment, mount: &VolumeMount) -> Result<Option<PathBuf>, String> {
    let text = match (&mount.sub_path, &mount.sub_path_expr) {
        (Some(path), _) if !path.is_empty() => path.clone(),
        (_, Some(expression)) if !expression.is_empty() => env.expand(expression),
        _ => return Ok(None),
    };
    let path = PathBuf::from(&text);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if inside { Ok(Some(path)) } else { Err(format!("subPath \"{text}\" leads out of its volume")) }
}

/// The volumes of the engine that lie on disk, with the mode that each is to have.
pub fn on_disk(pod: &Pod) -> BTreeMap<&str, u32> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let disk = volumes.filter(|volume| !in_memory(volume));
    disk.filter_map(|volume| {
        let mode = empty_dir(volume)?.mode.and_then(|mode| u32::try_from(mode).ok());
        Some((volume.name.as_str(), mode.unwrap_or(EMPTY_DIR_MODE)))
    })
    .collect()
}

/// Opens fresh engine volumes, which belong to root alone, to whoever the containers run as. The engine changes a
/// directory's mode only by unpacking an archive into a container that mounts it; one that is never started does.
/// A volume in memory is open by itself, and forgets what is done to it while nothing runs.
fn opener(pod: &Pod, sandbox_image: &str) -> Option<VolumeWork> {
    let modes = on_disk(pod);
    if modes.is_empty() {
        return None;
    }
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let mounts = modes.keys().map(|volume| Mount {
        source: MountSource::Volume(names::volume(uid, volume)),
        target: format!("/{OPENED}/{volume}"),
        read_only: false,
    });
    let spec = ContainerSpec {
        name: names::opener(uid),
        labels: names::pod_labels(&pod.metadata),
        image: sandbox_image.to_owned(),
        mounts: mounts.collect(),
        ..ContainerSpec::default()
    };
    let modes = modes.into_iter().map(|(volume, mode)| (format!("{OPENED}/{volume}/"), mode)).collect();
    Some(VolumeWork::Open { spec: Box::new(spec), modes })
}

/// Volumes in memory that must outlive the container that uses them, because another run uses them after it: the
/// engine forgets one that nobody has mounted, so the sandbox holds it.
pub fn held_in_memory(spec: &PodSpec) -> Vec<&str> {
    let runs_again = spec.restart_policy.as_deref() != Some("Never");
    let users = |volume: &str| {
        let mounts = |container: &Container| container.volume_mounts.iter().flatten().any(|mount| mount.name == volume);
        restart::containers(spec).filter(|(_, container)| mounts(container)).count()
    };
    let memory = spec.volumes.iter().flatten().filter(|volume| in_memory(volume)).map(|volume| volume.name.as_str());
    memory.filter(|volume| users(volume) > 1 || (runs_again && users(volume) == 1)).collect()
}
