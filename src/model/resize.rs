//! Owns which resources a pod has been granted, where somebody asked for others while it runs.
//! Never grants: the scheduler does; never applies them: the node agent does.
//!
//! ```text
//!  spec asks for the same as the status tells --> granted
//!  spec asks for other requests               --> PodResizePending (no room), or PodResizeInProgress at that generation:
//!                                                 granted, until the status tells the same
//! ```
//!
//! Parity: the allocation of `pkg/kubelet/allocation`. Differs: the kubelet keeps it in a file, here the pod's status is
//! what is kept: `allocatedResources` and the limits of `resources`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodCondition, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::quantity::Quantity;

/// Condition of a pod whose new requests are not granted.
pub const PENDING: &str = "PodResizePending";
/// Condition of a pod whose new resources are granted and not yet in effect.
pub const IN_PROGRESS: &str = "PodResizeInProgress";
/// Reason of the first: there is no room now.
pub const DEFERRED: &str = "Deferred";
/// Reason of the first: the node is too small.
pub const INFEASIBLE: &str = "Infeasible";
/// What can be resized.
pub const RESIZABLE: [&str; 2] = ["cpu", "memory"];

/// Whether two lists ask for the same amounts of what can be resized.
pub fn same(one: Option<&BTreeMap<String, Text>>, other: Option<&BTreeMap<String, Text>>) -> bool {
    let amount = |list: Option<&BTreeMap<String, Text>>, name: &str| Quantity::parse(&list?.get(name)?.0).ok();
    RESIZABLE.iter().all(|name| match (amount(one, name), amount(other, name)) {
        (Some(one), Some(other)) => one.compare(&other).is_eq(),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    })
}

/// Whether both requirements are the same, limits too.
pub fn same_requirements(one: Option<&ResourceRequirements>, other: Option<&ResourceRequirements>) -> bool {
    let empty = ResourceRequirements::default();
    let (one, other) = (one.unwrap_or(&empty), other.unwrap_or(&empty));
    same(one.limits.as_ref(), other.limits.as_ref()) && same(one.requests.as_ref(), other.requests.as_ref())
}

/// A condition of the pod that holds.
pub fn condition<'p>(pod: &'p Pod, kind: &str) -> Option<&'p PodCondition> {
    let mut all = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    all.find(|condition| condition.type_ == kind && condition.status == "True")
}

/// Whether the pod asks for other requests than it has been granted.
pub fn is_due(pod: &Pod) -> bool {
    changed(pod).next().is_some() && !granted_now(pod)
}

/// The pod's specification with the resources that it has been granted; none where those are the ones that stand there.
pub fn granted(pod: &Pod) -> Option<PodSpec> {
    is_due(pod).then(|| {
        let mut spec = pod.spec.clone().unwrap_or_default();
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            if let Some(status) = allocation(pod, &container.name) {
                let resources = container.resources.get_or_insert_default();
                restore(&mut resources.requests, status.allocated_resources.as_ref());
                restore(&mut resources.limits, status.resources.as_ref().and_then(|told| told.limits.as_ref()));
            }
        }
        spec
    })
}

/// Puts the amounts of what can be resized back.
pub fn restore(list: &mut Option<BTreeMap<String, Text>>, before: Option<&BTreeMap<String, Text>>) {
    for name in RESIZABLE {
        match before.and_then(|before| before.get(name)) {
            Some(amount) => drop(list.get_or_insert_default().insert(name.to_owned(), amount.clone())),
            None => drop(list.as_mut().and_then(|list| list.remove(name))),
        }
    }
}

/// The requests were granted, and the status does not tell it yet.
fn granted_now(pod: &Pod) -> bool {
    condition(pod, IN_PROGRESS).is_some_and(|found| found.observed_generation == pod.metadata.generation)
}

/// Containers whose requests are others than those that they have been granted.
fn changed(pod: &Pod) -> impl Iterator<Item = &Container> {
    resizable(pod).filter(|container| {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        allocation(pod, &container.name).is_some_and(|told| !same(requests, told.allocated_resources.as_ref()))
    })
}

/// Main containers and sidecars. Parity: `IsResizableContainer`.
fn resizable(pod: &Pod) -> impl Iterator<Item = &Container> {
    let sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let spec = pod.spec.iter();
    spec.flat_map(move |spec| spec.containers.iter().chain(spec.init_containers.iter().flatten().filter(sidecar)))
}

/// The status that tells what a container has been granted.
fn allocation<'p>(pod: &'p Pod, name: &str) -> Option<&'p ContainerStatus> {
    let status = pod.status.as_ref()?;
    let mut all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    all.find(|status| status.name == name && status.resources.is_some())
}
