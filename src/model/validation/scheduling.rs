//! Owns the rules of what steers scheduling besides affinity: tolerations, spread, gates, claims.
//! Never schedules.
//!
//! Parity: core's `ValidateTolerations`, `validateTopologySpreadConstraints`, `validateSchedulingGates`,
//! `validatePodResourceClaims` at 1.32.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{PodResourceClaim, PodSchedulingGate, Toleration, TopologySpreadConstraint};

use super::{labels, metadata, names, text};
use crate::model::field::{Errors, Json, Path};

/// Effects that a taint can have.
pub const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// A pod's tolerations.
pub fn tolerations(errors: &mut Errors, tolerations: &[Toleration], path: &Path<'_>) {
    for (index, toleration) in tolerations.iter().enumerate() {
        self::toleration(errors, toleration, &path.index(index));
    }
}

fn toleration(errors: &mut Errors, toleration: &Toleration, path: &Path<'_>) {
    let (key, operator) = (text(&toleration.key), text(&toleration.operator));
    let (value, effect) = (text(&toleration.value), text(&toleration.effect));
    let operator_path = path.child("operator");
    if !key.is_empty() {
        labels::label_name(errors, key, &path.child("key"));
    } else if operator != "Exists" {
        let words = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.invalid(&operator_path, &operator, words);
    }
    if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
        let words = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.invalid(&path.child("effect"), &effect, words);
    }
    match operator {
        "Equal" | "" => {
            let wrong = names::label_value(value);
            if !wrong.is_empty() {
                errors.invalid(&operator_path, &value, &wrong.join(";"));
            }
        }
        "Exists" if !value.is_empty() => {
            errors.invalid(&operator_path, &value, "value must be empty when `operator` is 'Exists'");
        }
        "Exists" => {}
        other => errors.not_supported(&operator_path, &other, &["Equal", "Exists"]),
    }
    if !effect.is_empty() {
        errors.one_of(&path.child("effect"), effect, EFFECTS);
    }
}

/// A pod's spread constraints.
pub fn spread(errors: &mut Errors, constraints: &[TopologySpreadConstraint], path: &Path<'_>) {
    let pair = |constraint: &TopologySpreadConstraint| {
        (constraint.topology_key.clone(), constraint.when_unsatisfiable.clone())
    };
    // Parity: of several the last is right, each before it is told so.
    let last: BTreeMap<_, usize> =
        constraints.iter().enumerate().map(|(index, constraint)| (pair(constraint), index)).collect();
    for (index, constraint) in constraints.iter().enumerate() {
        let path = path.index(index);
        if constraint.max_skew <= 0 {
            errors.invalid(&path.child("maxSkew"), &constraint.max_skew, "must be greater than zero");
        }
        if constraint.topology_key.is_empty() {
            errors.required(&path.child("topologyKey"), "can not be empty");
        }
        let when = constraint.when_unsatisfiable.as_str();
        errors.one_of(&path.child("whenUnsatisfiable"), when, &["DoNotSchedule", "ScheduleAnyway"]);
        if last.get(&pair(constraint)) != Some(&index) {
            let pair = format!("{{{}, {when}}}", constraint.topology_key);
            errors.duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), &pair);
        }
        spread_details(errors, constraint, &path);
    }
}

fn spread_details(errors: &mut Errors, constraint: &TopologySpreadConstraint, path: &Path<'_>) {
    if let Some(domains) = constraint.min_domains {
        let path = path.child("minDomains");
        if domains <= 0 {
            errors.invalid(&path, &domains, "must be greater than zero");
        }
        let when = &constraint.when_unsatisfiable;
        if when != "DoNotSchedule" {
            let words = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}");
            errors.invalid(&path, &domains, &words);
        }
    }
    for (name, policy) in
        [("nodeAffinityPolicy", &constraint.node_affinity_policy), ("nodeTaintsPolicy", &constraint.node_taints_policy)]
    {
        if let Some(policy) = policy {
            errors.one_of(&path.child(name), policy, &["Honor", "Ignore"]);
        }
    }
    spread_keys(errors, constraint, &path.child("matchLabelKeys"));
    labels::selector(errors, constraint.label_selector.as_ref(), &path.child("labelSelector"));
}

fn spread_keys(errors: &mut Errors, constraint: &TopologySpreadConstraint, path: &Path<'_>) {
    let keys = constraint.match_label_keys.as_deref().unwrap_or_default();
    if keys.is_empty() {
        return;
    }
    let selector = constraint.label_selector.as_ref();
    if selector.is_none() {
        errors.forbidden(path, "must not be specified when labelSelector is not set");
    }
    let selected = |key: &String| {
        selector.is_some_and(|selector| {
            selector.match_labels.as_ref().is_some_and(|labels| labels.contains_key(key))
                || selector.match_expressions.iter().flatten().any(|expression| expression.key == *key)
        })
    };
    for (index, key) in keys.iter().enumerate() {
        let path = path.index(index);
        labels::label_name(errors, key, &path);
        if selected(key) {
            errors.invalid(&path, key, "exists in both matchLabelKeys and labelSelector");
        }
    }
}

/// What must be taken away before a pod is scheduled.
pub fn gates(errors: &mut Errors, gates: &[PodSchedulingGate], path: &Path<'_>) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, gate) in gates.iter().enumerate() {
        let path = path.index(index);
        errors.invalid_each(&path, &gate.name, names::qualified_name(&gate.name));
        if !seen.insert(&gate.name) {
            errors.duplicate(&path, &gate.name);
        }
    }
}

/// A pod's resource claims.
pub fn claims(errors: &mut Errors, claims: &[PodResourceClaim], path: &Path<'_>) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, claim) in claims.iter().enumerate() {
        let path = path.index(index);
        let name = claim.name.as_str();
        let name_path = path.child("name");
        if !errors.required_if_empty(&name_path, name) {
            if seen.insert(name) {
                errors.invalid_each(&name_path, &name, names::dns_label(name));
            } else {
                errors.duplicate(&name_path, &name);
            }
        }
        match (&claim.resource_claim_name, &claim.resource_claim_template_name) {
            (Some(_), Some(_)) => {
                let words = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.invalid(&path, &Json(claim), words);
            }
            (None, None) => {
                let words = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.invalid(&path, &Json(claim), words);
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
        for (field, name) in [
            ("resourceClaimName", &claim.resource_claim_name),
            ("resourceClaimTemplateName", &claim.resource_claim_template_name),
        ] {
            if let Some(name) = name {
                errors.invalid_each(&path.child(field), name, metadata::subdomain_name(name, false));
            }
        }
    }
}
