//! Owns `metadata.managedFields` as data: which manager owns what, since when; read from an object and written to it.
//! Never decides who owns something: `track` and `merge` do.
//!
//! Parity: apimachinery's `managedfields.go`, `capmanagers.go` and `conflict.go`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, Time};

use super::super::go_text::{printable, quote};
use super::set::Set;

/// The longest name of a manager, in bytes. Parity: `FieldManagerMaxLength`.
pub const MANAGER_MAX: usize = 128;

/// Entries of updates beyond this many are merged, the oldest first. Parity: `DefaultMaxUpdateManagers`.
const MOST_UPDATERS: usize = 10;

/// Who owns what was merged so.
const ANCIENT: &str = "ancient-changes";

/// How a manager came to own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What tells entries apart. All are of the version that is served.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    /// Its name.
    pub name: String,
    /// How it writes.
    pub operation: Operation,
    /// The subresource through which it writes; empty for the object itself.
    pub subresource: String,
}

/// What a manager owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owned {
    /// The fields.
    pub set: Set,
    /// When it last changed one.
    pub time: Option<Time>,
}

/// Every manager of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Managers {
    /// The version in which sets of fields are written: `batch/v1`.
    pub version: String,
    /// What each owns; never nothing.
    pub owned: BTreeMap<Manager, Owned>,
}

impl Managers {
    /// Nobody.
    pub fn none(version: String) -> Self {
        Self { version, owned: BTreeMap::new() }
    }

    /// Reads an object's entries. Those of a version that is not served are left out.
    pub fn read(version: String, entries: &[ManagedFieldsEntry]) -> Result<Self, String> {
        let mut out = Self::none(version);
        for (index, entry) in entries.iter().enumerate() {
            let operation = match entry.operation.as_deref() {
                Some("Apply") => Operation::Apply,
                Some("Update") => Operation::Update,
                _ => return Err("operation must be `Apply` or `Update`".to_owned()),
            };
            let version = entry.api_version.as_deref().unwrap_or_default();
            if version.is_empty() {
                return Err("apiVersion must not be empty".to_owned());
            }
            match entry.fields_type.as_deref().unwrap_or_default() {
                "FieldsV1" => {}
                "" => return Err(format!("missing fieldsType in managed fields entry {index}")),
                other => return Err(format!("invalid fieldsType {} in managed fields entry {index}", quote(other))),
            }
            let set = match &entry.fields_v1 {
                Some(FieldsV1(value)) => Set::from_value(value)?,
                None => Set::default(),
            };
            if version == out.version {
                let name = entry.manager.clone().unwrap_or_default();
                let subresource = entry.subresource.clone().unwrap_or_default();
                out.owned.insert(Manager { name, operation, subresource }, Owned { set, time: entry.time.clone() });
            }
        }
        Ok(out)
    }

    /// The entries as an object carries them; none where nobody owns anything.
    pub fn write(&self) -> Option<Vec<ManagedFieldsEntry>> {
        let mut owned: Vec<(&Manager, &Owned)> = self.owned.iter().collect();
        owned.sort_by_key(|(manager, owned)| (manager.operation, seconds(owned), *manager));
        let entries = owned.into_iter().map(|(manager, owned)| ManagedFieldsEntry {
            api_version: Some(self.version.clone()),
            fields_type: Some("FieldsV1".to_owned()),
            fields_v1: Some(FieldsV1(owned.set.to_value())),
            manager: Some(manager.name.clone()).filter(|name| !name.is_empty()),
            operation: Some(manager.operation.name().to_owned()),
            subresource: Some(manager.subresource.clone()).filter(|name| !name.is_empty()),
            time: owned.time.clone(),
        });
        Some(entries.collect()).filter(|entries: &Vec<_>| !entries.is_empty())
    }

    /// Takes fields from everybody but `but`; who is left with none is forgotten.
    pub fn take(&mut self, fields: &Set, but: Option<&Manager>) {
        for (manager, owned) in &mut self.owned {
            if Some(manager) != but {
                owned.set = owned.set.difference(fields);
            }
        }
        self.owned.retain(|_, owned| !owned.set.is_empty());
    }

    /// Merges the oldest entries of updates, until there are not too many.
    pub fn cap(&mut self) {
        let updates = self.owned.iter().filter(|(manager, _)| manager.operation == Operation::Update);
        let mut updates: Vec<(i64, Manager)> =
            updates.map(|(manager, owned)| (seconds(owned), manager.clone())).collect();
        if updates.len() <= MOST_UPDATERS {
            return;
        }
        updates.sort();
        let bucket = Manager { name: ANCIENT.to_owned(), operation: Operation::Update, subresource: String::new() };
        // Two entries become one, so that one more than there are too many is merged.
        let excess = updates.len() - MOST_UPDATERS + 1;
        let mut merged = Owned::default();
        for (_, manager) in &updates[..excess] {
            let old = self.owned.remove(manager).unwrap_or_default();
            merged = Owned { set: merged.set.union(&old.set), time: old.time };
        }
        if let Some(old) = self.owned.remove(&bucket) {
            merged.set = merged.set.union(&old.set);
        }
        self.owned.insert(bucket, merged);
    }

    /// As a conflict names a manager: `"kubectl" using batch/v1`.
    pub fn shown(&self, manager: &Manager) -> String {
        let mut text = quote(&manager.name);
        if !manager.subresource.is_empty() {
            text.push_str(&format!(" with subresource {}", quote(&manager.subresource)));
        }
        match manager.operation {
            Operation::Apply => text,
            Operation::Update => format!("{text} using {}", self.version),
        }
    }
}

fn seconds(owned: &Owned) -> i64 {
    owned.time.as_ref().map_or(0, |time| time.0.as_second())
}

/// What a writer is called that does not say: the first part of its `User-Agent`, as far as it can be printed and fits.
pub fn manager_name(agent: &str) -> String {
    let mut name = String::new();
    for character in agent.split('/').next().unwrap_or_default().chars().filter(|character| printable(*character)) {
        if name.len() + character.len_utf8() > MANAGER_MAX {
            break;
        }
        name.push(character);
    }
    name
}
