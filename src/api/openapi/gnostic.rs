//! Owns the protobuf form of OpenAPI 2.0, `openapi.v2.Document`: old kubectl asks for it and takes no other.
//! PURE. Never decides what is in a document: it writes down the JSON that `v2` made.
//!
//! Parity: the field numbers are those of gnostic's `OpenAPIv2.proto`. The tables have what `v2` writes; a field that
//! they lack stops the program in the first test that asks for the document.

use serde_json::Value;

use super::super::protobuf::wire::{put_bytes, put_number};

/// How a value is written.
enum Shape {
    Text,
    Bool,
    /// `Any{yaml}`: JSON is YAML.
    Any,
    /// Every element, as a field of its own.
    Many(&'static Shape),
    One(&'static Message),
    /// A message with this one field.
    Inside(u32, &'static Shape),
    /// A message whose field of this number repeats `{name, value}`.
    Map(u32, &'static Shape),
    /// `ParametersItem`, whose form goes by the parameter's place.
    Parameter,
}

/// A message: names in JSON, their numbers, their forms.
struct Message {
    fields: &'static [(&'static str, u32, Shape)],
    /// The number of what begins with `x-`; 0 where nothing does.
    extensions: u32,
}

static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Shape::Text),
        ("info", 2, Shape::One(&INFO)),
        ("paths", 8, Shape::Map(2, &Shape::One(&PATH))),
        ("definitions", 9, Shape::Map(1, &Shape::One(&SCHEMA))),
        ("security", 12, Shape::Many(&Shape::Map(1, &Shape::Inside(1, &Shape::Many(&Shape::Text))))),
        // `SecurityDefinitionsItem.api_key_security`: there is no other kind here.
        ("securityDefinitions", 13, Shape::Map(1, &Shape::Inside(2, &Shape::One(&API_KEY)))),
    ],
    extensions: 16,
};

static INFO: Message = Message { fields: &[("title", 1, Shape::Text), ("version", 2, Shape::Text)], extensions: 7 };

static API_KEY: Message =
    Message { fields: &[("type", 1, Shape::Text), ("name", 2, Shape::Text), ("in", 3, Shape::Text)], extensions: 5 };

static PATH: Message = Message {
    fields: &[
        ("get", 2, Shape::One(&OPERATION)),
        ("put", 3, Shape::One(&OPERATION)),
        ("post", 4, Shape::One(&OPERATION)),
        ("delete", 5, Shape::One(&OPERATION)),
        ("patch", 8, Shape::One(&OPERATION)),
        ("parameters", 9, Shape::Many(&Shape::Parameter)),
    ],
    extensions: 10,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Shape::Many(&Shape::Text)),
        ("description", 3, Shape::Text),
        ("operationId", 5, Shape::Text),
        ("produces", 6, Shape::Many(&Shape::Text)),
        ("consumes", 7, Shape::Many(&Shape::Text)),
        ("parameters", 8, Shape::Many(&Shape::Parameter)),
        ("responses", 9, Shape::Map(1, &Shape::Inside(1, &Shape::One(&RESPONSE)))),
        ("schemes", 10, Shape::Many(&Shape::Text)),
    ],
    extensions: 13,
};

static RESPONSE: Message = Message {
    fields: &[("description", 1, Shape::Text), ("schema", 2, Shape::Inside(1, &Shape::One(&SCHEMA)))],
    extensions: 5,
};

static BODY_PARAMETER: Message = Message {
    fields: &[
        ("description", 1, Shape::Text),
        ("name", 2, Shape::Text),
        ("in", 3, Shape::Text),
        ("required", 4, Shape::Bool),
        ("schema", 5, Shape::One(&SCHEMA)),
    ],
    extensions: 6,
};

static QUERY_PARAMETER: Message = Message {
    fields: &[
        ("in", 2, Shape::Text),
        ("description", 3, Shape::Text),
        ("name", 4, Shape::Text),
        ("type", 6, Shape::Text),
        ("uniqueItems", 20, Shape::Bool),
    ],
    extensions: 23,
};

static PATH_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Shape::Bool),
        ("in", 2, Shape::Text),
        ("description", 3, Shape::Text),
        ("name", 4, Shape::Text),
        ("type", 5, Shape::Text),
        ("uniqueItems", 19, Shape::Bool),
    ],
    extensions: 22,
};

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Shape::Text),
        ("format", 2, Shape::Text),
        ("description", 4, Shape::Text),
        ("default", 5, Shape::Any),
        ("required", 19, Shape::Many(&Shape::Text)),
        ("additionalProperties", 21, Shape::Inside(1, &Shape::One(&SCHEMA))),
        ("type", 22, Shape::Inside(1, &Shape::Text)),
        ("items", 23, Shape::Inside(1, &Shape::One(&SCHEMA))),
        ("properties", 25, Shape::Map(1, &Shape::One(&SCHEMA))),
    ],
    extensions: 31,
};

/// The document in protobuf.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, &DOCUMENT, document);
    out
}

fn message(out: &mut Vec<u8>, known: &Message, value: &Value) {
    for (name, value) in value.as_object().into_iter().flatten() {
        if name.starts_with("x-") {
            put_bytes(out, known.extensions, &named(name, &Shape::Any, value));
            continue;
        }
        let field = known.fields.iter().find(|(field, ..)| field == name);
        let (_, number, shape) = field.unwrap_or_else(|| panic!("the tables of gnostic.rs lack the field {name:?}"));
        field_of(out, *number, shape, value);
    }
}

fn field_of(out: &mut Vec<u8>, number: u32, shape: &Shape, value: &Value) {
    let mut inner = Vec::new();
    match shape {
        Shape::Text => inner.extend_from_slice(value.as_str().unwrap_or_default().as_bytes()),
        Shape::Bool => return put_number(out, number, u64::from(value == &Value::Bool(true))),
        Shape::Any => put_bytes(&mut inner, 2, value.to_string().as_bytes()),
        Shape::Many(element) => {
            return value.as_array().into_iter().flatten().for_each(|value| field_of(out, number, element, value));
        }
        Shape::One(known) => message(&mut inner, known, value),
        Shape::Inside(only, shape) => field_of(&mut inner, *only, shape, value),
        Shape::Map(entries, shape) => {
            for (name, value) in value.as_object().into_iter().flatten() {
                put_bytes(&mut inner, *entries, &named(name, shape, value));
            }
        }
        Shape::Parameter => parameter(&mut inner, value),
    }
    put_bytes(out, number, &inner);
}

/// `NamedSchema`, `NamedAny` and their like.
fn named(name: &str, shape: &Shape, value: &Value) -> Vec<u8> {
    let mut entry = Vec::new();
    put_bytes(&mut entry, 1, name.as_bytes());
    field_of(&mut entry, 2, shape, value);
    entry
}

/// The forms of a `Parameter`: that of a body, and those of the other places inside of a `NonBodyParameter`.
static IN_BODY: Shape = Shape::Inside(1, &Shape::One(&BODY_PARAMETER));
static IN_QUERY: Shape = Shape::Inside(2, &Shape::Inside(3, &Shape::One(&QUERY_PARAMETER)));
static IN_PATH: Shape = Shape::Inside(2, &Shape::Inside(4, &Shape::One(&PATH_PARAMETER)));

/// `ParametersItem.parameter`.
fn parameter(out: &mut Vec<u8>, value: &Value) {
    let form = match value["in"].as_str() {
        Some("body") => &IN_BODY,
        Some("path") => &IN_PATH,
        _ => &IN_QUERY,
    };
    field_of(out, 1, form, value);
}
