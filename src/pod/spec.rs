//! PURE. Owns how a container of a pod becomes a container of the engine. Never asks the engine anything: the image's
//! facts are handed in.
//!
//! Parity: `generateContainerConfig` of `pkg/kubelet/kuberuntime`, `pkg/securitycontext`.

use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, PodSpec, SELinuxOptions, SecurityContext};

use super::environment::{Context, Environment};
use super::facts::{Attempt, NodeFacts, RuntimeFact};
use super::mounts::{self, SubPath};
use super::restart::{self, Role};
use super::{bounds, dns, environment, hosts, names, oom, termination, volumes_plan};
use crate::runtime::{ContainerSpec, ImageSeen, LABEL_IMAGE, Mount, MountSource, Network, PortSpec};

/// The longest host name that Linux takes.
const MAX_HOSTNAME: usize = 63;
/// Lets containers reach services of the machine, as Docker Desktop does by itself.
const HOST_GATEWAY: &str = "host.docker.internal:host-gateway";
/// Where C libraries look for names.
const HOSTS_PATH: &str = "/etc/hosts";
/// Annotation of a pod: a network of the engine, made by somebody else, that the pod joins in place of the default one.
pub const ANNOTATION_NETWORK: &str = "jobdock.io/networks";
/// Where the sandbox keeps memory volumes mounted.
pub const HELD_VOLUMES: &str = "/volumes";

/// Whether the pod needs a container that holds what its others share: a network for several at once, an address
/// that must be known before the start, a memory volume that would be forgotten between two runs.
pub fn needs_sandbox(spec: &PodSpec) -> bool {
    let at_once = restart::containers(spec).filter(|(role, _)| matches!(role, Role::Main | Role::Sidecar)).count();
    let address = spec.host_network != Some(true)
        && restart::containers(spec).any(|(_, container)| environment::needs_address(container));
    let bound = spec.host_network != Some(true) && restart::containers(spec).any(|(_, one)| asks_for_host_port(one));
    at_once > 1
        // A port of the machine that is taken is waited for; a container that does not start would have failed.
        || bound
        || spec.share_process_namespace == Some(true)
        || address
        || !volumes_plan::held_in_memory(spec).is_empty()
}

/// Whether the pod has a sandbox: it needs one, or its address has to stand in its hosts file before it starts.
pub fn sandboxed(spec: &PodSpec, node: &NodeFacts) -> bool {
    needs_sandbox(spec) || (node.hosts_file.is_some() && spec.host_network != Some(true))
}

/// The sandbox of a pod.
pub fn sandbox(pod: &Pod, spec: &PodSpec, node: &NodeFacts, image: &str) -> ContainerSpec {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let mut out = ContainerSpec {
        name: names::sandbox(uid),
        labels: names::pod_labels(&pod.metadata),
        image: image.to_owned(),
        read_only_root: true,
        no_new_privileges: true,
        host_ipc: spec.host_ipc == Some(true),
        host_pid: spec.host_pid == Some(true),
        limits: bounds::sandbox_limits(node),
        runtime: runtime(node),
        oom_score_adj: oom::sandbox_score(node),
        ..ContainerSpec::default()
    };
    out.mounts = volumes_plan::held_in_memory(spec)
        .into_iter()
        .map(|volume| Mount {
            source: MountSource::Volume(names::volume(uid, volume)),
            target: format!("{HELD_VOLUMES}/{volume}"),
            ..Mount::default()
        })
        .collect();
    own_network(&mut out, pod, spec, node);
    out
}

/// Settings of whoever holds the pod's network: the sandbox, or the only container.
fn own_network(out: &mut ContainerSpec, pod: &Pod, spec: &PodSpec, node: &NodeFacts) {
    out.dns = dns::settings(spec, node);
    for alias in spec.host_aliases.iter().flatten() {
        out.extra_hosts.extend(alias.hostnames.iter().flatten().map(|name| format!("{name}:{}", alias.ip)));
    }
    // Those of the network are refused beside hostNetwork; what is left is the pod's own even there.
    let sysctls = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    out.sysctls = sysctls.map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect();
    if spec.host_network == Some(true) {
        out.network = Network::Host;
        return;
    }
    out.extra_hosts.push(HOST_GATEWAY.to_owned());
    let full = hosts::full_name(pod, spec).filter(|_| spec.set_hostname_as_fqdn == Some(true));
    out.hostname = Some(full.unwrap_or_else(|| hostname(pod, spec)));
    out.ports = restart::containers(spec).flat_map(|(_, container)| host_ports(container)).collect();
    if let Some(name) = named_network(pod) {
        out.network = Network::Named(name.to_owned());
    }
}

