//! What a run makes of the states that it sees.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{FAILED_PODS, Run};
use crate::cli::run::report::Verdict;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn job(status: Value) -> Job {
    serde_json::from_value(json!({
        "metadata": {"name": "hello", "namespace": "default", "uid": "j"},
        "spec": {"completions": 2, "template": {}},
        "status": status,
    }))
    .unwrap()
}

fn finished(condition: &str) -> Value {
    json!({"succeeded": 2, "conditions": [{"type": condition, "status": "True", "reason": "R", "message": "M"}]})
}

fn pod(uid: &str, phase: &str, state: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": format!("hello-{uid}"), "namespace": "default", "uid": uid,
                     "labels": {"batch.kubernetes.io/controller-uid": "j"}},
        "status": {"phase": phase, "containerStatuses": [{
            "name": "main", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state}]},
    }))
    .unwrap()
}

fn exited(code: i32) -> Value {
    json!({"terminated": {"exitCode": code, "reason": "Error"}})
}

fn run() -> Run {
    let mut run = Run::default();
    run.add(job(json!({})), at(0));
    run
}

fn verdict(run: &Run) -> Verdict {
    run.reports(at(100), &|_, _| Vec::new())[0].result
}

#[test]
fn a_complete_job_is_over() {
    let mut run = run();
    assert_eq!(run.unfinished(), ["j"]);
    run.job_seen(job(finished("Complete")), at(5));
    assert!(run.unfinished().is_empty());
    assert_eq!(verdict(&run), Verdict::Complete);
    assert_eq!(run.lines("default", at(50))[0].elapsed, SignedDuration::from_secs(5));
}

#[test]
fn a_condition_that_only_announces_the_end_is_not_the_end() {
    let mut run = run();
    run.job_seen(job(finished("FailureTarget")), at(5));
    run.job_seen(job(finished("SuccessCriteriaMet")), at(5));
    assert_eq!(run.unfinished(), ["j"]);
}

#[test]
fn a_finished_job_that_is_deleted_stays_finished() {
    let mut run = run();
    run.job_seen(job(finished("Complete")), at(5));
    run.job_gone("j", at(6));
    assert_eq!(verdict(&run), Verdict::Complete);
}

#[test]
fn a_job_that_somebody_deletes_is_over() {
    let mut run = run();
    run.job_gone("j", at(6));
    assert_eq!(verdict(&run), Verdict::Deleted);
}

#[test]
fn a_job_missing_from_a_list_is_gone() {
    let mut run = run();
    run.jobs_listed("elsewhere", &HashSet::new(), at(1));
    assert_eq!(run.unfinished(), ["j"]);
    run.jobs_listed("default", &HashSet::from(["j".to_owned()]), at(1));
    assert_eq!(run.unfinished(), ["j"]);
    run.jobs_listed("default", &HashSet::new(), at(1));
    assert_eq!(verdict(&run), Verdict::Deleted);
}

#[test]
fn a_job_that_the_run_deletes_ends_when_it_is_gone() {
    let mut run = run();
    assert!(run.end("j", Verdict::TimedOut, "--timeout 1s has passed"));
    assert!(!run.end("j", Verdict::Interrupted, "again"), "the first reason holds");
    assert_eq!(run.unfinished(), ["j"]);
    assert_eq!(run.lines("default", at(1))[0].note.as_deref(), Some("stopping"));
    run.job_gone("j", at(6));
    assert_eq!(verdict(&run), Verdict::TimedOut);
}

#[test]
fn a_finished_job_is_not_ended_again() {
    let mut run = run();
    run.job_seen(job(finished("Failed")), at(5));
    assert!(!run.end("j", Verdict::Interrupted, ""));
    assert_eq!(verdict(&run), Verdict::Failed);
}

