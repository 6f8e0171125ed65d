//! Owns the rules of a pod's spec and of pod templates as a whole; the parts' rules stand in their own files.
//! Never fills in defaults: a spec comes defaulted.
//!
//! Parity: core's `ValidatePodSpec` and `ValidatePodTemplateSpec` at 1.32, in its order of checks. Upstream forgives
//! an update what was wrong in the stored object already; here nothing wrong gets stored.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::container::{self, Surroundings};
use super::{
    Subject, affinity, dns, labels, metadata, names, profiles, resources, scheduling, security, text, volumes, windows,
};
use crate::model::field::{Errors, Path};
use crate::model::tree::Tree;
use crate::model::{decode, json};

/// Annotation that marks a pod read from a file on its node.
pub const MIRROR_POD: &str = "kubernetes.io/config.mirror";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// A pod template of another object.
pub fn template(errors: &mut Errors, template: &PodTemplateSpec, path: &Path<'_>) {
    let (no_spec, no_meta) = (PodSpec::default(), ObjectMeta::default());
    let spec = template.spec.as_ref().unwrap_or(&no_spec);
    let meta = template.metadata.as_ref().unwrap_or(&no_meta);
    let spec_path = path.child("spec");
    let annotations_path = path.child("annotations");
    labels::labels(errors, meta.labels.as_ref(), &path.child("labels"));
    labels::annotations(errors, meta.annotations.as_ref(), &annotations_path);
    annotations(errors, meta, spec, &annotations_path);
    self::spec(errors, spec, None, Subject::Template, &spec_path);
    let none = BTreeMap::new();
    profiles::annotations_match(errors, meta.annotations.as_ref().unwrap_or(&none), spec, &spec_path);
    if spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        let words = "ephemeral containers not allowed in pod template";
        errors.forbidden(&spec_path.child("ephemeralContainers"), words);
    }
}

/// Annotations that mean something to a pod.
pub fn annotations(errors: &mut Errors, meta: &ObjectMeta, spec: &PodSpec, path: &Path<'_>) {
    let Some(annotations) = &meta.annotations else { return };
    if let Some(value) = annotations.get(MIRROR_POD)
        && text(&spec.node_name).is_empty()
    {
        errors.invalid(&path.key(MIRROR_POD), value, "must set spec.nodeName if mirror pod annotation is set");
    }
    if let Some(value) = annotations.get(TOLERATIONS).filter(|value| !value.is_empty()) {
        match serde_json::from_str::<Vec<Toleration>>(value) {
            Ok(list) => scheduling::tolerations(errors, &list, &path.child(TOLERATIONS)),
            Err(problem) => errors.invalid(path, &TOLERATIONS, &unreadable(value).unwrap_or(problem.to_string())),
        }
    }
    if let Some(value) = annotations.get(DELETION_COST).filter(|value| !is_plain_number(value)) {
        errors.invalid(&path.key(DELETION_COST), value, "must be a 32bit integer");
    }
    profiles::annotations(errors, annotations, spec, path);
}

/// How Go says that a text is no JSON, or not a list.
fn unreadable(text: &str) -> Option<String> {
    match json::parse(text) {
        Err(problem) => Some(problem.message),
        Ok(node) if matches!(node.tree, Tree::List(_) | Tree::Null) => None,
        Ok(node) => {
            let what = decode::name_of(&node.tree);
            Some(format!("json: cannot unmarshal {what} into Go value of type []core.Toleration"))
        }
    }
}

/// A 32-bit number without a plus sign or leading zeros.
fn is_plain_number(text: &str) -> bool {
    let starts_well = text == "0" || text.starts_with(|letter| matches!(letter, '-' | '1'..='9'));
    starts_well && text.parse::<i32>().is_ok()
}

