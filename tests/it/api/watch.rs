//! Watches: where they begin, what they tell, how they end.

use jobdock::store::{Limits, Store};
use serde_json::{Value, json};

use super::face::{CONFIGS, Face};

async fn label(face: &Face, name: &str, color: &str) {
    let patch = json!({"metadata": {"labels": {"color": color}}});
    face.patch(&format!("{CONFIGS}/{name}"), "merge-patch", patch).await.is(200);
}

async fn remove(face: &Face, name: &str) {
    assert_eq!(face.delete(&format!("{CONFIGS}/{name}")).await.code, 200);
}

#[tokio::test]
async fn without_a_revision_it_begins_with_what_is_there() {
    let face = Face::new().await;
    face.config("a", json!({})).await;
    for query in ["watch=true", "watch=1&resourceVersion=0"] {
        let mut watch = face.stream(&format!("{CONFIGS}?{query}")).await;
        assert_eq!(watch.brief().await, "ADDED a");
    }
    let mut watch = face.stream("/api/v1/watch/namespaces/default/configmaps").await;
    assert_eq!(watch.brief().await, "ADDED a");
    face.config("b", json!({})).await;
    label(&face, "a", "red").await;
    remove(&face, "a").await;
    assert_eq!(watch.brief().await, "ADDED b");
    assert_eq!(watch.brief().await, "MODIFIED a");
    assert_eq!(watch.brief().await, "DELETED a");
}

#[tokio::test]
async fn from_a_revision_it_tells_what_came_after() {
    let face = Face::new().await;
    face.config("a", json!({})).await;
    let list = face.get(CONFIGS).await.is(200);
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    face.config("b", json!({})).await;
    let mut watch = face.stream(&format!("{CONFIGS}?watch=true&resourceVersion={revision}")).await;
    assert_eq!(watch.brief().await, "ADDED b");
    face.config("c", json!({})).await;
    assert_eq!(watch.brief().await, "ADDED c");
}

#[tokio::test]
async fn a_deletion_carries_the_last_state_and_its_own_revision() {
    let face = Face::new().await;
    let made = face.config("a", json!({"color": "red"})).await;
    let mut watch = face.stream(&format!("{CONFIGS}?watch=true")).await;
    watch.event().await;
    remove(&face, "a").await;
    let gone = watch.event().await;
    assert_eq!(gone["object"]["metadata"]["labels"]["color"], "red");
    let revision = |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(revision(&gone["object"]) > revision(&made));
}

/// Airflow's watcher takes a pod that goes without a time of deletion for one that another scheduler has taken over.
#[tokio::test]
async fn a_pod_that_goes_is_told_to_have_been_deleted_before_and_as_it_goes() {
    let face = Face::new().await;
    const PODS: &str = "/api/v1/namespaces/default/pods";
    let mut watch = face.stream(&format!("{PODS}?watch=true&resourceVersion=0")).await;
    for (name, node, told) in [
        ("waits", json!(null), "ADDED 1 null, MODIFIED 2 0, DELETED 2 0"),
        ("runs", json!("n"), "ADDED 1 null, MODIFIED 2 30, MODIFIED 2 0, DELETED 2 0"),
    ] {
        let spec = json!({"nodeName": node, "containers": [{"name": "a", "image": "i"}]});
        face.post(PODS, json!({"metadata": {"name": name}, "spec": spec})).await.is(201);
        let mut answer = face.delete(&format!("{PODS}/{name}")).await.is(200);
        if node != json!(null) {
            answer = face.delete(&format!("{PODS}/{name}?gracePeriodSeconds=0")).await.is(200);
        }
        assert_eq!(answer["metadata"]["deletionGracePeriodSeconds"], 0, "{name}");
        let mut seen = Vec::new();
        loop {
            let event = watch.event().await;
            let (kind, meta) = (event["type"].as_str().unwrap(), &event["object"]["metadata"]);
            assert_eq!(meta["deletionTimestamp"].is_string(), kind != "ADDED", "{event}");
            seen.push(format!("{kind} {} {}", meta["generation"], meta["deletionGracePeriodSeconds"]));
            if kind == "DELETED" {
                break;
            }
        }
        assert_eq!(seen.join(", "), told, "{name}");
    }
}

#[tokio::test]
async fn what_enters_or_leaves_the_selection_is_added_or_deleted() {
    let face = Face::new().await;
    face.config("a", json!({"color": "blue"})).await;
    let mut watch = face.stream(&format!("{CONFIGS}?watch=true&labelSelector=color%3Dred")).await;
    label(&face, "a", "red").await;
    label(&face, "a", "red").await;
    face.patch(&format!("{CONFIGS}/a"), "merge-patch", json!({"data": {"b": "2"}})).await.is(200);
    label(&face, "a", "blue").await;
    label(&face, "a", "green").await;
    label(&face, "a", "red").await;
    remove(&face, "a").await;
    assert_eq!(watch.brief().await, "ADDED a");
    assert_eq!(watch.brief().await, "MODIFIED a");
    let left = watch.event().await;
    assert_eq!((&left["type"], &left["object"]["metadata"]["labels"]["color"]), (&json!("DELETED"), &json!("red")));
    assert_eq!(watch.brief().await, "ADDED a");
    assert_eq!(watch.brief().await, "DELETED a");
}