/// The network of the engine that the pod's annotation names.
pub fn named_network(pod: &Pod) -> Option<&str> {
    let annotations = pod.metadata.annotations.as_ref()?;
    annotations.get(ANNOTATION_NETWORK).map(|name| name.trim()).filter(|name| !name.is_empty())
}

fn asks_for_host_port(container: &Container) -> bool {
    container.ports.iter().flatten().any(|port| port.host_port.unwrap_or(0) != 0)
}

fn host_ports(container: &Container) -> impl Iterator<Item = PortSpec> + '_ {
    container.ports.iter().flatten().filter_map(|port| {
        Some(PortSpec {
            container: u16::try_from(port.container_port).ok()?,
            protocol: port.protocol.as_deref().unwrap_or("TCP").to_lowercase(),
            host: port.host_port.and_then(|number| u16::try_from(number).ok()).filter(|number| *number != 0)?,
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
    })
}

/// The name that the pod's containers have. Parity: `GeneratePodHostNameAndDomain`, `truncatePodHostnameIfNeeded`.
pub fn hostname(pod: &Pod, spec: &PodSpec) -> String {
    let asked = spec.hostname_override.as_ref().or(spec.hostname.as_ref()).filter(|name| !name.is_empty());
    let name = asked.or(pod.metadata.name.as_ref()).cloned().unwrap_or_default();
    let mut name: String = name.chars().take(MAX_HOSTNAME).collect();
    name.truncate(name.trim_end_matches(['-', '.']).len());
    name
}

/// The container of one run and the parts of volumes that it mounts, or the kubelet's words for what is wrong with its configuration.
pub fn container(
    context: Context<'_>,
    spec: &PodSpec,
    container: &Container,
    run: &Attempt,
    env: &Environment,
    image: &ImageSeen,
) -> Result<(ContainerSpec, Vec<SubPath>), String> {
    check_non_root(context.pod, spec, container, image)?;
    let uid = context.pod.metadata.uid.as_deref().unwrap_or_default();
    let expanded = |list: &Option<Vec<String>>| {
        list.as_ref().filter(|list| !list.is_empty()).map(|list| list.iter().map(|text| env.expand(text)).collect())
    };
    let (mut mounts, parts) = mounts::mounts(context, env, container)?;
    mounts.push(Mount {
        source: MountSource::Bind(message_file(&context.node.pod_dir, run).into()),
        target: message_path(container),
        ..Mount::default()
    });
    mounts.extend(hosts_mount(context.node, container));
    let mut labels = names::container_labels(&context.pod.metadata, &container.name, run.number);
    labels.extend(mounted_images(&mounts));
    let mut out = ContainerSpec {
        name: names::container(uid, &container.name, run.number),
        labels,
        image: container.image.clone().unwrap_or_default(),
        entrypoint: expanded(&container.command),
        command: expanded(&container.args),
        env: env.lines(),
        working_dir: container.working_dir.clone().filter(|dir| !dir.is_empty()),
        mounts,
        tty: container.tty == Some(true),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        stop_signal: container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.clone()),
        host_ipc: spec.host_ipc == Some(true),
        host_pid: spec.host_pid == Some(true),
        ..ContainerSpec::default()
    };
    out.limits = bounds::limits(spec, container, context.node);
    out.oom_score_adj = oom::score(spec, container, context.node);
    out.runtime = runtime(context.node);
    security(&mut out, spec, container, image);
    check_groups(spec, container, out.user.as_deref(), image)?;
    if sandboxed(spec, context.node) {
        let sandbox = names::sandbox(uid);
        out.ipc_container = (!out.host_ipc).then(|| sandbox.clone());
        out.pid_container = (spec.share_process_namespace == Some(true) && !out.host_pid).then(|| sandbox.clone());
        out.network = Network::Container(sandbox);
    } else {
        own_network(&mut out, context.pod, spec, context.node);
    }
    Ok((out, parts))
}

