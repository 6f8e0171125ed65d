//! PURE. Owns which fields of a pod jobdock does not honour yet, so that each is named in a Warning and none is dropped
//! in silence; what this engine lacks is `unenforced`'s. Never refuses a pod: a volume that cannot be had is refused where
//! volumes are planned.

use k8s_openapi::api::core::v1::{Container, GRPCAction, HTTPGetAction, PodSpec};
use serde_json::Value;

use super::facts::NodeFacts;
use super::volumes_plan::is_files;
use crate::model::validation::resources::HUGE_PAGES;

/// Resources whose limits are enforced.
const ENFORCED: [&str; 3] = ["cpu", "memory", super::limits::EPHEMERAL_STORAGE];

/// Paths of the fields that are set and have no effect, each with a word on why where it is not just not done yet.
pub fn ignored(spec: &PodSpec, node: &NodeFacts) -> Vec<String> {
    let security = spec.security_context.as_ref();
    let whole = [
        (some(&spec.resource_claims), "spec.resourceClaims"),
        (spec.scheduling_group.is_some(), "spec.schedulingGroup"),
        (some(&spec.ephemeral_containers), "spec.ephemeralContainers"),
        (some(&spec.eviction_responders), "spec.evictionResponders"),
        (security.is_some_and(|own| own.windows_options.is_some()), "spec.securityContext.windowsOptions"),
    ];
    let mut out: Vec<String> = whole.into_iter().filter(|(set, _)| *set).map(|(_, path)| path.to_owned()).collect();
    for (index, volume) in spec.volumes.iter().flatten().enumerate().filter(|(_, volume)| is_files(volume)) {
        owners(&serde_json::to_value(volume).unwrap_or_default(), &format!("spec.volumes[{index}]"), &mut out);
    }
    for (list, containers) in
        [("initContainers", spec.init_containers.as_deref().unwrap_or_default()), ("containers", &spec.containers)]
    {
        for (index, container) in containers.iter().enumerate() {
            let path = format!("spec.{list}[{index}]");
            of_container(container, &path, node, &mut out);
            speech(container, &path, &mut out);
        }
    }
    out
}

/// Users that files are to belong to, wherever a volume says so.
fn owners(value: &Value, path: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| match key.as_str() {
            "user" | "defaultUser" => out.push(format!("{path}.{key}")),
            _other => owners(value, &format!("{path}.{key}"), out),
        }),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| owners(item, &format!("{path}[{index}]"), out));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// How probes and hooks speak: plain HTTP/1.1, and gRPC without TLS.
fn speech(container: &Container, path: &str, out: &mut Vec<String>) {
    let newer = |get: &Option<HTTPGetAction>| {
        let protocol = get.as_ref().and_then(|get| get.protocol.as_deref());
        protocol.is_some_and(|protocol| !protocol.contains("1.1"))
    };
    let secret = |grpc: &Option<GRPCAction>| grpc.as_ref().is_some_and(|grpc| grpc.mode.as_deref() == Some("TLS"));
    let probes = [
        ("startupProbe", &container.startup_probe),
        ("readinessProbe", &container.readiness_probe),
        ("livenessProbe", &container.liveness_probe),
    ];
    for (name, probe) in probes.into_iter().filter_map(|(name, probe)| Some((name, probe.as_ref()?))) {
        out.extend(newer(&probe.http_get).then(|| format!("{path}.{name}.httpGet.protocol")));
        out.extend(secret(&probe.grpc).then(|| format!("{path}.{name}.grpc.mode")));
    }
    let hooks = container.lifecycle.as_ref();
    let hooks = hooks.map(|hooks| [("postStart", &hooks.post_start), ("preStop", &hooks.pre_stop)]);
    for (name, hook) in hooks.into_iter().flatten().filter_map(|(name, hook)| Some((name, hook.as_ref()?))) {
        out.extend(newer(&hook.http_get).then(|| format!("{path}.lifecycle.{name}.httpGet.protocol")));
    }
}

fn some<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

fn of_container(container: &Container, path: &str, node: &NodeFacts, out: &mut Vec<String>) {
    let mut flag = |set: bool, field: &str| {
        if set {
            out.push(format!("{path}.{field}"));
        }
    };
    let limits = container.resources.iter().flat_map(|resources| resources.limits.iter().flatten());
    // Huge pages are counted for scheduling; `unenforced` says that their limits are not held.
    let enforced =
        |name: &str| ENFORCED.contains(&name) || name.starts_with(HUGE_PAGES) || node.devices.contains_key(name);
    for (name, _) in limits.filter(|(name, _)| !enforced(name)) {
        flag(true, &format!("resources.limits[{name}]"));
    }
    flag(container.resources.as_ref().is_some_and(|resources| some(&resources.claims)), "resources.claims");
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        flag(some(&mount.bind_mount_options), &format!("volumeMounts[{index}].bindMountOptions"));
    }
    let security = container.security_context.as_ref();
    flag(security.is_some_and(|security| security.windows_options.is_some()), "securityContext.windowsOptions");
}
