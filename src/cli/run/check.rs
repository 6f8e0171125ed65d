//! Owns what is wrong with a manifest, told with file, line, field, value and what is allowed (PURE).
//! Never makes rules: decoding, defaults and validation are the very ones that the API server applies.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::Value;

use super::manifests::Manifest;
use super::sources::Source;
use crate::model::decode::{self, Problem, Sort};
use crate::model::kind::Kind;
use crate::model::object::Object;
use crate::model::schema;
use crate::model::yaml::{self, Document};
use crate::model::{canonical, field::FieldError};

/// The kinds that `run` takes, in the order in which they are created.
pub const KINDS: [&str; 4] = ["Namespace", "ConfigMap", "Secret", "Job"];
/// What stands in for the uid that the server will mint; validation wants one.
const UID: &str = "00000000-0000-0000-0000-000000000000";
/// What stands in for the five characters that the server will add to a generated name.
const SUFFIX: &str = "xxxxx";

/// Each object of a source: ready to be sent, or every problem that it has.
pub fn source(source: &Source) -> Vec<Result<Manifest, Vec<String>>> {
    match yaml::documents(&source.text) {
        Ok(documents) => documents.into_iter().flat_map(Document::objects).map(|it| object(source, &it)).collect(),
        Err(error) => {
            let place = format!("{}:{}:{}", source.name, error.at.line, error.at.column);
            let caret: String = error.to_string().lines().skip(1).map(|line| format!("\n  {line}")).collect();
            vec![Err(vec![format!("{place}: {}{caret}", error.message)])]
        }
    }
}

fn object(source: &Source, document: &Document) -> Result<Manifest, Vec<String>> {
    let origin = format!("{}:{}", source.name, document.start_line);
    let kind = decode::kind_of(document).map_err(|why| vec![format!("{origin}: {why}: {}", taken())])?;
    if !KINDS.contains(&kind.kind) {
        return Err(vec![format!("{origin}: a {} is not for `run`: {}", kind.kind, taken())]);
    }
    let mut walked = decode::walk(&document.node, schema::of(kind));
    let title = title(&walked.value);
    let told = |line: usize, text: &str| format!("{}:{line}: {} {title}: {text}", source.name, kind.kind);
    let mut problems: Vec<(usize, String)> = Vec::new();
    problems.extend(document.duplicates.iter().map(|it| (it.at.line, format!("{}: set twice in one map", it.path))));
    problems.extend(walked.problems.iter().map(|problem| (problem.at.line, misfit(problem))));
    canonical::tidy(&mut walked.value, schema::of(kind));
    let value = walked.value.clone();
    let mut warnings = Vec::new();
    match decode::typed(kind, walked.value) {
        Ok(object) => {
            let object = admitted(&object);
            warnings = (kind.ops.warnings)(&object, None);
            let errors = (kind.ops.validate_create)(&object);
            // What did not fit its type was left out: that it is then missing is no second problem.
            let new = errors.iter().filter(|error| !about(&walked.problems, error));
            problems.extend(new.map(|error| (document.line_of(&error.field).line, error.to_string())));
        }
        Err(error) if problems.is_empty() => problems.push((document.start_line, error.to_string())),
        Err(_) => {}
    }
    if problems.is_empty() {
        return Ok(manifest(kind, value, origin, warnings));
    }
    problems.sort();
    problems.dedup();
    Err(problems.into_iter().map(|(line, text)| told(line, &text)).collect())
}

/// Which kinds can be given.
fn taken() -> String {
    format!("`run` takes {} and {}", KINDS[..KINDS.len() - 1].join(", "), KINDS[KINDS.len() - 1])
}

/// `hello`, or `hello-…` for a generated name.
fn title(value: &Value) -> String {
    let text = |path: &str| value.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (text("/metadata/name"), text("/metadata/generateName")) {
        (Some(name), _) => name.to_owned(),
        (None, Some(prefix)) => format!("{prefix}…"),
        (None, None) => "without a name".to_owned(),
    }
}

/// A value that does not fit its type: path, words, value, what is allowed.
fn misfit(problem: &Problem) -> String {
    let Problem { path, allowed, value, .. } = problem;
    let allowed = if allowed.is_empty() { String::new() } else { format!(": {allowed}") };
    match problem.sort {
        Sort::Unknown => format!("{path}: there is no such field{allowed}"),
        Sort::Duplicate => format!("{path}: the field stands twice{allowed}"),
        Sort::Type | Sort::Fatal => {
            format!("{path}: {value} is not allowed here{}", allowed.replacen(": ", ": give ", 1))
        }
    }
}

fn about(problems: &[Problem], error: &FieldError) -> bool {
    problems.iter().any(|problem| {
        matches!(problem.sort, Sort::Type | Sort::Fatal)
            && (problem.path == error.field || error.field.starts_with(&format!("{}.", problem.path)))
    })
}

/// The object as the server will validate it: defaulted, with an identity.
fn admitted(object: &Object) -> Object {
    let ops = &object.kind().ops;
    let namespaced = object.kind().namespaced;
    let object = (ops.default)(object).with_meta(|meta| identify(meta, namespaced));
    (ops.prepare_create)(&object)
}

fn identify(meta: &mut ObjectMeta, namespaced: bool) {
    let unset = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
    if unset(&meta.namespace) && namespaced {
        meta.namespace = Some("default".to_owned());
    }
    if unset(&meta.name)
        && let Some(prefix) = meta.generate_name.as_ref().filter(|prefix| !prefix.is_empty())
    {
        meta.name = Some(format!("{prefix}{SUFFIX}"));
    }
    meta.uid = Some(UID.to_owned());
    meta.creation_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
}

fn manifest(kind: &'static Kind, mut value: Value, origin: String, warnings: Vec<String>) -> Manifest {
    if let Value::Object(members) = &mut value {
        members.insert("apiVersion".to_owned(), kind.api_version().into());
        members.insert("kind".to_owned(), kind.kind.into());
    }
    let text = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    Manifest { kind, namespace: text("/metadata/namespace"), name: text("/metadata/name"), value, origin, warnings }
}