fn runtime(node: &NodeFacts) -> Option<String> {
    match &node.runtime {
        RuntimeFact::Handler(name) => Some(name.clone()),
        RuntimeFact::Default | RuntimeFact::NoClass(_) => None,
    }
}

/// Why nothing can run the pod; none where something can. Parity: `LookupRuntimeHandler`, and containerd's words for a
/// handler that it does not have.
pub fn no_runtime(node: &NodeFacts) -> Option<String> {
    match &node.runtime {
        RuntimeFact::NoClass(name) => Some(format!("runtimeclass.node.k8s.io \"{name}\" not found")),
        RuntimeFact::Handler(name) if !node.runtimes.contains(name) => {
            Some(format!("no runtime for \"{name}\" is configured"))
        }
        RuntimeFact::Handler(_) | RuntimeFact::Default => None,
    }
}

/// The label that tells which images must stay mountable while the container is there, however often the agent begins
/// anew.
fn mounted_images(mounts: &[Mount]) -> Option<(String, String)> {
    let ids = mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Image { image, .. } => Some(image.as_str()),
        MountSource::Bind(_) | MountSource::Volume(_) | MountSource::SubPath { .. } | MountSource::Tmpfs { .. } => None,
    });
    let ids: Vec<&str> = ids.collect();
    (!ids.is_empty()).then(|| (LABEL_IMAGE.to_owned(), ids.join(",")))
}

/// The pod's hosts file, unless the container mounts one of its own. Parity: `mountEtcHostsFile`.
fn hosts_mount(node: &NodeFacts, container: &Container) -> Option<Mount> {
    let own = container.volume_mounts.iter().flatten().any(|mount| mount.mount_path == HOSTS_PATH);
    let file = node.hosts_file.as_ref().filter(|_| !own)?;
    Some(Mount {
        source: MountSource::Bind(file.into()),
        target: HOSTS_PATH.to_owned(),
        read_only: false,
        ..Mount::default()
    })
}

/// The file on the engine's host that a run's termination message is written to.
pub fn message_file(pod_dir: &str, run: &Attempt) -> String {
    format!("{pod_dir}/messages/{}-{}", run.container, run.number)
}

fn message_path(container: &Container) -> String {
    let path = container.termination_message_path.as_deref().filter(|path| !path.is_empty());
    path.unwrap_or(termination::DEFAULT_PATH).to_owned()
}

