//! The other kinds: ConfigMaps, Secrets, namespaces, nodes, Events, Leases.

use super::*;

pub fn of(version: &str, kind: &str) -> Value {
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

pub fn update(new: Value, old: Value) -> Vec<String> {
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

/// A Service as the server has it after defaults.
fn service() -> Value {
    let spec = "spec: {type: ClusterIP, sessionAffinity: None, internalTrafficPolicy: Cluster, ports: [{port: 80, \
                protocol: TCP, targetPort: 80}]}";
    with(of("v1", "Service"), spec)
}

#[test]
fn services_are_checked() {
    check(
        |fragment| with(service(), &format!("spec: {{{fragment}}}")),
        "spec.",
        &[
            ("", &[]),
            ("clusterIP: None, clusterIPs: [None], ports: null", &[]),
            ("ports: null", &["ports: Required value"]),
            (
                "type: Some",
                &["type: Unsupported value: \"Some\": supported values: \"ClusterIP\", \"ExternalName\", \
               \"LoadBalancer\", \"NodePort\""],
            ),
            ("type: ExternalName, externalName: example.com., ports: null", &[]),
            ("type: ExternalName, ports: null", &["externalName: Required value"]),
            (
                "type: ExternalName, externalName: a, clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1]",
                &["clusterIPs: Forbidden: may not be set for ExternalName services"],
            ),
            (
                "type: NodePort, externalTrafficPolicy: Cluster, clusterIP: None, clusterIPs: [None]",
                &["clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
            ),
            (
                "sessionAffinity: X",
                &["sessionAffinity: Unsupported value: \"X\": supported values: \"ClientIP\", \"None\""],
            ),
            (
                "ports: [{port: 0, protocol: TCP}]",
                &["ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"],
            ),
            (
                "ports: [{port: 80, protocol: HTTP}]",
                &["ports[0].protocol: Unsupported value: \"HTTP\": supported values: \"SCTP\", \"TCP\", \"UDP\""],
            ),
            (
                "ports: [{port: 80, protocol: TCP, targetPort: a--b}]",
                &["ports[0].targetPort: Invalid value: \"a--b\": must not contain consecutive hyphens"],
            ),
            (
                "ports: [{port: 80, protocol: TCP}, {port: 81, protocol: TCP, name: b}]",
                &["ports[0].name: Required value"],
            ),
            (
                "ports: [{port: 80, protocol: TCP, name: a}, {port: 81, protocol: TCP, name: a}]",
                &["ports[1].name: Duplicate value: \"a\""],
            ),
            (
                "ports: [{port: 80, protocol: TCP, name: a}, {port: 80, protocol: TCP, name: b}]",
                &["ports[1]: Duplicate value: …"],
            ),
            (
                "ports: [{port: 80, protocol: TCP, nodePort: 30000}]",
                &["ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
            ),
            ("clusterIP: x, clusterIPs: [x]", &["clusterIPs[0]: Invalid value: \"x\": must be a valid IP address, …"]),
            (
                "clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2]",
                &["clusterIPs: Invalid value: []string{\"10.0.0.2\"}: first value must match `clusterIP`"],
            ),
            (
                "externalIPs: [127.0.0.1]",
                &[
                    "externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
                ],
            ),
            ("selector: {'a b': c}", &["selector: Invalid value: \"a b\": name part must consist of…"]),
        ],
    );
    let named = |name: &str| with(service(), &format!("metadata: {{name: {name}}}"));
    let words = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
                 character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
                 validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
    let object = object(named("1a"));
    let told: Vec<String> = (object.kind().ops.validate_create)(&object).iter().map(ToString::to_string).collect();
    assert_same("1a", told, &[&format!("metadata.name: Invalid value: \"1a\": {words}")]);
    let old = with(service(), "spec: {clusterIP: None, clusterIPs: [None]}");
    let new = with(service(), "spec: {clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1]}");
    let words = "spec.clusterIPs[0]: Invalid value: []string{\"10.0.0.1\"}: may not change once set";
    assert_same("clusterIP", update(new, old), &[words]);
}

#[test]
fn endpoints_and_slices_are_checked() {
    core(
        "Endpoints",
        &[
            ("subsets: [{addresses: [{ip: 192.0.2.1}], ports: [{port: 80, protocol: TCP}]}]", &[]),
            ("subsets: [{}]", &["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"]),
            (
                "subsets: [{addresses: [{ip: 127.0.0.1}]}]",
                &[
                    "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
                ],
            ),
            (
                "subsets: [{addresses: [{ip: 169.254.0.1, hostname: a.b}]}]",
                &[
                    "subsets[0].addresses[0].ip: Invalid value: \"169.254.0.1\": may not be in the link-local range (169.254.0.0/16, fe80::/10)",
                    "subsets[0].addresses[0].hostname: Invalid value: \"a.b\": must not contain dots",
                ],
            ),
        ],
    );
    check(
        |fragment| with(of("discovery.k8s.io/v1", "EndpointSlice"), fragment),
        "",
        &[
            ("addressType: IPv4, endpoints: [{addresses: [192.0.2.1]}]", &[]),
            ("addressType: ''", &["addressType: Required value"]),
            (
                "addressType: IPv4, endpoints: [{addresses: []}]",
                &["endpoints[0].addresses: Required value: must contain at least 1 address"],
            ),
            (
                "addressType: IPv4, endpoints: [{addresses: ['2001:db8::1']}]",
                &["endpoints[0].addresses[0]: Invalid value: \"2001:db8::1\": must be a valid IPv4 address"],
            ),
            (
                "addressType: FQDN, endpoints: [{addresses: [a.example]}], ports: [{name: a, protocol: TCP}, {name: a, protocol: TCP}]",
                &["ports[1].name: Duplicate value: \"a\""],
            ),
        ],
    );
}
