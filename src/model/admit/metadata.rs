//! Owns what happens to metadata on the way in: namespace, name, uid, revision, times, owners.
//! Never judges names or labels: validation does.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::super::field::{Errors, Path};
use super::super::go_text::quote;
use super::super::object::Object;
use super::super::time;
use super::{Identity, Refusal};

/// The longest name that is generated, and how much of it is random.
const LONGEST_NAME: usize = 63;
const SUFFIX: usize = 5;

/// What somebody who lost a race is told.
const CHANGED: &str = "the object has been modified; please apply your changes to the latest version and try again";

/// The object in the namespace of the request; one that names another is refused.
pub fn in_namespace(object: &Object, namespace: &str) -> Result<Object, Refusal> {
    let own = object.meta().namespace.clone().unwrap_or_default();
    if own == namespace {
        return Ok(object.clone());
    }
    if !own.is_empty() && !namespace.is_empty() {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Refusal::BadRequest(message.to_owned()));
    }
    Ok(object.with_meta(|meta| meta.namespace = Some(namespace.to_owned()).filter(|name| !name.is_empty())))
}

/// Sets what only the server sets on a new object, and forgets what the client claimed of it.
pub fn identify(object: &Object, identity: &Identity<'_>) -> Object {
    object.with_meta(|meta| {
        meta.uid = Some(identity.uid.to_owned());
        meta.creation_timestamp = Some(time::seconds(identity.now));
        meta.deletion_timestamp = None;
        meta.deletion_grace_period_seconds = None;
        meta.self_link = None;
        meta.generation = None;
        let base = meta.generate_name.as_deref().unwrap_or_default();
        if meta.name.as_deref().unwrap_or_default().is_empty() && !base.is_empty() {
            meta.name = Some(generated(base, identity.suffix));
        }
    })
}

/// `base` and the suffix, `base` shortened so that the name still fits a label.
fn generated(base: &str, suffix: &str) -> String {
    let longest = LONGEST_NAME - SUFFIX;
    let end = (0..=longest.min(base.len())).rev().find(|end| base.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{suffix}", &base[..end])
}

/// Refuses a body that names another object than the address does.
pub fn same_name(object: &Object, old: &Object) -> Result<(), Refusal> {
    named(object, &old.key().name)
}

/// Refuses a body that has no name, or another than the address.
pub fn named(object: &Object, asked: &str) -> Result<(), Refusal> {
    let own = object.key().name;
    if own.is_empty() {
        let message =
            format!("the name of the object ({asked} based on URL) was undeterminable: name must be provided");
        return Err(Refusal::BadRequest(message));
    }
    if own != asked {
        let message = format!("the name of the object ({own}) does not match the name on the URL ({asked})");
        return Err(Refusal::BadRequest(message));
    }
    Ok(())
}

/// Refuses an update that was made for another object of this name, or for an earlier state of it.
pub fn same_object(new: &Object, old: &Object) -> Result<(), Refusal> {
    let conflict =
        |reason: String| Err(Refusal::Conflict { resource: old.kind().resource(), name: old.key().name, reason });
    if !new.uid().is_empty() && new.uid() != old.uid() {
        let key = old.key();
        let registry = match key.namespace.as_str() {
            "" => format!("/registry/{}/{}", key.kind.plural, key.name),
            namespace => format!("/registry/{}/{namespace}/{}", key.kind.plural, key.name),
        };
        return conflict(format!(
            "StorageError: invalid object, Code: 4, Key: {registry}, ResourceVersion: 0, AdditionalErrorMsg: \
             Precondition failed: UID in precondition: {}, UID in object meta: {}",
            new.uid(),
            old.uid()
        ));
    }
    let read = new.meta().resource_version.as_deref().unwrap_or_default();
    let stored = old.meta().resource_version.as_deref().unwrap_or_default();
    if !read.is_empty() && read.parse::<u64>().is_err() {
        // Parity: the storage layer parses it, and its error is not turned into a Status of its own.
        return Err(Refusal::Internal(format!("strconv.ParseUint: parsing {}: invalid syntax", quote(read))));
    }
    if !matches!(read, "" | "0") && read != stored {
        return conflict(CHANGED.to_owned());
    }
    Ok(())
}

/// Refuses an update that does not say which state it replaces, where its kind must be told.
/// Parity: upstream names the resource where other refusals name the kind.
pub fn conditional(new: &Object) -> Result<(), Refusal> {
    let kind = new.kind();
    let read = new.meta().resource_version.as_deref().unwrap_or_default();
    if kind.ops.unconditional_update || !matches!(read, "" | "0") {
        return Ok(());
    }
    let mut errors = Errors::new();
    errors.invalid(&Path::new("metadata").child("resourceVersion"), &0_u64, "must be specified for an update");
    let (group, kind, name) = (kind.group.to_owned(), kind.plural.to_owned(), new.key().name);
    Err(Refusal::Invalid { group, kind, name, causes: errors.into_vec() })
}

/// An update's object at the revision that it replaces, with the generation that stands.
pub fn revised(new: &Object, old: &Object) -> Object {
    new.with_meta(|meta| {
        meta.resource_version.clone_from(&old.meta().resource_version);
        meta.generation = old.meta().generation;
    })
}

/// What no update changes: uid, creation, and a deletion once it is under way.
pub fn kept(new: &Object, old: &Object) -> Object {
    let before = old.meta();
    new.with_meta(|meta| {
        if meta.uid.as_deref().unwrap_or_default().is_empty() {
            meta.uid.clone_from(&before.uid);
        }
        meta.self_link = None;
        if before.creation_timestamp.is_some() {
            meta.creation_timestamp.clone_from(&before.creation_timestamp);
        }
        if before.deletion_timestamp.is_some() {
            meta.deletion_timestamp.clone_from(&before.deletion_timestamp);
        }
        if meta.deletion_grace_period_seconds.is_none() {
            meta.deletion_grace_period_seconds = before.deletion_grace_period_seconds;
        }
    })
}

/// Drops owners that are named twice, and says so.
pub fn one_owner_each(object: Object, warnings: &mut Vec<String>) -> Object {
    let mut owners: Vec<OwnerReference> = Vec::new();
    let mut twice: Vec<&str> = Vec::new();
    for owner in object.meta().owner_references.iter().flatten() {
        if owners.contains(owner) {
            twice.push(&owner.uid);
        } else {
            owners.push(owner.clone());
        }
    }
    if twice.is_empty() {
        return object;
    }
    warnings.push(format!(
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may \
         reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
        twice.join(", ")
    ));
    object.with_meta(|meta| meta.owner_references = Some(owners.clone()))
}
