//! Owns server-side apply: a configuration laid over an object, what its applier no longer names taken away, conflicts with
//! other owners found.
//! Never decodes the result as its type: admission does.
//!
//! Parity: structured-merge-diff's `Updater.Apply`, and around it apimachinery's managers of last-applied annotations and
//! of objects without owners.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Number, Value, json};

use super::super::admit::Part;
use super::super::kind::Kind;
use super::super::object::Object;
use super::super::validation::labels::ANNOTATIONS_MAX;
use super::super::{canonical, decode, schema, time, yaml};
use super::check::check;
use super::managers::{Manager, Managers, Operation, Owned};
use super::set::{self, Set};
use super::shape::Place;
use super::track::{bare, manager, update};
use super::walk::{compare, fields, merge, remove, with_named, zero};
use super::{Writer, ignored, stripped};

/// Who owns what an object had before anybody applied to it.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// The manager that takes over from client-side apply without conflicts.
const KUBECTL: &str = "kubectl";
/// What client-side apply keeps of the last configuration.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How a configuration is to be applied.
#[derive(Clone, Copy, Debug)]
pub struct Apply<'a> {
    /// The kind in the request's address.
    pub kind: &'static Kind,
    /// The half of the object that it may change.
    pub part: Part,
    /// Who applies; the name is not empty.
    pub writer: Writer<'a>,
    /// Conflicts are won.
    pub force: bool,
}

/// What becomes of the object.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Its JSON, before it is decoded and defaulted, without owners.
    pub value: Value,
    /// Its owners.
    pub managers: Option<Vec<ManagedFieldsEntry>>,
}

/// One field that somebody else owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Whom the conflict is with, in upstream's words: `conflict with "kubectl" using batch/v1`.
    pub message: String,
    /// The field: `.spec.parallelism`.
    pub field: String,
}

/// Why a configuration was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// It is none, or not one of this kind: send another.
    #[error("{0}")]
    BadRequest(String),
    /// It does not fit the type; upstream answers with a bare 500.
    #[error("{0}")]
    Unfit(String),
    /// Others own what it changes: leave that out, or force.
    #[error("{message}")]
    Conflicts {
        /// All of them in one text.
        message: String,
        /// Each of them.
        causes: Vec<Cause>,
    },
}

/// A configuration's text as JSON, and what strict validation refuses of it. Parity: `sigs.k8s.io/yaml`.
pub fn read(body: &[u8]) -> Result<(Value, Option<String>), ApplyError> {
    let wrong = |why: &str| ApplyError::BadRequest(format!("error decoding YAML: {why}"));
    let document =
        yaml::first(body).map_err(|error| wrong(&format!("error converting YAML to JSON: {}", error.message)))?;
    let mut config = document.node.to_value();
    if config.is_null() {
        config = json!({});
    }
    if !config.is_object() {
        let what = decode::name_of(&document.node.tree);
        return Err(wrong(&format!(
            "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {what} into Go value of type \
             map[string]interface {{}}"
        )));
    }
    whole_numbers(&mut config);
    let strict = yaml::strict_error(&document.duplicates);
    Ok((config, strict.map(|why| format!("error converting YAML to JSON: {why}"))))
}

