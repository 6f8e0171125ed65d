//! Owns the walk over a manifest's tree with a Go type beside it: what fits becomes JSON, what does not becomes a
//! problem with its path, its place and upstream's words.
//! Never stops at a problem: the API answers with the first that upstream would meet, the command line shows them all.
//!
//! Parity: sigs.k8s.io/json (the strict, case-sensitive fork of `encoding/json`) and the types' own unmarshalers.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::super::go_text::{parse_micro_time, parse_time, quote};
use super::super::quantity;
use super::super::schema::{self, Field, GoType, Struct};
use super::super::tree::{Entry, Mark, Node, Tree};
use super::super::yaml::shown;

/// Strict errors beyond this many are not kept, as upstream keeps them.
const MOST_STRICT: usize = 100;

/// What a problem is to upstream's decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// The type has no such field; an error only where asked for.
    Unknown,
    /// The field stands twice; an error only where asked for.
    Duplicate,
    /// The value has the wrong type: upstream reads on and reports the first.
    Type,
    /// A type's own reader refused the value: upstream stops and forgets earlier type errors.
    Fatal,
}

/// Something in a manifest that does not fit its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What it is to upstream's decoder.
    pub sort: Sort,
    /// The field, with indices: `spec.template.spec.containers[0].ports[1].containerPort`.
    pub path: String,
    /// Upstream's words.
    pub message: String,
    /// Upstream's words where the value comes from a strategic merge patch, which another reader reads.
    pub converter: String,
    /// Where it stands.
    pub at: Mark,
    /// The value, as text for a person.
    pub value: String,
    /// What is allowed there, as text for a person.
    pub allowed: String,
}

/// A tree read as a type.
#[derive(Debug)]
pub struct Walked {
    /// What fits, as JSON; what does not fit is left out.
    pub value: Value,
    /// What does not fit, in the order in which upstream would meet it.
    pub problems: Vec<Problem>,
}

impl Walked {
    /// The problem for which upstream refuses whatever strictness was asked for.
    pub fn refusal(&self) -> Option<&Problem> {
        let first = |sort| self.problems.iter().find(|problem| problem.sort == sort);
        first(Sort::Fatal).or_else(|| first(Sort::Type))
    }

    /// The messages of unknown and duplicate fields.
    pub fn strict(&self) -> Vec<String> {
        let mut seen = HashSet::new();
        self.problems
            .iter()
            .filter(|problem| matches!(problem.sort, Sort::Unknown | Sort::Duplicate))
            .filter(|problem| seen.insert(problem.message.as_str()))
            .take(MOST_STRICT)
            .map(|problem| problem.message.clone())
            .collect()
    }
}

/// Reads a tree as a struct.
pub fn walk(node: &Node, ty: &'static Struct) -> Walked {
    let mut walker = Walker { problems: Vec::new(), path: String::new(), fields: Vec::new(), owner: None };
    let ty = GoType::Struct(ty.name);
    let value = walker.value(node, &ty, &ty).unwrap_or_else(|| Value::Object(Map::new()));
    Walked { value, problems: walker.problems }
}

struct Walker {
    problems: Vec<Problem>,
    /// Where we are, for strict errors and people.
    path: String,
    /// Where we are, for type errors: fields alone, no indices and no map keys.
    fields: Vec<&'static str>,
    /// The struct whose field is being read.
    owner: Option<&'static Struct>,
}

impl Walker {
    /// The value as this type; none where it is null or does not fit. `shown` is the type that messages print.
    fn value(&mut self, node: &Node, ty: &GoType, shown: &GoType) -> Option<Value> {
        match ty {
            GoType::Named(_, of) => return self.value(node, of, shown),
            GoType::Pointer(_) if node.tree == Tree::Null => return None,
            GoType::Pointer(of) => return self.value(node, of, of),
            GoType::Quantity => return self.quantity(node),
            GoType::IntOrString => return self.int_or_string(node),
            GoType::Time => return self.time(node, |text| parse_time(text).map(|at| format!("{at:.0}"))),
            GoType::MicroTime => return self.time(node, |text| parse_micro_time(text).map(|at| format!("{at:.6}"))),
            GoType::Raw(_) => return (node.tree != Tree::Null).then(|| node.to_value()),
            _ => {}
        }
        match (&node.tree, ty) {
            (Tree::Null, _) => None,
            (Tree::Bool(value), GoType::Bool) => Some(Value::Bool(*value)),
            (Tree::Text(text), GoType::Text) => Some(Value::String(text.clone())),
            (Tree::Text(text), GoType::Bytes) => self.bytes(node, text),
            (Tree::Number(text), GoType::Int32 | GoType::Int64) => self.integer(node, text, ty, shown),
            (Tree::List(items), GoType::List(of)) => Some(self.items(items, of)),
            (Tree::Map(entries), GoType::Map(_, of)) => Some(self.map(entries, of)),
            (Tree::Map(entries), GoType::Struct(name)) => Some(self.object(entries, schema::get(name))),
            _ => {
                self.mismatch(node, name_of(&node.tree), shown, Sort::Type);
                None
            }
        }
    }

