//! Lists: selection, pages over one snapshot, revisions, forms.

use serde_json::{Value, json};

use super::face::{CONFIGS, Face};

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

async fn some() -> Face {
    let face = Face::new().await;
    for (name, color) in [("a", "red"), ("b", "blue"), ("c", "red"), ("d", "green"), ("e", "red")] {
        face.config(name, json!({"color": color})).await;
    }
    face
}

#[tokio::test]
async fn a_list_tells_its_kind_and_revision() {
    let face = some().await;
    let list = face.get(CONFIGS).await.is(200);
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    assert_eq!(list["metadata"], json!({"resourceVersion": face.store.revision().to_string()}));
    assert_eq!(names(&list), ["a", "b", "c", "d", "e"]);
    assert_eq!(names(&face.get("/api/v1/configmaps").await.is(200)), ["a", "b", "c", "d", "e"]);
    assert_eq!(names(&face.get("/api/v1/namespaces/other/configmaps").await.is(200)), [""; 0]);
}

#[tokio::test]
async fn selectors_choose() {
    let face = some().await;
    let list = async |query: &str| face.get(&format!("{CONFIGS}?{query}")).await.is(200);
    assert_eq!(names(&list("labelSelector=color%3Dred").await), ["a", "c", "e"]);
    assert_eq!(names(&list("labelSelector=color+in+(blue,green)").await), ["b", "d"]);
    assert_eq!(names(&list("fieldSelector=metadata.name%3Dc").await), ["c"]);
    assert_eq!(names(&list("fieldSelector=metadata.name%3Dcc").await), [""; 0]);
    assert_eq!(names(&list("fieldSelector=metadata.name!%3Dc&labelSelector=color%3Dred").await), ["a", "e"]);
    let status = face.get(&format!("{CONFIGS}?labelSelector=,")).await;
    status.fails(400, "BadRequest", "found ',', expected: !, identifier, or 'end of string'");
    let status = face.get("/api/v1/namespaces/default/pods?fieldSelector=spec.foo%3Dx").await;
    status.fails(400, "BadRequest", "field label not supported: spec.foo");
    let services = "/api/v1/namespaces/default/services";
    for (name, ip) in [("a", json!("None")), ("b", json!(null))] {
        let spec = json!({"clusterIP": ip, "ports": [{"port": 80}], "selector": {"a": "b"}});
        face.post(services, json!({"metadata": {"name": name}, "spec": spec})).await.is(201);
    }
    let chosen = async |query: &str| face.get(&format!("{services}?fieldSelector={query}")).await.is(200);
    assert_eq!(names(&chosen("spec.clusterIP%3DNone").await), ["a"]);
    assert_eq!(names(&chosen("spec.type%3DClusterIP").await), ["a", "b"]);
}

#[tokio::test]
async fn pages_show_one_snapshot() {
    let face = some().await;
    let first = face.get(&format!("{CONFIGS}?limit=2")).await.is(200);
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    face.config("bb", json!({})).await;
    assert_eq!(face.delete(&format!("{CONFIGS}/d")).await.code, 200);
    let second = face.get(&format!("{CONFIGS}?limit=2&continue={token}")).await.is(200);
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = face.get(&format!("{CONFIGS}?limit=2&continue={token}")).await.is(200);
    assert_eq!(names(&third), ["e"]);
    assert!(third["metadata"]["continue"].is_null() && third["metadata"]["remainingItemCount"].is_null());
    let rest = face.get(&format!("{CONFIGS}?continue={token}")).await.is(200);
    assert_eq!(names(&rest), ["e"]);
}

#[tokio::test]
async fn pages_of_selected_objects_are_full() {
    let face = some().await;
    let first = face.get(&format!("{CONFIGS}?limit=2&labelSelector=color%3Dred")).await.is(200);
    assert_eq!(names(&first), ["a", "c"]);
    assert!(first["metadata"]["remainingItemCount"].is_null());
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = face.get(&format!("{CONFIGS}?limit=2&labelSelector=color%3Dred&continue={token}")).await.is(200);
    assert_eq!(names(&second), ["e"]);
}

#[tokio::test]
async fn more_objects_than_a_page_of_the_store() {
    let face = Face::new().await;
    for number in 0..1203 {
        face.put(jobdock::model::object::Object::new(k8s_openapi::api::core::v1::ConfigMap {
            metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                namespace: Some("default".to_owned()),
                name: Some(format!("c{number:04}")),
                ..Default::default()
            },
            ..Default::default()
        }))
        .await;
    }
    let all = face.get(CONFIGS).await.is(200);
    assert_eq!(names(&all).len(), 1203);
    let most = face.get(&format!("{CONFIGS}?limit=1100")).await.is(200);
    assert_eq!((names(&most).len(), &most["metadata"]["remainingItemCount"]), (1100, &json!(103)));
    let none = face.get(&format!("{CONFIGS}?labelSelector=a")).await.is(200);
    assert_eq!(names(&none).len(), 0);
}

#[tokio::test]
async fn revisions_old_and_new() {
    let face = some().await;
    let before = face.store.revision();
    face.config("f", json!({})).await;
    let list = async |query: String| face.get(&format!("{CONFIGS}?{query}")).await;
    let exact = list(format!("resourceVersion={before}&resourceVersionMatch=Exact")).await.is(200);
    assert_eq!(names(&exact), ["a", "b", "c", "d", "e"]);
    assert_eq!(exact["metadata"]["resourceVersion"], before.to_string());
    let newer = list(format!("resourceVersion={before}&resourceVersionMatch=NotOlderThan")).await.is(200);
    assert_eq!(names(&newer).len(), 6);
    assert_eq!(names(&list("resourceVersion=0".to_owned()).await.is(200)).len(), 6);
    let status = list("resourceVersion=999999".to_owned()).await;
    let now = face.store.revision();
    let status = status.fails(504, "Timeout", &format!("Too large resource version: 999999, current: {now}"));
    assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(list("resourceVersionMatch=Exact".to_owned()).await.code, 422);
    assert_eq!(list("resourceVersion=x".to_owned()).await.code, 422);
    assert_eq!(list("limit=x".to_owned()).await.code, 400);
    assert_eq!(list("continue=x".to_owned()).await.code, 400);
    assert_eq!(list("sendInitialEvents=true".to_owned()).await.code, 422);
}

#[tokio::test]
async fn tables_and_metadata() {
    let face = some().await;
    let table = face.get_as(CONFIGS, "application/json;as=Table;v=v1;g=meta.k8s.io").await.is(200);
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["columnDefinitions"][0]["format"], "name");
    assert!(table["columnDefinitions"][1]["description"].as_str().unwrap().contains("configuration data"));
    assert_eq!(table["rows"].as_array().unwrap().len(), 5);
    assert_eq!(table["rows"][0]["cells"][1], 1);
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let whole = format!("{CONFIGS}?includeObject=Object");
    let table = face.get_as(&whole, "application/json;as=Table;v=v1;g=meta.k8s.io").await.is(200);
    assert_eq!(table["rows"][0]["object"]["kind"], "ConfigMap");
    let one = face.get_as(&format!("{CONFIGS}/a"), "application/json;as=Table;v=v1;g=meta.k8s.io").await.is(200);
    assert_eq!(one["rows"].as_array().unwrap().len(), 1);
    let metadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = face.get_as(CONFIGS, metadata).await.is(200);
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert!(list["items"][0]["data"].is_null());
    let yaml = face.get_as(CONFIGS, "application/yaml").await.body;
    assert!(yaml.contains("kind: ConfigMapList"), "{yaml}");
}
