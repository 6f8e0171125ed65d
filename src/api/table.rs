//! Owns the `meta.k8s.io` Table: column definitions and rows around what `columns` prints for each kind. PURE.
//! Never prints a cell itself.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::columns::{self, Column, Text};
use crate::model::kind::Kind;
use crate::model::object::Object;
use crate::model::schema;

/// What each row carries beside its cells (`includeObject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// The object's metadata: the default.
    Metadata,
    /// The whole object.
    Object,
}

impl Include {
    /// Reads the parameter; anything unknown is the default, as no client sends it.
    pub fn parse(text: Option<&str>) -> Self {
        match text {
            Some("None") => Self::None,
            Some("Object") => Self::Object,
            Some(_) | None => Self::Metadata,
        }
    }
}

/// A table of these objects. `headers` is false for all but the first event of a watch.
pub fn of(
    kind: &Kind,
    version: &str,
    metadata: Value,
    objects: &[Object],
    include: Include,
    headers: bool,
    now: Timestamp,
) -> Value {
    let printer = columns::printer(kind);
    let columns: Vec<Value> = if headers { printer.columns.iter().map(definition).collect() } else { Vec::new() };
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut row = json!({"cells": (printer.cells)(object, now)});
            match include {
                Include::None => row["object"] = Value::Null,
                Include::Metadata => row["object"] = partial(object, version),
                Include::Object => row["object"] = object.to_value(),
            }
            if let Some(conditions) = columns::conditions(object) {
                row["conditions"] = conditions;
            }
            row
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

fn definition(column: &Column) -> Value {
    let description = match column.description {
        Text::Own(text) => text,
        Text::Field(owner, field) => {
            let documented = schema::definitions().get(owner).map(|owner| &owner["properties"][field]["description"]);
            documented.and_then(Value::as_str).unwrap_or_default()
        }
    };
    json!({
        "name": column.name,
        "type": column.kind,
        "format": column.format,
        "description": description,
        "priority": column.priority,
    })
}

/// An object's `PartialObjectMetadata`.
pub fn partial(object: &Object, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object.meta(),
    })
}