#[test]
fn other_jobs_and_their_pods_are_nobodys_business() {
    let mut run = run();
    let mut other = job(finished("Failed"));
    other.metadata.uid = Some("x".to_owned());
    run.job_seen(other, at(1));
    let mut pod = pod("p", "Running", json!({"running": {}}));
    pod.metadata.labels.as_mut().unwrap().insert("batch.kubernetes.io/controller-uid".to_owned(), "x".to_owned());
    assert_eq!(run.pod_seen(&pod, false, at(1)), super::PodStep::default());
    assert_eq!(run.unfinished(), ["j"]);
}

#[test]
fn a_failed_pod_is_told_once() {
    let mut run = run();
    assert!(run.pod_seen(&pod("p", "Failed", exited(3)), false, at(1)).failed.is_some());
    assert!(run.pod_seen(&pod("p", "Failed", exited(3)), true, at(2)).failed.is_none());
    assert_eq!(run.container_exit_code("main"), Some(3));
}

#[test]
fn the_last_failed_pods_are_kept_and_the_rest_counted() {
    let mut run = run();
    for n in 0..FAILED_PODS + 3 {
        run.pod_seen(&pod(&n.to_string(), "Failed", exited(1)), false, at(1));
    }
    let report = &run.reports(at(2), &|uid, container| vec![format!("{uid} {container}")])[0];
    assert_eq!(report.failed_pods.len(), FAILED_PODS);
    assert_eq!(report.failed_pods_omitted, 3);
    assert_eq!(report.failed_pods[0].last_lines, ["3 main"]);
}

#[test]
fn a_deleted_pod_has_no_further_attempt() {
    let mut run = run();
    let running = pod("p", "Running", json!({"running": {}}));
    assert!(!run.pod_seen(&running, false, at(1)).containers[0].last);
    assert!(run.pod_seen(&running, true, at(2)).containers[0].last);
}

#[test]
fn a_hopeless_pod_names_its_job_until_that_is_being_ended() {
    let mut run = run();
    run.pod_seen(&pod("p", "Pending", json!({"waiting": {"reason": "InvalidImageName"}})), false, at(1));
    assert_eq!(run.hopeless(at(1)).into_keys().collect::<Vec<_>>(), ["j"]);
    assert!(run.end("j", Verdict::NeverStarted, ""));
    assert!(run.hopeless(at(1)).is_empty());
}

#[test]
fn events_are_asked_for_seldom() {
    let mut run = run();
    run.pod_seen(&pod("p", "Pending", json!({"waiting": {"reason": "ContainerCreating"}})), false, at(0));
    let every = SignedDuration::from_secs(10);
    assert!(run.pods_to_ask(at(20), every).is_empty());
    assert_eq!(run.pods_to_ask(at(30), every), [("default".to_owned(), "p".to_owned())]);
    assert!(run.pods_to_ask(at(35), every).is_empty());
    assert_eq!(run.pods_to_ask(at(40), every).len(), 1);
}

#[test]
fn a_job_outside_the_namespace_is_named_with_its_own() {
    assert_eq!(run().lines("default", at(0))[0].name, "hello");
    assert_eq!(run().lines("other", at(0))[0].name, "default/hello");
}

#[test]
fn pods_that_wait_for_one_image_show_one_pull_until_it_is_there() {
    let mut run = Run::default();
    run.add(job(json!({})), at(0));
    let pulling = json!({"waiting": {
        "reason": "ContainerCreating", "message": "Pulling image \"busybox:1\": 0 of 2 layers",
    }});
    for uid in ["p1", "p2"] {
        run.pod_seen(&pod(uid, "Pending", pulling.clone()), false, at(1));
    }
    assert_eq!(run.pulls().into_iter().collect::<Vec<_>>(), [("busybox:1", "0 of 2 layers")]);
    for uid in ["p1", "p2"] {
        run.pod_seen(&pod(uid, "Running", json!({"running": {}})), false, at(2));
    }
    assert!(run.pulls().is_empty());
}
