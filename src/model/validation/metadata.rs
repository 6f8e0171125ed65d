//! Owns the rules of `metadata`, common to every kind: names, owners, finalizers, what an update may not change.
//! Never knows a kind: its name rule is handed in.
//!
//! Parity: apimachinery's `api/validation/objectmeta.go` at 1.32, and core's check of finalizer names.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{labels, names, text};
use crate::model::apply::MANAGER_MAX;
use crate::model::deletion::{FINALIZER_FOREGROUND, FINALIZER_ORPHAN};
use crate::model::field::{Errors, GoValue, Path, quote};
use crate::model::go_text::printable;

/// What is wrong with a name; `prefix` where a suffix will be appended to it.
pub type NameRule = fn(name: &str, prefix: bool) -> Vec<String>;

/// The name rule of most kinds.
pub fn subdomain_name(name: &str, prefix: bool) -> Vec<String> {
    if prefix { names::dns_subdomain(&names::mask_trailing_dash(name)) } else { names::dns_subdomain(name) }
}

/// The name rule of namespaces.
pub fn label_name(name: &str, prefix: bool) -> Vec<String> {
    if prefix { names::dns_label(&names::mask_trailing_dash(name)) } else { names::dns_label(name) }
}

/// The rule that every kind's name meets, because it stands in URLs.
pub fn path_segment_name(name: &str, prefix: bool) -> Vec<String> {
    if !prefix && matches!(name, "." | "..") {
        return vec![format!("may not be '{name}'")];
    }
    let found = ["/", "%"].iter().filter(|part| name.contains(**part));
    found.map(|part| format!("may not contain '{part}'")).collect()
}

/// A new object's metadata, as each kind's own rules check it.
pub fn create(errors: &mut Errors, meta: &ObjectMeta, namespaced: bool, rule: NameRule) {
    common(errors, meta, namespaced, rule);
    kube_finalizers(errors, meta);
}

/// What the generic registry checks besides each kind's own rules: after a create's, before an update's.
pub fn common(errors: &mut Errors, meta: &ObjectMeta, namespaced: bool, rule: NameRule) {
    let path = Path::new("metadata");
    let prefix = text(&meta.generate_name);
    if !prefix.is_empty() {
        errors.invalid_each(&path.child("generateName"), &prefix, rule(prefix, true));
    }
    match text(&meta.name) {
        "" => errors.required(&path.child("name"), "name or generateName is required"),
        name => errors.invalid_each(&path.child("name"), &name, rule(name, false)),
    }
    let namespace_path = path.child("namespace");
    match (namespaced, text(&meta.namespace)) {
        (true, "") => errors.required(&namespace_path, ""),
        (true, name) => errors.invalid_each(&namespace_path, &name, names::dns_label(name)),
        (false, "") => {}
        (false, _) => errors.forbidden(&namespace_path, "not allowed on this type"),
    }
    errors.nonnegative_if_set(&path.child("generation"), meta.generation);
    labels::labels(errors, meta.labels.as_ref(), &path.child("labels"));
    labels::annotations(errors, meta.annotations.as_ref(), &path.child("annotations"));
    owners(errors, meta.owner_references.as_deref().unwrap_or_default(), &path.child("ownerReferences"));
    finalizers(errors, meta.finalizers.as_deref().unwrap_or_default(), &path.child("finalizers"));
    managed_fields(errors, meta, &path.child("managedFields"));
}

/// An update's metadata against what is stored, as each kind's own rules check it.
pub fn update(errors: &mut Errors, new: &ObjectMeta, old: &ObjectMeta) {
    common_update(errors, new, old);
    kube_finalizers(errors, new);
}

