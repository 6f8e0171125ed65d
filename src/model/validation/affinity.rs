//! Owns the rules of affinity: node selectors, pod affinity terms, the label keys that they match.
//! Never evaluates one against a node.
//!
//! Parity: core's `validateAffinity` at 1.32, where the values of node selectors are not yet checked as label values.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm,
    WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{labels, metadata, names};
use crate::model::field::{Errors, Path};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// A pod's affinity.
pub fn affinity(errors: &mut Errors, affinity: Option<&Affinity>, path: &Path<'_>) {
    let Some(affinity) = affinity else { return };
    if let Some(node) = &affinity.node_affinity {
        self::node(errors, node, &path.child("nodeAffinity"));
    }
    if let Some(pod) = &affinity.pod_affinity {
        let required = pod.required_during_scheduling_ignored_during_execution.as_ref();
        let preferred = pod.preferred_during_scheduling_ignored_during_execution.as_ref();
        pods(errors, required, preferred, &path.child("podAffinity"));
    }
    if let Some(pod) = &affinity.pod_anti_affinity {
        let required = pod.required_during_scheduling_ignored_during_execution.as_ref();
        let preferred = pod.preferred_during_scheduling_ignored_during_execution.as_ref();
        pods(errors, required, preferred, &path.child("podAntiAffinity"));
    }
}

fn node(errors: &mut Errors, affinity: &NodeAffinity, path: &Path<'_>) {
    if let Some(selector) = &affinity.required_during_scheduling_ignored_during_execution {
        node_selector(errors, selector, &path.child(REQUIRED));
    }
    let path = path.child(PREFERRED);
    for (index, term) in affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten().enumerate() {
        let path = path.index(index);
        weight(errors, term.weight, &path);
        node_term(errors, &term.preference, &path.child("preference"));
    }
}

fn weight(errors: &mut Errors, weight: i32, path: &Path<'_>) {
    if !(1..=100).contains(&weight) {
        errors.invalid(&path.child("weight"), &weight, "must be in the range 1-100");
    }
}

/// Which nodes: terms, any of which suffices.
pub fn node_selector(errors: &mut Errors, selector: &NodeSelector, path: &Path<'_>) {
    let path = path.child("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        errors.required(&path, "must have at least one node selector term");
    }
    for (index, term) in selector.node_selector_terms.iter().enumerate() {
        node_term(errors, term, &path.index(index));
    }
}

fn node_term(errors: &mut Errors, term: &NodeSelectorTerm, path: &Path<'_>) {
    let expressions_path = path.child("matchExpressions");
    for (index, requirement) in term.match_expressions.iter().flatten().enumerate() {
        by_label(errors, requirement, &expressions_path.index(index));
    }
    let fields_path = path.child("matchFields");
    for (index, requirement) in term.match_fields.iter().flatten().enumerate() {
        by_field(errors, requirement, &fields_path.index(index));
    }
}

fn by_label(errors: &mut Errors, requirement: &NodeSelectorRequirement, path: &Path<'_>) {
    let count = requirement.values.as_ref().map_or(0, Vec::len);
    let values_path = path.child("values");
    match requirement.operator.as_str() {
        "In" | "NotIn" if count == 0 => {
            errors.required(&values_path, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if count > 0 => {
            errors.forbidden(&values_path, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "Gt" | "Lt" if count != 1 => {
            errors.required(&values_path, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.invalid(&path.child("operator"), &other, "not a valid selector operator"),
    }
    labels::label_name(errors, &requirement.key, &path.child("key"));
}

fn by_field(errors: &mut Errors, requirement: &NodeSelectorRequirement, path: &Path<'_>) {
    let values = requirement.values.as_deref().unwrap_or_default();
    let values_path = path.child("values");
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.len() != 1 => {
            let words = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.required(&values_path, words);
        }
        "In" | "NotIn" => {}
        other => errors.invalid(&path.child("operator"), &other, "not a valid selector operator"),
    }
    if requirement.key != "metadata.name" {
        errors.invalid(&path.child("key"), &requirement.key, "not a valid field selector key");
        return;
    }
    for (index, value) in values.iter().enumerate() {
        errors.invalid_each(&values_path.index(index), value, metadata::subdomain_name(value, false));
    }
}

fn pods(
    errors: &mut Errors,
    required: Option<&Vec<PodAffinityTerm>>,
    preferred: Option<&Vec<WeightedPodAffinityTerm>>,
    path: &Path<'_>,
) {
    let required_path = path.child(REQUIRED);
    for (index, term) in required.into_iter().flatten().enumerate() {
        pod_term(errors, term, &required_path.index(index));
    }
    let preferred_path = path.child(PREFERRED);
    for (index, term) in preferred.into_iter().flatten().enumerate() {
        let path = preferred_path.index(index);
        weight(errors, term.weight, &path);
        pod_term(errors, &term.pod_affinity_term, &path.child("podAffinityTerm"));
    }
}

fn pod_term(errors: &mut Errors, term: &PodAffinityTerm, path: &Path<'_>) {
    labels::selector(errors, term.label_selector.as_ref(), &path.child("labelSelector"));
    labels::selector(errors, term.namespace_selector.as_ref(), &path.child("namespaceSelector"));
    for name in term.namespaces.iter().flatten() {
        errors.invalid_each(&path.child("namespace"), name, names::dns_label(name));
    }
    label_keys(errors, term, path);
    let topology_path = path.child("topologyKey");
    if term.topology_key.is_empty() {
        errors.required(&topology_path, "can not be empty");
    }
    labels::label_name(errors, &term.topology_key, &topology_path);
}

/// `matchLabelKeys` and `mismatchLabelKeys`. By now the server has added what they match to the selector of a pod,
/// so a key that stands there twice was also given by the client.
fn label_keys(errors: &mut Errors, term: &PodAffinityTerm, path: &Path<'_>) {
    let matched = term.match_label_keys.as_deref().unwrap_or_default();
    let mismatched = term.mismatch_label_keys.as_deref().unwrap_or_default();
    let selector = term.label_selector.as_ref();
    keys(errors, matched, selector, &path.child("matchLabelKeys"));
    keys(errors, mismatched, selector, &path.child("mismatchLabelKeys"));
    if let Some(selector) = selector {
        let places: BTreeMap<&String, usize> = matched.iter().enumerate().map(|(index, key)| (key, index)).collect();
        let mut seen: BTreeSet<&String> = selector.match_labels.iter().flatten().map(|(key, _)| key).collect();
        for expression in selector.match_expressions.iter().flatten() {
            let key = &expression.key;
            let again = !seen.insert(key);
            if let Some(index) = places.get(key).filter(|_| again) {
                errors.invalid(&path.index(*index), key, "exists in both matchLabelKeys and labelSelector");
            }
        }
    }
    let list_path = path.child("matchLabelKeys");
    let mismatched: BTreeSet<&String> = mismatched.iter().collect();
    for (index, key) in matched.iter().enumerate().filter(|(_, key)| mismatched.contains(key)) {
        errors.invalid(&list_path.index(index), key, "exists in both matchLabelKeys and mismatchLabelKeys");
    }
}

fn keys(errors: &mut Errors, keys: &[String], selector: Option<&LabelSelector>, path: &Path<'_>) {
    if !keys.is_empty() && selector.is_none() {
        errors.forbidden(path, "must not be specified when labelSelector is not set");
        return;
    }
    for (index, key) in keys.iter().enumerate() {
        labels::label_name(errors, key, &path.index(index));
    }
}
