//! Owns strategic merge patch: maps merge field by field, lists by the merge keys in `schema`, and the directives `$patch`,
//! `$retainKeys`, `$setElementOrder/…` and `$deleteFromPrimitiveList/…` are obeyed. Never knows a kind by name.
//!
//! Parity: apimachinery's `strategicpatch.StrategicMergePatch` with unmatched nulls ignored, as the API server applies it.

use serde_json::{Map, Value};

use super::go_text::plus_v;
use super::kind::Kind;
use super::patch::PatchError;
use super::schema::{self, GoType, Struct};

type Fields = Map<String, Value>;

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const REMOVE: &str = "$deleteFromPrimitiveList/";

/// Applies a strategic merge patch to an object of `kind`.
pub fn apply(kind: &Kind, document: &mut Value, patch: Value) -> Result<(), PatchError> {
    let patch = match patch {
        Value::Object(patch) => patch,
        // Parity: Go reads `null` as an empty map.
        Value::Null => Fields::new(),
        _ => return Err(malformed("invalid JSON document")),
    };
    let Value::Object(original) = document else { return Err(malformed("invalid JSON document")) };
    let merged = merge_map(std::mem::take(original), patch, Owner::Struct(schema::of(kind)))?;
    *document = Value::Object(merged);
    Ok(())
}