    fn object(&mut self, entries: &[Entry], ty: &'static Struct) -> Value {
        let mut members = Map::new();
        let mut seen = HashSet::new();
        for entry in entries {
            let Some(field) = ty.field(&entry.key) else {
                self.unknown(entry, ty);
                continue;
            };
            if !seen.insert(field.name) {
                self.duplicate(entry);
            }
            let (length, before) = (self.path.len(), self.owner);
            self.push_key(field.name);
            self.fields.push(field.name);
            self.owner = Some(ty);
            let value = self.value(&entry.value, &field.ty, &field.ty);
            self.owner = before;
            self.fields.pop();
            self.path.truncate(length);
            set(&mut members, field, value, entry.value.tree == Tree::Null);
        }
        Value::Object(members)
    }

    fn map(&mut self, entries: &[Entry], of: &GoType) -> Value {
        let mut members = Map::new();
        let mut seen = HashSet::new();
        for entry in entries {
            if !seen.insert(entry.key.as_str()) {
                self.duplicate(entry);
            }
            let length = self.path.len();
            self.push_key(&entry.key);
            let value = self.value(&entry.value, of, of);
            self.path.truncate(length);
            members.insert(entry.key.clone(), value.unwrap_or_else(|| zero(of)));
        }
        Value::Object(members)
    }

