//! Owns which fields of pods are dropped because upstream ships their feature switched off.
//! Never drops what a stored object has already, nor what would mean something here: that is honoured, refused or
//! warned of by name.
//!
//! Parity: `pod.DropDisabledTemplateFields` of 1.32, of what says no more than the default. Whatever came after 1.32 or
//! was switched on since (`procMount`, `supplementalGroupsPolicy`, `hostUsers: false`, resources of a whole pod) is kept.
//! A template's `resizePolicy` is dropped as by 1.32, a pod's own is kept: a pod that a template made is resized by the
//! default policy. Differs: what is still switched off upstream (`seLinuxChangePolicy` of 1.32, trust bundles) is kept, too.

use k8s_openapi::api::core::v1::{Container, PodSpec};

/// Drops the fields of `spec` whose feature is off, unless `old` has the field in use.
pub fn drop_disabled(spec: &mut PodSpec, old: Option<&PodSpec>) {
    let used = old.is_some_and(|old| old.host_users.is_some());
    if !used && spec.host_users == Some(true) {
        spec.host_users = None;
    }
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
