//! Owns what an update of a pod's spec may change: images, a sooner deadline, more tolerations, fewer gates, and while
//! it is gated where it may go.
//!
//! Parity: the second half of core's `ValidatePodUpdate` at 1.32.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Affinity, Container, NodeAffinity, NodeSelectorTerm, PodSchedulingGate, PodSpec, Toleration,
};

use serde::Serialize;

use super::{names, scheduling, text};
use crate::model::field::{Errors, Json, Path, same};

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// The new spec against the old one.
pub fn spec(errors: &mut Errors, new: &PodSpec, old: &PodSpec) {
    let path = Path::new("spec");
    if !same_containers(errors, &new.containers, &old.containers, &path.child("containers")) {
        return;
    }
    let init = new.init_containers.as_deref().unwrap_or_default();
    let old_init = old.init_containers.as_deref().unwrap_or_default();
    if !same_containers(errors, init, old_init, &path.child("initContainers"))
        || !deadline(errors, new, old, &path.child("activeDeadlineSeconds"))
    {
        return;
    }
    let list = new.tolerations.as_deref().unwrap_or_default();
    let old_list = old.tolerations.as_deref().unwrap_or_default();
    tolerations(errors, list, old_list, &path.child("tolerations"));
    let gates = new.scheduling_gates.as_deref().unwrap_or_default();
    let old_gates = old.scheduling_gates.as_deref().unwrap_or_default();
    only_fewer_gates(errors, gates, old_gates, &path.child("schedulingGates"));
    if same(new, old) {
        return;
    }
    let mut rest = without_updatable(new, old);
    if !old_gates.is_empty() {
        placement(errors, &mut rest, old, &path);
    }
    if !same(&rest, old) {
        let words = format!("pod updates may not change fields other than {UPDATABLE}\n{}", changed(&rest, old));
        errors.forbidden(&path, &words);
    }
}

/// Whether the update can be looked at further.
fn same_containers(errors: &mut Errors, new: &[Container], old: &[Container], path: &Path<'_>) -> bool {
    if new.len() != old.len() {
        errors.forbidden(path, "pod updates may not add or remove containers");
        return false;
    }
    for (index, container) in new.iter().enumerate() {
        let path = path.index(index);
        errors.required_if_empty(&path.child("image"), text(&container.image));
        super::container::image_spaces(errors, container, &path);
    }
    true
}

/// A deadline may be set, and brought forward. Answers whether the update can be looked at further.
fn deadline(errors: &mut Errors, new: &PodSpec, old: &PodSpec, path: &Path<'_>) -> bool {
    let most = i64::from(i32::MAX);
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(seconds), _) if !(0..=most).contains(&seconds) => {
            errors.invalid(path, &seconds, &names::outside(0, most));
            false
        }
        (Some(seconds), Some(before)) if before < seconds => {
            errors.invalid(path, &seconds, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            errors.invalid(path, &None::<i64>, "must not update from a positive integer to nil value");
            true
        }
        (Some(_), _) | (None, None) => true,
    }
}

fn tolerations(errors: &mut Errors, new: &[Toleration], old: &[Toleration], path: &Path<'_>) {
    let without_seconds = |toleration: &Toleration| {
        let Toleration { key, operator, value, effect, .. } = toleration.clone();
        (key, operator, value, effect)
    };
    let kept: BTreeSet<_> = new.iter().map(without_seconds).collect();
    if !old.iter().all(|old| kept.contains(&without_seconds(old))) {
        errors.forbidden(path, "existing toleration can not be modified except its tolerationSeconds");
        return;
    }
    scheduling::tolerations(errors, new, path);
}

fn only_fewer_gates(errors: &mut Errors, new: &[PodSchedulingGate], old: &[PodSchedulingGate], path: &Path<'_>) {
    let old: BTreeSet<&str> = old.iter().map(|gate| gate.name.as_str()).collect();
    for (index, gate) in new.iter().enumerate().filter(|(_, gate)| !old.contains(gate.name.as_str())) {
        let words = format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name);
        errors.forbidden(&path.index(index).child("name"), &words);
    }
}

