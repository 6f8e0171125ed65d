//! Owns what is wrong with a manifest, told with file, line, field, value and what is allowed (PURE).
//! Never makes rules: decoding, defaults and validation are the very ones that the API server applies.

use jiff::Timestamp;
use serde_json::Value;

use super::manifests::Manifest;
use super::sources::Source;
use crate::model::admit::{self, Finding, Identity, Measure, Options};
use crate::model::decode::{self, FieldValidation};
use crate::model::kind::Kind;
use crate::model::yaml::{self, Document};

/// The kinds that `run` takes, in the order in which they are created.
pub const KINDS: [&str; 7] =
    ["Namespace", "ConfigMap", "Secret", "ServiceAccount", "PersistentVolumeClaim", "Service", "Job"];
/// What stands in for what the server will mint: the rules want an identity.
const IDENTITY: Identity<'static> =
    Identity { uid: "00000000-0000-0000-0000-000000000000", suffix: "xxxxx", now: Timestamp::UNIX_EPOCH };
/// What stands in for a namespace that is settled later.
const NAMESPACE: &str = "default";

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
    let kind = decode::kind_of(document).map_err(|why| {
        let old = document.node.text("apiVersion") == Some("batch/v1beta1");
        vec![format!("{origin}: {why}: {}", if old { "write `apiVersion: batch/v1`".to_owned() } else { taken() })]
    })?;
    if !KINDS.contains(&kind.kind) {
        return Err(vec![format!("{origin}: a {} is not for `run`: {}", kind.kind, taken())]);
    }
    let own = document.node.get("metadata").and_then(|metadata| metadata.text("namespace"));
    let namespace = if kind.namespaced { own.unwrap_or(NAMESPACE) } else { "" };
    let options = Options {
        namespace,
        field_validation: FieldValidation::Strict,
        dry_run: false,
        writer: None,
        measure: Measure::NONE,
    };
    let findings = admit::check(kind, document, &options, &IDENTITY);
    let title = title(&document.node.to_value());
    let told =
        |finding: &Finding| format!("{}:{}: {} {title}: {}", source.name, finding.at.line, kind.kind, words(finding));
    let (wrong, odd): (Vec<&Finding>, Vec<&Finding>) = findings.iter().partition(|finding| finding.refused);
    if !wrong.is_empty() {
        return Err(wrong.into_iter().map(told).collect());
    }
    let decoded = decode::manifest(kind, document, FieldValidation::Strict);
    let decoded = decoded.map_err(|why| vec![format!("{origin}: {} {title}: {why}", kind.kind)])?;
    Ok(manifest(kind, decoded.object.to_value(), origin, odd.into_iter().map(told).collect()))
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

/// Field, what is wrong, the value where the words do not hold it, what would be right.
fn words(finding: &Finding) -> String {
    let Finding { path, message, value, allowed, .. } = finding;
    let field = if path.is_empty() || message.starts_with(path) { String::new() } else { format!("{path}: ") };
    match allowed.as_str() {
        "" | "the field once" => format!("{field}{message}"),
        question if question.ends_with('?') => format!("{field}{message}; {question}"),
        allowed if value.is_empty() => format!("{field}{message}; allowed is {allowed}"),
        allowed => format!("{field}{message}: {value}; allowed is {allowed}"),
    }
}

fn manifest(kind: &'static Kind, value: Value, origin: String, warnings: Vec<String>) -> Manifest {
    let text = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    Manifest { kind, namespace: text("/metadata/namespace"), name: text("/metadata/name"), value, origin, warnings }
}
