//! PURE. Owns the checks of the standard `baseline`. Never says when they are made: `checks` does.
//!
//! Parity: the checks of the same names in upstream's pod-security-admission, as they were in each version.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Container, LifecycleHandler, PodSecurityContext, Probe, SELinuxOptions, SecurityContext,
};

use super::checks::{Minor, Subject};
use super::words::{Finding, Offence, Setters, containers, plural, quoted};
use crate::model::field::quote;
use crate::model::validation::{APP_ARMOR, SECCOMP_CONTAINER, SECCOMP_POD};

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Types of SELinux that may be set, and since when.
const SE_LINUX_TYPES: [(&str, Minor); 5] =
    [("", 0), ("container_t", 0), ("container_init_t", 0), ("container_kvm_t", 0), ("container_engine_t", 31)];
/// Kernel parameters that may be set, and since when.
const SYSCTLS: [(&str, Minor); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];
/// Since when seccomp profiles are fields; before that they were annotations.
const SECCOMP_FIELDS: Minor = 19;

pub(super) fn security(container: &Container) -> Option<&SecurityContext> {
    container.security_context.as_ref()
}

pub(super) fn pod_security<'a>(subject: &Subject<'a>) -> Option<&'a PodSecurityContext> {
    subject.spec.security_context.as_ref()
}

pub(super) fn app_armor(subject: &Subject<'_>, _: Minor) -> Option<Finding> {
    let bad = |kind: &str| !["RuntimeDefault", "Localhost"].contains(&kind);
    let pod = pod_security(subject).and_then(|context| context.app_armor_profile.as_ref());
    let mut offence =
        offence(subject, pod.map(|profile| profile.type_.as_str()).filter(|kind| bad(kind)), |container| {
            let profile = security(container)?.app_armor_profile.as_ref()?;
            Some(profile.type_.as_str()).filter(|kind| bad(kind))
        });
    let allowed = |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let annotations = subject.meta.annotations.iter().flatten();
    let annotations: Vec<String> = annotations
        .filter(|(key, value)| key.starts_with(APP_ARMOR) && !allowed(value))
        .map(|(key, value)| format!("{key}={}", quote(value)))
        .collect();
    offence.by.annotations = annotations.len();
    let by = offence.by.text()?;
    let values: Vec<&String> = offence.values.iter().chain(&annotations).collect();
    let reason = plural(values.len(), "forbidden AppArmor profile", "forbidden AppArmor profiles");
    Some(Finding::new(reason, format!("{by} must not set AppArmor profile type to {}", quoted(values))))
}

/// Who sets which bad value, where the pod and each container may have one.
fn offence(subject: &Subject<'_>, pod: Option<&str>, bad: impl Fn(&Container) -> Option<&str>) -> Offence {
    let mut offence = Offence::default();
    offence.by.pod = pod.is_some();
    offence.values.extend(pod.map(str::to_owned));
    subject.each(|container| {
        if let Some(value) = bad(container) {
            offence.by.containers.push(container.name.clone());
            offence.values.insert(value.to_owned());
        }
    });
    offence
}

pub(super) fn capabilities(subject: &Subject<'_>, _: Minor) -> Option<Finding> {
    let (names, added) = adding(subject, &CAPABILITIES);
    let detail = || adding_text(&names, &added);
    (!names.is_empty()).then(|| Finding::new("non-default capabilities", detail()))
}

/// Which containers add capabilities beyond `allowed`, and which.
pub(super) fn adding(subject: &Subject<'_>, allowed: &[&str]) -> (Vec<String>, BTreeSet<String>) {
    let (mut names, mut added) = (Vec::new(), BTreeSet::new());
    subject.each(|container| {
        let capabilities = security(container).and_then(|context| context.capabilities.as_ref());
        let add = capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
        let bad: Vec<&String> = add.filter(|capability| !allowed.contains(&capability.as_str())).collect();
        if !bad.is_empty() {
            names.push(container.name.clone());
            added.extend(bad.into_iter().cloned());
        }
    });
    (names, added)
}

pub(super) fn adding_text(names: &[String], added: &BTreeSet<String>) -> String {
    format!("{} must not include {} in securityContext.capabilities.add", containers(names), quoted(added))
}

