//! Owns `create`, `update` and `patch`, of objects and of their status: which facts guard a write, and when it is tried
//! again. Never judges an object: `admission` does.
//!
//! A write that names no revision is decided again on the newest state when somebody else was faster; one that names a
//! revision fails with 409.

use axum::response::Response;
use bytes::Bytes;
use http::{StatusCode, header};
use k8s_openapi::api::core::v1::Namespace;

use super::ApiState;
use super::admission::{self, Admitted, Part, Sent};
use super::call::Call;
use super::encode;
use super::error::Problem;
use super::negotiate::{self, PatchForm};
use super::query::field_validation;
use crate::model::object::{Key, Object};
use crate::model::patch;
use crate::store::{self, Expected, Store, Write};

/// How often a generated name is tried. Parity: upstream's eight.
const NAME_TRIES: usize = 8;
/// How often a write without a revision is decided again. Parity: upstream's patch retries.
const CONFLICT_TRIES: usize = 5;

/// `create`.
pub async fn create(state: &ApiState, call: &Call, body: Bytes) -> Result<Response, Problem> {
    let encoder = call.encoder()?;
    let dry = call.params.dry_run("CreateOptions")?;
    let sent = sent(call, body, "CreateOptions")?;
    for _ in 0..NAME_TRIES {
        let identity = state.store.mint();
        let Admitted { object, warnings } = admission::create(call, &sent, &identity)?;
        check_namespace(&state.store, &object)?;
        if object.revision() != 0 {
            return Err(Problem::unknown("resourceVersion should not be set on objects to be created"));
        }
        let generated = object.meta().generate_name.as_deref().is_some_and(|prefix| {
            object.meta().name.as_deref() == Some(&format!("{prefix}{}", identity.suffix))
        });
        match commit(&state.store, Write::Create(object), dry).await {
            Ok(object) => {
                let mut response = encoder.object(StatusCode::CREATED, &object)?;
                encode::warn(&mut response, &warnings);
                return Ok(response);
            }
            Err(store::Error::AlreadyExists(_)) if generated => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Problem::no_free_name(call.kind(), &call.target.name))
}

/// `update`, of an object or of its status.
pub async fn update(state: &ApiState, call: &Call, body: Bytes, part: Part) -> Result<Response, Problem> {
    let dry = call.params.dry_run("UpdateOptions")?;
    let sent = sent(call, body, "UpdateOptions")?;
    change(state, call, dry, |old| admission::update(call, old, &sent, part)).await
}

/// `patch`, of an object or of its status.
pub async fn patch(state: &ApiState, call: &Call, body: Bytes, part: Part) -> Result<Response, Problem> {
    let dry = call.params.dry_run("PatchOptions")?;
    let validation = field_validation(&call.params, "PatchOptions")?;
    let how = match negotiate::patch(call.header(header::CONTENT_TYPE))? {
        PatchForm::Document(how) => how,
        PatchForm::Apply => return Err(Problem::not_implemented("server-side apply")),
    };
    change(state, call, dry, |old| {
        let mut value = old.to_value();
        patch::apply(call.kind(), how, &mut value, &body)?;
        admission::patched(call, old, value, validation, part)
    })
    .await
}

fn sent(call: &Call, body: Bytes, options: &str) -> Result<Sent, Problem> {
    let validation = field_validation(&call.params, options)?;
    Ok(Sent { body, format: negotiate::content(call.header(header::CONTENT_TYPE))?, validation })
}

/// Reads the object, lets `decide` say what becomes of it, writes that.
async fn change(
    state: &ApiState,
    call: &Call,
    dry: bool,
    decide: impl Fn(&Object) -> Result<Admitted, Problem>,
) -> Result<Response, Problem> {
    let encoder = call.encoder()?;
    let mut tries = 0;
    loop {
        tries += 1;
        let old = state.store.get(&call.key())?;
        let old = old.ok_or_else(|| Problem::not_found(call.kind(), &call.target.name))?;
        let Admitted { object, warnings } = decide(&old)?;
        let unguarded = check_guards(call, &old, &object)?;
        let write = Write::Update { object, expected: Expected::Revision(old.revision()) };
        match commit(&state.store, write, dry).await {
            Ok(object) => {
                let mut response = encoder.object(StatusCode::OK, &object)?;
                encode::warn(&mut response, &warnings);
                return Ok(response);
            }
            Err(store::Error::Conflict { .. }) if unguarded && tries < CONFLICT_TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the client left it open on which state it decided; an error where its state is not the newest.
fn check_guards(call: &Call, old: &Object, new: &Object) -> Result<bool, Problem> {
    let asked = new.meta().resource_version.as_deref().unwrap_or_default();
    let unguarded = asked.is_empty() || asked == "0";
    if !unguarded && asked != old.meta().resource_version.as_deref().unwrap_or_default() {
        return Err(Problem::modified(call.kind(), &call.target.name));
    }
    if !new.uid().is_empty() && new.uid() != old.uid() {
        let why = format!("Precondition failed: UID in precondition: {}, UID in object meta: {}", new.uid(), old.uid());
        return Err(Problem::conflict(call.kind(), &call.target.name, &why));
    }
    Ok(unguarded)
}

/// Writes one object, or only tries to. The object as it then stands, without a revision where nothing was written.
pub async fn commit(store: &Store, write: Write, dry: bool) -> Result<Object, store::Error> {
    let committed = if dry { store.dry_run(vec![write]).await? } else { store.commit(vec![write]).await? };
    let object = committed.objects.into_iter().flatten().next();
    Ok(object.expect("a write of an object answers with the object"))
}

/// A namespace must exist, and must not be going, for something to be made in it.
/// Parity: the NamespaceLifecycle admission plugin.
fn check_namespace(store: &Store, object: &Object) -> Result<(), Problem> {
    let Key { kind, namespace, name } = object.key();
    if !kind.namespaced {
        return Ok(());
    }
    let key = Key::of::<Namespace>("", &namespace);
    let found = store.get(&key)?.ok_or_else(|| Problem::not_found(key.kind, &namespace))?;
    match found.meta().deletion_timestamp {
        Some(_) => Err(Problem::namespace_terminating(kind, &name, &namespace)),
        None => Ok(()),
    }
}
