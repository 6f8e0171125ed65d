//! Owns how a namespace that is being deleted goes: its contents are deleted, what is left is told in its conditions,
//! and when nothing is, it loses the finalizer that holds it.
//! Never decides that a namespace goes, and never removes what a finalizer holds.
//!
//! Parity: upstream's namespace controller and its `status_condition_utils.go`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, NamespaceSpec};

use super::{RECHECK, commit_each, delete, is_terminating, update};
use crate::model::defaults::namespace::FINALIZER;
use crate::model::deletion::Propagation;
use crate::model::kind::{KINDS, Kind};
use crate::model::object::{Key, Object};
use crate::model::time;
use crate::store::{Error, Query, Store, Write};

/// Objects taken at a time.
const PAGE: usize = 500;
/// The phase of a namespace that is being emptied.
const TERMINATING: &str = "Terminating";

/// What still stands in a namespace: how many objects of each resource, how many held by each finalizer.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    resources: BTreeMap<String, usize>,
    finalizers: BTreeMap<String, usize>,
}

/// Brings a namespace that is being deleted nearer to its end.
pub(super) async fn reconcile(store: &Store, name: &str) -> Result<Option<Duration>, Error> {
    let Some(object) = store.get(&Key::of::<Namespace>("", name))?.filter(is_terminating) else { return Ok(None) };
    let Some(mut namespace) = object.typed::<Namespace>().cloned() else { return Ok(None) };
    let status = namespace.status.get_or_insert_default();
    if status.phase.as_deref() != Some(TERMINATING) {
        status.phase = Some(TERMINATING.to_owned());
        commit_each(store, vec![update(Object::new(namespace))]).await?;
        // The change itself brings it back here.
        return Ok(None);
    }
    let left = empty(store, name).await?;
    if !left.resources.is_empty() {
        let conditions = conditions(&left, status.conditions.as_deref().unwrap_or_default(), Timestamp::now());
        if status.conditions.as_ref() != Some(&conditions) {
            status.conditions = Some(conditions);
            commit_each(store, vec![update(Object::new(namespace))]).await?;
        }
        return Ok(Some(RECHECK));
    }
    let finalizers = namespace.spec.take().and_then(|spec| spec.finalizers).unwrap_or_default();
    let rest: Vec<String> = finalizers.into_iter().filter(|name| name != FINALIZER).collect();
    namespace.spec = Some(NamespaceSpec { finalizers: (!rest.is_empty()).then_some(rest) });
    commit_each(store, vec![update(Object::new(namespace))]).await?;
    Ok(None)
}

/// Deletes what is in a namespace, and says what is left. Each object is read once: a look may come after every change.
async fn empty(store: &Store, namespace: &str) -> Result<Left, Error> {
    let mut left = Left::default();
    for kind in KINDS.iter().filter(|kind| kind.namespaced && kind.face.is_none()) {
        let mut after = None;
        while let Some(objects) = page(store, kind, namespace, &mut after)? {
            let mut writes = Vec::new();
            for object in &objects {
                let write = delete(object, Propagation::Background);
                // What is removed is gone when the commits are done; what is marked, or was, stays for now.
                if !matches!(write, Some(Write::Delete { .. })) {
                    left.add(object);
                }
                writes.extend(write);
            }
            commit_each(store, writes).await?;
        }
    }
    Ok(left)
}

/// The next objects of a kind; none at the end.
fn page(
    store: &Store,
    kind: &'static Kind,
    namespace: &str,
    after: &mut Option<Key>,
) -> Result<Option<Vec<Object>>, Error> {
    let after_key = after.as_ref().map(|key| (key.namespace.as_str(), key.name.as_str()));
    let query = Query { namespace: Some(namespace), limit: Some(PAGE), after: after_key, ..Query::all(kind) };
    let objects = store.list(&query)?.objects;
    let Some(last) = objects.last().map(Object::key) else { return Ok(None) };
    *after = Some(last);
    Ok(Some(objects))
}

impl Left {
    fn add(&mut self, object: &Object) {
        let kind = object.kind();
        *self.resources.entry(format!("{}.{}", kind.plural, kind.group)).or_default() += 1;
        for finalizer in object.meta().finalizers.iter().flatten() {
            *self.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
    }
}

/// The five conditions of a namespace that cannot go yet, in upstream's order and words. Those that stay as they were
/// keep their time.
fn conditions(left: &Left, before: &[NamespaceCondition], now: Timestamp) -> Vec<NamespaceCondition> {
    let list = |counts: &BTreeMap<String, usize>, verb: &str| {
        let texts: Vec<String> =
            counts.iter().map(|(name, count)| format!("{name} {verb} {count} resource instances")).collect();
        texts.join(", ")
    };
    let remaining = format!("Some resources are remaining: {}", list(&left.resources, "has"));
    let held = format!("Some content in the namespace has finalizers remaining: {}", list(&left.finalizers, "in"));
    let finalizers = match left.finalizers.is_empty() {
        true => (false, "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        false => (true, "SomeFinalizersRemain", held.as_str()),
    };
    let deleted = "All content successfully deleted, may be waiting on finalization";
    let said = [
        ("NamespaceDeletionDiscoveryFailure", false, "ResourcesDiscovered", "All resources successfully discovered"),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        ("NamespaceDeletionContentFailure", false, "ContentDeleted", deleted),
        ("NamespaceContentRemaining", true, "SomeResourcesRemain", remaining.as_str()),
        ("NamespaceFinalizersRemaining", finalizers.0, finalizers.1, finalizers.2),
    ];
    said.into_iter()
        .map(|(kind, holds, reason, message)| {
            let mut condition = NamespaceCondition {
                type_: kind.to_owned(),
                status: if holds { "True" } else { "False" }.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message.to_owned()),
                last_transition_time: None,
            };
            let old = before.iter().find(|old| {
                (&old.type_, &old.status, &old.reason, &old.message)
                    == (&condition.type_, &condition.status, &condition.reason, &condition.message)
            });
            condition.last_transition_time =
                old.and_then(|old| old.last_transition_time.clone()).or_else(|| Some(time::seconds(now)));
            condition
        })
        .collect()
}