pub(super) fn host_namespaces(subject: &Subject<'_>, _: Minor) -> Option<Finding> {
    let spec = subject.spec;
    let shared = [("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc)];
    let set: Vec<String> =
        shared.iter().filter(|(_, value)| *value == Some(true)).map(|(name, _)| format!("{name}=true")).collect();
    (!set.is_empty()).then(|| Finding::new("host namespaces", set.join(", ")))
}

pub(super) fn host_paths(subject: &Subject<'_>, _: Minor) -> Option<Finding> {
    let volumes = subject.spec.volumes.iter().flatten().filter(|volume| volume.host_path.is_some());
    let names: Vec<&String> = volumes.map(|volume| &volume.name).collect();
    let detail = || format!("{} {}", plural(names.len(), "volume", "volumes"), quoted(names.iter().copied()));
    (!names.is_empty()).then(|| Finding::new("hostPath volumes", detail()))
}

pub(super) fn host_ports(subject: &Subject<'_>, _: Minor) -> Option<Finding> {
    let (mut names, mut ports) = (Vec::new(), BTreeSet::new());
    subject.each(|container| {
        let used = container.ports.iter().flatten().filter_map(|port| port.host_port.filter(|port| *port != 0));
        let used: Vec<String> = used.map(|port| port.to_string()).collect();
        if !used.is_empty() {
            names.push(container.name.clone());
            ports.extend(used);
        }
    });
    let uses = plural(names.len(), "uses", "use");
    let what = plural(ports.len(), "hostPort", "hostPorts");
    let listed: Vec<String> = ports.into_iter().collect();
    let detail = || format!("{} {uses} {what} {}", containers(&names), listed.join(", "));
    (!names.is_empty()).then(|| Finding::new("hostPort", detail()))
}

pub(super) fn host_probes(subject: &Subject<'_>, _: Minor) -> Option<Finding> {
    let (mut names, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    subject.each(|container| {
        let asked = asked_hosts(container);
        if !asked.is_empty() {
            names.insert(container.name.clone());
            hosts.extend(asked);
        }
    });
    let names: Vec<String> = names.into_iter().collect();
    let uses = plural(names.len(), "uses", "use");
    let what = plural(hosts.len(), "probe or lifecycle host", "probe or lifecycle hosts");
    let detail = || format!("{} {uses} {what} {}", containers(&names), quoted(&hosts));
    (!names.is_empty()).then(|| Finding::new("probe or lifecycle host", detail()))
}

/// The hosts that a container makes the node connect to.
fn asked_hosts(container: &Container) -> Vec<String> {
    let probes = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe];
    let of_probe = |probe: &Probe| {
        let http = probe.http_get.as_ref().and_then(|get| get.host.clone());
        [http, probe.tcp_socket.as_ref().and_then(|socket| socket.host.clone())]
    };
    let lifecycle = container.lifecycle.as_ref();
    let hooks = lifecycle.into_iter().flat_map(|lifecycle| [&lifecycle.post_start, &lifecycle.pre_stop]);
    let of_hook = |hook: &LifecycleHandler| {
        let http = hook.http_get.as_ref().and_then(|get| get.host.clone());
        [http, hook.tcp_socket.as_ref().and_then(|socket| socket.host.clone())]
    };
    let probed = probes.into_iter().flatten().flat_map(of_probe);
    let hosts = probed.chain(hooks.flatten().flat_map(of_hook)).flatten();
    hosts.filter(|host| !host.is_empty()).collect()
}

pub(super) fn privileged(subject: &Subject<'_>, _: Minor) -> Option<Finding> {
    let names =
        subject.containers(|container| security(container).is_some_and(|context| context.privileged == Some(true)));
    let detail = || format!("{} must not set securityContext.privileged=true", containers(&names));
    (!names.is_empty()).then(|| Finding::new("privileged", detail()))
}

/// Containers that ask for more of /proc than usual.
pub(super) fn proc_mount(subject: &Subject<'_>, _: Minor) -> Option<Finding> {
    let offence = offence(subject, None, |container| {
        security(container)?.proc_mount.as_deref().filter(|kind| *kind != "Default")
    });
    let by = offence.by.text()?;
    let detail = format!("{by} must not set securityContext.procMount to {}", quoted(&offence.values));
    Some(Finding::new("procMount", detail))
}

pub(super) fn se_linux(subject: &Subject<'_>, minor: Minor) -> Option<Finding> {
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let mut is_bad = |options: &SELinuxOptions| {
        let set = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.is_empty());
        let kind = options.type_.clone().unwrap_or_default();
        let bad_type = !SE_LINUX_TYPES.iter().any(|(known, since)| *known == kind && *since <= minor);
        if bad_type {
            types.insert(kind);
        }
        user |= set(&options.user);
        role |= set(&options.role);
        bad_type || set(&options.user) || set(&options.role)
    };
    let mut by = Setters::default();
    let pod = pod_security(subject).and_then(|context| context.se_linux_options.as_ref());
    by.pod = pod.is_some_and(&mut is_bad);
    subject.each(|container| {
        let options = security(container).and_then(|context| context.se_linux_options.as_ref());
        if options.is_some_and(&mut is_bad) {
            by.containers.push(container.name.clone());
        }
    });
    let mut data = Vec::new();
    if !types.is_empty() {
        data.push(format!("{} {}", plural(types.len(), "type", "types"), quoted(&types)));
    }
    data.extend(user.then(|| "user may not be set".to_owned()));
    data.extend(role.then(|| "role may not be set".to_owned()));
    let detail = format!("{} set forbidden securityContext.seLinuxOptions: {}", by.text()?, data.join("; "));
    Some(Finding::new("seLinuxOptions", detail))
}

pub(super) fn seccomp(subject: &Subject<'_>, minor: Minor) -> Option<Finding> {
    if minor >= SECCOMP_FIELDS { forbidden_seccomp(subject) } else { forbidden_seccomp_annotations(subject) }
}

pub(super) fn is_seccomp(kind: &str) -> bool {
    ["Localhost", "RuntimeDefault"].contains(&kind)
}

/// A seccomp profile that is none, in the fields.
pub(super) fn forbidden_seccomp(subject: &Subject<'_>) -> Option<Finding> {
    let pod = pod_security(subject).and_then(|context| context.seccomp_profile.as_ref());
    let pod = pod.map(|profile| profile.type_.as_str()).filter(|kind| !is_seccomp(kind));
    let offence = offence(subject, pod, |container| {
        let profile = security(container)?.seccomp_profile.as_ref()?;
        Some(profile.type_.as_str()).filter(|kind| !is_seccomp(kind))
    });
    let by = offence.by.text()?;
    let detail = format!("{by} must not set securityContext.seccompProfile.type to {}", quoted(&offence.values));
    Some(Finding::new("seccompProfile", detail))
}

fn forbidden_seccomp_annotations(subject: &Subject<'_>) -> Option<Finding> {
    let allowed =
        |value: &str| ["runtime/default", "docker/default"].contains(&value) || value.starts_with("localhost/");
    let mut keys = vec![SECCOMP_POD.to_owned()];
    subject.each(|container| keys.push(format!("{SECCOMP_CONTAINER}{}", container.name)));
    let annotations = subject.meta.annotations.as_ref();
    let said = |key: String| Some((annotations?.get(&key)?, key));
    let bad = keys.into_iter().filter_map(said).filter(|(value, _)| !allowed(value));
    let bad: BTreeSet<String> = bad.map(|(value, key)| format!("{key}={}", quote(value))).collect();
    let what = plural(bad.len(), "annotation", "annotations");
    let listed: Vec<String> = bad.into_iter().collect();
    (!listed.is_empty()).then(|| Finding::new("seccompProfile", format!("forbidden {what} {}", listed.join(", "))))
}

pub(super) fn sysctls(subject: &Subject<'_>, minor: Minor) -> Option<Finding> {
    let allowed = |name: &str| SYSCTLS.iter().any(|(known, since)| *known == name && *since <= minor);
    let set = pod_security(subject).into_iter().flat_map(|context| context.sysctls.iter().flatten());
    let names: Vec<&str> = set.map(|sysctl| sysctl.name.as_str()).filter(|name| !allowed(name)).collect();
    (!names.is_empty()).then(|| Finding::new("forbidden sysctls", names.join(", ")))
}

pub(super) fn host_process(subject: &Subject<'_>, _: Minor) -> Option<Finding> {
    let pod = pod_security(subject).and_then(|context| context.windows_options.as_ref());
    let containers = subject.containers(|container| {
        let options = security(container).and_then(|context| context.windows_options.as_ref());
        options.is_some_and(|options| options.host_process == Some(true))
    });
    let by = Setters {
        pod: pod.is_some_and(|options| options.host_process == Some(true)),
        containers,
        ..Setters::default()
    };
    let detail = format!("{} must not set securityContext.windowsOptions.hostProcess=true", by.text()?);
    Some(Finding::new("hostProcess", detail))
}
