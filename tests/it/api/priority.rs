//! PriorityClasses: their rules, and what they make of pods.

use serde_json::{Value, json};

use super::face::Face;

const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn class(name: &str, value: i64, more: Value) -> Value {
    let mut class = json!({"metadata": {"name": name}, "value": value});
    for (key, value) in more.as_object().expect("a map") {
        class[key] = value.clone();
    }
    class
}

fn pod(name: &str, spec: Value) -> Value {
    let mut pod = json!({
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]},
    });
    for (key, value) in spec.as_object().expect("a map") {
        pod["spec"][key] = value.clone();
    }
    pod
}

#[tokio::test]
async fn a_class_is_checked_and_its_value_stays() {
    let face = Face::new().await;
    let made = face.post(CLASSES, class("high", 7, json!({}))).await.is(201);
    assert_eq!(made["preemptionPolicy"], "PreemptLowerPriority");
    let refused = |name: &str, why: &str| format!("PriorityClass.scheduling.k8s.io \"{name}\" is invalid: {why}");
    let system = "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. \
                  error: system-x is not a known system priority class";
    let high = "value: Forbidden: maximum allowed value of a user defined priority is 1000000000";
    for (name, value, why) in [("system-x", 1, system), ("x", 1_000_000_001, high)] {
        face.post(CLASSES, class(name, value, json!({}))).await.fails(422, "Invalid", &refused(name, why));
    }
    let changed = face.patch(&format!("{CLASSES}/high"), "merge-patch", json!({"value": 8})).await;
    changed.fails(422, "Invalid", &refused("high", "value: Forbidden: may not be changed in an update."));
}

#[tokio::test]
async fn one_class_is_the_default_of_pods_that_name_none() {
    let face = Face::new().await;
    let plain = face.post(PODS, pod("plain", json!({}))).await.is(201);
    assert_eq!((&plain["spec"]["priority"], &plain["spec"]["priorityClassName"]), (&json!(0), &Value::Null));
    assert_eq!(plain["spec"]["preemptionPolicy"], "PreemptLowerPriority");
    face.post(CLASSES, class("first", 3, json!({"globalDefault": true, "preemptionPolicy": "Never"}))).await.is(201);
    let why = "priorityclasses.scheduling.k8s.io \"second\" is forbidden: PriorityClass first is already marked as \
               default. Only one default can exist";
    face.post(CLASSES, class("second", 4, json!({"globalDefault": true}))).await.fails(403, "Forbidden", why);
    let made = face.post(PODS, pod("p", json!({}))).await.is(201);
    assert_eq!(made["spec"]["priority"], 3);
    assert_eq!(made["spec"]["priorityClassName"], "first");
    assert_eq!(made["spec"]["preemptionPolicy"], "Never");
}

#[tokio::test]
async fn a_pod_has_the_priority_of_its_class_and_no_other() {
    let face = Face::new().await;
    face.post(CLASSES, class("high", 7, json!({}))).await.is(201);
    let made = face.post(PODS, pod("p", json!({"priorityClassName": "high"}))).await.is(201);
    assert_eq!(made["spec"]["priority"], 7);
    let computed = "must not be provided in pod spec; priority admission controller computed";
    for (spec, why) in [
        (json!({"priorityClassName": "x"}), "no PriorityClass with name x was found".to_owned()),
        (
            json!({"priorityClassName": "high", "priority": 8}),
            format!("the integer value of priority (8) {computed} 7 from the given PriorityClass name"),
        ),
        (
            json!({"priorityClassName": "high", "preemptionPolicy": "Never"}),
            format!(
                "the string value of PreemptionPolicy (Never) {computed} PreemptLowerPriority from the given \
                 PriorityClass name"
            ),
        ),
    ] {
        face.post(PODS, pod("q", spec)).await.fails(403, "Forbidden", &format!("pods \"q\" is forbidden: {why}"));
    }
}
