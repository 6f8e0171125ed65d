//! Owns how values of a type are divided into fields that can have different owners: what is a leaf, which lists have keys,
//! which maps are replaced whole. The facts are those of `schema`.
//! Never looks at a whole object: `walk` and `check` do.
//!
//! Parity: what `x-kubernetes-list-type`, `-list-map-keys` and `-map-type` in upstream's OpenAPI say. A list that says
//! nothing is atomic, a map or struct that says nothing is not.

use serde_json::{Map, Value};

use super::super::kind::Kind;
use super::super::schema::{self, Field, GoType, ListType, Struct};
use super::path::{Atom, Step};

/// The type of a place in an object, and what the field that holds it adds to that.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// A type of the table.
    Known(&'static GoType, Option<&'static Field>),
    /// An object of a kind, as a whole.
    Root(&'static Struct),
    /// Any JSON: its own form says what it is.
    Any,
}

/// What a scalar may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A number.
    Number,
    /// A text.
    Text,
    /// `true` or `false`.
    Bool,
    /// Any of them.
    Any,
}

/// What tells the items of a list apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Items {
    /// Nothing: the list is one value.
    Atomic,
    /// Their values.
    Set,
    /// These fields.
    Keyed(&'static [&'static str]),
}

/// How the values of a place are divided.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Not at all.
    Scalar(Scalar),
    /// Into items.
    List(Items, Place),
    /// Into members.
    Map(Members),
}

/// The members of a map or a struct.
#[derive(Clone, Copy, Debug)]
pub struct Members {
    /// The map is one value.
    pub atomic: bool,
    fields: Option<&'static Struct>,
    others: Option<Place>,
}

impl Members {
    /// Whether a type names this member.
    pub fn names(&self, name: &str) -> bool {
        self.fields.is_some_and(|fields| fields.field(name).is_some())
    }

    /// Where a member lies; none where the type has none of that name.
    pub fn place(&self, name: &str) -> Option<Place> {
        match self.fields {
            Some(fields) => fields.field(name).map(|field| Place::Known(&field.ty, Some(field))),
            None => self.others,
        }
    }
}

impl Place {
    /// An object of a kind.
    pub fn of(kind: &Kind) -> Self {
        Self::Root(schema::of(kind))
    }

    /// How a value here is divided. The value decides only where the type leaves it open.
    pub fn shape(self, value: &Value) -> Shape {
        match self {
            Self::Root(fields) => Shape::Map(Members { atomic: false, fields: Some(fields), others: None }),
            Self::Known(ty, field) => known(ty, field, value),
            Self::Any => deduced(value),
        }
    }
}

fn known(ty: &'static GoType, field: Option<&'static Field>, value: &Value) -> Shape {
    let whole = field.is_some_and(|field| field.atomic);
    match ty.base() {
        GoType::Bool => Shape::Scalar(Scalar::Bool),
        GoType::Int32 | GoType::Int64 => Shape::Scalar(Scalar::Number),
        GoType::Text | GoType::Bytes => Shape::Scalar(Scalar::Text),
        GoType::Quantity | GoType::IntOrString | GoType::Time | GoType::MicroTime => Shape::Scalar(Scalar::Any),
        GoType::List(of) => {
            let items = match field.and_then(|field| field.list.as_ref()) {
                Some(ListType::Set) => Items::Set,
                Some(ListType::Map(keys)) => Items::Keyed(keys),
                Some(ListType::Atomic) | None => Items::Atomic,
            };
            Shape::List(items, Place::Known(of, None))
        }
        GoType::Map(_, of) => Shape::Map(Members { atomic: whole, fields: None, others: Some(Place::Known(of, None)) }),
        GoType::Struct(name) => {
            let fields = schema::get(name);
            Shape::Map(Members { atomic: whole || fields.atomic, fields: Some(fields), others: None })
        }
        GoType::Raw(_) | GoType::Named(..) | GoType::Pointer(_) => deduced(value),
    }
}

/// Parity: `DeducedParseableType`: maps are divided, lists are not.
fn deduced(value: &Value) -> Shape {
    match value {
        Value::Object(_) => Shape::Map(Members { atomic: false, fields: None, others: Some(Place::Any) }),
        Value::Array(_) => Shape::List(Items::Atomic, Place::Any),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Shape::Scalar(Scalar::Any),
    }
}

/// Keys of list items that have a default. Parity: the `default`s in upstream's OpenAPI of container and service ports.
fn key_default(name: &str) -> Option<Atom> {
    (name == "protocol").then(|| Atom::Text("TCP".to_owned()))
}

/// The step to an item of a list that is no leaf; the error says why it has none.
pub fn step(items: Items, item: &Value) -> Result<Step, String> {
    match items {
        Items::Atomic => Err("invalid indexing of non-associative list".to_owned()),
        Items::Set => match item {
            Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
            Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
            Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
            scalar => Atom::of(scalar).map(Step::Item).ok_or_else(|| format!("no whole number: {scalar}")),
        },
        Items::Keyed(keys) => match item {
            Value::Object(members) => keyed(keys, members),
            Value::Null => Err("associative list with keys may not have a null element".to_owned()),
            _ => Err("associative list with keys may not have non-map elements".to_owned()),
        },
    }
}

fn keyed(keys: &[&str], members: &Map<String, Value>) -> Result<Step, String> {
    let mut found = Vec::with_capacity(keys.len());
    for name in keys {
        let atom = match members.get(*name) {
            Some(value) => Atom::of(value).ok_or_else(|| format!("key field {name} is no text, boolean or whole number"))?,
            None => key_default(name).ok_or_else(|| {
                format!(
                    "associative list with keys has an element that omits key field {name:?} (and doesn't have default value)"
                )
            })?,
        };
        found.push(((*name).to_owned(), atom));
    }
    found.sort();
    Ok(Step::Key(found))
}
