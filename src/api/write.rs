//! Owns `create`, `update`, `patch` and server-side apply, of objects and of their status: which state a write is decided on, and when it is
//! decided again. Never judges an object: `model::admit` does.
//!
//! When somebody else was faster, a write is decided again on the newest state: one that names a revision is then
//! refused with 409, any other goes through.

use axum::response::Response;
use bytes::Bytes;
use http::{StatusCode, header};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;

use super::ApiState;
use super::call::{self, Call};
use super::encode::{self, Encoder};
use super::error::Problem;
use super::negotiate::{self, Format, PatchForm};
use super::query::{WriteForm, WriteOptions, write_options};
use crate::admission::{self, Admission, Reservation};
use crate::model::admit::{self, Admitted, Configuration, Identity, Measure, Options, Part, Patched, Refusal};
use crate::model::apply::Writer;
use crate::model::object::{Key, Object};
use crate::model::patch::{self, PatchKind};
use crate::model::quota;
use crate::store::{self, Expected, Store, Write};

/// How often a generated name is tried. Parity: upstream's eight.
const NAME_TRIES: usize = 8;
/// How often a write is decided on a newer state. Parity: upstream's patch retries.
const CONFLICT_TRIES: usize = 5;

/// `create`.
pub async fn create(state: &ApiState, call: &Call, body: Bytes) -> Result<Response, Problem> {
    let asked = options(call, WriteForm::Create)?;
    let body = call::text_body(&call.headers, body)?;
    make(state, call, &asked, body).await
}

