//! Owns the rules of LimitRanges. Never compares a pod with one: admission does.
//!
//! Parity: core's `ValidateLimitRange` at 1.32.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{amount, metadata, names, resources};
use crate::model::field::{Errors, FieldError, Path};

/// Types without a domain.
const TYPES: [&str; 3] = ["Pod", "Container", "PersistentVolumeClaim"];

/// Every problem of a LimitRange, new or changed.
pub fn check(range: &LimitRange) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::create(&mut errors, &range.metadata, true, metadata::subdomain_name);
    let mut seen = BTreeSet::new();
    for (index, limit) in range.spec.iter().flat_map(|spec| &spec.limits).enumerate() {
        let path = Path::new("spec.limits");
        let path = path.index(index);
        type_name(&mut errors, &limit.type_, &path.child("type"));
        if !seen.insert(&limit.type_) {
            errors.duplicate(&path.child("type"), &limit.type_);
        }
        item(&mut errors, limit, &path);
    }
    errors.into_vec()
}

fn type_name(errors: &mut Errors, name: &str, path: &Path<'_>) {
    let wrong = names::qualified_name(name);
    let well_formed = wrong.is_empty();
    errors.invalid_each(path, &name, wrong);
    if well_formed && !name.contains('/') && !TYPES.contains(&name) {
        errors.invalid(path, &name, "must be a standard limit type or fully qualified");
    }
}

fn item(errors: &mut Errors, limit: &LimitRangeItem, item_path: &Path<'_>) {
    let of_containers = matches!(limit.type_.as_str(), "Pod" | "Container");
    let of_pod = limit.type_ == "Pod";
    let lists = [
        ("max", &limit.max),
        ("min", &limit.min),
        ("default", &limit.default),
        ("defaultRequest", &limit.default_request),
        ("maxLimitRequestRatio", &limit.max_limit_request_ratio),
    ];
    let mut all = BTreeSet::new();
    for (field, list) in lists {
        let path = item_path.child(field);
        if of_pod && field.starts_with("default") {
            if list.as_ref().is_some_and(|list| !list.is_empty()) {
                errors.forbidden(&path, "may not be specified when `type` is 'Pod'");
            }
            continue;
        }
        if field == "maxLimitRequestRatio" {
            // Parity: said between the lists, of a field that there is not.
            claims_have_a_size(errors, limit, item_path);
        }
        for name in list.iter().flat_map(BTreeMap::keys) {
            resources::limited_name(errors, name, of_containers, &path.key(name));
            all.insert(name);
        }
    }
    all.into_iter().for_each(|name| amounts(errors, limit, name, item_path));
}

fn claims_have_a_size(errors: &mut Errors, limit: &LimitRangeItem, path: &Path<'_>) {
    let has =
        |list: &Option<BTreeMap<String, Quantity>>| list.as_ref().is_some_and(|list| list.contains_key("storage"));
    if limit.type_ == "PersistentVolumeClaim" && !has(&limit.min) && !has(&limit.max) {
        let words = "either minimum or maximum storage value is required, but neither was provided";
        errors.required(&path.child("limits"), words);
    }
}

/// What one resource's amounts must be to each other.
fn amounts(errors: &mut Errors, limit: &LimitRangeItem, name: &str, path: &Path<'_>) {
    let get = |list: &'_ Option<BTreeMap<String, Quantity>>| list.as_ref().and_then(|list| list.get(name)).cloned();
    let of_pod = limit.type_ == "Pod";
    let (min, max, ratio) = (get(&limit.min), get(&limit.max), get(&limit.max_limit_request_ratio));
    let default = get(&limit.default).filter(|_| !of_pod);
    let request = get(&limit.default_request).filter(|_| !of_pod);
    // Field, what it shows, the lesser, its name, the greater, its name.
    let pairs = [
        ("min", &min, (&min, "min value"), (&max, "max value")),
        ("defaultRequest", &request, (&min, "min value"), (&request, "default request value")),
        ("defaultRequest", &request, (&request, "default request value"), (&max, "max value")),
        ("defaultRequest", &request, (&request, "default request value"), (&default, "default limit value")),
        ("default", &min, (&min, "min value"), (&default, "default value")),
        ("default", &max, (&default, "default value"), (&max, "max value")),
    ];
    for (field, shown, (less, less_name), (more, more_name)) in pairs {
        if let (Some(shown), Some(less), Some(more)) = (shown, less, more)
            && amount::compare(less, more).is_gt()
        {
            let words = format!("{less_name} {} is greater than {more_name} {}", less.0, more.0);
            errors.invalid(&path.child(field).key(name), shown, &words);
        }
    }
    if let Some(ratio) = &ratio {
        self::ratio(errors, ratio, min.as_ref().zip(max.as_ref()), &path.child("maxLimitRequestRatio").key(name));
    }
    if let (Some(default), Some(request)) = (&default, &request)
        && !resources::may_overcommit(name)
        && amount::compare(default, request).is_ne()
    {
        let words = format!("default value {} must equal to defaultRequest value {} in {name}", default.0, request.0);
        errors.invalid(&path.child("defaultRequest").key(name), request, &words);
    }
}

fn ratio(errors: &mut Errors, ratio: &Quantity, range: Option<(&Quantity, &Quantity)>, path: &Path<'_>) {
    if amount::compare(ratio, &Quantity("1".to_owned())).is_lt() {
        errors.invalid(path, ratio, &format!("ratio {} is less than 1", ratio.0));
    }
    if let Some((min, max)) = range {
        // Amounts of resources are far below what a float holds exactly.
        let most = amount::of(max).milli() as f64 / amount::of(min).milli() as f64;
        if amount::of(ratio).milli() as f64 / 1000.0 > most {
            errors.invalid(path, ratio, &format!("ratio {} is greater than max/min = {most:.6}", ratio.0));
        }
    }
}
