//! Owns the strategy of `events.k8s.io/v1` Events. Core Events have theirs in `strategies`; both are stored alike.
//!
//! Parity: `ValidateEventCreate` and `ValidateEventUpdate` for a request of version events.k8s.io/v1, at 1.32.

use serde_json::json;

use super::super::events::{self, Event};
use super::super::field::{Errors, FieldError, Json, Path};
use super::super::strategy::Strategy;
use super::super::validation::{event, metadata};
use super::{created, updated};

impl Strategy for Event {
    const CREATE_ON_UPDATE: bool = true;

    fn validate_create(&self) -> Vec<FieldError> {
        let mut errors = Errors::new();
        metadata::create(&mut errors, &self.metadata, true, metadata::subdomain_name);
        series(&mut errors, self);
        if self.event_time.is_none() {
            errors.required(&Path::new("eventTime"), "");
        }
        let kind = self.type_.as_deref().unwrap_or_default();
        if !matches!(kind, "Normal" | "Warning") {
            errors.invalid(&Path::new("type"), &"", &format!("has invalid value: {kind}"));
        }
        let source = self.deprecated_source.as_ref();
        let unset = [
            ("deprecatedFirstTimestamp", self.deprecated_first_timestamp.is_none()),
            ("deprecatedLastTimestamp", self.deprecated_last_timestamp.is_none()),
            ("deprecatedCount", self.deprecated_count.unwrap_or(0) == 0),
            ("deprecatedSource", source.is_none_or(|source| source.component.is_none() && source.host.is_none())),
        ];
        for (field, _) in unset.iter().filter(|(_, unset)| !unset) {
            errors.invalid(&Path::new(field), &"", "needs to be unset");
        }
        let common = event::check(&events::keep(self)).into_iter().map(renamed);
        common.for_each(|error| errors.push(error));
        created(self, errors.into_vec())
    }

    fn validate_update(&self, old: &Self) -> Vec<FieldError> {
        let mut errors = Errors::new();
        metadata::update(&mut errors, &self.metadata, &old.metadata);
        series(&mut errors, self);
        let (new, old_value) = (json!(self), json!(old));
        for (field, named) in FIXED {
            if new[*field] != old_value[*field] {
                errors.invalid(&Path::new(named), &Json(&new[*field]), "field is immutable");
            }
        }
        updated(self, old, errors.into_vec())
    }
}

/// Fields that no update changes, and how messages name them: as the stored form does, as upstream's messages do.
const FIXED: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("reason", "reason"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
    ("reportingController", "reportingController"),
    ("reportingInstance", "reportingInstance"),
];

fn series(errors: &mut Errors, event: &Event) {
    let Some(series) = &event.series else { return };
    if series.count < 2 {
        errors.invalid(&Path::new("series.count"), &"", "should be at least 2");
    }
    if series.last_observed_time.0 == jiff::Timestamp::UNIX_EPOCH {
        errors.required(&Path::new("series.lastObservedTime"), "");
    }
}

/// The reporting component has another name in this form.
fn renamed(error: FieldError) -> FieldError {
    let field = if error.field == "reportingComponent" { "reportingController".to_owned() } else { error.field };
    FieldError { field, ..error }
}