/// What is known of the object that is being merged.
#[derive(Clone, Copy)]
enum Owner {
    /// A type with named fields.
    Struct(&'static Struct),
    /// Free keys, all values of one type.
    Map(&'static GoType),
    /// Nothing.
    Unknown,
}

impl Owner {
    fn of(ty: &'static GoType) -> Self {
        if let GoType::Map(_, values) = ty.base() {
            return Self::Map(values);
        }
        ty.as_struct().map_or(Self::Unknown, Self::Struct)
    }
}

/// How a field is merged.
struct Field {
    /// What stands in it, or in each element of it.
    content: Owner,
    /// Lists are merged element by element rather than replaced.
    merges: bool,
    /// What tells the elements apart; empty for scalars.
    key: &'static str,
}

fn field(owner: Owner, name: &str) -> Field {
    let plain = |content| Field { content, merges: false, key: "" };
    match owner {
        Owner::Struct(known) => known.field(name).map_or(plain(Owner::Unknown), |field| {
            let content = if let GoType::List(element) = field.ty.base() { element } else { &field.ty };
            let content = Owner::of(content);
            let merges = field.patch.as_ref().is_some_and(|patch| patch.strategies.contains(&"merge"));
            Field { content, merges, key: field.patch.as_ref().and_then(|patch| patch.merge_key).unwrap_or("") }
        }),
        Owner::Map(values) => plain(Owner::of(values)),
        Owner::Unknown => plain(Owner::Unknown),
    }
}

fn merge_map(mut original: Fields, mut patch: Fields, owner: Owner) -> Result<Fields, PatchError> {
    match patch.get(DIRECTIVE).map(|directive| directive.as_str().unwrap_or_default()) {
        None => {}
        Some("replace") => return Ok(without_directives(patch)),
        Some("delete") => return Ok(Fields::new()),
        Some(other) => return Err(unknown_directive(other, &Value::Object(patch.clone()))),
    }
    retain_keys(&mut original, &mut patch)?;
    let orders = take_prefixed(&mut patch, ORDER)?;
    let removals = take_prefixed(&mut patch, REMOVE)?;
    for (name, values) in removals {
        if let Some(Value::Array(list)) = original.get_mut(&name) {
            list.retain(|item| !values.contains(item));
        }
    }
    for (name, order) in &orders {
        check_order(order, patch.get(name), &field(owner, name))?;
    }
    for (name, value) in patch {
        let before = original.remove(&name);
        if let Some(after) = merge_value(&name, before, value, &field(owner, &name), &orders)? {
            original.insert(name, after);
        }
    }
    for (name, order) in orders {
        // A list that the patch does not mention is put in order all the same.
        if let Some(Value::Array(list)) = original.get_mut(&name) {
            let server = list.clone();
            *list = in_order(std::mem::take(list), &order, &server, field(owner, &name).key);
        }
    }
    Ok(original)
}

/// The field after the merge; none where the patch removes it.
fn merge_value(
    name: &str,
    before: Option<Value>,
    value: Value,
    field: &Field,
    orders: &[(String, Vec<Value>)],
) -> Result<Option<Value>, PatchError> {
    let ordered = || orders.iter().find(|(order, _)| order == name).map(|(_, order)| order);
    Ok(match (before, value) {
        (_, Value::Null) => None,
        (Some(Value::Object(before)), Value::Object(patch)) => {
            Some(Value::Object(merge_map(before, patch, field.content)?))
        }
        (Some(Value::Array(before)), Value::Array(patch)) if field.merges => {
            let server = before.clone();
            let merged = merge_list(before, patch, field)?;
            Some(Value::Array(match ordered() {
                Some(order) => in_order(merged, order, &server, field.key),
                None => merged,
            }))
        }
        (_, patch) => Some(plain(patch)),
    })
}

fn merge_list(original: Vec<Value>, patch: Vec<Value>, field: &Field) -> Result<Vec<Value>, PatchError> {
    of_one_type(original.iter().chain(&patch))?;
    if !patch.iter().chain(&original).any(Value::is_object) {
        let mut merged: Vec<Value> = Vec::with_capacity(original.len() + patch.len());
        for item in original.into_iter().chain(patch) {
            if !merged.contains(&item) {
                merged.push(item);
            }
        }
        return Ok(merged);
    }
    let (mut merged, rest) = obey_element_directives(original, patch, field.key)?;
    for item in rest {
        let key = key_of(&item, field.key)?.clone();
        let Value::Object(patch) = item else { continue };
        let place = merged.iter().position(|item| item.get(field.key) == Some(&key));
        match place.map(|place| (place, merged[place].take())) {
            Some((place, Value::Object(before))) => {
                merged[place] = Value::Object(merge_map(before, patch, field.content)?)
            }
            Some(_) | None => merged.push(Value::Object(without_directives(patch))),
        }
    }
    Ok(merged)
}

/// Parity: lists whose elements differ in type are not merged; Go's names say which types differ.
fn of_one_type<'a>(items: impl Iterator<Item = &'a Value>) -> Result<(), PatchError> {
    let name = |item: &Value| match item {
        Value::Object(_) => "map[string]interface {}",
        Value::Array(_) => "[]interface {}",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::Null => "<nil>",
    };
    let mut names = items.map(name);
    let Some(first) = names.next() else { return Ok(()) };
    if first == "[]interface {}" {
        return Err(PatchError::Inapplicable("lists of lists are not supported".to_owned()));
    }
    match names.find(|name| *name != first) {
        Some(other) => Err(unmergeable(format!("list element types are not identical: {first} {other}"))),
        None => Ok(()),
    }
}

/// Carries out `$patch: delete` and `$patch: replace` elements; answers what is left of the list and of the patch.
fn obey_element_directives(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let mut rest = Vec::with_capacity(patch.len());
    let mut replace = false;
    for item in patch {
        match item.get(DIRECTIVE).map(|directive| directive.as_str().unwrap_or_default()) {
            None => rest.push(item),
            Some("delete") => {
                let gone = key_of(&item, key)?;
                original.retain(|item| item.get(key) != Some(gone));
            }
            Some("replace") => replace = true,
            Some("merge") => return Err(unmergeable("merging lists cannot yet be specified in the patch".to_owned())),
            Some(other) => return Err(unknown_directive(other, &item)),
        }
    }
    if replace {
        return Ok((rest.into_iter().map(plain).collect(), Vec::new()));
    }
    Ok((original, rest))
}

fn key_of<'a>(item: &'a Value, key: &str) -> Result<&'a Value, PatchError> {
    item.get(key)
        .ok_or_else(|| unmergeable(format!("map: {} does not contain declared merge key: {key}", plus_v(item))))
}

