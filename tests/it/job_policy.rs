//! Owns the parity samples of one Job sync: each case goes through the plan and is compared with what a Kubernetes 1.32
//! controller does. Never skips one without a reason beside its name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use jobdock::job::case::Case;
use serde_json::{Value, json};

/// Keys whose values are compared as they are.
const COMPARED: &[&str] = &[
    "finalStatus",
    "decision",
    "events",
    "podsCreated",
    "podsDeleted",
    "finalizersRemoved",
    "countedSucceeded",
    "countedFailed",
    "completedIndexes",
    "failedIndexes",
    "failJobMessage",
    "backoff",
    "requeueAfter",
    "skipped",
];

/// Samples whose `active` is the known fault of 1.32 (0 while a back-off runs).
fn active_is_faulty(name: &str) -> bool {
    name.starts_with("backoff-wait-") || name == "bpi-backoff-wait"
}

#[test]
fn every_policy_sample_agrees() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/policy");
    let mut names: Vec<String> = fs::read_dir(root.join("cases"))
        .expect("the samples are there")
        .map(|entry| entry.expect("readable").path().file_stem().expect("a file").to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 24, "only {} samples found", names.len());
    let mut differences = Vec::new();
    for name in &names {
        let text = fs::read_to_string(root.join(format!("cases/{name}.yaml"))).expect("readable");
        let case: Value = serde_saphyr::from_str(&text).expect("the sample is YAML");
        let case = Case::from_value(case).unwrap_or_else(|error| panic!("{name}: {error}"));
        let wanted = fs::read(root.join(format!("answers/{name}.json"))).expect("each case has an answer");
        let wanted: Value = serde_json::from_slice(&wanted).expect("the answer is JSON");
        differences.extend(compare(name, &case.answer(), &wanted["result"]));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn compare(name: &str, ours: &Value, theirs: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    let mut check = |what: &str, ours: &Value, theirs: &Value| {
        if ours != theirs {
            differences.push(format!("{name}: {what}\n    ours   {ours}\n    theirs {theirs}"));
        }
    };
    for key in COMPARED {
        let (mut one, mut other) = (ours[key].clone(), theirs[key].clone());
        if *key == "finalStatus" && active_is_faulty(name) {
            for status in [&mut one, &mut other] {
                status["active"] = json!(0);
            }
        }
        check(key, &one, &other);
    }
    let pods = |answer: &Value| -> BTreeSet<String> {
        let pods = answer["pods"].as_array().cloned().unwrap_or_default();
        let keys = ["name", "failed", "action", "countFailed", "message"];
        pods.iter().map(|pod| json!(keys.map(|key| pod[key].clone())).to_string()).collect()
    };
    check("pods", &json!(pods(ours)), &json!(pods(theirs)));
    differences
}
