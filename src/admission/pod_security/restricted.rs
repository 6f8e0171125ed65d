//! PURE. Owns the checks that the standard `restricted` adds to `baseline`. Never says when they are made: `checks` does.
//!
//! Parity: the checks of the same names in upstream's pod-security-admission, as they were in each version.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Volume;
use serde_json::Value;

use super::baseline::{adding, adding_text, forbidden_seccomp, is_seccomp, pod_security, security};
use super::checks::{Minor, Subject};
use super::words::{Finding, Setters, containers, plural, quoted};

/// Volumes that may be used, by the names of their fields.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];
/// Volumes that may not, by the names that upstream knows.
const FORBIDDEN_VOLUMES: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];
/// Since when pods for Windows are spared what Windows does not have.
const WINDOWS_SPARED: Minor = 25;

fn is_spared(subject: &Subject<'_>, minor: Minor) -> bool {
    minor >= WINDOWS_SPARED && subject.is_windows()
}

pub(super) fn escalation(subject: &Subject<'_>, minor: Minor) -> Option<Finding> {
    if is_spared(subject, minor) {
        return None;
    }
    let names = subject.containers(|container| {
        security(container).is_none_or(|context| context.allow_privilege_escalation != Some(false))
    });
    let detail = || format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&names));
    (!names.is_empty()).then(|| Finding::new("allowPrivilegeEscalation != false", detail()))
}

pub(super) fn capabilities(subject: &Subject<'_>, minor: Minor) -> Option<Finding> {
    if is_spared(subject, minor) {
        return None;
    }
    let keeping = subject.containers(|container| {
        let capabilities = security(container).and_then(|context| context.capabilities.as_ref());
        let dropped = capabilities.and_then(|capabilities| capabilities.drop.as_ref());
        dropped.is_none_or(|dropped| !dropped.iter().any(|capability| capability == "ALL"))
    });
    let (names, added) = adding(subject, &["NET_BIND_SERVICE"]);
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
    }
    if !names.is_empty() {
        details.push(adding_text(&names, &added));
    }
    (!details.is_empty()).then(|| Finding::new("unrestricted capabilities", details.join("; ")))
}

pub(super) fn volumes(subject: &Subject<'_>, _: Minor) -> Option<Finding> {
    let (mut names, mut types) = (Vec::new(), BTreeSet::new());
    for volume in subject.spec.volumes.iter().flatten() {
        if let Some(kind) = forbidden_type(volume) {
            names.push(volume.name.clone());
            types.insert(kind.to_owned());
        }
    }
    let (volumes, uses) = (plural(names.len(), "volume", "volumes"), plural(names.len(), "uses", "use"));
    let what = plural(types.len(), "restricted volume type", "restricted volume types");
    let detail = || format!("{volumes} {} {uses} {what} {}", quoted(&names), quoted(&types));
    (!names.is_empty()).then(|| Finding::new("restricted volume types", detail()))
}

/// The type of a volume that may not be used. A volume's JSON holds its name, and its source under the type.
fn forbidden_type(volume: &Volume) -> Option<&'static str> {
    let json = serde_json::to_value(volume).unwrap_or_default();
    let is_set = |kind: &&str| json.get(*kind).is_some_and(|source| *source != Value::Null);
    if VOLUMES.iter().any(is_set) {
        return None;
    }
    Some(FORBIDDEN_VOLUMES.into_iter().find(is_set).unwrap_or("unknown"))
}

pub(super) fn non_root(subject: &Subject<'_>, _: Minor) -> Option<Finding> {
    let reason = "runAsNonRoot != true";
    let pod = pod_security(subject).and_then(|context| context.run_as_non_root);
    let said = |container: &_| security(container).and_then(|context| context.run_as_non_root);
    let by = Setters {
        pod: pod == Some(false),
        containers: subject.containers(|container| said(container) == Some(false)),
        ..Setters::default()
    };
    if let Some(by) = by.text() {
        return Some(Finding::new(reason, format!("{by} must not set securityContext.runAsNonRoot=false")));
    }
    let silent = subject.containers(|container| said(container).is_none() && pod != Some(true));
    let detail = || format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&silent));
    (!silent.is_empty()).then(|| Finding::new(reason, detail()))
}

pub(super) fn root_user(subject: &Subject<'_>, _: Minor) -> Option<Finding> {
    let by = Setters {
        pod: pod_security(subject).is_some_and(|context| context.run_as_user == Some(0)),
        containers: subject
            .containers(|container| security(container).is_some_and(|context| context.run_as_user == Some(0))),
        ..Setters::default()
    };
    Some(Finding::new("runAsUser=0", format!("{} must not set runAsUser=0", by.text()?)))
}

pub(super) fn seccomp(subject: &Subject<'_>, minor: Minor) -> Option<Finding> {
    if is_spared(subject, minor) {
        return None;
    }
    if let Some(found) = forbidden_seccomp(subject) {
        return Some(found);
    }
    let pod = pod_security(subject).and_then(|context| context.seccomp_profile.as_ref());
    if pod.is_some_and(|profile| is_seccomp(&profile.type_)) {
        return None;
    }
    let silent =
        subject.containers(|container| security(container).is_none_or(|context| context.seccomp_profile.is_none()));
    let must = "must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"";
    let detail = || format!("pod or {} {must}", containers(&silent));
    (!silent.is_empty()).then(|| Finding::new("seccompProfile", detail()))
}
