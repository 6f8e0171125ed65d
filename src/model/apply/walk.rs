//! Owns what is done to whole values, field by field as their shapes divide them: which fields a value has, what two differ
//! in, one merged into another, fields taken out.
//! Never knows a manager.
//!
//! Parity: structured-merge-diff's `typed` package: `ToFieldSet`, `Compare`, `Merge`, `RemoveItems`. An item of a list that
//! has no key is passed over here: `check` refuses it where a client sends it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::super::schema::{GoType, Struct};
use super::path::Step;
use super::set::Set;
use super::shape::{Items, Members, Place, Shape, step};

/// What two values differ in. No field is in more than one of the sets.
#[derive(Debug, Default)]
pub struct Diff {
    /// Only the new value has it.
    pub added: Set,
    /// Only the old value has it.
    pub removed: Set,
    /// Both have it, with other contents.
    pub modified: Set,
}

impl Diff {
    /// Without these fields and what lies below them.
    #[must_use]
    pub fn without(&self, ignored: &Set) -> Self {
        Self {
            added: self.added.recursive_difference(ignored),
            removed: self.removed.recursive_difference(ignored),
            modified: self.modified.recursive_difference(ignored),
        }
    }

    /// What the new value has that the old one has not, or not so.
    pub fn changed(&self) -> Set {
        self.modified.union(&self.added)
    }

    fn put(&mut self, step: &Step, below: Self, own: Change) {
        match own {
            Change::None => {}
            Change::Added => drop(self.added.members.insert(step.clone())),
            Change::Removed => drop(self.removed.members.insert(step.clone())),
            Change::Modified => drop(self.modified.members.insert(step.clone())),
        }
        self.added.put(step.clone(), below.added);
        self.removed.put(step.clone(), below.removed);
        self.modified.put(step.clone(), below.modified);
    }
}

/// What happened to a value as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    Added,
    Removed,
    Modified,
}

impl Change {
    fn of(old: Option<&Value>, new: Option<&Value>) -> Self {
        match (old, new) {
            (None, _) => Self::Added,
            (Some(_), None) => Self::Removed,
            (Some(_), Some(_)) => Self::None,
        }
    }
}

/// What `new` changes of `old`.
pub fn compare(old: &Value, new: &Value, place: Place) -> Diff {
    compared(Some(old), Some(new), place).0
}

fn compared(old: Option<&Value>, new: Option<&Value>, place: Place) -> (Diff, Change) {
    let Some(sample) = new.or(old) else { return (Diff::default(), Change::None) };
    let diff = match place.shape(sample) {
        Shape::Scalar(_) => None,
        Shape::List(Items::Atomic, _) => None,
        Shape::List(items, of) => {
            let (old, new) = (list(old), list(new));
            (!old.is_empty() || !new.is_empty()).then(|| compare_items(old, new, items, of))
        }
        Shape::Map(members) => match (map(old), map(new)) {
            (None, None) => None,
            _ if members.atomic => None,
            (old, new) => Some(compare_members(old, new, members)),
        },
    };
    match diff {
        Some(diff) => (diff, Change::of(old, new)),
        // A leaf: nothing below it is anybody's on its own.
        None if old.is_some() && new.is_some() && old != new => (Diff::default(), Change::Modified),
        None => (Diff::default(), Change::of(old, new)),
    }
}

fn compare_members(old: Option<&Map<String, Value>>, new: Option<&Map<String, Value>>, members: Members) -> Diff {
    let mut diff = Diff::default();
    let names: BTreeSet<&String> = old.into_iter().chain(new).flat_map(Map::keys).collect();
    for name in names {
        let Some(place) = members.place(name) else { continue };
        let (below, own) = compared(member(old, name), member(new, name), place);
        diff.put(&Step::Field(name.clone()), below, own);
    }
    diff
}