/// A pod's spec. `meta` is a pod's own metadata; a template has none.
pub fn spec(errors: &mut Errors, spec: &PodSpec, meta: Option<&ObjectMeta>, subject: Subject, path: &Path<'_>) {
    if spec.termination_grace_period_seconds.is_none() {
        errors.required(&path.child("terminationGracePeriodSeconds"), "");
    }
    let list = spec.volumes.as_deref().unwrap_or_default();
    let volumes = volumes::volumes(errors, list, meta, subject, &path.child("volumes"));
    let claims = spec.resource_claims.as_deref().unwrap_or_default();
    scheduling::claims(errors, claims, &path.child("resourceClaims"));
    let around = Surroundings {
        volumes,
        claims: claims.iter().map(|claim| claim.name.as_str()).filter(|name| !name.is_empty()).collect(),
        grace: spec.termination_grace_period_seconds,
        restart_policy: text(&spec.restart_policy),
        host_users: spec.host_users.unwrap_or(true),
    };
    container::regular(errors, spec, &around, &path.child("containers"));
    container::init(errors, spec, &around, &path.child("initContainers"));
    container::ephemeral(errors, spec, &around, &path.child("ephemeralContainers"));
    resources::of_pod(errors, spec, &path.child("resources"));
    host_ports(errors, spec, subject, &path.child("containers"));
    let policies = ["Always", "OnFailure", "Never"];
    errors.required_one_of(&path.child("restartPolicy"), text(&spec.restart_policy), &policies);
    dns::policy(errors, text(&spec.dns_policy), &path.child("dnsPolicy"));
    labels::labels(errors, spec.node_selector.as_ref(), &path.child("nodeSelector"));
    security::pod(errors, spec, &path.child("securityContext"));
    affinity::affinity(errors, spec.affinity.as_ref(), &path.child("affinity"));
    dns::config(errors, spec, &path.child("dnsConfig"));
    gates(errors, spec, path);
    let constraints = spec.topology_spread_constraints.as_deref().unwrap_or_default();
    scheduling::spread(errors, constraints, &path.child("topologySpreadConstraints"));
    windows::host_process(errors, spec, path);
    security::host_users(errors, spec, path);
    scalars(errors, spec, path);
    security::os(errors, spec, path);
}

fn gates(errors: &mut Errors, spec: &PodSpec, path: &Path<'_>) {
    let readiness_path = path.child("readinessGates");
    for (index, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let path = readiness_path.index(index);
        errors.invalid_each(
            &path.child("conditionType"),
            &gate.condition_type,
            names::qualified_name(&gate.condition_type),
        );
    }
    scheduling::gates(errors, spec.scheduling_gates.as_deref().unwrap_or_default(), &path.child("schedulingGates"));
}

/// On the host's network a container's ports are the host's. A template may leave host ports to be filled in.
fn host_ports(errors: &mut Errors, spec: &PodSpec, subject: Subject, path: &Path<'_>) {
    if spec.host_network != Some(true) {
        return;
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let path = path.index(index);
        let path = path.child("ports");
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let host = port.host_port.unwrap_or(0);
            if (subject == Subject::Pod || host != 0) && host != port.container_port {
                let words = "must match `containerPort` when `hostNetwork` is true";
                errors.invalid(&path.index(index).child("hostPort"), &host, words);
            }
        }
    }
}

/// The single-valued fields, in upstream's order.
fn scalars(errors: &mut Errors, spec: &PodSpec, path: &Path<'_>) {
    let named = |errors: &mut Errors, field: &str, value: &Option<String>| {
        let value = text(value);
        if !value.is_empty() {
            errors.invalid_each(&path.child(field), &value, metadata::subdomain_name(value, false));
        }
    };
    named(errors, "serviceAccountName", &spec.service_account_name);
    named(errors, "nodeName", &spec.node_name);
    let most = i64::from(i32::MAX);
    if let Some(seconds) = spec.active_deadline_seconds.filter(|seconds| !(1..=most).contains(seconds)) {
        errors.invalid(&path.child("activeDeadlineSeconds"), &seconds, &names::outside(1, most));
    }
    for (field, value) in [("hostname", text(&spec.hostname)), ("subdomain", text(&spec.subdomain))] {
        if !value.is_empty() {
            errors.invalid_each(&path.child(field), &value, names::dns_label(value));
        }
    }
    hostname_override(errors, spec, path);
    scheduling::tolerations(errors, spec.tolerations.as_deref().unwrap_or_default(), &path.child("tolerations"));
    dns::host_aliases(errors, spec.host_aliases.as_deref().unwrap_or_default(), &path.child("hostAliases"));
    named(errors, "priorityClassName", &spec.priority_class_name);
    if let Some(class) = &spec.runtime_class_name {
        errors.invalid_each(&path.child("runtimeClassName"), class, metadata::subdomain_name(class, false));
    }
    if let Some(policy) = &spec.preemption_policy {
        errors.required_one_of(&path.child("preemptionPolicy"), policy, &["PreemptLowerPriority", "Never"]);
    }
    if let Some(overhead) = &spec.overhead {
        resources::overhead(errors, overhead, &path.child("overhead"));
    }
}

/// Longest host name that Linux takes, in bytes.
const HOSTNAME_MAX: usize = 64;

/// Newer than 1.32; as the newest upstream has it.
fn hostname_override(errors: &mut Errors, spec: &PodSpec, path: &Path<'_>) {
    let Some(name) = &spec.hostname_override else { return };
    let path = path.child("hostnameOverride");
    errors.invalid_each(&path, name, names::dns_subdomain(name));
    if name.len() > HOSTNAME_MAX {
        errors.too_long(&path, HOSTNAME_MAX);
    }
    if spec.host_network == Some(true) {
        errors.invalid(&path, name, "may not be specified when hostNetwork is true");
    }
}
