//! Containers: names, images, ports, environment, resources, probes, hooks, mounts, and the kinds of containers.

use super::*;

#[test]
fn names_and_images_are_given() {
    in_container(&[
        ("name: ''", &["name: Required value"]),
        ("name: A_b", &["name: Invalid value: \"A_b\": a lowercase RFC 1123 label must consist of…"]),
        ("image: ''", &["image: Required value"]),
        ("image: ' busybox'", &[]),
        (
            "imagePullPolicy: Sometimes",
            &["imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \
               \"Never\""],
        ),
        (
            "terminationMessagePolicy: Log",
            &["terminationMessagePolicy: Unsupported value: \"Log\": supported values: \"File\", \
               \"FallbackToLogsOnError\""],
        ),
        ("restartPolicy: Never", &[]),
        ("restartPolicy: Always", &["restartPolicy: Forbidden: may not be set for non-init containers"]),
        ("restartPolicy: Sometimes", &["restartPolicy: Forbidden: may not be set for non-init containers"]),
        ("restartPolicy: ''", &["restartPolicy: Forbidden: may not be set for non-init containers"]),
    ]);
}

#[test]
fn names_are_unique() {
    let other = container_named("main").to_string();
    templates(&[
        (&format!("containers: [{{}}, {other}]"), &["containers[1].name: Duplicate value: \"main\""]),
        (&format!("initContainers: [{other}]"), &["initContainers[0].name: Duplicate value: \"main\""]),
        (
            &format!("ephemeralContainers: [{other}]"),
            &[
                "ephemeralContainers[0].name: Duplicate value: \"main\"",
                "ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template",
            ],
        ),
    ]);
}

