//! Owns the rules of security contexts, of pods and of containers, and of what Linux and Windows pods may have.
//! Never enforces one.
//!
//! Parity: core's `ValidateSecurityContext`, `validatePodSpecSecurityContext`, `validateOS` and the checks by OS.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, PodSecurityContext, PodSpec, SecurityContext, Sysctl};

use super::{each_container, names, profiles, windows};
use crate::model::field::{Errors, Json, Path};

/// A container's security context; privileged ones are allowed.
pub fn container(errors: &mut Errors, context: &SecurityContext, host_users: bool, path: &Path<'_>) {
    for (name, id) in [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)] {
        if let Some(id) = id {
            errors.invalid_each(&path.child(name), &id, names::id(id));
        }
    }
    if let Some(mount) = context.proc_mount.as_deref() {
        let path = path.child("procMount");
        errors.one_of(&path, mount, &["Default", "Unmasked"]);
        if host_users && mount == "Unmasked" {
            errors.invalid(&path, &mount, "`hostUsers` must be false to use `Unmasked`");
        }
    }
    profiles::seccomp(errors, context.seccomp_profile.as_ref(), &path.child("seccompProfile"));
    if context.allow_privilege_escalation == Some(false) {
        if context.privileged == Some(true) {
            let words = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid(path, &Json(context), words);
        }
        let added = context.capabilities.as_ref().and_then(|capabilities| capabilities.add.as_ref());
        for _ in added.into_iter().flatten().filter(|name| *name == "CAP_SYS_ADMIN") {
            let words = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(path, &Json(context), words);
        }
    }
    windows::options(errors, context.windows_options.as_ref(), &path.child("windowsOptions"));
    profiles::app_armor(errors, context.app_armor_profile.as_ref(), &path.child("appArmorProfile"));
}

/// A pod's security context.
pub fn pod(errors: &mut Errors, spec: &PodSpec, path: &Path<'_>) {
    let empty = PodSecurityContext::default();
    let context = spec.security_context.as_ref().unwrap_or(&empty);
    let ids = [("fsGroup", context.fs_group), ("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)];
    for (name, id) in ids {
        if let Some(id) = id {
            errors.invalid_each(&path.child(name), &id, names::id(id));
        }
    }
    let groups_path = path.child("supplementalGroups");
    for (index, id) in context.supplemental_groups.iter().flatten().enumerate() {
        errors.invalid_each(&groups_path.index(index), id, names::id(*id));
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let words = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&path.child("shareProcessNamespace"), &true, words);
    }
    sysctls(errors, spec, context.sysctls.as_deref().unwrap_or_default(), &path.child("sysctls"));
    if let Some(policy) = &context.fs_group_change_policy {
        errors.one_of(&path.child("fsGroupChangePolicy"), policy, &["Always", "OnRootMismatch"]);
    }
    profiles::seccomp(errors, context.seccomp_profile.as_ref(), &path.child("seccompProfile"));
    windows::options(errors, context.windows_options.as_ref(), &path.child("windowsOptions"));
    profiles::app_armor(errors, context.app_armor_profile.as_ref(), &path.child("appArmorProfile"));
    if let Some(policy) = &context.supplemental_groups_policy {
        errors.one_of(&path.child("supplementalGroupsPolicy"), policy, &["Merge", "Strict"]);
    }
    if let Some(policy) = &context.se_linux_change_policy {
        errors.one_of(&path.child("seLinuxChangePolicy"), policy, &["MountOption", "Recursive"]);
    }
}

fn sysctls(errors: &mut Errors, spec: &PodSpec, sysctls: &[Sysctl], path: &Path<'_>) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, sysctl) in sysctls.iter().enumerate() {
        let path = path.index(index);
        let path = path.child("name");
        let name = &sysctl.name;
        let again = !seen.insert(name);
        if !errors.required_if_empty(&path, name) {
            if !names::is_sysctl(name) {
                let words =
                    format!("must have at most {} characters and match regex {}", names::SYSCTL_MAX, names::SYSCTL);
                errors.invalid(&path, name, &words);
            } else if again {
                errors.duplicate(&path, name);
            }
        }
        match sysctl_namespace(name) {
            Some(SysctlNamespace::Net) if spec.host_network == Some(true) => {
                errors.invalid(&path, name, "may not be specified when 'hostNetwork' is true");
            }
            Some(SysctlNamespace::Ipc) if spec.host_ipc == Some(true) => {
                errors.invalid(&path, name, "may not be specified when 'hostIPC' is true");
            }
            _ => {}
        }
    }
}

enum SysctlNamespace {
    Ipc,
    Net,
}

