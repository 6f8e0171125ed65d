//! Owns the rules of ResourceQuotas. Never counts anything: admission and the quota controller do.
//!
//! Parity: core's `ValidateResourceQuota` and its updates at 1.32.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaSpec, ScopedResourceSelectorRequirement};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{metadata, names, resources, text};
use crate::model::field::{Errors, FieldError, GoValue, Json, Path, quote};

/// What a pod's compute amounts to: what most scopes can apply to.
const OF_PODS: &[&str] = &["pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

/// Every problem of a new quota.
pub fn create(quota: &ResourceQuota) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::create(&mut errors, &quota.metadata, true, metadata::subdomain_name);
    check(&mut errors, quota);
    errors.into_vec()
}

fn check(errors: &mut Errors, quota: &ResourceQuota) {
    let Some(spec) = &quota.spec else { return };
    let path = Path::new("spec");
    hard(errors, spec.hard.as_ref(), &path.child("hard"));
    scopes(errors, spec, &path);
    selector(errors, spec, &path);
}

/// Every problem of an update.
pub fn update(new: &ResourceQuota, old: &ResourceQuota) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    check(&mut errors, new);
    let set = |quota: &ResourceQuota| -> BTreeSet<String> {
        quota.spec.iter().flat_map(|spec| spec.scopes.iter().flatten()).cloned().collect()
    };
    if set(new) != set(old) {
        let shown = new.spec.as_ref().and_then(|spec| spec.scopes.clone()).unwrap_or_default();
        errors.invalid(&Path::new("spec.scopes"), &Scopes(&shown), "field is immutable");
    }
    errors.into_vec()
}

/// Every problem of a status update.
pub fn update_status(new: &ResourceQuota, old: &ResourceQuota) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(&mut errors, &new.metadata, &old.metadata);
    if text(&new.metadata.resource_version).is_empty() {
        errors.required(&Path::new("resourceVersion"), "");
    }
    let path = Path::new("status");
    let status = new.status.as_ref();
    hard(&mut errors, status.and_then(|status| status.hard.as_ref()), &path.child("hard"));
    hard(&mut errors, status.and_then(|status| status.used.as_ref()), &path.child("used"));
    errors.into_vec()
}

fn hard(errors: &mut Errors, amounts: Option<&BTreeMap<String, Quantity>>, path: &Path<'_>) {
    for (name, value) in amounts.into_iter().flatten() {
        let path = path.key(name);
        let wrong = names::qualified_name(name);
        let well_formed = wrong.is_empty();
        errors.invalid_each(&path, name, wrong);
        if well_formed && !name.contains('/') && !is_standard(name) {
            errors.invalid(&path, name, "must be a standard resource for quota");
        }
        resources::amount_of(errors, name, value, &path);
    }
}

/// Resources without a domain that a quota may limit.
fn is_standard(name: &str) -> bool {
    resources::is_standard(name) && name != "storage"
}

fn scopes(errors: &mut Errors, spec: &ResourceQuotaSpec, path: &Path<'_>) {
    let Some(scopes) = spec.scopes.as_ref().filter(|scopes| !scopes.is_empty()) else { return };
    let path = path.child("scopes");
    let limited: Vec<&str> = spec.hard.iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
    for scope in scopes {
        if !SCOPES.contains(&scope.as_str()) {
            errors.invalid(&path, &Scopes(scopes), "unsupported scope");
        }
        fits(errors, scope, &limited, &Scopes(scopes), &path);
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if [one, other].iter().all(|name| scopes.iter().any(|scope| scope == name)) {
            errors.invalid(&path, &Scopes(scopes), "conflicting scopes");
        }
    }
}

/// Scopes as Go shows them.
struct Scopes<'a>(&'a [String]);

impl GoValue for Scopes<'_> {
    fn go(&self, out: &mut String) {
        let names: Vec<String> = self.0.iter().map(|name| quote(name)).collect();
        let list = if names.is_empty() { "(nil)".to_owned() } else { format!("{{{}}}", names.join(", ")) };
        out.push_str(&format!("[]core.ResourceQuotaScope{list}"));
    }
}

/// Whether a scope says something of every resource that is limited.
fn fits(errors: &mut Errors, scope: &str, limited: &[&str], shown: &dyn GoValue, path: &Path<'_>) {
    let applies = |name: &str| match scope {
        "BestEffort" => name == "pods",
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            OF_PODS.contains(&name)
        }
        "VolumeAttributesClass" => matches!(name, "persistentvolumeclaims" | "requests.storage"),
        _ => true,
    };
    for _ in limited.iter().filter(|name| is_standard(name) && !applies(name)) {
        errors.invalid(path, shown, "unsupported scope applied to resource");
    }
}

fn selector(errors: &mut Errors, spec: &ResourceQuotaSpec, path: &Path<'_>) {
    let Some(selector) = &spec.scope_selector else { return };
    let terms = selector.match_expressions.as_deref().unwrap_or_default();
    let path = path.child("scopeSelector");
    let path = path.child("matchExpressions");
    let limited: Vec<&str> = spec.hard.iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
    for term in terms {
        if !SCOPES.contains(&term.scope_name.as_str()) {
            errors.invalid(&path.child("scopeName"), &term.scope_name, "unsupported scope");
        }
        fits(errors, &term.scope_name, &limited, &Json(selector), &path);
        operator(errors, term, &path);
    }
    let has = |name: &str| terms.iter().any(|term| term.scope_name == name);
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if has(one) && has(other) {
            // Parity: it shows the other list.
            errors.invalid(&path, &Scopes(spec.scopes.as_deref().unwrap_or_default()), "conflicting scopes");
        }
    }
}

fn operator(errors: &mut Errors, term: &ScopedResourceSelectorRequirement, path: &Path<'_>) {
    let values = term.values.as_deref().unwrap_or_default();
    let valueless = ["BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity"];
    if valueless.contains(&term.scope_name.as_str()) && term.operator != "Exists" {
        let words = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, \
                     ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort \
                     or ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.invalid(&path.child("operator"), &term.operator, words);
    }
    match term.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(
                &path.child("values"),
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            );
        }
        "In" | "NotIn" => {}
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            errors.invalid(
                &path.child("values"),
                &values,
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            );
        }
        "Exists" | "DoesNotExist" => {}
        other => errors.invalid(&path.child("operator"), &other, "not a valid selector operator"),
    }
}
