//! Owns reading bodies in upstream's protobuf form, which kubectl's `create job`, `auth can-i` and controller-runtime send
//! although they read JSON answers: a body becomes the JSON that the client would have sent else. PURE.
//! Never writes objects in protobuf: answers are JSON or YAML.
//!
//! ```text
//!  "k8s\0" Unknown{typeMeta, raw} --type--> raw, walked with Go's types and the numbers of `numbers.txt` --> JSON
//! ```
//!
//! Parity: apimachinery's protobuf serializer, and `generated.proto` of the types.

mod numbers;
pub mod wire;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use self::numbers::Numbers;
use self::wire::{Field, Malformed, Wire};
use crate::model::schema::{self, GoType, Struct};

/// How every protobuf body begins.
const MAGIC: &[u8] = b"k8s\0";
/// Deepest nesting: no type of the API nests deeper than a third of this.
const MAX_DEPTH: usize = 64;

/// Why a body cannot be read, in words for the client.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not a protobuf envelope of upstream's.
    #[error("provided data does not appear to be a protobuf message, expected prefix k8s")]
    NoEnvelope,
    /// It says it is something that is not served.
    #[error("no kind \"{1}\" is registered for version \"{0}\"")]
    UnknownType(String, String),
    /// A message inside is broken.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// What claims to be JSON inside is not.
    #[error("a raw value is not JSON: {0}")]
    Raw(String),
    /// Nested beyond any sense.
    #[error("the message is nested too deeply")]
    TooDeep,
}

/// The JSON form of a body.
pub fn to_json(body: &[u8]) -> Result<Value, Error> {
    let envelope = body.strip_prefix(MAGIC).ok_or(Error::NoEnvelope)?;
    let (mut api_version, mut kind, mut raw): (String, String, &[u8]) = (String::new(), String::new(), &[]);
    for field in wire::fields(envelope) {
        match field? {
            Field { number: 1, wire: Wire::Bytes(meta) } => {
                for field in wire::fields(meta) {
                    match field? {
                        Field { number: 1, wire } => api_version = wire.text()?,
                        Field { number: 2, wire } => kind = wire.text()?,
                        Field { .. } => {}
                    }
                }
            }
            Field { number: 2, wire: Wire::Bytes(bytes) } => raw = bytes,
            Field { .. } => {}
        }
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let found = schema::find(&format!("{}/{version}.{kind}", schema::group_package(group)))
        // Options are sent under every version.
        .or_else(|| schema::find(&format!("meta/v1.{kind}")));
    let known = found.ok_or_else(|| Error::UnknownType(api_version.clone(), kind.clone()))?;
    let mut object = structure(known, raw, 0)?;
    object.insert("apiVersion".to_owned(), json!(api_version));
    object.insert("kind".to_owned(), json!(kind));
    Ok(Value::Object(object))
}

fn structure(known: &'static Struct, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, Error> {
    let mut out = Map::new();
    // A type without numbers is newer than the table: what it holds is not understood.
    if let Some(numbers) = numbers::of(known.name) {
        read(known, numbers, bytes, depth, &mut out)?;
    }
    Ok(out)
}

fn read(
    known: &'static Struct,
    numbers: &'static Numbers,
    bytes: &[u8],
    depth: usize,
    out: &mut Map<String, Value>,
) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(Error::TooDeep);
    }
    for field in wire::fields(bytes) {
        let Field { number, wire } = field?;
        if let Some(inline) = numbers.inline(number) {
            read(known, inline, wire.bytes()?, depth + 1, out)?;
            continue;
        }
        // Unknown numbers are fields that are newer than the table.
        let Some(field) = numbers.name(number).and_then(|name| known.field(name)) else { continue };
        let pointer = matches!(field.ty, GoType::Pointer(_));
        match field.ty.base() {
            GoType::List(element) => {
                let list = out.entry(field.name).or_insert_with(|| json!([]));
                if let Value::Array(list) = list {
                    elements(element, wire, depth, list)?;
                }
            }
            GoType::Map(_, values) => {
                let (key, value) = entry(values, wire, depth)?;
                if let Value::Object(map) = out.entry(field.name).or_insert_with(|| json!({})) {
                    map.insert(key, value);
                }
            }
            ty => {
                let value = single(ty, wire, depth)?;
                // Protobuf carries the zero of every field that is not a pointer; JSON leaves it out.
                if pointer || field.always || !is_zero(&value) {
                    out.insert(field.name.to_owned(), value);
                }
            }
        }
    }
    Ok(())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Bool(true) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// One element of a list, or several numbers packed into one field.
