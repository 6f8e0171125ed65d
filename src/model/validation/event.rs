//! Owns the rules of Events in the core group.
//!
//! Parity: core's `legacyValidateEvent` at 1.32.

use k8s_openapi::api::core::v1::Event;

use super::{names, text};
use crate::model::field::{Errors, FieldError, Path};

/// Longest reporting instance, action and reason, in bytes.
const SHORT_MAX: usize = 128;
/// Longest message of an Event with an event time, in bytes.
const MESSAGE_MAX: usize = 1024;

/// Every problem of an Event, new or changed.
pub fn check(event: &Event) -> Vec<FieldError> {
    let mut errors = Errors::new();
    let namespace = text(&event.metadata.namespace);
    let object_namespace = text(&event.involved_object.namespace);
    let agrees = match (event.event_time.is_some(), object_namespace) {
        (false, "") => matches!(namespace, "" | "default"),
        (false, object) => object == namespace,
        (true, "") => matches!(namespace, "default" | "kube-system"),
        (true, _) => true,
    };
    if !agrees {
        let path = Path::new("involvedObject.namespace");
        errors.invalid(&path, &object_namespace, "does not match event.namespace");
    }
    if event.event_time.is_some() {
        reported(&mut errors, event);
    }
    errors.invalid_each(&Path::new("namespace"), &namespace, names::dns_subdomain(namespace));
    errors.into_vec()
}

/// What an Event with an event time must tell.
fn reported(errors: &mut Errors, event: &Event) {
    let component = text(&event.reporting_component);
    let path = Path::new("reportingComponent");
    errors.required_if_empty(&path, component);
    errors.invalid_each(&path, &component, names::qualified_name(component));
    let fields =
        [("reportingInstance", &event.reporting_instance), ("action", &event.action), ("reason", &event.reason)];
    for (name, value) in fields {
        let value = text(value);
        errors.required_if_empty(&Path::new(name), value);
        at_most(errors, name, value, SHORT_MAX);
    }
    at_most(errors, "message", text(&event.message), MESSAGE_MAX);
}

fn at_most(errors: &mut Errors, name: &str, value: &str, limit: usize) {
    if value.len() > limit {
        errors.invalid(&Path::new(name), &"", &format!("can have at most {limit} characters"));
    }
}