fn security(out: &mut ContainerSpec, spec: &PodSpec, container: &Container, image: &ImageSeen) {
    let (none, empty) = (PodSecurityContext::default(), SecurityContext::default());
    let pod = spec.security_context.as_ref().unwrap_or(&none);
    let own = container.security_context.as_ref().unwrap_or(&empty);
    let group = own.run_as_group.or(pod.run_as_group);
    out.user = match (own.run_as_user.or(pod.run_as_user), group) {
        (Some(user), Some(group)) => Some(format!("{user}:{group}")),
        (Some(user), None) => Some(user.to_string()),
        (None, Some(group)) => Some(format!("{}:{group}", image_user(image).unwrap_or("0"))),
        (None, None) => None,
    };
    let groups = pod.supplemental_groups.iter().flatten().chain(&pod.fs_group);
    out.groups = groups.map(i64::to_string).collect();
    out.privileged = own.privileged == Some(true);
    out.read_only_root = own.read_only_root_filesystem == Some(true);
    out.no_new_privileges = own.allow_privilege_escalation == Some(false);
    let bare = |list: Option<&Vec<String>>| -> Vec<String> {
        let all = list.into_iter().flatten();
        all.map(|name| name.strip_prefix("CAP_").unwrap_or(name).to_owned()).collect()
    };
    let capabilities = own.capabilities.as_ref();
    out.cap_add = bare(capabilities.and_then(|capabilities| capabilities.add.as_ref()));
    out.cap_drop = bare(capabilities.and_then(|capabilities| capabilities.drop.as_ref()));
    let seccomp = own.seccomp_profile.as_ref().or(pod.seccomp_profile.as_ref());
    match seccomp.map(|profile| (profile.type_.as_str(), &profile.localhost_profile)) {
        Some(("Unconfined", _)) => out.security_opts.push("seccomp=unconfined".to_owned()),
        Some(("Localhost", path)) => out.seccomp_file = path.clone(),
        Some(_) | None => {}
    }
    let apparmor = own.app_armor_profile.as_ref().or(pod.app_armor_profile.as_ref());
    match apparmor.map(|profile| (profile.type_.as_str(), profile.localhost_profile.as_deref())) {
        Some(("Unconfined", _)) => out.security_opts.push("apparmor=unconfined".to_owned()),
        Some(("Localhost", Some(name))) => out.security_opts.push(format!("apparmor={name}")),
        Some(_) | None => {}
    }
    out.unmasked = own.proc_mount.as_deref() == Some("Unmasked");
    let label = own.se_linux_options.as_ref().or(pod.se_linux_options.as_ref());
    out.security_opts.extend(label.into_iter().flat_map(label_options));
}

/// An engine without SELinux takes these and does nothing.
fn label_options(label: &SELinuxOptions) -> impl Iterator<Item = String> + '_ {
    let parts = [("user", &label.user), ("role", &label.role), ("type", &label.type_), ("level", &label.level)];
    parts.into_iter().filter_map(|(part, value)| Some(format!("label={part}:{}", value.as_ref()?)))
}

/// Under the policy Strict a process has the groups that the pod names and no others.
/// Differs: an engine adds those of the image's `/etc/group` to a user that comes without a group, and nothing stops it.
fn check_groups(spec: &PodSpec, container: &Container, user: Option<&str>, image: &ImageSeen) -> Result<(), String> {
    let strict = |context: &PodSecurityContext| context.supplemental_groups_policy.as_deref() == Some("Strict");
    let user = user.or(image.user.as_deref()).unwrap_or_default();
    if !spec.security_context.as_ref().is_some_and(strict) || user.contains(':') {
        return Ok(());
    }
    Err(format!(
        "supplementalGroupsPolicy Strict needs a runAsGroup here: the engine gives a user without one the groups of the \
         image's /etc/group (container: {})",
        container.name
    ))
}

/// The image's user without its group.
fn image_user(image: &ImageSeen) -> Option<&str> {
    let user = image.user.as_deref()?.split(':').next()?;
    (!user.is_empty()).then_some(user)
}

/// Parity: `verifyRunAsNonRoot`.
fn check_non_root(pod: &Pod, spec: &PodSpec, container: &Container, image: &ImageSeen) -> Result<(), String> {
    let own = container.security_context.as_ref();
    let shared = spec.security_context.as_ref();
    let demanded = own.and_then(|own| own.run_as_non_root).or(shared.and_then(|shared| shared.run_as_non_root));
    if demanded != Some(true) {
        return Ok(());
    }
    let user = own.and_then(|own| own.run_as_user).or(shared.and_then(|shared| shared.run_as_user));
    let place = format!("(pod: \"{}\", container: {})", pod_text(pod), container.name);
    match (user, image_user(image)) {
        (Some(0), _) => Err(format!("container's runAsUser breaks non-root policy {place}")),
        (Some(_), _) => Ok(()),
        (None, None | Some("0")) => Err(format!("container has runAsNonRoot and image will run as root {place}")),
        (None, Some(user)) if user.chars().all(|c| c.is_ascii_digit()) => Ok(()),
        (None, Some(user)) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root {place}"
        )),
    }
}

/// `name_namespace(uid)`, as the kubelet names a pod in messages.
pub fn pod_text(pod: &Pod) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let meta = &pod.metadata;
    format!("{}_{}({})", text(&meta.name), text(&meta.namespace), text(&meta.uid))
}
