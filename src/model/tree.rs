//! Owns the tree that a manifest's text becomes before its types are known: order, duplicates and places are kept.
//! Never interprets: `json` and `yaml` make it, `decode` reads it.

use serde_json::{Number, Value};

/// A place in a text, both counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it starts.
    pub at: Mark,
    /// What it is.
    pub tree: Tree,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as JSON writes it.
    Number(String),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Node>),
    /// An object, in the order that Go's decoder sees: the text's own for JSON, by key for YAML.
    Map(Vec<Entry>),
}

/// One member of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key starts.
    pub at: Mark,
    /// The value.
    pub value: Node,
}

impl Node {
    /// A value that comes from no text.
    pub fn from_value(value: &Value) -> Self {
        let tree = match value {
            Value::Null => Tree::Null,
            Value::Bool(value) => Tree::Bool(*value),
            Value::Number(number) => Tree::Number(number.to_string()),
            Value::String(text) => Tree::Text(text.clone()),
            Value::Array(items) => Tree::List(items.iter().map(Self::from_value).collect()),
            Value::Object(members) => Tree::Map(
                members
                    .iter()
                    .map(|(key, value)| Entry { key: key.clone(), at: Mark::default(), value: Self::from_value(value) })
                    .collect(),
            ),
        };
        Self { at: Mark::default(), tree }
    }

    /// As plain JSON; of members with the same key the last one stays.
    pub fn to_value(&self) -> Value {
        match &self.tree {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(*value),
            Tree::Number(text) => number(text),
            Tree::Text(text) => Value::String(text.clone()),
            Tree::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Tree::Map(entries) => {
                Value::Object(entries.iter().map(|entry| (entry.key.clone(), entry.value.to_value())).collect())
            }
        }
    }

    /// The member with this key; the last one, where there are several.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Tree::Map(entries) = &self.tree else { return None };
        entries.iter().rev().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The string that stands under this key.
    pub fn text(&self, key: &str) -> Option<&str> {
        if let Tree::Text(text) = &self.get(key)?.tree { Some(text) } else { None }
    }

    /// Where the field of this path stands (`spec.template.spec.containers[0].name`, `data[key]`); where it is
    /// missing, the nearest thing above it that is there. A map's key counts as the place of what is under it.
    pub fn mark_of(&self, path: &str) -> Mark {
        self.descend(path, self.at)
    }

    /// What stands at a path, if something does.
    pub fn at_path(&self, path: &str) -> Option<&Node> {
        let path = path.strip_prefix('.').unwrap_or(path);
        if path.is_empty() {
            return Some(self);
        }
        match &self.tree {
            Tree::Map(entries) => {
                entries.iter().rev().find_map(|entry| entry.value.at_path(rest_after(path, &entry.key)?))
            }
            Tree::List(items) => {
                let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
                items.get(index.parse::<usize>().ok()?)?.at_path(rest)
            }
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => None,
        }
    }

    fn descend(&self, path: &str, at: Mark) -> Mark {
        let path = path.strip_prefix('.').unwrap_or(path);
        match &self.tree {
            Tree::Map(entries) => {
                let found = entries.iter().rev().find_map(|entry| Some((entry, rest_after(path, &entry.key)?)));
                let Some((entry, rest)) = found else { return at };
                let here = match entry.value.tree {
                    Tree::List(_) | Tree::Map(_) | Tree::Null => entry.at,
                    Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => entry.value.at,
                };
                if rest.is_empty() { here } else { entry.value.descend(rest, here) }
            }
            Tree::List(items) => {
                let inside = path.strip_prefix('[').and_then(|rest| rest.split_once(']'));
                let Some((index, rest)) = inside else { return at };
                match index.parse().ok().and_then(|index: usize| items.get(index)) {
                    Some(item) => item.descend(rest, item.at),
                    None => at,
                }
            }
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => at,
        }
    }
}

/// What follows `key` at the start of `path`. Keys may contain dots, so that the path cannot be split beforehand.
fn rest_after<'a>(path: &'a str, key: &str) -> Option<&'a str> {
    if let Some(rest) = path.strip_prefix('[').and_then(|rest| rest.strip_prefix(key)?.strip_prefix(']')) {
        return Some(rest);
    }
    let rest = path.strip_prefix(key)?;
    (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
}

/// A JSON number's value: an integer where it is one, else the nearest double.
fn number(text: &str) -> Value {
    if let Ok(value) = text.parse::<i64>() {
        return value.into();
    }
    if let Ok(value) = text.parse::<u64>() {
        return value.into();
    }
    text.parse().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}
