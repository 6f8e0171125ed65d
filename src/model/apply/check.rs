//! Owns what is wrong with a configuration before it is applied: fields that the type does not have, values of another
//! sort, list items without their keys or twice.
//! Never judges what the values mean: validation does.
//!
//! Parity: structured-merge-diff's `typed.Validate`, with its words.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::go_text::{plus_v, quote};
use super::path::Step;
use super::shape::{Items, Members, Place, Scalar, Shape, step};

/// What is wrong, as one text; none where nothing is.
pub fn check(value: &Value, place: Place) -> Option<String> {
    let mut found = Vec::new();
    visit(value, place, "", &mut found);
    match found.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(format!("errors:\n  {}", several.join("\n  "))),
    }
}

fn visit(value: &Value, place: Place, path: &str, found: &mut Vec<String>) {
    let mut wrong = |why: String| found.push(if path.is_empty() { why } else { format!("{path}: {why}") });
    match (place.shape(value), value) {
        (_, Value::Null) => {}
        (Shape::Scalar(scalar), value) => {
            if let Some(why) = unfit(scalar, value) {
                wrong(why);
            }
        }
        (Shape::List(items, of), Value::Array(values)) => list(values, items, of, path, found),
        (Shape::Map(members), Value::Object(values)) => map(values, members, path, found),
        (Shape::List(..), value) => wrong(format!("expected list, got &{{{}}}", plus_v(value))),
        (Shape::Map(_), value) => wrong(format!("expected map, got &{{{}}}", plus_v(value))),
    }
}

fn list(values: &[Value], items: Items, of: Place, path: &str, found: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (index, value) in values.iter().enumerate() {
        let step = match items {
            Items::Atomic => Step::Index(i64::try_from(index).unwrap_or(i64::MAX)),
            Items::Set | Items::Keyed(_) => match step(items, value) {
                Ok(step) => step,
                Err(why) => return found.push(format!("{path}: element {index}: {why}")),
            },
        };
        if !seen.insert(step.clone()) {
            found.push(format!("{path}: duplicate entries for key {}", step.shown()));
        }
        visit(value, of, &format!("{path}{}", step.shown()), found);
    }
}

fn map(values: &Map<String, Value>, members: Members, path: &str, found: &mut Vec<String>) {
    for (name, value) in values {
        let path = format!("{path}.{name}");
        match members.place(name) {
            Some(place) => visit(value, place, &path, found),
            // Parity: no further member is looked at.
            None => return found.push(format!("{path}: field not declared in schema")),
        }
    }
}

fn unfit(scalar: Scalar, value: &Value) -> Option<String> {
    match (scalar, value) {
        (Scalar::Number, Value::Number(_)) | (Scalar::Text, Value::String(_)) | (Scalar::Bool, Value::Bool(_)) => None,
        (Scalar::Any, Value::Number(_) | Value::String(_) | Value::Bool(_)) => None,
        (Scalar::Number, value) => Some(format!("expected numeric (int or float), got {}", go_type(value))),
        (Scalar::Text, value) => {
            Some(format!("expected string, got &value.valueUnstructured{{Value:{}}}", go_syntax(value)))
        }
        (Scalar::Bool, value) => Some(format!("expected boolean, got &{{{}}}", plus_v(value))),
        (Scalar::Any, value) => Some(format!("expected any scalar, got &{{{}}}", plus_v(value))),
    }
}

/// Go's `%T` of decoded JSON.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// Go's `%#v` of decoded JSON.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::String(text) => quote(text),
        Value::Bool(_) | Value::Number(_) => plus_v(value),
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(go_syntax).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{}:{}", quote(name), go_syntax(value))).collect();
            format!("map[string]interface {{}}{{{}}}", members.join(", "))
        }
    }
}
