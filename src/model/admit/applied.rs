//! Owns the way of a server-side apply's configuration into the store.
//! Never decides who owns what: `apply` does.
//!
//! Parity: apiserver's `applyPatcher`: merged and typed first, then what strict reading of the text finds.

use super::super::apply::{self, Apply, Writer};
use super::super::decode::{self, FieldValidation};
use super::super::go_text::quote;
use super::super::kind::Kind;
use super::super::object::Object;
use super::super::yaml;
use super::{Admitted, Identity, Options, Part, Refusal, make, metadata, replace};

/// What a client applies, and how.
#[derive(Clone, Copy, Debug)]
pub struct Configuration<'a> {
    /// The kind in the request's address.
    pub kind: &'static Kind,
    /// The name in the request's address.
    pub name: &'a str,
    /// The half of the object that it may change.
    pub part: Part,
    /// YAML or JSON.
    pub body: &'a [u8],
    /// The applier; its name is not empty.
    pub writer: Writer<'a>,
    /// Conflicts are won.
    pub force: bool,
}

/// Admits what a configuration makes of `old`, or a new object where there is none. `identity` is for that one.
pub fn apply(
    old: Option<&Object>,
    sent: &Configuration<'_>,
    options: &Options<'_>,
    identity: &Identity<'_>,
) -> Result<Admitted, Refusal> {
    let (config, strict) = apply::read(sent.body)?;
    let how = Apply { kind: sent.kind, part: sent.part, writer: sent.writer, force: sent.force };
    let applied = apply::apply(old, &config, &how)?;
    let warnings = match (options.field_validation, strict) {
        (FieldValidation::Strict, Some(why)) => {
            return Err(Refusal::BadRequest(format!("error strict decoding YAML: {why}")));
        }
        (FieldValidation::Warn, Some(why)) => yaml::apart(&why),
        (FieldValidation::Ignore | FieldValidation::Strict | FieldValidation::Warn, _) => Vec::new(),
    };
    let object = typed(sent, &applied.value)?;
    let object = object.with_meta(|meta| meta.managed_fields.clone_from(&applied.managers));
    if let (None, false) = (old, object.uid().is_empty()) {
        let reason = format!(
            "uid mismatch: the provided object specified uid {}, and no existing object was found",
            object.uid()
        );
        return Err(Refusal::Conflict { resource: sent.kind.resource(), name: sent.name.to_owned(), reason });
    }
    let object = metadata::in_namespace(&object, options.namespace)?;
    metadata::named(&object, sent.name)?;
    match old {
        Some(old) => replace(old, &object, warnings, sent.part),
        None => make(object, warnings, options, identity),
    }
}

/// The merged object as its type, defaulted.
fn typed(sent: &Configuration<'_>, value: &serde_json::Value) -> Result<Object, Refusal> {
    let kind = sent.kind;
    let version = kind.api_version();
    let unfit = |why: &str| {
        let gvk = format!("{}/{}, Kind={}", kind.group, kind.version, kind.kind);
        let meta = |name: &str| value.pointer(&format!("/metadata/{name}")).and_then(serde_json::Value::as_str);
        let (namespace, name) = (meta("namespace").unwrap_or_default(), meta("name").unwrap_or_default());
        Refusal::Internal(format!(
            "failed to convert new object ({namespace}/{name}; {gvk}) to proper version ({version}): {why}"
        ))
    };
    let walked = decode::value(kind, value);
    if let Some(problem) = walked.refusal() {
        return Err(unfit(&problem.converter));
    }
    let object = decode::typed(kind, walked.value).map_err(|error| unfit(&quote(&error.to_string())))?;
    Ok((kind.ops.default)(&object))
}
