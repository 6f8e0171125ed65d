//! Owns `get` and `list`: which revision an answer shows, pages and their tokens. Never changes anything.
//!
//! A list is written while it is read, page by page at one revision, so its size costs time but no memory.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::stream;
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ApiState;
use super::call::Call;
use super::encode::Encoder;
use super::error::Problem;
use super::negotiate::Format;
use super::pager::Pager;
use super::query::{self, ListOptions, Match};
use crate::model::object::Object;
use crate::store::{self, Store};

/// Where a list goes on. Opaque to clients.
#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    /// The revision of the list; none where its snapshot is gone and the rest is shown as it is now.
    rv: Option<u64>,
    ns: String,
    name: String,
}

const TOKEN_VERSION: &str = "jobdock/v1";

impl Token {
    fn after(object: &Object, rv: Option<u64>) -> Self {
        let key = object.key();
        Self { v: TOKEN_VERSION.to_owned(), rv, ns: key.namespace, name: key.name }
    }

    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn read(text: &str) -> Result<Self, Problem> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
        let token: Option<Self> = bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        token
            .filter(|token| token.v == TOKEN_VERSION)
            .ok_or_else(|| Problem::bad_request("continue key is not valid: it is not a token of this server"))
    }
}

/// `get`, of an object or of its status.
pub async fn get(state: &ApiState, call: &Call) -> Result<Response, Problem> {
    let encoder = call.encoder()?;
    check_not_newer(&state.store, query::revision(&call.params)?)?;
    let object = state.store.get(&call.key())?;
    let object = object.ok_or_else(|| Problem::not_found(call.kind(), &call.target.name))?;
    encoder.object(StatusCode::OK, &object)
}

/// `list`.
pub async fn list(state: &ApiState, call: &Call) -> Result<Response, Problem> {
    let encoder = call.encoder()?;
    let Page { metadata, found, rest } = page(&state.store, call).await?;
    answer(&encoder, call, metadata, found, rest).await
}

/// What a list begins with.
pub(super) struct Page {
    /// The list's metadata; with a `limit`, where it goes on.
    pub metadata: Value,
    /// Its first objects, or all that a `limit` lets through.
    pub found: Vec<Object>,
    /// Whatever else belongs to the same answer.
    pub rest: Option<Pager>,
}

/// Reads as much as a call's `limit`, `continue` and `resourceVersion` ask for.
pub(super) async fn page(store: &Store, call: &Call) -> Result<Page, Problem> {
    let options = call.list_options()?;
    let selective = !call.filter()?.is_empty();
    let (mut pager, token) = start(store, call, &options)?;
    let mut found = Vec::new();
    // One more than asked for shows whether there is more that matches.
    let wanted = options.limit.map(|limit| limit.saturating_add(1));
    loop {
        let missing = if selective { None } else { wanted.map(|wanted| wanted - found.len()) };
        found.extend(pager.next(missing).await.map_err(|error| expired(error, token.as_ref()))?);
        if pager.is_done() || wanted.is_none_or(|wanted| found.len() >= wanted) {
            break;
        }
    }
    let mut metadata = json!({"resourceVersion": pager.revision().to_string()});
    if let Some(limit) = options.limit {
        if found.len() > limit {
            let left = pager.remaining() + (found.len() - limit) as u64;
            found.truncate(limit);
            add_rest(&mut metadata, &found, pager.revision(), (!selective).then_some(left));
        }
        return Ok(Page { metadata, found, rest: None });
    }
    Ok(Page { metadata, found, rest: Some(pager) })
}

/// Where the list starts, and the token that says so.
fn start(store: &Store, call: &Call, options: &ListOptions) -> Result<(Pager, Option<Token>), Problem> {
    let filter = call.filter()?;
    let Some(text) = &options.token else {
        check_not_newer(store, options.revision)?;
        return Ok((Pager::new(store, call, filter, exact(options)), None));
    };
    if options.revision.is_some_and(|revision| revision != 0) {
        return Err(Problem::bad_request("specifying resource version is not allowed when using continue"));
    }
    let token = Token::read(text)?;
    let mut pager = Pager::new(store, call, filter, token.rv);
    pager.start_after(token.ns.clone(), token.name.clone());
    Ok((pager, Some(token)))
}

