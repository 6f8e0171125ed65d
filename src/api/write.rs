//! Owns `create`, `update` and `patch`, of objects and of their status: which state a write is decided on, and when it is
//! decided again. Never judges an object: `model::admit` does.
//!
//! When somebody else was faster, a write is decided again on the newest state: one that names a revision is then
//! refused with 409, any other goes through.

use axum::response::Response;
use bytes::Bytes;
use http::{StatusCode, header};
use k8s_openapi::api::core::v1::Namespace;

use super::ApiState;
use super::admission;
use super::call::{self, Call};
use super::encode;
use super::error::Problem;
use super::negotiate::{self, PatchForm};
use super::query::field_validation;
use crate::model::admit::{self, Admitted, Identity, Options, Part, Patched, Refusal};
use crate::model::object::{Key, Object};
use crate::model::patch::{self, PatchKind};
use crate::store::{self, Expected, Store, Write};

/// How often a generated name is tried. Parity: upstream's eight.
const NAME_TRIES: usize = 8;
/// How often a write is decided on a newer state. Parity: upstream's patch retries.
const CONFLICT_TRIES: usize = 5;

/// `create`.
pub async fn create(state: &ApiState, call: &Call, body: Bytes) -> Result<Response, Problem> {
    let encoder = call.encoder()?;
    let options = options(call, "CreateOptions")?;
    let (body, format) = call::text_body(&call.headers, body)?;
    let mut tried = String::new();
    for _ in 0..NAME_TRIES {
        let minted = state.store.mint();
        let identity = Identity { uid: &minted.uid, suffix: &minted.suffix, now: minted.now };
        let admitted = admit::create(call.kind(), &body, format, &options, &identity);
        check_namespace(&state.store, call, &admitted)?;
        let Admitted { object, warnings } = admitted?;
        let object = admission::create(&state.store, object)?;
        let generated = object.meta().generate_name.is_some() && object.key().name.ends_with(&minted.suffix);
        tried = object.key().name;
        match commit(&state.store, Write::Create(object), options.dry_run).await {
            Ok(object) => {
                let mut response = encoder.object(StatusCode::CREATED, &object)?;
                encode::warn(&mut response, &warnings);
                return Ok(response);
            }
            Err(store::Error::AlreadyExists(_)) if generated => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Problem::no_free_name(call.kind(), &tried))
}

/// `update`, of an object or of its status.
pub async fn update(state: &ApiState, call: &Call, body: Bytes, part: Part) -> Result<Response, Problem> {
    let options = options(call, "UpdateOptions")?;
    let (body, format) = call::text_body(&call.headers, body)?;
    change(state, call, options.dry_run, |old| {
        Ok(match part {
            Part::Main => admit::update(old, &body, format, &options)?,
            Part::Status => admit::update_status(old, &body, format, &options)?,
        })
    })
    .await
}

/// `patch`, of an object or of its status.
pub async fn patch(state: &ApiState, call: &Call, body: Bytes, part: Part) -> Result<Response, Problem> {
    let options = options(call, "PatchOptions")?;
    let how = match negotiate::patch(call.header(header::CONTENT_TYPE))? {
        PatchForm::Document(how) => how,
        PatchForm::Apply => return Err(Problem::not_implemented("server-side apply")),
    };
    let patch::Read { patch, strict } = patch::read(how, &body)?;
    let patched = match how {
        PatchKind::Json | PatchKind::Merge => Patched::Json { strict: &strict },
        PatchKind::Strategic => Patched::Strategic { patch: &patch, strict: &strict },
    };
    change(state, call, options.dry_run, |old| {
        let mut value = old.to_value();
        patch::apply(call.kind(), how, &mut value, patch.clone())?;
        Ok(admit::update_value(old, &value, patched, &options, part)?)
    })
    .await
}

fn options<'a>(call: &'a Call, name: &str) -> Result<Options<'a>, Problem> {
    Ok(Options {
        namespace: &call.target.namespace,
        field_validation: field_validation(&call.params, name)?,
        dry_run: call.params.dry_run(name)?,
    })
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
        let object = admission::update(&state.store, object)?;
        let write = Write::Update { object, expected: Expected::Revision(old.revision()) };
        match commit(&state.store, write, dry).await {
            Ok(object) => {
                let mut response = encoder.object(StatusCode::OK, &object)?;
                encode::warn(&mut response, &warnings);
                return Ok(response);
            }
            Err(store::Error::Conflict { .. }) if tries < CONFLICT_TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Writes one object, or only tries to. The object as it then stands, without a revision where nothing was written.
pub async fn commit(store: &Store, write: Write, dry: bool) -> Result<Object, store::Error> {
    let committed = if dry { store.dry_run(vec![write]).await? } else { store.commit(vec![write]).await? };
    let object = committed.objects.into_iter().flatten().next();
    Ok(object.expect("a write of an object answers with the object"))
}

/// A namespace must exist, and must not be going, for something to be made in it.
/// Parity: the NamespaceLifecycle admission plugin, which comes after decoding and before validation.
fn check_namespace(store: &Store, call: &Call, admitted: &Result<Admitted, Refusal>) -> Result<(), Problem> {
    let name = match admitted {
        Ok(admitted) => admitted.object.key().name,
        Err(Refusal::Invalid { name, .. }) => name.clone(),
        Err(Refusal::BadRequest(_) | Refusal::Conflict { .. } | Refusal::Internal(_)) => return Ok(()),
    };
    if !call.kind().namespaced {
        return Ok(());
    }
    let key = Key::of::<Namespace>("", &call.target.namespace);
    let found = store.get(&key)?.ok_or_else(|| Problem::not_found(key.kind, &key.name))?;
    match found.meta().deletion_timestamp {
        Some(_) => Err(Problem::namespace_terminating(call.kind(), &name, &key.name)),
        None => Ok(()),
    }
}
