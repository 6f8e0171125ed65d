//! Owns the rules of resource names and amounts: requests, limits, claims, overhead.
//! Never adds resources up for scheduling.
//!
//! Parity: core's `ValidateContainerResourceRequirements` at 1.32 and `apis/core/helper`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceClaim, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{amount, names, text};
use crate::model::field::{Errors, FieldError, Path};

/// Amounts by resource name.
pub type Amounts = BTreeMap<String, Quantity>;

/// How the names of huge pages begin; their size follows.
pub const HUGE_PAGES: &str = "hugepages-";
/// Names without a domain that mean something somewhere.
const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];
/// Names without a domain that a container may use.
const OF_CONTAINERS: &[&str] = &["cpu", "memory", "ephemeral-storage"];
/// Names without a domain that are counted.
const COUNTED: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

fn is_huge_pages(name: &str) -> bool {
    name.starts_with(HUGE_PAGES)
}

/// A name without a domain that means something somewhere.
pub fn is_standard(name: &str) -> bool {
    STANDARD.contains(&name) || is_huge_pages(name) || name.starts_with(&format!("requests.{HUGE_PAGES}"))
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether it is a resource that a node's plugins define.
pub(crate) fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Whether more of it may be promised than there is.
pub fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_pages(name)
}

fn resource_name(errors: &mut Errors, name: &str, path: &Path<'_>) {
    let wrong = names::qualified_name(name);
    let well_formed = wrong.is_empty();
    errors.invalid_each(path, &name, wrong);
    if well_formed && !name.contains('/') && !is_standard(name) {
        errors.invalid(path, &name, "must be a standard resource type or fully qualified");
    }
}