fn elements(ty: &'static GoType, wire: Wire<'_>, depth: usize, list: &mut Vec<Value>) -> Result<(), Error> {
    if let (GoType::Int32 | GoType::Int64, Wire::Bytes(mut packed)) = (ty.base(), wire) {
        while !packed.is_empty() {
            list.push(json!(wire::varint(&mut packed)?.cast_signed()));
        }
        return Ok(());
    }
    list.push(single(ty, wire, depth)?);
    Ok(())
}

fn entry(values: &'static GoType, wire: Wire<'_>, depth: usize) -> Result<(String, Value), Error> {
    let (mut key, mut value) = (String::new(), None);
    for field in wire::fields(wire.bytes()?) {
        match field? {
            Field { number: 1, wire } => key = wire.text()?,
            Field { number: 2, wire } => value = Some(single(values, wire, depth)?),
            Field { .. } => {}
        }
    }
    let empty = || single(values, Wire::Bytes(&[]), depth);
    Ok((key, value.map_or_else(empty, Ok)?))
}

/// The first field of a message with one field.
fn inner<'a>(wire: Wire<'a>) -> Result<Option<Wire<'a>>, Error> {
    let first = wire::fields(wire.bytes()?).next().transpose()?;
    Ok(first.filter(|field| field.number == 1).map(|field| field.wire))
}

fn single(ty: &'static GoType, wire: Wire<'_>, depth: usize) -> Result<Value, Error> {
    Ok(match ty.base() {
        GoType::Bool => json!(wire.number()? != 0),
        GoType::Int32 | GoType::Int64 => json!(wire.number()?.cast_signed()),
        GoType::Text => json!(wire.text()?),
        GoType::Bytes => json!(STANDARD.encode(wire.bytes()?)),
        GoType::Quantity => match inner(wire)? {
            Some(text) => json!(text.text()?),
            None => json!("0"),
        },
        GoType::IntOrString => int_or_string(wire.bytes()?)?,
        GoType::Time | GoType::MicroTime => time(wire.bytes()?)?,
        GoType::Raw(_) => match inner(wire)? {
            Some(raw) => serde_json::from_slice(raw.bytes()?).map_err(|error| Error::Raw(error.to_string()))?,
            None => Value::Null,
        },
        GoType::Struct(name) => Value::Object(structure(schema::get(name), wire.bytes()?, depth + 1)?),
        // A named list inside a list or a map is a message of its own: `ExtraValue{items}`.
        GoType::List(element) => {
            let mut list = Vec::new();
            for field in wire::fields(wire.bytes()?) {
                elements(element, field?.wire, depth + 1, &mut list)?;
            }
            Value::Array(list)
        }
        GoType::Map(_, values) => {
            let (key, value) = entry(values, wire, depth)?;
            json!({ key: value })
        }
        GoType::Named(..) | GoType::Pointer(_) => Value::Null,
    })
}

fn int_or_string(bytes: &[u8]) -> Result<Value, Error> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for field in wire::fields(bytes) {
        match field? {
            Field { number: 1, wire } => is_text = wire.number()? == 1,
            Field { number: 2, wire } => number = wire.number()?.cast_signed(),
            Field { number: 3, wire } => text = wire.text()?,
            Field { .. } => {}
        }
    }
    Ok(if is_text { json!(text) } else { json!(number) })
}

/// Null for the zero time, which is sent as an empty message.
fn time(bytes: &[u8]) -> Result<Value, Error> {
    let (mut seconds, mut nanos) = (None, 0);
    for field in wire::fields(bytes) {
        match field? {
            Field { number: 1, wire } => seconds = Some(wire.number()?.cast_signed()),
            Field { number: 2, wire } => nanos = wire.number()?.cast_signed(),
            Field { .. } => {}
        }
    }
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    let at = Timestamp::from_second(seconds).ok();
    let at = at.and_then(|at| at.checked_add(SignedDuration::from_nanos(nanos.clamp(0, 999_999_999))).ok());
    at.map(|at| json!(at.to_string())).ok_or(Malformed::Value).map_err(Error::from)
}