/// Makes an object, under the name of its address where that has one.
async fn make(
    state: &ApiState,
    call: &Call,
    asked: &WriteOptions,
    (body, format): (Bytes, Format),
) -> Result<Response, Problem> {
    let encoder = call.encoder()?;
    let admission = Admission::of(&state.store, call.kind(), &call.target.namespace)?;
    let mutate = |object: &Object| admission.mutate(object).map_err(refusal);
    let validate = |object: &Object| admission.validate(object).map_err(refusal);
    let measure = Measure { mutate: &mutate, validate: &validate };
    let options = Options { measure, ..admit_options(call, asked) };
    let (mut tried, mut outrun) = (String::new(), None);
    for _ in 0..NAME_TRIES {
        let minted = state.store.mint();
        let identity = Identity { uid: &minted.uid, suffix: &minted.suffix, now: minted.now };
        let admitted = match call.target.name.as_str() {
            "" => admit::create(call.kind(), &body, format, &options, &identity),
            name => admit::create_named(call.kind(), name, &body, format, &options, &identity),
        };
        check_namespace(&state.store, call, &admitted)?;
        let Admitted { object, warnings } = admitted?;
        let generated = object.meta().generate_name.is_some() && object.key().name.ends_with(&minted.suffix);
        tried = object.key().name;
        let (_turn, writes) = charged(state, call.kind().keep(&object)).await?;
        match commit_all(&state.store, writes, options.dry_run).await {
            Ok(object) => return answer(&encoder, StatusCode::CREATED, &object, &warnings),
            Err(store::Error::AlreadyExists(_)) if generated => {}
            // A quota was counted anew, or went.
            Err(error @ (store::Error::Conflict { .. } | store::Error::NotFound(_))) => outrun = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(outrun.map_or_else(|| Problem::no_free_name(call.kind(), &tried), Problem::from))
}

/// `update`, of an object or of its status; of some kinds it makes what is not there.
pub async fn update(state: &ApiState, call: &Call, body: Bytes, part: Part) -> Result<Response, Problem> {
    let asked = options(call, WriteForm::Update)?;
    let (body, format) = call::text_body(&call.headers, body)?;
    let makes = part == Part::Main && call.kind().ops.create_on_update;
    if makes && state.store.get(&call.key())?.is_none() {
        return make(state, call, &asked, (body, format)).await;
    }
    let options = admit_options(call, &asked);
    change(state, call, options.dry_run, part, |old| {
        Ok(match part {
            Part::Main => admit::update(old, &body, format, &options)?,
            Part::Status => admit::update_status(old, &body, format, &options)?,
            Part::Finalizers => admit::finalize(old, &body, format, &options)?,
            Part::Resize => admit::resize(old, &body, format, &options)?,
        })
    })
    .await
}

/// `patch`, of an object or of its status.
pub async fn patch(state: &ApiState, call: &Call, body: Bytes, part: Part) -> Result<Response, Problem> {
    let how = match negotiate::patch(call.header(header::CONTENT_TYPE))? {
        PatchForm::Document(how) => how,
        PatchForm::Apply => return apply(state, call, &body, part).await,
    };
    let asked = options(call, WriteForm::Patch)?;
    let options = admit_options(call, &asked);
    let patch::Read { patch, strict } = patch::read(how, &body, options.field_validation)?;
    let patched = match how {
        PatchKind::Json | PatchKind::Merge => Patched::Json { strict: &strict },
        PatchKind::Strategic => Patched::Strategic { patch: &patch, strict: &strict },
    };
    change(state, call, options.dry_run, part, |old| {
        let mut value = old.to_value();
        patch::apply(call.kind(), how, &mut value, patch.clone())?;
        Ok(admit::update_value(old, &value, patched, &options, part)?)
    })
    .await
}

/// The making of an object, charged to the quotas of its namespace, and the turn that is to be kept until it is written.
async fn charged(state: &ApiState, object: Object) -> Result<(Reservation, Vec<Write>), Problem> {
    let mut reservation = Reservation::of(&state.store, &object.key().namespace).await?;
    reservation.charge(&object).map_err(refusal)?;
    let writes = [Write::Create(object)].into_iter().chain(reservation.writes()).collect();
    Ok((reservation, writes))
}

/// The change of an object that was admitted, likewise charged for what it takes more than before.
async fn grown(
    state: &ApiState,
    object: Object,
    old: &Object,
    part: Part,
) -> Result<(Reservation, Vec<Write>), Problem> {
    let mut reservation = Reservation::none();
    if quota::holds_changes_of(object.kind(), part) {
        reservation = Reservation::of(&state.store, &object.key().namespace).await?;
        reservation.charge_growth(&object, old).map_err(refusal)?;
    }
    let write = Write::Update { object, expected: Expected::Revision(old.revision()) };
    let writes = [write].into_iter().chain(reservation.writes()).collect();
    Ok((reservation, writes))
}

/// Why an object is not admitted, as a refusal of its rules.
fn refusal(error: admission::Error) -> Refusal {
    match error {
        admission::Error::Refused(refusal) => refusal,
        admission::Error::Store(error) => Refusal::Internal(error.to_string()),
    }
}

/// `patch` by server-side apply: it also makes what is not there.
async fn apply(state: &ApiState, call: &Call, body: &[u8], part: Part) -> Result<Response, Problem> {
    let encoder = call.encoder()?;
    let asked = options(call, WriteForm::Apply)?;
    let admission = Admission::of(&state.store, call.kind(), &call.target.namespace)?;
    let mutate = |object: &Object| admission.mutate(object).map_err(refusal);
    let validate = |object: &Object| admission.validate(object).map_err(refusal);
    let measure = Measure { mutate: &mutate, validate: &validate };
    let options = Options { measure, ..admit_options(call, &asked) };
    let mut tries = 0;
    loop {
        tries += 1;
        let old = state.store.get(&call.key())?;
        if old.is_none() && part != Part::Main {
            return Err(Problem::not_found(call.kind(), &call.target.name));
        }
        let minted = state.store.mint();
        let identity = Identity { uid: &minted.uid, suffix: &minted.suffix, now: minted.now };
        let writer = Writer { name: &asked.manager, now: minted.now };
        let (kind, name) = (call.kind(), call.target.name.as_str());
        let sent = Configuration { kind, name, part, body, writer, force: asked.force };
        let admitted = admit::apply(old.as_ref(), &sent, &options, &identity);
        if old.is_none() {
            check_namespace(&state.store, call, &admitted)?;
        }
        let Admitted { object, mut warnings } = admitted?;
        let (code, _turn, writes) = match &old {
            None => {
                let (turn, writes) = charged(state, object).await?;
                (StatusCode::CREATED, turn, writes)
            }
            Some(old) => {
                warnings.extend(admission::update(&state.store, &object, old, part).map_err(refusal)?);
                let (turn, writes) = grown(state, object, old, part).await?;
                (StatusCode::OK, turn, writes)
            }
        };
        match commit_all(&state.store, writes, options.dry_run).await {
            Ok(object) => return answer(&encoder, code, &object, &warnings),
            Err(store::Error::Conflict { .. } | store::Error::AlreadyExists(_) | store::Error::NotFound(_))
                if tries < CONFLICT_TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
}

pub(super) fn options(call: &Call, form: WriteForm) -> Result<WriteOptions, Problem> {
    let agent = call.header(header::USER_AGENT).unwrap_or_default();
    write_options(&call.params, agent, form)
}

fn admit_options<'a>(call: &'a Call, asked: &'a WriteOptions) -> Options<'a> {
    Options {
        namespace: &call.target.namespace,
        field_validation: asked.field_validation,
        dry_run: asked.dry_run,
        writer: Some(Writer { name: &asked.manager, now: Timestamp::now() }),
        measure: Measure::NONE,
    }
}

/// Reads the object, lets `decide` say what becomes of it, writes that.
async fn change(
    state: &ApiState,
    call: &Call,
    dry: bool,
    part: Part,
    decide: impl Fn(&Object) -> Result<Admitted, Problem>,
) -> Result<Response, Problem> {
    let encoder = call.encoder()?;
    let mut tries = 0;
    loop {
        tries += 1;
        let old = state.store.get(&call.key())?;
        let old = old.ok_or_else(|| Problem::not_found(call.kind(), &call.target.name))?;
        let Admitted { object, mut warnings } = decide(&call.kind().show(&old))?;
        warnings.extend(admission::update(&state.store, &object, &old, part).map_err(refusal)?);
        let (_turn, writes) = grown(state, call.kind().keep(&object), &old, part).await?;
        match commit_all(&state.store, writes, dry).await {
            Ok(object) => return answer(&encoder, StatusCode::OK, &object, &warnings),
            Err(store::Error::Conflict { .. }) if tries < CONFLICT_TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn answer(encoder: &Encoder, code: StatusCode, object: &Object, warnings: &[String]) -> Result<Response, Problem> {
    let mut response = encoder.object(code, object)?;
    encode::warn(&mut response, warnings);
    Ok(response)
}

/// Writes one object, or only tries to. The object as it then stands, without a revision where nothing was written.
pub async fn commit(store: &Store, write: Write, dry: bool) -> Result<Object, store::Error> {
    commit_all(store, vec![write], dry).await
}

/// [`commit`] of an object, which comes first, and of what changes with it.
async fn commit_all(store: &Store, writes: Vec<Write>, dry: bool) -> Result<Object, store::Error> {
    let committed = if dry { store.dry_run(writes).await? } else { store.commit(writes).await? };
    let object = committed.objects.into_iter().flatten().next();
    Ok(object.expect("a write of an object answers with the object"))
}

/// A namespace must exist, and must not be going, for something to be made in it.
/// Parity: the NamespaceLifecycle admission plugin, which comes after decoding and before validation.
fn check_namespace(store: &Store, call: &Call, admitted: &Result<Admitted, Refusal>) -> Result<(), Problem> {
    let name = match admitted {
        Ok(admitted) => admitted.object.key().name,
        Err(Refusal::Invalid { name, .. } | Refusal::Forbidden { name, .. }) => name.clone(),
        Err(Refusal::BadRequest(_) | Refusal::Conflict { .. } | Refusal::Contested { .. } | Refusal::Internal(_)) => {
            return Ok(());
        }
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
