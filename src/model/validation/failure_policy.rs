//! Owns the rules of a Job's failure, success and replacement policies.
//! Never applies one.
//!
//! Parity: batch's `validatePodFailurePolicy`, `validateSuccessPolicy`, `validatePodReplacementPolicy` at 1.32.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
    SuccessPolicy, SuccessPolicyRule,
};

use super::{indexes, names, text};
use crate::model::field::{Errors, Path, quote_list};

/// Most rules of a failure policy.
const RULES_MAX: usize = 20;
/// Most exit codes of a rule.
const EXIT_CODES_MAX: usize = 255;
/// Most condition patterns of a rule.
const PATTERNS_MAX: usize = 20;
/// Most rules of a success policy.
const SUCCESS_RULES_MAX: usize = 20;
/// Longest list of indexes in a success policy, in bytes.
const INDEXES_MAX: usize = 64 * 1024;

const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: &[&str] = &["In", "NotIn"];
const STATUSES: &[&str] = &["False", "True", "Unknown"];

/// What a failed pod means.
pub fn failure(errors: &mut Errors, spec: &JobSpec, path: &Path<'_>) {
    let Some(policy) = &spec.pod_failure_policy else { return };
    let path = path.child("rules");
    if policy.rules.len() > RULES_MAX {
        errors.too_many(&path, policy.rules.len(), RULES_MAX);
    }
    let pod = spec.template.spec.as_ref();
    let containers: BTreeSet<&str> = pod
        .into_iter()
        .flat_map(|pod| pod.containers.iter().chain(pod.init_containers.iter().flatten()))
        .map(|container| container.name.as_str())
        .collect();
    for (index, rule) in policy.rules.iter().enumerate() {
        self::rule(errors, spec, rule, &containers, &path.index(index));
    }
}

/// A closed set's value that must be given, worded as batch words it.
fn required_one_of(errors: &mut Errors, path: &Path<'_>, value: &str, supported: &[&str]) {
    if value.is_empty() {
        errors.required(path, &format!("valid values: {}", quote_list(supported)));
    } else {
        errors.one_of(path, value, supported);
    }
}

fn rule(
    errors: &mut Errors,
    spec: &JobSpec,
    rule: &PodFailurePolicyRule,
    containers: &BTreeSet<&str>,
    path: &Path<'_>,
) {
    let action_path = path.child("action");
    if rule.action == "FailIndex" {
        if spec.backoff_limit_per_index.is_none() {
            errors.invalid(&action_path, &rule.action, "requires the backoffLimitPerIndex to be set");
        }
    } else {
        required_one_of(errors, &action_path, &rule.action, ACTIONS);
    }
    if let Some(codes) = &rule.on_exit_codes {
        exit_codes(errors, codes, containers, &path.child("onExitCodes"));
    }
    let patterns = rule.on_pod_conditions.as_deref().unwrap_or_default();
    conditions(errors, patterns, &path.child("onPodConditions"));
    match (rule.on_exit_codes.is_some(), !patterns.is_empty()) {
        (true, true) => {
            errors.invalid_omitted(path, "specifying both OnExitCodes and OnPodConditions is not supported");
        }
        (false, false) => {
            errors.invalid_omitted(path, "specifying one of OnExitCodes and OnPodConditions is required");
        }
        (true, false) | (false, true) => {}
    }
}

fn conditions(errors: &mut Errors, patterns: &[PodFailurePolicyOnPodConditionsPattern], path: &Path<'_>) {
    if patterns.len() > PATTERNS_MAX {
        errors.too_many(path, patterns.len(), PATTERNS_MAX);
    }
    for (index, pattern) in patterns.iter().enumerate() {
        let path = path.index(index);
        errors.invalid_each(&path.child("type"), &pattern.type_, names::qualified_name(&pattern.type_));
        required_one_of(errors, &path.child("status"), text(&pattern.status), STATUSES);
    }
}

fn exit_codes(
    errors: &mut Errors,
    codes: &PodFailurePolicyOnExitCodesRequirement,
    containers: &BTreeSet<&str>,
    path: &Path<'_>,
) {
    required_one_of(errors, &path.child("operator"), &codes.operator, OPERATORS);
    if let Some(name) = codes.container_name.as_deref().filter(|name| !containers.contains(name)) {
        let words = "must be one of the container or initContainer names in the pod template";
        errors.invalid(&path.child("containerName"), &name, words);
    }
    let path = path.child("values");
    let values = codes.values.as_slice();
    if values.is_empty() {
        errors.invalid(&path, &values, "at least one value is required");
    } else if values.len() > EXIT_CODES_MAX {
        errors.too_many(&path, values.len(), EXIT_CODES_MAX);
    }
    let mut seen: BTreeSet<i32> = BTreeSet::new();
    for (index, value) in values.iter().enumerate() {
        let path = path.index(index);
        if codes.operator == "In" && *value == 0 {
            errors.invalid(&path, value, "must not be 0 for the In operator");
        }
        if !seen.insert(*value) {
            errors.duplicate(&path, value);
        }
    }
    if !values.is_sorted() {
        errors.invalid(&path, &values, "must be ordered");
    }
}

/// When a failed or terminating pod is replaced.
pub fn replacement(errors: &mut Errors, spec: &JobSpec, path: &Path<'_>) {
    let Some(policy) = &spec.pod_replacement_policy else { return };
    let supported: &[&str] =
        if spec.pod_failure_policy.is_some() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    errors.one_of(path, policy, supported);
}

/// When a Job has succeeded before all its indexes have.
pub fn success(errors: &mut Errors, policy: &SuccessPolicy, completions: i32, path: &Path<'_>) {
    let path = path.child("rules");
    if policy.rules.is_empty() {
        errors.required(&path, "at least one rules must be specified when the successPolicy is specified");
    }
    if policy.rules.len() > SUCCESS_RULES_MAX {
        errors.too_many(&path, policy.rules.len(), SUCCESS_RULES_MAX);
    }
    for (index, rule) in policy.rules.iter().enumerate() {
        success_rule(errors, rule, completions, &path.index(index));
    }
}

fn success_rule(errors: &mut Errors, rule: &SuccessPolicyRule, completions: i32, path: &Path<'_>) {
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        errors.required(path, "at least one of succeededCount or succeededIndexes must be specified");
    }
    let mut total = 0;
    if let Some(list) = &rule.succeeded_indexes {
        let path = path.child("succeededIndexes");
        if list.len() > INDEXES_MAX {
            errors.too_long(&path, INDEXES_MAX);
        }
        match indexes::count(list, completions) {
            Ok(count) => total = count,
            Err(problem) => errors.invalid(&path, list, &format!("error parsing succeededIndexes: {problem}")),
        }
    }
    let Some(count) = rule.succeeded_count else { return };
    let path = path.child("succeededCount");
    errors.nonnegative(&path, count);
    if count > completions {
        let words = format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.invalid(&path, &count, &words);
    }
    if rule.succeeded_indexes.is_some() && count > total {
        let of = "the number of indexes in the specified succeededIndexes field";
        errors.invalid(&path, &count, &format!("must be less than or equal to {total} ({of})"));
    }
}
