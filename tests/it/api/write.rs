//! Create, update, patch and what guards them.

use http::Method;
use serde_json::{Value, json};

use super::face::{CONFIGS, Face, JOBS, job};

#[tokio::test]
async fn what_is_created_can_be_read() {
    let face = Face::new().await;
    let made = face.job("x").await;
    assert_eq!((&made["kind"], &made["apiVersion"]), (&json!("Job"), &json!("batch/v1")));
    assert!(made["metadata"]["uid"].is_string() && made["metadata"]["resourceVersion"].is_string());
    assert_eq!(face.get(&format!("{JOBS}/x")).await.is(200), made);
    assert_eq!(face.get(&format!("{JOBS}/x/status")).await.is(200), made);
}

#[tokio::test]
async fn yaml_both_ways() {
    let face = Face::new().await;
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\ndata:\n  a: 'yes'\n";
    let headers = [("content-type", "application/yaml"), ("accept", "application/yaml")];
    let reply = face.send(Method::POST, CONFIGS, &headers, manifest).await;
    assert_eq!(reply.code, 201, "{}", reply.body);
    assert_eq!(reply.headers["content-type"], "application/yaml");
    assert!(reply.body.contains("kind: ConfigMap"), "{}", reply.body);
    assert_eq!(face.get(&format!("{CONFIGS}/x")).await.is(200)["data"]["a"], "yes");
}

#[tokio::test]
async fn a_name_that_is_taken() {
    let face = Face::new().await;
    face.job("x").await;
    let status = face.post(JOBS, job("x")).await.fails(409, "AlreadyExists", "jobs.batch \"x\" already exists");
    assert_eq!(status["details"], json!({"name": "x", "group": "batch", "kind": "jobs"}));
}

#[tokio::test]
async fn a_name_that_is_not_there() {
    let face = Face::new().await;
    let status = face.get(&format!("{JOBS}/x")).await.fails(404, "NotFound", "jobs.batch \"x\" not found");
    assert_eq!(status["details"], json!({"name": "x", "group": "batch", "kind": "jobs"}));
    face.get("/api/v1/namespaces/default/pods/x/status").await.fails(404, "NotFound", "pods \"x\" not found");
    face.replace(&format!("{JOBS}/x"), &job("x")).await.fails(404, "NotFound", "jobs.batch \"x\" not found");
    face.patch(&format!("{JOBS}/x"), "merge-patch", json!({})).await.fails(
        404,
        "NotFound",
        "jobs.batch \"x\" not found",
    );
}

#[tokio::test]
async fn a_namespace_must_exist_and_match() {
    let face = Face::new().await;
    let elsewhere = "/apis/batch/v1/namespaces/nowhere/jobs";
    let status = face.post(elsewhere, job("x")).await.fails(404, "NotFound", "namespaces \"nowhere\" not found");
    assert_eq!(status["details"], json!({"name": "nowhere", "kind": "namespaces"}));
    let mut other = job("x");
    other["metadata"]["namespace"] = json!("other");
    face.post(JOBS, other).await.fails(
        400,
        "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
    );
}

