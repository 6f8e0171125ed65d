//! Owns `serviceaccounts/token`: a token for an account, bound to a pod or a secret where that is asked for.
//! Never keeps a token: whoever needs another asks again.
//!
//! Parity: `pkg/registry/core/serviceaccount/storage/token.go` and its validation.

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest};
use k8s_openapi::api::core::v1::{Node, Pod, Secret, ServiceAccount};
use serde_json::json;

use super::ApiState;
use super::call::{self, Call};
use super::error::Problem;
use super::query::WriteForm;
use super::write;
use crate::model::field::{Errors, Path};
use crate::model::kind::Kind;
use crate::model::object::{Key, Object, Resource};
use crate::model::time;
use crate::token::{Bound, Request, Subject};

/// How long a token holds where nobody says. Parity: upstream's default.
const DEFAULT_SECONDS: i64 = 3600;
/// Shortest that may be asked for.
const LEAST_SECONDS: i64 = 600;
/// Longest that may be asked for.
const MOST_SECONDS: i64 = 1 << 32;

/// `create` of a token.
pub async fn create(state: &ApiState, call: &Call, body: &Bytes) -> Result<Response, Problem> {
    let encoder = call::encoder(&call.headers, &call.params)?;
    let dry = write::options(call, WriteForm::Create)?.dry_run;
    let signer = state.accounts.require_signer()?;
    let account = state.store.get(&call.key())?;
    let account = account.ok_or_else(|| Problem::not_found(call.kind(), &call.target.name))?;
    let sent = call::tree(&call.headers, body.clone())?;
    let mut asked: TokenRequest =
        serde_json::from_value(sent).map_err(|error| Problem::bad_request(error.to_string()))?;
    let spec = asked.spec.get_or_insert_default();
    let seconds = *spec.expiration_seconds.get_or_insert(DEFAULT_SECONDS);
    check(&call.target.name, seconds)?;
    let mut subject = Subject {
        namespace: call.target.namespace.clone(),
        node: None,
        pod: None,
        secret: None,
        serviceaccount: Bound { name: call.target.name.clone(), uid: account.uid().to_owned() },
    };
    if let Some(reference) = spec.bound_object_ref.clone() {
        bind(state, &reference, &mut subject)?;
    }
    let now = Timestamp::now();
    let request = Request { subject, audiences: spec.audiences.clone().unwrap_or_default(), seconds };
    let (token, end) = signer.issue(&request, now).map_err(Problem::internal)?;
    if spec.audiences.as_ref().is_none_or(Vec::is_empty) {
        spec.audiences = Some(vec![crate::token::ISSUER.to_owned()]);
    }
    asked.metadata.name = Some(call.target.name.clone());
    asked.metadata.namespace = Some(call.target.namespace.clone());
    asked.metadata.creation_timestamp = Some(time::seconds(now));
    let mut answer = serde_json::to_value(&asked).map_err(Problem::internal)?;
    // Parity: a dry run gives no token away.
    let token = if dry { String::new() } else { token };
    answer["status"] = json!({"token": token, "expirationTimestamp": time::seconds(end)});
    encoder.value(StatusCode::CREATED, &answer)
}

fn check(name: &str, seconds: i64) -> Result<(), Problem> {
    let path = Path::new("spec.expirationSeconds");
    let mut errors = Errors::new();
    if seconds < LEAST_SECONDS {
        errors.invalid(&path, &seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > MOST_SECONDS {
        errors.invalid(&path, &seconds, "may not specify a duration larger than 2^32 seconds");
    }
    match errors.into_vec() {
        none if none.is_empty() => Ok(()),
        errors => Err(Problem::invalid_of("authentication.k8s.io", "TokenRequest", name, &errors)),
    }
}

/// The object that the token is to go with.
fn bind(state: &ApiState, reference: &BoundObjectReference, subject: &mut Subject) -> Result<(), Problem> {
    let version = reference.api_version.as_deref().unwrap_or_default();
    let kind = reference.kind.as_deref().unwrap_or_default();
    match (version, kind) {
        ("v1", "Pod") => {
            let object = bound::<Pod>(state, reference, &subject.namespace)?;
            let pod = object.typed::<Pod>();
            let spec = pod.and_then(|pod| pod.spec.as_ref());
            let runs_as = spec.and_then(|spec| spec.service_account_name.as_deref()).unwrap_or_default();
            let own = &subject.serviceaccount.name;
            if own != runs_as {
                return Err(Problem::bad_request(format!(
                    "cannot bind token for serviceaccount \"{own}\" to pod running with different serviceaccount name."
                )));
            }
            if let Some(node) = spec.and_then(|spec| spec.node_name.as_deref()).filter(|name| !name.is_empty()) {
                let uid = state.store.get(&Key::of::<Node>("", node))?.map(|node| node.uid().to_owned());
                subject.node = Some(Bound { name: node.to_owned(), uid: uid.unwrap_or_default() });
            }
            subject.pod = Some(named(&object));
        }
        ("v1", "Secret") => subject.secret = Some(named(&bound::<Secret>(state, reference, &subject.namespace)?)),
        ("v1", "Node") => subject.node = Some(named(&bound::<Node>(state, reference, "")?)),
        _ => {
            let kind = format!("{version}, Kind={kind}");
            return Err(Problem::bad_request(format!("cannot bind token to object of type {kind}")));
        }
    }
    Ok(())
}

fn named(object: &Object) -> Bound {
    Bound { name: object.key().name, uid: object.uid().to_owned() }
}

fn bound<T: Resource>(state: &ApiState, reference: &BoundObjectReference, namespace: &str) -> Result<Object, Problem> {
    let name = reference.name.as_deref().unwrap_or_default();
    let kind = Kind::of::<T>();
    let object = state.store.get(&Key::of::<T>(namespace, name))?;
    let object = object.ok_or_else(|| Problem::not_found(kind, name))?;
    match reference.uid.as_deref().filter(|uid| !uid.is_empty() && *uid != object.uid()) {
        None => Ok(object),
        Some(uid) => {
            let why = format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have \
                 been deleted and then recreated"
            );
            Err(Problem::conflict(kind, name, &why))
        }
    }
}

/// Whether a kind has this subresource.
pub fn is_of(kind: &Kind) -> bool {
    *kind == *Kind::of::<ServiceAccount>()
}
