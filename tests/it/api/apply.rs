//! Server-side apply and owners of fields, over HTTP.

use http::Method;
use serde_json::{Value, json};

use super::face::{CONFIGS, Face, JOBS, Reply, job};

const APPLY: &str = "application/apply-patch+yaml";

impl Face {
    /// Applies a configuration; `query` begins with the manager.
    async fn apply(&self, path: &str, query: &str, config: &Value) -> Reply {
        self.apply_text(path, query, &config.to_string()).await
    }

    async fn apply_text(&self, path: &str, query: &str, config: &str) -> Reply {
        let path = format!("{path}?fieldManager={query}");
        self.send(Method::PATCH, &path, &[("content-type", APPLY)], config.to_owned()).await
    }
}

fn config(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": data})
}

/// Manager and operation of each entry.
fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    entries
        .iter()
        .map(|entry| {
            let words = [text(&entry["manager"]), text(&entry["operation"]), text(&entry["subresource"])];
            words.join(" ").trim_end().to_owned()
        })
        .collect()
}

#[tokio::test]
async fn what_is_not_there_is_made_and_what_is_there_is_changed() {
    let face = Face::new().await;
    let path = format!("{JOBS}/x");
    let made = face.apply(&path, "a", &job("x")).await.is(201);
    assert_eq!((managers(&made), &made["spec"]["backoffLimit"]), (vec!["a Apply".to_owned()], &json!(6)));
    let again = face.apply(&path, "a", &job("x")).await.is(200);
    assert_eq!(again, made, "to apply the same again writes nothing");
    let mut wider = job("x");
    wider["spec"]["parallelism"] = json!(3);
    let wider = face.apply(&path, "a", &wider).await.is(200);
    assert_eq!((&wider["spec"]["parallelism"], &wider["metadata"]["generation"]), (&json!(3), &json!(2)));
    assert_eq!(face.get(&path).await.is(200), wider);
}

#[tokio::test]
async fn a_conflict_is_a_409_with_its_causes_until_it_is_forced() {
    let face = Face::new().await;
    face.post(&format!("{JOBS}?fieldManager=kubectl-client-side-apply"), job("x")).await.is(201);
    let path = format!("{JOBS}/x");
    let mut wider = job("x");
    wider["spec"]["parallelism"] = json!(2);
    let with = "conflict with \"kubectl-client-side-apply\" using batch/v1";
    let message = format!("Apply failed with 1 conflict: {with}: .spec.parallelism");
    let status = face.apply(&path, "a", &wider).await.fails(409, "Conflict", &message);
    let cause = json!({"reason": "FieldManagerConflict", "message": with, "field": ".spec.parallelism"});
    assert_eq!(status["details"], json!({"causes": [cause]}));
    let forced = face.apply(&path, "a&force=true", &wider).await.is(200);
    assert_eq!(forced["spec"]["parallelism"], 2);
    assert_eq!(managers(&forced), ["a Apply", "kubectl-client-side-apply Update"]);
}

#[tokio::test]
async fn the_options_of_an_apply() {
    let face = Face::new().await;
    let path = format!("{CONFIGS}/x");
    let refused = |why: &str| format!("PatchOptions.meta.k8s.io \"\" is invalid: {why}");
    let cases = [
        ("", refused("fieldManager: Required value: is required for apply patch")),
        (&"m".repeat(129), refused("fieldManager: Too long: may not be more than 128 bytes")),
        ("a%07", refused("fieldManager: Invalid value: \"a\\a\": invalid character U+0007 (at position 1)")),
        (
            "&dryRun=Some&fieldValidation=Loud",
            refused(
                "[fieldManager: Required value: is required for apply patch, dryRun: Unsupported value: [\"Some\"]: \
                 supported values: \"All\", fieldValidation: Unsupported value: \"Loud\": supported values: \"\", \
                 \"Ignore\", \"Strict\", \"Warn\"]",
            ),
        ),
    ];
    for (query, message) in cases {
        face.apply(&path, query, &config(json!({}))).await.fails(422, "Invalid", &message);
    }
    face.config("x", json!({})).await;
    let forced = face.patch(&format!("{path}?force=true"), "merge-patch", json!({})).await;
    forced.fails(422, "Invalid", &refused("force: Forbidden: may not be specified for non-apply patch"));
    let long = face.post(&format!("{CONFIGS}?fieldManager={}", "m".repeat(129)), config(json!({}))).await;
    let message = "CreateOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be more than 128 bytes";
    long.fails(422, "Invalid", message);
}

#[tokio::test]
async fn a_dry_apply_writes_nothing() {
    let face = Face::new().await;
    let path = format!("{CONFIGS}/x");
    let made = face.apply(&path, "a&dryRun=All", &config(json!({"a": "1"}))).await.is(201);
    assert_eq!((&made["data"]["a"], made["metadata"].get("resourceVersion")), (&json!("1"), None));
    assert_eq!(face.get(&path).await.code, 404);
    face.apply(&path, "a", &config(json!({"a": "1"}))).await.is(201);
    let changed = face.apply(&path, "a&dryRun=All", &config(json!({"a": "2"}))).await.is(200);
    assert_eq!(changed["data"]["a"], "2");
    assert_eq!(face.get(&path).await.is(200)["data"]["a"], "1");
}

