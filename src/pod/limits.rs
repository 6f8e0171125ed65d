//! PURE. Owns which local storage a pod may use, and whether it uses more. Never measures: `measure` does.
//!
//! Parity: `localStorageEviction` of `pkg/kubelet/eviction`: volumes, then the pod, then its containers; the first that is
//! too large speaks.
//! Differs: logs are not counted, since they are cut to a size anyway; nor are the files of ConfigMaps and the like.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::restart::{self, Role};
use super::{quantity, volumes_plan};

/// The resource that bounds what containers write.
pub const EPHEMERAL_STORAGE: &str = "ephemeral-storage";

/// What a pod was found to use, in bytes.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// By the volume's name in the pod.
    pub volumes: BTreeMap<String, u64>,
    /// By the container's name.
    pub containers: BTreeMap<String, u64>,
}

/// Whether any of the pod's containers may only write so much.
pub fn limits_containers(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| restart::containers(spec).any(|(_, one)| limit(one).is_some()))
}

/// Whether anything of the pod's is to be measured.
pub fn is_limited(pod: &Pod) -> bool {
    limits_containers(pod) || sized(pod).next().is_some()
}

/// What the pod uses too much of, in the kubelet's words.
pub fn exceeded(pod: &Pod, usage: &Usage) -> Option<String> {
    let volume = sized(pod).find(|(name, limit)| above(usage.volumes.get(*name), limit));
    if let Some((name, limit)) = volume {
        return Some(format!("Usage of EmptyDir volume \"{name}\" exceeds the limit \"{}\". ", limit.0));
    }
    let used: u64 = usage.volumes.values().chain(usage.containers.values()).sum();
    if let Some(total) = total(pod).filter(|total| i128::from(used) > *total) {
        let total = crate::model::quantity::Quantity::from_bytes(i64::try_from(total).unwrap_or(i64::MAX)).canonical();
        return Some(format!("Pod ephemeral local storage usage exceeds the total limit of containers {total}. "));
    }
    let mut containers = pod.spec.iter().flat_map(restart::containers);
    containers.find_map(|(_, one)| {
        let limit = limit(one).filter(|limit| above(usage.containers.get(&one.name), limit))?;
        Some(format!("Container {} exceeded its local ephemeral storage limit \"{}\". ", one.name, limit.0))
    })
}

/// Volumes on disk that have a limit.
fn sized(pod: &Pod) -> impl Iterator<Item = (&str, &Quantity)> {
    let disk = volumes_plan::on_disk(pod);
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(move |volume| {
        let limit = volume.empty_dir.as_ref()?.size_limit.as_ref()?;
        // No limit, as upstream reads a zero.
        (disk.contains_key(volume.name.as_str()) && quantity::nanos(&limit.0) != Some(0))
            .then_some((volume.name.as_str(), limit))
    })
}

fn limit(container: &Container) -> Option<&Quantity> {
    container.resources.as_ref()?.limits.as_ref()?.get(EPHEMERAL_STORAGE)
}

/// The limits of containers that run side by side, or the largest of an init container. Parity: `PodLimits`.
fn total(pod: &Pod) -> Option<i128> {
    let (mut beside, mut largest, mut any) = (0, 0, false);
    for (role, container) in pod.spec.iter().flat_map(restart::containers) {
        let Some(bytes) = limit(container).and_then(bytes) else { continue };
        any = true;
        match role {
            Role::Init => largest = bytes.max(largest),
            Role::Sidecar | Role::Main => beside += bytes,
        }
    }
    any.then_some(beside.max(largest))
}

fn above(used: Option<&u64>, limit: &Quantity) -> bool {
    used.zip(bytes(limit)).is_some_and(|(used, limit)| i128::from(*used) > limit)
}

fn bytes(limit: &Quantity) -> Option<i128> {
    quantity::nanos(&limit.0).map(quantity::units)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_too_large_is_told_in_the_kubelets_order_and_words() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "volumes": [{"name": "e", "emptyDir": {"sizeLimit": "1Mi"}}, {"name": "free", "emptyDir": {}}],
            "initContainers": [{"name": "i", "resources": {"limits": {"ephemeral-storage": "1Ki"}}}],
            "containers": [
                {"name": "a", "resources": {"limits": {"ephemeral-storage": "1Mi"}}},
                {"name": "b", "resources": {"limits": {"ephemeral-storage": "3Mi"}}},
            ],
        }}))
        .expect("a pod");
        assert!(is_limited(&pod) && limits_containers(&pod));
        const MI: u64 = 1 << 20;
        for (volumes, containers, told) in [
            (&[("e", MI), ("free", MI)][..], &[("a", MI), ("b", MI)][..], None),
            (&[("e", MI + 1)], &[("a", 9 * MI)], Some("Usage of EmptyDir volume \"e\" exceeds the limit \"1Mi\". ")),
            (
                &[("free", 4 * MI)],
                &[("b", 1)],
                Some("Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. "),
            ),
            (&[], &[("a", MI + 1)], Some("Container a exceeded its local ephemeral storage limit \"1Mi\". ")),
            (&[], &[("i", 2048)], Some("Container i exceeded its local ephemeral storage limit \"1Ki\". ")),
        ] {
            let map = |of: &[(&str, u64)]| of.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect();
            let usage = Usage { volumes: map(volumes), containers: map(containers) };
            assert_eq!(exceeded(&pod, &usage).as_deref(), told);
        }
    }
}
