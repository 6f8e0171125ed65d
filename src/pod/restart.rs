//! PURE. Owns whether a container that ended is started again: the pod's policy, the container's own, its rules.
//! Never says when: that is `backoff`.
//!
//! Parity: `ContainerShouldRestart` of `pkg/api/v1/pod`.

use k8s_openapi::api::core::v1::{Container, ContainerRestartRule, PodSpec};

/// What a container of a pod is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container with restartPolicy Always: runs beside the main containers, holds nothing up once started.
    Sidecar,
    /// What the pod is for.
    Main,
}

/// Every container of the pod in the order of starting, with its role.
pub fn containers(spec: &PodSpec) -> impl Iterator<Item = (Role, &Container)> {
    let init = spec.init_containers.iter().flatten().map(|container| {
        let role = if container.restart_policy.as_deref() == Some("Always") { Role::Sidecar } else { Role::Init };
        (role, container)
    });
    init.chain(spec.containers.iter().map(|container| (Role::Main, container)))
}

/// Whether a container that ended with `code` is started again.
pub fn restarts(pod: &PodSpec, role: Role, container: &Container, code: i32) -> bool {
    let rule = container.restart_policy_rules.iter().flatten().find(|rule| matches(rule, code));
    if rule.is_some_and(|rule| matches!(rule.action.as_str(), "Restart" | "RestartAllContainers")) {
        return true;
    }
    match role {
        Role::Sidecar => return true,
        Role::Init if code == 0 => return false,
        Role::Init | Role::Main => {}
    }
    let policy = container.restart_policy.as_deref().or(pod.restart_policy.as_deref()).unwrap_or("Always");
    match policy {
        "Never" => false,
        "OnFailure" => code != 0,
        _always => true,
    }
}

/// Whether a container that was stopped for a failed probe or hook is started again.
/// Parity: `shouldRestartOnFailure`, with the container's own policy where it has one.
pub fn after_halt(pod: &PodSpec, role: Role, container: &Container) -> bool {
    let policy = container.restart_policy.as_deref().or(pod.restart_policy.as_deref());
    role == Role::Sidecar || policy != Some("Never")
}

fn matches(rule: &ContainerRestartRule, code: i32) -> bool {
    let Some(on) = &rule.exit_codes else { return false };
    let listed = on.values.iter().flatten().any(|value| *value == code);
    match on.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        _unknown => false,
    }
}