/// What the generic registry checks of every update. A field that the client left out and the server fills in
/// (uid, creation time) is not compared.
pub fn common_update(errors: &mut Errors, new: &ObjectMeta, old: &ObjectMeta) {
    let path = Path::new("metadata");
    if old.deletion_timestamp.is_some() {
        no_new_finalizers(errors, new, old, &path.child("finalizers"));
    }
    if text(&new.resource_version).is_empty() {
        errors.invalid(&path.child("resourceVersion"), &"", "must be specified for an update");
    }
    if let (Some(generation), Some(before)) = (new.generation, old.generation)
        && generation < before
    {
        errors.invalid(&path.child("generation"), &generation, "must not be decremented");
    }
    errors.immutable(&path.child("name"), &text(&new.name), &text(&old.name), &text(&new.name));
    errors.immutable(&path.child("namespace"), &text(&new.namespace), &text(&old.namespace), &text(&new.namespace));
    if new.uid.is_some() {
        errors.immutable(&path.child("uid"), &text(&new.uid), &text(&old.uid), &text(&new.uid));
    }
    if old.deletion_timestamp.is_none() && new.deletion_timestamp.is_some() {
        errors.invalid(&path.child("deletionTimestamp"), &new.deletion_timestamp, "field is immutable");
    }
    let grace = new.deletion_grace_period_seconds;
    if grace.is_some() && grace != old.deletion_grace_period_seconds {
        errors.invalid(&path.child("deletionGracePeriodSeconds"), &grace, "field is immutable");
    }
    labels::labels(errors, new.labels.as_ref(), &path.child("labels"));
    labels::annotations(errors, new.annotations.as_ref(), &path.child("annotations"));
    owners(errors, new.owner_references.as_deref().unwrap_or_default(), &path.child("ownerReferences"));
    managed_fields(errors, new, &path.child("managedFields"));
}

fn no_new_finalizers(errors: &mut Errors, new: &ObjectMeta, old: &ObjectMeta, path: &Path<'_>) {
    let old = old.finalizers.as_deref().unwrap_or_default();
    let mut added: Vec<String> = new.finalizers.iter().flatten().filter(|name| !old.contains(name)).cloned().collect();
    if added.is_empty() {
        return;
    }
    added.sort();
    added.dedup();
    let mut list = String::new();
    added.as_slice().go(&mut list);
    let words = "no new finalizers can be added if the object is being deleted, found new finalizers";
    errors.forbidden(path, &format!("{words} {list}"));
}

fn owners(errors: &mut Errors, owners: &[OwnerReference], path: &Path<'_>) {
    let mut controller: Option<String> = None;
    for owner in owners {
        self::owner(errors, owner, path);
        if owner.controller != Some(true) {
            continue;
        }
        let this = format!("{}/{}", owner.kind, owner.name);
        if let Some(first) = &controller {
            let words = "Only one reference can have Controller set to true. Found \"true\" in references for";
            errors.invalid(path, &owners, &format!("{words} {first} and {this}"));
        } else {
            controller = Some(this);
        }
    }
}

/// As Go dumps the struct; of a pointer it shows where it points, which means nothing to anybody.
impl GoValue for OwnerReference {
    fn go(&self, out: &mut String) {
        let pointer = |given: Option<bool>| if given.is_some() { "(*bool)(0xc000000000)" } else { "(*bool)(nil)" };
        out.push_str(&format!(
            "v1.OwnerReference{{APIVersion:{}, Kind:{}, Name:{}, UID:{}, Controller:{}, BlockOwnerDeletion:{}}}",
            quote(&self.api_version),
            quote(&self.kind),
            quote(&self.name),
            quote(&self.uid),
            pointer(self.controller),
            pointer(self.block_owner_deletion),
        ));
    }
}

impl GoValue for [OwnerReference] {
    fn go(&self, out: &mut String) {
        out.push_str("[]v1.OwnerReference{");
        for (index, owner) in self.iter().enumerate() {
            out.push_str(if index > 0 { ", " } else { "" });
            owner.go(out);
        }
        out.push('}');
    }
}

fn owner(errors: &mut Errors, owner: &OwnerReference, path: &Path<'_>) {
    let (group, version) = match owner.api_version.split_once('/') {
        Some((group, version)) if !version.contains('/') => (group, version),
        Some(_) => ("", ""),
        None => ("", owner.api_version.as_str()),
    };
    if version.is_empty() {
        errors.invalid(&path.child("apiVersion"), &owner.api_version, "version must not be empty");
    }
    if owner.kind.is_empty() {
        errors.invalid(&path.child("kind"), &owner.kind, "kind must not be empty");
    }
    if owner.name.is_empty() {
        errors.invalid(&path.child("name"), &owner.name, "name must not be empty");
    }
    if owner.uid.is_empty() {
        errors.invalid(&path.child("uid"), &owner.uid, "uid must not be empty");
    }
    if (group, version, owner.kind.as_str()) == ("", "v1", "Event") {
        errors.invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner");
    }
}

