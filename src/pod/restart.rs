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

/// The most that containers which run at the same time come to. Parity: `AggregateContainerRequests`.
pub fn at_once(spec: &PodSpec, amount: impl Fn(&Container) -> i128) -> i128 {
    let (mut beside, mut init, mut sidecars) = (0, 0, 0);
    for (role, container) in containers(spec) {
        let amount = amount(container);
        match role {
            Role::Init => init = (sidecars + amount).max(init),
            Role::Sidecar => {
                sidecars += amount;
                beside += amount;
            }
            Role::Main => beside += amount,
        }
    }
    beside.max(init)
}

/// Action of a rule: the container is started again.
const RESTART: &str = "Restart";
/// Action of a rule: the pod begins anew, from its first init container.
const RESTART_ALL: &str = "RestartAllContainers";

/// The action of the first rule that speaks of `code`.
fn action(container: &Container, code: i32) -> Option<&str> {
    let rule = container.restart_policy_rules.iter().flatten().find(|rule| matches(rule, code));
    rule.map(|rule| rule.action.as_str())
}

/// Whether a container's end with `code` makes the whole pod begin anew.
pub fn restarts_all(container: &Container, code: i32) -> bool {
    action(container, code) == Some(RESTART_ALL)
}

/// Whether any end of any container could make the whole pod begin anew. Parity: `AllContainersCouldRestart`.
pub fn could_restart_all(spec: &PodSpec) -> bool {
    containers(spec)
        .any(|(_, container)| container.restart_policy_rules.iter().flatten().any(|rule| rule.action == RESTART_ALL))
}

/// Whether a container that ended with `code` is started again.
pub fn restarts(pod: &PodSpec, role: Role, container: &Container, code: i32) -> bool {
    if action(container, code).is_some_and(|action| matches!(action, RESTART | RESTART_ALL)) {
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
