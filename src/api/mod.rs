//! The Kubernetes HTTP API over the store.
//!
//! Owns how requests become reads, watches and one-object commits, and how those are answered: one generic handler,
//! driven by the table of kinds. Never decides what a Job or a pod does: controllers read what is stored here.
//!
//! ```text
//!  serve (listeners, TLS) -> guard (who, Host, Origin) -> handle: limits -> route -> verb
//!                                                                                    |
//!     read: get, list     watch     write: create, update, patch     remove: delete, deletecollection     log     stream
//!        \________________________________________|___________________________/
//!                                     encode (JSON, YAML, Table, metadata only)
//! ```

pub mod admission;
pub mod call;
pub mod columns;
pub mod discovery;
pub mod duration;
pub mod encode;
pub mod error;
pub mod guard;
pub mod health;
pub mod limits;
pub mod log;
pub mod meter;
pub mod negotiate;
pub mod openapi;
pub mod pager;
pub mod pki;
pub mod protobuf;
pub mod query;
pub mod read;
pub mod remove;
pub mod review;
pub mod route;
pub mod serve;
pub mod stream;
pub mod table;
pub mod watch;
pub mod write;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use k8s_openapi::api::core::v1::Namespace;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::call::Call;
use self::error::Problem;
use self::meter::Meter;
use self::negotiate::Format;
use self::query::Params;
use self::route::{Place, Target};
use crate::model::admit::Part;
use crate::model::object::Key;
use crate::runtime::Runtime;
use crate::store::Store;

pub use self::limits::Limits;
pub use self::pki::kubeconfig;
pub use self::serve::{Listeners, serve};

/// How long a request waits for a place before it is told to come back.
const PLACE_WAIT: Duration = Duration::from_secs(5);
/// How long a request may take, streams aside. Parity: `--request-timeout`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What every request needs; clones share it.
#[derive(Clone)]
pub struct ApiState {
    store: Store,
    /// Ends watches and followed logs when the daemon stops.
    stop: CancellationToken,
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    limits: Limits,
    /// What runs pods here, for conversations with their processes; none where nothing does.
    runtime: Option<Arc<dyn Runtime>>,
    /// Conversations outlive the requests that began them.
    conversations: TaskTracker,
}

impl ApiState {
    /// The API over this store; `stop` ends its streams.
    pub fn new(store: Store, stop: CancellationToken) -> Self {
        Self::limited(store, stop, Limits::default())
    }

    /// [`ApiState::new`] with other limits.
    pub fn limited(store: Store, stop: CancellationToken, limits: Limits) -> Self {
        let places = |number| Arc::new(Semaphore::new(number));
        let (requests, streams) = (places(limits.requests), places(limits.streams));
        Self { store, stop, requests, streams, limits, runtime: None, conversations: TaskTracker::new() }
    }

    /// The same API, with what runs its pods.
    pub fn with_runtime(self, runtime: Option<Arc<dyn Runtime>>) -> Self {
        Self { runtime, ..self }
    }
}

/// The API without any question about who is calling: for the unix socket, which only its owner can open, and for tests.
pub fn app(state: ApiState) -> Router {
    Router::new().fallback(handle).with_state(state)
}

async fn handle(State(state): State<ApiState>, request: Request) -> Response {
    let meter = Meter::begin(request.method(), request.uri());
    let mut response = match answer(&state, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    meter.end(response.status());
    // Parity: nothing is to be kept by caches, unless it says so itself.
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    response
}

async fn answer(state: &ApiState, request: Request) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let params = Params::parse(parts.uri.query());
    let Some(segments) = route::segments(parts.uri.path()) else { return Ok(no_page()) };
    match route::parse(&segments) {
        Some(Place::Resource(target)) => {
            let upgrade = parts.extensions.remove();
            let call = Call { method: parts.method, target, params, headers: parts.headers, upgrade };
            resource(state, call, body).await
        }
        Some(Place::Virtual(group, version, plural)) => {
            let body = call::read_body(body, state.limits.body).await?;
            review(&parts.method, &parts.headers, &params, (&group, &version, &plural), body)
        }
        Some(place) => {
            reading(&parts.method)?;
            Ok(discover(&parts.headers, &params, &place)?.unwrap_or_else(no_page))
        }
        None => {
            reading(&parts.method)?;
            page(state, &parts.headers, &params, &segments)
        }
    }
}