/// Parity: items that stand twice are compared as if they were one value.
fn compare_items(old: &[Value], new: &[Value], items: Items, of: Place) -> Diff {
    let mut diff = Diff::default();
    let (old, new) = (by_step(old, items), by_step(new, items));
    let steps: BTreeSet<&Step> = old.keys().chain(new.keys()).collect();
    for step in steps {
        let old = old.get(step).map(Vec::as_slice).unwrap_or_default();
        let new = new.get(step).map(Vec::as_slice).unwrap_or_default();
        let (below, own) = match (old, new) {
            ([] | [_], [] | [_]) => compared(old.first().copied(), new.first().copied(), of),
            ([_, _, ..], [_, _, ..]) if old == new => (Diff::default(), Change::None),
            ([_, _, ..], [_, _, ..]) => (Diff::default(), Change::Modified),
            ([_, _, ..], _) => (compared(None, new.first().copied(), of).0, Change::Removed),
            (_, _) => (compared(old.first().copied(), None, of).0, Change::Added),
        };
        diff.put(step, below, own);
    }
    diff
}

fn by_step(values: &[Value], items: Items) -> BTreeMap<Step, Vec<&Value>> {
    let mut out: BTreeMap<Step, Vec<&Value>> = BTreeMap::new();
    for value in values {
        if let Ok(step) = step(items, value) {
            out.entry(step).or_default().push(value);
        }
    }
    out
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The members; none where there are none.
fn map(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object).filter(|members| !members.is_empty())
}

fn member<'a>(members: Option<&'a Map<String, Value>>, name: &str) -> Option<&'a Value> {
    members.and_then(|members| members.get(name))
}

/// Every field that a value has.
pub fn fields(value: &Value, place: Place) -> Set {
    fields_below(value, place).0
}

/// The fields below a value, and whether it is one itself.
fn fields_below(value: &Value, place: Place) -> (Set, bool) {
    let mut out = Set::default();
    match place.shape(value) {
        Shape::Scalar(_) | Shape::List(Items::Atomic, _) => return (out, true),
        Shape::Map(members) if members.atomic => return (out, true),
        Shape::List(items, of) => {
            for (step, values) in by_step(list(Some(value)), items) {
                if let [one] = values.as_slice() {
                    out.put(step.clone(), fields_below(one, of).0);
                }
                out.members.insert(step);
            }
        }
        Shape::Map(members) => {
            for (name, value) in map(Some(value)).into_iter().flatten() {
                let Some(place) = members.place(name) else { continue };
                let step = Step::Field(name.clone());
                let (below, own) = fields_below(value, place);
                let hollow = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                if own || hollow || !members.names(name) {
                    out.members.insert(step.clone());
                }
                out.put(step, below);
            }
        }
    }
    (out, false)
}

/// `new` laid over `old`: nothing is taken away, what both have is as `new` has it.
pub fn merge(old: &Value, new: &Value, place: Place) -> Value {
    merged(Some(old), Some(new), place).unwrap_or(Value::Null)
}

fn merged(old: Option<&Value>, new: Option<&Value>, place: Place) -> Option<Value> {
    let sample = new.or(old)?;
    let whole = || new.or(old).cloned();
    match place.shape(sample) {
        Shape::Scalar(_) | Shape::List(Items::Atomic, _) => whole(),
        Shape::List(items, of) => match (list(old), list(new)) {
            ([], []) => whole(),
            (old, new) => Some(Value::Array(merge_items(old, new, items, of))),
        },
        Shape::Map(members) => match (map(old), map(new)) {
            (None, None) => whole(),
            _ if members.atomic => whole(),
            (old, new) => {
                let names: BTreeSet<&String> = old.into_iter().chain(new).flat_map(Map::keys).collect();
                let both = |name: &String| {
                    let value = merged(member(old, name), member(new, name), members.place(name)?)?;
                    Some((name.clone(), value))
                };
                Some(Value::Object(names.into_iter().filter_map(both).collect()))
            }
        },
    }
}

