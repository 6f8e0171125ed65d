//! Pods and templates as a whole: single fields, DNS, what only a pod of its own is held to.

use super::*;

#[test]
fn single_fields_are_checked() {
    let words = "a lowercase RFC 1123 subdomain must consist of…";
    for field in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
        templates(&[(&format!("{field}: A"), &[&format!("{field}: Invalid value: \"A\": {words}")])]);
    }
    templates(&[
        ("terminationGracePeriodSeconds: null", &["terminationGracePeriodSeconds: Required value"]),
        (
            "activeDeadlineSeconds: 0",
            &["activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
        ),
        ("subdomain: a.b", &["subdomain: Invalid value: \"a.b\": must not contain dots"]),
        (
            "preemptionPolicy: Some",
            &["preemptionPolicy: Unsupported value: \"Some\": supported values: \"PreemptLowerPriority\", \"Never\""],
        ),
        ("preemptionPolicy: ''", &["preemptionPolicy: Required value"]),
        ("hostnameOverride: A", &["hostnameOverride: Invalid value: \"A\": a lowercase RFC 1123 subdomain…"]),
        ("containers: []", &["containers: Required value"]),
    ]);
}

#[test]
fn dns_is_checked() {
    templates(&[
        ("dnsPolicy: ''", &["dnsPolicy: Required value"]),
        ("dnsPolicy: None", &["dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]),
        (
            "dnsPolicy: None, dnsConfig: {searches: [a]}",
            &["dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is \
               None"],
        ),
        (
            "dnsConfig: {nameservers: [x]}",
            &["dnsConfig.nameservers[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or \
               2001:db8::ffff)"],
        ),
        ("dnsConfig: {searches: [example.com.]}", &[]),
        ("dnsConfig: {searches: [a_b]}", &["dnsConfig.searches[0]: Invalid value: \"a_b\": a lowercase…"]),
        ("dnsConfig: {options: [{value: a}]}", &["dnsConfig.options[0]: Required value: must not be empty"]),
        (
            &format!("dnsConfig: {{searches: [{}]}}", ["a"; 33].join(",")),
            &["dnsConfig.searches: Invalid value: []string{…"],
        ),
    ]);
}

#[test]
fn only_a_pods_image_is_held_to_its_spaces() {
    alone(&[(
        "spec: {containers: [{image: ' busybox'}]}",
        &["spec.containers[0].image: Invalid value: \" busybox\": must not have leading or trailing whitespace"],
    )]);
}

#[test]
fn a_pod_with_gates_has_no_node() {
    alone(&[(
        "spec: {nodeName: node, schedulingGates: [{name: g}]}",
        &["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"],
    )]);
}

#[test]
fn a_pod_with_a_token_has_an_account() {
    alone(&[(
        "spec: {volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 600}}]}}]}",
        &["spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when \
           serviceAccountName is not set"],
    )]);
}

#[test]
fn pods_may_restart_always() {
    alone(&[("spec: {restartPolicy: Always}", &[])]);
}

#[test]
fn pod_level_resources_hold_their_containers() {
    alone(&[
        ("spec: {resources: {requests: {cpu: '1'}}}", &[]),
        (
            "spec: {resources: {requests: {cpu: '1'}, limits: {memory: 1Gi}}, \
             containers: [{resources: {requests: {cpu: '2'}, limits: {memory: 2Gi, cpu: '2'}}}]}",
            &[
                "spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate \
                 container requests of 2",
                "spec.resources.containers[0][memory].limits: Invalid value: \"2Gi\": must be less than or equal to \
                 pod limits of 1Gi",
            ],
        ),
    ]);
}
