//! Owns the way of an object into the store, as far as it is the same for the API and the command line: decode,
//! defaults, metadata, what the server sets, validation, warnings.
//! Never reads or writes a store and never knows HTTP: a [`Refusal`] says what is wrong, `api/error.rs` gives it a code.
//!
//! ```text
//!  create: decode -> default -> namespace -> owners -> system metadata, name -> prepare_create -> validate_create -> warnings
//!  update: decode -> default -> namespace, name -> owners -> uid, revision -> prepare_update -> metadata kept -> validate_update
//!  apply:  read -> merge with what is there, owners -> decode -> default -> on as a create or an update
//!  check (command line): every problem of a manifest, decoding's and validation's, with its place
//! ```
//!
//! Parity: the API server's create and update handlers with `rest.BeforeCreate` and `rest.BeforeUpdate`.

mod applied;
mod check;
mod metadata;
mod refusal;

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use serde_json::Value;

pub use self::applied::{Configuration, apply};
pub use self::check::{Finding, check};
pub use self::refusal::Refusal;
use super::apply::{self, Writer};
use super::decode::{self, Decoded, FieldValidation, Format};
use super::field::FieldError;
use super::kind::Kind;
use super::object::Object;
use super::{canonical, go_text, schema, strategies};

/// What is minted for a new object, by the store or by whoever pretends to be one.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The uid.
    pub uid: &'a str,
    /// What follows `generateName`.
    pub suffix: &'a str,
    /// The creation time.
    pub now: Timestamp,
}

/// What the request says beside the body.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The namespace in the request's address; empty for kinds that live in none.
    pub namespace: &'a str,
    /// What becomes of unknown and duplicate fields.
    pub field_validation: FieldValidation,
    /// Nothing is to be stored: only then may a new object name a revision.
    pub dry_run: bool,
    /// Who writes; none where nobody is to own what is written.
    pub writer: Option<Writer<'a>>,
    /// What a new object is measured by that its own kind's rules do not know.
    pub measure: Measure<'a>,
}

/// What a new object is measured by beside its own kind's rules, in two steps.
#[derive(Clone, Copy)]
pub struct Measure<'a> {
    /// Changes it, or refuses it, before the server sets its fields.
    pub mutate: &'a (dyn Fn(&Object) -> Result<Object, Refusal> + Sync),
    /// Refuses it, once its kind's rules are met, or says what its maker is to be warned of.
    pub validate: &'a (dyn Fn(&Object) -> Result<Vec<String>, Refusal> + Sync),
}

impl Measure<'_> {
    /// By nothing.
    pub const NONE: Self = Self { mutate: &|object| Ok(object.clone()), validate: &|_| Ok(Vec::new()) };
}

impl fmt::Debug for Measure<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Measure")
    }
}

/// An object as it may be stored, and what its sender should be told.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The object, ready to be committed.
    pub object: Object,
    /// Texts of `Warning` headers, in order.
    pub warnings: Vec<String>,
}

/// Admits a new object from a request's body.
pub fn create(
    kind: &'static Kind,
    body: &[u8],
    format: Format,
    options: &Options<'_>,
    identity: &Identity<'_>,
) -> Result<Admitted, Refusal> {
    let decoded = decode::body(kind, body, format, options.field_validation).map_err(Refusal::BadRequest)?;
    create_decoded(decoded, options, identity)
}

/// Admits the object that a request's body gives a name that is not there yet (PUT, where the kind allows it).
pub fn create_named(
    kind: &'static Kind,
    name: &str,
    body: &[u8],
    format: Format,
    options: &Options<'_>,
    identity: &Identity<'_>,
) -> Result<Admitted, Refusal> {
    let decoded = decode::body(kind, body, format, options.field_validation).map_err(Refusal::BadRequest)?;
    metadata::named(&decoded.object, name)?;
    create_decoded(decoded, options, identity)
}

fn create_decoded(decoded: Decoded, options: &Options<'_>, identity: &Identity<'_>) -> Result<Admitted, Refusal> {
    let object = metadata::in_namespace(&(decoded.object.kind().ops.default)(&decoded.object), options.namespace)?;
    make(tracked(None, object, Part::Main, options), decoded.warnings, options, identity)
}

