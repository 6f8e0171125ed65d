//! Field selectors per kind.

use jobdock::model::fields::FieldSelector;
use jobdock::model::kind::Kind;
use jobdock::model::object::Object;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

#[track_caller]
fn check(kind: &str, selector: &str, object: Value, expected: bool) {
    let kind = kind_of(kind);
    let object = Object::from_value(kind, object).unwrap();
    let selector = FieldSelector::parse(kind, selector).unwrap();
    assert_eq!(selector.matches(&object), expected, "{selector:?}");
}

#[track_caller]
fn refuses(kind: &str, selector: &str, message: &str) {
    assert_eq!(FieldSelector::parse(kind_of(kind), selector).unwrap_err(), message);
}

fn kind_of(kind: &str) -> &'static Kind {
    Kind::find("", kind).or_else(|| Kind::find("batch", kind)).unwrap()
}

fn event(about: Value) -> Value {
    json!({"metadata": {}, "involvedObject": about, "reason": "Pulled", "type": "Normal", "source": {"component": "kubelet"}})
}

#[test]
fn names_and_namespaces_select_every_kind() {
    let object = || json!({"metadata": {"name": "x", "namespace": "ns"}});
    check("ConfigMap", "", object(), true);
    check("ConfigMap", "metadata.name=x", object(), true);
    check("ConfigMap", "metadata.name==x,metadata.namespace=ns", object(), true);
    check("ConfigMap", "metadata.name!=x", object(), false);
    check("ConfigMap", "metadata.name=y", object(), false);
}

#[test]
fn pods_are_selected_by_node_phase_and_address() {
    let pod = || {
        json!({
            "metadata": {"name": "x"},
            "spec": {"nodeName": "n", "restartPolicy": "Never", "containers": []},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]},
        })
    };
    check("Pod", "spec.nodeName=n", pod(), true);
    check("Pod", "spec.nodeName=", pod(), false);
    check("Pod", "status.phase!=Succeeded,status.phase!=Failed", pod(), true);
    check("Pod", "status.podIP=10.0.0.1", pod(), true);
    check("Pod", "spec.restartPolicy=Always", pod(), false);
    check("Pod", "spec.hostNetwork=false", pod(), true);
    check("Pod", "status.nominatedNodeName=", pod(), true);
}

#[test]
fn events_are_selected_by_what_they_are_about() {
    let about = || event(json!({"kind": "Job", "name": "x", "namespace": "ns", "uid": "u"}));
    check("Event", "involvedObject.name=x,involvedObject.kind=Job,involvedObject.uid=u", about(), true);
    check("Event", "involvedObject.namespace=other", about(), false);
    check("Event", "reason=Pulled,type=Normal,source=kubelet", about(), true);
}

#[test]
fn other_kinds_have_a_few_fields() {
    check("Secret", "type=Opaque", json!({"metadata": {}, "type": "Opaque"}), true);
    check("Job", "status.successful=1", json!({"metadata": {}, "status": {"succeeded": 1}}), true);
    check("Job", "status.successful=0", json!({"metadata": {}}), true);
    check("Namespace", "status.phase=Active", json!({"metadata": {}, "status": {"phase": "Active"}}), true);
    check("Node", "spec.unschedulable=false", json!({"metadata": {}}), true);
}

#[test]
fn values_may_be_escaped() {
    check("ConfigMap", r"metadata.name=a\,b\=c", json!({"metadata": {"name": "a,b=c"}}), true);
}

#[test]
fn what_is_not_a_field_is_refused_in_upstreams_words() {
    refuses("Pod", "spec.foo=x", "field label not supported: spec.foo");
    refuses("Event", "foo=x", "field label not supported: foo");
    refuses("Job", "status.active=1", "field label \"status.active\" not supported for Job");
    refuses(
        "CronJob",
        "spec.x=1",
        "\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
    );
    refuses("Pod", "status.phase", "invalid selector: 'status.phase'; can't understand 'status.phase'");
}

#[test]
fn a_required_name_is_known_before_anything_is_read() {
    let selector = FieldSelector::parse(Kind::of::<Pod>(), "metadata.name=x,status.phase!=Failed").unwrap();
    assert_eq!(selector.required("metadata.name"), Some("x"));
    assert_eq!(selector.required("status.phase"), None);
}