#[test]
fn ports_are_checked() {
    in_container(&[
        (
            "ports: [{containerPort: 70000, protocol: TCP}]",
            &["ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
        ),
        (
            "ports: [{containerPort: 80, hostPort: -1, protocol: TCP}]",
            &["ports[0].hostPort: Invalid value: -1: must be between 1 and 65535, inclusive"],
        ),
        (
            "ports: [{containerPort: 80, protocol: HTTP}]",
            &["ports[0].protocol: Unsupported value: \"HTTP\": supported values: \"SCTP\", \"TCP\", \"UDP\""],
        ),
        (
            "ports: [{name: a, containerPort: 80, protocol: TCP}, {name: a, containerPort: 81, protocol: TCP}]",
            &["ports[1].name: Duplicate value: \"a\""],
        ),
        (
            "ports: [{name: -a--b-, containerPort: 80, protocol: TCP}]",
            &[
                "ports[0].name: Invalid value: \"-a--b-\": must not contain consecutive hyphens",
                "ports[0].name: Invalid value: \"-a--b-\": must not begin or end with a hyphen",
            ],
        ),
        (
            "ports: [{containerPort: 80, hostPort: 8, protocol: TCP}, {containerPort: 81, hostPort: 8, protocol: TCP}]",
            &["ports[1].hostPort: Duplicate value: \"TCP//8\""],
        ),
    ]);
    templates(&[(
        "hostNetwork: true, containers: [{ports: [{containerPort: 80, hostPort: 81, protocol: TCP}]}]",
        &["containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"],
    )]);
}

#[test]
fn environment_is_checked() {
    let from = |source: &str| format!("env: [{{name: A, valueFrom: {{{source}}}}}]");
    in_container(&[
        ("env: [{name: ''}]", &["env[0].name: Required value"]),
        ("env: [{name: 'a b.c-d$'}]", &[]),
        ("env: [{name: ä}]", &["env[0].name: Invalid value: \"ä\": a valid environment variable name must consist…"]),
        (
            "env: [{name: A, valueFrom: {}}]",
            &["env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, \
               `configMapKeyRef` or `secretKeyRef`"],
        ),
        (
            "env: [{name: A, value: x, valueFrom: {secretKeyRef: {name: s, key: k}}}]",
            &["env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"],
        ),
        (
            &from("secretKeyRef: {name: s, key: k}, configMapKeyRef: {name: s, key: k}"),
            &["env[0].valueFrom: Invalid value: \"\": may not have more than one field specified at a time"],
        ),
        (
            &from("secretKeyRef: {name: '', key: ''}"),
            &[
                "env[0].valueFrom.secretKeyRef.name: Invalid value: \"\": a lowercase RFC 1123 subdomain…",
                "env[0].valueFrom.secretKeyRef.key: Required value",
            ],
        ),
        (
            &from("configMapKeyRef: {name: c, key: 'a/b'}"),
            &["env[0].valueFrom.configMapKeyRef.key: Invalid value: \"a/b\": a valid config key must consist of…"],
        ),
        (
            &from("configMapKeyRef: {name: c, key: ..x}"),
            &["env[0].valueFrom.configMapKeyRef.key: Invalid value: \"..x\": must not start with '..'"],
        ),
        (&from("fieldRef: {apiVersion: v1, fieldPath: ''}"), &["env[0].valueFrom.fieldRef.fieldPath: Required value"]),
        (
            &from("fieldRef: {apiVersion: v2, fieldPath: metadata.name}"),
            &["env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"metadata.name\": error converting fieldPath: \
               unsupported pod version: v2"],
        ),
        (
            &from("fieldRef: {apiVersion: v1, fieldPath: spec.nope}"),
            &["env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.nope\": error converting fieldPath: field \
               label not supported: spec.nope"],
        ),
        (
            &from("fieldRef: {apiVersion: v1, fieldPath: \"spec.x['a']\"}"),
            &[
                "env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.x['a']\": error converting fieldPath: field \
               label does not support subscript: spec.x['a']",
            ],
        ),
        (&from("fieldRef: {apiVersion: v1, fieldPath: \"metadata.labels['a']\"}"), &[]),
        (
            &from("fieldRef: {apiVersion: v1, fieldPath: \"metadata.labels['a b']\"}"),
            &["env[0].valueFrom.fieldRef: Invalid value: \"a b\": name part must consist of…"],
        ),
        (
            &from("fieldRef: {apiVersion: v1, fieldPath: metadata.labels}"),
            &["env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"metadata.labels\": supported values: \
               \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \
               \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\""],
        ),
        (&from("resourceFieldRef: {resource: ''}"), &["env[0].valueFrom.resourceFieldRef.resource: Required value"]),
        (&from("resourceFieldRef: {resource: limits.hugepages-2Mi, divisor: 1Mi}"), &[]),
        (
            &from("resourceFieldRef: {resource: limits.gpu}"),
            &["env[0].valueFrom.resourceFieldRef.resource: Unsupported value: \"limits.gpu\": supported values: \
               \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \
               \"requests.ephemeral-storage\", \"requests.memory\""],
        ),
        (
            &from("resourceFieldRef: {resource: limits.cpu, divisor: 2m}"),
            &[
                "env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and \
               1 are supported with the cpu resource",
            ],
        ),
        (
            &from("resourceFieldRef: {resource: requests.memory, divisor: 2Mi}"),
            &[
                "env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"requests.memory\": only divisor's values 1, \
               1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource",
            ],
        ),
    ]);
}

#[test]
fn environment_from_sources_is_checked() {
    in_container(&[
        ("envFrom: [{}]", &["envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"]),
        (
            "envFrom: [{configMapRef: {name: c}, secretRef: {name: s}}]",
            &["envFrom: Invalid value: \"\": may not have more than one field specified at a time"],
        ),
        ("envFrom: [{configMapRef: {name: ''}}]", &["envFrom[0].configMapRef.name: Required value"]),
        ("envFrom: [{prefix: 'a=', secretRef: {name: s}}]", &["envFrom[0].prefix: Invalid value: \"a=\": a valid…"]),
    ]);
}

#[test]
fn resources_are_checked() {
    in_container(&[
        (
            "resources: {limits: {cpu: '-1'}}",
            &["resources.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"],
        ),
        (
            "resources: {limits: {gpu: '1'}}",
            &[
                "resources.limits[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
                "resources.limits[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
            ],
        ),
        (
            "resources: {limits: {pods: '1'}}",
            &["resources.limits[pods]: Invalid value: \"pods\": must be a standard resource for containers"],
        ),
        (
            "resources: {limits: {requests.a.com/b: '1'}}",
            &["resources.limits[requests.a.com/b]: Invalid value: \"requests.a.com/b\": doesn't follow extended \
             resource name standard"],
        ),
        (
            "resources: {limits: {a.com/b: 1500m}, requests: {a.com/b: 1500m}}",
            &["resources.limits[a.com/b]: Invalid value: …", "resources.requests[a.com/b]: Invalid value: …"],
        ),
        (
            "resources: {limits: {memory: 1Gi}, requests: {memory: 2Gi}}",
            &["resources.requests: Invalid value: \"2Gi\": must be less than or equal to memory limit of 1Gi"],
        ),
        ("resources: {limits: {hugepages-2Mi: 4Mi}}", &["resources: Forbidden: HugePages require cpu or memory"]),
        (
            "resources: {limits: {hugepages-2Mi: 3Mi, cpu: '1'}}",
            &["resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of \
             hugepages-2Mi"],
        ),
        (
            "resources: {claims: [{name: x}]}",
            &[
                "resources.claims[0]: Not found: \"x\": must be one of the names in pod.spec.resourceClaims which is empty",
            ],
        ),
    ]);
    templates(&[(
        "overhead: {memory: '-1'}",
        &["overhead.limits[memory]: Invalid value: \"-1\": must be greater than or equal to 0"],
    )]);
}

#[test]
fn probes_are_checked() {
    let probe = |fields: &str| format!("livenessProbe: {{successThreshold: 1, {fields}}}");
    in_container(&[
        (&probe(""), &["livenessProbe: Required value: must specify a handler type"]),
        (&probe("exec: {}"), &["livenessProbe.exec.command: Required value"]),
        (&probe("httpGet: {path: '', port: 80, scheme: HTTP}"), &["livenessProbe.httpGet.path: Required value"]),
        (
            &probe("httpGet: {path: /, port: WEB, scheme: HTTP}"),
            &[
                "livenessProbe.httpGet.port: Invalid value: \"WEB\": must contain only alpha-numeric characters (a-z, \
                 0-9), and hyphens (-)",
                "livenessProbe.httpGet.port: Invalid value: \"WEB\": must contain at least one letter (a-z)",
            ],
        ),
        (
            &probe("grpc: {port: 0}"),
            &["livenessProbe.grpc.port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        (
            &probe("exec: {command: [a]}, timeoutSeconds: -1, terminationGracePeriodSeconds: 0"),
            &[
                "livenessProbe.timeoutSeconds: Invalid value: -1: must be greater than or equal to 0",
                "livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0",
            ],
        ),
        (
            "livenessProbe: {successThreshold: 2, exec: {command: [a]}}",
            &["livenessProbe.successThreshold: Invalid value: 2: must be 1"],
        ),
        (
            "startupProbe: {successThreshold: 2, exec: {command: [a]}}",
            &["startupProbe.successThreshold: Invalid value: 2: must be 1"],
        ),
        (
            "readinessProbe: {successThreshold: 2, terminationGracePeriodSeconds: 1, exec: {command: [a]}}",
            &["readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes"],
        ),
    ]);
}

#[test]
fn hooks_are_checked() {
    let words = "must be greater than 0 and less than terminationGracePeriodSeconds (30). Enable \
                 AllowPodLifecycleSleepActionZeroValue feature gate for zero sleep.";
    in_container(&[
        ("lifecycle: {preStop: {sleep: {seconds: 30}}}", &[]),
        (
            "lifecycle: {preStop: {sleep: {seconds: 0}}}",
            &[&format!("lifecycle.preStop.sleep: Invalid value: 0: {words}")],
        ),
        (
            "lifecycle: {postStart: {sleep: {seconds: 31}}}",
            &[&format!("lifecycle.postStart.sleep: Invalid value: 31: {words}")],
        ),
        ("lifecycle: {postStart: {}}", &["lifecycle.postStart: Required value: must specify a handler type"]),
        (
            "lifecycle: {preStop: {exec: {command: [a]}, sleep: {seconds: 1}}}",
            &["lifecycle.preStop.sleep: Forbidden: may not specify more than 1 handler type"],
        ),
    ]);
}

#[test]
fn a_part_of_an_image_volume_may_be_mounted() {
    let volume = "volumes: [{name: v, image: {reference: a, pullPolicy: Always}}], containers: [{volumeMounts: [{name: v, \
                  mountPath: /a";
    let wrong = &["containers[0].volumeMounts.subPath: Invalid value: \"../b\": must not contain '..'"];
    templates(&[
        (&format!("{volume}}}]}}]"), &[]),
        (&format!("{volume}, subPath: b}}]}}]"), &[]),
        (&format!("{volume}, subPathExpr: $(B)}}]}}]"), &[]),
        (&format!("{volume}, subPath: ../b}}]}}]"), wrong),
    ]);
}

#[test]
fn mounts_name_volumes_once() {
    let mount = |fields: &str| {
        format!(
            "spec: {{template: {{spec: {{volumes: [{{name: v, emptyDir: {{}}}}], \
             containers: [{{volumeMounts: [{{name: v, mountPath: /a, {fields}}}]}}]}}}}}}"
        )
    };
    let cases: &[Case<'_>] = &[
        ("", &[]),
        ("name: x", &["[0].name: Not found: \"x\""]),
        ("mountPath: ''", &["[0].mountPath: Required value"]),
        ("subPath: ../x", &[".subPath: Invalid value: \"../x\": must not contain '..'"]),
        ("subPathExpr: /x", &[".subPathExpr: Invalid value: \"/x\": must be a relative path"]),
        (
            "subPath: a, subPathExpr: b",
            &["[0].subPathExpr: Invalid value: \"b\": subPathExpr and subPath are mutually exclusive"],
        ),
        (
            "mountPropagation: Both",
            &[".mountPropagation: Unsupported value: \"Both\": supported values: \"Bidirectional\", \
               \"HostToContainer\", \"None\""],
        ),
        (
            "mountPropagation: Bidirectional",
            &[".mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged \
               containers"],
        ),
        ("recursiveReadOnly: Enabled", &[".recursiveReadOnly: Forbidden: may only be specified when readOnly is true"]),
        (
            "recursiveReadOnly: Some, readOnly: true",
            &[".recursiveReadOnly: Unsupported value: \"Some\": supported values: \"Disabled\", \"Enabled\", \
               \"IfPossible\""],
        ),
    ];
    // The last of two equal keys in a fragment would be refused by the reader, so each is laid over in turn.
    for (fragment, expected) in cases {
        let base = |fragment: &str| {
            let over = format!("spec: {{template: {{spec: {{containers: [{{volumeMounts: [{{{fragment}}}]}}]}}}}}}");
            with(with(job(), &mount("")), &over)
        };
        check(base, "spec.template.spec.containers[0].volumeMounts", &[(fragment, expected)]);
    }
    templates(&[
        (
            "volumes: [{name: v, emptyDir: {}}], containers: [{volumeMounts: [{name: v, mountPath: /a}, \
             {name: v, mountPath: /a}]}]",
            &["containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique"],
        ),
        (
            "volumes: [{name: v, emptyDir: {}}], containers: [{volumeDevices: [{name: v, devicePath: /dev/x}]}]",
            &["containers[0].volumeDevices[0].name: Invalid value: \"v\": can only use volume source type of \
               PersistentVolumeClaim or Ephemeral for block mode"],
        ),
        (
            "volumes: [{name: v, persistentVolumeClaim: {claimName: c}}], \
             containers: [{volumeDevices: [{name: v, devicePath: /a/../b}], volumeMounts: [{name: v, mountPath: /m}]}]",
            &[
                "containers[0].volumeMounts[0].name: Invalid value: \"v\": must not already exist in volumeDevices",
                "containers[0].volumeDevices[0].devicePath: Invalid value: \"/a/../b\": can not contain backsteps \
                 ('..')",
                "containers[0].volumeDevices[0].name: Invalid value: \"v\": must not already exist in volumeMounts",
            ],
        ),
    ]);
}

#[test]
fn sidecars_have_what_other_init_containers_may_not() {
    let init = |fields: &str| {
        let container = container_named("init").to_string();
        format!("initContainers: [{{{}, {fields}}}]", &container[1..container.len() - 1])
    };
    let words = "Forbidden: may not be set for init containers without restartPolicy=Always";
    templates(&[
        (&init("restartPolicy: Always, lifecycle: {preStop: {exec: {command: [a]}}}"), &[]),
        (
            &init(
                "restartPolicy: OnFailure, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [1]}}]",
            ),
            &[],
        ),
        (
            &init("restartPolicy: OnFailure"),
            &["initContainers[0].restartPolicy: Unsupported value: \"OnFailure\": supported values: \"Always\""],
        ),
        (
            &init("startupProbe: {exec: {command: [a]}}, readinessProbe: {}"),
            &[
                &format!("initContainers[0].readinessProbe: {words}"),
                &format!("initContainers[0].startupProbe: {words}"),
            ],
        ),
    ]);
}

#[test]
fn restart_rules_need_a_policy() {
    in_container(&[
        ("restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]", &[]),
        (
            "restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]",
            &["restartPolicy: Required value: must specify restartPolicy when restart rules are used"],
        ),
    ]);
}

#[test]
fn ephemeral_containers_of_pods_are_only_added_later() {
    let container = container_named("debug").to_string();
    alone(&[(
        &format!("spec: {{ephemeralContainers: [{container}]}}"),
        &["spec.ephemeralContainers: Forbidden: cannot be set on create"],
    )]);
    templates(&[(
        &format!(
            "ephemeralContainers: [{{{}, ports: [{{containerPort: 1, protocol: TCP}}], targetContainerName: x}}]",
            &container[1..container.len() - 1]
        ),
        &[
            "ephemeralContainers[0].targetContainerName: Not found: \"x\"",
            "ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
            "ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template",
        ],
    )]);
}
