//! Owns which pods are the Job's: those it controls and selects. It adopts a pod that it selects and nobody controls,
//! and releases one that it controls and no longer selects. Never writes: the plan says what is written.
//!
//! Parity: upstream's `PodControllerRefManager.ClaimPods`.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};

use super::pods::{is_alive, is_tracked};
use crate::model::object::Object;

/// The pods looked at, sorted by whose they are. Those of others are left out.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// Controlled and selected.
    pub owned: Vec<Object>,
    /// Selected, controlled by nobody: to be adopted.
    pub adopted: Vec<Object>,
    /// Controlled, no longer selected: to be released.
    pub released: Vec<Object>,
}

/// Sorts these pods of the Job's namespace. A Job that is being deleted neither adopts nor releases.
pub fn sort(job: &Object, pods: impl IntoIterator<Item = Object>) -> Claims {
    let mut claims = Claims::default();
    let spec = job.typed::<Job>().and_then(|job| job.spec.as_ref());
    let selector = spec.and_then(|spec| spec.selector.as_ref());
    let manual = spec.is_some_and(|spec| spec.manual_selector == Some(true));
    let deleting = job.meta().deletion_timestamp.is_some();
    for pod in pods {
        let meta = pod.meta();
        let selected = selector.is_some_and(|selector| selects(selector, meta));
        match controller_uid(meta) {
            Some(uid) if uid != job.uid() => {}
            Some(_) if selected => claims.owned.push(pod),
            Some(_) if !deleting => claims.released.push(pod),
            None if selected && !deleting && meta.deletion_timestamp.is_none() => {
                // Differs: a selector of the Job's own making picks only pods that the Job has made. One of them that has
                // ended untracked was counted; upstream adopts it and counts it again.
                if manual || is_tracked(meta) || pod.typed().is_some_and(is_alive) {
                    claims.adopted.push(pod);
                }
            }
            Some(_) | None => {}
        }
    }
    claims
}

/// The uid of the owner that controls the object.
pub fn controller_uid(meta: &ObjectMeta) -> Option<&str> {
    let owners = meta.owner_references.iter().flatten();
    owners.into_iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

/// Whether the selector picks an object with these labels. An empty selector picks none, because it would pick all.
pub fn selects(selector: &LabelSelector, meta: &ObjectMeta) -> bool {
    let none = BTreeMap::new();
    let labels = meta.labels.as_ref().unwrap_or(&none);
    let pairs = selector.match_labels.iter().flatten().collect::<Vec<_>>();
    let expressions = selector.match_expressions.iter().flatten().collect::<Vec<_>>();
    !(pairs.is_empty() && expressions.is_empty())
        && pairs.into_iter().all(|(key, value)| labels.get(key) == Some(value))
        && expressions.into_iter().all(|expression| meets(expression, labels))
}

fn meets(expression: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&expression.key);
    let listed = value.is_some_and(|value| expression.values.iter().flatten().any(|one| one == value));
    match expression.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}
