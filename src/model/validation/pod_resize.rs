//! Owns what a resize of a pod may change: CPU and memory of its containers, neither taken away, and never its quality of
//! service.
//!
//! Parity: core's `ValidatePodResize` of the newest upstream.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};

use super::{metadata, pod, pod_update};
use crate::model::defaults;
use crate::model::field::{Errors, FieldError, Path, same};
use crate::model::resize::restore;

/// Every problem of a resize.
pub fn update(new: &Pod, old: &Pod) -> Vec<FieldError> {
    let mut errors = Errors::new();
    let default = PodSpec::default();
    let (spec, before) = (new.spec.as_ref().unwrap_or(&default), old.spec.as_ref().unwrap_or(&default));
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    pod::metadata_and_spec(&mut errors, new, spec);
    let path = Path::new("spec");
    let class = old.status.as_ref().and_then(|status| status.qos_class.as_deref());
    if class.is_some_and(|class| class != defaults::pod::qos_class(spec)) {
        errors.invalid(&path, &class.unwrap_or_default(), "Pod QOS Class may not change as a result of resizing");
    }
    let (init, old_init) = (list(&spec.init_containers), list(&before.init_containers));
    if !in_order(&mut errors, &spec.containers, &before.containers, &path.child("containers"))
        || !in_order(&mut errors, init, old_init, &path.child("initContainers"))
    {
        return errors.into_vec();
    }
    nothing_removed(&mut errors, init, old_init, &path.child("initContainers"), is_sidecar);
    nothing_removed(&mut errors, &spec.containers, &before.containers, &path.child("containers"), |_| true);
    let rest = without_resizes(spec, before);
    if !same(&rest, before) {
        let words = format!("only cpu and memory resources are mutable\n{}", pod_update::changed(&rest, before));
        errors.forbidden(&path, &words);
    }
    errors.into_vec()
}

fn list(containers: &Option<Vec<Container>>) -> &[Container] {
    containers.as_deref().unwrap_or_default()
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Whether the containers are the same, so that they can be compared one by one.
fn in_order(errors: &mut Errors, new: &[Container], old: &[Container], path: &Path<'_>) -> bool {
    if new.len() != old.len() {
        errors.forbidden(path, "containers may not be added or removed on resize");
        return false;
    }
    let before = errors.len();
    for (index, _) in new.iter().zip(old).enumerate().filter(|(_, (new, old))| new.name != old.name) {
        errors.forbidden(&path.index(index).child("name"), "containers may not be renamed or reordered on resize");
    }
    errors.len() == before
}

fn nothing_removed(
    errors: &mut Errors,
    new: &[Container],
    old: &[Container],
    path: &Path<'_>,
    concerned: impl Fn(&Container) -> bool,
) {
    let empty = ResourceRequirements::default();
    let of = |container: &Container| {
        let all = container.resources.as_ref().unwrap_or(&empty).clone();
        [("requests", all.requests), ("limits", all.limits)]
    };
    for (index, (new, old)) in new.iter().zip(old).enumerate().filter(|(_, (_, old))| concerned(old)) {
        let path = path.index(index);
        let path = path.child("resources");
        for ((name, before), (_, kept)) in of(old).into_iter().zip(of(new)) {
            let kept = kept.unwrap_or_default();
            if before.iter().flatten().any(|(resource, _)| !kept.contains_key(resource)) {
                errors.forbidden(&path.child(name), &format!("resource {name} cannot be removed"));
            }
        }
    }
}

/// The new spec with the old one's CPU and memory wherever those may change.
fn without_resizes(new: &PodSpec, old: &PodSpec) -> PodSpec {
    let mut rest = new.clone();
    for (container, before) in rest.containers.iter_mut().zip(&old.containers) {
        put_back(container, before);
    }
    for (container, before) in rest.init_containers.iter_mut().flatten().zip(list(&old.init_containers)) {
        if is_sidecar(before) {
            put_back(container, before);
        }
    }
    rest
}

fn put_back(container: &mut Container, before: &Container) {
    let empty = ResourceRequirements::default();
    let old = before.resources.as_ref().unwrap_or(&empty);
    let resources = container.resources.get_or_insert_default();
    for (list, old) in [(&mut resources.limits, &old.limits), (&mut resources.requests, &old.requests)] {
        restore(list, old.as_ref());
        // None and an empty list are the same to ask for, and not the same to compare.
        if list.as_ref().is_none_or(BTreeMap::is_empty) {
            *list = old.as_ref().map(|_| BTreeMap::new());
        }
    }
    if *resources == empty && before.resources.is_none() {
        container.resources = None;
    }
}
