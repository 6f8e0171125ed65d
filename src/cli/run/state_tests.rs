//! What a run makes of the states that it sees.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
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
fn a_failure_that_the_end_itself_brings_is_not_the_result() {
    let mut run = run();
    assert!(run.end("j", Verdict::TimedOut, "--timeout 1s has passed"));
    run.job_seen(job(finished("Failed")), at(5));
    assert_eq!(run.unfinished(), ["j"], "its pods are still ending");
    run.job_gone("j", at(6));
    let report = &run.reports(at(7), &|_, _| Vec::new())[0];
    assert_eq!((report.result, report.condition.message.as_str()), (Verdict::TimedOut, "--timeout 1s has passed"));
    assert_eq!(report.condition.reason, "");
}

#[test]
fn a_job_that_completes_while_it_is_being_ended_is_complete() {
    let mut run = run();
    assert!(run.end("j", Verdict::TimedOut, ""));
    run.job_seen(job(finished("Complete")), at(5));
    assert_eq!(verdict(&run), Verdict::Complete);
}

#[test]
fn a_job_that_completes_because_its_pods_were_told_to_end_is_not_complete() {
    let mut run = run();
    assert!(run.end("j", Verdict::TimedOut, ""));
    let mut marked = job(finished("Complete"));
    marked.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(4)));
    run.job_seen(marked, at(5));
    assert_eq!(run.unfinished(), ["j"]);
    run.job_gone("j", at(6));
    assert_eq!(verdict(&run), Verdict::TimedOut);
}

#[test]
fn counts_are_those_of_the_moment_when_the_run_ends_the_job() {
    let mut run = run();
    run.job_seen(job(json!({"succeeded": 1})), at(1));
    assert!(run.end("j", Verdict::TimedOut, "--timeout 1s has passed"));
    run.job_seen(job(json!({"succeeded": 2, "failed": 3})), at(2));
    run.pod_seen(&pod("p", "Failed", exited(143)), false, at(2));
    let line = &run.lines("default", at(3))[0];
    assert_eq!((line.succeeded, line.failed), (1, 0));
    run.job_gone("j", at(6));
    let report = &run.reports(at(7), &|_, _| Vec::new())[0];
    assert_eq!((report.succeeded, report.failed, report.failed_pods.len()), (1, 0, 0));
}

#[test]
fn counts_of_a_job_that_completes_before_it_is_marked_are_its_own() {
    let mut run = run();
    assert!(run.end("j", Verdict::TimedOut, ""));
    run.job_seen(job(finished("Complete")), at(5));
    assert_eq!(run.reports(at(7), &|_, _| Vec::new())[0].succeeded, 2);
}

#[test]
fn counts_of_a_job_that_somebody_deletes_are_those_before_that() {
    let mut run = run();
    run.job_seen(job(json!({"failed": 1})), at(1));
    let mut marked = job(json!({"failed": 4}));
    marked.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(4)));
    run.job_seen(marked, at(5));
    run.job_gone("j", at(6));
    assert_eq!(run.reports(at(7), &|_, _| Vec::new())[0].failed, 1);
}

#[test]
fn pods_that_have_not_started_are_pending_and_a_failed_one_is_tried_again_later() {
    let mut run = run();
    run.job_seen(job(json!({"active": 2})), at(1));
    run.pod_seen(&pod("p", "Running", json!({"running": {}})), false, at(1));
    run.pod_seen(&pod("q", "Pending", json!({})), false, at(1));
    let line = &run.lines("default", at(2))[0];
    assert_eq!((line.active, line.pending), (1, 1));
    for uid in ["p", "q"] {
        run.pod_seen(&pod(uid, "Failed", exited(1)), false, at(3));
    }
    run.job_seen(job(json!({"failed": 2})), at(3));
    let line = &run.lines("default", at(3))[0];
    assert_eq!((line.active, line.pending, line.note.as_deref()), (0, 0, Some("waiting to try again")));
}

fn warning(kind: &str, uid: &str, reason: &str) -> Event {
    serde_json::from_value(json!({
        "metadata": {}, "involvedObject": {"kind": kind, "name": format!("hello-{uid}"), "uid": uid},
        "type": "Warning", "reason": reason, "message": "why",
    }))
    .unwrap()
}

