//! Owns the cells of Services, Endpoints and EndpointSlices. PURE.
//! Never resolves a name.

use k8s_openapi::api::core::v1::{Endpoints, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::{Row, or_none};

/// Items of a list that are shown before the rest is only counted.
const SHOWN: usize = 3;

pub(super) fn service(service: &Service, row: Row<'_>) -> Vec<Value> {
    let none = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&none);
    let selector: Vec<String> = spec.selector.iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    vec![
        json!(row.name),
        json!(spec.type_.as_deref().unwrap_or_default()),
        json!(or_none(spec.cluster_ips.iter().flatten().next().map(String::as_str))),
        json!(external(service, spec)),
        json!(or_none(Some(&ports(spec)))),
        json!(row.age),
        json!(or_none(Some(&selector.join(",")))),
    ]
}

/// Parity: `getServiceExternalIP`.
fn external(service: &Service, spec: &ServiceSpec) -> String {
    let given = spec.external_ips.iter().flatten().cloned();
    match spec.type_.as_deref() {
        Some("ExternalName") => spec.external_name.clone().unwrap_or_default(),
        Some("LoadBalancer") => {
            let balancer = service.status.iter().filter_map(|status| status.load_balancer.as_ref());
            let points = balancer.flat_map(|balancer| balancer.ingress.iter().flatten());
            let points = points.filter_map(|point| point.ip.clone().or_else(|| point.hostname.clone()));
            let all: Vec<String> = points.chain(given).collect();
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        Some(_) | None => or_none(Some(&given.collect::<Vec<_>>().join(","))).to_owned(),
    }
}

fn ports(spec: &ServiceSpec) -> String {
    let text = |port: &ServicePort| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        match port.node_port.filter(|number| *number > 0) {
            Some(number) => format!("{}:{number}/{protocol}", port.port),
            None => format!("{}/{protocol}", port.port),
        }
    };
    spec.ports.iter().flatten().map(text).collect::<Vec<_>>().join(",")
}

/// Parity: `formatEndpoints`.
pub(super) fn endpoints(endpoints: &Endpoints, row: Row<'_>) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let addresses = subset.addresses.iter().flatten();
        let ports = subset.ports.as_deref().unwrap_or_default();
        if ports.is_empty() {
            all.extend(addresses.map(|address| address.ip.clone()));
            continue;
        }
        let addresses: Vec<_> = addresses.collect();
        for port in ports {
            all.extend(addresses.iter().map(|address| join(&address.ip, port.port)));
        }
    }
    let more = all.len().saturating_sub(SHOWN);
    let mut text = all.into_iter().take(SHOWN).collect::<Vec<_>>().join(",");
    if more > 0 {
        text.push_str(&format!(" + {more} more..."));
    }
    vec![json!(row.name), json!(or_none(Some(&text))), json!(row.age)]
}

/// Parity: Go's `net.JoinHostPort`.
fn join(ip: &str, port: i32) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// Parity: `printEndpointSlice`.
pub(super) fn slice(slice: &EndpointSlice, row: Row<'_>) -> Vec<Value> {
    let ports = slice.ports.iter().flatten().map(|port| match port.port {
        Some(number) => number.to_string(),
        None => "*".to_owned(),
    });
    let addresses = slice.endpoints.iter().flatten().flat_map(|endpoint| endpoint.addresses.iter().cloned());
    vec![
        json!(row.name),
        json!(slice.address_type),
        json!(short(ports.collect())),
        json!(short(addresses.collect())),
        json!(row.age),
    ]
}

fn short(items: Vec<String>) -> String {
    let more = items.len().saturating_sub(SHOWN);
    let text = items.into_iter().take(SHOWN).collect::<Vec<_>>().join(",");
    match (text.is_empty(), more) {
        (true, _) => "<unset>".to_owned(),
        (false, 0) => text,
        (false, more) => format!("{text} + {more} more..."),
    }
}
