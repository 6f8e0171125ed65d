//! A pod's status as clients see it: what the kubelet writes, in its shapes, with every required field.

use expect_test::{Expect, expect};
use jiff::Timestamp;
use jobdock::pod::facts::{NodeFacts, PodFacts, VolumesFact};
use jobdock::pod::names;
use jobdock::pod::plan::plan;
use jobdock::runtime::{ContainerSeen, Limits, Seen};
use serde_json::Value;

use super::pod_house::{from_yaml, pod};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).expect("a test's instant is in range")
}

fn facts(spec: &str) -> PodFacts {
    let mut pod = pod(&format!("{{metadata: {{name: p, uid: uid}}, spec: {spec}}}"));
    pod.spec.as_mut().expect("it has a spec").node_name = Some("node".to_owned());
    pod.status = Some(from_yaml("{conditions: [{type: PodScheduled, status: 'True'}]}"));
    let node = NodeFacts { name: "node".to_owned(), ip: "192.0.2.9".to_owned(), ..NodeFacts::default() };
    PodFacts { pod, node, volumes: VolumesFact::Ready, ..PodFacts::default() }
}

fn seen(facts: &mut PodFacts, container: &str, attempt: u32, state: Seen) {
    let name = names::container("uid", container, attempt);
    facts.containers.retain(|seen| seen.name != name);
    facts.containers.push(ContainerSeen {
        name,
        id: "abc".to_owned(),
        labels: names::container_labels(&facts.pod.metadata, container, attempt),
        image_id: "sha256:1".to_owned(),
        limits: Limits::default(),
        ip: Some("172.17.0.2".to_owned()),
        state,
    });
}

/// Commits the plan's status, as the store would.
fn tell(facts: &mut PodFacts, seconds: i64) -> Value {
    facts.pod.status = plan(facts, at(seconds)).status;
    serde_json::to_value(facts.pod.status.clone()).expect("a status is JSON")
}

fn check(value: &Value, expected: Expect) {
    expected.assert_eq(&serde_json::to_string_pretty(value).expect("a tree is JSON"));
}

