//! Owns what the kinds of patch do to a JSON document: JSON patch (RFC 6902), merge patch (RFC 7396) and, through
//! `strategic`, strategic merge patch. Never decodes or validates the result: that is admission's.

use serde_json::Value;

use super::kind::Kind;
use super::strategic;

/// How a patch is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// `application/json-patch+json`.
    Json,
    /// `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
}

/// Why a patch was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// It is not a patch of its kind.
    #[error("{0}")]
    Malformed(String),
    /// It does not fit the document.
    #[error("{0}")]
    Inapplicable(String),
    /// It has more operations than are allowed.
    #[error("The allowed maximum operations in a JSON patch is {JSON_OPERATIONS}, got {0}")]
    TooLong(usize),
}

/// Most operations of one JSON patch. Parity: upstream's `maxJSONPatchOperations`.
const JSON_OPERATIONS: usize = 10_000;

/// Reads a patch of any kind.
pub fn read(patch: &[u8]) -> Result<Value, PatchError> {
    serde_json::from_slice(patch).map_err(|error| PatchError::Malformed(format!("error decoding patch: {error}")))
}

/// Applies `patch` to `document`, an object of `kind`.
pub fn apply(kind: &Kind, how: PatchKind, document: &mut Value, patch: Value) -> Result<(), PatchError> {
    match how {
        PatchKind::Json => json(document, patch),
        PatchKind::Merge => merge(document, &patch),
        PatchKind::Strategic => strategic::apply(kind, document, patch),
    }
}

fn json(document: &mut Value, patch: Value) -> Result<(), PatchError> {
    if let Some(length) = patch.as_array().map(Vec::len).filter(|length| *length > JSON_OPERATIONS) {
        return Err(PatchError::TooLong(length));
    }
    let mut patch = patch;
    give_values(&mut patch);
    let patch: json_patch::Patch = serde_json::from_value(patch)
        .map_err(|error| PatchError::Malformed(format!("error decoding patch: {error}")))?;
    json_patch::patch(document, &patch).map_err(|error| PatchError::Inapplicable(error.to_string()))
}

/// Adds the `value: null` that RFC 6902 asks for and that upstream's library lets clients leave out.
fn give_values(patch: &mut Value) {
    for operation in patch.as_array_mut().into_iter().flatten() {
        let Some(operation) = operation.as_object_mut() else { continue };
        if matches!(operation.get("op").and_then(Value::as_str), Some("add" | "replace" | "test")) {
            operation.entry("value").or_insert(Value::Null);
        }
    }
}

fn merge(document: &mut Value, patch: &Value) -> Result<(), PatchError> {
    if !patch.is_object() {
        return Err(PatchError::Malformed("Invalid JSON Patch".to_owned()));
    }
    json_patch::merge(document, patch);
    Ok(())
}
