//! Owns the way into the model's rules: what a client sent becomes an object that may be stored, or a refusal.
//! The one place where the API meets decoding, defaults and validation. Never writes.
//!
//! Interim: replaced by `model::admit`.

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::call::Call;
use super::error::Problem;
use super::negotiate::Format;
use super::query::FieldValidation;
use crate::model::kind::Kind;
use crate::model::object::Object;
use crate::store::Identity;

/// An object that may be stored, and what to warn its author of.
pub struct Admitted {
    /// The object.
    pub object: Object,
    /// Texts of `Warning` headers.
    pub warnings: Vec<String>,
}

/// A body and how it is to be read.
pub struct Sent {
    /// The bytes.
    pub body: Bytes,
    /// Their format.
    pub format: Format,
    /// What to do about unknown and repeated fields.
    pub validation: FieldValidation,
}

/// Which part of an object a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but the status.
    Main,
    /// The status alone.
    Status,
}

/// A new object.
pub fn create(call: &Call, sent: &Sent, identity: &Identity) -> Result<Admitted, Problem> {
    let kind = call.kind();
    let object = decode(kind, sent)?;
    let object = (kind.ops.default)(&object);
    let object = object.with_meta(|meta| {
        if kind.namespaced && meta.namespace.is_none() {
            meta.namespace = Some(call.target.namespace.clone());
        }
        if meta.name.as_deref().unwrap_or_default().is_empty() {
            if let Some(prefix) = &meta.generate_name {
                meta.name = Some(format!("{prefix}{}", identity.suffix));
            }
        }
        meta.uid = Some(identity.uid.clone());
        meta.creation_timestamp = Some(Time(identity.now));
    });
    check_place(call, &object)?;
    let object = (kind.ops.prepare_create)(&object);
    let name = object.meta().name.clone().unwrap_or_default();
    refuse(kind, &name, (kind.ops.validate_create)(&object))?;
    let warnings = (kind.ops.warnings)(&object, None);
    Ok(Admitted { object, warnings })
}

/// What a client put in the place of `old`.
pub fn update(call: &Call, old: &Object, sent: &Sent, part: Part) -> Result<Admitted, Problem> {
    let object = decode(call.kind(), sent)?;
    check_place(call, &object)?;
    merge(call.kind(), old, &object, part)
}

/// What a patch made of `old`.
pub fn patched(
    call: &Call,
    old: &Object,
    value: Value,
    _validation: FieldValidation,
    part: Part,
) -> Result<Admitted, Problem> {
    let object = Object::from_value(call.kind(), value).map_err(|error| Problem::bad_request(error.to_string()))?;
    check_place(call, &object)?;
    merge(call.kind(), old, &object, part)
}

fn merge(kind: &'static Kind, old: &Object, new: &Object, part: Part) -> Result<Admitted, Problem> {
    let object = (kind.ops.default)(new).with_meta(|meta| {
        meta.uid = meta.uid.take().or_else(|| old.meta().uid.clone());
        meta.creation_timestamp = old.meta().creation_timestamp.clone();
        meta.deletion_timestamp = old.meta().deletion_timestamp.clone();
        meta.deletion_grace_period_seconds = old.meta().deletion_grace_period_seconds;
        meta.generation = old.meta().generation;
        meta.namespace = old.meta().namespace.clone();
    });
    let name = object.meta().name.clone().unwrap_or_default();
    let (object, errors) = match part {
        Part::Main => {
            let object = (kind.ops.prepare_update)(&object, old);
            let errors = (kind.ops.validate_update)(&object, old);
            (object, errors)
        }
        Part::Status => {
            let object = (kind.ops.prepare_status_update)(&object, old);
            let errors = (kind.ops.validate_status_update)(&object, old);
            (object, errors)
        }
    };
    refuse(kind, &name, errors)?;
    let warnings = (kind.ops.warnings)(&object, Some(old));
    Ok(Admitted { object, warnings })
}

fn refuse(kind: &Kind, name: &str, errors: Vec<crate::model::field::FieldError>) -> Result<(), Problem> {
    if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(kind, name, &errors)) }
}

fn decode(kind: &'static Kind, sent: &Sent) -> Result<Object, Problem> {
    let value: Value = match sent.format {
        Format::Json => serde_json::from_slice(&sent.body).map_err(|error| Problem::bad_request(error.to_string()))?,
        Format::Yaml => {
            serde_saphyr::from_slice(&sent.body).map_err(|error| Problem::bad_request(error.to_string()))?
        }
    };
    Object::from_value(kind, value).map_err(|error| Problem::bad_request(error.to_string()))
}

fn check_place(call: &Call, object: &Object) -> Result<(), Problem> {
    let meta = object.meta();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    if !namespace.is_empty() && namespace != call.target.namespace {
        return Err(Problem::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let name = meta.name.as_deref().unwrap_or_default();
    if !call.target.name.is_empty() && name != call.target.name {
        return Err(Problem::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.target.name
        )));
    }
    Ok(())
}