#[tokio::test]
async fn names_are_generated() {
    let face = Face::new().await;
    let mut generated = job("x");
    generated["metadata"] = json!({"generateName": "run-"});
    let name = face.post(JOBS, generated).await.is(201)["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("run-") && name.len() == 9, "{name}");
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let face = Face::new().await;
    let made = face.post(&format!("{JOBS}?dryRun=All"), job("x")).await.is(201);
    assert!(made["metadata"]["uid"].is_string());
    assert!(made["metadata"].get("resourceVersion").is_none(), "{made}");
    assert_eq!(face.get(&format!("{JOBS}/x")).await.code, 404);
    face.job("x").await;
    face.post(&format!("{JOBS}?dryRun=All"), job("x")).await.fails(
        409,
        "AlreadyExists",
        "jobs.batch \"x\" already exists",
    );
    let patch = json!({"metadata": {"labels": {"a": "b"}}});
    let patched = face.patch(&format!("{JOBS}/x?dryRun=All"), "merge-patch", patch).await.is(200);
    assert_eq!(patched["metadata"]["labels"]["a"], "b");
    assert!(face.get(&format!("{JOBS}/x")).await.is(200)["metadata"]["labels"]["a"].is_null());
    let status = face.post(&format!("{JOBS}?dryRun=Some"), job("y")).await.is(422);
    assert_eq!(status["details"]["causes"][0]["field"], "dryRun");
}

#[tokio::test]
async fn an_update_names_the_state_that_it_changes() {
    let face = Face::new().await;
    let first = face.config("x", json!({})).await;
    let path = format!("{CONFIGS}/x");
    let mut second = first.clone();
    second["data"]["a"] = json!("2");
    let second = face.replace(&path, &second).await.is(200);
    assert_ne!(first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);
    let mut stale = first.clone();
    stale["data"]["a"] = json!("3");
    let message = "Operation cannot be fulfilled on configmaps \"x\": the object has been modified; please apply your \
                   changes to the latest version and try again";
    let status = face.replace(&path, &stale).await.fails(409, "Conflict", message);
    assert_eq!(status["details"], json!({"name": "x", "kind": "configmaps"}));
    let patch = json!({"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}});
    face.patch(&path, "merge-patch", patch).await.fails(409, "Conflict", message);
    // Without a revision the newest state is changed.
    stale["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    assert_eq!(face.replace(&path, &stale).await.is(200)["data"]["a"], "3");
}

#[tokio::test]
async fn a_put_makes_what_is_not_there_where_its_kind_allows_that() {
    let face = Face::new().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let path = format!("{leases}/x");
    let made = face.replace(&path, &json!({"metadata": {"name": "x"}, "spec": {"holderIdentity": "a"}})).await.is(201);
    assert_eq!(face.get(&path).await.is(200), made);
    face.replace(&format!("{leases}/y"), &json!({"metadata": {"name": "z"}})).await.fails(
        400,
        "BadRequest",
        "the name of the object (z) does not match the name on the URL (y)",
    );
    let services = "/api/v1/namespaces/default/services/x";
    let service = json!({"metadata": {"name": "x"}, "spec": {"clusterIP": "None", "selector": {"a": "b"}}});
    face.replace(services, &service).await.is(201);
    let missing = face.replace(&format!("{CONFIGS}/x"), &json!({"metadata": {"name": "x"}})).await;
    missing.fails(404, "NotFound", "configmaps \"x\" not found");
}

#[tokio::test]
async fn an_update_of_a_lease_must_name_the_state_that_it_replaces() {
    let face = Face::new().await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/x";
    let lease = json!({"metadata": {"name": "x"}, "spec": {"holderIdentity": "a"}});
    let mut made = face.replace(path, &lease).await.is(201);
    face.replace(path, &lease).await.fails(
        422,
        "Invalid",
        "leases.coordination.k8s.io \"x\" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for \
         an update",
    );
    made["spec"]["holderIdentity"] = json!("b");
    assert_eq!(face.replace(path, &made).await.is(200)["spec"]["holderIdentity"], "b");
}

#[tokio::test]
async fn an_update_of_a_recreated_object_is_refused() {
    let face = Face::new().await;
    let first = face.config("x", json!({})).await;
    assert_eq!(face.delete(&format!("{CONFIGS}/x")).await.code, 200);
    let second = face.config("x", json!({})).await;
    let mut stale = first.clone();
    stale["metadata"]["resourceVersion"] = second["metadata"]["resourceVersion"].clone();
    assert_eq!(face.replace(&format!("{CONFIGS}/x"), &stale).await.code, 409);
}

#[tokio::test]
async fn a_name_must_match_its_address() {
    let face = Face::new().await;
    face.job("x").await;
    let message = "the name of the object (y) does not match the name on the URL (x)";
    face.replace(&format!("{JOBS}/x"), &job("y")).await.fails(400, "BadRequest", message);
    let rename = json!({"metadata": {"name": "y"}});
    face.patch(&format!("{JOBS}/x"), "merge-patch", rename).await.fails(400, "BadRequest", message);
}

#[tokio::test]
async fn every_kind_of_patch() {
    let face = Face::new().await;
    face.job("x").await;
    let path = format!("{JOBS}/x");
    let merged = face.patch(&path, "merge-patch", json!({"metadata": {"labels": {"a": "1"}}})).await.is(200);
    assert_eq!(merged["metadata"]["labels"]["a"], "1");
    let json_patch = json!([{"op": "replace", "path": "/metadata/labels/a", "value": "2"}]);
    assert_eq!(face.patch(&path, "json-patch", json_patch).await.is(200)["metadata"]["labels"]["a"], "2");
    let strategic = json!({"metadata": {"finalizers": ["example.com/a"]}});
    face.patch(&path, "strategic-merge-patch", strategic).await.is(200);
    let more = json!({"metadata": {"finalizers": ["example.com/b"]}});
    let both = face.patch(&path, "strategic-merge-patch", more).await.is(200);
    assert_eq!(both["metadata"]["finalizers"], json!(["example.com/a", "example.com/b"]));
}

#[tokio::test]
async fn patches_that_cannot_be_applied() {
    let face = Face::new().await;
    face.job("x").await;
    let path = format!("{JOBS}/x");
    let test = json!([{"op": "test", "path": "/metadata/name", "value": "y"}]);
    let message = "the server rejected our request due to an error in our request";
    face.patch(&path, "json-patch", test).await.fails(422, "Invalid", message);
    assert_eq!(face.patch(&path, "json-patch", json!({})).await.code, 400);
    let headers = [("content-type", "application/merge-patch+json")];
    assert_eq!(face.send(Method::PATCH, &path, &headers, "{").await.code, 400);
    face.send(Method::PATCH, &path, &[("content-type", "application/json")], "{}").await.fails(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, \
         application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml",
    );
}

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be() {
    let face = Face::new().await;
    let json = [("content-type", "application/json")];
    assert_eq!(face.send(Method::POST, JOBS, &json, "{").await.code, 400);
    assert_eq!(face.send(Method::POST, JOBS, &json, "[]").await.code, 400);
    assert_eq!(face.send(Method::POST, JOBS, &json, "").await.code, 400);
    let protobuf = [("content-type", "application/vnd.kubernetes.protobuf")];
    assert_eq!(face.send(Method::POST, JOBS, &protobuf, "k8s").await.code, 400);
    face.send(Method::POST, JOBS, &[("content-type", "text/plain")], "{}").await.fails(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: application/json, \
         application/yaml, application/vnd.kubernetes.protobuf",
    );
    let huge = format!("{{\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(3 * 1024 * 1024));
    face.send(Method::POST, CONFIGS, &json, huge).await.fails(
        413,
        "RequestEntityTooLarge",
        "Request entity too large: limit is 3145728",
    );
}

#[tokio::test]
async fn people_get_indented_answers() {
    let face = Face::new().await;
    face.job("x").await;
    let path = format!("{JOBS}/x");
    assert!(face.send(Method::GET, &path, &[("user-agent", "curl/8")], "").await.body.starts_with("{\n"));
    assert!(face.get(&format!("{path}?pretty=true")).await.body.starts_with("{\n"));
    assert!(!face.get(&path).await.body.contains('\n'));
    let missing = face.send(Method::GET, &format!("{JOBS}/none"), &[("user-agent", "curl/8")], "").await;
    assert!(missing.code == 404 && missing.body.starts_with("{\n"), "{}", missing.body);
}

#[tokio::test]
async fn a_pod_bears_a_node_that_is_away_for_five_minutes_unless_it_says_otherwise() {
    let face = Face::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = |name: &str, tolerations: Value| {
        let container = json!({"name": "c", "image": "i"});
        json!({"metadata": {"name": name}, "spec": {"containers": [container], "tolerations": tolerations}})
    };
    let away = |key: &str| {
        json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists", "effect": "NoExecute",
               "tolerationSeconds": 300})
    };
    let plain = face.post(pods, pod("a", json!(null))).await.is(201);
    assert_eq!(plain["spec"]["tolerations"], json!([away("not-ready"), away("unreachable")]));
    let own = json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists"});
    let told = face.post(pods, pod("b", json!([own]))).await.is(201);
    assert_eq!(told["spec"]["tolerations"], json!([own, away("unreachable")]));
    let all = json!([{"operator": "Exists"}]);
    assert_eq!(face.post(pods, pod("c", all.clone())).await.is(201)["spec"]["tolerations"], all);
}

#[tokio::test]
async fn a_secret_that_asks_for_a_token_is_warned_about() {
    let face = Face::new().await;
    let metadata = json!({"name": "t", "annotations": {"kubernetes.io/service-account.name": "default"}});
    let secret = json!({"metadata": metadata, "type": "kubernetes.io/service-account-token"});
    let reply = face.post("/api/v1/namespaces/default/secrets", secret).await;
    assert_eq!((reply.code, reply.warnings().len()), (201, 1));
}