/// `1.0` is 1: upstream compares numbers by value.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            // Beyond this a double does not tell whole numbers apart.
            const EXACT: f64 = 9_007_199_254_740_992.0;
            let whole = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT);
            if let Some(float) = whole {
                #[expect(clippy::cast_possible_truncation, reason = "whole, and within the exact range")]
                let whole = float as i64;
                *number = Number::from(whole);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(members) => members.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Applies a configuration to `live`; to nothing, where the object is to be made.
pub fn apply(live: Option<&Object>, config: &Value, how: &Apply<'_>) -> Result<Applied, ApplyError> {
    fits(config, how)?;
    let managers = owners(live, how)?;
    let before = live.map_or_else(|| zero(schema::of(how.kind)), bare);
    let (mut value, managers) = match lay(&before, config, &managers, how, how.force) {
        Ok(laid) => laid,
        Err(conflicts) => taken_over(&before, config, &managers, how, conflicts)?,
    };
    if how.writer.name == KUBECTL {
        refresh_last_applied(&mut value, config, how.kind);
    }
    Ok(Applied { value, managers: managers.write() })
}

/// Whether it is a configuration of this kind at all.
fn fits(config: &Value, how: &Apply<'_>) -> Result<(), ApplyError> {
    let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let named = format!("{group}/{version}, Kind={}", text("kind"));
    if (group, version, text("kind")) != (how.kind.group, how.kind.version, how.kind.kind) {
        return Err(ApplyError::BadRequest(format!("invalid object type: {named}")));
    }
    if config.pointer("/metadata/managedFields").is_some_and(Value::is_array) {
        return Err(ApplyError::BadRequest("metadata.managedFields must be nil".to_owned()));
    }
    let Some(why) = check(config, Place::of(how.kind)) else { return Ok(()) };
    let meta = |name: &str| config.pointer(&format!("/metadata/{name}")).and_then(Value::as_str).unwrap_or_default();
    let named = format!("{}/{}; {named}", meta("namespace"), meta("name"));
    Err(ApplyError::Unfit(format!("failed to create typed patch object ({named}): {why}")))
}

/// Who owns what now. Parity: an object that nobody owns is owned by `before-first-apply`.
fn owners(live: Option<&Object>, how: &Apply<'_>) -> Result<Managers, ApplyError> {
    let version = how.kind.api_version();
    let Some(live) = live else { return Ok(Managers::none(version)) };
    let entries = live.meta().managed_fields.as_deref().unwrap_or_default();
    let mut managers = Managers::read(version, entries)
        .map_err(|why| ApplyError::Unfit(format!("failed to decode managed fields: {why}")))?;
    if managers.owned.is_empty() {
        let writer = Writer { name: BEFORE_FIRST_APPLY, ..how.writer };
        update(&mut managers, live, &zero(schema::of(how.kind)), how.part, writer);
    }
    Ok(managers)
}

/// A field that somebody else owns.
struct Conflict {
    with: Manager,
    path: Vec<super::path::Step>,
}

/// The object with the configuration over it, and its owners then.
fn lay(
    before: &Value,
    config: &Value,
    managers: &Managers,
    how: &Apply<'_>,
    force: bool,
) -> Result<(Value, Managers), Vec<Conflict>> {
    let place = Place::of(how.kind);
    let ignored = ignored(how.kind, how.part);
    let applier = manager(how.writer.name, Operation::Apply, how.part);
    let mut managers = managers.clone();
    let last = managers.owned.remove(&applier).unwrap_or_default();
    let set = fields(config, place).recursive_difference(&ignored);
    let merged = merge(before, config, place);
    let mut owned = managers.owned.values().fold(set.clone(), |all, owned| all.union(&owned.set));
    if how.part == Part::Status {
        // Controllers own what nobody owns there: see the module's word on them.
        owned = owned.union(&fields(before, place).difference(&last.set));
    }
    let value = prune(&merged, &last.set, &owned, place);

    let diff = compare(before, &value, place).without(&ignored);
    let changed = diff.changed();
    if !force {
        let conflicts = conflicts(&managers, &changed);
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
    }
    managers.take(&changed, None);
    managers.take(&diff.removed, None);
    let set = set.difference(&stripped());
    if !set.is_empty() {
        // Differs: upstream leaves out the time of an applier whose first apply changes nothing.
        let time = last.time.filter(|_| *before == value).or_else(|| Some(time::seconds(how.writer.now)));
        managers.owned.insert(applier, Owned { set, time });
    }
    Ok((value, managers))
}

/// Takes away what the applier owned `last` time and is not `owned` now, by it or by others.
/// Parity: `Updater.prune`, with what others own and what nobody owned put back.
fn prune(merged: &Value, last: &Set, owned: &Set, place: Place) -> Value {
    if last.is_empty() {
        return merged.clone();
    }
    let named = |set: &Set| with_named(set, place);
    let all = named(&fields(merged, place));
    let pruned = remove(merged, &named(last), place);
    let kept = named(&fields(&pruned, place)).union(&named(owned));
    let pruned = remove(merged, &all.difference(&kept), place);
    let gone = all.difference(&named(&fields(&pruned, place))).intersection(&named(last));
    remove(merged, &gone, place)
}

fn conflicts(managers: &Managers, changed: &Set) -> Vec<Conflict> {
    let each = managers.owned.iter().flat_map(|(manager, owned)| {
        let paths = owned.set.intersection(changed).paths();
        paths.into_iter().map(|path| Conflict { with: manager.clone(), path })
    });
    each.collect()
}

/// What kubectl conflicts with may be what it applied from the client's side: that it may take over.
/// Parity: `lastAppliedManager`.
fn taken_over(
    before: &Value,
    config: &Value,
    managers: &Managers,
    how: &Apply<'_>,
    mut conflicts: Vec<Conflict>,
) -> Result<(Value, Managers), ApplyError> {
    if how.writer.name == KUBECTL
        && let Some(own) = last_applied(before, how.kind)
    {
        conflicts.retain(|conflict| !own.has(&conflict.path));
        if conflicts.is_empty() {
            return lay(before, config, managers, how, true).map_err(|left| worded(managers, &left));
        }
    }
    Err(worded(managers, &conflicts))
}

/// What the last-applied annotation names and is still so.
fn last_applied(before: &Value, kind: &Kind) -> Option<Set> {
    let text = before.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str()?;
    let config: Value = serde_json::from_str(text).ok()?;
    let place = Place::of(kind);
    if config.get("apiVersion")?.as_str()? != kind.api_version() || check(&config, place).is_some() {
        return None;
    }
    let diff = compare(&config, before, place);
    Some(fields(&config, place).difference(&diff.changed()).difference(&diff.removed))
}

/// Keeps the annotation of client-side apply true, where there is one.
/// Parity: `lastAppliedUpdater`; Go's encoder ends it with a line break.
fn refresh_last_applied(value: &mut Value, config: &Value, kind: &Kind) {
    let Some(annotations) = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) else { return };
    if annotations.get(LAST_APPLIED).and_then(Value::as_str).unwrap_or_default().is_empty() {
        return;
    }
    let mut config = config.clone();
    if let Some(own) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        own.remove(LAST_APPLIED);
    }
    annotations
        .insert(LAST_APPLIED.to_owned(), format!("{}\n", canonical::go_json(&config, None, schema::of(kind))).into());
    let size: usize = annotations.iter().map(|(name, text)| name.len() + text.as_str().unwrap_or_default().len()).sum();
    if size > ANNOTATIONS_MAX {
        annotations.remove(LAST_APPLIED);
    }
}

/// Parity: `NewConflictError`.
fn worded(managers: &Managers, conflicts: &[Conflict]) -> ApplyError {
    let causes = conflicts.iter().map(|conflict| Cause {
        message: format!("conflict with {}", managers.shown(&conflict.with)),
        field: set::shown(&conflict.path),
    });
    let causes: Vec<Cause> = causes.collect();
    if let [only] = causes.as_slice() {
        let message = format!("Apply failed with 1 conflict: {}: {}", only.message, only.field);
        return ApplyError::Conflicts { message, causes };
    }
    let mut lines = Vec::new();
    for (index, conflict) in conflicts.iter().enumerate() {
        // Conflicts come sorted by manager.
        if index == 0 || conflicts[index - 1].with != conflict.with {
            lines.push(format!("conflicts with {}:", managers.shown(&conflict.with)));
        }
        lines.push(format!("- {}", set::shown(&conflict.path)));
    }
    let message = format!("Apply failed with {} conflicts: {}", causes.len(), lines.join("\n"));
    ApplyError::Conflicts { message, causes }
}
