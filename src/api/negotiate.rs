//! Owns which form an answer takes: media types of `Accept` and `Content-Type`, and the transformations that clients
//! ask for in them (`as=Table`, `as=PartialObjectMetadata`). PURE. Never encodes: see `encode`.
//!
//! Protobuf is read (see `protobuf`), because kubectl sends it unasked, but not written: it is never chosen where anything
//! else is acceptable, and is answered 406 else.

use super::error::Problem;
use crate::model::patch::PatchKind;

pub use crate::model::decode::Format;

/// What becomes of the objects before they are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transform {
    /// They are sent as they are.
    None,
    /// Rows of a `meta.k8s.io` Table of this version.
    Table(&'static str),
    /// Only their metadata, in this version of `meta.k8s.io`.
    Metadata(&'static str),
}

/// How to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The wire format.
    pub format: Format,
    /// What is sent.
    pub transform: Transform,
}

/// What a 415 lists.
const ACCEPTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
/// What a 406 lists. Upstream's has protobuf, too.
const ANSWERED: &str = "application/json, application/yaml";
/// What a 406 of a watch lists.
const ANSWERED_WATCH: &str = "application/json;stream=watch";
/// What upstream lists in a 415 of a patch.
const ACCEPTED_PATCH: &str = "application/json-patch+json, application/merge-patch+json, \
                              application/strategic-merge-patch+json, application/apply-patch+yaml";

/// One clause of `Accept`: the type in lower case, its parameters.
struct Clause<'a> {
    media: String,
    params: Vec<(&'a str, &'a str)>,
}

impl Clause<'_> {
    fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    /// The weight in thousandths.
    fn weight(&self) -> u32 {
        let weight = self.param("q").and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
        // Clamped to 0..=1 before the cast, so nothing is lost but digits beyond the third.
        (weight.clamp(0.0, 1.0) * 1000.0).round() as u32
    }
}

fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = accept
        .split(',')
        .map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let params = parts.filter_map(|part| part.split_once('=')).map(|(k, v)| (k.trim(), v.trim())).collect();
            Clause { media, params }
        })
        .filter(|clause| !clause.media.is_empty())
        .collect();
    // Stable: equal weights keep the client's order.
    clauses.sort_by_key(|clause| std::cmp::Reverse(clause.weight()));
    clauses
}

/// Chooses the form of an answer. `Accept` may be absent: JSON.
pub fn accept(accept: Option<&str>) -> Result<Answer, Problem> {
    choose(accept.unwrap_or_default(), true).ok_or_else(|| Problem::not_acceptable(ANSWERED))
}

/// [`accept`] for a watch, which has no YAML form.
pub fn accept_watch(accept: Option<&str>) -> Result<Answer, Problem> {
    choose(accept.unwrap_or_default(), false).ok_or_else(|| Problem::not_acceptable(ANSWERED_WATCH))
}

fn choose(accept: &str, yaml: bool) -> Option<Answer> {
    let clauses = clauses(accept);
    if clauses.is_empty() {
        return Some(Answer { format: Format::Json, transform: Transform::None });
    }
    clauses.iter().filter(|clause| clause.weight() > 0).find_map(|clause| {
        let format = match clause.media.as_str() {
            "application/json" | "application/*" | "*/*" => Format::Json,
            "application/yaml" if yaml => Format::Yaml,
            _ => return None,
        };
        Some(Answer { format, transform: transform(clause)? })
    })
}

/// None where the transformation asked for is not known: the next clause is tried.
fn transform(clause: &Clause<'_>) -> Option<Transform> {
    let version = || match (clause.param("g"), clause.param("v")) {
        (Some("meta.k8s.io"), Some("v1")) => Some("v1"),
        (Some("meta.k8s.io"), Some("v1beta1")) => Some("v1beta1"),
        _ => None,
    };
    match clause.param("as") {
        None => Some(Transform::None),
        Some("Table") => version().map(Transform::Table),
        Some("PartialObjectMetadata" | "PartialObjectMetadataList") => version().map(Transform::Metadata),
        Some(_) => None,
    }
}

/// Whether the client asks for aggregated discovery, and in which version: `v2` or `v2beta1`.
pub fn accept_discovery(accept: Option<&str>) -> Option<&'static str> {
    clauses(accept.unwrap_or_default()).iter().find_map(|clause| {
        let aggregated = clause.media == "application/json"
            && clause.param("g") == Some("apidiscovery.k8s.io")
            && clause.param("as") == Some("APIGroupDiscoveryList");
        match clause.param("v") {
            Some("v2") if aggregated => Some("v2"),
            Some("v2beta1") if aggregated => Some("v2beta1"),
            _ => None,
        }
    })
}

/// What the protobuf form of OpenAPI 2 is called; some clients write `v2@v1.0` or `v2.v1.0`, the second is the answer's.
pub const OPENAPI_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Whether OpenAPI 2 is wanted in protobuf: where that stands before anything else that is served.
pub fn accepts_openapi_protobuf(accept: Option<&str>) -> bool {
    let first = clauses(accept.unwrap_or_default()).into_iter().find_map(|clause| match clause.media.as_str() {
        OPENAPI_PROTOBUF | "application/com.github.proto-openapi.spec.v2@v1.0+protobuf" => Some(true),
        "application/json" | "application/*" | "*/*" => Some(false),
        _ => None,
    });
    first == Some(true)
}

/// Whether one of the media types that the client accepts is this one.
pub fn accepts(accept: Option<&str>, media: &str) -> bool {
    clauses(accept.unwrap_or_default()).iter().any(|clause| clause.media == media)
}

/// The format of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// JSON or YAML.
    Text(Format),
    /// Upstream's protobuf envelope.
    Protobuf,
}

/// The format of a request's body; JSON where the client does not say.
pub fn content(content_type: Option<&str>) -> Result<Content, Problem> {
    match media(content_type).as_str() {
        "" | "application/json" => Ok(Content::Text(Format::Json)),
        "application/yaml" => Ok(Content::Text(Format::Yaml)),
        "application/vnd.kubernetes.protobuf" => Ok(Content::Protobuf),
        _ => Err(Problem::unsupported_media(ACCEPTED)),
    }
}

/// A patch as its media type names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchForm {
    /// One of the kinds that change a document.
    Document(PatchKind),
    /// Server-side apply.
    Apply,
}

/// The kind of a patch.
pub fn patch(content_type: Option<&str>) -> Result<PatchForm, Problem> {
    match media(content_type).as_str() {
        "application/json-patch+json" => Ok(PatchForm::Document(PatchKind::Json)),
        "application/merge-patch+json" => Ok(PatchForm::Document(PatchKind::Merge)),
        "application/strategic-merge-patch+json" => Ok(PatchForm::Document(PatchKind::Strategic)),
        "application/apply-patch+yaml" => Ok(PatchForm::Apply),
        _ => Err(Problem::unsupported_media(ACCEPTED_PATCH)),
    }
}

fn media(content_type: Option<&str>) -> String {
    content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