fn finalizers(errors: &mut Errors, finalizers: &[String], path: &Path<'_>) {
    for name in finalizers {
        errors.invalid_each(path, name, names::qualified_name(name));
    }
    let has = |wanted: &str| finalizers.iter().any(|name| name == wanted);
    if has(FINALIZER_ORPHAN) && has(FINALIZER_FOREGROUND) {
        let words = format!("finalizer {FINALIZER_ORPHAN} and {FINALIZER_FOREGROUND} cannot be both set");
        errors.invalid(path, &finalizers, &words);
    }
}

/// Names without a domain are only those that Kubernetes itself knows.
fn kube_finalizers(errors: &mut Errors, meta: &ObjectMeta) {
    let path = Path::new("metadata.finalizers");
    for (index, name) in meta.finalizers.iter().flatten().enumerate() {
        kube_finalizer(errors, name, &path.index(index));
    }
}

/// A finalizer's name, in `metadata` or in a namespace's spec.
pub fn kube_finalizer(errors: &mut Errors, name: &str, path: &Path<'_>) {
    let standard = ["kubernetes", FINALIZER_ORPHAN, FINALIZER_FOREGROUND];
    if !name.contains('/') && !standard.contains(&name) {
        let words = "name is neither a standard finalizer name nor is it fully qualified";
        errors.invalid(path, &name, words);
    }
}

/// The longest `subresource` of a managed fields entry, in bytes. Parity: `MaxSubresourceNameLength`.
const SUBRESOURCE_MAX: usize = 256;

fn managed_fields(errors: &mut Errors, meta: &ObjectMeta, path: &Path<'_>) {
    for (index, entry) in meta.managed_fields.iter().flatten().enumerate() {
        let path = path.index(index);
        let operation = text(&entry.operation);
        if !matches!(operation, "Apply" | "Update") {
            errors.invalid(&path.child("operation"), &operation, "must be `Apply` or `Update`");
        }
        if let Some(kind) = entry.fields_type.as_deref().filter(|kind| !matches!(*kind, "" | "FieldsV1")) {
            errors.invalid(&path.child("fieldsType"), &kind, "must be `FieldsV1`");
        }
        field_manager(errors, text(&entry.manager), &path.child("manager"));
        if text(&entry.subresource).len() > SUBRESOURCE_MAX {
            errors.too_long(&path.child("subresource"), SUBRESOURCE_MAX);
        }
    }
}

/// A field manager's name: of bounded length, and printable. Parity: `ValidateFieldManager`.
pub fn field_manager(errors: &mut Errors, name: &str, path: &Path<'_>) {
    if name.len() > MANAGER_MAX {
        errors.too_long(path, MANAGER_MAX);
    }
    for (at, character) in name.char_indices().filter(|(_, character)| !printable(*character)) {
        errors.invalid(path, &name, &format!("invalid character U+{:04X} (at position {at})", character as u32));
    }
}

/// A template's metadata inside another object, where labels and annotations alone may be set.
pub fn template(errors: &mut Errors, meta: Option<&ObjectMeta>, path: &Path<'_>) {
    let Some(meta) = meta else { return };
    labels::annotations(errors, meta.annotations.as_ref(), &path.child("annotations"));
    labels::labels(errors, meta.labels.as_ref(), &path.child("labels"));
    let fields = [
        ("name", meta.name.is_some()),
        ("generateName", meta.generate_name.is_some()),
        ("namespace", meta.namespace.is_some()),
        ("selfLink", meta.self_link.is_some()),
        ("uID", meta.uid.is_some()),
        ("resourceVersion", meta.resource_version.is_some()),
        ("generation", meta.generation.is_some()),
        ("creationTimestamp", meta.creation_timestamp.is_some()),
        ("deletionTimestamp", meta.deletion_timestamp.is_some()),
        ("deletionGracePeriodSeconds", meta.deletion_grace_period_seconds.is_some()),
        ("ownerReferences", meta.owner_references.is_some()),
        ("finalizers", meta.finalizers.is_some()),
        ("managedFields", meta.managed_fields.is_some()),
    ];
    for (name, _) in fields.iter().filter(|(_, set)| *set) {
        errors.forbidden(&path.child(name), "cannot be set");
    }
}
