//! Delete and deletecollection: options, preconditions, defaults, answers.

use http::Method;
use serde_json::{Value, json};

use super::face::{CONFIGS, Face, JOBS, Reply};

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn delete_with(face: &Face, path: &str, options: Value) -> Reply {
    face.send(Method::DELETE, path, &[("content-type", "application/json")], options.to_string()).await
}

#[tokio::test]
async fn what_nothing_holds_is_gone() {
    let face = Face::new().await;
    let made = face.config("x", json!({})).await;
    let status = face.delete(&format!("{CONFIGS}/x")).await.is(200);
    let details = json!({"name": "x", "kind": "configmaps", "uid": made["metadata"]["uid"]});
    assert_eq!(
        status,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
    );
    face.delete(&format!("{CONFIGS}/x")).await.fails(404, "NotFound", "configmaps \"x\" not found");
}

#[tokio::test]
async fn a_raw_delete_of_a_job_orphans_its_pods_and_warns() {
    let face = Face::new().await;
    face.job("x").await;
    let reply = face.delete(&format!("{JOBS}/x")).await;
    assert_eq!(reply.is(200)["metadata"]["finalizers"], json!(["orphan"]));
    assert_eq!(
        reply.warnings(),
        [
            "299 - \"child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove \
           them or set propagationPolicy=Orphan to suppress this warning\""
        ]
    );
}

#[tokio::test]
async fn a_job_goes_as_it_is_told() {
    let face = Face::new().await;
    for (policy, finalizer) in
        [("Orphan", Some("orphan")), ("Foreground", Some("foregroundDeletion")), ("Background", None)]
    {
        let name = policy.to_lowercase();
        face.job(&name).await;
        let reply = delete_with(&face, &format!("{JOBS}/{name}"), json!({"propagationPolicy": policy})).await;
        assert!(reply.warnings().is_empty());
        match finalizer {
            Some(finalizer) => assert_eq!(reply.is(200)["metadata"]["finalizers"], json!([finalizer])),
            None => assert_eq!(reply.is(200)["status"], "Success"),
        }
    }
    face.job("query").await;
    let reply = face.delete(&format!("{JOBS}/query?propagationPolicy=Background")).await;
    assert_eq!(reply.is(200)["status"], "Success");
    face.job("old").await;
    let reply = delete_with(&face, &format!("{JOBS}/old"), json!({"orphanDependents": false})).await;
    assert_eq!(reply.is(200)["status"], "Success");
}

#[tokio::test]
async fn a_pod_on_a_node_ends_gracefully() {
    let face = Face::new().await;
    let pod = json!({
        "metadata": {"name": "x"},
        "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 20, "containers": [{"name": "a", "image": "i"}]},
    });
    let made = face.post(PODS, pod.clone()).await.is(201);
    let marked = face.delete(&format!("{PODS}/x")).await.is(200);
    assert_eq!(marked["kind"], "Pod");
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 20);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(face.delete(&format!("{PODS}/x")).await.is(200)["metadata"]["deletionGracePeriodSeconds"], 20);
    let gone = delete_with(&face, &format!("{PODS}/x"), json!({"gracePeriodSeconds": 0})).await.is(200);
    assert_eq!((&gone["kind"], &gone["metadata"]["uid"]), (&json!("Pod"), &made["metadata"]["uid"]));
    assert_eq!(face.get(&format!("{PODS}/x")).await.code, 404);
}

#[tokio::test]
async fn only_who_asks_in_the_old_way_is_told_by_the_code_that_it_takes_time() {
    let face = Face::new().await;
    let pod = |name: &str| {
        let spec = json!({"nodeName": "n", "containers": [{"name": "a", "image": "i"}]});
        json!({"metadata": {"name": name}, "spec": spec})
    };
    for (name, query, code) in [
        ("old", "?orphanDependents=false", 202),
        ("new", "?propagationPolicy=Background", 200),
        ("plain", "", 200),
        ("orphan", "?orphanDependents=true", 200),
        ("gone", "?orphanDependents=false&gracePeriodSeconds=0", 200),
    ] {
        face.post(PODS, pod(name)).await.is(201);
        assert_eq!(face.delete(&format!("{PODS}/{name}{query}")).await.code, code, "{name}");
    }
    let again = delete_with(&face, &format!("{PODS}/old"), json!({"orphanDependents": false})).await;
    assert_eq!(again.code, 202, "it is still there");
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let face = Face::new().await;
    let held = json!({"metadata": {"name": "x", "finalizers": ["example.com/hold"]}});
    face.post(CONFIGS, held).await.is(201);
    let marked = face.delete(&format!("{CONFIGS}/x")).await.is(200);
    assert_eq!(marked["kind"], "ConfigMap");
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    face.patch(&format!("{CONFIGS}/x"), "merge-patch", json!({"metadata": {"finalizers": null}})).await.is(200);
    assert_eq!(face.get(&format!("{CONFIGS}/x")).await.code, 404);
}

