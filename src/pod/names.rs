//! PURE. Owns the names and labels by which this store's containers and volumes are found again: computed from the
//! pod's uid, so that an act whose reply was lost finds its own result. Never talks to an engine.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::runtime::{
    ContainerSeen, LABEL_ATTEMPT, LABEL_CONTAINER, LABEL_POD_NAME, LABEL_POD_NAMESPACE, LABEL_POD_UID,
};

/// Name of one attempt of a container.
pub fn container(uid: &str, container: &str, attempt: u32) -> String {
    format!("jobdock-{uid}-{container}-{attempt}")
}

/// Name of the pod's sandbox. No container's name holds an underscore, so none can collide with it.
pub fn sandbox(uid: &str) -> String {
    format!("jobdock-{uid}-_sandbox")
}

/// Name of the container, never started, through which the pod's fresh volumes are opened to everybody.
pub fn opener(uid: &str) -> String {
    format!("jobdock-{uid}-_opener")
}

/// Name of the engine's volume behind an `emptyDir`.
pub fn volume(uid: &str, volume: &str) -> String {
    format!("jobdock-{uid}-{volume}")
}

/// Labels of everything that belongs to a pod.
pub fn pod_labels(meta: &ObjectMeta) -> BTreeMap<String, String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    BTreeMap::from([
        (LABEL_POD_UID.to_owned(), text(&meta.uid)),
        (LABEL_POD_NAMESPACE.to_owned(), text(&meta.namespace)),
        (LABEL_POD_NAME.to_owned(), text(&meta.name)),
    ])
}

/// Labels of one attempt of a container.
pub fn container_labels(meta: &ObjectMeta, container: &str, attempt: u32) -> BTreeMap<String, String> {
    let mut labels = pod_labels(meta);
    labels.insert(LABEL_CONTAINER.to_owned(), container.to_owned());
    labels.insert(LABEL_ATTEMPT.to_owned(), attempt.to_string());
    labels
}

/// The name that a container of a pod was made with, by its labels: somebody may have renamed it since.
pub fn made_as(uid: &str, seen: &ContainerSeen) -> String {
    identity(seen).map_or_else(|| sandbox(uid), |(name, attempt)| container(uid, name, attempt))
}

/// Which container and attempt the labels name; none for a sandbox.
pub fn identity(seen: &ContainerSeen) -> Option<(&str, u32)> {
    let name = seen.labels.get(LABEL_CONTAINER)?;
    let attempt = seen.labels.get(LABEL_ATTEMPT).and_then(|text| text.parse().ok()).unwrap_or(0);
    Some((name, attempt))
}
