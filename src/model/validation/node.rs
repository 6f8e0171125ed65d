//! Owns the rules of nodes.
//!
//! Parity: core's `ValidateNode` and `ValidateNodeUpdate` at 1.32, odd paths included.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, NodeSpec, Taint};

use super::{labels, metadata, names, resources, scheduling, text};
use crate::model::field::{Errors, FieldError, Json, Path};

/// Every problem of a new node.
pub fn create(node: &Node) -> Vec<FieldError> {
    let mut errors = Errors::new();
    check(&mut errors, node);
    errors.into_vec()
}

/// Every problem of an update.
pub fn update(new: &Node, old: &Node) -> Vec<FieldError> {
    let mut errors = Errors::new();
    check(&mut errors, new);
    changes(&mut errors, new, old);
    errors.into_vec()
}

/// Every problem of a status update.
pub fn update_status(new: &Node, old: &Node) -> Vec<FieldError> {
    let mut errors = Errors::new();
    changes(&mut errors, new, old);
    errors.into_vec()
}

fn check(errors: &mut Errors, node: &Node) {
    metadata::create(errors, &node.metadata, false, metadata::subdomain_name);
    let default = NodeSpec::default();
    let spec = node.spec.as_ref().unwrap_or(&default);
    taints(errors, spec.taints.as_deref().unwrap_or_default(), &Path::new("metadata.taints"));
    amounts(errors, node);
    let ranges = spec.pod_cidrs.as_deref().unwrap_or_default();
    let path = Path::new("spec.podCIDRs");
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, range) in ranges.iter().enumerate() {
        if family(range).is_none() {
            let words = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.invalid(&path.index(index), range, words);
        }
        if !seen.insert(range) {
            errors.duplicate(&path.index(index), range);
        }
    }
    let both = [true, false].iter().all(|six| ranges.iter().any(|range| family(range) == Some(*six)));
    if ranges.len() > 2 || (ranges.len() == 2 && !both) {
        errors.invalid(&path, &ranges, "may specify no more than one CIDR for each IP family");
    }
}

/// Whether a range of addresses is IPv6; `None` where it is no range.
fn family(range: &str) -> Option<bool> {
    let (address, bits) = range.split_once('/')?;
    let six = names::parse_ip(address)?;
    let most = if six { 128 } else { 32 };
    bits.parse::<u8>().ok().filter(|bits| *bits <= most).map(|_| six)
}

fn taints(errors: &mut Errors, taints: &[Taint], path: &Path<'_>) {
    let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (index, taint) in taints.iter().enumerate() {
        let path = path.index(index);
        labels::label_name(errors, &taint.key, &path.child("key"));
        let wrong = names::label_value(text(&taint.value));
        if !wrong.is_empty() {
            errors.invalid(&path.child("value"), &text(&taint.value), &wrong.join(";"));
        }
        errors.required_one_of(&path.child("effect"), &taint.effect, scheduling::EFFECTS);
        if !seen.insert((&taint.key, &taint.effect)) {
            let mut error = FieldError::duplicate(&path, &Json(taint));
            error.message.push_str(": taints must be unique by key and effect pair");
            errors.push(error);
        }
    }
}

fn amounts(errors: &mut Errors, node: &Node) {
    let status = node.status.as_ref();
    let lists = [
        ("status.capacity", status.and_then(|status| status.capacity.as_ref())),
        ("status.allocatable", status.and_then(|status| status.allocatable.as_ref())),
    ];
    for (name, list) in lists {
        let path = Path::new(name);
        for (resource, amount) in list.into_iter().flatten() {
            resources::amount_of(errors, resource, amount, &path.child(resource));
        }
    }
}

fn changes(errors: &mut Errors, new: &Node, old: &Node) {
    metadata::update(errors, &new.metadata, &old.metadata);
    amounts(errors, new);
    let addresses = new.status.as_ref().and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let path = Path::new("status.addresses");
    let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (index, address) in addresses.iter().enumerate() {
        if !seen.insert((&address.type_, &address.address)) {
            errors.duplicate(&path.index(index), &Json(address));
        }
    }
    let default = NodeSpec::default();
    let (spec, before) = (new.spec.as_ref().unwrap_or(&default), old.spec.as_ref().unwrap_or(&default));
    if before.pod_cidrs.as_ref().is_some_and(|ranges| !ranges.is_empty()) && before.pod_cidrs != spec.pod_cidrs {
        let words = "node updates may not change podCIDR except from \"\" to valid";
        errors.forbidden(&Path::new("spec.podCIDRs"), words);
    }
    let provider = text(&before.provider_id);
    if !provider.is_empty() && provider != text(&spec.provider_id) {
        let words = "node updates may not change providerID except from \"\" to valid";
        errors.forbidden(&Path::new("spec.providerID"), words);
    }
    taints(errors, spec.taints.as_deref().unwrap_or_default(), &Path::new("metadata.taints"));
    if text(&before.external_id) != text(&spec.external_id) {
        errors.forbidden(&Path::new("spec.externalID"), "may not be updated");
    }
}