#[test]
fn a_pod_is_told_from_its_first_to_its_last_moment() {
    let mut facts = facts("{restartPolicy: Never, containers: [{name: main, image: 'busybox:1'}]}");
    check(
        &tell(&mut facts, 0),
        expect![[r#"
        {
          "conditions": [
            {
              "lastTransitionTime": "2023-11-14T22:13:20Z",
              "status": "False",
              "type": "PodReadyToStartContainers"
            },
            {
              "lastTransitionTime": "2023-11-14T22:13:20Z",
              "status": "True",
              "type": "Initialized"
            },
            {
              "lastTransitionTime": "2023-11-14T22:13:20Z",
              "message": "containers with unready status: [main]",
              "reason": "ContainersNotReady",
              "status": "False",
              "type": "Ready"
            },
            {
              "lastTransitionTime": "2023-11-14T22:13:20Z",
              "message": "containers with unready status: [main]",
              "reason": "ContainersNotReady",
              "status": "False",
              "type": "ContainersReady"
            },
            {
              "lastTransitionTime": "2023-11-14T22:13:20Z",
              "status": "True",
              "type": "PodScheduled"
            }
          ],
          "containerStatuses": [
            {
              "image": "busybox:1",
              "imageID": "",
              "lastState": {},
              "name": "main",
              "ready": false,
              "resources": {},
              "restartCount": 0,
              "started": false,
              "state": {
                "waiting": {
                  "reason": "ContainerCreating"
                }
              }
            }
          ],
          "hostIP": "192.0.2.9",
          "hostIPs": [
            {
              "ip": "192.0.2.9"
            }
          ],
          "phase": "Pending",
          "qosClass": "BestEffort",
          "startTime": "2023-11-14T22:13:20Z"
        }"#]],
    );
    seen(&mut facts, "main", 0, Seen::Running { started_at: at(1) });
    check(
        &tell(&mut facts, 2),
        expect![[r#"
        {
          "conditions": [
            {
              "lastTransitionTime": "2023-11-14T22:13:22Z",
              "status": "True",
              "type": "PodReadyToStartContainers"
            },
            {
              "lastTransitionTime": "2023-11-14T22:13:20Z",
              "status": "True",
              "type": "Initialized"
            },
            {
              "lastTransitionTime": "2023-11-14T22:13:22Z",
              "status": "True",
              "type": "Ready"
            },
            {
              "lastTransitionTime": "2023-11-14T22:13:22Z",
              "status": "True",
              "type": "ContainersReady"
            },
            {
              "lastTransitionTime": "2023-11-14T22:13:20Z",
              "status": "True",
              "type": "PodScheduled"
            }
          ],
          "containerStatuses": [
            {
              "containerID": "docker://abc",
              "image": "busybox:1",
              "imageID": "sha256:1",
              "lastState": {},
              "name": "main",
              "ready": true,
              "resources": {},
              "restartCount": 0,
              "started": true,
              "state": {
                "running": {
                  "startedAt": "2023-11-14T22:13:21Z"
                }
              }
            }
          ],
          "hostIP": "192.0.2.9",
          "hostIPs": [
            {
              "ip": "192.0.2.9"
            }
          ],
          "phase": "Running",
          "podIP": "172.17.0.2",
          "podIPs": [
            {
              "ip": "172.17.0.2"
            }
          ],
          "qosClass": "BestEffort",
          "startTime": "2023-11-14T22:13:20Z"
        }"#]],
    );
    let ended = Seen::Exited { code: 3, oom_killed: false, error: None, started_at: at(1), finished_at: at(5) };
    seen(&mut facts, "main", 0, ended);
    check(
        &tell(&mut facts, 6),
        expect![[r#"
        {
          "conditions": [
            {
              "lastTransitionTime": "2023-11-14T22:13:26Z",
              "status": "False",
              "type": "PodReadyToStartContainers"
            },
            {
              "lastTransitionTime": "2023-11-14T22:13:20Z",
              "status": "True",
              "type": "Initialized"
            },
            {
              "lastTransitionTime": "2023-11-14T22:13:26Z",
              "reason": "PodFailed",
              "status": "False",
              "type": "Ready"
            },
            {
              "lastTransitionTime": "2023-11-14T22:13:26Z",
              "reason": "PodFailed",
              "status": "False",
              "type": "ContainersReady"
            },
            {
              "lastTransitionTime": "2023-11-14T22:13:20Z",
              "status": "True",
              "type": "PodScheduled"
            }
          ],
          "containerStatuses": [
            {
              "containerID": "docker://abc",
              "image": "busybox:1",
              "imageID": "sha256:1",
              "lastState": {},
              "name": "main",
              "ready": false,
              "resources": {},
              "restartCount": 0,
              "started": false,
              "state": {
                "terminated": {
                  "containerID": "docker://abc",
                  "exitCode": 3,
                  "finishedAt": "2023-11-14T22:13:25Z",
                  "reason": "Error",
                  "startedAt": "2023-11-14T22:13:21Z"
                }
              }
            }
          ],
          "hostIP": "192.0.2.9",
          "hostIPs": [
            {
              "ip": "192.0.2.9"
            }
          ],
          "phase": "Failed",
          "podIP": "172.17.0.2",
          "podIPs": [
            {
              "ip": "172.17.0.2"
            }
          ],
          "qosClass": "BestEffort",
          "startTime": "2023-11-14T22:13:20Z"
        }"#]],
    );
}

#[test]
fn container_statuses_always_have_their_required_fields() {
    let mut facts = facts(
        "{restartPolicy: OnFailure, initContainers: [{name: i, image: a}], containers: [{name: z, image: a}, {name: b, image: a}]}",
    );
    let value = tell(&mut facts, 0);
    for list in ["initContainerStatuses", "containerStatuses"] {
        for status in value[list].as_array().expect("it is a list") {
            for field in ["name", "image", "imageID", "ready", "restartCount", "state", "lastState", "started"] {
                assert!(!status[field].is_null(), "{field} of {status}");
            }
        }
    }
    // Main containers are told by name, init containers in their order.
    let names: Vec<&str> = value["containerStatuses"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|status| status["name"].as_str())
        .collect();
    assert_eq!(names, ["b", "z"]);
}

#[test]
fn an_end_before_its_start_is_not_told() {
    let mut facts = facts("{restartPolicy: Never, containers: [{name: main, image: a}]}");
    let ended = Seen::Exited { code: 0, oom_killed: false, error: None, started_at: at(10), finished_at: at(5) };
    seen(&mut facts, "main", 0, ended);
    let value = tell(&mut facts, 20);
    let end = &value["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(end["startedAt"], end["finishedAt"]);
}

#[test]
fn readiness_gates_and_foreign_conditions_are_kept() {
    let mut facts = facts(
        "{restartPolicy: Never, readinessGates: [{conditionType: example.com/gate}], containers: [{name: main, image: a}]}",
    );
    seen(&mut facts, "main", 0, Seen::Running { started_at: at(1) });
    let find = |value: &Value, kind: &str| {
        value["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|one| one["type"] == kind)
            .cloned()
            .unwrap_or_default()
    };
    let value = tell(&mut facts, 0);
    assert_eq!(find(&value, "ContainersReady")["status"], "True");
    assert_eq!(find(&value, "Ready")["reason"], "ReadinessGatesNotReady");
    let gate = k8s_openapi::api::core::v1::PodCondition {
        type_: "example.com/gate".to_owned(),
        status: "True".to_owned(),
        ..Default::default()
    };
    facts.pod.status.as_mut().and_then(|status| status.conditions.as_mut()).expect("it has conditions").push(gate);
    let value = tell(&mut facts, 9);
    assert_eq!(find(&value, "Ready")["status"], "True");
    assert_eq!(find(&value, "example.com/gate")["status"], "True");
    assert_eq!(find(&value, "PodScheduled")["lastTransitionTime"], find(&value, "Initialized")["lastTransitionTime"]);
}

#[test]
fn a_host_network_pod_has_the_nodes_address() {
    let mut facts = facts("{restartPolicy: Never, hostNetwork: true, containers: [{name: main, image: a}]}");
    assert_eq!(tell(&mut facts, 0)["podIP"], "192.0.2.9");
}
