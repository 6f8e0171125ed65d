//! Discovery, version, health, OpenAPI, reviews.

use std::collections::BTreeSet;

use http::Method;
use jobdock::api::protobuf::wire;
use jobdock::model::kind::KINDS;
use serde_json::{Value, json};

use super::face::Face;

#[tokio::test]
async fn groups_and_resources_are_those_of_the_table() {
    let face = Face::new().await;
    assert_eq!(face.get("/api").await.is(200)["versions"], json!(["v1"]));
    let groups = face.get("/apis").await.is(200);
    let names: Vec<&str> = groups["groups"].as_array().unwrap().iter().map(|g| g["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"batch") && names.contains(&"authorization.k8s.io"), "{names:?}");
    assert_eq!(face.get("/apis/batch").await.is(200)["preferredVersion"]["groupVersion"], "batch/v1");
    for kind in KINDS {
        let root = if kind.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}/v1", kind.group) };
        let list = face.get(&root).await.is(200);
        let found = list["resources"].as_array().unwrap().iter().find(|entry| entry["name"] == kind.plural);
        assert_eq!(found.unwrap()["kind"], kind.kind);
    }
    assert_eq!(face.get("/apis/batch/v2").await.code, 404);
    assert_eq!(face.get("/apis/nothing").await.code, 404);
}

#[tokio::test]
async fn aggregated_discovery_says_the_same() {
    let face = Face::new().await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let reply = face.get_as("/apis", accept).await;
    assert_eq!(reply.headers["content-type"], "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let list = reply.is(200);
    assert_eq!(list["apiVersion"], "apidiscovery.k8s.io/v2");
    let batch = list["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == "batch").unwrap();
    let resources = batch["versions"][0]["resources"].as_array().unwrap();
    let jobs = resources.iter().find(|one| one["resource"] == "jobs").unwrap();
    assert_eq!(jobs["scope"], "Namespaced");
    assert_eq!(jobs["subresources"][0]["subresource"], "status");
    let core = face.get_as("/api", accept).await.is(200);
    let pods =
        core["items"][0]["versions"][0]["resources"].as_array().unwrap().iter().find(|one| one["resource"] == "pods");
    assert_eq!(pods.unwrap()["shortNames"], json!(["po"]));
}

#[tokio::test]
async fn version_and_health() {
    let face = Face::new().await;
    let version = face.get("/version").await.is(200);
    assert_eq!((&version["major"], &version["minor"]), (&json!("1"), &json!("37")));
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1.37.0+jobdock."), "{version}");
    for endpoint in ["livez", "readyz", "healthz"] {
        assert_eq!(face.get(&format!("/{endpoint}")).await.body, "ok");
        let verbose = face.get(&format!("/{endpoint}?verbose")).await.body;
        assert_eq!(verbose, format!("[+]ping ok\n[+]store ok\n{endpoint} check passed\n"));
    }
    assert_eq!(face.get("/readyz/ping").await.body, "ok");
    assert_eq!(face.get("/readyz/nothing").await.code, 404);
}

#[tokio::test]
async fn a_check_is_excluded_by_name_and_the_list_says_so() {
    let face = Face::new().await;
    let ok = "[+]ping ok\n[+]store excluded: ok\n";
    for (path, text) in [
        ("/livez?exclude=store", "ok".to_owned()),
        ("/readyz?verbose&exclude=store", format!("{ok}readyz check passed\n")),
        (
            "/livez?verbose=1&exclude=z&exclude=etcd&exclude=store&exclude=etcd",
            format!(
                "{ok}warn: some health checks cannot be excluded: no matches for \"etcd\",\"z\"\nlivez check passed\n"
            ),
        ),
        // A single check tells neither.
        ("/livez/store?verbose&exclude=store", "ok".to_owned()),
    ] {
        let reply = face.get(path).await;
        assert_eq!((reply.code, reply.body), (200, text), "{path}");
    }
}

#[tokio::test]
async fn paths_that_lead_nowhere() {
    let face = Face::new().await;
    let nowhere = face.get("/nowhere").await;
    assert_eq!((nowhere.code, nowhere.body.as_str()), (404, "404 page not found\n"));
    assert_eq!(face.get("/apis/batch/v1/namespaces/default/foos").await.code, 404);
    assert_eq!(face.get("/api/v1/nodes/x/nothing").await.code, 404);
    assert_eq!(face.get("/api/v1/%zz").await.code, 404);
    assert_eq!(face.send(Method::POST, "/version", &[], "").await.code, 405);
    assert_eq!(face.send(Method::POST, "/apis/batch/v1/jobs", &[], "{}").await.code, 405);
    assert_eq!(face.send(Method::PUT, "/api/v1/namespaces/default/pods", &[], "{}").await.code, 405);
    assert_eq!(face.send(Method::DELETE, "/api/v1/namespaces", &[], "").await.code, 405);
}

#[tokio::test]
async fn openapi_documents_hold_together() {
    let face = Face::new().await;
    let index = face.get("/openapi/v3").await.is(200);
    let url = index["paths"]["apis/batch/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let reply = face.get(&url).await;
    assert!(reply.headers["cache-control"].to_str().unwrap().contains("immutable"));
    let batch = reply.is(200);
    check_references(&batch, "#/components/schemas/", &batch["components"]["schemas"]);
    let job = &batch["components"]["schemas"]["io.k8s.api.batch.v1.Job"];
    assert_eq!(job["x-kubernetes-group-version-kind"], json!([{"group": "batch", "version": "v1", "kind": "Job"}]));
    let patch = &batch["paths"]["/apis/batch/v1/namespaces/{namespace}/jobs/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"], json!({"group": "batch", "version": "v1", "kind": "Job"}));
    assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
    for wanted in ["fieldValidation", "dryRun", "fieldManager", "force"] {
        assert!(patch["parameters"].as_array().unwrap().iter().any(|param| param["name"] == wanted), "{wanted}");
    }
    let containers = &batch["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    let v2 = face.get("/openapi/v2").await.is(200);
    check_references(&v2, "#/definitions/", &v2["definitions"]);
    assert_eq!(v2["definitions"]["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"], "int-or-string");
    assert_eq!(face.get("/openapi/v3/apis/nothing/v1").await.code, 404);
}

#[tokio::test]
async fn openapi_v2_is_protobuf_where_that_is_asked_for_first() {
    let face = Face::new().await;
    let json = face.get("/openapi/v2").await;
    let old = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let new = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    let media = |reply: &http::HeaderMap| reply["content-type"].to_str().unwrap().to_owned();
    for (accept, expected) in [
        (old, new),
        (new, new),
        ("application/com.github.proto-openapi.spec.v2@v1.0+protobuf,application/json;q=0.5", new),
        ("application/json,application/com.github.proto-openapi.spec.v2@v1.0+protobuf;q=0.9", "application/json"),
        ("*/*", "application/json"),
    ] {
        let (headers, _) = face.bytes("/openapi/v2", accept).await;
        assert_eq!(media(&headers), expected, "{accept}");
        assert_eq!(headers["etag"], json.headers["etag"], "{accept}");
    }
    let (_, document) = face.bytes("/openapi/v2", old).await;
    let texts = |number| inside(&document, number);
    assert_eq!(texts(1), [b"2.0"], "swagger");
    let definitions = texts(9);
    let names: Vec<String> = inside(definitions[0], 1).iter().map(|entry| text(entry, 1)).collect();
    let expected: Vec<String> = json.json()["definitions"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, expected);
    let entries = inside(definitions[0], 1);
    let job = entries.iter().find(|entry| text(entry, 1) == "io.k8s.api.batch.v1.Job").unwrap();
    let schema = inside(job, 2)[0];
    let kinds = inside(schema, 31)[0];
    assert_eq!(text(kinds, 1), "x-kubernetes-group-version-kind");
    assert_eq!(text(inside(kinds, 2)[0], 2), r#"[{"group":"batch","kind":"Job","version":"v1"}]"#);
    let paths = inside(texts(8)[0], 2);
    assert_eq!(paths.len(), json.json()["paths"].as_object().unwrap().len());
    let none = face.get_as("/openapi/v2", "application/vnd.kubernetes.protobuf").await;
    assert_eq!(none.code, 406, "another protobuf is not this one");
}

/// The messages and strings in fields of this number.
fn inside(message: &[u8], number: u32) -> Vec<&[u8]> {
    let fields = wire::fields(message).map(Result::unwrap);
    fields.filter(|field| field.number == number).map(|field| field.wire.bytes().unwrap()).collect()
}

fn text(message: &[u8], number: u32) -> String {
    String::from_utf8(inside(message, number)[0].to_vec()).unwrap()
}

/// Every reference leads to a definition, and operation ids are unique.
fn check_references(document: &Value, prefix: &str, definitions: &Value) {
    let mut ids = BTreeSet::new();
    let mut open = vec![document];
    while let Some(value) = open.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let name = reference.strip_prefix(prefix).unwrap_or_else(|| panic!("{reference}"));
            assert!(definitions[name].is_object(), "{reference}");
        }
        if let Some(id) = value.get("operationId").and_then(Value::as_str) {
            assert!(ids.insert(id), "{id} is there twice");
        }
        open.extend(value.as_object().into_iter().flat_map(|fields| fields.values()));
        open.extend(value.as_array().into_iter().flatten());
    }
    assert!(ids.len() > 10);
}

#[tokio::test]
async fn reviews_allow_everything() {
    let face = Face::new().await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let spec = json!({"resourceAttributes": {"verb": "create", "resource": "jobs", "group": "batch"}});
    let review = face.post(path, json!({"spec": spec})).await.is(201);
    assert_eq!((&review["status"]["allowed"], &review["kind"]), (&json!(true), &json!("SelfSubjectAccessReview")));
    let rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    assert_eq!(
        face.post(rules, json!({"spec": {"namespace": "default"}})).await.is(201)["status"]["incomplete"],
        false
    );
    let who = face.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})).await.is(201);
    assert_eq!(who["status"]["userInfo"]["username"], "jobdock-admin");
    assert_eq!(face.get(path).await.code, 405);
}

#[tokio::test]
async fn there_are_no_custom_kinds_and_kubectl_may_ask() {
    let face = Face::new().await;
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(face.get(path).await.is(200)["items"], json!([]));
    assert_eq!(face.post(path, json!({})).await.code, 405);
}

#[tokio::test]
async fn no_type_requires_metadata() {
    let face = Face::new().await;
    let document = face.get("/openapi/v3/apis/authorization.k8s.io/v1").await.is(200);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    assert_eq!(schemas["io.k8s.api.authorization.v1.SelfSubjectAccessReview"]["required"], json!(["spec"]));
    let document = face.get("/openapi/v3/apis/coordination.k8s.io/v1").await.is(200);
    assert_eq!(document["components"]["schemas"]["io.k8s.api.coordination.v1.Lease"].get("required"), None);
}
