//! Owns what a failed request answers: HTTP codes and `Status` bodies, worded as upstream words them.
//! Nothing else in jobdock knows an HTTP code of an error. Never decides that something failed.
//!
//! Parity: apimachinery's `api/errors`.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::access::Ask;
use crate::model::admit::Refusal;
use crate::model::field::FieldError;
use crate::model::kind::Kind;
use crate::model::patch::PatchError;
use crate::store;

/// A request that failed: everything that its `Status` says.
#[derive(Debug)]
pub struct Problem {
    code: StatusCode,
    reason: &'static str,
    message: String,
    /// Boxed: most problems have few details, and every handler's result carries one.
    details: Option<Box<Details>>,
    /// `metadata.continue`, for an expired list.
    token: Option<String>,
}

#[derive(Debug, Default)]
struct Details {
    name: String,
    group: String,
    kind: String,
    uid: String,
    causes: Vec<Value>,
    retry_after: Option<u32>,
}

impl Details {
    fn of(kind: &Kind, name: &str) -> Self {
        // Parity: `details.kind` holds the resource's plural; clients rely on it.
        Self { name: name.to_owned(), group: kind.group.to_owned(), kind: kind.plural.to_owned(), ..Self::default() }
    }
}

impl Problem {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, token: None }
    }

    fn about(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// 404 for an object that is not there.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{} \"{name}\" not found", kind.resource()))
            .about(Details::of(kind, name))
    }

    /// 404 for a path that leads nowhere.
    pub fn no_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
            .about(Details::default())
    }

    /// 409 for a create of something that is there.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "AlreadyExists", format!("{} \"{name}\" already exists", kind.resource()))
            .about(Details::of(kind, name))
    }

    /// 409 for a generated name that was taken every time.
    pub fn no_free_name(kind: &Kind, name: &str) -> Self {
        let message = format!(
            "{} \"{name}\" already exists, the server was not able to generate a unique name for the object",
            kind.resource()
        );
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message)
            .about(Details { retry_after: Some(1), ..Details::of(kind, name) })
    }

    /// 409 for a write that was decided on an older state.
    pub fn modified(kind: &Kind, name: &str) -> Self {
        Self::conflict(
            kind,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409 for a guard that does not hold.
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.resource());
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(Details::of(kind, name))
    }

    /// 409 for a precondition of a deletion. Parity: it names the kind, not the resource.
    pub fn precondition(kind: &Kind, name: &str, why: &str) -> Self {
        let subject =
            if kind.group.is_empty() { kind.kind.to_owned() } else { format!("{}.{}", kind.kind, kind.group) };
        let message = format!("Operation cannot be fulfilled on {subject} \"{name}\": {why}");
        let details = Details { kind: kind.kind.to_owned(), ..Details::of(kind, name) };
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(details)
    }

    /// 422 for an object, with every problem of it.
    pub fn invalid(kind: &Kind, name: &str, errors: &[FieldError]) -> Self {
        Self::invalid_of(kind.group, kind.kind, name, errors)
    }

    /// 422 for anything that has a group and a kind: options as well as objects.
    pub fn invalid_of(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let subject = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let message = format!("{subject} \"{name}\" is invalid: {}", aggregate(errors));
        let causes = errors
            .iter()
            .map(|error| json!({"reason": error.kind.reason(), "message": error.message, "field": error.field}))
            .collect();
        let (group, kind) = (group.to_owned(), kind.to_owned());
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).about(Details {
            name: name.to_owned(),
            group,
            kind,
            causes,
            ..Details::default()
        })
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// 403 for an act on an object or a kind.
    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let subject = kind.resource();
        let message = match name {
            "" => format!("{subject} is forbidden: {why}"),
            name => format!("{subject} \"{name}\" is forbidden: {why}"),
        };
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(Details::of(kind, name))
    }

    /// 409 for a pod that cannot be given a node.
    pub fn bound(name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on pods/binding \"{name}\": {why}");
        let (name, kind) = (name.to_owned(), "pods/binding".to_owned());
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(Details { name, kind, ..Details::default() })
    }

    /// 403 for a caller whose role does not cover what it asks.
    pub fn no_access(user: &str, ask: &Ask) -> Self {
        let place = match ask.namespace.as_str() {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        let why = format!(
            "User \"{user}\" cannot {} resource \"{}\" in API group \"{}\" {place}",
            ask.verb,
            ask.path(),
            ask.group
        );
        let subject = match ask.group.as_str() {
            "" => ask.resource.clone(),
            group => format!("{}.{group}", ask.resource),
        };
        let name = if ask.name.is_empty() { String::new() } else { format!(" \"{}\"", ask.name) };
        let (name_only, group, kind) = (ask.name.clone(), ask.group.clone(), ask.resource.clone());
        Self::new(StatusCode::FORBIDDEN, "Forbidden", format!("{subject}{name} is forbidden: {why}")).about(Details {
            name: name_only,
            group,
            kind,
            ..Details::default()
        })
    }

    /// 403 for a page that a caller may not read.
    pub fn no_path_access(user: &str, verb: &str, path: &str) -> Self {
        let message = format!("forbidden: User \"{user}\" cannot {verb} path \"{path}\"");
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(Details::default())
    }

    /// 403 for a caller who may not be taken for another.
    pub fn impersonation(user: &str, other: &str) -> Self {
        let why =
            format!("User \"{user}\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope");
        Self::new(StatusCode::FORBIDDEN, "Forbidden", format!("users \"{other}\" is forbidden: {why}")).about(Details {
            name: other.to_owned(),
            kind: "users".to_owned(),
            ..Details::default()
        })
    }

    /// 403 for a create in a namespace that is going.
    pub fn namespace_terminating(kind: &Kind, name: &str, namespace: &str) -> Self {
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut problem = Self::forbidden(kind, name, &why);
        if let Some(details) = &mut problem.details {
            details.causes.push(json!({
                "reason": "NamespaceTerminating",
                "message": format!("namespace {namespace} is being terminated"),
                "field": "metadata.namespace",
            }));
        }
        problem
    }

    /// 403 for a caller that is not let in at all (a foreign `Host` or `Origin`).
    pub fn refused_caller(why: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", why)
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).about(Details::default())
    }

    /// 406, naming what would be acceptable.
    pub fn not_acceptable(accepted: &str) -> Self {
        let message = format!("only the following media types are accepted: {accepted}");
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 415, naming what would be supported.
    pub fn unsupported_media(accepted: &str) -> Self {
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// 413.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// 410 for a revision that the change log no longer has.
    pub fn too_old(asked: u64, oldest: u64) -> Self {
        Self::new(StatusCode::GONE, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// 410 for a `continue` token whose snapshot is gone; `token` goes on with the list as it is now.
    pub fn expired_continue(token: String) -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You can start a \
                       new list without the continue parameter, or use the continue token in this response to retrieve \
                       the remainder of the results. Continuing with the provided token results in an inconsistent \
                       list - objects that were created, modified, or deleted between the time the first chunk was \
                       returned and now may show up in the list.";
        Self { token: Some(token), ..Self::new(StatusCode::GONE, "Expired", message) }
    }

    /// 504 for a revision that lies in the future.
    pub fn too_new(asked: u64, newest: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {newest}");
        let causes = vec![json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"})];
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message).about(Details {
            causes,
            retry_after: Some(1),
            ..Details::default()
        })
    }

    /// 504 for a request that took too long.
    pub fn timeout() -> Self {
        let message = "Timeout: request did not complete within the allotted timeout";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message).about(Details::default())
    }

    /// 429: too many at once.
    pub fn too_many_requests() -> Self {
        let message = "too many requests, please try again later";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
            .about(Details { retry_after: Some(1), ..Details::default() })
    }

    /// 503: shutting down.
    pub fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "jobdock is shutting down")
            .about(Details { retry_after: Some(1), ..Details::default() })
    }

    /// 501 for a part of the API that jobdock does not have.
    pub fn not_implemented(what: &str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", format!("{what} is not implemented by jobdock"))
    }

    /// 422 for a patch that does not fit its object.
    fn patch_does_not_fit() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).about(Details::default())
    }

    /// 500 whose message upstream sends without a reason.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "", message)
    }

    /// 500.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        let message = error.to_string();
        let causes = vec![json!({"message": message})];
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", format!("Internal error occurred: {message}"))
            .about(Details { causes, ..Details::default() })
    }

    /// Whether what the request was about is not there.
    pub fn is_not_found(&self) -> bool {
        self.code == StatusCode::NOT_FOUND
    }

    /// Whether the server itself is at fault, which is worth a log line.
    pub fn is_internal(&self) -> bool {
        self.code == StatusCode::INTERNAL_SERVER_ERROR
    }

    /// What happened, in words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The `Status` object.
    pub fn status(&self) -> Value {
        let metadata = self.token.as_ref().map_or_else(|| json!({}), |token| json!({"continue": token}));
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.message,
            "code": self.code.as_u16(),
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            status["details"] = details.json();
        }
        status
    }
}

