//! Owns the list of everything that is wrong with a manifest, for people: decoding's and validation's problems in one,
//! each with its line.
//! Never admits anything: `create` does, once the list is empty.

use serde_json::{Map, Value};

use super::super::decode::{Problem, Sort, walk};
use super::super::field::FieldError;
use super::super::kind::Kind;
use super::super::tree::Mark;
use super::super::yaml::{Document, shown};
use super::super::{canonical, decode, schema};
use super::{Identity, Options, Refusal, metadata};

/// One thing that is wrong, or worth a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether the manifest cannot be used; otherwise it is a warning.
    pub refused: bool,
    /// Where it stands in the file.
    pub at: Mark,
    /// The field: `spec.template.spec.containers[0].image`; empty where it is the whole object.
    pub path: String,
    /// What is wrong, in upstream's words.
    pub message: String,
    /// The value that stands there, shortened; empty where nothing does.
    pub value: String,
    /// What would be right; empty where `message` says it.
    pub allowed: String,
}

/// Everything that is wrong with a document, by line; warnings too. Unknown and duplicate fields count as wrong.
pub fn check(kind: &'static Kind, document: &Document, options: &Options<'_>, identity: &Identity<'_>) -> Vec<Finding> {
    let mut walked = walk(&document.node, schema::of(kind));
    let mut findings: Vec<Finding> = walked.problems.iter().map(unfit).collect();
    findings.extend(document.duplicates.iter().map(|duplicate| Finding {
        refused: true,
        at: duplicate.at,
        path: duplicate.path.clone(),
        message: "the field stands twice".to_owned(),
        value: String::new(),
        allowed: "the field once".to_owned(),
    }));
    canonical::tidy(&mut walked.value, schema::of(kind));
    match judge(kind, walked.value, options, identity) {
        Ok((errors, warnings)) => {
            let wrong: Vec<&Problem> = walked.problems.iter().filter(|problem| is_type(problem.sort)).collect();
            let told = |error: &FieldError| wrong.iter().any(|problem| overlaps(&problem.path, &error.field));
            findings.extend(errors.iter().filter(|error| !told(error)).map(|error| broken(document, error)));
            findings.extend(warnings.into_iter().map(|message| warned(document, message)));
        }
        Err(message) => findings.push(Finding {
            refused: true,
            at: document.node.at,
            path: String::new(),
            message,
            value: String::new(),
            allowed: String::new(),
        }),
    }
    findings.sort_by(|one, other| (one.at, !one.refused, &one.path).cmp(&(other.at, !other.refused, &other.path)));
    findings.dedup();
    findings
}

/// Runs the rules over what could be read.
fn judge(
    kind: &'static Kind,
    value: Value,
    options: &Options<'_>,
    identity: &Identity<'_>,
) -> Result<(Vec<FieldError>, Vec<String>), String> {
    let value = if value.is_object() { value } else { Value::Object(Map::new()) };
    let object = decode::typed(kind, value).map_err(|error| error.to_string())?;
    let object = (kind.ops.default)(&object);
    let mut warnings = Vec::new();
    let object = metadata::in_namespace(&object, options.namespace).map_err(|refusal: Refusal| refusal.message())?;
    let object = metadata::one_owner_each(object, &mut warnings);
    let object = (kind.ops.prepare_create)(&metadata::identify(&object, identity));
    let errors = (kind.ops.validate_create)(&object);
    if errors.is_empty() {
        warnings.extend((kind.ops.warnings)(&object, None));
    }
    Ok((errors, warnings))
}

fn is_type(sort: Sort) -> bool {
    match sort {
        Sort::Type | Sort::Fatal => true,
        Sort::Unknown | Sort::Duplicate => false,
    }
}

/// Whether one path is the other or leads to it: what cannot be read would be found missing as well.
fn overlaps(one: &str, other: &str) -> bool {
    let leads = |from: &str, to: &str| {
        to.strip_prefix(from).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    leads(one, other) || leads(other, one)
}

fn unfit(problem: &Problem) -> Finding {
    // For people, Go's names of types say less than `allowed` does.
    let message = match problem.sort {
        Sort::Unknown => "unknown field".to_owned(),
        Sort::Duplicate => "the field stands twice".to_owned(),
        Sort::Type => "wrong type".to_owned(),
        Sort::Fatal if problem.message.starts_with("json: ") => "wrong type".to_owned(),
        Sort::Fatal => problem.message.clone(),
    };
    Finding {
        refused: true,
        at: problem.at,
        path: problem.path.clone(),
        message,
        value: problem.value.clone(),
        allowed: problem.allowed.clone(),
    }
}

fn broken(document: &Document, error: &FieldError) -> Finding {
    let standing = document.node.at_path(&error.field).map(shown).unwrap_or_default();
    Finding {
        refused: true,
        at: document.line_of(&error.field),
        path: error.field.clone(),
        message: error.message.clone(),
        value: standing,
        allowed: String::new(),
    }
}

/// Upstream's warnings start with the path that they mean, where they mean one.
fn warned(document: &Document, message: String) -> Finding {
    let path = message.split_once(": ").map_or("", |(path, _)| path);
    let path = if path.contains(' ') { "" } else { path };
    let (at, path) = (document.line_of(path), path.to_owned());
    Finding { refused: false, at, path, message, value: String::new(), allowed: String::new() }
}
