//! Owns the rules of Services.
//! Never asks for what a cluster would have allocated: see `model/service.rs`.
//!
//! Parity: core's `ValidateService` and `ValidateServiceUpdate` at 1.32. Differs: source ranges of a load balancer,
//! which has no effect here, and combinations of two address families are not looked at.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

use super::endpoints::ordinary_ip;
use super::{labels, metadata, names, probe, text};
use crate::model::field::{Errors, FieldError, Path};
use crate::model::service::{EXTERNAL_NAME, NO_ADDRESS};

/// Protocols that a port may have, in the order in which messages list them.
pub const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
/// Types of Services, in the order in which messages list them.
const TYPES: [&str; 4] = ["ClusterIP", EXTERNAL_NAME, "LoadBalancer", "NodePort"];
/// A client sticks to its pod for a day at most.
const AFFINITY_SECONDS_MAX: i32 = 86_400;

/// Every problem of a new Service.
pub fn create(service: &Service) -> Vec<FieldError> {
    let mut errors = Errors::new();
    check(&mut errors, service);
    errors.into_vec()
}

/// Every problem of an update.
pub fn update(new: &Service, old: &Service) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
        address_stays(&mut errors, new, old);
    }
    check(&mut errors, new);
    errors.into_vec()
}

/// Parity: `validateUpgradeDowngradeClusterIPs`.
fn address_stays(errors: &mut Errors, new: &ServiceSpec, old: &ServiceSpec) {
    let alias = |spec: &ServiceSpec| text(&spec.type_) == EXTERNAL_NAME;
    let first = |spec: &ServiceSpec| spec.cluster_ips.iter().flatten().next().cloned().unwrap_or_default();
    let (before, after) = (first(old), first(new));
    if alias(new) || alias(old) || before.is_empty() || before == after {
        return;
    }
    let path = Path::new("spec");
    let path = path.child("clusterIPs");
    let words = if after.is_empty() { "primary clusterIP can not be unset" } else { "may not change once set" };
    errors.invalid(&path.index(0), &new.cluster_ips.clone().unwrap_or_default().as_slice(), words);
}

fn check(errors: &mut Errors, service: &Service) {
    metadata::create(errors, &service.metadata, true, label_1035_name);
    let none = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&none);
    let path = Path::new("spec");
    of_type(errors, spec, &path);
    let list = spec.ports.as_deref().unwrap_or_default();
    let ports_path = path.child("ports");
    for (index, one) in list.iter().enumerate() {
        port(errors, one, &list[..index], list.len() > 1, &ports_path.index(index));
    }
    labels::labels(errors, spec.selector.as_ref(), &path.child("selector"));
    affinity(errors, spec, &path);
    addresses(errors, spec, &path);
    let ips_path = path.child("externalIPs");
    for (index, ip) in spec.external_ips.iter().flatten().enumerate() {
        ordinary_ip(errors, ip, &ips_path.index(index));
    }
    errors.required_one_of(&path.child("type"), text(&spec.type_), &TYPES);
    repeated(errors, spec, &ports_path);
    policies(errors, spec, &path);
}

fn label_1035_name(name: &str, prefix: bool) -> Vec<String> {
    if prefix { names::dns_1035_label(&names::mask_trailing_dash(name)) } else { names::dns_1035_label(name) }
}

/// What the type asks for and forbids.
fn of_type(errors: &mut Errors, spec: &ServiceSpec, path: &Path<'_>) {
    let kind = text(&spec.type_);
    let ips_path = path.child("clusterIPs");
    let ips = spec.cluster_ips.as_deref().unwrap_or_default();
    let headless = ips.len() == 1 && ips[0] == NO_ADDRESS;
    if spec.ports.as_ref().is_none_or(|ports| ports.is_empty()) && !headless && kind != EXTERNAL_NAME {
        errors.required(&path.child("ports"), "");
    }
    if headless && matches!(kind, "LoadBalancer" | "NodePort") {
        let words = format!("may not be set to 'None' for {kind} services");
        errors.invalid(&ips_path.index(0), &ips[0], &words);
    }
    if kind != EXTERNAL_NAME {
        return;
    }
    let words = "may not be set for ExternalName services";
    for (set, field) in [
        (!ips.is_empty(), "clusterIPs"),
        (spec.ip_families.as_ref().is_some_and(|list| !list.is_empty()), "ipFamilies"),
        (spec.ip_family_policy.is_some(), "ipFamilyPolicy"),
    ] {
        if set {
            errors.forbidden(&path.child(field), words);
        }
    }
    let name_path = path.child("externalName");
    // A dot at the end says that the name is complete.
    let name = text(&spec.external_name);
    let name = name.strip_suffix('.').unwrap_or(name);
    if !errors.required_if_empty(&name_path, name) {
        errors.invalid_each(&name_path, &name, names::dns_subdomain(name));
    }
}

fn port(errors: &mut Errors, port: &ServicePort, before: &[ServicePort], must_be_named: bool, path: &Path<'_>) {
    let name_path = path.child("name");
    match text(&port.name) {
        "" if must_be_named => errors.required(&name_path, ""),
        "" => {}
        name => {
            errors.invalid_each(&name_path, &name, names::dns_label(name));
            if before.iter().any(|other| text(&other.name) == name) {
                errors.duplicate(&name_path, &name);
            }
        }
    }
    errors.invalid_each(&path.child("port"), &port.port, names::port_number(port.port));
    errors.required_one_of(&path.child("protocol"), text(&port.protocol), &PROTOCOLS);
    if let Some(target) = &port.target_port {
        probe::port(errors, target, &path.child("targetPort"));
    }
    if let Some(name) = &port.app_protocol {
        errors.invalid_each(&path.child("appProtocol"), name, names::qualified_name(name));
    }
}

