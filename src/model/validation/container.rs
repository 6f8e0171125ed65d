//! Owns the rules of containers: what all have in common, and what regular, init and ephemeral ones may have.
//! Never decides how one runs.
//!
//! Parity: core's `validateContainers`, `validateInitContainers`, `validateEphemeralContainers` at 1.32.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, ContainerPort, ContainerRestartRule, EphemeralContainer, PodSpec};

use super::mounts::{self, Volumes};
use super::{env, names, probe, resources, security, text};
use crate::model::field::{Errors, Path};

/// What the rules of a container need to know of its pod.
pub struct Surroundings<'a> {
    /// The pod's valid volumes.
    pub volumes: Volumes<'a>,
    /// The names of the pod's resource claims.
    pub claims: BTreeSet<&'a str>,
    /// The pod's grace period.
    pub grace: Option<i64>,
    /// The pod's restart policy.
    pub restart_policy: &'a str,
    /// Whether the pod's users are the host's.
    pub host_users: bool,
}

/// The pod's regular containers: at least one.
pub fn regular(errors: &mut Errors, spec: &PodSpec, around: &Surroundings<'_>, path: &Path<'_>) {
    if spec.containers.is_empty() {
        errors.required(path, "");
        return;
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, container) in spec.containers.iter().enumerate() {
        let item = path.index(index);
        common(errors, container, around, &item);
        if !seen.insert(&container.name) {
            errors.duplicate(&item.child("name"), &container.name);
        }
        probe::of_container(errors, container, around.grace, &item);
        restart_rules(errors, container, &item);
        own_restart_policy(errors, container, &item);
    }
    host_port_conflicts(errors, &spec.containers, path);
}

/// The pod's init containers, sidecars among them.
pub fn init(errors: &mut Errors, spec: &PodSpec, around: &Surroundings<'_>, path: &Path<'_>) {
    let mut seen: BTreeSet<&str> = spec.containers.iter().map(|other| other.name.as_str()).collect();
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        let item = path.index(index);
        common(errors, container, around, &item);
        init_restart_policy(errors, container, &item);
        if !container.name.is_empty() && !seen.insert(&container.name) {
            errors.duplicate(&item.child("name"), &container.name);
        }
        // Parity: each is looked at alone, so the path always says the first of them.
        host_port_conflicts(errors, std::slice::from_ref(container), path);
        if container.restart_policy.as_deref() == Some("Always") {
            probe::of_container(errors, container, around.grace, &item);
        } else {
            without_sidecar_fields(errors, container, &item);
        }
    }
}

fn without_sidecar_fields(errors: &mut Errors, container: &Container, path: &Path<'_>) {
    let fields = [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ];
    for (name, _) in fields.iter().filter(|(_, set)| *set) {
        errors.forbidden(&path.child(name), "may not be set for init containers without restartPolicy=Always");
    }
}

/// Newer than 1.32, which takes none: a restart policy of the container's own.
/// Differs: Always without rules is refused as 1.32 does; in a Job's pod it would never end.
fn own_restart_policy(errors: &mut Errors, container: &Container, path: &Path<'_>) {
    let Some(policy) = &container.restart_policy else { return };
    let path = path.child("restartPolicy");
    if container.restart_policy_rules.is_some() {
        errors.one_of(&path, policy, &["Always", "Never", "OnFailure"]);
    } else if !matches!(policy.as_str(), "Never" | "OnFailure") {
        errors.forbidden(&path, "may not be set for non-init containers");
    }
}

/// Parity: 1.32 takes Always alone; with rules, which are newer, the others too.
fn init_restart_policy(errors: &mut Errors, container: &Container, path: &Path<'_>) {
    let Some(policy) = &container.restart_policy else { return };
    let allowed: &[&str] =
        if container.restart_policy_rules.is_some() { &["Always", "Never", "OnFailure"] } else { &["Always"] };
    errors.one_of(&path.child("restartPolicy"), policy, allowed);
}

