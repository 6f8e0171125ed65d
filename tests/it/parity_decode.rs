//! Parity of decoding, defaults and metadata with a Kubernetes 1.32 API server: every accepted sample gives the same
//! object, every 400 the same message. The causes of 422s and the warnings of strategies are another test's.

use std::fs;
use std::path::{Path, PathBuf};

use jobdock::model::admit::{self, Admitted, Part, Patched, Refusal};
use jobdock::model::decode::Format;
use jobdock::model::kind::Kind;
use jobdock::model::object::Object;
use serde_json::Value;

use crate::parity::{IDENTITY, OPTIONS};

fn samples(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(part)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("the sample is readable")).expect("the sample is JSON")
}

/// The answers of a folder by name, without extension.
fn answers(folder: &str) -> Vec<(String, Value)> {
    let mut all: Vec<(String, Value)> = fs::read_dir(samples("answers").join(folder))
        .expect("the folder of answers is there")
        .map(|entry| entry.expect("the folder is readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("samples have plain names").to_owned();
            (name, json(&path))
        })
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(!all.is_empty(), "{folder} has answers");
    all
}

/// Nulls and absent fields are the same.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect(),
        ),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// What differs between the sample's answer and ours, if it is ours to get right.
fn difference(answer: &Value, ours: &Result<Admitted, Refusal>) -> Option<String> {
    let code = answer["code"].as_u64();
    match (code, ours) {
        (Some(400), Err(Refusal::BadRequest(message))) => {
            let expected = answer["status"]["message"].as_str().unwrap_or_default();
            (expected != message).then(|| format!("message\n  theirs {expected}\n  ours   {message}"))
        }
        (Some(200 | 201), Ok(admitted)) => {
            let (theirs, ours) = (without_nulls(&answer["object"]), without_nulls(&admitted.object.to_value()));
            (theirs != ours).then(|| format!("object\n  theirs {theirs}\n  ours   {ours}"))
        }
        // Whether a rule is broken, and which, is the validation's test's to say.
        (Some(422), Err(Refusal::Invalid { .. }) | Ok(_)) => None,
        (code, Ok(_)) => Some(format!("theirs {code:?}, ours accepts")),
        (code, Err(refusal)) => Some(format!("theirs {code:?} {}, ours {refusal:?}", answer["status"]["message"])),
    }
}

fn check(folder: &str, judge: impl Fn(&str, &Value) -> Result<Admitted, Refusal>) {
    let mut wrong = Vec::new();
    for (name, answer) in answers(folder) {
        if let Some(difference) = difference(&answer, &judge(&name, &answer)) {
            wrong.push(format!("{folder}/{name}: {difference}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn create(folder: &str, group: &str, kind: &str, extension: &str, format: Format) {
    let kind = Kind::find(group, kind).expect("the kind is served");
    check(folder, |name, _| {
        let body =
            fs::read(samples("cases").join(folder).join(format!("{name}.{extension}"))).expect("the case is there");
        admit::create(kind, &body, format, &OPTIONS, &IDENTITY)
    });
}

fn stored(answer: &Value) -> Object {
    let old = &answer["old"];
    let kind = old["kind"].as_str().expect("the old object has a kind");
    let kind = Kind::find("batch", kind).expect("the kind is served");
    Object::from_value(kind, without_nulls(old)).expect("the old object decodes")
}

#[test]
fn jobs_from_yaml() {
    create("jobs", "batch", "Job", "yaml", Format::Yaml);
}

#[test]
fn cron_jobs_from_yaml() {
    create("cronjobs", "batch", "CronJob", "yaml", Format::Yaml);
}

#[test]
fn jobs_from_json() {
    create("jobs-json", "batch", "Job", "json", Format::Json);
}

#[test]
fn updates() {
    check("update", |_, answer| {
        admit::update(&stored(answer), answer["request"].to_string().as_bytes(), Format::Json, &OPTIONS)
    });
}

#[test]
fn status_updates() {
    check("status", |_, answer| {
        admit::update_status(&stored(answer), answer["request"].to_string().as_bytes(), Format::Json, &OPTIONS)
    });
}

#[test]
fn a_patch_that_makes_no_job_shows_what_it_made() {
    let answer = json(&samples("answers/patch/merge/bad-type.json"));
    let mut new = answer["old"].clone();
    new["spec"]["parallelism"] = "two".into();
    let refusal = admit::update_value(
        &stored(&answer),
        &without_nulls(&new),
        Patched::Json { strict: &[] },
        &OPTIONS,
        Part::Main,
    )
    .expect_err("the patch is wrong");
    assert_eq!(Value::from(refusal.message()), answer["status"]["message"]);
}

#[test]
fn a_strategic_patch_that_changes_nothing_is_accepted() {
    let answer = json(&samples("answers/patch/strategic/ok-container-same.json"));
    let old = stored(&answer);
    let patched = Patched::Strategic { patch: &answer["request"], strict: &[] };
    let admitted = admit::update_value(&old, &old.to_value(), patched, &OPTIONS, Part::Main);
    assert_eq!(difference(&answer, &admitted), None);
}
