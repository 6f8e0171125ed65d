//! Owns what can be done at which address, with which parameters: the operations of every kind and review, as data.
//! Never writes a document: `v2` and `v3` do, each in its form.

use serde_json::{Map, Value, json};

use super::super::discovery::{self, REVIEWS, Review};
use super::types;
use crate::model::kind::{KINDS, Kind};

/// One operation.
pub struct Operation {
    /// `get`, `post`, as documents spell methods.
    pub method: &'static str,
    /// Upstream's `operationId`: `readBatchV1NamespacedJob`.
    pub id: String,
    /// What it does, in words.
    pub description: String,
    /// Upstream's `x-kubernetes-action`: `get`, `list`, `post`.
    pub action: &'static str,
    /// Group, version and kind.
    pub subject: (&'static str, &'static str, &'static str),
    /// Query parameters.
    pub params: Vec<&'static Param>,
    /// Media types and type of the body.
    pub body: Option<(&'static [&'static str], String)>,
    /// The answers: code, words, type (none for plain text).
    pub answers: Vec<(&'static str, &'static str, Option<String>)>,
}

/// An address and what can be done there.
pub struct Path {
    /// With placeholders: `/apis/batch/v1/namespaces/{namespace}/jobs/{name}`.
    pub path: String,
    /// Placeholders in it.
    pub placeholders: Vec<&'static Param>,
    /// What can be done.
    pub operations: Vec<Operation>,
}

impl Path {
    /// The address as a document lists it; how a parameter (with its place) and an operation are written is the
    /// version's own matter.
    pub fn entry(&self, parameter: fn(&Param, &str) -> Value, operation: fn(&Operation) -> Value) -> Value {
        let mut entry = Map::new();
        if !self.placeholders.is_empty() {
            let placeholders: Vec<Value> = self.placeholders.iter().map(|param| parameter(param, "path")).collect();
            entry.insert("parameters".to_owned(), json!(placeholders));
        }
        entry.extend(self.operations.iter().map(|it| (it.method.to_owned(), operation(it))));
        Value::Object(entry)
    }
}

/// A parameter.
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// `string`, `integer` or `boolean`.
    pub kind: &'static str,
    /// What it does.
    pub about: &'static str,
}

const fn param(name: &'static str, kind: &'static str, about: &'static str) -> Param {
    Param { name, kind, about }
}

/// In every address of a namespaced kind.
static NAMESPACE: Param = param("namespace", "string", "object name and auth scope, such as for teams and projects");
/// In every address of one object.
static NAME: Param = param("name", "string", "name of the object");
static PRETTY: Param = param("pretty", "string", "If 'true', then the output is indented.");
static DRY_RUN: Param = param("dryRun", "string", "When All, nothing is persisted; all else happens.");
static MANAGER: Param = param("fieldManager", "string", "Name of the actor or entity that makes these changes.");
static VALIDATION: Param = param(
    "fieldValidation",
    "string",
    "What to do about unknown or duplicate fields: Ignore drops them, Warn (the default) drops them and warns, Strict \
     refuses the request.",
);
static FORCE: Param = param("force", "boolean", "Take over fields that another manager owns; for apply patches only.");

static LIST: [Param; 10] = [
    param("allowWatchBookmarks", "boolean", "Ask for watch events of type BOOKMARK."),
    param("continue", "string", "The token of the page before, to go on with the next one."),
    param("fieldSelector", "string", "Only objects whose fields match."),
    param("labelSelector", "string", "Only objects whose labels match."),
    param("limit", "integer", "Most objects of one answer."),
    param("resourceVersion", "string", "The revision from which a list or a watch is wanted."),
    param("resourceVersionMatch", "string", "How resourceVersion applies to a list: Exact or NotOlderThan."),
    param("sendInitialEvents", "boolean", "Begin a watch with the present state and an end bookmark."),
    param("timeoutSeconds", "integer", "End the list or watch after so many seconds."),
    param("watch", "boolean", "Watch for changes instead of listing."),
];
static DELETE: [Param; 3] = [
    param("gracePeriodSeconds", "integer", "Seconds before the object is removed; 0 removes it at once."),
    param("orphanDependents", "boolean", "Deprecated: see propagationPolicy."),
    param("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground."),
];
static LOG: [Param; 9] = [
    param("container", "string", "The container whose log is wanted; needed where the pod has several."),
    param("follow", "boolean", "Go on with what the container writes."),
    param("limitBytes", "integer", "At most so many bytes."),
    param("previous", "boolean", "The log of the container's previous run."),
    param("sinceSeconds", "integer", "Only what was written in the last so many seconds."),
    param("sinceTime", "string", "Only what was written since this RFC 3339 time."),
    param("stream", "string", "All, Stdout or Stderr."),
    param("tailLines", "integer", "Only the last so many lines."),
    param("timestamps", "boolean", "Begin each line with its time."),
];