    fn items(&mut self, items: &[Node], of: &GoType) -> Value {
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let length = self.path.len();
            self.path.push_str(&format!("[{index}]"));
            values.push(self.value(item, of, of).unwrap_or_else(|| zero(of)));
            self.path.truncate(length);
        }
        Value::Array(values)
    }

    fn integer(&mut self, node: &Node, text: &str, ty: &GoType, shown: &GoType) -> Option<Value> {
        let fits = |value: &i64| *ty != GoType::Int32 || i32::try_from(*value).is_ok();
        match text.parse::<i64>().ok().filter(fits) {
            Some(value) => Some(value.into()),
            None => {
                self.mismatch(node, &format!("number {text}"), shown, Sort::Type);
                None
            }
        }
    }

    fn bytes(&mut self, node: &Node, text: &str) -> Option<Value> {
        // Go's decoder passes over line breaks.
        let clean: String = text.chars().filter(|character| !matches!(character, '\n' | '\r')).collect();
        match STANDARD.decode(&clean) {
            Ok(bytes) => Some(Value::String(STANDARD.encode(bytes))),
            Err(_) => {
                let message = format!("illegal base64 data at input byte {}", corrupt_at(text));
                self.problem(
                    Sort::Type,
                    node,
                    message.clone(),
                    format!("error decoding from json: {message}"),
                    "base64 text",
                );
                None
            }
        }
    }

    /// A `resource.Quantity` reads the raw text of whatever stands there.
    fn quantity(&mut self, node: &Node) -> Option<Value> {
        let text = match &node.tree {
            Tree::Null => return Some(json!("0")),
            Tree::Text(text) | Tree::Number(text) => text.trim(),
            Tree::Bool(_) | Tree::List(_) | Tree::Map(_) => "?",
        };
        match quantity::canonical(text) {
            Ok(text) => Some(Value::String(text)),
            Err(message) => {
                let allowed = "a quantity such as 500m, 2, 64Mi or 1Gi";
                self.problem(Sort::Fatal, node, message.to_owned(), message.to_owned(), allowed);
                None
            }
        }
    }

    fn int_or_string(&mut self, node: &Node) -> Option<Value> {
        match &node.tree {
            Tree::Null => Some(json!(0)),
            Tree::Text(text) => Some(Value::String(text.clone())),
            Tree::Number(text) => match text.parse::<i32>() {
                Ok(value) => Some(value.into()),
                Err(_) => {
                    self.mismatch(node, &format!("number {text}"), &GoType::Int32, Sort::Fatal);
                    None
                }
            },
            other => {
                self.mismatch(node, name_of(other), &GoType::Int32, Sort::Fatal);
                None
            }
        }
    }

    fn time(&mut self, node: &Node, canonical: fn(&str) -> Result<String, String>) -> Option<Value> {
        let text = match &node.tree {
            Tree::Null => return None,
            Tree::Text(text) => text,
            other => {
                self.mismatch(node, name_of(other), &GoType::Text, Sort::Fatal);
                return None;
            }
        };
        match canonical(text) {
            Ok(text) => Some(Value::String(text)),
            Err(message) => {
                let allowed = "an RFC 3339 time such as 2025-01-31T12:00:00Z";
                self.problem(Sort::Fatal, node, message.clone(), message, allowed);
                None
            }
        }
    }

    fn push_key(&mut self, key: &str) {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(key);
    }

    fn joined(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn unknown(&mut self, entry: &Entry, ty: &Struct) {
        let path = self.joined(&entry.key);
        let message = format!("unknown field {}", quote(&path));
        let allowed = allowed_fields(&entry.key, ty);
        let value = shown(&entry.value);
        let converter = message.clone();
        self.problems.push(Problem { sort: Sort::Unknown, path, message, converter, at: entry.at, value, allowed });
    }

    fn duplicate(&mut self, entry: &Entry) {
        let path = self.joined(&entry.key);
        let message = format!("duplicate field {}", quote(&path));
        let allowed = "the field once".to_owned();
        let value = shown(&entry.value);
        let converter = message.clone();
        self.problems.push(Problem { sort: Sort::Duplicate, path, message, converter, at: entry.at, value, allowed });
    }

    /// Go's `UnmarshalTypeError`.
    fn mismatch(&mut self, node: &Node, what: &str, ty: &GoType, sort: Sort) {
        let place = match self.owner {
            Some(owner) => format!("Go struct field {}.{}", owner.go_name(), self.fields.join(".")),
            None => "Go value".to_owned(),
        };
        let message = format!("json: cannot unmarshal {what} into {place} of type {ty}");
        let converter = match sort {
            Sort::Fatal => format!("json: cannot unmarshal {what} into Go value of type {ty}"),
            Sort::Type | Sort::Unknown | Sort::Duplicate => unconverted(&node.tree, ty),
        };
        self.problem(sort, node, message, converter, for_people(ty));
    }

    fn problem(&mut self, sort: Sort, node: &Node, message: String, converter: String, allowed: &str) {
        let (path, allowed) = (self.path.clone(), allowed.to_owned());
        self.problems.push(Problem { sort, path, message, converter, at: node.at, value: shown(node), allowed });
    }
}

/// Sets a field that may have been set before: objects grow together, as Go's decoder reads twice into one struct.
fn set(members: &mut Map<String, Value>, field: &Field, value: Option<Value>, null: bool) {
    let Some(value) = value else {
        let forgets = matches!(field.ty, GoType::Pointer(_) | GoType::List(_) | GoType::Map(..));
        if null && forgets {
            members.remove(field.name);
        }
        return;
    };
    match (members.get_mut(field.name), value) {
        (Some(Value::Object(known)), Value::Object(more)) => known.extend(more),
        (_, value) => {
            members.insert(field.name.to_owned(), value);
        }
    }
}

/// What Go's zero value of a list item or a map value is, as JSON.
fn zero(ty: &GoType) -> Value {
    match ty {
        GoType::Named(_, of) => zero(of),
        GoType::Bool => Value::Bool(false),
        GoType::Int32 | GoType::Int64 | GoType::IntOrString => json!(0),
        GoType::Text | GoType::Bytes => json!(""),
        GoType::Quantity => json!("0"),
        GoType::List(_) => json!([]),
        GoType::Map(..) | GoType::Struct(_) => json!({}),
        GoType::Pointer(_) | GoType::Time | GoType::MicroTime | GoType::Raw(_) => Value::Null,
    }
}