/// Newer than 1.32: exit codes on which a container restarts. As the newest upstream has them, lightly.
fn restart_rules(errors: &mut Errors, container: &Container, path: &Path<'_>) {
    let rules = container.restart_policy_rules.as_deref().unwrap_or_default();
    if rules.is_empty() {
        return;
    }
    if container.restart_policy.is_none() {
        errors.required(&path.child("restartPolicy"), "must specify restartPolicy when restart rules are used");
    }
    let path = path.child("restartPolicyRules");
    if rules.len() > RESTART_RULES_MAX {
        errors.too_many(&path, rules.len(), RESTART_RULES_MAX);
    }
    for (index, rule) in rules.iter().enumerate() {
        restart_rule(errors, rule, &path.index(index));
    }
}

/// Most restart rules of a container.
const RESTART_RULES_MAX: usize = 20;
/// Most exit codes of a restart rule.
const EXIT_CODES_MAX: usize = 255;

fn restart_rule(errors: &mut Errors, rule: &ContainerRestartRule, path: &Path<'_>) {
    errors.required_one_of(&path.child("action"), &rule.action, &["Restart", "RestartAllContainers"]);
    let path = path.child("exitCodes");
    let Some(codes) = &rule.exit_codes else { return errors.required(&path, "must be specified") };
    errors.required_one_of(&path.child("operator"), &codes.operator, &["In", "NotIn"]);
    let count = codes.values.as_ref().map_or(0, Vec::len);
    if count > EXIT_CODES_MAX {
        errors.too_many(&path.child("values"), count, EXIT_CODES_MAX);
    }
}

/// Ephemeral containers. A template may have none, but those that it has are checked like a pod's.
pub fn ephemeral(errors: &mut Errors, spec: &PodSpec, around: &Surroundings<'_>, path: &Path<'_>) {
    let others: BTreeSet<&str> =
        spec.containers.iter().chain(spec.init_containers.iter().flatten()).map(|other| other.name.as_str()).collect();
    let mut seen = others.clone();
    for (index, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        let item = path.index(index);
        let as_container = as_container(container);
        common(errors, &as_container, around, &item);
        image_spaces(errors, &as_container, &item);
        if !seen.insert(&container.name) {
            errors.duplicate(&item.child("name"), &container.name);
        }
        let target = text(&container.target_container_name);
        if !target.is_empty() && !others.contains(target) {
            errors.not_found(&item.child("targetContainerName"), &target);
        }
        only_debug_fields(errors, container, &item);
    }
}

/// An ephemeral container as a container like any other.
pub fn as_container(container: &EphemeralContainer) -> Container {
    let container = container.clone();
    Container {
        args: container.args,
        command: container.command,
        env: container.env,
        env_from: container.env_from,
        image: container.image,
        image_pull_policy: container.image_pull_policy,
        lifecycle: container.lifecycle,
        liveness_probe: container.liveness_probe,
        name: container.name,
        ports: container.ports,
        readiness_probe: container.readiness_probe,
        resize_policy: container.resize_policy,
        resources: container.resources,
        restart_policy: container.restart_policy,
        restart_policy_rules: container.restart_policy_rules,
        security_context: container.security_context,
        startup_probe: container.startup_probe,
        stdin: container.stdin,
        stdin_once: container.stdin_once,
        termination_message_path: container.termination_message_path,
        termination_message_policy: container.termination_message_policy,
        tty: container.tty,
        volume_devices: container.volume_devices,
        volume_mounts: container.volume_mounts,
        working_dir: container.working_dir,
    }
}

fn only_debug_fields(errors: &mut Errors, container: &EphemeralContainer, path: &Path<'_>) {
    let words = "cannot be set for an Ephemeral Container";
    let has_resources = container.resources.as_ref().is_some_and(|resources| *resources != Default::default());
    let fields = [
        ("ports", container.ports.as_ref().is_some_and(|ports| !ports.is_empty())),
        ("resources", has_resources),
        ("resizePolicy", container.resize_policy.is_some()),
        ("restartPolicy", container.restart_policy.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
        ("lifecycle", container.lifecycle.is_some()),
    ];
    for (name, _) in fields.iter().filter(|(_, set)| *set) {
        errors.forbidden(&path.child(name), words);
    }
    let mounts_path = path.child("volumeMounts");
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = mounts_path.index(index);
        for (name, value) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
            if !text(value).is_empty() {
                errors.forbidden(&path.child(name), words);
            }
        }
    }
}

