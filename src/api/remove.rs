//! Owns `delete` and `deletecollection`: options, preconditions, defaults per kind, and what is answered.
//! Never decides what a deletion does to an object: `model::deletion` does; dependents are the garbage collector's.

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::{Value, json};

use super::ApiState;
use super::call::{self, Call};
use super::encode::{self, Encoder};
use super::error::Problem;
use super::negotiate::Format;
use super::query;
use super::read::{self, Page};
use super::write;
use crate::model::deletion::{self, Deletion, FINALIZER_FOREGROUND, FINALIZER_ORPHAN, Propagation};
use crate::model::field::{ErrorType, FieldError};
use crate::model::kind::Kind;
use crate::model::object::Object;
use crate::model::priority;
use crate::store::{self, Expected, Write};

/// How often a deletion without preconditions is decided again when somebody else writes at the same time.
const CONFLICT_TRIES: usize = 10;
/// Namespaces that stay.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];
/// Parity: `deleteOptionWarnings` of upstream's job storage.
const JOB_WARNING: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background \
                           to remove them or set propagationPolicy=Orphan to suppress this warning";

/// What a client asks of a deletion.
pub(super) struct Options {
    grace_seconds: Option<i64>,
    propagation: Option<Propagation>,
    /// Asked for in the old way, `orphanDependents: false`.
    cascading: bool,
    uid: Option<String>,
    revision: Option<String>,
    /// Nothing is written.
    pub(super) dry: bool,
}

/// What became of an object.
pub(super) enum Outcome {
    /// It is gone; its last state.
    Removed(Object),
    /// It is marked, and goes later; the state it has now.
    Marked(Object),
}

/// `delete`.
pub async fn delete(state: &ApiState, call: &Call, body: &Bytes) -> Result<Response, Problem> {
    let encoder = call.encoder()?;
    let options = options(call, body)?;
    let kind = call.kind();
    if let Some(why) = immortal(kind, &call.target.name) {
        return Err(Problem::forbidden(kind, &call.target.name, why));
    }
    let object = state.store.get(&call.key())?;
    let object = object.ok_or_else(|| Problem::not_found(kind, &call.target.name))?;
    let mut response = match remove(state, object, &options).await? {
        // Parity: pods answer with the object even when they are gone.
        Outcome::Removed(object) if kind.kind == "Pod" => encoder.object(StatusCode::OK, &object)?,
        Outcome::Removed(object) => encoder.value(StatusCode::OK, &success(&object))?,
        // Parity: only who asks in the old way is told so that it takes time; others were never told.
        Outcome::Marked(object) if options.cascading => encoder.object(StatusCode::ACCEPTED, &object)?,
        Outcome::Marked(object) => encoder.object(StatusCode::OK, &object)?,
    };
    warn(&mut response, kind, &options);
    Ok(response)
}

/// Why nobody may delete this object, if that is so.
/// Parity: the NamespaceLifecycle plugin, and the storage of PriorityClasses.
fn immortal(kind: &Kind, name: &str) -> Option<&'static str> {
    if *kind == *Kind::of::<Namespace>() && IMMORTAL.contains(&name) {
        return Some("this namespace may not be deleted");
    }
    let system = *kind == *Kind::of::<PriorityClass>() && priority::is_system(name);
    system.then_some("this is a system priority class and cannot be deleted")
}

/// `deletecollection`: everything that is selected, or the page of it that is asked for, one by one; answers with the
/// objects.
pub async fn collection(state: &ApiState, call: &Call, body: &Bytes) -> Result<Response, Problem> {
    let encoder = call.encoder()?;
    let options = options(call, body)?;
    let Page { metadata, mut found, rest: mut pager } = read::page(&state.store, call).await?;
    let mut items: Vec<u8> = Vec::new();
    loop {
        for object in found {
            match remove(state, object, &options).await {
                Ok(Outcome::Removed(object) | Outcome::Marked(object)) => {
                    if !items.is_empty() {
                        items.push(b',');
                    }
                    items.extend_from_slice(&encoder.item(&object));
                }
                // Somebody else removed it first.
                Err(problem) if problem.is_not_found() => {}
                Err(problem) => return Err(problem),
            }
        }
        match pager.as_mut().filter(|pager| !pager.is_done()) {
            Some(pager) => found = pager.next(None).await?,
            None => break,
        }
    }
    let start = encoder.list_start(call.kind(), metadata);
    let text = [start.into_bytes(), items, Encoder::END.as_bytes().to_vec()].concat();
    let mut response = match (encoder.answer.format, encoder.pretty) {
        (Format::Json, false) => encode::respond(StatusCode::OK, Format::Json, text.into()),
        (Format::Json | Format::Yaml, _) => {
            encoder.value(StatusCode::OK, &serde_json::from_slice(&text).map_err(Problem::internal)?)?
        }
    };
    warn(&mut response, call.kind(), &options);
    Ok(response)
}

