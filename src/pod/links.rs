//! PURE. Owns the environment variables that tell a container of Services: `DB_SERVICE_HOST` and its kin.
//! Never tells of a Service without ports, of an alias, or of one whose author asked for no address.
//!
//! Parity: `FromServices` of `pkg/kubelet/envvars`. Differs: a Service has no address of its own here, so the host is
//! its full name, which the hosts file gives the ready pods for, and the port is the pods' own where it is a number.

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::model::service as meaning;

/// The variables, in the order of the Services.
pub fn variables(services: &[Service]) -> Vec<(String, String)> {
    services.iter().flat_map(of_service).collect()
}

fn of_service(service: &Service) -> Vec<(String, String)> {
    let Some(spec) = service.spec.as_ref() else { return Vec::new() };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return Vec::new() };
    if meaning::is_alias(spec) || meaning::asks_for_no_address(spec) {
        return Vec::new();
    }
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let host = meaning::full_name(name, service.metadata.namespace.as_deref().unwrap_or_default());
    let prefix = shell_name(name);
    let mut out = vec![
        (format!("{prefix}_SERVICE_HOST"), host.clone()),
        (format!("{prefix}_SERVICE_PORT"), number(first).to_string()),
    ];
    for port in ports {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            out.push((format!("{prefix}_SERVICE_PORT_{}", shell_name(name)), number(port).to_string()));
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let protocol = meaning::protocol(port);
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), number(port));
        if index == 0 {
            out.push((format!("{prefix}_PORT"), url.clone()));
        }
        let prefix = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        out.push((prefix.clone(), url));
        out.push((format!("{prefix}_PROTO"), protocol.to_lowercase()));
        out.push((format!("{prefix}_PORT"), number(port).to_string()));
        out.push((format!("{prefix}_ADDR"), host.clone()));
    }
    out
}

/// The port to connect to.
fn number(port: &ServicePort) -> i32 {
    match &port.target_port {
        Some(IntOrString::Int(number)) if *number != 0 => *number,
        Some(IntOrString::Int(_) | IntOrString::String(_)) | None => port.port,
    }
}

fn shell_name(name: &str) -> String {
    let upper = name.replace(['.', '-'], "_").to_uppercase();
    if upper.starts_with(|first: char| first.is_ascii_digit()) { format!("_{upper}") } else { upper }
}