/// The object with its owners after this write.
fn tracked(old: Option<&Object>, new: Object, part: Part, options: &Options<'_>) -> Object {
    match options.writer {
        Some(writer) => apply::track(old, &new, part, writer),
        None => new,
    }
}

/// A new object's way from where it has its owners.
fn make(
    object: Object,
    mut warnings: Vec<String>,
    options: &Options<'_>,
    identity: &Identity<'_>,
) -> Result<Admitted, Refusal> {
    let kind = object.kind();
    let object = metadata::one_owner_each(object, &mut warnings);
    if !options.dry_run && !object.meta().resource_version.as_deref().unwrap_or_default().is_empty() {
        return Err(Refusal::Internal("resourceVersion should not be set on objects to be created".to_owned()));
    }
    let object = (options.measure.mutate)(&object)?;
    let object = metadata::identify(&object, identity);
    let object = (kind.ops.prepare_create)(&object);
    let errors = (kind.ops.validate_create)(&object);
    if !errors.is_empty() {
        return Err(Refusal::invalid(&object, errors));
    }
    let measured = (options.measure.validate)(&object)?;
    warnings.extend((kind.ops.warnings)(&object, None));
    warnings.extend(measured);
    // Parity: what upstream answers with was read back from its store, and defaulted again by that.
    Ok(Admitted { object: (kind.ops.default)(&object), warnings })
}

/// Admits what a request's body makes of `old` (PUT).
pub fn update(old: &Object, body: &[u8], format: Format, options: &Options<'_>) -> Result<Admitted, Refusal> {
    put(old, body, format, options, Part::Main)
}

/// Admits the finalizers that a request's body gives a namespace (PUT to `/finalize`).
pub fn finalize(old: &Object, body: &[u8], format: Format, options: &Options<'_>) -> Result<Admitted, Refusal> {
    put(old, body, format, options, Part::Finalizers)
}

/// Admits the resources that a request's body gives a pod (PUT to `/resize`).
pub fn resize(old: &Object, body: &[u8], format: Format, options: &Options<'_>) -> Result<Admitted, Refusal> {
    put(old, body, format, options, Part::Resize)
}

/// Admits the status that a request's body gives `old` (PUT to `/status`).
pub fn update_status(old: &Object, body: &[u8], format: Format, options: &Options<'_>) -> Result<Admitted, Refusal> {
    put(old, body, format, options, Part::Status)
}

/// Which half of an object a request may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but the status.
    Main,
    /// The status.
    Status,
    /// A namespace's finalizers in its spec (`namespaces/finalize`).
    Finalizers,
    /// The resources of a pod's containers (`pods/resize`).
    Resize,
}

fn put(old: &Object, body: &[u8], format: Format, options: &Options<'_>, part: Part) -> Result<Admitted, Refusal> {
    let kind = old.kind();
    let decoded = decode::body(kind, body, format, options.field_validation).map_err(Refusal::BadRequest)?;
    let object = metadata::in_namespace(&(kind.ops.default)(&decoded.object), options.namespace)?;
    metadata::same_name(&object, old)?;
    metadata::conditional(&object)?;
    replace(old, &tracked(Some(old), object, part, options), decoded.warnings, part)
}

/// Which patch made a value: that decides how its mistakes are worded.
#[derive(Clone, Copy, Debug)]
pub enum Patched<'a> {
    /// A JSON patch or a JSON merge patch.
    Json {
        /// What strict validation refuses of the patch's own text.
        strict: &'a [String],
    },
    /// A strategic merge patch.
    Strategic {
        /// The patch.
        patch: &'a Value,
        /// What strict validation refuses of the patch's own text.
        strict: &'a [String],
    },
}

