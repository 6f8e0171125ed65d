//! Owns what the kinds of patch do to a JSON document: JSON patch (RFC 6902), merge patch (RFC 7396) and, through
//! `strategic`, strategic merge patch; and reading them, with upstream's words for what is wrong. Never decodes or
//! validates the result: that is admission's.
//!
//! Parity: apiserver's `handlers/patch.go` over `json-patch` v4, which is laxer than RFC 6902: to replace a member that is
//! missing adds it.

use serde_json::{Value, json};

use super::decode::{FieldValidation, name_of};
use super::json;
use super::kind::Kind;
use super::strategic;
use super::tree::{Entry, Node, Tree};

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
    /// A strategic merge that upstream gives up on with a bare 500.
    #[error("{0}")]
    Unmergeable(String),
}

/// Most operations of one JSON patch. Parity: upstream's `maxJSONPatchOperations`.
const JSON_OPERATIONS: usize = 10_000;

/// The members of one operation of a JSON patch; all but the last are texts.
const OPERATION: [&str; 4] = ["op", "path", "from", "value"];

/// A patch as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// The patch.
    pub patch: Value,
    /// What strict field validation refuses and lax validation warns of: `duplicate field "spec.parallelism"`.
    pub strict: Vec<String>,
}

/// Reads a patch.
/// Parity: where nothing is to be said of its fields, upstream reads it with its patch library alone, which is curt.
pub fn read(how: PatchKind, patch: &[u8], validation: FieldValidation) -> Result<Read, PatchError> {
    let ignore = validation == FieldValidation::Ignore;
    let told = match how {
        PatchKind::Json | PatchKind::Merge if !ignore => "error decoding patch: ",
        PatchKind::Json | PatchKind::Merge | PatchKind::Strategic => "",
    };
    read_told(how, patch, told).map_err(|error| match how {
        PatchKind::Merge if ignore => PatchError::Malformed("Invalid JSON Patch".to_owned()),
        PatchKind::Json | PatchKind::Merge | PatchKind::Strategic => error,
    })
}

fn read_told(how: PatchKind, patch: &[u8], told: &str) -> Result<Read, PatchError> {
    let wrong = |why: String| PatchError::Malformed(format!("{told}{why}"));
    let node = json::parse(&String::from_utf8_lossy(patch)).map_err(|error| wrong(error.message))?;
    let mut strict = Vec::new();
    match how {
        PatchKind::Json => {
            fits_operations(&node).map_err(wrong)?;
            oddities(&node, "", true, &mut strict);
            strict.iter_mut().for_each(|oddity| oddity.insert_str(0, "json patch "));
        }
        PatchKind::Merge | PatchKind::Strategic => {
            if !matches!(node.tree, Tree::Map(_) | Tree::Null) {
                return Err(wrong(unfit(&node, "value of type map[string]interface {}")));
            }
            oddities(&node, "", false, &mut strict);
        }
    }
    Ok(Read { patch: node.to_value(), strict })
}

fn unfit(node: &Node, wanted: &str) -> String {
    format!("json: cannot unmarshal {} into Go {wanted}", name_of(&node.tree))
}

/// Whether a text is a list of operations, by its types.
fn fits_operations(node: &Node) -> Result<(), String> {
    let items = match &node.tree {
        Tree::List(items) => items,
        Tree::Null => return Ok(()),
        _ => return Err(unfit(node, "value of type []handlers.jsonPatchOp")),
    };
    for item in items {
        let entries = match &item.tree {
            Tree::Map(entries) => entries,
            Tree::Null => continue,
            _ => return Err(unfit(item, "value of type handlers.jsonPatchOp")),
        };
        for Entry { key, value, .. } in entries {
            let text = OPERATION[..3].contains(&key.as_str());
            if text && !matches!(value.tree, Tree::Text(_) | Tree::Null) {
                return Err(unfit(value, &format!("struct field jsonPatchOp.{key} of type string")));
            }
        }
    }
    Ok(())
}

/// Members that stand twice and, in a list of `operations`, members that no operation has.
fn oddities(node: &Node, path: &str, operations: bool, found: &mut Vec<String>) {
    match &node.tree {
        Tree::List(items) => {
            for (index, item) in items.iter().enumerate() {
                oddities(item, &format!("{path}[{index}]"), operations, found);
            }
        }
        Tree::Map(entries) => {
            for (index, Entry { key, value, .. }) in entries.iter().enumerate() {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                if operations && !OPERATION.contains(&key.as_str()) {
                    found.push(format!("unknown field \"{path}\""));
                    continue;
                }
                if entries[..index].iter().any(|earlier| earlier.key == *key) {
                    found.push(format!("duplicate field \"{path}\""));
                }
                oddities(value, &path, false, found);
            }
        }
        Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => {}
    }
}

