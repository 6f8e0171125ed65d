//! Owns which phases of a pod are its last. Never works a phase out: the node agent does.

use k8s_openapi::api::core::v1::Pod;

/// A phase that no other follows.
pub fn terminal(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether the pod will run no container any more.
pub fn is_over(pod: &Pod) -> bool {
    terminal(pod.status.as_ref().and_then(|status| status.phase.as_deref()))
}