/// The revision that must be shown exactly. Parity: with a limit, a revision without a match is exact.
fn exact(options: &ListOptions) -> Option<u64> {
    let revision = options.revision.filter(|revision| *revision != 0)?;
    match options.matching {
        Some(Match::Exact) => Some(revision),
        Some(Match::NotOlderThan) => None,
        None => options.limit.map(|_| revision),
    }
}

/// Refuses a revision that has not happened yet.
pub fn check_not_newer(store: &Store, revision: Option<u64>) -> Result<(), Problem> {
    let newest = store.revision();
    match revision {
        Some(asked) if asked > newest => Err(Problem::too_new(asked, newest)),
        Some(_) | None => Ok(()),
    }
}

fn expired(error: store::Error, token: Option<&Token>) -> Problem {
    match (error, token) {
        (store::Error::Compacted(..), Some(Token { ns, name, .. })) => {
            let token = Token { v: TOKEN_VERSION.to_owned(), rv: None, ns: ns.clone(), name: name.clone() };
            Problem::expired_continue(token.write())
        }
        (error, _) => error.into(),
    }
}

fn add_rest(metadata: &mut Value, found: &[Object], revision: u64, left: Option<u64>) {
    if let Some(last) = found.last() {
        metadata["continue"] = json!(Token::after(last, Some(revision)).write());
    }
    // Parity: with a selector the number is not known.
    if let Some(left) = left {
        metadata["remainingItemCount"] = json!(left);
    }
}

/// Writes the objects that were found, then whatever the pager still has.
async fn answer(
    encoder: &Encoder,
    call: &Call,
    metadata: Value,
    found: Vec<Object>,
    rest: Option<Pager>,
) -> Result<Response, Problem> {
    let start = encoder.list_start(call.kind(), metadata);
    let rest = rest.filter(|pager| !pager.is_done());
    if encoder.answer.format == Format::Json && !encoder.pretty {
        let first = write_items(encoder, start.into_bytes(), &found, true);
        let Some(pager) = rest else {
            return Ok(json_body(Body::from(Bytes::from([first, Encoder::END.as_bytes().to_vec()].concat()))));
        };
        let writing = Writing { encoder: encoder.clone(), pager, any: !found.is_empty(), ready: Some(first.into()) };
        return Ok(json_body(Body::from_stream(stream::try_unfold(Some(writing), write_on))));
    }
    // YAML and indented JSON are for people: they are made whole.
    let mut all = found;
    if let Some(mut pager) = rest {
        while !pager.is_done() {
            all.extend(pager.next(None).await?);
        }
    }
    let text = [write_items(encoder, start.into_bytes(), &all, true), Encoder::END.as_bytes().to_vec()].concat();
    encoder.value(StatusCode::OK, &serde_json::from_slice(&text).map_err(Problem::internal)?)
}

fn json_body(body: Body) -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn write_items(encoder: &Encoder, mut out: Vec<u8>, objects: &[Object], mut first: bool) -> Vec<u8> {
    for object in objects {
        if !first {
            out.push(b',');
        }
        first = false;
        out.extend_from_slice(&encoder.item(object));
    }
    out
}

/// A list that is being written.
struct Writing {
    encoder: Encoder,
    pager: Pager,
    any: bool,
    ready: Option<Bytes>,
}

/// The next piece. An error ends the body early, which clients notice: the JSON is not closed.
async fn write_on(state: Option<Writing>) -> Result<Option<(Bytes, Option<Writing>)>, store::Error> {
    let Some(mut writing) = state else { return Ok(None) };
    if let Some(ready) = writing.ready.take() {
        return Ok(Some((ready, Some(writing))));
    }
    if writing.pager.is_done() {
        return Ok(Some((Bytes::from_static(Encoder::END.as_bytes()), None)));
    }
    let page = writing.pager.next(None).await?;
    let piece = write_items(&writing.encoder, Vec::new(), &page, !writing.any);
    writing.any |= !page.is_empty();
    Ok(Some((piece.into(), Some(writing))))
}