/// The new spec with the old one's values wherever a change is allowed.
fn without_updatable(new: &PodSpec, old: &PodSpec) -> PodSpec {
    let mut rest = new.clone();
    for (container, before) in rest.containers.iter_mut().zip(&old.containers) {
        container.image.clone_from(&before.image);
    }
    let init = rest.init_containers.iter_mut().flatten();
    for (container, before) in init.zip(old.init_containers.iter().flatten()) {
        container.image.clone_from(&before.image);
    }
    rest.active_deadline_seconds = old.active_deadline_seconds;
    rest.scheduling_gates.clone_from(&old.scheduling_gates);
    rest.tolerations.clone_from(&old.tolerations);
    let grace = &mut rest.termination_grace_period_seconds;
    if *grace == Some(1) && old.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        *grace = old.termination_grace_period_seconds;
    }
    rest
}

/// A gated pod's choice of nodes may be narrowed.
fn placement(errors: &mut Errors, rest: &mut PodSpec, old: &PodSpec, path: &Path<'_>) {
    let none = BTreeMap::new();
    let selector = rest.node_selector.as_ref().unwrap_or(&none);
    let before = old.node_selector.as_ref().unwrap_or(&none);
    if before.iter().any(|(key, value)| selector.get(key) != Some(value)) {
        let words = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.invalid(&path.child("nodeSelector"), selector, words);
    }
    rest.node_selector.clone_from(&old.node_selector);
    let affinity = rest.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone());
    let before = old.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone());
    if same(&affinity, &before) {
        return;
    }
    node_affinity(errors, affinity.as_ref(), before.as_ref(), &path.child("affinity.nodeAffinity"));
    let mut affinity = rest.affinity.take().unwrap_or_default();
    affinity.node_affinity = before;
    rest.affinity = (affinity != Affinity::default() || old.affinity.is_some()).then_some(affinity);
}

fn node_affinity(errors: &mut Errors, new: Option<&NodeAffinity>, old: Option<&NodeAffinity>, path: &Path<'_>) {
    let terms = |affinity: Option<&NodeAffinity>| -> Vec<NodeSelectorTerm> {
        let required =
            affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
        required.map(|selector| selector.node_selector_terms.clone()).unwrap_or_default()
    };
    let (new, old) = (terms(new), terms(old));
    let path = path.child("requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
    if !old.is_empty() && old.len() != new.len() {
        let words = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.invalid(&path, &Json(&new), words);
        return;
    }
    for (index, (term, before)) in new.iter().zip(&old).enumerate() {
        if !only_adds(term, before) {
            let words = "only additions are allowed (no mutations or deletions)";
            errors.invalid(&path.index(index), &Json(term), words);
        }
    }
}

fn only_adds(new: &NodeSelectorTerm, old: &NodeSelectorTerm) -> bool {
    let (expressions, fields) = (new.match_expressions.as_deref(), new.match_fields.as_deref());
    let (expressions, fields) = (expressions.unwrap_or_default(), fields.unwrap_or_default());
    let (old_expressions, old_fields) = (old.match_expressions.as_deref(), old.match_fields.as_deref());
    let (old_expressions, old_fields) = (old_expressions.unwrap_or_default(), old_fields.unwrap_or_default());
    // An empty term selects nothing: adding to it would widen the choice.
    if old_expressions.is_empty() && old_fields.is_empty() {
        return expressions.is_empty() && fields.is_empty();
    }
    expressions.starts_with(old_expressions) && fields.starts_with(old_fields)
}

/// The names of the changed fields. Differs: upstream prints a diff of its Go structs.
pub fn changed<T: Serialize>(new: &T, old: &T) -> String {
    let fields = |spec: &T| match serde_json::to_value(spec) {
        Ok(serde_json::Value::Object(fields)) => fields,
        Ok(_) | Err(_) => serde_json::Map::new(),
    };
    let (new, old) = (fields(new), fields(old));
    let mut names: Vec<&String> =
        new.keys().chain(old.keys()).filter(|name| new.get(*name) != old.get(*name)).collect();
    names.sort();
    names.dedup();
    let names: Vec<String> = names.iter().map(|name| format!("spec.{name}")).collect();
    format!("changed: {}", names.join(", "))
}
