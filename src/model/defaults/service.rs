//! Owns the defaults of Services, Endpoints and EndpointSlices, and what the server sets on a Service.
//! Never allocates an address or a port: see `model/service.rs`.
//!
//! Parity: `SetDefaults_Service`, `SetDefaults_Endpoints`, the Service's strategy and `patchAllocatedValues`.

use k8s_openapi::api::core::v1::{
    ClientIPConfig, Endpoints, LoadBalancerStatus, Service, ServicePort, ServiceSpec, ServiceStatus,
    SessionAffinityConfig,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{set, set_text};
use crate::model::service::{EXTERNAL_NAME, NO_ADDRESS};

/// How long a client sticks to a pod where nothing else is said, in seconds: three hours.
const AFFINITY_SECONDS: i32 = 10_800;

/// `SetDefaults_Service`.
pub fn service(service: &mut Service) {
    let spec = service.spec.get_or_insert_default();
    set_text(&mut spec.session_affinity, "None");
    match spec.session_affinity.as_deref() {
        Some("None") => spec.session_affinity_config = None,
        Some("ClientIP") => {
            let config = spec.session_affinity_config.get_or_insert_with(SessionAffinityConfig::default);
            set(&mut config.client_ip.get_or_insert_with(ClientIPConfig::default).timeout_seconds, AFFINITY_SECONDS);
        }
        Some(_) | None => {}
    }
    set_text(&mut spec.type_, "ClusterIP");
    spec.ports.iter_mut().flatten().for_each(port);
    match spec.type_.as_deref() {
        Some("NodePort" | "LoadBalancer") => {
            set_text(&mut spec.external_traffic_policy, "Cluster");
            set_text(&mut spec.internal_traffic_policy, "Cluster");
        }
        Some("ClusterIP") => set_text(&mut spec.internal_traffic_policy, "Cluster"),
        Some(_) | None => {}
    }
    if spec.type_.as_deref() == Some("LoadBalancer") {
        set(&mut spec.allocate_load_balancer_node_ports, true);
    }
    set(&mut service.status.get_or_insert_default().load_balancer, LoadBalancerStatus::default());
}

fn port(port: &mut ServicePort) {
    set_text(&mut port.protocol, "TCP");
    let unset = match &port.target_port {
        None | Some(IntOrString::Int(0)) => true,
        Some(IntOrString::String(name)) => name.is_empty(),
        Some(IntOrString::Int(_)) => false,
    };
    if unset {
        port.target_port = Some(IntOrString::Int(port.port));
    }
}

/// What the server sets on a new Service: no status, both forms of the address alike, the one family that there is.
pub fn prepare_create(new: &mut Service) {
    new.status = Some(ServiceStatus { load_balancer: Some(LoadBalancerStatus::default()), conditions: None });
    let spec = new.spec.get_or_insert_default();
    normalise(spec);
    families(spec);
}

/// What an update leaves as it was: the status, and the address of a Service that does not name one.
pub fn prepare_update(new: &mut Service, old: &Service) {
    new.status.clone_from(&old.status);
    let spec = new.spec.get_or_insert_default();
    if spec.type_.as_deref() == Some(EXTERNAL_NAME) {
        return;
    }
    if let Some(old) = old.spec.as_ref().filter(|old| old.type_.as_deref() != Some(EXTERNAL_NAME)) {
        if spec.cluster_ip.as_deref().unwrap_or_default().is_empty() {
            spec.cluster_ip.clone_from(&old.cluster_ip);
            spec.cluster_ips.clone_from(&old.cluster_ips);
        } else if spec.cluster_ip != old.cluster_ip && spec.cluster_ips == old.cluster_ips {
            // A client that knows the one form only changed that.
            spec.cluster_ips = None;
        }
    }
    normalise(spec);
    families(spec);
}

/// What a status update leaves as it was: the spec.
pub fn prepare_status_update(new: &mut Service, old: &Service) {
    new.spec.clone_from(&old.spec);
}

/// Parity: `NormalizeClusterIPs`.
fn normalise(spec: &mut ServiceSpec) {
    let listed = spec.cluster_ips.as_ref().is_some_and(|list| !list.is_empty());
    match spec.cluster_ip.clone().filter(|ip| !ip.is_empty()) {
        Some(ip) if !listed => spec.cluster_ips = Some(vec![ip]),
        Some(_) => {}
        None => {
            if spec.cluster_ips.as_ref().is_some_and(|list| list.iter().any(|ip| ip == NO_ADDRESS)) {
                spec.cluster_ip = Some(NO_ADDRESS.to_owned());
            }
        }
    }
}

/// Pods have IPv4 addresses here.
fn families(spec: &mut ServiceSpec) {
    if spec.type_.as_deref() == Some(EXTERNAL_NAME) {
        return;
    }
    set_text(&mut spec.ip_family_policy, "SingleStack");
    if spec.ip_families.as_ref().is_none_or(|list| list.is_empty()) {
        spec.ip_families = Some(vec!["IPv4".to_owned()]);
    }
}

/// `SetDefaults_Endpoints`.
pub fn endpoints(endpoints: &mut Endpoints) {
    let subsets = endpoints.subsets.iter_mut().flatten();
    for port in subsets.flat_map(|subset| subset.ports.iter_mut().flatten()) {
        set_text(&mut port.protocol, "TCP");
    }
}

/// `SetDefaults_EndpointPort` of discovery.
pub fn endpoint_slice(slice: &mut EndpointSlice) {
    for port in slice.ports.iter_mut().flatten() {
        set(&mut port.name, String::new());
        set(&mut port.protocol, "TCP".to_owned());
    }
}