impl Details {
    fn json(&self) -> Value {
        let mut out = serde_json::Map::new();
        let texts = [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)];
        for (field, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            out.insert(field.to_owned(), json!(text));
        }
        if !self.causes.is_empty() {
            out.insert("causes".to_owned(), json!(self.causes));
        }
        if let Some(seconds) = self.retry_after {
            out.insert("retryAfterSeconds".to_owned(), json!(seconds));
        }
        Value::Object(out)
    }
}

/// Parity: an aggregate of one error is that error, of several it is a bracketed list without repetitions.
fn aggregate(errors: &[FieldError]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for error in errors {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [] => "<nil>".to_owned(),
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

impl Problem {
    /// The answer, indented for a person.
    pub fn respond(self, pretty: bool) -> Response {
        if self.is_internal() {
            tracing::error!(message = self.message, "request failed");
        }
        let status = self.status();
        let body = if pretty { format!("{status:#}") } else { status.to_string() };
        let mut response = (self.code, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if let Some(seconds) = self.details.as_ref().and_then(|details| details.retry_after) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.respond(false)
    }
}

/// A refusal in the words of a kubelet, which sends no `Status` but a plain text.
#[derive(Debug)]
pub struct Spoken {
    code: StatusCode,
    text: String,
}

impl Spoken {
    /// 400: the request asks for what cannot be meant.
    pub fn senseless(text: impl Into<String>) -> Self {
        Self { code: StatusCode::BAD_REQUEST, text: text.into() }
    }

    /// 403: none of the protocols that the client speaks is known here.
    pub fn unknown_protocol(text: impl Into<String>) -> Self {
        Self { code: StatusCode::FORBIDDEN, text: text.into() }
    }

    /// 500: there is nothing here that could do it.
    pub fn impossible(text: impl Into<String>) -> Self {
        Self { code: StatusCode::INTERNAL_SERVER_ERROR, text: text.into() }
    }
}

impl IntoResponse for Spoken {
    fn into_response(self) -> Response {
        let body = format!("{}\n", self.text);
        (self.code, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
    }
}

impl From<PatchError> for Problem {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::Malformed(why) => Self::bad_request(why),
            // Parity: the answer does not say why.
            PatchError::Inapplicable(_) => Self::patch_does_not_fit(),
            PatchError::TooLong(_) => Self::too_large(format!("Request entity too large: {error}")),
            PatchError::Unmergeable(why) => Self::unknown(why),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.message();
        match refusal {
            Refusal::BadRequest(_) => Self::bad_request(message),
            Refusal::Internal(_) => Self::unknown(message),
            Refusal::Contested { causes, .. } => {
                let causes = causes.iter().map(
                    |cause| json!({"reason": "FieldManagerConflict", "message": cause.message, "field": cause.field}),
                );
                let details = Details { causes: causes.collect(), ..Details::default() };
                Self::new(StatusCode::CONFLICT, "Conflict", message).about(details)
            }
            Refusal::Invalid { group, kind, name, causes } => {
                let problem = Self::invalid_of(&group, &kind, &name, &causes);
                Self { message, ..problem }
            }
            Refusal::Forbidden { resource, name, .. } => Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
                .about(Details { name, kind: resource, ..Details::default() }),
            Refusal::Conflict { resource, name, .. } => {
                let (kind, group) = resource.split_once('.').unwrap_or((&resource, ""));
                let (kind, group) = (kind.to_owned(), group.to_owned());
                Self::new(StatusCode::CONFLICT, "Conflict", message).about(Details {
                    name,
                    group,
                    kind,
                    ..Details::default()
                })
            }
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Conflict { key, .. } => Self::modified(key.kind, &key.name),
            store::Error::NotFound(key) => Self::not_found(key.kind, &key.name),
            store::Error::AlreadyExists(key) => Self::already_exists(key.kind, &key.name),
            store::Error::Compacted(asked, oldest) => Self::too_old(asked, oldest),
            store::Error::Closed => Self::stopping(),
            full if full.is_full() => Self::internal("the disk of the data directory is full"),
            store::Error::Database(_)
            | store::Error::Io(_)
            | store::Error::Damaged(..)
            | store::Error::Unreadable { .. } => {
                let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
                Self::internal(causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")))
            }
        }
    }
}
