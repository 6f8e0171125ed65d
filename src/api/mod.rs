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

pub mod access;
pub mod account_token;
pub mod accounts;
pub mod call;
pub mod caller;
pub mod columns;
pub mod compress;
pub mod discovery;
pub mod duration;
pub mod encode;
pub mod error;
pub mod evict;
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
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use k8s_openapi::api::core::v1::Namespace;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::access::Ask;
use self::accounts::Accounts;
use self::call::Call;
use self::caller::Caller;
use self::error::Problem;
use self::meter::Meter;
use self::query::Params;
use self::route::{Place, Target};
use crate::model::admit::Part;
use crate::model::object::Key;
use crate::runtime::Runtime;
use crate::store::Store;
use crate::token;

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
    accounts: Accounts,
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
        let accounts = Accounts::new(store.clone());
        Self { store, stop, requests, streams, limits, accounts, runtime: None, conversations: TaskTracker::new() }
    }

    /// The same, where these tokens are known.
    #[must_use]
    pub fn with_accounts(self, accounts: Accounts) -> Self {
        Self { accounts, ..self }
    }

    /// The same API, with what runs its pods.
    #[must_use]
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
    let (parts, body) = request.into_parts();
    let params = Params::parse(parts.uri.query());
    let pretty = call::pretty(&parts.headers, &params);
    let mut response = match answer(&state, parts, params, body).await {
        Ok(response) => response,
        Err(problem) => problem.respond(pretty),
    };
    meter.end(response.status());
    // Parity: nothing is to be kept by caches, unless it says so itself.
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    response
}

async fn answer(state: &ApiState, mut parts: Parts, params: Params, body: Body) -> Result<Response, Problem> {
    // Nobody guards the socket but its file mode: whoever can open it may do everything.
    let caller = parts.extensions.get::<Caller>().cloned().unwrap_or_else(Caller::admin);
    let caller = caller.impersonating(&parts.headers)?;
    let Some(segments) = route::segments(parts.uri.path()) else { return Ok(no_page()) };
    match route::parse(&segments) {
        Some(Place::Resource(target)) => {
            let upgrade = parts.extensions.remove();
            let call = Call { method: parts.method, target, params, headers: parts.headers, upgrade };
            allowed(&caller, &call)?;
            resource(state, call, body).await
        }
        Some(Place::Virtual(group, version, plural, namespace)) => {
            if discovery::is_custom_kinds(&group, &version, &plural) {
                allowed_path(&caller, &parts.method, parts.uri.path())?;
                reading(&parts.method)?;
                return call::encoder(&parts.headers, &params)?.value(StatusCode::OK, &discovery::no_custom_kinds());
            }
            let Some(review) = review::find(&group, &version, &plural, &namespace) else { return Ok(no_page()) };
            let body = call::read_body(body, state.limits.body).await?;
            let (method, headers, params) = (&parts.method, &parts.headers, &params);
            let call = review::Call { method, headers, params, caller: &caller, namespace: &namespace };
            review::create(&state.accounts, review, call, body)
        }
        Some(place) => {
            allowed_path(&caller, &parts.method, parts.uri.path())?;
            reading(&parts.method)?;
            Ok(discover(&parts.headers, &params, &place)?.unwrap_or_else(no_page))
        }
        None => {
            allowed_path(&caller, &parts.method, parts.uri.path())?;
            reading(&parts.method)?;
            let answer = page(state, &parts.headers, &params, &segments)?;
            Ok(compress::compress(compress::accepts_gzip(&parts.headers), answer).await)
        }
    }
}

/// Whether the caller's role covers what is asked of a kind's objects.
fn allowed(caller: &Caller, call: &Call) -> Result<(), Problem> {
    let Target { kind, namespace, name, subresource, .. } = &call.target;
    let verb = match (&call.method, name.is_empty()) {
        (&Method::GET | &Method::HEAD, _) if call.wants_watch() => "watch",
        (&Method::GET | &Method::HEAD, true) => "list",
        (&Method::GET | &Method::HEAD, false) => "get",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, true) => "deletecollection",
        (&Method::DELETE, false) => "delete",
        (other, _) => other.as_str(),
    };
    // Parity: a namespace lies in itself.
    let namespace = if kind.kind == "Namespace" { name } else { namespace };
    let [verb, group, resource] = [verb, kind.group, kind.plural].map(str::to_owned);
    let (subresource, namespace, name) = (subresource.clone(), namespace.clone(), name.clone());
    let ask = Ask { verb, group, resource, subresource, namespace, name };
    if access::allows(caller, &ask) { Ok(()) } else { Err(Problem::no_access(&caller.name, &ask)) }
}

