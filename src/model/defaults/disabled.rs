//! Owns which fields of pods are dropped because upstream ships their feature switched off.
//! Never drops what a stored object has already.
//!
//! Parity: `pod.DropDisabledTemplateFields` of 1.32. Fields that came after 1.32, or were switched on since (image
//! volumes, resources of a whole pod), are kept: the pod room honours or refuses them by name. A template's `resizePolicy`
//! is dropped as by 1.32, a pod's own is kept: a pod that a template made is resized by the default policy.

use k8s_openapi::api::core::v1::{Container, PodSpec};

/// Drops the fields of `spec` whose feature is off, unless `old` has the field in use.
pub fn drop_disabled(spec: &mut PodSpec, old: Option<&PodSpec>) {
    let unused = |used: fn(&PodSpec) -> bool| !old.is_some_and(used);
    if unused(|old| old.host_users.is_some()) {
        spec.host_users = None;
    }
    if let Some(security) = &mut spec.security_context {
        if unused(|old| old.security_context.as_ref().is_some_and(|old| old.supplemental_groups_policy.is_some())) {
            security.supplemental_groups_policy = None;
        }
        if unused(|old| old.security_context.as_ref().is_some_and(|old| old.se_linux_change_policy.is_some())) {
            security.se_linux_change_policy = None;
        }
    }
    proc_mounts(spec, old);
    resource_claims(spec, old);
    trust_bundles(spec, old);
}

/// Drops as [`drop_disabled`] does, from what pods are made of.
pub fn drop_from_template(spec: &mut PodSpec, old: Option<&PodSpec>) {
    drop_disabled(spec, old);
    let resizes = |container: &Container| container.resize_policy.as_ref().is_some_and(|policy| !policy.is_empty());
    if !old.is_some_and(|old| each(old).any(resizes)) {
        each_mut(spec).for_each(|container| container.resize_policy = None);
    }
}

fn each(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

fn each_mut(spec: &mut PodSpec) -> impl Iterator<Item = &mut Container> {
    spec.init_containers.iter_mut().flatten().chain(&mut spec.containers)
}

/// A proc mount of any sort becomes the default one.
fn proc_mounts(spec: &mut PodSpec, old: Option<&PodSpec>) {
    let mount = |container: &Container| container.security_context.as_ref().and_then(|own| own.proc_mount.clone());
    if old.is_some_and(|old| each(old).any(|container| mount(container).is_some_and(|mount| mount != "Default"))) {
        return;
    }
    for security in each_mut(spec).filter_map(|container| container.security_context.as_mut()) {
        if security.proc_mount.is_some() {
            security.proc_mount = Some("Default".to_owned());
        }
    }
}

fn resource_claims(spec: &mut PodSpec, old: Option<&PodSpec>) {
    if old.is_some_and(|old| old.resource_claims.as_ref().is_some_and(|claims| !claims.is_empty())) {
        return;
    }
    spec.resource_claims = None;
    for resources in each_mut(spec).filter_map(|container| container.resources.as_mut()) {
        resources.claims = None;
    }
}

fn trust_bundles(spec: &mut PodSpec, old: Option<&PodSpec>) {
    let projections = |spec: &PodSpec| {
        spec.volumes
            .iter()
            .flatten()
            .filter_map(|volume| volume.projected.as_ref())
            .flat_map(|projected| projected.sources.iter().flatten())
            .any(|source| source.cluster_trust_bundle.is_some())
    };
    if old.is_some_and(projections) {
        return;
    }
    for projected in spec.volumes.iter_mut().flatten().filter_map(|volume| volume.projected.as_mut()) {
        for source in projected.sources.iter_mut().flatten() {
            source.cluster_trust_bundle = None;
        }
    }
}
