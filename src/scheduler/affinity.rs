//! PURE. Owns whether a node is one that a pod asks for: node selector and required node affinity.
//! Never weighs preferences: there is one node.
//!
//! Parity: `GetRequiredNodeAffinity` and `nodeaffinity.NewNodeSelector` of component-helpers.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

/// The one field that terms may ask for.
const NAME: &str = "metadata.name";

/// Whether the node of this name, with these labels, will do.
pub fn matches(spec: &PodSpec, name: &str, labels: &BTreeMap<String, String>) -> bool {
    let mut wanted = spec.node_selector.iter().flatten();
    if !wanted.all(|(key, value)| labels.get(key) == Some(value)) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    let terms = |term: &NodeSelectorTerm| term_matches(term, name, labels);
    required.is_none_or(|selector| selector.node_selector_terms.iter().any(terms))
}

/// All of a term; one that asks for nothing matches nothing.
fn term_matches(term: &NodeSelectorTerm, name: &str, labels: &BTreeMap<String, String>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    expressions.iter().all(|wanted| holds(wanted, labels.get(&wanted.key).map(String::as_str)))
        && fields.iter().all(|wanted| holds(wanted, (wanted.key == NAME).then_some(name)))
}

fn holds(wanted: &NodeSelectorRequirement, found: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let listed = || found.is_some_and(|found| values.iter().any(|value| value == found));
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let numbers = || Some((number(found)?, number(values.first().map(String::as_str))?));
    match wanted.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => numbers().is_some_and(|(found, bound)| found > bound),
        "Lt" => numbers().is_some_and(|(found, bound)| found < bound),
        _unknown => false,
    }
}
