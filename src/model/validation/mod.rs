//! Owns the rules that objects must meet: every problem of a new object, of an update, of a status update.
//! Never changes an object and never knows HTTP; `strategies` calls it, `field` words it.
//!
//! Parity: the answers of a Kubernetes 1.32 API server with default feature gates: same fields, reasons, texts and
//! order. Maps are walked in the order of their keys, where upstream's order is random. Fields newer than 1.32 are
//! checked as the newest upstream checks them, lightly.

mod affinity;
mod amount;
pub mod config;
mod container;
pub mod cron_job;
mod dns;
pub mod endpoints;
mod env;
pub mod event;
mod failure_policy;
mod indexes;
pub mod job;
pub mod job_status;
pub mod job_update;
pub mod labels;
pub mod lease;
pub mod limit_range;
pub mod metadata;
mod mounts;
pub mod names;
pub mod namespace;
pub mod node;
mod paths;
pub mod persistent_volume;
pub mod pod;
pub mod pod_resize;
pub mod pod_spec;
mod pod_status;
mod pod_update;
pub mod priority_class;
mod probe;
mod profiles;
pub mod resource_quota;
pub(crate) mod resources;
pub mod runtime_class;
mod scheduling;
mod security;
pub mod service;
pub mod storage_class;
pub mod volume_claim;
mod volume_files;
mod volume_remote;
mod volumes;
mod windows;

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::field::Path;

pub use amount::is_whole;
pub use profiles::{APP_ARMOR, SECCOMP_CONTAINER, SECCOMP_POD};

/// What a pod spec belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A pod.
    Pod,
    /// A template that pods are made from.
    Template,
}

/// A field that is absent is Go's empty string.
fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

/// Visits every container of a pod with its path: init, regular, ephemeral ones, as upstream does.
pub fn each_container(spec: &PodSpec, path: &Path<'_>, mut visit: impl FnMut(&Container, &Path<'_>)) {
    let init_path = path.child("initContainers");
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        visit(container, &init_path.index(index));
    }
    let containers_path = path.child("containers");
    for (index, container) in spec.containers.iter().enumerate() {
        visit(container, &containers_path.index(index));
    }
    let ephemeral_path = path.child("ephemeralContainers");
    for (index, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        visit(&container::as_container(container), &ephemeral_path.index(index));
    }
}
