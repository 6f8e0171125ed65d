//! `pods/resize`: what it may change, and upstream's words for what it may not.

use serde_json::{Value, json};

use super::face::Face;

const PODS: &str = "/api/v1/namespaces/default/pods";
const RESIZE: &str = "/api/v1/namespaces/default/pods/x/resize";

async fn with_pod() -> Face {
    let face = Face::new().await;
    let side = json!({"name": "s", "image": "i", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}});
    let init = json!({"name": "i", "image": "i", "resources": {"requests": {"cpu": "1"}}});
    let main = json!({
        "name": "a", "image": "i", "resizePolicy": [{"resourceName": "memory", "restartPolicy": "NotRequired"}],
        "resources": {"limits": {"cpu": "2", "ephemeral-storage": "1Gi"}, "requests": {"cpu": "1", "memory": "64Mi"}},
    });
    let pod = json!({
        "metadata": {"name": "x"},
        "spec": {"restartPolicy": "Never", "initContainers": [init, side], "containers": [main]},
    });
    face.post(PODS, pod).await.is(201);
    face
}

fn of(name: &str, resources: Value) -> Value {
    json!({"spec": {"containers": [{"name": name, "resources": resources}]}})
}

#[tokio::test]
async fn a_resize_changes_cpu_and_memory_and_nothing_else() {
    let face = with_pod().await;
    let before = face.get(RESIZE).await.is(200);
    assert_eq!(before["spec"]["containers"][0]["resizePolicy"][0]["restartPolicy"], "NotRequired", "it is kept");
    let mut patch = of("a", json!({"limits": {"cpu": "3"}, "requests": {"cpu": "1500m", "memory": "128Mi"}}));
    patch["metadata"] = json!({"labels": {"a": "b"}});
    patch["spec"]["activeDeadlineSeconds"] = json!(5);
    patch["status"] = json!({"phase": "Failed"});
    let after = face.patch(RESIZE, "strategic-merge-patch", patch).await.is(200);
    let resources = &after["spec"]["containers"][0]["resources"];
    assert_eq!(resources["limits"], json!({"cpu": "3", "ephemeral-storage": "1Gi"}));
    assert_eq!(resources["requests"], json!({"cpu": "1500m", "ephemeral-storage": "1Gi", "memory": "128Mi"}));
    assert_eq!((&after["metadata"]["labels"], &after["spec"]["activeDeadlineSeconds"]), (&Value::Null, &Value::Null));
    assert_eq!((&after["status"]["phase"], &after["metadata"]["generation"]), (&json!("Pending"), &json!(2)));
    let owners = after["metadata"]["managedFields"].as_array().expect("it has owners");
    assert!(owners.iter().any(|owner| owner["subresource"] == "resize"), "{owners:?}");
    let same = face.replace(RESIZE, &after).await.is(200);
    assert_eq!(same["metadata"]["generation"], 2, "nothing changed");
}

#[tokio::test]
async fn what_a_resize_may_not_change_is_refused_by_name() {
    let face = with_pod().await;
    let forbidden = |field: &str, why: &str| format!("Pod \"x\" is invalid: {field}: Forbidden: {why}");
    for (patch, message) in [
        (
            of("a", json!({"requests": {"memory": null}})),
            forbidden("spec.containers[0].resources.requests", "resource requests cannot be removed"),
        ),
        (
            of("a", json!({"limits": {"cpu": null}})),
            forbidden("spec.containers[0].resources.limits", "resource limits cannot be removed"),
        ),
        (
            of("a", json!({"limits": {"ephemeral-storage": "2Gi"}, "requests": {"ephemeral-storage": "1Gi"}})),
            forbidden("spec", "only cpu and memory resources are mutable\nchanged: spec.containers"),
        ),
        (
            json!({"spec": {"initContainers": [{"name": "i", "resources": {"requests": {"cpu": "2"}}}]}}),
            forbidden("spec", "only cpu and memory resources are mutable\nchanged: spec.initContainers"),
        ),
        (
            json!({"spec": {"containers": [{"name": "b", "image": "i"}]}}),
            forbidden("spec.containers", "containers may not be added or removed on resize"),
        ),
        (
            of("a", json!({"limits": {"cpu": "1500m"}, "requests": {"cpu": "2"}})),
            "Pod \"x\" is invalid: spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or \
             equal to cpu limit of 1500m"
                .to_owned(),
        ),
    ] {
        face.patch(RESIZE, "strategic-merge-patch", patch).await.fails(422, "Invalid", &message);
    }
    let sidecar = json!({"spec": {"initContainers": [{"name": "s", "resources": {"requests": {"cpu": "2"}}}]}});
    face.patch(RESIZE, "strategic-merge-patch", sidecar).await.is(200);
    let direct = of("a", json!({"limits": {"cpu": "3"}}));
    assert_eq!(face.patch(&format!("{PODS}/x"), "strategic-merge-patch", direct).await.code, 422);
    face.get(&format!("{PODS}/y/resize")).await.fails(404, "NotFound", "pods \"y\" not found");
}

#[tokio::test]
async fn a_resize_keeps_the_quality_of_service() {
    let face = Face::new().await;
    let pod = json!({"metadata": {"name": "x"}, "spec": {"containers": [{"name": "a", "image": "i"}]}});
    face.post(PODS, pod).await.is(201);
    let reply = face.patch(RESIZE, "strategic-merge-patch", of("a", json!({"requests": {"cpu": "1"}}))).await;
    let words = "Pod \"x\" is invalid: spec: Invalid value: \"BestEffort\": Pod QOS Class may not change as a result of \
                 resizing";
    reply.fails(422, "Invalid", words);
}

#[tokio::test]
async fn a_resize_keeps_to_the_limits_of_its_namespace() {
    let face = with_pod().await;
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": "4"}}]}});
    face.post("/api/v1/namespaces/default/limitranges", range).await.is(201);
    let reply = face.patch(RESIZE, "strategic-merge-patch", of("a", json!({"limits": {"cpu": "5"}}))).await;
    assert_eq!(reply.code, 403, "{}", reply.body);
    assert!(reply.body.contains("maximum cpu usage per Container is 4, but limit is 5"), "{}", reply.body);
}
