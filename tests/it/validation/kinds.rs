//! The other kinds: ConfigMaps, Secrets, namespaces, nodes, Events, Leases.

use super::*;

fn of(version: &str, kind: &str) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": metadata("x")})
}

#[track_caller]
fn core(kind: &str, cases: &[Case<'_>]) {
    check(|fragment| with(of("v1", kind), fragment), "", cases);
}

/// A core kind that lives in no namespace.
#[track_caller]
fn cluster(kind: &str, cases: &[Case<'_>]) {
    check(|fragment| with(with(of("v1", kind), "metadata: {namespace: null}"), fragment), "", cases);
}

fn update(new: Value, old: Value) -> Vec<String> {
    let (new, old) = (object(new), object(old));
    (new.kind().ops.validate_update)(&new, &old).iter().map(ToString::to_string).collect()
}

#[test]
fn config_maps_are_checked() {
    core(
        "ConfigMap",
        &[
            ("data: {a: b}, binaryData: {c: AA==}", &[]),
            ("data: {'a/b': c}", &["data[a/b]: Invalid value: \"a/b\": a valid config key must consist of…"]),
            (
                "data: {a: b}, binaryData: {a: AA==}",
                &["data[a]: Invalid value: \"a\": duplicate of key present in binaryData"],
            ),
            (
                &format!("data: {{a: {}}}", "x".repeat(1024 * 1024 + 1)),
                &[": Too long: may not be more than 1048576 bytes"],
            ),
        ],
    );
    let old = with(of("v1", "ConfigMap"), "immutable: true, data: {a: b}");
    let words = "Forbidden: field is immutable when `immutable` is set";
    let new = with(old.clone(), "immutable: false, data: {a: c}");
    assert_same("immutable", update(new, old), &[&format!("immutable: {words}"), &format!("data: {words}")]);
}

#[test]
fn secrets_have_what_their_type_needs() {
    core(
        "Secret",
        &[
            ("type: Opaque, data: {a: AA==}", &[]),
            ("type: kubernetes.io/tls", &["data[tls.crt]: Required value", "data[tls.key]: Required value"]),
            ("type: kubernetes.io/basic-auth", &["data[username]: Required value", "data[password]: Required value"]),
            ("type: kubernetes.io/ssh-auth", &["data[ssh-privatekey]: Required value"]),
            ("type: kubernetes.io/dockerconfigjson", &["data[.dockerconfigjson]: Required value"]),
            (
                "type: kubernetes.io/dockerconfigjson, data: {.dockerconfigjson: AA==}",
                &["data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": …"],
            ),
            (
                "type: kubernetes.io/service-account-token",
                &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
            ),
        ],
    );
    let old = with(of("v1", "Secret"), "type: Opaque");
    let error = "type: Invalid value: \"other\": field is immutable";
    assert_same("type", update(with(old.clone(), "type: other"), old), &[error]);
}

#[test]
fn namespaces_are_labels() {
    cluster(
        "Namespace",
        &[
            ("", &[]),
            ("metadata: {name: a.b}", &["metadata.name: Invalid value: \"a.b\": must not contain dots"]),
            (
                "spec: {finalizers: [x]}",
                &["spec.finalizers: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully \
               qualified"],
            ),
        ],
    );
}

#[test]
fn nodes_are_checked() {
    cluster(
        "Node",
        &[
            ("spec: {taints: [{key: a, effect: NoSchedule}]}", &[]),
            (
                "spec: {taints: [{key: a, effect: Some}]}",
                &["metadata.taints[0].effect: Unsupported value: \"Some\": supported values: \"NoSchedule\", \
               \"PreferNoSchedule\", \"NoExecute\""],
            ),
            (
                "spec: {taints: [{key: a, effect: NoSchedule}, {key: a, effect: NoSchedule}]}",
                &["metadata.taints[1]: Duplicate value: …"],
            ),
            ("spec: {podCIDRs: [x]}", &["spec.podCIDRs[0]: Invalid value: \"x\": must be a valid CIDR value,…"]),
            ("status: {capacity: {cpu: '-1'}}", &["status.capacity.cpu: Invalid value: \"-1\": must be greater than…"]),
        ],
    );
}

#[test]
fn events_agree_with_their_object() {
    core(
        "Event",
        &[
            ("involvedObject: {namespace: default}", &[]),
            ("involvedObject: {}", &[]),
            (
                "involvedObject: {namespace: other}",
                &["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"],
            ),
            (
                "involvedObject: {namespace: default}, eventTime: '2024-01-01T00:00:00.000000Z'",
                &[
                    "reportingComponent: Required value",
                    "reportingComponent: Invalid value: \"\": name part must be non-empty",
                    "reportingComponent: Invalid value: \"\": name part must consist of…",
                    "reportingInstance: Required value",
                    "action: Required value",
                    "reason: Required value",
                ],
            ),
        ],
    );
}

#[test]
fn leases_are_checked() {
    check(
        |fragment| with(of("coordination.k8s.io/v1", "Lease"), fragment),
        "spec.",
        &[
            ("spec: {leaseDurationSeconds: 1}", &[]),
            (
                "spec: {leaseDurationSeconds: 0, leaseTransitions: -1, preferredHolder: x}",
                &[
                    "leaseDurationSeconds: Invalid value: 0: must be greater than 0",
                    "leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
                    "preferredHolder: Forbidden: may only be specified if `strategy` is defined",
                ],
            ),
        ],
    );
}
