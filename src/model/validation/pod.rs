//! Owns the rules of pods: new ones, updates, status updates.
//!
//! Parity: core's `ValidatePodCreate`, `ValidatePodUpdate` and `ValidatePodStatusUpdate` at 1.32.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::{Subject, container, metadata, pod_spec, pod_status, pod_update, profiles, text};
use crate::model::field::{Errors, FieldError, Path};

/// Every problem of a new pod.
pub fn create(pod: &Pod) -> Vec<FieldError> {
    let mut errors = Errors::new();
    let default = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default);
    let path = Path::new("spec");
    metadata_and_spec(&mut errors, pod, spec);
    if spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        errors.forbidden(&path.child("ephemeralContainers"), "cannot be set on create");
    }
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    if gated && !text(&spec.node_name).is_empty() {
        errors.forbidden(&path.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
    let none = BTreeMap::new();
    let annotations = pod.metadata.annotations.as_ref().unwrap_or(&none);
    profiles::annotations_match(&mut errors, annotations, spec, &path);
    errors.into_vec()
}

/// Every problem of an update.
pub fn update(new: &Pod, old: &Pod) -> Vec<FieldError> {
    let mut errors = Errors::new();
    let default = PodSpec::default();
    let spec = new.spec.as_ref().unwrap_or(&default);
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    metadata_and_spec(&mut errors, new, spec);
    annotations_update(&mut errors, new, old, spec);
    pod_update::spec(&mut errors, spec, old.spec.as_ref().unwrap_or(&default));
    errors.into_vec()
}

/// Every problem of a status update.
pub fn update_status(new: &Pod, old: &Pod) -> Vec<FieldError> {
    let mut errors = Errors::new();
    let default = PodSpec::default();
    let spec = new.spec.as_ref().unwrap_or(&default);
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    annotations_update(&mut errors, new, old, spec);
    pod_status::update(&mut errors, new, old);
    errors.into_vec()
}

/// The rules that hold for every state of a pod.
pub fn metadata_and_spec(errors: &mut Errors, pod: &Pod, spec: &PodSpec) {
    let path = Path::new("spec");
    metadata::create(errors, &pod.metadata, true, metadata::subdomain_name);
    pod_spec::annotations(errors, &pod.metadata, spec, &Path::new("metadata.annotations"));
    pod_spec::spec(errors, spec, Some(&pod.metadata), Subject::Pod, &path);
    if text(&spec.service_account_name).is_empty() {
        tokens_without_account(errors, spec, &path.child("volumes"));
    }
    let containers_path = path.child("containers");
    for (index, container) in spec.containers.iter().enumerate() {
        container::image_spaces(errors, container, &containers_path.index(index));
    }
    let init_path = path.child("initContainers");
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        container::image_spaces(errors, container, &init_path.index(index));
    }
}

fn tokens_without_account(errors: &mut Errors, spec: &PodSpec, path: &Path<'_>) {
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let path = path.index(index);
        let path = path.child("projected.sources");
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        for (index, _) in sources.enumerate().filter(|(_, source)| source.service_account_token.is_some()) {
            let words = "must not be specified when serviceAccountName is not set";
            errors.forbidden(&path.index(index).child("serviceAccountToken"), words);
        }
    }
}

/// Annotations that tell where a pod came from and how it is confined stay as they were.
fn annotations_update(errors: &mut Errors, new: &Pod, old: &Pod, spec: &PodSpec) {
    let none = BTreeMap::new();
    let path = Path::new("metadata.annotations");
    let annotations = new.metadata.annotations.as_ref().unwrap_or(&none);
    let before = old.metadata.annotations.as_ref().unwrap_or(&none);
    for (key, value) in before {
        if annotations.get(key) == Some(value) {
            continue;
        }
        if key.starts_with(profiles::APP_ARMOR) {
            errors.forbidden(&path.key(key), "may not remove or update AppArmor annotations");
        }
        if key == pod_spec::MIRROR_POD {
            errors.forbidden(&path.key(key), "may not remove or update mirror pod annotation");
        }
    }
    for key in annotations.keys().filter(|key| !before.contains_key(*key)) {
        if key.starts_with(profiles::APP_ARMOR) {
            errors.forbidden(&path.key(key), "may not add AppArmor annotations");
        }
        if key == pod_spec::MIRROR_POD {
            errors.forbidden(&path.key(key), "may not add mirror pod annotation");
        }
    }
    pod_spec::annotations(errors, &new.metadata, spec, &path);
}