#[test]
fn a_warning_that_comes_before_its_pod_waits_for_it() {
    let mut run = run();
    run.warned(&warning("Pod", "p", "FieldNotHonoured"), at(1));
    run.warned(&warning("Pod", "elsewhere", "FieldNotHonoured"), at(1));
    assert!(run.new_warnings().is_empty());
    run.pod_seen(&pod("p", "Succeeded", exited(0)), false, at(2));
    assert_eq!(run.new_warnings(), ["warning: pod hello-p: FieldNotHonoured: why"]);
    run.warned(&warning("Pod", "p", "FieldNotHonoured"), at(3));
    assert!(run.new_warnings().is_empty(), "once each");
    assert_eq!(run.reports(at(4), &|_, _| Vec::new())[0].warnings.len(), 1);
}

#[test]
fn warnings_of_others_do_not_pile_up() {
    let mut run = run();
    for n in 0..super::UNCLAIMED + 5 {
        run.warned(&warning("Pod", &n.to_string(), "FieldNotHonoured"), at(1));
    }
    assert_eq!(run.unclaimed.len(), super::UNCLAIMED);
}

#[test]
fn a_job_none_of_whose_pods_may_be_made_is_hopeless_but_not_while_one_lives() {
    let mut run = run();
    run.warned(&warning("Job", "j", "FailedCreate"), at(0));
    assert_eq!(run.new_warnings(), ["warning: Job hello-j: FailedCreate: why"]);
    assert!(run.hopeless(at(29)).is_empty());
    assert_eq!(run.hopeless(at(30)).into_values().collect::<Vec<_>>(), ["why (for 30 s)"]);
    run.pod_seen(&pod("p", "Running", json!({"running": {}})), false, at(31));
    assert!(run.hopeless(at(61)).is_empty());
}

#[test]
fn a_pod_that_no_node_begins_with_is_told_once_and_late() {
    let mut run = run();
    let unscheduled = |uid: &str| {
        let mut pod = pod(uid, "Pending", json!({}));
        pod.status.as_mut().unwrap().container_statuses = None;
        pod.spec = Some(serde_json::from_value(json!({"containers": [], "schedulerName": "volcano"})).unwrap());
        pod
    };
    run.pod_seen(&unscheduled("p"), false, at(0));
    run.pod_seen(&unscheduled("q"), false, at(0));
    assert!(run.new_unplaced(at(29)).is_empty());
    let lines = run.new_unplaced(at(30));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].ends_with(r#"NotScheduled: scheduler "volcano" has not found a node for it"#), "{lines:?}");
    assert!(run.new_unplaced(at(31)).is_empty());
    assert!(run.hopeless(at(600)).is_empty(), "somebody may run that scheduler");
}

#[test]
fn a_pod_whose_claim_gets_no_volume_is_hopeless_unless_it_is_placed() {
    let mut run = run();
    let mut waits = pod("p", "Pending", json!({}));
    waits.metadata.namespace = Some("default".to_owned());
    waits.status.as_mut().unwrap().container_statuses = None;
    let spec = json!({"containers": [], "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]});
    waits.spec = Some(serde_json::from_value(spec).unwrap());
    run.warned(&about_claim("other", "ProvisioningFailed"), at(0));
    run.warned(&about_claim("c", "FailedBinding"), at(0));
    run.pod_seen(&waits, false, at(0));
    assert!(run.hopeless(at(40)).is_empty(), "nothing is said of its claim that cannot pass");
    run.warned(&about_claim("c", "ProvisioningFailed"), at(1));
    assert!(run.hopeless(at(29)).is_empty());
    assert_eq!(run.hopeless(at(30)).into_values().collect::<Vec<_>>(), [r#"persistentvolumeclaim "c": why"#]);
    waits.spec.as_mut().unwrap().node_name = Some("node".to_owned());
    run.pod_seen(&waits, false, at(31));
    assert!(run.hopeless(at(60)).is_empty(), "a later try has made it");
}

fn about_claim(name: &str, reason: &str) -> Event {
    let about = json!({"kind": "PersistentVolumeClaim", "namespace": "default", "name": name, "uid": "u"});
    let event = json!({
        "metadata": {}, "involvedObject": about, "type": "Warning", "reason": reason, "message": "why",
    });
    serde_json::from_value(event).unwrap()
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
