//! Owns one step of a path into an object: a field, or an item of a list by its keys, its value or its place; and how
//! that is written in `fieldsV1` and in messages.
//! Never owns a set of them: see `set`.
//!
//! Parity: structured-merge-diff's `fieldpath.PathElement`.

use serde_json::{Map, Value};

use super::super::go_text::quote;

/// A key of a list's item, or an item of a set. The order is upstream's: numbers, texts, booleans.
/// Differs: upstream also takes fractions, lists and maps here, which no served type has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Atom {
    /// A whole number.
    Int(i64),
    /// A text.
    Text(String),
    /// A boolean.
    Bool(bool),
}

impl Atom {
    /// The value as an atom; none where it is no text, boolean or whole number.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Number(number) => number.as_i64().map(Self::Int),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Int(value) => Value::from(*value),
            Self::Text(text) => Value::from(text.as_str()),
            Self::Bool(value) => Value::from(*value),
        }
    }

    /// As messages show it: `80`, `"TCP"`.
    fn shown(&self) -> String {
        match self {
            Self::Int(value) => value.to_string(),
            Self::Text(text) => quote(text),
            Self::Bool(value) => value.to_string(),
        }
    }
}

/// One step of a path. The order is that in which upstream writes them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A field of a struct, or a key of a map: `f:spec`.
    Field(String),
    /// The item with these keys, by name: `k:{"name":"main"}`.
    Key(Vec<(String, Atom)>),
    /// The item of a set: `v:"a"`.
    Item(Atom),
    /// The item at this place: `i:0`.
    Index(i64),
}

impl Step {
    /// As `fieldsV1` writes it.
    pub fn key(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => {
                // Written by hand: the keys are sorted, and a map of serde's would be free to order them otherwise.
                let keys: Vec<String> =
                    keys.iter().map(|(name, atom)| format!("{}:{}", Value::from(name.as_str()), atom.json())).collect();
                format!("k:{{{}}}", keys.join(","))
            }
            Self::Item(atom) => format!("v:{}", atom.json()),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    /// Reads what [`Step::key`] writes. `Ok(None)` for a sort of step that is not known, which is left out.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let Some((sort, rest)) = text.split_once(':').filter(|(sort, _)| sort.len() == 1) else {
            return Err(format!("missing colon: {text}"));
        };
        let json = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| error.to_string());
        let atom = |value: &Value| Atom::of(value).ok_or_else(|| format!("no scalar: {text}"));
        match sort {
            "f" => Ok(Some(Self::Field(rest.to_owned()))),
            "v" => Ok(Some(Self::Item(atom(&json(rest)?)?))),
            "i" => rest.parse().map(|index| Some(Self::Index(index))).map_err(|_| format!("no number: {text}")),
            "k" => {
                let members: Map<String, Value> = serde_json::from_str(rest).map_err(|error| error.to_string())?;
                let mut keys = members.iter().map(|(name, value)| Ok((name.clone(), atom(value)?))).collect::<Result<
                    Vec<_>,
                    String,
                >>(
                )?;
                keys.sort();
                Ok(Some(Self::Key(keys)))
            }
            _ => Ok(None),
        }
    }

    /// As messages show it: `.spec`, `[name="main"]`, `[="a"]`, `[0]`.
    pub fn shown(&self) -> String {
        match self {
            Self::Field(name) => format!(".{name}"),
            Self::Key(keys) => {
                let keys: Vec<String> = keys.iter().map(|(name, atom)| format!("{name}={}", atom.shown())).collect();
                format!("[{}]", keys.join(","))
            }
            Self::Item(atom) => format!("[={}]", atom.shown()),
            Self::Index(index) => format!("[{index}]"),
        }
    }
}
