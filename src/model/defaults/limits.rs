//! Owns the defaults of LimitRanges and ResourceQuotas. Never applies a LimitRange to a pod: admission does.
//!
//! Parity: `SetDefaults_LimitRangeItem`; quantities are kept as they are written canonically.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem, ResourceQuota};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// A container's limit that is not given is the maximum, its request the limit, else the minimum.
pub fn limit_range(range: &mut LimitRange) {
    let limits = range.spec.iter_mut().flat_map(|spec| &mut spec.limits);
    limits.filter(|limit| limit.type_ == "Container").for_each(item);
}

fn item(limit: &mut LimitRangeItem) {
    let defaults = limit.default.get_or_insert_default();
    fill(defaults, limit.max.as_ref());
    let requests = limit.default_request.get_or_insert_default();
    fill(requests, Some(defaults));
    fill(requests, limit.min.as_ref());
    limit.default.take_if(|all| all.is_empty());
    limit.default_request.take_if(|all| all.is_empty());
}

fn fill(target: &mut BTreeMap<String, Quantity>, from: Option<&BTreeMap<String, Quantity>>) {
    for (name, value) in from.into_iter().flatten() {
        target.entry(name.clone()).or_insert_with(|| value.clone());
    }
}

/// A quota that says nothing has an empty spec.
pub fn resource_quota(quota: &mut ResourceQuota) {
    quota.spec.get_or_insert_default();
}
