//! PURE. Owns whether an engine can hold a pod to the AppArmor profiles that it asks for. Never sets a profile: `spec`
//! does.
//!
//! Parity: `Validate` of `pkg/security/apparmor`, `appArmorAdmitHandler` of `pkg/kubelet`.

use k8s_openapi::api::core::v1::{AppArmorProfile, PodSpec};

use super::facts::NodeFacts;
use super::restart;

/// `status.reason` of a pod that is refused.
pub const REASON: &str = "AppArmor";

/// Why the pod may not run; none where it may. A profile that is asked for is never dropped in silence.
pub fn refused(spec: &PodSpec, node: &NodeFacts) -> Option<&'static str> {
    let of_pod = spec.security_context.as_ref().and_then(|context| context.app_armor_profile.as_ref());
    let of_containers = restart::containers(spec)
        .filter_map(|(_, container)| container.security_context.as_ref()?.app_armor_profile.as_ref());
    let confined = |profile: &AppArmorProfile| profile.type_ != "Unconfined";
    let needed = of_pod.into_iter().chain(of_containers).any(confined);
    (needed && !node.app_armor).then_some("Cannot enforce AppArmor: AppArmor is not enabled on the host")
}
