//! Owns the second form of Events: `events.k8s.io/v1` shows what is stored as core Events, and is stored as such.
//! Never judges an Event: its strategy does.
//!
//! Parity: the conversions of `pkg/apis/events/v1`; every field of either form has its place in the other.

use k8s_openapi::api::core::v1::{Event as Stored, EventSeries as StoredSeries};
pub use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::events::v1::EventSeries;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::kind::{Face, Kind};
use super::object::Object;

/// The face's way there and back.
pub const FACE: Face = Face {
    stored: Kind::of::<Stored>,
    show: |object| object.typed().map_or_else(|| object.clone(), |event: &Stored| Object::new(show(event))),
    keep: |object| object.typed().map_or_else(|| object.clone(), |event: &Event| Object::new(keep(event))),
};

fn show(event: &Stored) -> Event {
    let event = event.clone();
    Event {
        metadata: event.metadata,
        action: event.action,
        deprecated_count: event.count,
        deprecated_first_timestamp: event.first_timestamp,
        deprecated_last_timestamp: event.last_timestamp,
        deprecated_source: event.source,
        event_time: event.event_time,
        note: event.message,
        reason: event.reason,
        regarding: Some(event.involved_object),
        related: event.related,
        reporting_controller: event.reporting_component,
        reporting_instance: event.reporting_instance,
        series: event.series.map(|series| EventSeries {
            count: series.count.unwrap_or(0),
            last_observed_time: series.last_observed_time.unwrap_or(MicroTime(jiff::Timestamp::UNIX_EPOCH)),
        }),
        type_: event.type_,
    }
}

/// The core form of an Event.
pub fn keep(event: &Event) -> Stored {
    let event = event.clone();
    Stored {
        metadata: event.metadata,
        action: event.action,
        count: event.deprecated_count,
        event_time: event.event_time,
        first_timestamp: event.deprecated_first_timestamp,
        involved_object: event.regarding.unwrap_or_default(),
        last_timestamp: event.deprecated_last_timestamp,
        message: event.note,
        reason: event.reason,
        related: event.related,
        reporting_component: event.reporting_controller,
        reporting_instance: event.reporting_instance,
        series: event.series.map(|series| StoredSeries {
            count: Some(series.count),
            last_observed_time: Some(series.last_observed_time),
        }),
        source: event.deprecated_source,
        type_: event.type_,
    }
}

/// Names of this form's fields in selectors, with those of the stored form.
pub const FIELDS: &[(&str, &str)] = &[
    ("regarding.kind", "involvedObject.kind"),
    ("regarding.namespace", "involvedObject.namespace"),
    ("regarding.name", "involvedObject.name"),
    ("regarding.uid", "involvedObject.uid"),
    ("regarding.apiVersion", "involvedObject.apiVersion"),
    ("regarding.resourceVersion", "involvedObject.resourceVersion"),
    ("regarding.fieldPath", "involvedObject.fieldPath"),
    ("reportingController", "reportingComponent"),
    ("reason", "reason"),
    ("type", "type"),
    ("metadata.name", "metadata.name"),
    ("metadata.namespace", "metadata.namespace"),
];
