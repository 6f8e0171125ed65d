//! When a pod is given up, and when it is not.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use serde_json::json;

use super::{Creation, Start};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn waiting(reason: &str, message: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p"},
        "status": {"containerStatuses": [{
            "name": "main", "image": "nope:1", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": message}},
        }]},
    }))
    .unwrap()
}

/// Feeds (second, waiting reason) pairs, then asks at `ask`.
fn verdict(seen: &[(i64, &str)], ask: i64) -> Option<String> {
    let mut start = Start::default();
    for (second, reason) in seen {
        start.observe(&waiting(reason, "why"), at(*second));
    }
    start.never(at(ask))
}

#[test]
fn an_invalid_image_name_is_hopeless_at_once() {
    assert_eq!(
        verdict(&[(0, "InvalidImageName")], 0).as_deref(),
        Some(r#"container main: image "nope:1": InvalidImageName: why"#)
    );
}

#[test]
fn an_image_that_is_never_pulled_is_hopeless_at_once() {
    assert!(verdict(&[(0, "ErrImageNeverPull")], 0).is_some());
}

#[test]
fn two_failed_pulls_are_waited_out() {
    assert_eq!(verdict(&[(0, "ErrImagePull"), (1, "ImagePullBackOff"), (10, "ErrImagePull")], 20), None);
}

#[test]
fn the_third_failed_pull_ends_it() {
    let seen = [
        (0, "ErrImagePull"),
        (1, "ImagePullBackOff"),
        (10, "ErrImagePull"),
        (11, "ImagePullBackOff"),
        (30, "ErrImagePull"),
    ];
    assert_eq!(verdict(&seen, 30).as_deref(), Some(r#"container main: image "nope:1": ErrImagePull: why (3 tries)"#));
}

#[test]
fn the_same_failed_pull_seen_twice_counts_once() {
    assert_eq!(verdict(&[(0, "ErrImagePull"), (0, "ErrImagePull"), (1, "ErrImagePull")], 2), None);
}

#[test]
fn pulls_whose_tries_were_not_seen_end_by_time() {
    assert_eq!(verdict(&[(0, "ImagePullBackOff")], 179), None);
    assert!(verdict(&[(0, "ImagePullBackOff")], 180).is_some());
}

#[test]
fn a_missing_config_map_is_waited_for_half_a_minute() {
    assert_eq!(verdict(&[(0, "CreateContainerConfigError"), (20, "CreateContainerConfigError")], 29), None);
    assert_eq!(
        verdict(&[(0, "CreateContainerConfigError"), (20, "CreateContainerConfigError")], 30).as_deref(),
        Some("container main: why (for 30 s)")
    );
}

#[test]
fn a_container_that_cannot_be_made_is_waited_for_half_a_minute() {
    assert_eq!(verdict(&[(0, "CreateContainerError")], 29), None);
    assert_eq!(verdict(&[(0, "CreateContainerError")], 30).as_deref(), Some("container main: why (for 30 s)"));
}

#[test]
fn a_config_map_that_appears_resets_the_wait() {
    assert_eq!(
        verdict(&[(0, "CreateContainerConfigError"), (20, "PodInitializing"), (25, "CreateContainerConfigError")], 40),
        None
    );
}

#[test]
fn a_node_that_is_short_says_of_what() {
    let node = |status: &str| -> super::Node {
        let condition = json!({"type": "DiskPressure", "status": status, "message": "kubelet has disk pressure"});
        serde_json::from_value(json!({"metadata": {"name": "n"}, "status": {"conditions": [condition]}})).unwrap()
    };
    let told = super::short(&node("True")).unwrap();
    assert!(told.starts_with("; node n has DiskPressure: kubelet has disk pressure"), "{told}");
    assert_eq!(super::short(&node("False")), None);
}

#[test]
fn a_volume_that_cannot_be_mounted_is_known_from_events() {
    let event = |message: &str| Event {
        reason: Some("FailedMount".to_owned()),
        message: Some(message.to_owned()),
        ..Event::default()
    };
    let mut start = Start::default();
    start.observe(&waiting("ContainerCreating", ""), at(0));
    assert!(!start.wants_events(at(29)));
    assert!(start.wants_events(at(30)));
    start.events(&[event("MountVolume.SetUp failed: timed out")]);
    assert_eq!(start.never(at(31)), None);
    for why in [
        r#"configmap "c" not found"#,
        "volumes of type nfs are not supported by jobdock",
        "hostPath type check failed: /x is not a directory",
        "path \"/x\" does not exist",
        "volume v has volumeMode Filesystem, but is specified in volumeDevices",
    ] {
        start.events(&[event(&format!("MountVolume.SetUp failed for volume \"v\" : {why}"))]);
        assert!(start.never(at(31)).is_some_and(|told| told.contains(why)), "{why}");
    }
}

fn said(second: i64, reason: &str, message: &str) -> Event {
    serde_json::from_value(json!({
        "metadata": {}, "involvedObject": {}, "reason": reason, "message": message, "lastTimestamp": at(second),
    }))
    .unwrap()
}

#[test]
fn a_sandbox_that_cannot_be_made_is_given_up_unless_the_pod_has_got_on_since() {
    let refused = said(20, "FailedCreatePodSandBox", "Failed to create pod sandbox: port 80 is taken");
    let mut start = Start::default();
    start.observe(&waiting("ContainerCreating", ""), at(0));
    start.events(&[refused.clone(), said(25, "Pulling", "Pulling image")]);
    assert_eq!(start.never(at(31)), None);
    start.events(&[said(0, "Scheduled", ""), refused]);
    assert_eq!(start.never(at(29)), None);
    assert_eq!(start.never(at(31)).as_deref(), Some("Failed to create pod sandbox: port 80 is taken"));
}

fn made(second: i64) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p", "creationTimestamp": at(second)}})).unwrap()
}

const NO_ACCOUNT: &str = r#"Error creating: pods "x-" is forbidden: error looking up service account default/pipeline"#;

#[test]
fn pods_that_may_not_be_made_are_waited_for_half_a_minute() {
    let mut creation = Creation::default();
    creation.event(&said(1, "FailedCreate", NO_ACCOUNT), at(1));
    creation.event(&said(25, "FailedCreate", NO_ACCOUNT), at(25));
    assert_eq!(creation.never(at(30)), None);
    assert_eq!(creation.never(at(31)), Some(format!("{NO_ACCOUNT} (for 30 s)")));
}

#[test]
fn a_pod_that_is_made_ends_the_wait_and_what_was_said_before_it_counts_no_more() {
    let mut creation = Creation::default();
    creation.event(&said(1, "FailedCreate", NO_ACCOUNT), at(1));
    creation.made(&made(10));
    creation.event(&said(1, "FailedCreate", NO_ACCOUNT), at(20));
    assert_eq!(creation.never(at(60)), None);
    creation.event(&said(61, "FailedCreate", NO_ACCOUNT), at(61));
    creation.made(&made(10));
    assert!(creation.never(at(91)).is_some(), "the same pod again is no new one");
}

#[test]
fn a_quota_that_is_used_up_is_waited_for() {
    let mut creation = Creation::default();
    let used_up = r#"Error creating: pods "x-" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2"#;
    creation.event(&said(1, "FailedCreate", used_up), at(1));
    assert_eq!(creation.never(at(600)), None);
}

#[test]
fn a_slow_start_is_not_a_failure() {
    assert_eq!(verdict(&[(0, "ContainerCreating")], 3600), None);
}

#[test]
fn a_pod_that_the_machine_is_too_small_for_is_given_up_and_one_that_waits_for_others_is_not() {
    let words = "0/1 nodes are available: 1 Insufficient cpu.";
    for (why, expected) in [
        ("Preemption is not helpful for scheduling", Some(format!("{words} (for 30 s)"))),
        ("No preemption victims found for incoming pod", None),
    ] {
        let message = format!("{words} preemption: 0/1 nodes are available: 1 {why}.");
        let condition =
            json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p"}, "status": {"conditions": [condition]}})).unwrap();
        let mut start = Start::default();
        start.observe(&pod, at(0));
        start.observe(&pod, at(30));
        assert_eq!((start.never(at(29)), start.never(at(30))), (None, expected));
    }
}
