//! Owns the rules of labels, annotations and label selectors.
//! Never selects anything for a list or a watch: those have their own reading of selectors.
//!
//! Parity: apimachinery's `apis/meta/v1/validation` and `LabelSelectorAsSelector`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::names;
use crate::model::field::{Errors, Path};

/// Most bytes that an object's annotations may take together.
pub const ANNOTATIONS_MAX: usize = 256 * 1024;

/// Keys and values; all errors are about `path` itself.
pub fn labels(errors: &mut Errors, labels: Option<&BTreeMap<String, String>>, path: &Path<'_>) {
    for (key, value) in labels.into_iter().flatten() {
        label_name(errors, key, path);
        errors.invalid_each(path, value, names::label_value(value));
    }
}

/// A label's key.
pub fn label_name(errors: &mut Errors, key: &str, path: &Path<'_>) {
    errors.invalid_each(path, &key, names::qualified_name(key));
}

/// Keys, whose case does not matter, and the size of all together.
pub fn annotations(errors: &mut Errors, annotations: Option<&BTreeMap<String, String>>, path: &Path<'_>) {
    let mut size = 0;
    for (key, value) in annotations.into_iter().flatten() {
        errors.invalid_each(path, key, names::qualified_name(&key.to_lowercase()));
        size += key.len() + value.len();
    }
    if size > ANNOTATIONS_MAX {
        errors.too_long(path, ANNOTATIONS_MAX);
    }
}

/// The template must carry the label with this very value.
pub fn has_label(errors: &mut Errors, labels: &BTreeMap<String, String>, path: &Path<'_>, key: &str, value: &str) {
    let labels_path = path.child("labels");
    let path = labels_path.key(key);
    match labels.get(key) {
        None => errors.required(&path, &format!("must be '{value}'")),
        Some(actual) if actual != value => errors.invalid(&path, labels, &format!("must be '{value}'")),
        Some(_) => {}
    }
}

/// A label selector as objects hold it.
pub fn selector(errors: &mut Errors, selector: Option<&LabelSelector>, path: &Path<'_>) {
    let Some(selector) = selector else { return };
    labels(errors, selector.match_labels.as_ref(), &path.child("matchLabels"));
    let path = path.child("matchExpressions");
    for (index, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        self::requirement(errors, requirement, &path.index(index));
    }
}

fn requirement(errors: &mut Errors, requirement: &LabelSelectorRequirement, path: &Path<'_>) {
    let values = requirement.values.as_deref().unwrap_or_default();
    let values_path = path.child("values");
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&values_path, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            errors.forbidden(&values_path, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.invalid(&path.child("operator"), &other, "not a valid selector operator"),
    }
    label_name(errors, &requirement.key, &path.child("key"));
    for (index, value) in values.iter().enumerate() {
        errors.invalid_each(&values_path.index(index), value, names::label_value(value));
    }
}

/// Whether the labels are selected; `None` for a selector that breaks the rules above.
/// An absent selector selects nothing, an empty one everything.
pub fn selects(selector: Option<&LabelSelector>, labels: &BTreeMap<String, String>) -> Option<bool> {
    let mut errors = Errors::new();
    self::selector(&mut errors, selector, &Path::new(""));
    if !errors.is_empty() {
        return None;
    }
    let Some(selector) = selector else { return Some(false) };
    let exact = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let fits = |requirement: &LabelSelectorRequirement| {
        let value = labels.get(&requirement.key);
        let listed = value.is_some_and(|value| requirement.values.iter().flatten().any(|item| item == value));
        match requirement.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            _ => value.is_none(),
        }
    };
    Some(exact && selector.match_expressions.iter().flatten().all(fits))
}