/// What cannot be changed answers only to reads.
fn reading(method: &Method) -> Result<(), Problem> {
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Problem::method_not_allowed()),
    }
}

/// Parity: a path that leads nowhere is answered in plain text.
fn no_page() -> Response {
    let text = "404 page not found\n";
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// Pages outside of `/api` and `/apis`.
fn page(state: &ApiState, headers: &HeaderMap, params: &Params, segments: &[String]) -> Result<Response, Problem> {
    if let Some((endpoint, only)) = health::endpoint(segments) {
        let answers = state.store.get(&Key::of::<Namespace>("", "default")).is_ok();
        return Ok(health::answer(endpoint, only, params, answers));
    }
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let value = match segments.as_slice() {
        [] => discovery::root_paths(),
        ["version"] => health::version(),
        ["metrics"] => return Ok(meter::page_of_all(state.limits.streams - state.streams.available_permits())),
        ["openapi", "v2"] => return document(headers, openapi::v2(), params),
        ["openapi", "v3"] => openapi::index(),
        ["openapi", "v3", rest @ ..] => match openapi::v3(&rest.join("/")) {
            Some(found) => return document(headers, found, params),
            None => return Ok(no_page()),
        },
        _ => return Ok(no_page()),
    };
    call::encoder(headers, params)?.value(StatusCode::OK, &value)
}

fn document(headers: &HeaderMap, document: &openapi::Document, params: &Params) -> Result<Response, Problem> {
    let asked = call::text(headers, header::ACCEPT);
    negotiate::accept(asked)?;
    let tag = format!("\"{}\"", document.hash);
    if call::text(headers, header::IF_NONE_MATCH) == Some(&tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let mut response = encode::respond(StatusCode::OK, Format::Json, document.json.clone());
    let headers = response.headers_mut();
    headers.insert(header::ETAG, HeaderValue::from_str(&tag).map_err(Problem::internal)?);
    if params.text("hash") == Some(&document.hash) {
        // The address holds the hash: what it names never changes.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable, max-age=31536000"));
    }
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

fn discover(headers: &HeaderMap, params: &Params, place: &Place) -> Result<Option<Response>, Problem> {
    let aggregated = negotiate::accept_discovery(call::text(headers, header::ACCEPT));
    let value = match (place, aggregated) {
        (Place::CoreVersions | Place::Groups, Some(version)) => {
            let core = matches!(place, Place::CoreVersions);
            let body = discovery::aggregated(core, version).to_string();
            let media = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
            return Ok(Some((StatusCode::OK, [(header::CONTENT_TYPE, media)], body).into_response()));
        }
        (Place::CoreVersions, None) => {
            Some(discovery::core_versions(call::text(headers, header::HOST).unwrap_or_default()))
        }
        (Place::Groups, None) => Some(discovery::group_list()),
        (Place::Group(name), _) => discovery::group(name),
        (Place::Version(group, version), _) => discovery::resource_list(group, version),
        (Place::Resource(_) | Place::Virtual(..), _) => None,
    };
    value.map(|value| call::encoder(headers, params)?.value(StatusCode::OK, &value)).transpose()
}

/// Reviews: created, answered, forgotten.
fn review(
    method: &Method,
    headers: &HeaderMap,
    params: &Params,
    (group, version, plural): (&str, &str, &str),
    body: Bytes,
) -> Result<Response, Problem> {
    let known = discovery::REVIEWS
        .iter()
        .find(|review| review.group == group && review.version == version && review.plural == plural);
    let Some(known) = known else { return Ok(no_page()) };
    if method != Method::POST {
        return Err(Problem::method_not_allowed());
    }
    let sent = call::tree(headers, body)?;
    let answer = review::answer(known.kind, &format!("{group}/{version}"), sent)?;
    call::encoder(headers, params)?.value(StatusCode::CREATED, &answer)
}

/// What a request about a kind's objects wants.
enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update(Part),
    Patch(Part),
    Delete,
    DeleteCollection,
    Log,
    Stream(stream::Kind),
}

fn verb(call: &Call) -> Result<Verb, Problem> {
    let Target { kind, namespace, name, subresource, .. } = &call.target;
    let part = match subresource.as_str() {
        "" => Part::Main,
        "status" if kind.status => Part::Status,
        "log" if kind.kind == "Pod" => return if call.method == Method::GET { Ok(Verb::Log) } else { not_allowed() },
        "exec" if kind.kind == "Pod" => return streaming(call, stream::Kind::Exec),
        "attach" if kind.kind == "Pod" => return streaming(call, stream::Kind::Attach),
        "portforward" if kind.kind == "Pod" => return streaming(call, stream::Kind::PortForward),
        _ => return Err(Problem::no_path()),
    };
    let main = part == Part::Main;
    // Writes to a collection need to know its namespace.
    let placed = !kind.namespaced || !namespace.is_empty();
    match (&call.method, name.is_empty()) {
        (&Method::GET, true) if call.wants_watch() => Ok(Verb::Watch),
        (&Method::GET, true) => Ok(Verb::List),
        (&Method::GET, false) => Ok(Verb::Get),
        (&Method::POST, true) if placed => Ok(Verb::Create),
        (&Method::DELETE, true) if placed && discovery::verbs(kind).contains(&"deletecollection") => {
            Ok(Verb::DeleteCollection)
        }
        (&Method::PUT, false) => Ok(Verb::Update(part)),
        (&Method::PATCH, false) => Ok(Verb::Patch(part)),
        (&Method::DELETE, false) if main => Ok(Verb::Delete),
        _ => not_allowed(),
    }
}

/// Parity: clients may POST, which browsers' WebSockets cannot.
fn streaming(call: &Call, kind: stream::Kind) -> Result<Verb, Problem> {
    match call.method {
        Method::GET | Method::POST => Ok(Verb::Stream(kind)),
        _ => not_allowed(),
    }
}

fn not_allowed() -> Result<Verb, Problem> {
    Err(Problem::method_not_allowed())
}

async fn resource(state: &ApiState, mut call: Call, body: Body) -> Result<Response, Problem> {
    let verb = verb(&call)?;
    match verb {
        Verb::Watch => watch::watch(state, &call, place(&state.streams).await?).await,
        Verb::Log => log::log(state, &call, place(&state.streams).await?).await,
        Verb::Stream(kind) => stream::connect(state, &mut call, kind, place(&state.streams).await?).await,
        Verb::Get
        | Verb::List
        | Verb::Create
        | Verb::Update(_)
        | Verb::Patch(_)
        | Verb::Delete
        | Verb::DeleteCollection => {
            let _place = place(&state.requests).await?;
            let act = act(state, &call, verb, body);
            tokio::time::timeout(REQUEST_TIMEOUT, act).await.unwrap_or_else(|_| Err(Problem::timeout()))
        }
    }
}

async fn act(state: &ApiState, call: &Call, verb: Verb, body: Body) -> Result<Response, Problem> {
    match verb {
        Verb::Get => read::get(state, call).await,
        Verb::List => read::list(state, call).await,
        Verb::Create => write::create(state, call, call::read_body(body, state.limits.body).await?).await,
        Verb::Update(part) => write::update(state, call, call::read_body(body, state.limits.body).await?, part).await,
        Verb::Patch(part) => write::patch(state, call, call::read_body(body, state.limits.body).await?, part).await,
        Verb::Delete => remove::delete(state, call, &call::read_body(body, state.limits.body).await?).await,
        Verb::DeleteCollection => {
            remove::collection(state, call, &call::read_body(body, state.limits.body).await?).await
        }
        // Streams are begun by `resource`, which gives them another kind of place.
        Verb::Watch | Verb::Log | Verb::Stream(_) => Err(Problem::method_not_allowed()),
    }
}

async fn place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    match tokio::time::timeout(PLACE_WAIT, Arc::clone(places).acquire_owned()).await {
        Ok(Ok(place)) => Ok(place),
        Ok(Err(_)) => Err(Problem::stopping()),
        Err(_) => Err(Problem::too_many_requests()),
    }
}
