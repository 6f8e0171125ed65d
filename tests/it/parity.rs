//! Compares our answers with those of a Kubernetes 1.32 API server, sample by sample, as the samples' own page says:
//! the code first; then the causes as a set of field and reason, then their messages; then the object, the warnings.
//!
//! A sample is a file under `tests/samples/answers`, with its case beside it under `cases`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use jobdock::model::admit::{self, Admitted, Identity, Measure, Options, Part, Patched, Refusal};
use jobdock::model::decode::{FieldValidation, Format};
use jobdock::model::kind::Kind;
use jobdock::model::object::Object;
use serde_json::Value;

/// What is minted for a sample's object.
pub const IDENTITY: Identity<'static> = Identity {
    uid: "11111111-2222-3333-4444-555555555555",
    suffix: "xxxxx",
    // 2001-01-01T00:00:00Z, the time that the samples' answers are normalised to.
    now: jiff::Timestamp::constant(978_307_200, 0),
};
/// How samples are sent.
pub const OPTIONS: Options<'static> = Options {
    namespace: "default",
    field_validation: FieldValidation::Strict,
    dry_run: true,
    writer: None,
    measure: Measure::NONE,
};

/// What is sent in the samples of a folder.
#[derive(Clone, Copy, Debug)]
pub enum Request {
    /// A manifest is POSTed.
    Create { kind: &'static str, format: Format },
    /// An object is PUT.
    Update,
    /// An object is PUT to `/status`.
    UpdateStatus,
    /// A merge patch.
    MergePatch,
    /// A strategic merge patch.
    StrategicPatch,
}

/// Every folder of samples that a server's admission answers.
pub const FOLDERS: &[(&str, Request)] = &[
    ("jobs", Request::Create { kind: "Job", format: Format::Yaml }),
    ("jobs-json", Request::Create { kind: "Job", format: Format::Json }),
    ("cronjobs", Request::Create { kind: "CronJob", format: Format::Yaml }),
    ("update", Request::Update),
    ("status", Request::UpdateStatus),
    ("patch/merge", Request::MergePatch),
    ("patch/strategic", Request::StrategicPatch),
];

/// One sample: what is asked, and what upstream answers.
#[derive(Debug)]
pub struct Sample {
    /// `jobs/bad-name`.
    pub name: String,
    /// What upstream answers.
    pub answer: Value,
    /// What is sent.
    pub request: Request,
    /// The case's files begin with this.
    case: PathBuf,
}

fn samples(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(part)
}

/// The samples of a folder, by name.
pub fn folder(name: &str, request: Request) -> Vec<Sample> {
    let mut all: Vec<Sample> = fs::read_dir(samples("answers").join(name))
        .expect("the folder of answers is there")
        .map(|entry| entry.expect("the folder is readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("samples have plain names");
            let answer = fs::read(&path).expect("the sample is readable");
            Sample {
                name: format!("{name}/{stem}"),
                answer: serde_json::from_slice(&answer).expect("the sample is JSON"),
                request,
                case: samples("cases").join(name).join(stem),
            }
        })
        .collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(!all.is_empty(), "{name} has answers");
    all
}

impl Sample {
    /// A file of the case.
    pub fn file(&self, extension: &str) -> Vec<u8> {
        let path = PathBuf::from(format!("{}.{extension}", self.case.display()));
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// What we answer.
    pub fn ours(&self) -> Result<Admitted, Refusal> {
        let body = || self.answer["request"].to_string();
        match self.request {
            Request::Create { kind, format } => {
                let kind = Kind::find("batch", kind).expect("the kind is served");
                let extension = match format {
                    Format::Json => "json",
                    Format::Yaml => "yaml",
                };
                admit::create(kind, &self.file(extension), format, &OPTIONS, &IDENTITY)
            }
            Request::Update => admit::update(&self.stored(), body().as_bytes(), Format::Json, &OPTIONS),
            Request::UpdateStatus => admit::update_status(&self.stored(), body().as_bytes(), Format::Json, &OPTIONS),
            Request::MergePatch => self.patched(merge, |_| Patched::Json { strict: &[] }),
            Request::StrategicPatch => {
                self.patched(merge_containers, |patch| Patched::Strategic { patch, strict: &[] })
            }
        }
    }

    /// The object that is there before an update.
    pub fn stored(&self) -> Object {
        let old = &self.answer["old"];
        let kind = old["kind"].as_str().expect("the old object has a kind");
        let kind = Kind::find("batch", kind).expect("the kind is served");
        Object::from_value(kind, without_nulls(old)).expect("the old object decodes")
    }

    fn patched(
        &self,
        apply: fn(&mut Value, &Value),
        told: impl for<'a> Fn(&'a Value) -> Patched<'a>,
    ) -> Result<Admitted, Refusal> {
        let patch: Value = serde_json::from_slice(&self.file("patch.json")).expect("the patch is JSON");
        let mut new = without_nulls(&self.answer["old"]);
        apply(&mut new, &patch);
        admit::update_value(&self.stored(), &new, told(&patch), &OPTIONS, Part::Main)
    }
}

/// RFC 7386, as far as the samples need it.
fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    target.remove(key);
                } else {
                    merge(target.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

/// The same, lists of named things merged by their names: as much of a strategic merge as the samples need.
fn merge_containers(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    target.remove(key);
                } else {
                    merge_containers(target.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (Value::Array(target), Value::Array(patch)) if patch.iter().all(|item| item.get("name").is_some()) => {
            for item in patch {
                match target.iter_mut().find(|other| other["name"] == item["name"]) {
                    Some(other) => merge_containers(other, item),
                    None => target.push(item.clone()),
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

/// Nulls and absent fields are the same.
pub fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect(),
        ),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// A cause: field, reason, message.
type Cause = (String, String, String);

fn their_causes(answer: &Value) -> Vec<Cause> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let causes = answer["status"]["details"]["causes"].as_array().map(Vec::as_slice).unwrap_or_default();
    causes.iter().map(|cause| (text(&cause["field"]), text(&cause["reason"]), text(&cause["message"]))).collect()
}

fn our_causes(refusal: &Refusal) -> Vec<Cause> {
    match refusal {
        Refusal::Invalid { causes, .. } => causes
            .iter()
            .map(|cause| (cause.field.clone(), cause.kind.reason().to_owned(), cause.message.clone()))
            .collect(),
        Refusal::BadRequest(_)
        | Refusal::Conflict { .. }
        | Refusal::Contested { .. }
        | Refusal::Forbidden { .. }
        | Refusal::Internal(_) => Vec::new(),
    }
}

fn our_code(ours: &Result<Admitted, Refusal>, create: bool) -> u64 {
    match ours {
        Ok(_) if create => 201,
        Ok(_) => 200,
        Err(Refusal::BadRequest(_)) => 400,
        Err(Refusal::Invalid { .. }) => 422,
        Err(Refusal::Conflict { .. } | Refusal::Contested { .. }) => 409,
        Err(Refusal::Forbidden { .. }) => 403,
        Err(Refusal::Internal(_)) => 500,
    }
}

/// Whether a message dumps a Go struct: those are matched on field and reason alone.
pub fn dumps_struct(message: &str) -> bool {
    ["core.", "batch.", "v1.", "resource."]
        .iter()
        .any(|package| message.starts_with(&format!("Invalid value: {package}")))
}

/// What differs between upstream's answer and ours, one line each; empty where they agree.
pub fn differences(sample: &Sample, ours: &Result<Admitted, Refusal>) -> Vec<String> {
    let answer = &sample.answer;
    let code = answer["code"].as_u64().unwrap_or_default();
    let own_code = our_code(ours, matches!(sample.request, Request::Create { .. }));
    if code != own_code {
        let why = ours.as_ref().err().map(Refusal::message).unwrap_or_default();
        return vec![format!("code: theirs {code} {}, ours {own_code} {why}", answer["status"]["message"])];
    }
    let mut found = Vec::new();
    match ours {
        Ok(admitted) => {
            let (theirs, ours) = (without_nulls(&answer["object"]), without_nulls(&admitted.object.to_value()));
            if theirs != ours {
                found.push(format!("object: theirs {theirs}, ours {ours}"));
            }
            let theirs: Vec<&str> =
                answer["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if theirs != admitted.warnings {
                found.push(format!("warnings: theirs {theirs:?}, ours {:?}", admitted.warnings));
            }
        }
        Err(refusal) => found.extend(refusals(answer, refusal)),
    }
    found
}

fn refusals(answer: &Value, refusal: &Refusal) -> Vec<String> {
    let mut found = Vec::new();
    let (theirs, ours) = (their_causes(answer), our_causes(refusal));
    let set = |causes: &[Cause]| -> BTreeSet<(String, String)> {
        causes.iter().map(|(field, reason, _)| (field.clone(), reason.clone())).collect()
    };
    for (field, reason) in set(&theirs).difference(&set(&ours)) {
        found.push(format!("cause missing: {field} {reason}"));
    }
    for (field, reason) in set(&ours).difference(&set(&theirs)) {
        found.push(format!("cause of ours alone: {field} {reason}"));
    }
    if !found.is_empty() {
        return found;
    }
    // Map order is random upstream, so the order of messages is not compared; that of the same field is.
    let of_field = |causes: &[Cause], field: &str| -> Vec<String> {
        causes.iter().filter(|cause| cause.0 == field).map(|cause| cause.2.clone()).collect()
    };
    for field in theirs.iter().map(|cause| &cause.0).collect::<BTreeSet<_>>() {
        let (theirs, ours) = (of_field(&theirs, field), of_field(&ours, field));
        let same = theirs.len() == ours.len()
            && theirs.iter().zip(&ours).all(|(theirs, ours)| dumps_struct(theirs) || theirs == ours);
        if !same {
            found.push(format!(
                "messages of {field}:\n    theirs {}\n    ours   {}",
                theirs.join("\n           "),
                ours.join("\n           ")
            ));
        }
    }
    let message = answer["status"]["message"].as_str().unwrap_or_default();
    if !theirs.iter().any(|cause| dumps_struct(&cause.2)) && message != refusal.message() {
        found.push(format!("message:\n    theirs {message}\n    ours   {}", refusal.message()));
    }
    found
}
