//! Owns how an Event about an object is worded and filled in. Never stores it: hand it to the store's `Record`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::object::Object;
use super::time;

/// How serious an Event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// For the record.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Severity {
    /// The Event's `type`.
    pub fn text(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// An Event about `object`, said by `component` (`job-controller`, `kubelet`) at `now`.
pub fn about(
    object: &Object,
    component: &str,
    severity: Severity,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Event {
    let meta = object.meta();
    let at = time::seconds(now);
    Event {
        metadata: ObjectMeta {
            // Cluster-scoped objects have their events in `default`, as upstream's recorder puts them.
            namespace: Some(meta.namespace.clone().unwrap_or_else(|| "default".to_owned())),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(object.kind().api_version()),
            kind: Some(object.kind().kind.to_owned()),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            field_path: None,
        },
        type_: Some(severity.text().to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        source: Some(EventSource { component: Some(component.to_owned()), host: None }),
        reporting_component: Some(component.to_owned()),
        reporting_instance: Some(String::new()),
        count: Some(1),
        first_timestamp: Some(at.clone()),
        last_timestamp: Some(at),
        ..Event::default()
    }
}