/// A pod's image has no spaces around it; a template's may, for those who fill it in later.
pub fn image_spaces(errors: &mut Errors, container: &Container, path: &Path<'_>) {
    let image = text(&container.image);
    if image.trim().len() != image.len() {
        errors.invalid(&path.child("image"), &image, "must not have leading or trailing whitespace");
    }
}

fn common(errors: &mut Errors, container: &Container, around: &Surroundings<'_>, path: &Path<'_>) {
    let name_path = path.child("name");
    if !errors.required_if_empty(&name_path, &container.name) {
        errors.invalid_each(&name_path, &container.name, names::dns_label(&container.name));
    }
    errors.required_if_empty(&path.child("image"), text(&container.image));
    let policies = ["File", "FallbackToLogsOnError"];
    let policy = text(&container.termination_message_policy);
    errors.required_one_of(&path.child("terminationMessagePolicy"), policy, &policies);
    ports(errors, container.ports.as_deref().unwrap_or_default(), &path.child("ports"));
    env::env(errors, container.env.as_ref(), &path.child("env"));
    env::env_from(errors, container.env_from.as_ref(), &path.child("envFrom"));
    mounts::mounts(errors, container, &around.volumes, &path.child("volumeMounts"));
    mounts::devices(errors, container, &around.volumes, &path.child("volumeDevices"));
    pull_policy(errors, text(&container.image_pull_policy), &path.child("imagePullPolicy"));
    resources::requirements(errors, container.resources.as_ref(), &around.claims, &path.child("resources"));
    resize_policy(errors, container, around.restart_policy, &path.child("resizePolicy"));
    if let Some(context) = &container.security_context {
        security::container(errors, context, around.host_users, &path.child("securityContext"));
    }
}

/// When an image is pulled.
pub fn pull_policy(errors: &mut Errors, policy: &str, path: &Path<'_>) {
    errors.required_one_of(path, policy, &["Always", "IfNotPresent", "Never"]);
}

fn ports(errors: &mut Errors, ports: &[ContainerPort], path: &Path<'_>) {
    let mut names_seen: BTreeSet<&str> = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = text(&port.name);
        if !name.is_empty() {
            let wrong = names::port_name(name);
            if wrong.is_empty() && !names_seen.insert(name) {
                errors.duplicate(&path.child("name"), &name);
            }
            errors.invalid_each(&path.child("name"), &name, wrong);
        }
        let number = port.container_port;
        if number == 0 {
            errors.required(&path.child("containerPort"), "");
        } else {
            errors.invalid_each(&path.child("containerPort"), &number, names::port_number(number));
        }
        if let Some(number) = port.host_port.filter(|number| *number != 0) {
            errors.invalid_each(&path.child("hostPort"), &number, names::port_number(number));
        }
        errors.required_one_of(&path.child("protocol"), text(&port.protocol), &["SCTP", "TCP", "UDP"]);
    }
}

fn host_port_conflicts(errors: &mut Errors, containers: &[Container], path: &Path<'_>) {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let path = path.index(index);
        let path = path.child("ports");
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let Some(number) = port.host_port.filter(|number| *number != 0) else { continue };
            let place = format!("{}/{}/{number}", text(&port.protocol), text(&port.host_ip));
            if taken.contains(&place) {
                errors.duplicate(&path.index(index).child("hostPort"), &place);
            } else {
                taken.insert(place);
            }
        }
    }
}

/// Newer than 1.32 by default, where the field is dropped before it is checked.
fn resize_policy(errors: &mut Errors, container: &Container, restart_policy: &str, path: &Path<'_>) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, policy) in container.resize_policy.iter().flatten().enumerate() {
        if !seen.insert(&policy.resource_name) {
            errors.duplicate(&path.index(index), &policy.resource_name);
        }
        errors.required_one_of(path, &policy.resource_name, &["cpu", "memory"]);
        errors.required_one_of(path, &policy.restart_policy, &["NotRequired", "RestartContainer"]);
        if restart_policy == "Never" && policy.restart_policy != "NotRequired" {
            let words = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.invalid(path, &policy.restart_policy, words);
        }
    }
}