/// Whether the caller may read a page that is no resource; health and version are for everybody.
fn allowed_path(caller: &Caller, method: &Method, path: &str) -> Result<(), Problem> {
    let verb = if method == Method::GET { "get".to_owned() } else { method.as_str().to_lowercase() };
    if guard::is_public(path) || access::allows_path(caller, &verb, path) {
        return Ok(());
    }
    Err(Problem::no_path_access(&caller.name, &verb, path))
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
        ["openapi", "v2"] if negotiate::accepts_openapi_protobuf(call::text(headers, header::ACCEPT)) => {
            return specification(headers, openapi::v2(), params, negotiate::OPENAPI_PROTOBUF, openapi::v2_protobuf());
        }
        ["openapi", "v2"] => return document(headers, openapi::v2(), params),
        [".well-known", "openid-configuration"] => token::discovery(),
        ["openid", "v1", "jwks"] => match state.accounts.signer() {
            Some(signer) => signer.keys(),
            None => return Ok(no_page()),
        },
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
    negotiate::accept(call::text(headers, header::ACCEPT))?;
    specification(headers, document, params, "application/json", document.json.clone())
}

/// A document in one of its forms, unless the client has it.
fn specification(
    headers: &HeaderMap,
    document: &openapi::Document,
    params: &Params,
    media: &'static str,
    body: bytes::Bytes,
) -> Result<Response, Problem> {
    let tag = format!("\"{}\"", document.hash);
    if call::text(headers, header::IF_NONE_MATCH) == Some(&tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let mut response = (StatusCode::OK, [(header::CONTENT_TYPE, media)], body).into_response();
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
    Evict,
    Bind,
    Token,
    Stream(stream::Kind),
}

fn verb(call: &Call) -> Result<Verb, Problem> {
    let Target { kind, namespace, name, subresource, .. } = &call.target;
    let part = match subresource.as_str() {
        "" => Part::Main,
        "status" if kind.status => Part::Status,
        "finalize" if kind.kind == "Namespace" && call.method == Method::PUT => {
            return Ok(Verb::Update(Part::Finalizers));
        }
        "resize" if kind.kind == "Pod" => Part::Resize,
        "eviction" | "binding" | "token" if call.method != Method::POST => return not_allowed(),
        "eviction" if kind.kind == "Pod" => return Ok(Verb::Evict),
        "binding" if kind.kind == "Pod" => return Ok(Verb::Bind),
        "token" if account_token::is_of(kind) => return Ok(Verb::Token),
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
        (&Method::GET, false) if call.target.watch && main => Ok(Verb::Watch),
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
        Verb::Watch => {
            let answer = watch::watch(state, &call, place(&state.streams).await?).await?;
            Ok(stream::one_way::events(&mut call, &state.conversations, answer).await)
        }
        Verb::Log => {
            let answer = log::log(state, &call, place(&state.streams).await?).await?;
            Ok(stream::one_way::bytes(&mut call, &state.conversations, answer).await)
        }
        Verb::Stream(kind) => stream::connect(state, &mut call, kind, place(&state.streams).await?).await,
        Verb::Get
        | Verb::List
        | Verb::Create
        | Verb::Update(_)
        | Verb::Patch(_)
        | Verb::Delete
        | Verb::DeleteCollection
        | Verb::Evict
        | Verb::Bind
        | Verb::Token => {
            let _place = place(&state.requests).await?;
            // Parity: only what is read is compressed.
            let gzip = call.method == Method::GET && compress::accepts_gzip(&call.headers);
            let act = async { Ok(compress::compress(gzip, act(state, &call, verb, body).await?).await) };
            tokio::time::timeout(REQUEST_TIMEOUT, act).await.unwrap_or_else(|_| Err(Problem::timeout()))
        }
    }
}

async fn act(state: &ApiState, call: &Call, verb: Verb, body: Body) -> Result<Response, Problem> {
    let body = call::read_body(body, state.limits.body);
    match verb {
        Verb::Get => read::get(state, call).await,
        Verb::List => read::list(state, call).await,
        Verb::Create => write::create(state, call, body.await?).await,
        Verb::Update(part) => write::update(state, call, body.await?, part).await,
        Verb::Patch(part) => write::patch(state, call, body.await?, part).await,
        Verb::Delete => remove::delete(state, call, &body.await?).await,
        Verb::DeleteCollection => remove::collection(state, call, &body.await?).await,
        Verb::Evict => evict::evict(state, call, &body.await?).await,
        Verb::Bind => evict::bind(state, call, &body.await?).await,
        Verb::Token => account_token::create(state, call, &body.await?).await,
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