/// Parity: items keep the old order until an item of the new list that both have; from there they take the new one.
fn merge_items(old: &[Value], new: &[Value], items: Items, of: Place) -> Vec<Value> {
    let keyed =
        |values: &'_ [Value]| -> Vec<Step> { values.iter().filter_map(|value| step(items, value).ok()).collect() };
    let (left, right) = (keyed(old), keyed(new));
    let (olds, news) = (by_step(old, items), by_step(new, items));
    // An item that the old list has twice is not merged with: the new one takes its place.
    let before =
        |step: &Step| olds.get(step).filter(|values| values.len() == 1).and_then(|values| values.first().copied());
    let after = |step: &Step| news.get(step).and_then(|values| values.first().copied());
    let mut shared = right.iter().filter(|step| olds.contains_key(*step)).peekable();
    let mut done: BTreeSet<&Step> = BTreeSet::new();
    let (mut out, mut l, mut r) = (Vec::new(), 0, 0);
    while l < left.len() || r < right.len() {
        if let (Some(mine), Some(theirs)) = (left.get(l), right.get(r))
            && mine != theirs
            && news.contains_key(mine)
            && shared.peek().is_some_and(|next| *next != mine)
        {
            // Shared, but its turn comes later.
            l += 1;
            continue;
        }
        match left.get(l) {
            Some(mine) if !news.contains_key(mine) => {
                out.extend(merged(old.get(l), None, of));
                l += 1;
                continue;
            }
            Some(mine) if right.get(r) == Some(mine) || done.contains(mine) => l += 1,
            Some(_) | None => {}
        }
        if let Some(theirs) = right.get(r) {
            done.insert(theirs);
            out.extend(merged(before(theirs), after(theirs), of));
            shared.next_if(|next| *next == theirs);
            r += 1;
        }
    }
    out
}

/// The value without these fields. What is emptied by that becomes null.
pub fn remove(value: &Value, fields: &Set, place: Place) -> Value {
    match place.shape(value) {
        Shape::Scalar(_) => value.clone(),
        Shape::List(Items::Atomic, _) => Value::Null,
        Shape::List(items, of) => {
            let kept = list(Some(value)).iter().filter_map(|item| {
                let Ok(step) = step(items, item) else { return Some(item.clone()) };
                (!fields.members.contains(&step)).then(|| remove_below(item, fields, &step, of))
            });
            let kept: Vec<Value> = kept.collect();
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        Shape::Map(members) if members.atomic => Value::Null,
        Shape::Map(members) => {
            let kept = map(Some(value)).into_iter().flatten().filter_map(|(name, member)| {
                let step = Step::Field(name.clone());
                if fields.members.contains(&step) {
                    return None;
                }
                let rest = match members.place(name) {
                    Some(place) => remove_below(member, fields, &step, place),
                    None => member.clone(),
                };
                Some((name.clone(), rest))
            });
            let kept: Map<String, Value> = kept.collect();
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
    }
}

fn remove_below(value: &Value, fields: &Set, step: &Step, place: Place) -> Value {
    fields.children.get(step).map_or_else(|| value.clone(), |below| remove(value, below, place))
}

/// The set with every named field that leads to one of its members: a struct's field goes when all in it goes.
/// Parity: `EnsureNamedFieldsAreMembers`.
pub fn with_named(set: &Set, place: Place) -> Set {
    let shape = place.shape(&Value::Null);
    let mut out = Set { members: set.members.clone(), ..Set::default() };
    for (step, child) in &set.children {
        let below = match (step, shape) {
            (Step::Field(name), Shape::Map(members)) => {
                if members.names(name) {
                    out.members.insert(step.clone());
                }
                members.place(name)
            }
            (Step::Key(_), Shape::List(_, of)) => Some(of),
            _ => None,
        };
        out.put(step.clone(), below.map_or_else(|| child.clone(), |place| with_named(child, place)));
    }
    out
}

/// The JSON of an object of this type in which nothing is set, as Go writes it: what a new object is compared with.
pub fn zero(ty: &Struct) -> Value {
    let members = ty.fields.iter().filter_map(|field| {
        let value = match (field.ty.base(), &field.ty) {
            (GoType::Struct(_), GoType::Struct(_)) => zero(field.ty.as_struct()?),
            _ if !field.always => return None,
            (GoType::Text, GoType::Text | GoType::Named(..)) => Value::from(""),
            (GoType::Bool, GoType::Bool) => Value::from(false),
            (GoType::Int32 | GoType::Int64, GoType::Int32 | GoType::Int64) => Value::from(0),
            _ => Value::Null,
        };
        Some((field.name.to_owned(), value))
    });
    Value::Object(members.collect())
}
