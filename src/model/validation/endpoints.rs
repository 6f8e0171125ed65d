//! Owns the rules of Endpoints and EndpointSlices, and of addresses that may stand in them.
//!
//! Parity: core's `ValidateEndpointsCreate`, `ValidateEndpointIP`, and discovery's `ValidateEndpointSlice` at 1.32.

use core::net::IpAddr;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, Endpoints};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::service::PROTOCOLS;
use super::{metadata, names, text};
use crate::model::field::{Errors, FieldError, Path};

/// Most endpoints of a slice.
const ENDPOINTS_MAX: usize = 1000;
/// Most addresses of an endpoint.
const ADDRESSES_MAX: usize = 100;
/// Most ports of a slice.
const PORTS_MAX: usize = 20_000;

/// Every problem of new Endpoints.
pub fn endpoints(endpoints: &Endpoints) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::create(&mut errors, &endpoints.metadata, true, metadata::subdomain_name);
    subsets(&mut errors, endpoints);
    errors.into_vec()
}

/// Every problem of an update of Endpoints.
pub fn endpoints_update(new: &Endpoints, old: &Endpoints) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    subsets(&mut errors, new);
    errors.into_vec()
}

fn subsets(errors: &mut Errors, endpoints: &Endpoints) {
    let path = Path::new("subsets");
    for (index, subset) in endpoints.subsets.iter().flatten().enumerate() {
        let path = path.index(index);
        let (ready, unready) = (list(&subset.addresses), list(&subset.not_ready_addresses));
        if ready.is_empty() && unready.is_empty() {
            errors.required(&path, "must specify `addresses` or `notReadyAddresses`");
        }
        for (name, addresses) in [("addresses", ready), ("notReadyAddresses", unready)] {
            let path = path.child(name);
            addresses.iter().enumerate().for_each(|(index, one)| address(errors, one, &path.index(index)));
        }
        let ports = list(&subset.ports);
        let path = path.child("ports");
        ports.iter().enumerate().for_each(|(index, one)| port(errors, one, ports.len() > 1, &path.index(index)));
    }
}

fn list<T>(list: &Option<Vec<T>>) -> &[T] {
    list.as_deref().unwrap_or_default()
}

fn address(errors: &mut Errors, address: &EndpointAddress, path: &Path<'_>) {
    ordinary_ip(errors, &address.ip, &path.child("ip"));
    if !text(&address.hostname).is_empty() {
        let name = text(&address.hostname);
        errors.invalid_each(&path.child("hostname"), &name, names::dns_label(name));
    }
    if let Some(name) = &address.node_name {
        errors.invalid_each(&path.child("nodeName"), name, names::dns_subdomain(name));
    }
}

fn port(errors: &mut Errors, port: &EndpointPort, must_be_named: bool, path: &Path<'_>) {
    match text(&port.name) {
        "" if must_be_named => errors.required(&path.child("name"), ""),
        "" => {}
        name => errors.invalid_each(&path.child("name"), &name, names::dns_label(name)),
    }
    errors.invalid_each(&path.child("port"), &port.port, names::port_number(port.port));
    errors.required_one_of(&path.child("protocol"), text(&port.protocol), &PROTOCOLS);
    if let Some(name) = &port.app_protocol {
        errors.invalid_each(&path.child("appProtocol"), name, names::qualified_name(name));
    }
}

/// An address that a pod or a machine elsewhere can have. Parity: `ValidateNonSpecialIP`.
pub fn ordinary_ip(errors: &mut Errors, address: &str, path: &Path<'_>) {
    let wrong = names::ip(address);
    if !wrong.is_empty() {
        errors.invalid_each(path, &address, wrong);
        return;
    }
    let Ok(ip) = address.parse::<IpAddr>() else { return };
    let (linked, group) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] & 0xff0f == 0xff02),
    };
    for (special, words) in [
        (ip.is_unspecified(), format!("may not be unspecified ({ip})")),
        (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()),
        (linked, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()),
        (group, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()),
    ] {
        if special {
            errors.invalid(path, &address, &words);
        }
    }
}

/// Every problem of a new EndpointSlice.
pub fn slice(slice: &EndpointSlice) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::create(&mut errors, &slice.metadata, true, metadata::subdomain_name);
    body(&mut errors, slice);
    errors.into_vec()
}

/// Every problem of an update of an EndpointSlice.
pub fn slice_update(new: &EndpointSlice, old: &EndpointSlice) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::create(&mut errors, &new.metadata, true, metadata::subdomain_name);
    body(&mut errors, new);
    errors.immutable(&Path::new("addressType"), &new.address_type, &old.address_type, &new.address_type);
    errors.into_vec()
}

fn body(errors: &mut Errors, slice: &EndpointSlice) {
    errors.required_one_of(&Path::new("addressType"), &slice.address_type, &["FQDN", "IPv4", "IPv6"]);
    let path = Path::new("endpoints");
    let endpoints = list(&slice.endpoints);
    if endpoints.len() > ENDPOINTS_MAX {
        errors.too_many(&path, endpoints.len(), ENDPOINTS_MAX);
    } else {
        let each = endpoints.iter().enumerate();
        each.for_each(|(index, one)| endpoint(errors, one, &slice.address_type, &path.index(index)));
    }
    slice_ports(errors, slice, &Path::new("ports"));
}

fn endpoint(errors: &mut Errors, endpoint: &Endpoint, kind: &str, path: &Path<'_>) {
    let addresses = path.child("addresses");
    match endpoint.addresses.len() {
        0 => errors.required(&addresses, "must contain at least 1 address"),
        count if count > ADDRESSES_MAX => errors.too_many(&addresses, count, ADDRESSES_MAX),
        _allowed => {}
    }
    for (index, address) in endpoint.addresses.iter().enumerate() {
        let path = addresses.index(index);
        let six = names::parse_ip(address);
        match kind {
            "IPv4" if six != Some(false) => errors.invalid(&path, address, "must be a valid IPv4 address"),
            "IPv6" if six != Some(true) => errors.invalid(&path, address, "must be a valid IPv6 address"),
            "IPv4" | "IPv6" => ordinary_ip(errors, address, &path),
            "FQDN" => errors.invalid_each(&path, address, names::dns_subdomain(address)),
            _unknown => {}
        }
    }
    if let Some(name) = &endpoint.node_name {
        errors.invalid_each(&path.child("nodeName"), name, names::dns_subdomain(name));
    }
    if let Some(name) = &endpoint.hostname {
        errors.invalid_each(&path.child("hostname"), name, names::dns_label(name));
    }
}

fn slice_ports(errors: &mut Errors, slice: &EndpointSlice, path: &Path<'_>) {
    let ports = list(&slice.ports);
    if ports.len() > PORTS_MAX {
        errors.too_many(path, ports.len(), PORTS_MAX);
        return;
    }
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = text(&port.name);
        if !name.is_empty() {
            errors.invalid_each(&path.child("name"), &name, names::dns_label(name));
        }
        if ports[..index].iter().any(|other| text(&other.name) == name) {
            errors.duplicate(&path.child("name"), &name);
        }
        errors.required_one_of(&path.child("protocol"), text(&port.protocol), &PROTOCOLS);
        if let Some(name) = &port.app_protocol {
            errors.invalid_each(&path.child("appProtocol"), name, names::qualified_name(name));
        }
    }
}
