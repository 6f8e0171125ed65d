//! PURE. Owns which ports of the host a pod asks for, and whether another has them.
//! Never opens any.
//!
//! Parity: `GetHostPorts` and `HostPortInfo` of kube-scheduler.

use k8s_openapi::api::core::v1::PodSpec;

/// Any address of the host.
const ANY: &str = "0.0.0.0";

/// A port of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port<'a> {
    address: &'a str,
    protocol: &'a str,
    number: i32,
}

/// The ports that a pod asks for.
pub fn of(spec: &PodSpec) -> impl Iterator<Item = Port<'_>> {
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let given = |text: &'_ Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    ports.filter(|port| port.host_port.is_some_and(|number| number > 0)).map(move |port| Port {
        address: if given(&port.host_ip) { port.host_ip.as_deref().unwrap_or(ANY) } else { ANY },
        protocol: if given(&port.protocol) { port.protocol.as_deref().unwrap_or("TCP") } else { "TCP" },
        number: port.host_port.unwrap_or(0),
    })
}

/// Whether both cannot be had at the same time.
pub fn clash(one: Port<'_>, other: Port<'_>) -> bool {
    let addresses = one.address == other.address || one.address == ANY || other.address == ANY;
    addresses && one.protocol == other.protocol && one.number == other.number
}