#[tokio::test]
async fn preconditions_name_the_object_that_is_meant() {
    let face = Face::new().await;
    let made = face.job("x").await;
    let path = format!("{JOBS}/x");
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let revision = made["metadata"]["resourceVersion"].as_str().unwrap();
    delete_with(&face, &path, json!({"preconditions": {"uid": "other"}})).await.fails(
        409,
        "Conflict",
        &format!(
            "Operation cannot be fulfilled on Job.batch \"x\": the UID in the precondition (other) does not match the UID \
             in record ({uid}). The object might have been deleted and then recreated"
        ),
    );
    delete_with(&face, &path, json!({"preconditions": {"resourceVersion": "1"}})).await.fails(
        409,
        "Conflict",
        &format!(
            "Operation cannot be fulfilled on Job.batch \"x\": the ResourceVersion in the precondition (1) does not match \
             the ResourceVersion in record ({revision}). The object might have been modified"
        ),
    );
    let fitting =
        json!({"propagationPolicy": "Background", "preconditions": {"uid": uid, "resourceVersion": revision}});
    assert_eq!(delete_with(&face, &path, fitting).await.is(200)["status"], "Success");
}

#[tokio::test]
async fn options_that_make_no_sense() {
    let face = Face::new().await;
    face.job("x").await;
    let path = format!("{JOBS}/x");
    let both = json!({"propagationPolicy": "Orphan", "orphanDependents": true});
    let status = delete_with(&face, &path, both).await.is(422);
    assert_eq!(status["details"]["causes"][0]["field"], "propagationPolicy");
    assert_eq!(delete_with(&face, &path, json!({"propagationPolicy": "Sideways"})).await.code, 422);
    assert_eq!(delete_with(&face, &path, json!({"kind": "Job"})).await.code, 400);
    assert_eq!(delete_with(&face, &path, json!([])).await.code, 400);
    assert_eq!(face.delete(&format!("{path}?gracePeriodSeconds=soon")).await.code, 400);
}

#[tokio::test]
async fn a_dry_run_removes_nothing() {
    let face = Face::new().await;
    face.config("x", json!({})).await;
    assert_eq!(face.delete(&format!("{CONFIGS}/x?dryRun=All")).await.is(200)["status"], "Success");
    assert_eq!(delete_with(&face, &format!("{CONFIGS}/x"), json!({"dryRun": ["All"]})).await.code, 200);
    assert_eq!(face.get(&format!("{CONFIGS}/x")).await.code, 200);
}

#[tokio::test]
async fn collections_are_removed_by_selection() {
    let face = Face::new().await;
    for (name, color) in [("a", "red"), ("b", "blue"), ("c", "red")] {
        face.config(name, json!({"color": color})).await;
    }
    let list = face.delete(&format!("{CONFIGS}?labelSelector=color%3Dred")).await.is(200);
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("ConfigMapList"), 2));
    let left = face.get(CONFIGS).await.is(200);
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    face.job("x").await;
    assert_eq!(face.delete(JOBS).await.warnings().len(), 1);
}

#[tokio::test]
async fn a_page_of_a_collection_is_removed_and_says_where_the_rest_begins() {
    let face = Face::new().await;
    for name in ["a", "b", "c"] {
        face.config(name, json!({"color": "red"})).await;
    }
    let red = format!("{CONFIGS}?labelSelector=color%3Dred&limit=1");
    let first = face.delete(&red).await.is(200);
    assert_eq!((&first["items"][0]["metadata"]["name"], first["items"].as_array().unwrap().len()), (&json!("a"), 1));
    let next = first["metadata"]["continue"].as_str().unwrap();
    let second = face.delete(&format!("{red}&continue={next}")).await.is(200);
    assert_eq!(second["items"][0]["metadata"]["name"], "b");
    let left = face.get(CONFIGS).await.is(200);
    assert_eq!((&left["items"][0]["metadata"]["name"], left["items"].as_array().unwrap().len()), (&json!("c"), 1));
}

#[tokio::test]
async fn the_systems_priority_classes_stay() {
    let face = Face::new().await;
    face.delete("/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical").await.fails(
        403,
        "Forbidden",
        "priorityclasses.scheduling.k8s.io \"system-node-critical\" is forbidden: this is a system priority class and \
         cannot be deleted",
    );
}

#[tokio::test]
async fn some_namespaces_stay_and_others_go_when_they_are_empty() {
    let face = Face::new().await;
    face.delete("/api/v1/namespaces/default").await.fails(
        403,
        "Forbidden",
        "namespaces \"default\" is forbidden: this namespace may not be deleted",
    );
    let held = json!({"metadata": {"name": "going"}, "spec": {"finalizers": ["kubernetes"]}});
    face.post("/api/v1/namespaces", held).await.is(201);
    let marked = face.delete("/api/v1/namespaces/going").await.is(200);
    assert_eq!(marked["status"]["phase"], "Terminating");
    let late = json!({"metadata": {"name": "late"}});
    let status = face.post("/api/v1/namespaces/going/configmaps", late).await.fails(
        403,
        "Forbidden",
        "configmaps \"late\" is forbidden: unable to create new content in namespace going because it is being terminated",
    );
    assert_eq!(status["details"]["causes"][0]["reason"], "NamespaceTerminating");
}
