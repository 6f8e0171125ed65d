//! What pod statuses mean to a follower.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{ContainerSeen, containers, failure, pulls, waiting};

fn pod(phase: &str, statuses: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "uid": "u"},
        "spec": {"containers": []},
        "status": {"phase": phase, "containerStatuses": statuses},
    }))
    .unwrap()
}

fn status(restarts: i32, state: Value, last_state: Value) -> Value {
    json!({"name": "main", "image": "i", "imageID": "", "ready": false, "restartCount": restarts,
           "state": state, "lastState": last_state})
}

fn running() -> Value {
    json!({"running": {}})
}

fn waits(reason: &str) -> Value {
    json!({"waiting": {"reason": reason}})
}

fn ended(code: i32) -> Value {
    json!({"terminated": {"exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" }}})
}

/// (attempt, started, ended, last) of the only container.
#[track_caller]
fn check(phase: &str, status: Value, attempt: i32, started: bool, ended: bool, last: bool) {
    assert_eq!(
        containers(&pod(phase, json!([status]))),
        [ContainerSeen { container: "main".to_owned(), attempt, started, ended, last }]
    );
}

#[test]
fn a_container_that_waits_has_no_output() {
    check("Pending", status(0, waits("ContainerCreating"), json!({})), 0, false, false, false);
}

#[test]
fn a_container_without_a_state_has_no_output() {
    check("Pending", status(0, json!({}), json!({})), 0, false, false, false);
}

#[test]
fn a_running_container_has_output() {
    check("Running", status(0, running(), json!({})), 0, true, false, false);
}

#[test]
fn a_container_in_crash_loop_shows_the_attempt_that_crashed() {
    check("Running", status(2, waits("CrashLoopBackOff"), ended(1)), 2, true, true, false);
}

#[test]
fn a_restarted_container_shows_its_new_attempt() {
    check("Running", status(2, running(), ended(1)), 2, true, false, false);
}

#[test]
fn a_container_of_a_finished_pod_has_its_last_attempt() {
    check("Succeeded", status(0, ended(0), json!({})), 0, true, true, true);
}

#[test]
fn a_failed_pod_names_container_code_and_reason() {
    let failed = failure(&pod("Failed", json!([status(0, ended(42), json!({}))])), false).unwrap();
    assert_eq!(failed.cause(), "container main exited with 42 (Error)");
}

#[test]
fn a_pod_without_a_failed_container_names_its_own_reason() {
    let mut pod = pod("Failed", json!([]));
    let status = pod.status.as_mut().unwrap();
    status.reason = Some("DeadlineExceeded".to_owned());
    status.message = Some("Pod was active too long".to_owned());
    assert_eq!(failure(&pod, false).unwrap().cause(), "DeadlineExceeded: Pod was active too long");
}

#[test]
fn a_running_or_succeeded_pod_did_not_fail() {
    assert_eq!(failure(&pod("Running", json!([status(1, running(), ended(1))])), false), None);
    assert_eq!(failure(&pod("Succeeded", json!([status(0, ended(0), json!({}))])), true), None);
}

#[test]
fn a_pod_deleted_in_its_crash_loop_failed() {
    let failed = failure(&pod("Running", json!([status(3, waits("CrashLoopBackOff"), ended(7))])), true).unwrap();
    assert_eq!(failed.exit_code, Some(7));
}

fn deleted(mut pod: Pod) -> Pod {
    pod.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
    pod
}

#[test]
fn a_pod_that_was_stopped_by_its_deletion_did_not_fail() {
    for phase in ["Running", "Failed"] {
        let pod = deleted(pod(phase, json!([status(0, ended(143), json!({}))])));
        assert_eq!(failure(&pod, true), None, "{phase}");
    }
}

#[test]
fn a_pod_that_was_evicted_failed_though_it_is_deleted() {
    let mut pod = deleted(pod("Failed", json!([status(0, ended(143), json!({}))])));
    let condition = json!([{"type": "DisruptionTarget", "status": "True"}]);
    pod.status.as_mut().unwrap().conditions = serde_json::from_value(condition).unwrap();
    assert_eq!(failure(&pod, false).unwrap().exit_code, Some(143));
}

#[test]
fn only_reasons_that_tell_something_are_shown() {
    let shown = |reason: &str| waiting(&pod("Pending", json!([status(0, waits(reason), json!({}))])));
    assert_eq!(shown("ContainerCreating"), None);
    assert_eq!(shown("ImagePullBackOff").as_deref(), Some("ImagePullBackOff"));
}

#[test]
fn a_pull_is_told_by_the_message_of_a_container_that_is_being_created() {
    let told = |reason: &str, message: &str| {
        let state = json!({"waiting": {"reason": reason, "message": message}});
        let pod = pod("Pending", json!([status(0, state, json!({}))]));
        pulls(&pod).map(|(image, told)| format!("{image}|{told}")).collect::<Vec<_>>()
    };
    let message = "Pulling image \"a.b:5000/c:1\": 1.0 MB of 2.0 MB, 0 of 1 layers";
    assert_eq!(told("ContainerCreating", message), ["a.b:5000/c:1|1.0 MB of 2.0 MB, 0 of 1 layers"]);
    assert_eq!(told("PodInitializing", message).len(), 1);
    assert!(told("ErrImagePull", message).is_empty());
    assert!(told("ContainerCreating", "something else").is_empty());
}