#[tokio::test]
async fn one_name_and_one_namespace_can_be_watched() {
    let face = Face::new().await;
    face.namespace("other").await;
    let mut one = face.stream(&format!("{CONFIGS}?watch=true&fieldSelector=metadata.name%3Db")).await;
    let mut all = face.stream("/api/v1/configmaps?watch=true").await;
    face.config("a", json!({})).await;
    face.post("/api/v1/namespaces/other/configmaps", json!({"metadata": {"name": "b"}})).await.is(201);
    face.config("b", json!({})).await;
    let event = one.event().await;
    assert_eq!((&event["type"], &event["object"]["metadata"]["namespace"]), (&json!("ADDED"), &json!("default")));
    assert_eq!([all.brief().await, all.brief().await, all.brief().await], ["ADDED a", "ADDED b", "ADDED b"]);
}

#[tokio::test]
async fn the_old_address_of_one_object_watches_it() {
    let face = Face::new().await;
    let mut one = face.stream("/api/v1/watch/namespaces/default/configmaps/b").await;
    face.config("a", json!({})).await;
    face.config("b", json!({})).await;
    assert_eq!(one.brief().await, "ADDED b");
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let face = Face::new().await;
    face.config("a", json!({})).await;
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = face.stream(&format!("{CONFIGS}?{query}")).await;
    assert_eq!(watch.brief().await, "ADDED a");
    let bookmark = watch.event().await;
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], face.store.revision().to_string());
    face.config("b", json!({})).await;
    assert_eq!(watch.brief().await, "ADDED b");
    let mut empty = face.stream(&format!("/api/v1/pods?{query}")).await;
    assert_eq!(empty.brief().await, "BOOKMARK");
}

#[tokio::test]
async fn without_initial_events_only_what_comes_is_told() {
    let face = Face::new().await;
    face.config("a", json!({})).await;
    let query = "watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
    let mut watch = face.stream(&format!("{CONFIGS}?{query}")).await;
    face.config("b", json!({})).await;
    assert_eq!(watch.brief().await, "ADDED b");
}

#[tokio::test]
async fn options_that_make_no_sense() {
    let face = Face::new().await;
    for query in ["sendInitialEvents=true", "resourceVersionMatch=NotOlderThan", "resourceVersion=x"] {
        assert_eq!(face.get(&format!("{CONFIGS}?watch=true&{query}")).await.code, 422, "{query}");
    }
    let both = "watch=true&resourceVersionMatch=Exact&resourceVersion=5&sendInitialEvents=true";
    let status: Value = serde_json::from_str(&face.get(&format!("{CONFIGS}?{both}")).await.body).unwrap();
    assert_eq!(status["details"]["causes"].as_array().unwrap().len(), 2, "{status}");
    let yaml = face.get_as(&format!("{CONFIGS}?watch=true"), "application/yaml").await;
    assert_eq!(yaml.code, 406);
    let future = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=99999";
    assert_eq!(face.get(&format!("{CONFIGS}?{future}")).await.code, 504);
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_up_or_the_server_stops() {
    let face = Face::new().await;
    let mut short = face.stream(&format!("{CONFIGS}?watch=true&timeoutSeconds=1")).await;
    assert_eq!(short.line().await, None);
    let mut long = face.stream(&format!("{CONFIGS}?watch=true")).await;
    face.stop.cancel();
    assert_eq!(long.line().await, None);
}

#[tokio::test]
async fn a_revision_that_the_log_has_forgotten_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { log_keep: 3, log_max: 5, ..Limits::default() };
    let store = Store::open_with(dir.path(), limits).unwrap();
    let face = Face::over(store).await;
    let first = face.config("a", json!({})).await;
    let list = face.get(&format!("{CONFIGS}?limit=1")).await.is(200);
    assert!(list["metadata"]["continue"].is_null());
    face.config("b", json!({})).await;
    let token = face.get(&format!("{CONFIGS}?limit=1")).await.is(200)["metadata"]["continue"].clone();
    for number in 0..40 {
        label(&face, "a", &format!("c{number}")).await;
    }
    face.store.upkeep().await.unwrap();
    let revision = first["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = face.stream(&format!("{CONFIGS}?watch=true&resourceVersion={revision}")).await;
    let event = watch.event().await;
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(event["object"]["reason"], "Expired");
    assert_eq!(watch.line().await, None);
    let exact = format!("{CONFIGS}?resourceVersion={revision}&resourceVersionMatch=Exact");
    assert_eq!(face.get(&exact).await.is(410)["reason"], "Expired");
    let expired = face.get(&format!("{CONFIGS}?limit=1&continue={}", token.as_str().unwrap())).await.is(410);
    let rest = expired["metadata"]["continue"].as_str().unwrap();
    let rest = face.get(&format!("{CONFIGS}?continue={rest}")).await.is(200);
    assert_eq!(rest["items"][0]["metadata"]["name"], "b");
}

#[tokio::test]
async fn tables_can_be_watched() {
    let face = Face::new().await;
    face.config("a", json!({})).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let mut watch = face.stream_as(&format!("{CONFIGS}?watch=true"), table).await;
    let first = watch.event().await;
    assert_eq!(first["object"]["kind"], "Table");
    assert_eq!(first["object"]["columnDefinitions"].as_array().unwrap().len(), 3);
    face.config("b", json!({})).await;
    let second = watch.event().await;
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
    assert_eq!(second["object"]["columnDefinitions"], json!([]));
}

#[tokio::test]
async fn quiet_watches_get_bookmarks_when_they_want_them() {
    let face = Face::new().await;
    let mut watch = face.stream(&format!("{CONFIGS}?watch=true&allowWatchBookmarks=true")).await;
    // Other kinds move the revision on; the bookmark tells so.
    face.namespace("other").await;
    // Only now: a clock that jumps while the store's thread works would jump to the watch's own end.
    tokio::time::pause();
    let bookmark = watch.event().await;
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], face.store.revision().to_string());
    assert!(bookmark["object"]["metadata"]["annotations"].is_null());
}
