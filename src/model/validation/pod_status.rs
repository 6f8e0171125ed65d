//! Owns the rules of a pod's status and of how it may change: what has ended for good stays ended.
//!
//! Parity: core's `ValidatePodStatusUpdate` at 1.32, the odd path of the conditions included.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, PodStatus};

use super::{metadata, names, text};
use crate::model::field::{Errors, Json, Path};

/// The new status against the old one.
pub fn update(errors: &mut Errors, new: &Pod, old: &Pod) {
    let (no_spec, no_status) = (PodSpec::default(), PodStatus::default());
    let (spec, old_spec) = (new.spec.as_ref().unwrap_or(&no_spec), old.spec.as_ref().unwrap_or(&no_spec));
    let (status, old_status) = (new.status.as_ref().unwrap_or(&no_status), old.status.as_ref().unwrap_or(&no_status));
    conditions(errors, status);
    let path = Path::new("status");
    if spec.node_name != old_spec.node_name {
        errors.forbidden(&path.child("nodeName"), "may not be changed directly");
    }
    let nominated = text(&status.nominated_node_name);
    if nominated != text(&old_status.nominated_node_name) && !nominated.is_empty() {
        let wrong = metadata::subdomain_name(nominated, false);
        errors.invalid_each(&path.child("nominatedNodeName"), &nominated, wrong);
    }
    let class = text(&status.qos_class);
    errors.immutable(&path.child("qosClass"), &class, &text(&old_status.qos_class), &class);
    transitions(errors, status, old_status, old_spec, &path);
    claims(errors, status, spec, &path.child("resourceClaimStatuses"));
    addresses(errors, status, &path);
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let lists = [
        ("containerStatuses", &status.container_statuses, spec.containers.as_slice()),
        ("initContainerStatuses", &status.init_container_statuses, init),
        ("ephemeralContainerStatuses", &status.ephemeral_container_statuses, &[]),
    ];
    let windows = spec.os.as_ref().is_some_and(|os| os.name == "windows");
    for (name, statuses, _) in &lists {
        users(errors, statuses.as_deref().unwrap_or_default(), windows, &path.child(name));
    }
    for (name, statuses, containers) in &lists[..2] {
        allocated(errors, statuses.as_deref().unwrap_or_default(), containers, &path.child(name));
    }
    let ephemeral_path = path.child("ephemeralContainerStatuses");
    for (index, status) in status.ephemeral_container_statuses.iter().flatten().enumerate() {
        if status.allocated_resources_status.as_ref().is_some_and(|list| !list.is_empty()) {
            let path = ephemeral_path.index(index);
            errors.forbidden(&path.child("allocatedResourcesStatus"), "must not be specified in container status");
        }
    }
}

fn conditions(errors: &mut Errors, status: &PodStatus) {
    let path = Path::new("metadata.conditions");
    for (index, condition) in status.conditions.iter().flatten().enumerate() {
        if !matches!(condition.type_.as_str(), "PodScheduled" | "Ready" | "Initialized") {
            let path = path.index(index);
            errors.invalid_each(&path.child("Type"), &condition.type_, names::qualified_name(&condition.type_));
        }
    }
}

fn transitions(errors: &mut Errors, new: &PodStatus, old: &PodStatus, spec: &PodSpec, path: &Path<'_>) {
    let policy = text(&spec.restart_policy);
    let plain = |status: &ContainerStatus| ends_for_good(status, policy);
    let sidecars: BTreeSet<&str> = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"))
        .map(|container| container.name.as_str())
        .collect();
    let init = |status: &ContainerStatus| plain(status) && !sidecars.contains(status.name.as_str());
    let path_of = |name| path.child(name);
    transition(errors, &new.container_statuses, &old.container_statuses, plain, &path_of("containerStatuses"));
    let (list, before) = (&new.init_container_statuses, &old.init_container_statuses);
    transition(errors, list, before, init, &path_of("initContainerStatuses"));
    let (list, before) = (&new.ephemeral_container_statuses, &old.ephemeral_container_statuses);
    let never = |status: &ContainerStatus| ends_for_good(status, "Never");
    transition(errors, list, before, never, &path_of("ephemeralContainerStatuses"));
}

fn exit_code(status: &ContainerStatus) -> Option<i32> {
    status.state.as_ref()?.terminated.as_ref().map(|end| end.exit_code)
}

fn ends_for_good(status: &ContainerStatus, policy: &str) -> bool {
    match (exit_code(status), policy) {
        (None, _) | (_, "Always") => false,
        (Some(code), "OnFailure") => code == 0,
        (Some(_), _) => true,
    }
}

fn transition(
    errors: &mut Errors,
    new: &Option<Vec<ContainerStatus>>,
    old: &Option<Vec<ContainerStatus>>,
    ended: impl Fn(&ContainerStatus) -> bool,
    path: &Path<'_>,
) {
    let alive = new.iter().flatten().filter(|status| exit_code(status).is_none());
    let alive: BTreeSet<&str> = alive.map(|status| status.name.as_str()).collect();
    for (index, before) in old.iter().flatten().enumerate().filter(|(_, before)| ended(before)) {
        if alive.contains(before.name.as_str()) {
            errors.forbidden(&path.index(index).child("state"), "may not be transitioned to non-terminated state");
        }
    }
}