/// What `encoding/json` calls a value.
pub fn name_of(tree: &Tree) -> &'static str {
    match tree {
        Tree::Null => "null",
        Tree::Bool(_) => "bool",
        Tree::Number(_) => "number",
        Tree::Text(_) => "string",
        Tree::List(_) => "array",
        Tree::Map(_) => "object",
    }
}

/// The words of apimachinery's `FromUnstructured`, which reads the result of a strategic merge patch.
fn unconverted(tree: &Tree, ty: &GoType) -> String {
    let kind = match tree {
        Tree::Null => "invalid",
        Tree::Bool(_) => "bool",
        Tree::Number(text) if text.contains(['.', 'e', 'E']) => "float64",
        Tree::Number(_) => "int64",
        Tree::Text(_) => "string",
        Tree::List(_) => "slice",
        Tree::Map(_) => "map",
    };
    match (ty.base(), tree) {
        (GoType::Struct(_), _) => format!("cannot restore struct from: {kind}"),
        (GoType::Map(..), _) => format!("cannot restore map from {kind}"),
        (GoType::List(_) | GoType::Bytes, _) => format!("cannot restore slice from {kind}"),
        (GoType::Text, Tree::Number(text)) if !text.contains(['.', 'e', 'E']) => {
            format!("cannot convert int64 to {ty}")
        }
        (GoType::Int32 | GoType::Int64, Tree::Number(_)) => format!("cannot convert {kind} to {ty}"),
        (base, _) => format!("unrecognized type: {base}"),
    }
}

fn for_people(ty: &GoType) -> &'static str {
    match ty.base() {
        GoType::Bool => "true or false",
        GoType::Int32 => "a whole number between -2147483648 and 2147483647",
        GoType::Int64 => "a whole number of at most 64 bits",
        GoType::Text => "a string (quote it)",
        GoType::Bytes => "base64 text",
        GoType::List(_) => "a list",
        GoType::Map(..) | GoType::Struct(_) => "a mapping",
        GoType::Quantity => "a quantity",
        GoType::IntOrString => "a whole number or a string",
        GoType::Time | GoType::MicroTime => "an RFC 3339 time",
        GoType::Raw(_) | GoType::Named(..) | GoType::Pointer(_) => "another type",
    }
}

/// The field that was probably meant, else all that there are.
fn allowed_fields(name: &str, ty: &Struct) -> String {
    /// More edits than this apart, two names are not the same word mistyped.
    const NEAR: usize = 3;
    let nearest = ty.fields.iter().map(|field| (edits(name, field.name), field.name)).min();
    match nearest {
        Some((distance, field)) if distance <= NEAR && distance < name.len() => format!("did you mean {field}?"),
        _ => {
            let names: Vec<&str> = ty.fields.iter().map(|field| field.name).collect();
            format!("one of {}", names.join(", "))
        }
    }
}

/// Levenshtein's distance, letter case aside.
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, left) in one.to_lowercase().chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], index + 1);
        for (column, right) in other.iter().enumerate() {
            let changed = corner + usize::from(left != *right);
            corner = row[column + 1];
            row[column + 1] = changed.min(corner + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

/// The offset that Go's base64 decoder names: the first byte that cannot be there.
fn corrupt_at(text: &str) -> usize {
    let skipped = |byte: u8| matches!(byte, b'\n' | b'\r');
    let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let bytes = text.as_bytes();
    let mut group = 0;
    let mut index = 0;
    while index < bytes.len() {
        let byte = bytes[index];
        match byte {
            byte if skipped(byte) => {}
            b'=' if group < 2 => return index,
            b'=' => return after_padding(bytes, index, group),
            byte if alphabet(byte) => group = (group + 1) % 4,
            _ => return index,
        }
        index += 1;
    }
    // A group was left unfinished: Go names its start.
    bytes.len() - group
}

fn after_padding(bytes: &[u8], first: usize, group: usize) -> usize {
    let mut rest = (first + 1..bytes.len()).filter(|&index| !matches!(bytes[index], b'\n' | b'\r'));
    if group == 2 {
        match rest.next() {
            None => return bytes.len(),
            Some(index) if bytes[index] != b'=' => return index - 1,
            Some(_) => {}
        }
    }
    rest.next().unwrap_or(first)
}
