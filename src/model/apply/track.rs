//! Owns who owns what after a create, an update or a patch: the writer owns what it changed.
//! Never changes anything else of the object.
//!
//! Parity: apimachinery's `FieldManager.Update` and the managers that it is made of.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

use super::super::admit::Part;
use super::super::object::Object;
use super::super::{schema, time};
use super::managers::{Manager, Managers, Operation, Owned};
use super::shape::Place;
use super::walk::{compare, zero};
use super::{Writer, ignored, stripped};

/// What a writer is called that has no name at all.
const NAMELESS: &str = "unknown";

/// The object as `writer` sends it, with its owners. `old` is what it takes the place of; none for a new one.
pub fn track(old: Option<&Object>, new: &Object, part: Part, writer: Writer<'_>) -> Object {
    let mut managers = known(old, new, part);
    if managers.owned.is_empty() && old.is_some() {
        // Parity: what has no owners gets none by an update, only by an apply.
        return with(new, None);
    }
    let before = old.map_or_else(|| zero(schema::of(new.kind())), bare);
    update(&mut managers, new, &before, part, writer);
    with(new, managers.write())
}

/// Parity: clients that do not know the field do not delete it by leaving it out; one that sends it empty resets it.
fn known(old: Option<&Object>, new: &Object, part: Part) -> Managers {
    let version = new.kind().api_version();
    let read = |object: &Object| {
        let entries = object.meta().managed_fields.as_deref().unwrap_or_default();
        Managers::read(version.clone(), entries).ok().filter(|managers| !managers.owned.is_empty())
    };
    let sent = if part == Part::Main { new.meta().managed_fields.as_deref() } else { None };
    if sent.is_some_and(is_reset) {
        return Managers::none(version);
    }
    let sent = sent.and_then(|_| read(new));
    sent.or_else(|| old.and_then(read)).unwrap_or_else(|| Managers::none(version.clone()))
}

fn is_reset(entries: &[ManagedFieldsEntry]) -> bool {
    entries.iter().all(|entry| *entry == ManagedFieldsEntry::default()) && entries.len() <= 1
}

/// Gives the writer what it changed.
pub(super) fn update(managers: &mut Managers, new: &Object, before: &Value, part: Part, writer: Writer<'_>) {
    let ignored = ignored(new.kind(), part);
    let diff = compare(before, &bare(new), Place::of(new.kind())).without(&ignored);
    let changed = diff.changed();
    managers.take(&changed.union(&diff.removed), None);
    let set = changed.difference(&stripped());
    if !set.is_empty() {
        let name = if writer.name.is_empty() { NAMELESS } else { writer.name };
        let manager = manager(name, Operation::Update, part);
        let earlier = managers.owned.remove(&manager).map(|owned| owned.set).unwrap_or_default();
        let time = Some(time::seconds(writer.now));
        managers.owned.insert(manager, Owned { set: set.union(&earlier), time });
    }
    managers.cap();
}

pub(super) fn manager(name: &str, operation: Operation, part: Part) -> Manager {
    let subresource = match part {
        Part::Main => "",
        Part::Status => "status",
        Part::Finalizers => "finalize",
        Part::Resize => "resize",
    };
    Manager { name: name.to_owned(), operation, subresource: subresource.to_owned() }
}

/// The object's JSON without its owners.
pub(super) fn bare(object: &Object) -> Value {
    let mut value = object.to_value();
    if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
        metadata.remove("managedFields");
    }
    value
}

fn with(object: &Object, entries: Option<Vec<ManagedFieldsEntry>>) -> Object {
    object.with_meta(|meta| meta.managed_fields.clone_from(&entries))
}

/// The object, with the old times of its owners where nothing but times would change: such a write is none.
/// Parity: `IgnoreManagedFieldsTimestampsTransformer`.
pub fn settled(old: &Object, new: Object) -> Object {
    let timeless = |object: &Object| -> Vec<ManagedFieldsEntry> {
        let entries = object.meta().managed_fields.iter().flatten();
        let mut entries: Vec<_> = entries.map(|entry| ManagedFieldsEntry { time: None, ..entry.clone() }).collect();
        // The order of entries depends on their times.
        entries.sort_by_key(|entry| format!("{entry:?}"));
        entries
    };
    if old.meta().managed_fields == new.meta().managed_fields || timeless(old) != timeless(&new) {
        return new;
    }
    let kept = with(&new, old.meta().managed_fields.clone());
    if kept == *old { kept } else { new }
}
