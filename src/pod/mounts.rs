//! PURE. Owns where a container sees the pod's volumes, whole or in part, and which parts must be there first.
//! Never looks whether they are: `sub_paths` does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume, VolumeMount};

use super::environment::{Context, Environment};
use super::expand::expand;
use super::volumes_plan::{Backing, backing, in_memory};
use super::{names, restart, spec};
use crate::runtime::{ContainerSpec, Mount, MountSource, Propagation};

/// A part of a volume that a container mounts: it must be there, and lead through no link out of the volume.
#[derive(Clone, Debug, PartialEq)]
pub struct SubPath {
    /// The volume's name in the pod.
    pub volume: String,
    /// The path in the volume, without `.` and `..`.
    pub path: PathBuf,
    /// Where the volume is.
    pub root: Root,
}

/// Where a volume is reached.
#[derive(Clone, Debug, PartialEq)]
pub enum Root {
    /// In the host's files.
    Host(PathBuf),
    /// In the engine, by name.
    Engine(String),
    /// In the running sandbox: container and path. A memory volume is nowhere else.
    Sandbox(String, String),
    /// In an image, through a container of it that is never started. Nothing is made there.
    Image(Box<ContainerSpec>),
}

/// Mounts that show only a part of their volume.
pub fn sub_path_mounts(spec: &PodSpec) -> impl Iterator<Item = &VolumeMount> {
    let all = restart::containers(spec).flat_map(|(_, container)| container.volume_mounts.iter().flatten());
    all.filter(|mount| asked(mount).is_some())
}

/// Whether any mount of the pod shows only a part of its volume.
pub fn uses_sub_paths(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| sub_path_mounts(spec).next().is_some())
}

/// What is written for the part: text, and whether it is to be expanded.
fn asked(mount: &VolumeMount) -> Option<(&str, bool)> {
    let filled = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    match (&mount.sub_path, &mount.sub_path_expr) {
        (Some(path), _) if filled(&mount.sub_path) => Some((path, false)),
        (_, Some(expression)) if filled(&mount.sub_path_expr) => Some((expression, true)),
        _whole => None,
    }
}

/// Where a container sees the pod's volumes, and which parts of them; or why one cannot be shown there.
pub fn mounts(
    context: Context<'_>,
    env: &Environment,
    container: &Container,
) -> Result<(Vec<Mount>, Vec<SubPath>), String> {
    let volumes: BTreeMap<&str, &Volume> =
        context.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).map(|v| (v.name.as_str(), v)).collect();
    let (mut all, mut parts) = (Vec::new(), Vec::new());
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes.get(mount.name.as_str());
        let volume = volume.ok_or_else(|| format!("cannot find volume \"{}\" to mount", mount.name))?;
        let (shown, part) = one(context, env, volume, mount)?;
        all.push(shown);
        parts.extend(part);
    }
    Ok((all, parts))
}

fn one(
    context: Context<'_>,
    env: &Environment,
    volume: &Volume,
    mount: &VolumeMount,
) -> Result<(Mount, Option<SubPath>), String> {
    let part = part(env, mount)?;
    let backing = backing(context, volume)?;
    let claim = volume.persistent_volume_claim.as_ref();
    let asked = mount.read_only == Some(true) || claim.is_some_and(|claim| claim.read_only == Some(true));
    let target = match mount.mount_path.strip_prefix('/') {
        Some(_) => mount.mount_path.clone(),
        None => format!("/{}", mount.mount_path),
    };
    let (source, root, read_only) = match backing {
        Backing::Own(name) if in_memory(volume) => {
            let sandbox = names::sandbox(context.pod.metadata.uid.as_deref().unwrap_or_default());
            let root = Root::Sandbox(sandbox, format!("{}/{}", spec::HELD_VOLUMES, volume.name));
            (in_engine(name, part.as_deref()), root, asked)
        }
        Backing::Own(name) | Backing::Claimed(name) => {
            (in_engine(name.clone(), part.as_deref()), Root::Engine(name), asked)
        }
        Backing::Host(path) => (on_host(&path, part.as_deref()), Root::Host(path), asked),
        Backing::Image(image) => {
            let holder = image_holder(context.pod, &volume.name, &image);
            // Differs: programs in it may be run; upstream's runtimes mount it `noexec`.
            (MountSource::Image { image, path: part.clone().unwrap_or_default() }, Root::Image(Box::new(holder)), true)
        }
        // Files made from objects are never written from inside, as on a node.
        Backing::Files(path) => (on_host(&path, part.as_deref()), Root::Host(path), true),
    };
    let made_from_objects = super::volumes_plan::is_files(volume);
    let propagation = match mount.mount_propagation.as_deref() {
        Some("HostToContainer") => Propagation::HostToContainer,
        Some("Bidirectional") => Propagation::Bidirectional,
        Some(_) | None => Propagation::None,
    };
    let recursive_read_only = is_recursive(mount);
    let shown = Mount { source, target, read_only, propagation, recursive_read_only };
    let part = part.filter(|_| !made_from_objects);
    Ok((shown, part.map(|path| SubPath { volume: volume.name.clone(), path, root })))
}

/// A container of an image, to look into it.
fn image_holder(pod: &Pod, volume: &str, image: &str) -> ContainerSpec {
    let owner = names::volume(pod.metadata.uid.as_deref().unwrap_or_default(), volume);
    ContainerSpec {
        name: format!("{owner}-_image"),
        labels: names::pod_labels(&pod.metadata),
        image: image.to_owned(),
        command: Some(vec!["-".to_owned()]),
        ..ContainerSpec::default()
    }
}

/// Whether what is mounted below a read-only mount is to be read-only, too.
pub fn is_recursive(mount: &VolumeMount) -> bool {
    mount.recursive_read_only.as_deref() == Some("Enabled")
}

fn in_engine(volume: String, part: Option<&Path>) -> MountSource {
    match part {
        Some(path) => MountSource::SubPath { volume, path: path.to_owned() },
        None => MountSource::Volume(volume),
    }
}

fn on_host(root: &Path, part: Option<&Path>) -> MountSource {
    MountSource::Bind(part.map_or_else(|| root.to_owned(), |part| root.join(part)))
}

/// The mount's part, expanded; none where the whole volume is mounted.
fn part(env: &Environment, mount: &VolumeMount) -> Result<Option<PathBuf>, String> {
    let Some((text, expression)) = asked(mount) else { return Ok(None) };
    let text = if expression { expanded(env, text)? } else { text.to_owned() };
    let path = Path::new(&text);
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("unable to provision SubPath `{text}`: must not contain '..'"));
    }
    if path.is_absolute() {
        return Err(format!("error SubPath `{text}` must not be an absolute path"));
    }
    // Without `.` and doubled slashes, so that each part is a name.
    let names: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    Ok((!names.as_os_str().is_empty()).then_some(names))
}

/// Parity: `ExpandContainerVolumeMounts`, which has no part whose name is unknown.
fn expanded(env: &Environment, text: &str) -> Result<String, String> {
    let missing = std::cell::RefCell::new(BTreeSet::new());
    let out = expand(text, |name| {
        let value = env.get(name).filter(|value| !value.is_empty());
        if value.is_none() {
            missing.borrow_mut().insert(name.to_owned());
        }
        value
    });
    let missing: Vec<String> = missing.into_inner().into_iter().collect();
    if missing.is_empty() { Ok(out) } else { Err(format!("missing value for {}", missing.join(", "))) }
}