/// The Linux namespace that a sysctl belongs to. A name whose first separator is a slash has dots and slashes swapped.
fn sysctl_namespace(name: &str) -> Option<SysctlNamespace> {
    let swapped = match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('/') => {
            let swap = |letter| match letter {
                '/' => '.',
                '.' => '/',
                other => other,
            };
            name.chars().map(swap).collect()
        }
        _ => name.to_owned(),
    };
    let ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| swapped.starts_with(prefix));
    if ipc || swapped == "kernel.sem" {
        return Some(SysctlNamespace::Ipc);
    }
    swapped.starts_with("net.").then_some(SysctlNamespace::Net)
}

/// What a pod with its own users may not share with the host.
pub fn host_users(errors: &mut Errors, spec: &PodSpec, path: &Path<'_>) {
    if spec.host_users != Some(false) {
        return;
    }
    let shared = [("hostNetwork", spec.host_network), ("HostPID", spec.host_pid), ("HostIPC", spec.host_ipc)];
    for (name, _) in shared.iter().filter(|(_, set)| *set == Some(true)) {
        errors.forbidden(&path.child(name), "when `pod.Spec.HostUsers` is false");
    }
}

/// The pod's OS, and what a pod of that OS may not have.
pub fn os(errors: &mut Errors, spec: &PodSpec, path: &Path<'_>) {
    let Some(os) = &spec.os else { return };
    match os.name.as_str() {
        "" => errors.required(&path.child("os").child("name"), "cannot be empty"),
        "linux" => not_windows(errors, spec, path),
        "windows" => windows_only(errors, spec, path),
        other => errors.not_supported(&path.child("os"), &other, &["linux", "windows"]),
    }
}

fn not_windows(errors: &mut Errors, spec: &PodSpec, path: &Path<'_>) {
    let words = "windows options cannot be set for a linux pod";
    if spec.security_context.as_ref().is_some_and(|context| context.windows_options.is_some()) {
        errors.forbidden(&path.child("securityContext").child("windowsOptions"), words);
    }
    each_container(spec, path, |container, path| {
        if container.security_context.as_ref().is_some_and(|context| context.windows_options.is_some()) {
            errors.forbidden(&path.child("securityContext").child("windowsOptions"), words);
        }
    });
}

fn windows_only(errors: &mut Errors, spec: &PodSpec, path: &Path<'_>) {
    let words = "cannot be set for a windows pod";
    let empty = PodSecurityContext::default();
    let context = spec.security_context.as_ref().unwrap_or(&empty);
    let fields = [
        ("securityContext.appArmorProfile", context.app_armor_profile.is_some()),
        ("securityContext.seLinuxOptions", context.se_linux_options.is_some()),
        ("hostUsers", spec.host_users.is_some()),
        ("hostPID", spec.host_pid == Some(true)),
        ("hostIPC", spec.host_ipc == Some(true)),
        ("securityContext.seccompProfile", context.seccomp_profile.is_some()),
        ("securityContext.fsGroup", context.fs_group.is_some()),
        ("securityContext.fsGroupChangePolicy", context.fs_group_change_policy.is_some()),
        ("securityContext.sysctls", context.sysctls.as_ref().is_some_and(|sysctls| !sysctls.is_empty())),
        ("shareProcessNamespace", spec.share_process_namespace.is_some()),
        ("securityContext.runAsUser", context.run_as_user.is_some()),
        ("securityContext.runAsGroup", context.run_as_group.is_some()),
        ("securityContext.supplementalGroups", context.supplemental_groups.is_some()),
        ("securityContext.supplementalGroupsPolicy", context.supplemental_groups_policy.is_some()),
        ("securityContext.seLinuxChangePolicy", context.se_linux_change_policy.is_some()),
    ];
    for (name, _) in fields.iter().filter(|(_, set)| *set) {
        errors.forbidden(&path.child(name), words);
    }
    each_container(spec, path, |container, path| windows_container(errors, container, &path.child("securityContext")));
}

fn windows_container(errors: &mut Errors, container: &Container, path: &Path<'_>) {
    let Some(context) = &container.security_context else { return };
    let fields = [
        ("appArmorProfile", context.app_armor_profile.is_some()),
        ("seLinuxOptions", context.se_linux_options.is_some()),
        ("seccompProfile", context.seccomp_profile.is_some()),
        ("capabilities", context.capabilities.is_some()),
        ("readOnlyRootFilesystem", context.read_only_root_filesystem.is_some()),
        ("privileged", context.privileged.is_some()),
        ("allowPrivilegeEscalation", context.allow_privilege_escalation.is_some()),
        ("procMount", context.proc_mount.is_some()),
        ("runAsUser", context.run_as_user.is_some()),
        ("runAsGroup", context.run_as_group.is_some()),
    ];
    for (name, _) in fields.iter().filter(|(_, set)| *set) {
        errors.forbidden(&path.child(name), "cannot be set for a windows pod");
    }
}