/// `$retainKeys`: what the patch does not list is cleared.
fn retain_keys(original: &mut Fields, patch: &mut Fields) -> Result<(), PatchError> {
    let Some(keys) = patch.remove(RETAIN) else { return Ok(()) };
    let Some(keys) = keys.as_array() else { return Err(malformed("invalid patch format of retainKeys")) };
    let listed = |name: &str| keys.iter().any(|key| key.as_str() == Some(name));
    if patch.iter().any(|(name, value)| !name.starts_with('$') && !value.is_null() && !listed(name)) {
        return Err(PatchError::Inapplicable("patch content doesn't match retainKeys list".to_owned()));
    }
    original.retain(|name, _| listed(name));
    Ok(())
}

/// Takes the lists of a directive that names its field: `$setElementOrder/containers`.
fn take_prefixed(patch: &mut Fields, prefix: &str) -> Result<Vec<(String, Vec<Value>)>, PatchError> {
    let names: Vec<String> = patch.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
    let mut taken = Vec::with_capacity(names.len());
    for name in names {
        match patch.remove(&name) {
            Some(Value::Array(list)) => taken.push((name[prefix.len()..].to_owned(), list)),
            Some(_) | None => {
                let what = if prefix == ORDER { "setElementOrder" } else { "primitive" };
                return Err(malformed(&format!("invalid patch format of {what} list")));
            }
        }
    }
    Ok(taken)
}

/// What the patch adds or changes must stand in the order it asks for.
fn check_order(order: &[Value], patch: Option<&Value>, field: &Field) -> Result<(), PatchError> {
    let Some(patch) = patch.and_then(Value::as_array).filter(|patch| !patch.is_empty() && !order.is_empty()) else {
        return Ok(());
    };
    let mut asked = order.iter();
    let stays = |item: &&Value| item.get(DIRECTIVE).is_none();
    if patch.iter().filter(stays).all(|item| asked.any(|one| same(one, item, field.key))) {
        return Ok(());
    }
    let shown = |list: &[Value]| plus_v(&Value::Array(list.to_vec()));
    Err(unmergeable(format!(
        "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
        shown(patch),
        shown(order)
    )))
}

fn same(left: &Value, right: &Value, key: &str) -> bool {
    match (left.get(key), right.get(key)) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}

/// Puts the elements that `order` names in that order, and the server's own between them, each as near to its place in
/// the server's list as can be.
fn in_order(merged: Vec<Value>, order: &[Value], server: &[Value], key: &str) -> Vec<Value> {
    let place = |list: &[Value], item: &Value| list.iter().position(|one| same(one, item, key));
    let (mut named, mut own): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| place(order, item).is_some());
    named.sort_by_key(|item| place(order, item));
    own.sort_by_key(|item| place(server, item));
    let mut out = Vec::with_capacity(named.len() + own.len());
    let (mut named, mut own) = (named.into_iter().peekable(), own.into_iter().peekable());
    loop {
        let own_first = match (own.peek(), named.peek()) {
            (None, None) => return out,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(left), Some(right)) => {
                matches!((place(server, left), place(server, right)), (Some(left), Some(right)) if left < right)
            }
        };
        out.extend(if own_first { own.next() } else { named.next() });
    }
}

/// A value that is new to the document: its directives and nulls fall away.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(without_directives(fields)),
        Value::Array(items) => {
            let kept = items.into_iter().filter(|item| item.get(DIRECTIVE).is_none());
            Value::Array(kept.map(plain).collect())
        }
        scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => scalar,
    }
}

fn without_directives(fields: Fields) -> Fields {
    let is_directive =
        |name: &str| name == DIRECTIVE || name == RETAIN || name.starts_with(ORDER) || name.starts_with(REMOVE);
    let kept = fields.into_iter().filter(|(name, value)| !value.is_null() && !is_directive(name));
    kept.map(|(name, value)| (name, plain(value))).collect()
}

fn malformed(why: &str) -> PatchError {
    PatchError::Malformed(why.to_owned())
}

fn unmergeable(why: String) -> PatchError {
    PatchError::Unmergeable(why)
}

fn unknown_directive(directive: &str, map: &Value) -> PatchError {
    unmergeable(format!("unknown patch type: {directive} in map: {}", plus_v(map)))
}