/// Admits what a patch made of `old`: `new` is `old`'s JSON with the patch applied, before defaults.
pub fn update_value(
    old: &Object,
    new: &Value,
    patched: Patched<'_>,
    options: &Options<'_>,
    part: Part,
) -> Result<Admitted, Refusal> {
    let kind = old.kind();
    let walked = decode::value(kind, new);
    let shown = || match patched {
        Patched::Json { .. } => canonical::go_json(new, Some(&old.to_value()), schema::of(kind)),
        Patched::Strategic { patch, .. } => go_text::plus_v(patch),
    };
    if let Some(why) = misnamed(kind, new, patched) {
        return Err(Refusal::bad_patch(&shown(), &why));
    }
    if let Some(problem) = walked.refusal() {
        let why = match patched {
            Patched::Json { .. } => &problem.message,
            Patched::Strategic { .. } => &problem.converter,
        };
        return Err(Refusal::bad_patch(&shown(), why));
    }
    let mut found = walked.strict();
    let strict = match patched {
        Patched::Json { strict } => strict,
        Patched::Strategic { strict, .. } => {
            found.sort();
            strict
        }
    };
    let strict: Vec<String> = strict.iter().cloned().chain(found).collect();
    let warnings = match options.field_validation {
        FieldValidation::Strict if !strict.is_empty() => {
            return Err(Refusal::bad_patch(&shown(), &format!("strict decoding error: {}", strict.join(", "))));
        }
        FieldValidation::Warn => strict,
        FieldValidation::Ignore | FieldValidation::Strict => Vec::new(),
    };
    let object = decode::typed(kind, walked.value).map_err(|error| Refusal::bad_patch(&shown(), &error.to_string()))?;
    let object = metadata::in_namespace(&(kind.ops.default)(&object), options.namespace)?;
    metadata::same_name(&object, old)?;
    replace(old, &tracked(Some(old), object, part, options), warnings, part)
}

/// Why upstream cannot read what a patch made of an object's `kind` and `apiVersion`.
/// Parity: a strategic merge is not decoded again, so it cannot change them.
fn misnamed(kind: &'static Kind, new: &Value, patched: Patched<'_>) -> Option<String> {
    match patched {
        Patched::Json { .. } => decode::misnamed(kind, new),
        Patched::Strategic { .. } => None,
    }
}

fn replace(old: &Object, new: &Object, mut warnings: Vec<String>, part: Part) -> Result<Admitted, Refusal> {
    let kind = old.kind();
    metadata::same_object(new, old)?;
    let new = metadata::one_owner_each(metadata::revised(new, old), &mut warnings);
    let (prepare, validate) = match part {
        Part::Main => (kind.ops.prepare_update, kind.ops.validate_update),
        Part::Status => (kind.ops.prepare_status_update, kind.ops.validate_status_update),
        Part::Finalizers => (finalized as fn(&Object, &Object) -> Object, kind.ops.validate_update),
        Part::Resize => {
            (resized as fn(&Object, &Object) -> Object, resize_problems as fn(&Object, &Object) -> Vec<FieldError>)
        }
    };
    let new = metadata::kept(&prepare(&new, old), old);
    let errors = validate(&new, old);
    if !errors.is_empty() {
        return Err(Refusal::invalid(&new, errors));
    }
    if part == Part::Main {
        warnings.extend((kind.ops.warnings)(&new, Some(old)));
    }
    Ok(Admitted { object: apply::settled(old, new), warnings })
}

/// Only the resources of a pod's containers are the caller's word.
fn resized(new: &Object, old: &Object) -> Object {
    match (new.typed::<Pod>(), old.typed::<Pod>()) {
        (Some(new), Some(old)) => Object::new(strategies::prepare_resize(new, old)),
        _ => old.clone(),
    }
}

fn resize_problems(new: &Object, old: &Object) -> Vec<FieldError> {
    let pods = new.typed::<Pod>().zip(old.typed::<Pod>());
    pods.map(|(new, old)| strategies::validate_resize(new, old)).unwrap_or_default()
}

/// What becomes of a namespace's finalizers is the caller's word; the rest of it stays.
fn finalized(new: &Object, old: &Object) -> Object {
    match (new.typed::<Namespace>(), old.typed::<Namespace>()) {
        (Some(new), Some(old)) => Object::new(Namespace { status: old.status.clone(), ..new.clone() }),
        _ => old.clone(),
    }
}

#[cfg(test)]
#[path = "admit/tests.rs"]
mod tests;
