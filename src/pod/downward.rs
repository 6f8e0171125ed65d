//! PURE. Owns what a pod may learn of itself: `fieldRef` and `resourceFieldRef`, in environment and in files.
//! Never reads the pod's own files: all is in the facts.
//!
//! Parity: `podFieldSelectorRuntimeValue`, `pkg/fieldpath` and `pkg/api/v1/resource` (`ExtractContainerResourceValue`).

use std::collections::BTreeMap;
use std::fmt::Write;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

use super::facts::NodeFacts;
use super::limits::EPHEMERAL_STORAGE;
use super::quantity;

/// Parts of a unit.
const NANO: i128 = 1_000_000_000;

/// The value of a field of the pod, or why there is none. `pod_ip` is empty where it is not known yet.
pub fn field(pod: &Pod, node: &NodeFacts, pod_ip: &str, path: &str) -> Result<String, String> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    Ok(match path {
        "metadata.name" => text(meta.name.as_ref()),
        "metadata.namespace" => text(meta.namespace.as_ref()),
        "metadata.uid" => text(meta.uid.as_ref()),
        "metadata.labels" => format_map(meta.labels.as_ref()),
        "metadata.annotations" => format_map(meta.annotations.as_ref()),
        "spec.nodeName" => node.name.clone(),
        "spec.serviceAccountName" => text(spec.and_then(|spec| spec.service_account_name.as_ref())),
        "status.hostIP" | "status.hostIPs" => node.ip.clone(),
        "status.podIP" | "status.podIPs" => pod_ip.to_owned(),
        path => match subscript(path) {
            Some(("metadata.labels", key)) => text(meta.labels.as_ref().and_then(|labels| labels.get(key))),
            Some(("metadata.annotations", key)) => text(meta.annotations.as_ref().and_then(|all| all.get(key))),
            Some(_) | None => return Err(format!("unsupported fieldPath: {path}")),
        },
    })
}

/// Whether a field is only known once the pod has a network.
pub fn needs_address(path: &str) -> bool {
    matches!(path, "status.podIP" | "status.podIPs")
}

/// `metadata.labels['key']` as its two parts.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (field, rest) = path.split_once("['")?;
    Some((field, rest.strip_suffix("']")?))
}

/// One `key="value"` line each, in the order of keys.
fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> =
        map.into_iter().flatten().map(|(key, value)| format!("{key}={}", go_quoted(value))).collect();
    lines.join("\n")
}

/// A string as Go's `%q` writes it, as far as labels and annotations go.
fn go_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A container's limit or request in units of the divisor; a limit that is not set is the most that it could use.
pub fn resource(
    pod: &Pod,
    own: Option<&Container>,
    node: &NodeFacts,
    selector: &ResourceFieldSelector,
) -> Result<String, String> {
    let container = match selector.container_name.as_deref().filter(|name| !name.is_empty()) {
        None => own.ok_or("container name is required")?,
        Some(name) => find(pod, name).ok_or_else(|| format!("container {name} not found"))?,
    };
    let Some((list, name)) = selector.resource.split_once('.') else {
        return Err(format!("unsupported container resource : {}", selector.resource));
    };
    let resources = container.resources.as_ref();
    let limit = quantity::find(resources.and_then(|all| all.limits.as_ref()), name);
    let request = quantity::find(resources.and_then(|all| all.requests.as_ref()), name);
    let value = match list {
        "limits" => limit.filter(|value| *value > 0).unwrap_or_else(|| most(pod, node, name)),
        "requests" => request.or(limit).unwrap_or(0),
        _other => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    let divisor = selector.divisor.as_ref().and_then(|divisor| quantity::nanos(&divisor.0)).filter(|value| *value > 0);
    Ok(quantity::divided(value, divisor.unwrap_or(NANO)).to_string())
}

/// What a container without a limit may use, in billionths: all that the pod may, or else all that pods may on this
/// node. Parity: `MergeContainerResourceLimits`.
fn most(pod: &Pod, node: &NodeFacts, resource: &str) -> i128 {
    let whole = match resource {
        "cpu" => node.cpu_nanos,
        "memory" => node.memory_bytes * NANO,
        EPHEMERAL_STORAGE => return node.storage_bytes.unwrap_or(0) * NANO,
        _other => return 0,
    };
    let pods = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.limits.as_ref());
    quantity::find(pods, resource).filter(|value| *value > 0).unwrap_or(whole)
}

fn find<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|container| container.name == name)
}
