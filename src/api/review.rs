//! Owns the reviews by which a client asks who somebody is and what they may do: created, answered, forgotten.
//! Never decides access: `access` does.

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};

use super::access::{self, Ask};
use super::accounts::Accounts;
use super::call;
use super::caller::Caller;
use super::discovery::{REVIEWS, Review};
use super::encode;
use super::error::Problem;
use super::query::{Params, WriteForm, write_options};
use crate::model::decode::{FieldValidation, fit};
use crate::model::field::{FieldError, GoValue, Path};
use crate::model::schema;
use crate::model::tree::Node;
use crate::token::ISSUER;

/// One request for a review.
pub struct Call<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its query.
    pub params: &'a Params,
    /// Who asks.
    pub caller: &'a Caller,
    /// The namespace in its address; empty where there is none.
    pub namespace: &'a str,
}

/// The review that an address names.
pub fn find(group: &str, version: &str, plural: &str, namespace: &str) -> Option<&'static Review> {
    let mut known = REVIEWS.iter();
    known.find(|review| {
        (review.group, review.version, review.plural) == (group, version, plural)
            && review.namespaced != namespace.is_empty()
    })
}

/// Answers a request for a review.
pub fn create(accounts: &Accounts, review: &Review, call: Call<'_>, body: Bytes) -> Result<Response, Problem> {
    if call.method != Method::POST {
        return Err(Problem::method_not_allowed());
    }
    let ask = Ask {
        verb: "create".to_owned(),
        group: review.group.to_owned(),
        resource: review.plural.to_owned(),
        namespace: call.namespace.to_owned(),
        ..Ask::default()
    };
    if !access::allows(call.caller, &ask) {
        return Err(Problem::no_access(&call.caller.name, &ask));
    }
    let agent = call::text(call.headers, header::USER_AGENT).unwrap_or_default();
    let validation = write_options(call.params, agent, WriteForm::Create)?.field_validation;
    let sent = call::tree(call.headers, body)?;
    let (asked, warnings) = decode(review, &sent, validation).map_err(Problem::bad_request)?;
    let answer = answer(accounts, review, &call, asked)?;
    let mut response = call::encoder(call.headers, call.params)?.value(StatusCode::CREATED, &answer)?;
    encode::warn(&mut response, &warnings);
    Ok(response)
}

/// What was sent, as Go would write it back, and what its sender is to be warned of.
fn decode(known: &Review, sent: &Value, validation: FieldValidation) -> Result<(Value, Vec<String>), String> {
    let (kind, version) = (known.kind, known.version);
    let named = |field: &str| sent[field].as_str().filter(|name| !name.is_empty());
    let (own, of) = (named("kind").unwrap_or(kind), named("apiVersion"));
    if !sent.is_object() || own != kind {
        let version = of.unwrap_or(version);
        let why = format!("no kind \"{own}\" is registered for version \"{version}\"");
        return Err(format!("{own} in version \"{version}\" cannot be handled as a {kind}: {why}"));
    }
    let ty = schema::get(&format!("{}/{version}.{kind}", schema::group_package(known.group)));
    fit(&Node::from_value(sent), ty, &[], validation)
        .map_err(|why| format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"))
}

/// The answer: the request with its `status`.
fn answer(accounts: &Accounts, known: &Review, call: &Call<'_>, mut review: Value) -> Result<Value, Problem> {
    let (kind, spec) = (known.kind, &review["spec"]);
    let status = match kind {
        "SelfSubjectReview" => json!({"userInfo": call.caller.to_value()}),
        "SelfSubjectRulesReview" if text(spec, "namespace").is_empty() => {
            return Err(Problem::bad_request("no namespace on request"));
        }
        "SelfSubjectRulesReview" => access::rules_status(call.caller, text(spec, "namespace")),
        "TokenReview" if text(spec, "token").is_empty() => {
            return Err(Problem::bad_request("token is required for TokenReview in authentication"));
        }
        "TokenReview" => token(accounts, spec),
        "SelfSubjectAccessReview" => access_status(call.caller, kind, call.namespace, spec)?,
        _ => access_status(&subject(kind, spec)?, kind, call.namespace, spec)?,
    };
    review["kind"] = json!(kind);
    review["apiVersion"] = json!(format!("{}/{}", known.group, known.version));
    review["status"] = status;
    Ok(review)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whom a review asks about.
fn subject(kind: &str, spec: &Value) -> Result<Caller, Problem> {
    let (user, groups) = (text(spec, "user"), texts(&spec["groups"]));
    if user.is_empty() && groups.is_empty() {
        return Err(invalid(kind, "spec.user", &"", "at least one of user or group must be specified"));
    }
    let extra = spec["extra"].as_object().into_iter().flatten();
    let extra = extra.map(|(name, values)| (name.clone(), texts(values))).collect();
    Ok(Caller { name: user.to_owned(), uid: text(spec, "uid").to_owned(), groups, extra })
}

/// Parity: upstream's validation of subject access reviews.
fn invalid(kind: &str, field: &str, value: &dyn GoValue, detail: &str) -> Problem {
    let error = FieldError::invalid(&Path::new(field), value, detail);
    Problem::invalid_of("authorization.k8s.io", kind, "", &[error])
}

fn access_status(caller: &Caller, kind: &str, namespace: &str, spec: &Value) -> Result<Value, Problem> {
    let allowed = match (spec.get("resourceAttributes"), spec.get("nonResourceAttributes")) {
        (Some(asked), None) => {
            let own = text(asked, "namespace");
            if kind == "LocalSubjectAccessReview" && own != namespace {
                let field = "spec.resourceAttributes.namespace";
                return Err(invalid(kind, field, &own, "must match metadata.namespace"));
            }
            let field = |name: &str| text(asked, name).to_owned();
            let ask = Ask {
                verb: field("verb"),
                group: field("group"),
                resource: field("resource"),
                subresource: field("subresource"),
                namespace: own.to_owned(),
                name: field("name"),
            };
            access::allows(caller, &ask)
        }
        (None, Some(asked)) => access::allows_path(caller, text(asked, "verb"), text(asked, "path")),
        (Some(_), Some(_)) => {
            let words = "cannot be specified in combination with resourceAttributes";
            return Err(invalid(kind, "spec.nonResourceAttributes", &"", words));
        }
        (None, None) => {
            let words = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            return Err(invalid(kind, "spec.resourceAttributes", &None::<String>, words));
        }
    };
    Ok(match (allowed, caller.is_master()) {
        (true, true) => json!({"allowed": true, "reason": "members of system:masters may do everything"}),
        (true, false) => json!({"allowed": true, "reason": "allowed by jobdock's fixed role"}),
        (false, _) => json!({"allowed": false}),
    })
}

fn token(accounts: &Accounts, spec: &Value) -> Value {
    let asked = texts(&spec["audiences"]);
    let audiences = if asked.is_empty() { vec![ISSUER.to_owned()] } else { asked };
    match accounts.bearer(text(spec, "token"), &audiences) {
        Ok(bearer) => json!({
            "authenticated": true,
            "user": bearer.caller.to_value(),
            "audiences": if bearer.audiences.is_empty() { audiences } else { bearer.audiences },
        }),
        Err(why) => json!({"user": {}, "error": why}),
    }
}