/// Deletes an object as the options ask.
pub(super) async fn remove(state: &ApiState, object: Object, options: &Options) -> Result<Outcome, Problem> {
    let mut object = object;
    for tries in 1.. {
        check_preconditions(&object, options)?;
        let expected = Expected::Revision(object.revision());
        let decision =
            deletion::delete(&object, options.grace_seconds, propagation(&object, options), Timestamp::now());
        let removed = matches!(decision, Deletion::Remove);
        let write = match decision {
            Deletion::Underway => return Ok(Outcome::Marked(object)),
            Deletion::Remove => Write::Delete { key: object.key(), expected },
            Deletion::Mark(marked) => Write::Update { object: terminating(marked), expected },
        };
        match write::commit(&state.store, write, options.dry).await {
            Ok(object) if removed => return Ok(Outcome::Removed(object)),
            Ok(object) => return Ok(Outcome::Marked(object)),
            Err(store::Error::Conflict { .. }) if tries < CONFLICT_TRIES => {
                let key = object.key();
                object = state.store.get(&key)?.ok_or_else(|| Problem::not_found(key.kind, &key.name))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Problem::modified(object.kind(), &object.key().name))
}

/// A namespace that is going says so in its phase.
fn terminating(object: Object) -> Object {
    match object.typed::<Namespace>() {
        Some(namespace) => {
            let mut namespace = namespace.clone();
            namespace.status.get_or_insert_default().phase = Some("Terminating".to_owned());
            Object::new(namespace)
        }
        None => object,
    }
}

/// Parity: what the client asks for, else what an earlier request left on the object, else the kind's default: Jobs
/// orphan their pods, everything else takes its dependents along.
fn propagation(object: &Object, options: &Options) -> Propagation {
    let has = |finalizer: &str| object.meta().finalizers.iter().flatten().any(|one| one == finalizer);
    match options.propagation {
        Some(propagation) => propagation,
        None if has(FINALIZER_ORPHAN) => Propagation::Orphan,
        None if has(FINALIZER_FOREGROUND) => Propagation::Foreground,
        None if is_job(object.kind()) => Propagation::Orphan,
        None => Propagation::Background,
    }
}

fn is_job(kind: &Kind) -> bool {
    kind.group == "batch" && kind.kind == "Job"
}

fn warn(response: &mut Response, kind: &Kind, options: &Options) {
    if is_job(kind) && options.propagation.is_none() {
        encode::warn(response, &[JOB_WARNING.to_owned()]);
    }
}

fn check_preconditions(object: &Object, options: &Options) -> Result<(), Problem> {
    let refuse = |why: String| Err(Problem::precondition(object.kind(), &object.key().name, &why));
    if let Some(uid) = options.uid.as_ref().filter(|uid| *uid != object.uid()) {
        return refuse(format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been \
             deleted and then recreated",
            object.uid()
        ));
    }
    let stored = object.meta().resource_version.as_deref().unwrap_or_default();
    if let Some(revision) = options.revision.as_ref().filter(|revision| *revision != stored) {
        return refuse(format!(
            "the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record \
             ({stored}). The object might have been modified"
        ));
    }
    Ok(())
}

/// Parity: a body, where there is one, takes the place of the query's options.
fn options(call: &Call, body: &Bytes) -> Result<Options, Problem> {
    let options = if body.iter().all(u8::is_ascii_whitespace) { from_query(call)? } else { from_body(call, body)? };
    Options::read(&options)
}

impl Options {
    /// Reads and checks what was asked.
    pub(super) fn read(options: &DeleteOptions) -> Result<Self, Problem> {
        let dry = options.dry_run.iter().flatten().map(String::as_str);
        let preconditions = options.preconditions.as_ref();
        Ok(Self {
            grace_seconds: options.grace_period_seconds,
            propagation: policy(options)?,
            cascading: options.orphan_dependents == Some(false),
            uid: preconditions.and_then(|guards| guards.uid.clone()),
            revision: preconditions.and_then(|guards| guards.resource_version.clone()),
            dry: query::dry_run(dry, "DeleteOptions")?,
        })
    }
}

fn from_query(call: &Call) -> Result<DeleteOptions, Problem> {
    Ok(DeleteOptions {
        grace_period_seconds: call.params.number("gracePeriodSeconds")?,
        propagation_policy: call.params.filled("propagationPolicy").map(str::to_owned),
        orphan_dependents: call.params.optional_flag("orphanDependents"),
        dry_run: Some(call.params.all("dryRun").map(str::to_owned).collect()),
        ..DeleteOptions::default()
    })
}

fn from_body(call: &Call, body: &Bytes) -> Result<DeleteOptions, Problem> {
    let value = call::tree(&call.headers, body.clone())?;
    match value.get("kind").and_then(Value::as_str) {
        None | Some("" | "DeleteOptions") => {}
        Some(other) => {
            return Err(Problem::bad_request(format!(
                "decoded object cannot be converted to DeleteOptions: it is a {other}"
            )));
        }
    }
    serde_json::from_value(value).map_err(|error| Problem::bad_request(error.to_string()))
}

fn policy(options: &DeleteOptions) -> Result<Option<Propagation>, Problem> {
    let refuse = |kind: ErrorType, message: String| {
        let error = FieldError { kind, field: "propagationPolicy".to_owned(), message };
        Err(Problem::invalid_of("meta.k8s.io", "DeleteOptions", "", &[error]))
    };
    match (options.propagation_policy.as_deref(), options.orphan_dependents) {
        (None, None) => Ok(None),
        (Some(policy), Some(_)) => refuse(
            ErrorType::Invalid,
            format!("Invalid value: \"{policy}\": orphanDependents and deletionPropagation cannot be both set"),
        ),
        (None, Some(true)) | (Some("Orphan"), None) => Ok(Some(Propagation::Orphan)),
        (None, Some(false)) | (Some("Background"), None) => Ok(Some(Propagation::Background)),
        (Some("Foreground"), None) => Ok(Some(Propagation::Foreground)),
        (Some(other), None) => refuse(
            ErrorType::NotSupported,
            format!(
                "Unsupported value: \"{other}\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
            ),
        ),
    }
}

/// The answer where nothing is left of the object.
fn success(object: &Object) -> Value {
    let kind = object.kind();
    let mut details = json!({"name": object.key().name, "kind": kind.plural, "uid": object.uid()});
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
