//! Owns the cells of the small kinds: events, configmaps, secrets, namespaces, leases, priority classes. PURE.
//! Never shows a secret's data, only how many entries it has.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Secret};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::{Value, json};

use super::super::duration;
use super::Row;

pub(super) fn event(event: &Event, row: Row<'_>) -> Vec<Value> {
    let (first, last, count) = seen(event, row.now);
    let about = &event.involved_object;
    let kind = about.kind.as_deref().unwrap_or_default().to_lowercase();
    let object = match about.name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => format!("{kind}/{name}"),
        None => kind,
    };
    vec![
        json!(last),
        json!(event.type_.as_deref().unwrap_or_default()),
        json!(event.reason.as_deref().unwrap_or_default()),
        json!(object),
        json!(about.field_path.as_deref().unwrap_or_default()),
        json!(source(event)),
        json!(event.message.as_deref().unwrap_or_default().trim()),
        json!(first),
        json!(count),
        json!(row.name),
    ]
}

/// When it was first and last seen, and how often.
fn seen(event: &Event, now: Timestamp) -> (String, String, i32) {
    let micro = |at: Option<&MicroTime>| {
        at.map_or_else(|| "<unknown>".to_owned(), |at| duration::human(now.duration_since(at.0).as_secs()))
    };
    let first = match &event.first_timestamp {
        Some(at) => duration::since(Some(at), now),
        None => micro(event.event_time.as_ref()),
    };
    let last = event.last_timestamp.as_ref().map_or_else(|| first.clone(), |at| duration::since(Some(at), now));
    match &event.series {
        Some(series) => (first, micro(series.last_observed_time.as_ref()), series.count.unwrap_or(0)),
        None => (first, last, event.count.filter(|count| *count != 0).unwrap_or(1)),
    }
}

fn source(event: &Event) -> String {
    let filled = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
    let source = event.source.as_ref();
    let component = filled(source.and_then(|source| source.component.as_ref()))
        .or_else(|| filled(event.reporting_component.as_ref()))
        .unwrap_or_default();
    let host =
        filled(source.and_then(|source| source.host.as_ref())).or_else(|| filled(event.reporting_instance.as_ref()));
    match host {
        Some(host) => format!("{component}, {host}"),
        None => component,
    }
}

pub(super) fn config_map(map: &ConfigMap, row: Row<'_>) -> Vec<Value> {
    let entries = map.data.iter().flatten().count() + map.binary_data.iter().flatten().count();
    vec![json!(row.name), json!(entries), json!(row.age)]
}

pub(super) fn secret(secret: &Secret, row: Row<'_>) -> Vec<Value> {
    let kind = secret.type_.as_deref().unwrap_or_default();
    vec![json!(row.name), json!(kind), json!(secret.data.iter().flatten().count()), json!(row.age)]
}

pub(super) fn namespace(namespace: &Namespace, row: Row<'_>) -> Vec<Value> {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    vec![json!(row.name), json!(phase.unwrap_or_default()), json!(row.age)]
}

pub(super) fn lease(lease: &Lease, row: Row<'_>) -> Vec<Value> {
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
    vec![json!(row.name), json!(holder.unwrap_or_default()), json!(row.age)]
}

pub(super) fn runtime_class(class: &RuntimeClass, row: Row<'_>) -> Vec<Value> {
    vec![json!(row.name), json!(class.handler), json!(row.age)]
}

pub(super) fn priority_class(class: &PriorityClass, row: Row<'_>) -> Vec<Value> {
    let policy = class.preemption_policy.as_deref().unwrap_or_default();
    vec![
        json!(row.name),
        json!(class.value.unwrap_or(0)),
        json!(class.global_default == Some(true)),
        json!(row.age),
        json!(policy),
    ]
}