#[tokio::test]
async fn yaml_is_read_as_upstream_reads_it() {
    let face = Face::new().await;
    let path = format!("{CONFIGS}/x");
    let head = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n";
    face.apply_text(&path, "a", &format!("{head}data:\n  a: 'yes'\n")).await.is(201);
    let twice = format!("{head}data:\n  a: '1'\n  a: '2'\n");
    let words = "error converting YAML to JSON: yaml: unmarshal errors:\n  line 7: key \"a\" already set in map";
    let strict = face.apply_text(&path, "a&fieldValidation=Strict", &twice).await;
    strict.fails(400, "BadRequest", &format!("error strict decoding YAML: {words}"));
    let warned = face.apply_text(&path, "a&fieldValidation=Warn", &twice).await;
    assert_eq!((warned.code, warned.warnings().len()), (200, 1), "{}", warned.body);
    assert_eq!(warned.json()["data"]["a"], "2");
    assert!(face.apply_text(&path, "a&fieldValidation=Ignore", &twice).await.warnings().is_empty());
    let list = "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go \
                value of type map[string]interface {}";
    face.apply_text(&path, "a", "[]").await.fails(400, "BadRequest", list);
    face.apply_text(&path, "a", "").await.fails(400, "BadRequest", "invalid object type: /, Kind=");
    let broken = face.apply_text(&path, "a", "a: b: c").await.is(400);
    let message =
        "error decoding YAML: error converting YAML to JSON: yaml: mapping values are not allowed in this context";
    assert_eq!(broken["message"], message);
    let unknown = face.apply_text(&path, "a&fieldValidation=Ignore", &format!("{head}foo: 1\n")).await.is(500);
    let message = "failed to create typed patch object (/x; /v1, Kind=ConfigMap): .foo: field not declared in schema";
    assert_eq!((&unknown["message"], unknown.get("reason")), (&json!(message), None));
}

#[tokio::test]
async fn an_apply_is_admitted_like_any_other_write() {
    let face = Face::new().await;
    let mut bad = job("x");
    bad["spec"]["parallelism"] = json!(-1);
    let status = face.apply(&format!("{JOBS}/x"), "a", &bad).await.is(422);
    assert_eq!(status["details"]["causes"][0]["field"], "spec.parallelism");
    let nowhere = "/apis/batch/v1/namespaces/nowhere/jobs/x";
    face.apply(nowhere, "a", &job("x")).await.fails(404, "NotFound", "namespaces \"nowhere\" not found");
    let stale = |revision: &str| {
        let mut stale = job("x");
        stale["metadata"]["resourceVersion"] = json!(revision);
        stale["spec"]["parallelism"] = json!(2);
        stale
    };
    let made = face.apply(&format!("{JOBS}/x"), "a", &job("x")).await.is(201);
    let message = "Operation cannot be fulfilled on jobs.batch \"x\": the object has been modified; please apply your \
                   changes to the latest version and try again";
    face.apply(&format!("{JOBS}/x"), "a", &stale("1")).await.fails(409, "Conflict", message);
    let revision = made["metadata"]["resourceVersion"].as_str().unwrap();
    face.apply(&format!("{JOBS}/x"), "a", &stale(revision)).await.is(200);
}

#[tokio::test]
async fn a_status_is_applied_to_what_is_there_only() {
    let face = Face::new().await;
    let path = format!("{JOBS}/x/status");
    let status = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "status": {"active": 1}});
    face.apply(&path, "a", &status).await.fails(404, "NotFound", "jobs.batch \"x\" not found");
    face.job("x").await;
    let applied = face.apply(&path, "a", &status).await.is(200);
    assert_eq!((&applied["status"]["active"], &managers(&applied)[0]), (&json!(1), &"a Apply status".to_owned()));
}

#[tokio::test]
async fn every_write_names_its_manager() {
    let face = Face::new().await;
    let agent = |name: &'static str| ("user-agent", name);
    let json_type = ("content-type", "application/json");
    let body = config(json!({"a": "1"})).to_string();
    let made = face.send(Method::POST, CONFIGS, &[json_type, agent("curl/8.0")], body).await.is(201);
    assert_eq!(managers(&made), ["curl Update"]);
    let path = format!("{CONFIGS}/x");
    let mut changed = made.clone();
    changed["data"]["b"] = json!("1");
    let put = face.send(Method::PUT, &path, &[json_type, agent("py/1 x")], changed.to_string()).await.is(200);
    assert_eq!(managers(&put), ["curl Update", "py Update"]);
    for (number, media) in ["merge-patch", "strategic-merge-patch", "json-patch"].iter().enumerate() {
        let patch = match *media {
            "json-patch" => json!([{"op": "add", "path": "/data/c2", "value": "1"}]),
            _ => json!({"data": {format!("c{number}"): "1"}}),
        };
        let path = format!("{path}?fieldManager=m{number}");
        let patched = face.patch(&path, media, patch).await.is(200);
        assert!(managers(&patched).contains(&format!("m{number} Update")), "{:?}", managers(&patched));
    }
    let unnamed = face.post(CONFIGS, json!({"metadata": {"name": "y"}, "data": {"a": "1"}})).await.is(201);
    assert_eq!(managers(&unnamed), ["unknown Update"]);
}

#[tokio::test]
async fn appliers_at_the_same_time_both_get_through() {
    let face = Face::new().await;
    let path = format!("{CONFIGS}/x");
    let (one, other) = (config(json!({"a": "1"})), config(json!({"b": "1"})));
    let (one, other) = tokio::join!(face.apply(&path, "a", &one), face.apply(&path, "b", &other));
    let mut codes = [one.code, other.code];
    codes.sort_unstable();
    assert_eq!(codes, [200, 201], "{} {}", one.body, other.body);
    assert_eq!(face.get(&path).await.is(200)["data"], json!({"a": "1", "b": "1"}));
}
