//! The rules one by one: a fragment laid over a valid object, and every error that upstream answers with.
//!
//! Fragments are YAML in flow style. An expected text that ends in `…` is compared as far as it goes.

mod containers;
mod jobs;
mod kinds;
mod measures;
mod placement;
mod pods;
mod security;
mod status;
mod storage;
mod updates;
mod volumes;
mod warnings;

use jobdock::model::kind::Kind;
use jobdock::model::object::Object;
use serde_json::{Value, json};

/// A fragment and what is wrong with it.
type Case<'a> = (&'a str, &'a [&'a str]);

const UID: &str = "11111111-2222-3333-4444-555555555555";

/// A Job as the server has it after defaults.
fn job() -> Value {
    let labels = json!({
        "batch.kubernetes.io/controller-uid": UID,
        "batch.kubernetes.io/job-name": "job",
        "controller-uid": UID,
        "job-name": "job",
    });
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata("job"),
        "spec": {
            "backoffLimit": 6,
            "completionMode": "NonIndexed",
            "completions": 1,
            "manualSelector": false,
            "parallelism": 1,
            "podReplacementPolicy": "TerminatingOrFailed",
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": UID}},
            "suspend": false,
            "template": {"metadata": {"labels": labels}, "spec": pod_spec()},
        },
    })
}

fn cron_job() -> Value {
    let mut job = job()["spec"].take();
    let fields = job.as_object_mut().expect("a spec is a map");
    fields.remove("selector");
    fields.remove("manualSelector");
    json!({
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata("cron"),
        "spec": {"schedule": "* * * * *", "concurrencyPolicy": "Allow", "jobTemplate": {"spec": job}},
    })
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata("pod"), "spec": pod_spec()})
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "namespace": "default", "uid": UID, "resourceVersion": "100", "generation": 1})
}

fn pod_spec() -> Value {
    json!({
        "containers": [container_named("main")],
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Never",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    })
}

fn container_named(name: &str) -> Value {
    json!({
        "image": "busybox",
        "imagePullPolicy": "Always",
        "name": name,
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    })
}

/// Reads a fragment.
fn yaml(fragment: &str) -> Value {
    let text = format!("{{{fragment}}}");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{fragment}: {error}"))
}

/// Lays a fragment over a value: maps and lists item by item; null removes.
fn lay(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                if value.is_null() {
                    base.remove(&key);
                } else {
                    lay(base.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (Value::Array(base), Value::Array(over)) if !base.is_empty() && !over.is_empty() => {
            for (index, value) in over.into_iter().enumerate() {
                match base.get_mut(index) {
                    Some(item) => lay(item, value),
                    None => base.push(value),
                }
            }
        }
        (base, over) => *base = over,
    }
}

/// A value with a fragment laid over it.
fn with(mut base: Value, fragment: &str) -> Value {
    lay(&mut base, yaml(fragment));
    base
}

fn object(value: Value) -> Object {
    let group = value["apiVersion"].as_str().and_then(|version| version.split_once('/')).map_or("", |(group, _)| group);
    let kind = Kind::find(group, value["kind"].as_str().expect("a kind is a text")).expect("the kind is served");
    Object::from_value(kind, value).expect("the object has the kind's types")
}

fn create_errors(value: Value) -> Vec<String> {
    let object = object(value);
    (object.kind().ops.validate_create)(&object).iter().map(ToString::to_string).collect()
}

#[track_caller]
fn assert_same(what: &str, mut found: Vec<String>, expected: &[&str]) {
    let agree = |found: &String, expected: &&str| match expected.strip_suffix('…') {
        Some(start) => found.starts_with(start),
        None => found == expected,
    };
    let complete = found.len() == expected.len() && found.iter().zip(expected).all(|(one, two)| agree(one, two));
    found.iter_mut().for_each(|line| line.insert_str(0, "\n    "));
    assert!(complete, "{what}\n  found:{}\n  expected:\n    {}", found.concat(), expected.join("\n    "));
}

/// Creates `base` with each fragment. Paths in the expectations leave out `prefix`.
#[track_caller]
fn check(base: impl Fn(&str) -> Value, prefix: &str, cases: &[Case<'_>]) {
    for (fragment, expected) in cases {
        let strip = |line: String| line.strip_prefix(prefix).map_or(line.clone(), str::to_owned);
        let found = create_errors(base(fragment)).into_iter().map(strip).collect();
        assert_same(fragment, found, expected);
    }
}

/// Fragments of a Job.
#[track_caller]
fn jobs(cases: &[Case<'_>]) {
    check(|fragment| with(job(), fragment), "", cases);
}

/// Fragments of a Job's spec.
#[track_caller]
fn job_specs(cases: &[Case<'_>]) {
    check(|fragment| with(job(), &format!("spec: {{{fragment}}}")), "spec.", cases);
}

/// Fragments of an Indexed Job's spec with ten completions.
#[track_caller]
fn indexed(cases: &[Case<'_>]) {
    let base = "completionMode: Indexed, completions: 10";
    check(|fragment| with(with(job(), &format!("spec: {{{base}}}")), &format!("spec: {{{fragment}}}")), "spec.", cases);
}

/// Fragments of a CronJob's spec.
#[track_caller]
fn cron_specs(cases: &[Case<'_>]) {
    check(|fragment| with(cron_job(), &format!("spec: {{{fragment}}}")), "spec.", cases);
}

/// Fragments of the pod spec in a Job's template.
#[track_caller]
fn templates(cases: &[Case<'_>]) {
    let base = |fragment: &str| with(job(), &format!("spec: {{template: {{spec: {{{fragment}}}}}}}"));
    check(base, "spec.template.spec.", cases);
}

/// Fragments of the first container in a Job's template.
#[track_caller]
fn in_container(cases: &[Case<'_>]) {
    let base = |fragment: &str| with(job(), &format!("spec: {{template: {{spec: {{containers: [{{{fragment}}}]}}}}}}"));
    check(base, "spec.template.spec.containers[0].", cases);
}

/// Fragments of a pod of its own.
#[track_caller]
fn alone(cases: &[Case<'_>]) {
    check(|fragment| with(pod(), fragment), "", cases);
}
