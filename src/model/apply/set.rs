//! Owns sets of fields: a tree of steps in which each node may itself be a member; and their form in `fieldsV1`.
//! Never knows a type or a value.
//!
//! Parity: structured-merge-diff's `fieldpath.Set`. What contains something else is not a member because of that.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::path::Step;

/// A set of fields. No child is ever empty, so that equal sets are equal trees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// What is in the set at this level.
    pub members: BTreeSet<Step>,
    /// What is in the set further down.
    pub children: BTreeMap<Step, Set>,
}

impl Set {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    /// Adds a path of fields; what leads to it is not added.
    pub fn insert(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else { return };
        let step = Step::Field((*first).to_owned());
        if rest.is_empty() {
            self.members.insert(step);
        } else {
            self.children.entry(step).or_default().insert(rest);
        }
    }

    /// Puts a set below a step; an empty one leaves no trace.
    pub fn put(&mut self, step: Step, child: Set) {
        if !child.is_empty() {
            self.children.insert(step, child);
        }
    }

    /// Whether it holds this path.
    pub fn has(&self, path: &[Step]) -> bool {
        match path {
            [] => false,
            [last] => self.members.contains(last),
            [first, rest @ ..] => self.children.get(first).is_some_and(|child| child.has(rest)),
        }
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.members.extend(other.members.iter().cloned());
        for (step, child) in &other.children {
            let merged = out.children.get(step).map_or_else(|| child.clone(), |own| own.union(child));
            out.children.insert(step.clone(), merged);
        }
        out
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut out = Self { members: self.members.intersection(&other.members).cloned().collect(), ..Self::default() };
        for (step, child) in &self.children {
            if let Some(theirs) = other.children.get(step) {
                out.put(step.clone(), child.intersection(theirs));
            }
        }
        out
    }

    /// What is in this one alone. What lies below a member of `other` stays.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.minus(other, false)
    }

    /// What is in this one and neither in `other` nor below a member of it.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        self.minus(other, true)
    }

    fn minus(&self, other: &Self, recursive: bool) -> Self {
        let mut out = Self { members: self.members.difference(&other.members).cloned().collect(), ..Self::default() };
        for (step, child) in &self.children {
            if recursive && other.members.contains(step) {
                continue;
            }
            let rest = other.children.get(step).map_or_else(|| child.clone(), |theirs| child.minus(theirs, recursive));
            out.put(step.clone(), rest);
        }
        out
    }

    /// Every path in it: what is at a level first, then what is below.
    pub fn paths(&self) -> Vec<Vec<Step>> {
        let mut out: Vec<Vec<Step>> = self.members.iter().map(|step| vec![step.clone()]).collect();
        for (step, child) in &self.children {
            out.extend(child.paths().into_iter().map(|mut path| {
                path.insert(0, step.clone());
                path
            }));
        }
        out
    }

    /// As `fieldsV1` holds it.
    pub fn to_value(&self) -> Value {
        Value::Object(self.to_map())
    }

    fn to_map(&self) -> Map<String, Value> {
        let steps: BTreeSet<&Step> = self.members.iter().chain(self.children.keys()).collect();
        let mut out = Map::new();
        for step in steps {
            let mut below = self.children.get(step).map(Self::to_map).unwrap_or_default();
            if !below.is_empty() && self.members.contains(step) {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            out.insert(step.key(), Value::Object(below));
        }
        out
    }

    /// Reads `fieldsV1`. What it does not know it leaves out; the error says what cannot be read at all.
    pub fn from_value(value: &Value) -> Result<Self, String> {
        let mut out = Self::default();
        let Value::Object(entries) = value else {
            return if value.is_null() { Ok(out) } else { Err(format!("expected a map, got {value}")) };
        };
        for (key, below) in entries.iter().filter(|(key, _)| *key != ".") {
            let Some(step) = Step::parse(key)? else { continue };
            let child = Self::from_value(below)?;
            if child.is_empty() || below.get(".").is_some() {
                out.members.insert(step.clone());
            }
            out.put(step, child);
        }
        Ok(out)
    }
}

/// A path as messages show it: `.spec.template.spec.containers[name="main"].image`.
pub fn shown(path: &[Step]) -> String {
    path.iter().map(Step::shown).collect()
}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;