/// Applies `patch` to `document`, an object of `kind`.
pub fn apply(kind: &Kind, how: PatchKind, document: &mut Value, patch: Value) -> Result<(), PatchError> {
    match how {
        PatchKind::Json => operations(document, patch),
        PatchKind::Merge => merge(document, &patch),
        PatchKind::Strategic => strategic::apply(kind, document, patch),
    }
}

fn operations(document: &mut Value, patch: Value) -> Result<(), PatchError> {
    let operations = match patch {
        Value::Array(operations) => operations,
        Value::Null => return Ok(()),
        _ => return Err(PatchError::Malformed("Invalid JSON Patch".to_owned())),
    };
    if operations.len() > JSON_OPERATIONS {
        return Err(PatchError::TooLong(operations.len()));
    }
    operations.into_iter().try_for_each(|operation| operate(document, operation))
}

/// Carries out one operation of a JSON patch.
fn operate(document: &mut Value, mut operation: Value) -> Result<(), PatchError> {
    let text = |name: &str| operation.get(name).and_then(Value::as_str).map(str::to_owned);
    let op = text("op").unwrap_or_else(|| "unknown".to_owned());
    if !["add", "remove", "replace", "move", "test", "copy"].contains(&op.as_str()) {
        return Err(PatchError::Inapplicable(format!("Unexpected kind: {op}")));
    }
    if op == "move" {
        return move_to(document, text("from").unwrap_or_default(), text("path").unwrap_or_default());
    }
    let path = counted(document, &text("path").unwrap_or_default(), matches!(op.as_str(), "add" | "copy"));
    let from = text("from").map(|from| counted(document, &from, false));
    let whole = path.is_empty() && matches!(op.as_str(), "replace" | "test");
    let Some((parent, key)) = path.rsplit_once('/').or(whole.then_some(("", ""))) else {
        return Err(PatchError::Inapplicable(format!("{op} operation does not apply: doc is missing path: {path}")));
    };
    let key = key.replace("~1", "/").replace("~0", "~");
    let missing =
        document.pointer(parent).and_then(Value::as_object).is_some_and(|fields| !whole && !fields.contains_key(&key));
    if let Some(fields) = operation.as_object_mut() {
        fields.insert("path".to_owned(), path.into());
        fields.extend(from.map(|from| ("from".to_owned(), from.into())));
        // RFC 6902 asks for a value, upstream lets clients leave it out.
        if matches!(op.as_str(), "add" | "replace" | "test") {
            fields.entry("value").or_insert(Value::Null);
        }
        if missing && op == "replace" {
            fields.insert("op".to_owned(), "add".into());
        }
        if missing && op == "test" && fields["value"].is_null() {
            return Ok(());
        }
    }
    let operation: json_patch::PatchOperation =
        serde_json::from_value(operation).map_err(|error| PatchError::Inapplicable(error.to_string()))?;
    json_patch::patch(document, &[operation]).map_err(|error| PatchError::Inapplicable(error.to_string()))
}

/// A move is a removal and an addition: places in a list are counted anew in between.
fn move_to(document: &mut Value, from: String, path: String) -> Result<(), PatchError> {
    let Some(value) = document.pointer(&counted(document, &from, false)).cloned() else {
        return Err(PatchError::Inapplicable(format!(
            "move operation does not apply: doc is missing from path: {from}"
        )));
    };
    operate(document, json!({"op": "remove", "path": from}))?;
    operate(document, json!({"op": "add", "path": path, "value": value}))
}

/// The pointer with its places in lists as RFC 6901 writes them. `adds` where its last place may be behind the list.
/// Parity: Go's `Atoi` reads them, and negative ones count from the end.
fn counted(document: &Value, pointer: &str, adds: bool) -> String {
    let mut at = Some(document);
    let mut out = String::with_capacity(pointer.len());
    let mut tokens = pointer.split('/').skip(1).peekable();
    while let Some(token) = tokens.next() {
        out.push('/');
        let place = at.and_then(Value::as_array).and_then(|items| {
            let room = items.len() + usize::from(adds && tokens.peek().is_none());
            let place = token.parse::<i64>().ok()?;
            let from_end = if place < 0 { i64::try_from(room).ok()? } else { 0 };
            usize::try_from(place + from_end).ok()
        });
        match place {
            Some(place) => {
                out.push_str(&place.to_string());
                at = at.and_then(|items| items.get(place));
            }
            None => {
                out.push_str(token);
                at = at.and_then(|fields| fields.get(token.replace("~1", "/").replace("~0", "~")));
            }
        }
    }
    // Without a slash at its start it is no pointer: it stays as it is, to be refused.
    if pointer.starts_with('/') { out } else { pointer.to_owned() }
}

fn merge(document: &mut Value, patch: &Value) -> Result<(), PatchError> {
    if !patch.is_object() {
        return Err(PatchError::Malformed("Invalid JSON Patch".to_owned()));
    }
    json_patch::merge(document, patch);
    Ok(())
}
