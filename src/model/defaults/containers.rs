//! Owns the defaults of containers and what is in them: ports, probes, environment, handlers, resources.
//! Never looks beyond the container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, EphemeralContainer, HTTPGetAction, Lifecycle, ObjectFieldSelector, Probe,
    ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{image, set, set_number, set_text};
use crate::model::quantity;

/// Resources are kept in thousandths at the finest.
const MILLI: i32 = -3;

/// `SetDefaults_Container` and all below it.
pub fn container(container: &mut Container) {
    set_text(&mut container.image_pull_policy, image::pull_policy(container.image.as_deref().unwrap_or_default()));
    message(&mut container.termination_message_path, &mut container.termination_message_policy);
    ports(container.ports.as_deref_mut());
    env(container.env.as_deref_mut());
    resources(container.resources.as_mut());
    for one in [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe] {
        probe(one.as_mut());
    }
    lifecycle(container.lifecycle.as_mut());
}

/// `SetDefaults_EphemeralContainer` and all below it.
pub fn ephemeral_container(container: &mut EphemeralContainer) {
    set_text(&mut container.image_pull_policy, image::pull_policy(container.image.as_deref().unwrap_or_default()));
    message(&mut container.termination_message_path, &mut container.termination_message_policy);
    ports(container.ports.as_deref_mut());
    env(container.env.as_deref_mut());
    resources(container.resources.as_mut());
    for one in [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe] {
        probe(one.as_mut());
    }
    lifecycle(container.lifecycle.as_mut());
}

fn message(path: &mut Option<String>, policy: &mut Option<String>) {
    set_text(path, "/dev/termination-log");
    set_text(policy, "File");
}

fn ports(ports: Option<&mut [ContainerPort]>) {
    for port in ports.into_iter().flatten() {
        set_text(&mut port.protocol, "TCP");
    }
}

fn env(vars: Option<&mut [EnvVar]>) {
    for var in vars.into_iter().flatten() {
        let Some(from) = &mut var.value_from else { continue };
        if let Some(field) = &mut from.field_ref {
            field_ref(field);
        }
        if let Some(file) = &mut from.file_key_ref {
            set(&mut file.optional, false);
        }
    }
}

/// `SetDefaults_ObjectFieldSelector`
pub fn field_ref(field: &mut ObjectFieldSelector) {
    set_text(&mut field.api_version, "v1");
}

fn probe(probe: Option<&mut Probe>) {
    let Some(probe) = probe else { return };
    set_number(&mut probe.timeout_seconds, 1);
    set_number(&mut probe.period_seconds, 10);
    set_number(&mut probe.success_threshold, 1);
    set_number(&mut probe.failure_threshold, 3);
    if let Some(get) = &mut probe.http_get {
        http_get(get);
    }
    if let Some(grpc) = &mut probe.grpc {
        set(&mut grpc.service, String::new());
    }
}

fn http_get(get: &mut HTTPGetAction) {
    set_text(&mut get.path, "/");
    set_text(&mut get.scheme, "HTTP");
}

fn lifecycle(lifecycle: Option<&mut Lifecycle>) {
    let Some(lifecycle) = lifecycle else { return };
    for handler in [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten() {
        if let Some(get) = &mut handler.http_get {
            http_get(get);
        }
    }
}

/// `SetDefaults_ResourceList` of limits and requests.
pub fn resources(resources: Option<&mut ResourceRequirements>) {
    let Some(resources) = resources else { return };
    resource_list(resources.limits.as_mut());
    resource_list(resources.requests.as_mut());
}

/// `SetDefaults_ResourceList`: nothing finer than a thousandth, rounded up.
pub fn resource_list(list: Option<&mut BTreeMap<String, Quantity>>) {
    for value in list.into_iter().flat_map(BTreeMap::values_mut) {
        if let Ok(mut read) = quantity::Quantity::parse(&value.0) {
            read.round_up(MILLI);
            value.0 = read.canonical();
        }
    }
}

/// Requests that nobody gave are the limits: for pods, not for templates.
pub fn requests_from_limits(resources: Option<&mut ResourceRequirements>) {
    let Some(resources) = resources else { return };
    let Some(limits) = &resources.limits else { return };
    let requests = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

/// With the host's network a container's ports are the host's: for pods, not for templates.
pub fn host_ports(ports: Option<&mut [ContainerPort]>) {
    for port in ports.into_iter().flatten() {
        set_number(&mut port.host_port, port.container_port);
    }
}
