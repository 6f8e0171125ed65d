//! Owns the cells of what a namespace is set up with: service accounts, pod templates, resource quotas. PURE.
//! Never counts anything: a quota's status says what is used.

use k8s_openapi::api::core::v1::{PodTemplate, ResourceQuota, ServiceAccount};
use serde_json::{Value, json};

use super::{Row, batch, or_none};

pub(super) fn service_account(account: &ServiceAccount, row: Row<'_>) -> Vec<Value> {
    vec![json!(row.name), json!(account.secrets.iter().flatten().count()), json!(row.age)]
}

pub(super) fn pod_template(object: &PodTemplate, row: Row<'_>) -> Vec<Value> {
    let template = object.template.clone().unwrap_or_default();
    let (names, images) = batch::containers(&template);
    let labels = template.metadata.and_then(|meta| meta.labels).unwrap_or_default();
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    vec![json!(row.name), json!(names), json!(images), json!(or_none(Some(&labels.join(","))))]
}

/// Parity: limits in one column, everything else in the other, each as used and allowed.
pub(super) fn resource_quota(quota: &ResourceQuota, row: Row<'_>) -> Vec<Value> {
    let status = quota.status.clone().unwrap_or_default();
    let used = status.used.unwrap_or_default();
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (name, hard) in status.hard.iter().flatten() {
        let used = used.get(name).map_or("0", |amount| amount.0.as_str());
        let text = format!("{name}: {used}/{}", hard.0);
        if name.starts_with("limits.") { limits.push(text) } else { requests.push(text) }
    }
    vec![json!(row.name), json!(requests.join(", ")), json!(limits.join(", ")), json!(row.age)]
}