fn claims(errors: &mut Errors, status: &PodStatus, spec: &PodSpec, path: &Path<'_>) {
    let claims: BTreeSet<&str> = spec.resource_claims.iter().flatten().map(|claim| claim.name.as_str()).collect();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, status) in status.resource_claim_statuses.iter().flatten().enumerate() {
        let path = path.index(index);
        let path = path.child("name");
        if !claims.contains(status.name.as_str()) {
            errors.invalid(&path, &status.name, "must match the name of an entry in `spec.resourceClaims`");
        }
        if !seen.insert(&status.name) {
            errors.duplicate(&path, &status.name);
        }
        if let Some(name) = &status.resource_claim_name {
            errors.invalid_each(&path, name, metadata::subdomain_name(name, false));
        }
    }
}

fn addresses(errors: &mut Errors, status: &PodStatus, path: &Path<'_>) {
    let pods: Vec<&str> = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str()).collect();
    families(errors, &pods, &path.child("podIPs"));
    let hosts: Vec<&str> = status.host_ips.iter().flatten().map(|ip| ip.ip.as_str()).collect();
    let path = path.child("hostIPs");
    if let Some(first) = hosts.first().filter(|first| **first != text(&status.host_ip)) {
        errors.invalid(&path.index(0).child("ip"), first, "must be equal to `hostIP`");
    }
    families(errors, &hosts, &path);
}

/// Valid, at most one of each family, none twice.
fn families(errors: &mut Errors, addresses: &[&str], path: &Path<'_>) {
    for (index, address) in addresses.iter().enumerate() {
        errors.invalid_each(&path.index(index), address, names::ip(address));
    }
    if addresses.len() < 2 {
        return;
    }
    let six = |wanted: bool| addresses.iter().any(|address| names::parse_ip(address) == Some(wanted));
    if addresses.len() > 2 || !six(true) || !six(false) {
        errors.invalid(path, &Json(&addresses), "may specify no more than one IP for each IP family");
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, address) in addresses.iter().enumerate().filter(|(_, address)| !seen.insert(address)) {
        errors.duplicate(&path.index(index), address);
    }
}

fn users(errors: &mut Errors, statuses: &[ContainerStatus], windows: bool, path: &Path<'_>) {
    for (index, status) in statuses.iter().enumerate() {
        let Some(user) = status.user.as_ref().and_then(|user| user.linux.as_ref()) else { continue };
        let path = path.index(index);
        let path = path.child("linux");
        if windows {
            errors.forbidden(&path, "cannot be set for a windows pod");
            continue;
        }
        errors.invalid_each(&path.child("uid"), &user.uid, names::id(user.uid));
        errors.invalid_each(&path.child("gid"), &user.gid, names::id(user.gid));
        let path = path.child("supplementalGroups");
        for (index, id) in user.supplemental_groups.iter().flatten().enumerate() {
            errors.invalid_each(&path.index(index), id, names::id(*id));
        }
    }
}

/// The health of what a container was given.
fn allocated(errors: &mut Errors, statuses: &[ContainerStatus], containers: &[Container], path: &Path<'_>) {
    for (index, status) in statuses.iter().enumerate() {
        let path = path.index(index);
        let path = path.child("allocatedResourcesStatus");
        let container = containers.iter().find(|container| container.name == status.name);
        for (index, resource) in status.allocated_resources_status.iter().flatten().enumerate() {
            let path = path.index(index);
            if let Some(problem) = container.and_then(|container| not_asked_for(container, &resource.name)) {
                errors.invalid(&path.child("name"), &resource.name, problem);
            }
            let path = path.child("resources");
            let mut seen: BTreeSet<&str> = BTreeSet::new();
            for (index, unit) in resource.resources.iter().flatten().enumerate() {
                let path = path.index(index);
                errors.one_of(&path.child("health"), text(&unit.health), &["Healthy", "Unhealthy", "Unknown"]);
                if !seen.insert(&unit.resource_id) {
                    errors.duplicate(&path.child("resourceID"), &unit.resource_id);
                }
            }
        }
    }
}

fn not_asked_for(container: &Container, name: &str) -> Option<&'static str> {
    let resources = container.resources.as_ref();
    if let Some(claim) = name.strip_prefix("claim:") {
        let mut claims = resources.into_iter().flat_map(|resources| resources.claims.iter().flatten());
        let named = claims.any(|asked| match text(&asked.request) {
            "" => asked.name == claim,
            request => format!("{}/{request}", asked.name) == claim,
        });
        let words = "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' \
                     or 'claim:<claimName>' if request is empty";
        return (!named).then_some(words);
    }
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    let named = requests.is_some_and(|requests| requests.contains_key(name));
    (!named).then_some("must match one of the container's resource requests")
}
