//! PURE. Owns devices, such as GPUs: what the node offers of each kind, which a pod gets, which of those each of its
//! containers sees. Never asks an engine for any: `spec` says what a container has.
//!
//! ```text
//!  offered (told, or found by the engine) --bound, not begun--> assigned (recorded) --> containers --> over: free again
//!                                             `-- none left --> rejected
//! ```
//!
//! Parity: the kubelet's device manager: whole devices, each of one pod at a time; those of an init container are used
//! again by the containers after it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::facts::NodeFacts;
use super::restart::{self, Role};
use super::{bounds, quantity};
use crate::runtime::{DeviceSpec, Devices};

/// The kind that engines hand out without the Container Device Interface, too, as `docker run --gpus` does.
const GPU: &str = "nvidia.com/gpu";
/// `status.reason` of a pod for which there are none left. Parity: `UnexpectedAdmissionError`.
pub const REASON: &str = "UnexpectedAdmissionError";

/// How many of each kind.
pub type Wanted = BTreeMap<String, usize>;

/// Whether a pod has its devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DevicesFact {
    /// None were assigned.
    #[default]
    Unassigned,
    /// These are its own until it is over.
    Assigned(Devices),
    /// There are too few, in the kubelet's words.
    Short(String),
}

/// Reads `nvidia.com/gpu=0,1`.
pub fn parse(text: &str) -> Result<(String, Vec<String>), String> {
    const WANTED: &str = "give a resource and the ids of its devices, such as nvidia.com/gpu=0,1";
    let (kind, ids) = text.split_once('=').ok_or(WANTED)?;
    let named = kind.split_once('/').is_some_and(|(vendor, class)| {
        let word =
            |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        word(vendor) && word(class)
    });
    let ids: Vec<String> = ids.split(',').map(|id| id.trim().to_owned()).collect();
    let distinct: BTreeSet<&String> = ids.iter().collect();
    if !named || ids.iter().any(String::is_empty) || distinct.len() < ids.len() {
        return Err(WANTED.to_owned());
    }
    Ok((kind.to_owned(), ids))
}

/// What the node offers: of a kind that somebody has told us of just those, of others what the engine has found.
pub fn offered(told: &Devices, found: &Devices) -> Devices {
    found.iter().chain(told).map(|(kind, ids)| (kind.clone(), ids.clone())).collect()
}

/// Whether a pod may have been given any, whatever the node offers by now.
pub fn may_want(spec: &PodSpec) -> bool {
    let limits = |container: &Container| container.resources.as_ref().and_then(|resources| resources.limits.clone());
    restart::containers(spec).any(|(_, one)| limits(one).is_some_and(|all| all.keys().any(|name| name.contains('/'))))
}

/// What a pod needs, of the kinds that the node offers.
pub fn wanted(spec: &PodSpec, node: &NodeFacts) -> Wanted {
    let count = |kind: &String| (kind.clone(), restart::at_once(spec, |container| i128::from(limit(container, kind))));
    let all = node.devices.keys().map(count).filter(|(_, count)| *count > 0);
    all.map(|(kind, count)| (kind, usize::try_from(count).unwrap_or(usize::MAX))).collect()
}

/// Those that the pod gets of what nobody holds, or the kubelet's words where there are too few.
pub fn allocate<'h>(
    wanted: &Wanted,
    offered: &Devices,
    held: impl Iterator<Item = &'h Devices> + Clone,
) -> Result<Devices, String> {
    let mut own = Devices::new();
    for (kind, count) in wanted {
        let taken: BTreeSet<&String> = held.clone().filter_map(|devices| devices.get(kind)).flatten().collect();
        let free = offered.get(kind).into_iter().flatten().filter(|id| !taken.contains(id));
        let free: Vec<String> = free.cloned().collect();
        if free.len() < *count {
            return Err(format!(
                "Allocate failed due to requested number of devices unavailable for {kind}. Requested: {count}, \
                 Available: {}, which is unexpected",
                free.len()
            ));
        }
        own.insert(kind.clone(), free.into_iter().take(*count).collect());
    }
    Ok(own)
}

/// What a container sees of its pod's devices: a sidecar and a main container have theirs alone, an init container what
/// those after it will have.
pub fn of_container(spec: &PodSpec, container: &Container, own: &Devices, node: &NodeFacts) -> Vec<DeviceSpec> {
    let share = |(kind, ids): (&String, &Vec<String>)| {
        let before = |(role, other): (Role, &Container)| match role {
            Role::Init => 0,
            Role::Sidecar | Role::Main => limit(other, kind),
        };
        let earlier = restart::containers(spec).take_while(|(_, other)| other.name != container.name);
        let first = usize::try_from(earlier.map(before).sum::<u64>()).unwrap_or(usize::MAX);
        let count = usize::try_from(limit(container, kind)).unwrap_or(usize::MAX);
        let ids: Vec<String> = ids.iter().skip(first).take(count).cloned().collect();
        let found = node.found_devices.get(kind).is_some_and(|found| ids.iter().all(|id| found.contains(id)));
        let cdi = found || kind != GPU;
        (!ids.is_empty()).then(|| DeviceSpec { kind: kind.clone(), ids, cdi })
    };
    own.iter().filter_map(share).collect()
}

fn limit(container: &Container, kind: &str) -> u64 {
    let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    quantity::find(limits, kind).map_or(0, |nanos| bounds::unsigned(quantity::units(nanos)))
}