static COMMAND: [Param; 1] = [param("command", "string", "A word of the command; repeated for each.")];
static STREAMS: [Param; 5] = [
    param("container", "string", "The container that is meant; needed where the pod has several."),
    param("stderr", "boolean", "Tell standard error."),
    param("stdin", "boolean", "Open standard input."),
    param("stdout", "boolean", "Tell standard output."),
    param("tty", "boolean", "Give the process a terminal."),
];
static PORTS: [Param; 1] = [param("ports", "integer", "A port; for WebSockets that are no tunnel.")];

const OBJECT_MEDIA: &[&str] = &["application/json", "application/yaml"];
const PATCH_MEDIA: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// `api/v1` or `apis/batch/v1`: where a group version lives.
pub fn root(group: &str, version: &str) -> String {
    match group {
        "" => format!("api/{version}"),
        group => format!("apis/{group}/{version}"),
    }
}

/// Every address of a group version.
pub fn paths(group: &str, version: &str) -> Vec<Path> {
    let kinds = KINDS.iter().filter(|kind| kind.group == group && kind.version == version);
    let reviews = REVIEWS.iter().filter(|review| review.group == group && review.version == version);
    kinds.flat_map(of_kind).chain(reviews.map(of_review)).collect()
}

fn of_kind(kind: &'static Kind) -> Vec<Path> {
    let root = root(kind.group, kind.version);
    let (scope, placeholders): (&str, Vec<&'static Param>) =
        if kind.namespaced { ("/namespaces/{namespace}", vec![&NAMESPACE]) } else { ("", Vec::new()) };
    let collection = format!("/{root}{scope}/{}", kind.plural);
    let mut named = placeholders.clone();
    named.push(&NAME);
    let mut all = vec![
        Path { path: collection.clone(), placeholders, operations: of_collection(kind) },
        Path { path: format!("{collection}/{{name}}"), placeholders: named.clone(), operations: of_object(kind, "") },
    ];
    if kind.namespaced {
        let everywhere = operation(kind, "get", "list", &format!("{}ForAllNamespaces", kind.kind), list_params())
            .answering("OK", types::list_name(kind));
        all.push(Path {
            path: format!("/{root}/{}", kind.plural),
            placeholders: Vec::new(),
            operations: vec![everywhere],
        });
    }
    for (name, body, verbs) in discovery::subresources(kind) {
        let operations = match name {
            _ if verbs == discovery::CONNECT => connect(kind, name),
            "status" => of_object(kind, "Status"),
            "log" => vec![log(kind)],
            "finalize" => of_object(kind, "Finalize").into_iter().filter(|it| it.method == "put").collect(),
            name => vec![post_to(kind, name, body)],
        };
        all.push(Path { path: format!("{collection}/{{name}}/{name}"), placeholders: named.clone(), operations });
    }
    all
}

fn list_params() -> Vec<&'static Param> {
    LIST.iter().chain([&PRETTY]).collect()
}

fn of_collection(kind: &'static Kind) -> Vec<Operation> {
    let what = scoped(kind, "");
    let object = types::name(kind);
    let mut create = operation(kind, "post", "create", &what, vec![&PRETTY, &DRY_RUN, &MANAGER, &VALIDATION])
        .taking(OBJECT_MEDIA, object.clone())
        .answering("OK", object.clone());
    create.answers.push(("201", "Created", Some(object.clone())));
    create.answers.push(("202", "Accepted", Some(object)));
    let mut all =
        vec![operation(kind, "get", "list", &what, list_params()).answering("OK", types::list_name(kind)), create];
    if discovery::verbs(kind).contains(&"deletecollection") {
        let params = LIST.iter().filter(|param| !param.name.to_lowercase().contains("watch"));
        let params = params.chain(&DELETE).chain([&DRY_RUN, &PRETTY]).collect();
        let collection = format!("Collection{what}");
        all.push(
            operation(kind, "delete", "deletecollection", &collection, params)
                .taking(OBJECT_MEDIA, types::DELETE_OPTIONS.to_owned())
                .answering("OK", types::STATUS.to_owned()),
        );
    }
    all
}

