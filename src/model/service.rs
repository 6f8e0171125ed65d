//! Owns what a Service means on one machine without a balancer: whether it is headless, which pods it selects, which
//! port of a pod stands behind a port of it, and what has to be told of a Service that would be balanced elsewhere.
//! Never looks at a store.
//!
//! Differs: jobdock has no virtual addresses. No Service gets a `clusterIP` or a node port; the name of every Service
//! with a selector gives the addresses of its ready pods, as with `clusterIP: None`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::validation::names::parse_ip;

/// The domain that names end with. Parity: the kubelet's default `clusterDomain`.
pub const CLUSTER_DOMAIN: &str = "cluster.local";
/// Label of an EndpointSlice: the Service that it belongs to.
pub const LABEL_SERVICE: &str = "kubernetes.io/service-name";
/// The `clusterIP` of a Service that asks for no address of its own.
pub const NO_ADDRESS: &str = "None";
/// The type of a Service that is another name for something outside.
pub const EXTERNAL_NAME: &str = "ExternalName";
/// The name under which pods reach the machine, as Docker Desktop has it.
pub const HOST_NAME: &str = "host.docker.internal";
/// Protocol of a port that names none.
const TCP: &str = "TCP";

/// The full name of a Service: `db.default.svc.cluster.local`.
pub fn full_name(service: &str, namespace: &str) -> String {
    format!("{service}.{namespace}.svc.{CLUSTER_DOMAIN}")
}

/// Whether the Service is an alias.
pub fn is_alias(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() == Some(EXTERNAL_NAME)
}

/// Whether an alias leads to something whose addresses are known here.
fn can_be_followed(target: &str) -> bool {
    let target = target.trim_end_matches('.');
    let inside = target.strip_suffix(CLUSTER_DOMAIN).is_some_and(|rest| rest.ends_with(".svc."));
    inside || target == HOST_NAME || parse_ip(target).is_some()
}

/// Whether its author asked for no address.
pub fn asks_for_no_address(spec: &ServiceSpec) -> bool {
    spec.cluster_ip.as_deref() == Some(NO_ADDRESS)
}

/// The labels of the pods behind it; none where somebody else writes its endpoints, or where it is an alias.
pub fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    let spec = service.spec.as_ref().filter(|spec| !is_alias(spec))?;
    spec.selector.as_ref().filter(|selector| !selector.is_empty())
}

/// Whether labels have all that a selector names.
pub fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// The protocol of a port.
pub fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().filter(|protocol| !protocol.is_empty()).unwrap_or(TCP)
}

/// Ports of a pod's main containers and sidecars that have names: by name and protocol.
pub fn named_ports(spec: &PodSpec) -> BTreeMap<(String, String), i32> {
    let sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(sidecar);
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let mut out = BTreeMap::new();
    for port in ports {
        if let Some(name) = &port.name {
            let protocol = port.protocol.clone().unwrap_or_else(|| TCP.to_owned());
            out.entry((name.clone(), protocol)).or_insert(port.container_port);
        }
    }
    out
}

/// The port of a pod that a Service's port stands for; none where the pod has no port of that name.
/// Parity: `FindPort` of the endpointslice library.
pub fn pod_port(named: &BTreeMap<(String, String), i32>, port: &ServicePort) -> Option<i32> {
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) if name.is_empty() => Some(port.port),
        Some(IntOrString::String(name)) => named.get(&(name.clone(), protocol(port).to_owned())).copied(),
    }
}

/// What a Service's user has to know where it would be balanced, or given ports of the machine, on a cluster.
pub fn warning(service: &Service) -> Option<String> {
    let spec = service.spec.as_ref()?;
    let name = service.metadata.name.as_deref().unwrap_or_default();
    if is_alias(spec) {
        let target = spec.external_name.as_deref().unwrap_or_default();
        return (!can_be_followed(target)).then(|| {
            format!("jobdock does not resolve {name}, which is another name for {target}: use {target} itself")
        });
    }
    if asks_for_no_address(spec) {
        return None;
    }
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    let mut text =
        format!("jobdock gives a Service no address of its own: the name {name} gives the addresses of the ready pods");
    let mapped = spec.ports.iter().flatten().filter_map(|port| match &port.target_port {
        Some(IntOrString::Int(number)) if *number != port.port && *number != 0 => {
            Some(format!("{number} rather than {}", port.port))
        }
        Some(IntOrString::String(name)) if !name.is_empty() => {
            Some(format!("the pod's port {name} rather than {}", port.port))
        }
        Some(IntOrString::Int(_) | IntOrString::String(_)) | None => None,
    });
    let mapped: Vec<String> = mapped.collect();
    if !mapped.is_empty() {
        text.push_str(&format!("; connect to {}", mapped.join(", ")));
    }
    if matches!(kind, "NodePort" | "LoadBalancer") {
        text.push_str(&format!("; type {kind} opens no port of the machine: use hostPort in the pod"));
    }
    Some(text)
}