fn affinity(errors: &mut Errors, spec: &ServiceSpec, path: &Path<'_>) {
    let affinity = text(&spec.session_affinity);
    errors.required_one_of(&path.child("sessionAffinity"), affinity, &["ClientIP", "None"]);
    let config_path = path.child("sessionAffinityConfig");
    match (affinity, &spec.session_affinity_config) {
        ("None", Some(_)) => errors.forbidden(&config_path, "must not be set when session affinity is None"),
        ("ClientIP", Some(config)) => {
            let path = config_path.child("clientIP");
            let seconds = config.client_ip.as_ref().and_then(|client| client.timeout_seconds).unwrap_or(0);
            if !(1..=AFFINITY_SECONDS_MAX).contains(&seconds) {
                let words = format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}");
                errors.invalid(&path.child("timeoutSeconds"), &seconds, &words);
            }
        }
        ("ClientIP", None) => {
            errors.required(&config_path, "when session affinity type is ClientIP");
        }
        _other => {}
    }
}

/// Both forms of the address agree, and each is an address or `None`.
fn addresses(errors: &mut Errors, spec: &ServiceSpec, path: &Path<'_>) {
    if text(&spec.type_) == EXTERNAL_NAME {
        return;
    }
    let ips_path = path.child("clusterIPs");
    let ips = spec.cluster_ips.as_deref().unwrap_or_default();
    match (text(&spec.cluster_ip), ips.first()) {
        ("", None) => {}
        ("", Some(_)) => {
            let words = "must be empty when `clusterIP` is not specified";
            errors.invalid(&ips_path, &ips, words);
        }
        (_, None) => errors.required(&ips_path, ""),
        (ip, Some(first)) if ip != first => {
            errors.invalid(&ips_path, &ips, "first value must match `clusterIP`");
        }
        (_, Some(_)) => {}
    }
    for (index, ip) in ips.iter().enumerate() {
        if index > 0 && ip == NO_ADDRESS {
            errors.invalid(&ips_path.index(index), ip, "must be the first and only value in the list");
        } else if ip != NO_ADDRESS {
            errors.invalid_each(&ips_path.index(index), ip, names::ip(ip));
        }
    }
    let families_path = path.child("ipFamilies");
    let families = spec.ip_families.as_deref().unwrap_or_default();
    for (index, family) in families.iter().enumerate() {
        errors.one_of(&families_path.index(index), family, &["IPv4", "IPv6"]);
        if families[..index].contains(family) {
            errors.duplicate(&families_path.index(index), family);
        }
    }
    if let Some(policy) = &spec.ip_family_policy {
        let all = ["SingleStack", "PreferDualStack", "RequireDualStack"];
        errors.one_of(&path.child("ipFamilyPolicy"), policy, &all);
    }
}

/// Ports that are given twice.
fn repeated(errors: &mut Errors, spec: &ServiceSpec, path: &Path<'_>) {
    let ports = spec.ports.as_deref().unwrap_or_default();
    let node_port = |port: &ServicePort| port.node_port.filter(|port| *port != 0);
    for (index, port) in ports.iter().enumerate() {
        if node_port(port).is_some() && text(&spec.type_) == "ClusterIP" {
            let path = path.index(index);
            errors.forbidden(&path.child("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let same = |other: &&ServicePort| node_port(other) == node_port(port) && other.protocol == port.protocol;
        if let (Some(number), true) = (node_port(port), ports[..index].iter().any(|other| same(&other))) {
            errors.duplicate(&path.index(index).child("nodePort"), &number);
        }
    }
    for (index, port) in ports.iter().enumerate() {
        if ports[..index].iter().any(|other| other.port == port.port && other.protocol == port.protocol) {
            let key = ServicePort { port: port.port, protocol: port.protocol.clone(), ..ServicePort::default() };
            errors.duplicate(&path.index(index), &crate::model::field::Json(&key));
        }
    }
}

/// Policies that go with some types only.
fn policies(errors: &mut Errors, spec: &ServiceSpec, path: &Path<'_>) {
    let kind = text(&spec.type_);
    if spec.allocate_load_balancer_node_ports.is_some() && kind != "LoadBalancer" {
        let words = "may only be used when `type` is 'LoadBalancer'";
        errors.forbidden(&path.child("allocateLoadBalancerNodePorts"), words);
    }
    if let Some(class) = spec.load_balancer_class.as_ref() {
        let path = path.child("loadBalancerClass");
        if kind == "LoadBalancer" {
            errors.invalid_each(&path, class, names::qualified_name(class));
        } else {
            errors.forbidden(&path, "may only be used when `type` is 'LoadBalancer'");
        }
    }
    let outside = matches!(kind, "LoadBalancer" | "NodePort") || spec.external_ips.iter().flatten().next().is_some();
    let policy_path = path.child("externalTrafficPolicy");
    match text(&spec.external_traffic_policy) {
        "" if outside && kind != "ClusterIP" => errors.required(&policy_path, ""),
        "" => {}
        policy if outside => errors.one_of(&policy_path, policy, &["Cluster", "Local"]),
        policy => errors.invalid(&policy_path, &policy, "may only be set for externally-accessible services"),
    }
    if let Some(policy) = &spec.internal_traffic_policy {
        errors.one_of(&path.child("internalTrafficPolicy"), policy, &["Cluster", "Local"]);
    }
    if let Some(way) = &spec.traffic_distribution {
        let all = ["PreferClose", "PreferSameNode", "PreferSameZone"];
        errors.one_of(&path.child("trafficDistribution"), way, &all);
    }
}