fn of_object(kind: &'static Kind, subresource: &str) -> Vec<Operation> {
    let what = scoped(kind, subresource);
    let object = types::name(kind);
    let write = vec![&PRETTY, &DRY_RUN, &MANAGER, &VALIDATION];
    let mut patch = write.clone();
    patch.push(&FORCE);
    let mut all = vec![
        operation(kind, "get", "read", &what, vec![&PRETTY]).answering("OK", object.clone()),
        operation(kind, "put", "replace", &what, write)
            .taking(OBJECT_MEDIA, object.clone())
            .answering("OK", object.clone()),
        operation(kind, "patch", "patch", &what, patch)
            .taking(PATCH_MEDIA, types::PATCH.to_owned())
            .answering("OK", object),
    ];
    if subresource.is_empty() {
        let params = DELETE.iter().chain([&DRY_RUN, &PRETTY]).collect();
        let mut delete = operation(kind, "delete", "delete", &what, params)
            .taking(OBJECT_MEDIA, types::DELETE_OPTIONS.to_owned())
            .answering("OK", types::STATUS.to_owned());
        delete.answers.push(("202", "Accepted", Some(types::STATUS.to_owned())));
        all.push(delete);
    }
    all
}

fn log(kind: &'static Kind) -> Operation {
    let params = LOG.iter().chain([&PRETTY]).collect();
    let mut log = operation(kind, "get", "read", &scoped(kind, "Log"), params);
    log.answers.push(("200", "OK", None));
    log
}

/// What is posted to a subresource: an eviction, a binding, a request for a token.
fn post_to(kind: &'static Kind, name: &str, body: &str) -> Operation {
    let capital = name[..1].to_uppercase() + &name[1..];
    let body = types::body_name(kind, body);
    let params = vec![&PRETTY, &DRY_RUN, &MANAGER, &VALIDATION];
    let mut create =
        operation(kind, "post", "create", &scoped(kind, &capital), params).taking(OBJECT_MEDIA, body.clone());
    create.answers.push(("201", "Created", Some(body)));
    create
}

/// What becomes a WebSocket or SPDY. Parity: `connectCoreV1GetNamespacedPodExec`.
fn connect(kind: &'static Kind, subresource: &str) -> Vec<Operation> {
    let (name, params): (&str, Vec<&'static Param>) = match subresource {
        "exec" => ("Exec", COMMAND.iter().chain(&STREAMS).collect()),
        "attach" => ("Attach", STREAMS.iter().collect()),
        _ => ("Portforward", PORTS.iter().collect()),
    };
    let one = |method: &'static str, verb: &str| {
        let what = format!("{verb}{}", scoped(kind, name));
        let mut connect = operation(kind, method, "connect", &what, params.clone());
        connect.answers.push(("200", "OK", None));
        connect
    };
    vec![one("get", "Get"), one("post", "Post")]
}

fn of_review(review: &'static Review) -> Path {
    let name = types::review_name(review);
    let create = Operation {
        method: "post",
        id: format!(
            "create{}{}{}",
            prefix(review.group, review.version),
            if review.namespaced { "Namespaced" } else { "" },
            review.kind
        ),
        description: format!("create a {}", review.kind),
        action: "post",
        subject: (review.group, review.version, review.kind),
        params: vec![&PRETTY, &DRY_RUN, &MANAGER, &VALIDATION],
        body: Some((OBJECT_MEDIA, name.clone())),
        answers: vec![("201", "Created", Some(name))],
    };
    let root = root(review.group, review.version);
    let (scope, placeholders) =
        if review.namespaced { ("/namespaces/{namespace}", vec![&NAMESPACE]) } else { ("", Vec::new()) };
    Path { path: format!("/{root}{scope}/{}", review.plural), placeholders, operations: vec![create] }
}

/// `NamespacedJobStatus`.
fn scoped(kind: &Kind, subresource: &str) -> String {
    format!("{}{}{subresource}", if kind.namespaced { "Namespaced" } else { "" }, kind.kind)
}

/// `BatchV1`, `CoreV1`, `AuthorizationV1`.
fn prefix(group: &str, version: &str) -> String {
    let group = crate::model::schema::group_package(group);
    let capital = |text: &str| text[..1].to_uppercase() + &text[1..];
    format!("{}{}", capital(group), capital(version))
}

fn operation(
    kind: &'static Kind,
    method: &'static str,
    verb: &'static str,
    what: &str,
    params: Vec<&'static Param>,
) -> Operation {
    let action = match verb {
        "create" => "post",
        "read" => "get",
        "replace" => "put",
        other => other,
    };
    // Parity: `deleteBatchV1CollectionNamespacedJob`.
    let id_verb = if verb == "deletecollection" { "delete" } else { verb };
    Operation {
        method,
        id: format!("{id_verb}{}{what}", prefix(kind.group, kind.version)),
        description: format!("{verb} {}", kind.kind),
        action,
        subject: (kind.group, kind.version, kind.kind),
        params,
        body: None,
        answers: Vec::new(),
    }
}

impl Operation {
    fn taking(mut self, media: &'static [&'static str], body: String) -> Self {
        self.body = Some((media, body));
        self
    }

    fn answering(mut self, words: &'static str, answer: String) -> Self {
        self.answers.push(("200", words, Some(answer)));
        self
    }
}