fn container_resource_name(errors: &mut Errors, name: &str, path: &Path<'_>) {
    resource_name(errors, name, path);
    if !name.contains('/') {
        if !OF_CONTAINERS.contains(&name) && !is_huge_pages(name) {
            errors.invalid(path, &name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(path, &name, "doesn't follow extended resource name standard");
    }
}

/// The name of a resource that a LimitRange limits.
pub fn limited_name(errors: &mut Errors, name: &str, of_containers: bool, path: &Path<'_>) {
    if of_containers {
        container_resource_name(errors, name, path);
    } else {
        resource_name(errors, name, path);
    }
}

/// An amount of the named resource.
pub fn amount_of(errors: &mut Errors, name: &str, value: &Quantity, path: &Path<'_>) {
    if amount::is_negative(value) {
        errors.invalid(path, &value.0, "must be greater than or equal to 0");
    }
    if (COUNTED.contains(&name) || is_extended(name)) && !amount::is_whole(value) {
        errors.invalid(path, value, "must be an integer");
    }
}

fn huge_pages(errors: &mut Errors, name: &str, value: &Quantity, path: &Path<'_>) {
    let size = Quantity(name[HUGE_PAGES.len()..].to_owned());
    let page = amount::of(&size).units();
    if page <= 0 || !amount::is_whole(&size) || amount::of(value).units() % page != 0 {
        errors.invalid(path, &value.0, &format!("{} is not positive integer multiple of {name}", value.0));
    }
}

/// A container's requirements; `pod_claims` are the names of the pod's resource claims.
pub fn requirements(
    errors: &mut Errors,
    resources: Option<&ResourceRequirements>,
    pod_claims: &BTreeSet<&str>,
    path: &Path<'_>,
) {
    let Some(resources) = resources else { return };
    let empty = Amounts::new();
    let limits = resources.limits.as_ref().unwrap_or(&empty);
    let requests = resources.requests.as_ref().unwrap_or(&empty);
    self::limits(errors, limits, path);
    self::requests(errors, requests, limits, path);
    needs_cpu_or_memory(errors, limits, requests, path);
    claims(errors, resources.claims.as_deref().unwrap_or_default(), pod_claims, &path.child("claims"));
}

/// What a pod costs beside its containers. Parity: upstream checks it as limits, and says so in the path.
pub fn overhead(errors: &mut Errors, overhead: &Amounts, path: &Path<'_>) {
    limits(errors, overhead, path);
    needs_cpu_or_memory(errors, overhead, &Amounts::new(), path);
}

fn limits(errors: &mut Errors, limits: &Amounts, path: &Path<'_>) {
    let path = path.child("limits");
    for (name, value) in limits {
        named(errors, name, value, &path.key(name));
        if is_huge_pages(name) {
            huge_pages(errors, name, value, &path.key(name));
        }
    }
}

fn named(errors: &mut Errors, name: &str, value: &Quantity, path: &Path<'_>) {
    container_resource_name(errors, name, path);
    amount_of(errors, name, value, path);
}

fn requests(errors: &mut Errors, requests: &Amounts, limits: &Amounts, path: &Path<'_>) {
    let limits_path = path.child("limits");
    let path = path.child("requests");
    for (name, value) in requests {
        named(errors, name, value, &path.key(name));
        match limits.get(name) {
            Some(limit) if amount::compare(value, limit).is_ne() && !may_overcommit(name) => {
                errors.invalid(&path, &value.0, &format!("must be equal to {name} limit of {}", limit.0));
            }
            Some(limit) if amount::compare(value, limit).is_gt() => {
                errors.invalid(&path, &value.0, &format!("must be less than or equal to {name} limit of {}", limit.0));
            }
            Some(_) => {}
            None if !may_overcommit(name) => {
                errors.required(&limits_path, "Limit must be set for non overcommitable resources");
            }
            None => {}
        }
        if is_huge_pages(name) {
            huge_pages(errors, name, value, &path.key(name));
        }
    }
}

fn needs_cpu_or_memory(errors: &mut Errors, limits: &Amounts, requests: &Amounts, path: &Path<'_>) {
    let mut all = limits.keys().chain(requests.keys());
    let has_huge = all.clone().any(|name| is_huge_pages(name));
    if has_huge && !all.any(|name| matches!(name.as_str(), "cpu" | "memory")) {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
}

fn claims(errors: &mut Errors, claims: &[ResourceClaim], pod_claims: &BTreeSet<&str>, path: &Path<'_>) {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (index, claim) in claims.iter().enumerate() {
        let path = path.index(index);
        let name = claim.name.as_str();
        if errors.required_if_empty(&path, name) {
            continue;
        }
        claim_once(errors, name, text(&claim.request), &mut seen, &path);
        if !pod_claims.contains(name) {
            let list: Vec<&str> = pod_claims.iter().copied().collect();
            let more = if list.is_empty() { " which is empty".to_owned() } else { format!(": {}", list.join(", ")) };
            let detail = format!("must be one of the names in pod.spec.resourceClaims{more}");
            errors.push(FieldError::not_found(&path, &name, &detail));
        }
    }
}

fn claim_once(errors: &mut Errors, name: &str, request: &str, seen: &mut BTreeSet<String>, path: &Path<'_>) {
    if seen.contains(name) {
        errors.duplicate(path, &name);
        return;
    }
    let mut key = name.to_owned();
    if !request.is_empty() {
        errors.invalid_each(&path.child("request"), &request, names::dns_label(request));
        key = format!("{name}/{request}");
    }
    if seen.contains(&key) {
        errors.duplicate(path, &key);
    } else if request.is_empty() {
        for _ in seen.iter().filter(|key| key.split_once('/').is_some_and(|(claim, _)| claim == name)) {
            errors.duplicate(path, &name);
        }
    }
    seen.insert(key);
}

/// What a whole pod may ask for.
const OF_PODS: &[&str] = &["cpu", "memory"];

/// Pod-level requirements. Parity: newer than 1.32; as the newest upstream has them.
pub fn of_pod(errors: &mut Errors, spec: &PodSpec, path: &Path<'_>) {
    let Some(resources) = &spec.resources else { return };
    if resources.claims.is_some() {
        errors.forbidden(&path.child("claims"), "claims cannot be set for Resources at pod-level");
    }
    let empty = Amounts::new();
    let limits = resources.limits.as_ref().unwrap_or(&empty);
    for (list, amounts) in [("limits", limits), ("requests", resources.requests.as_ref().unwrap_or(&empty))] {
        let path = path.child(list);
        for (name, value) in amounts {
            let path = path.key(name);
            let before = errors.len();
            resource_name(errors, name, &path);
            if errors.len() == before && !is_huge_pages(name) {
                errors.one_of(&path, name, OF_PODS);
            }
            amount_of(errors, name, value, &path);
        }
    }
    fits_pod(errors, spec, resources, path);
}

/// Containers together may not ask for more than the pod, nor one of them have a higher limit.
fn fits_pod(errors: &mut Errors, spec: &PodSpec, pod: &ResourceRequirements, path: &Path<'_>) {
    let requests_path = path.child("requests");
    let asked = |container: &Container, name: &str| {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        requests.and_then(|requests| requests.get(name)).map(amount::of)
    };
    for (name, value) in pod.requests.iter().flatten() {
        let each = spec.containers.iter().filter_map(|container| asked(container, name));
        let total = each.reduce(|sum, more| sum.plus(&more));
        if let Some(total) = total.filter(|total| total.compare(&amount::of(value)).is_gt()) {
            let words = "must be greater than or equal to aggregate container requests of";
            errors.invalid(&requests_path.key(name), &value.0, &format!("{words} {}", total.canonical()));
        }
    }
    let containers_path = path.child("containers");
    for (index, container) in spec.containers.iter().enumerate() {
        let path = containers_path.index(index);
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        for (name, limit) in limits.into_iter().flatten() {
            let Some(most) = pod.limits.as_ref().and_then(|limits| limits.get(name)) else { continue };
            if amount::compare(limit, most).is_gt() {
                let words = format!("must be less than or equal to pod limits of {}", most.0);
                errors.invalid(&path.key(name).child("limits"), &limit.0, &words);
            }
        }
    }
}
