//! How a container of a pod becomes a container of the engine: environment, command, mounts, limits, identity.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use jobdock::model::qos;
use jobdock::pod::environment::{Context, environment};
use jobdock::pod::facts::{Attempt, NodeFacts, Sources};
use jobdock::pod::volumes_plan::{VolumeWork, work};
use jobdock::pod::{spec, unsupported};
use jobdock::runtime::{ContainerSpec, ImageSeen, Mount, MountSource, Network, convert};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};

use super::pod_house::{from_yaml, pod};

fn node() -> NodeFacts {
    NodeFacts {
        name: "node".to_owned(),
        ip: "192.0.2.9".to_owned(),
        cpu_nanos: 4_000_000_000,
        memory_bytes: 1 << 30,
        storage_bytes: Some(5 << 30),
        memory_capacity: 4 << 30,
        pod_dir: "/pods/uid".to_owned(),
        ..NodeFacts::default()
    }
}

fn sources() -> Sources {
    let map: ConfigMap = from_yaml("{metadata: {name: map}, data: {b: two, a: one}, binaryData: {bin: AAE=}}");
    let secret: Secret = from_yaml("{metadata: {name: secret}, data: {token: czNjcjN0}}");
    Sources {
        config_maps: BTreeMap::from([("map".to_owned(), map)]),
        secrets: BTreeMap::from([("secret".to_owned(), secret)]),
        images: BTreeMap::from([("i".to_owned(), "sha256:1".to_owned())]),
        tokens: BTreeMap::from([((String::new(), 3600), "jwt".to_owned())]),
        ..Sources::default()
    }
}

/// A pod `p` of namespace `default` with these fields of its only container and of its spec.
fn one(container: &str, more: &str) -> Pod {
    pod(&format!(
        "{{metadata: {{name: p, uid: uid, labels: {{app: web, tier: 'a\"b'}}, annotations: {{note: hi}}}}, \
         spec: {{serviceAccountName: robot, restartPolicy: Never, \
         containers: [{{name: main, image: 'busybox:1'{container}}}]{more}}}}}"
    ))
}

/// The environment as lines, or the words for what is missing.
fn env(container: &str) -> String {
    let pod = one(container, "");
    let (node, sources) = (node(), sources());
    let context = Context { pod: &pod, node: &node, pod_ip: "10.0.0.7", sources: &sources };
    match environment(context, &pod.spec.as_ref().expect("it has a spec").containers[0]) {
        Ok(env) => env.lines().join("\n"),
        Err(message) => format!("error: {message}"),
    }
}

#[test]
fn environments_come_from_values_objects_and_the_pod() {
    for (container, expected) in [
        (", env: [{name: A, value: x}, {name: B, value: '$(A)-$(C)-$$(A)'}]", "A=x\nB=x-$(C)-$(A)"),
        (", env: [{name: A, value: x}, {name: A, value: '$(A)y'}]", "A=xy"),
        (", env: [{name: A}]", "A="),
        (", envFrom: [{configMapRef: {name: map}}]", "a=one\nb=two"),
        (", envFrom: [{prefix: P_, secretRef: {name: secret}}]", "P_token=s3cr3t"),
        (", envFrom: [{configMapRef: {name: map}}], env: [{name: a, value: '$(b)'}]", "a=two\nb=two"),
        (", envFrom: [{configMapRef: {name: no}}]", "error: configmap \"no\" not found"),
        (", envFrom: [{configMapRef: {name: no, optional: true}}]", ""),
        (", envFrom: [{secretRef: {name: no}}]", "error: secret \"no\" not found"),
        (", env: [{name: A, valueFrom: {configMapKeyRef: {name: map, key: a}}}]", "A=one"),
        (
            ", env: [{name: A, valueFrom: {configMapKeyRef: {name: map, key: no}}}]",
            "error: couldn't find key no in ConfigMap default/map",
        ),
        (", env: [{name: A, valueFrom: {configMapKeyRef: {name: map, key: no, optional: true}}}]", ""),
        (", env: [{name: A, valueFrom: {configMapKeyRef: {name: no, key: a}}}]", "error: configmap \"no\" not found"),
        (", env: [{name: A, valueFrom: {configMapKeyRef: {name: no, key: a, optional: true}}}]", ""),
        (", env: [{name: A, valueFrom: {secretKeyRef: {name: secret, key: token}}}]", "A=s3cr3t"),
        (
            ", env: [{name: A, valueFrom: {secretKeyRef: {name: secret, key: no}}}]",
            "error: couldn't find key no in Secret default/secret",
        ),
        (
            ", env: [{name: A, valueFrom: {fileKeyRef: {volumeName: v, path: f, key: k}}}]",
            "error: cannot find the volume \"v\" referenced by FileKeyRef",
        ),
    ] {
        assert_eq!(env(container), expected, "{container}");
    }
}

#[test]
fn fields_of_the_pod_are_told_as_upstream_tells_them() {
    for (path, expected) in [
        ("metadata.name", "A=p"),
        ("metadata.namespace", "A=default"),
        ("metadata.uid", "A=uid"),
        ("metadata.labels['app']", "A=web"),
        ("metadata.labels['no']", "A="),
        ("metadata.annotations['note']", "A=hi"),
        ("spec.nodeName", "A=node"),
        ("spec.serviceAccountName", "A=robot"),
        ("status.hostIP", "A=192.0.2.9"),
        ("status.podIP", "A=10.0.0.7"),
        ("status.podIPs", "A=10.0.0.7"),
        ("status.phase", "error: unsupported fieldPath: status.phase"),
    ] {
        let path = path.replace('\'', "''");
        assert_eq!(
            env(&format!(", env: [{{name: A, valueFrom: {{fieldRef: {{fieldPath: '{path}'}}}}}}]")),
            expected,
            "{path}"
        );
    }
}

#[test]
fn resources_are_told_in_units_of_the_divisor_rounded_up() {
    let limits = ", resources: {limits: {cpu: 1500m, memory: 100Mi}, requests: {memory: 64Mi}}";
    for (resources, resource, divisor, expected) in [
        (limits, "limits.cpu", "", "A=2"),
        (limits, "limits.cpu", ", divisor: 1m", "A=1500"),
        (limits, "limits.memory", "", "A=104857600"),
        (limits, "limits.memory", ", divisor: 1Mi", "A=100"),
        (limits, "requests.memory", ", divisor: 1Mi", "A=64"),
        ("", "limits.cpu", "", "A=4"),
        ("", "limits.memory", ", divisor: 1Gi", "A=1"),
        ("", "limits.ephemeral-storage", ", divisor: 1Gi", "A=5"),
        ("", "requests.cpu", "", "A=0"),
        ("", "requests.ephemeral-storage", "", "A=0"),
        ("", "limits.gold", "", "A=0"),
        ("", "gold", "", "error: unsupported container resource : gold"),
    ] {
        let source = format!("resourceFieldRef: {{resource: {resource}{divisor}}}");
        assert_eq!(
            env(&format!("{resources}, env: [{{name: A, valueFrom: {{{source}}}}}]")),
            expected,
            "{resource}{divisor}"
        );
    }
}

/// The engine's container, or the words for what is wrong.
fn made(pod: &Pod, image: &ImageSeen) -> Result<ContainerSpec, String> {
    let (node, sources) = (node(), sources());
    let context = Context { pod, node: &node, pod_ip: "", sources: &sources };
    let pod_spec = pod.spec.as_ref().expect("it has a spec");
    let container = &pod_spec.containers[0];
    let env = environment(context, container)?;
    let run = Attempt { container: container.name.clone(), number: 2 };
    spec::container(context, pod_spec, container, &run, &env, image).map(|(spec, _)| spec)
}

fn check(container: &str, more: &str, tell: impl Fn(&ContainerSpec) -> String, expected: Expect) {
    let pod = one(container, more);
    match made(&pod, &ImageSeen::default()) {
        Ok(spec) => expected.assert_eq(&tell(&spec)),
        Err(message) => expected.assert_eq(&format!("error: {message}")),
    }
}

fn mounts(spec: &ContainerSpec) -> String {
    let line = |mount: &Mount| {
        let source = match &mount.source {
            MountSource::Bind(path) => path.display().to_string(),
            MountSource::Volume(name) => format!("volume {name}"),
            MountSource::Image { image, path } => format!("image {image} at {:?}", path.display().to_string()),
            MountSource::SubPath { volume, path } => format!("volume {volume} at {}", path.display()),
            MountSource::Tmpfs { size_bytes } => format!("tmpfs {size_bytes}"),
        };
        format!("{} <- {source}{}", mount.target, if mount.read_only { " ro" } else { "" })
    };
    spec.mounts.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn mounts_made_later_are_seen_where_that_was_asked_for() {
    for (asked, expected) in [
        ("", None),
        (", mountPropagation: None", None),
        (", mountPropagation: HostToContainer", Some("rslave")),
        (", mountPropagation: Bidirectional", Some("rshared")),
    ] {
        let mount = format!(", volumeMounts: [{{name: h, mountPath: /h{asked}}}]");
        let pod = one(&mount, ", volumes: [{name: h, hostPath: {path: /srv}}]");
        let body = convert::create_body(&made(&pod, &ImageSeen::default()).expect("a container"), "store");
        let body = serde_json::to_value(body).expect("a body is JSON");
        let mount = &body["HostConfig"]["Mounts"][0];
        assert_eq!((mount["Target"].as_str(), mount["BindOptions"]["Propagation"].as_str()), (Some("/h"), expected));
    }
}

#[test]
fn a_plain_container_has_its_names_and_labels() {
    check(
        "",
        "",
        |spec| format!("{spec:#?}"),
        expect![[r#"
            ContainerSpec {
                name: "jobdock-uid-main-2",
                labels: {
                    "io.jobdock.attempt": "2",
                    "io.jobdock.container": "main",
                    "io.jobdock.pod.name": "p",
                    "io.jobdock.pod.namespace": "default",
                    "io.jobdock.pod.uid": "uid",
                },
                image: "busybox:1",
                entrypoint: None,
                command: None,
                env: [],
                working_dir: None,
                hostname: Some(
                    "p",
                ),
                user: None,
                groups: [],
                mounts: [
                    Mount {
                        source: Bind(
                            "/pods/uid/messages/main-2",
                        ),
                        target: "/dev/termination-log",
                        read_only: false,
                        propagation: None,
                        recursive_read_only: false,
                    },
                ],
                network: Default,
                extra_hosts: [
                    "host.docker.internal:host-gateway",
                ],
                dns: Dns {
                    servers: [],
                    searches: [],
                    options: [],
                },
                ports: [],
                ipc_container: None,
                pid_container: None,
                host_ipc: false,
                host_pid: false,
                runtime: None,
                limits: Limits {
                    cpu_nanos: 0,
                    cpu_shares: 2,
                    memory_bytes: 0,
                    pids: 0,
                },
                oom_score_adj: Some(
                    1000,
                ),
                devices: [],
                stop_signal: None,
                tty: false,
                stdin: false,
                stdin_once: false,
                privileged: false,
                read_only_root: false,
                no_new_privileges: false,
                cap_add: [],
                cap_drop: [],
                seccomp_file: None,
                security_opts: [],
                unmasked: false,
                sysctls: {},
            }"#]],
    );
}

#[test]
fn commands_and_arguments_expand_the_environment() {
    let fields = ", env: [{name: A, value: x}], command: [sh, $(A), $$(A)], args: ['$(B)'], workingDir: /w";
    check(
        fields,
        "",
        |spec| format!("{:?} {:?} {:?}", spec.entrypoint, spec.command, spec.working_dir),
        expect![[r#"Some(["sh", "x", "$(A)"]) Some(["$(B)"]) Some("/w")"#]],
    );
    check(
        ", args: [only]",
        "",
        |spec| format!("{:?} {:?}", spec.entrypoint, spec.command),
        expect![[r#"None Some(["only"])"#]],
    );
}

#[test]
fn limits_become_the_engines_numbers() {
    let tell = |spec: &ContainerSpec| {
        let limits = spec.limits;
        format!("{} {} {}", limits.cpu_nanos, limits.cpu_shares, limits.memory_bytes)
    };
    check("", "", tell, expect!["0 2 0"]);
    check(", resources: {limits: {cpu: 500m, memory: 64Mi}}", "", tell, expect!["500000000 512 67108864"]);
    check(", resources: {requests: {cpu: 2, memory: 1Gi}}", "", tell, expect!["0 2048 0"]);
    check(", resources: {requests: {cpu: 1000}}", "", tell, expect!["0 262144 0"]);
    check(", resources: {requests: {cpu: 1m}, limits: {cpu: 1}}", "", tell, expect!["1000000000 2 0"]);
}

#[test]
fn a_pods_own_limit_is_the_most_that_its_containers_are_told_of() {
    let mut pod = one(", env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.memory}}}]", "");
    let limits = from_yaml("{limits: {memory: 64Mi, cpu: 1}}");
    pod.spec.as_mut().expect("it has a spec").resources = Some(limits);
    let made = made(&pod, &ImageSeen::default()).expect("it can be made");
    assert_eq!(made.env, ["A=67108864"]);
}

#[test]
fn volumes_are_mounted_where_asked() {
    let volumes = ", volumes: [{name: e, emptyDir: {}}, {name: h, hostPath: {path: /srv}}, {name: c, configMap: {name: map}}, \
         {name: i, image: {reference: a}}]";
    let at = |mount: &str| format!(", volumeMounts: [{mount}]");
    check(
        &at("{name: e, mountPath: /e}"),
        volumes,
        mounts,
        expect![[r#"
        /e <- volume jobdock-uid-e
        /dev/termination-log <- /pods/uid/messages/main-2"#]],
    );
    check(
        &at("{name: e, mountPath: /e, readOnly: true}"),
        volumes,
        mounts,
        expect![[r#"
        /e <- volume jobdock-uid-e ro
        /dev/termination-log <- /pods/uid/messages/main-2"#]],
    );
    check(
        &at("{name: h, mountPath: /h, subPath: a/b}"),
        volumes,
        mounts,
        expect![[r#"
        /h <- /srv/a/b
        /dev/termination-log <- /pods/uid/messages/main-2"#]],
    );
    check(
        &at("{name: c, mountPath: /c}"),
        volumes,
        mounts,
        expect![[r#"
        /c <- /pods/uid/volumes/c ro
        /dev/termination-log <- /pods/uid/messages/main-2"#]],
    );
    check(
        &at("{name: c, mountPath: /c/one, subPath: a}"),
        volumes,
        mounts,
        expect![[r#"
        /c/one <- /pods/uid/volumes/c/a ro
        /dev/termination-log <- /pods/uid/messages/main-2"#]],
    );
    let expression = ", env: [{name: N, value: x}], volumeMounts: [{name: h, mountPath: /h, subPathExpr: d-$(N)}]";
    check(
        expression,
        volumes,
        mounts,
        expect![[r#"
        /h <- /srv/d-x
        /dev/termination-log <- /pods/uid/messages/main-2"#]],
    );
    check(
        &at("{name: e, mountPath: /e, subPath: a}"),
        volumes,
        mounts,
        expect![[r#"
            /e <- volume jobdock-uid-e at a
            /dev/termination-log <- /pods/uid/messages/main-2"#]],
    );
    check(
        &at("{name: i, mountPath: /i}, {name: i, mountPath: /j, subPath: a/b, readOnly: false}"),
        volumes,
        mounts,
        expect![[r#"
            /i <- image sha256:1 at "" ro
            /j <- image sha256:1 at "a/b" ro
            /dev/termination-log <- /pods/uid/messages/main-2"#]],
    );
    check(
        &at("{name: h, mountPath: /h, subPath: ../etc}"),
        volumes,
        mounts,
        expect!["error: unable to provision SubPath `../etc`: must not contain '..'"],
    );
    check(&at("{name: no, mountPath: /h}"), volumes, mounts, expect![[r#"error: cannot find volume "no" to mount"#]]);
    check(", terminationMessagePath: /tmp/bye", "", mounts, expect!["/tmp/bye <- /pods/uid/messages/main-2"]);
}

#[test]
fn a_mount_is_tied_to_the_host_as_it_says() {
    let told = |fields: &str| {
        let container = format!(", volumeMounts: [{{name: h, mountPath: /h, readOnly: true{fields}}}]");
        let spec = made(&one(&container, ", volumes: [{name: h, hostPath: {path: /}}]"), &ImageSeen::default());
        let mount = spec.expect("it can be made").mounts.remove(0);
        format!("{:?} {}", mount.propagation, mount.recursive_read_only)
    };
    assert_eq!(told(""), "None false");
    assert_eq!(told(", mountPropagation: HostToContainer"), "HostToContainer false");
    assert_eq!(told(", mountPropagation: Bidirectional"), "Bidirectional false");
    assert_eq!(told(", mountPropagation: None, recursiveReadOnly: Enabled"), "None true");
    assert_eq!(told(", recursiveReadOnly: IfPossible"), "None false");
}

#[test]
fn identity_and_rights_are_handed_on() {
    let tell = |spec: &ContainerSpec| {
        format!(
            "user {:?} groups {:?} add {:?} drop {:?} privileged {} read-only {} no-new {} {:?}",
            spec.user,
            spec.groups,
            spec.cap_add,
            spec.cap_drop,
            spec.privileged,
            spec.read_only_root,
            spec.no_new_privileges,
            spec.security_opts
        )
    };
    check("", "", tell, expect!["user None groups [] add [] drop [] privileged false read-only false no-new false []"]);
    let pod = ", securityContext: {runAsUser: 1, runAsGroup: 2, fsGroup: 3, supplementalGroups: [4], seccompProfile: {type: Unconfined}}";
    check(
        "",
        pod,
        tell,
        expect![[
            r#"user Some("1:2") groups ["4", "3"] add [] drop [] privileged false read-only false no-new false ["seccomp=unconfined"]"#
        ]],
    );
    let own = ", securityContext: {runAsUser: 9, privileged: true, readOnlyRootFilesystem: true, \
               allowPrivilegeEscalation: false, capabilities: {add: [NET_ADMIN], drop: [CAP_CHOWN]}, procMount: Unmasked}";
    check(
        own,
        pod,
        tell,
        expect![[
            r#"user Some("9:2") groups ["4", "3"] add ["NET_ADMIN"] drop ["CHOWN"] privileged true read-only true no-new true ["seccomp=unconfined"]"#
        ]],
    );
    let local = ", securityContext: {seccompProfile: {type: Localhost, localhostProfile: own/a.json}, \
                 appArmorProfile: {type: Localhost, localhostProfile: k8s-own}}";
    let profiles = |spec: &ContainerSpec| format!("{:?} {:?}", spec.seccomp_file, spec.security_opts);
    check(local, pod, profiles, expect![[r#"Some("own/a.json") ["apparmor=k8s-own"]"#]]);
    let label = ", securityContext: {seLinuxOptions: {level: 's0:c1', type: t}, procMount: Unmasked}";
    let options = |spec: &ContainerSpec| format!("{} {:?}", spec.unmasked, spec.security_opts);
    check(label, "", options, expect![[r#"true ["label=type:t", "label=level:s0:c1"]"#]]);
    check(
        "",
        ", securityContext: {runAsGroup: 2}",
        tell,
        expect![[r#"user Some("0:2") groups [] add [] drop [] privileged false read-only false no-new false []"#]],
    );
}

#[test]
fn run_as_non_root_is_checked_against_the_image() {
    for (fields, user, expected) in [
        ("runAsNonRoot: true", None, Some("container has runAsNonRoot and image will run as root")),
        ("runAsNonRoot: true", Some("0"), Some("container has runAsNonRoot and image will run as root")),
        ("runAsNonRoot: true", Some("1000:0"), None),
        (
            "runAsNonRoot: true",
            Some("web"),
            Some("container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root"),
        ),
        ("runAsNonRoot: true, runAsUser: 0", None, Some("container's runAsUser breaks non-root policy")),
        ("runAsNonRoot: true, runAsUser: 5", None, None),
        ("runAsNonRoot: false", None, None),
    ] {
        let image = ImageSeen { user: user.map(str::to_owned), ..ImageSeen::default() };
        let outcome = made(&one(&format!(", securityContext: {{{fields}}}"), ""), &image).err();
        let expected = expected.map(|text| format!("{text} (pod: \"p_default(uid)\", container: main)"));
        assert_eq!(outcome, expected, "{fields} {user:?}");
    }
}

#[test]
fn no_group_but_the_pods_is_had_under_the_policy_strict() {
    for (own, user, expected) in [
        ("", None, Some("supplementalGroupsPolicy Strict needs a runAsGroup here")),
        ("runAsUser: 1", Some("web:web"), Some("supplementalGroupsPolicy Strict needs a runAsGroup here")),
        ("", Some("web"), Some("supplementalGroupsPolicy Strict needs a runAsGroup here")),
        ("", Some("web:web"), None),
        ("runAsUser: 1, runAsGroup: 2", None, None),
        ("runAsGroup: 2", Some("web"), None),
    ] {
        let image = ImageSeen { user: user.map(str::to_owned), ..ImageSeen::default() };
        for (policy, expected) in [("Strict", expected), ("Merge", None)] {
            let pod = format!(", securityContext: {{supplementalGroupsPolicy: {policy}}}");
            let outcome = made(&one(&format!(", securityContext: {{{own}}}"), &pod), &image).err();
            let matches = match (&outcome, expected) {
                (Some(words), Some(beginning)) => words.starts_with(beginning),
                (outcome, expected) => outcome.is_none() && expected.is_none(),
            };
            assert!(matches, "{policy} {own} {user:?}: {outcome:?}");
        }
    }
}

#[test]
fn what_a_container_shares_decides_its_network() {
    let tell = |spec: &ContainerSpec| {
        format!(
            "{:?} host {:?} pid {:?} ipc {:?} hosts {:?} sysctls {:?}",
            spec.network, spec.hostname, spec.pid_container, spec.ipc_container, spec.extra_hosts, spec.sysctls
        )
    };
    check(
        "",
        "",
        tell,
        expect![[r#"Default host Some("p") pid None ipc None hosts ["host.docker.internal:host-gateway"] sysctls {}"#]],
    );
    check(
        "",
        ", hostname: web.",
        tell,
        expect![[
            r#"Default host Some("web") pid None ipc None hosts ["host.docker.internal:host-gateway"] sysctls {}"#
        ]],
    );
    check("", ", hostNetwork: true", tell, expect!["Host host None pid None ipc None hosts [] sysctls {}"]);
    check(
        "",
        ", hostNetwork: true, securityContext: {sysctls: [{name: kernel.shm_rmid_forced, value: '1'}]}",
        tell,
        expect![[r#"Host host None pid None ipc None hosts [] sysctls {"kernel.shm_rmid_forced": "1"}"#]],
    );
    check(
        "",
        ", hostAliases: [{ip: 10.1.1.1, hostnames: [a, b]}]",
        tell,
        expect![[
            r#"Default host Some("p") pid None ipc None hosts ["a:10.1.1.1", "b:10.1.1.1", "host.docker.internal:host-gateway"] sysctls {}"#
        ]],
    );
    check(
        "",
        ", securityContext: {sysctls: [{name: net.core.somaxconn, value: '5'}]}",
        tell,
        expect![[
            r#"Default host Some("p") pid None ipc None hosts ["host.docker.internal:host-gateway"] sysctls {"net.core.somaxconn": "5"}"#
        ]],
    );
    check(
        "",
        ", shareProcessNamespace: true",
        tell,
        expect![[
            r#"Container("jobdock-uid-_sandbox") host None pid Some("jobdock-uid-_sandbox") ipc Some("jobdock-uid-_sandbox") hosts [] sysctls {}"#
        ]],
    );
    check(
        ", env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]",
        "",
        tell,
        expect![[
            r#"Container("jobdock-uid-_sandbox") host None pid None ipc Some("jobdock-uid-_sandbox") hosts [] sysctls {}"#
        ]],
    );
}

#[test]
fn a_pod_has_a_sandbox_only_where_something_is_shared() {
    for (container, more, needed) in [
        ("", "", false),
        ("", ", initContainers: [{name: i, image: a}]", false),
        ("", ", initContainers: [{name: i, image: a, restartPolicy: Always}]", true),
        ("", ", shareProcessNamespace: true", true),
        (", env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]", "", true),
        (", env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]", ", hostNetwork: true", false),
        (", volumeMounts: [{name: m, mountPath: /m}]", ", volumes: [{name: m, emptyDir: {medium: Memory}}]", false),
        (
            ", volumeMounts: [{name: m, mountPath: /m}]",
            ", volumes: [{name: m, emptyDir: {medium: Memory}}], initContainers: [{name: i, image: a, volumeMounts: \
             [{name: m, mountPath: /m}]}]",
            true,
        ),
    ] {
        let pod = one(container, more);
        assert_eq!(spec::needs_sandbox(pod.spec.as_ref().expect("it has a spec")), needed, "{container} {more}");
    }
}

#[test]
fn the_sandbox_holds_what_the_pod_shares() {
    let pod = one(
        ", volumeMounts: [{name: m, mountPath: /m}]",
        ", hostNetwork: true, volumes: [{name: m, emptyDir: {medium: Memory}}], initContainers: [{name: i, image: a, \
         volumeMounts: [{name: m, mountPath: /m}]}]",
    );
    let sandbox = spec::sandbox(&pod, pod.spec.as_ref().expect("it has a spec"), &node(), "pause");
    assert_eq!((sandbox.network.clone(), sandbox.image.as_str()), (Network::Host, "pause"));
    assert_eq!(mounts(&sandbox), "/volumes/m <- volume jobdock-uid-m");
    assert_eq!((sandbox.limits.cpu_shares, sandbox.oom_score_adj), (2, None));
}

#[test]
fn a_volume_in_memory_is_no_larger_than_what_its_pod_may_use() {
    let (node, sources) = (node(), sources());
    let size = |container: &str, limit: &str| {
        let pod = one(container, &format!(", volumes: [{{name: m, emptyDir: {{medium: Memory{limit}}}}}]"));
        let context = Context { pod: &pod, node: &node, pod_ip: "", sources: &sources };
        match &work(context, "pause")[..] {
            [VolumeWork::Engine { spec, .. }] => spec.memory.as_ref().map(|disk| disk.bytes),
            other => panic!("{other:?}"),
        }
    };
    let limited = ", resources: {limits: {memory: 64Mi}}";
    assert_eq!(size("", ""), Some(1 << 30), "all that pods may use on the node");
    assert_eq!(size(limited, ""), Some(64 << 20));
    assert_eq!(size(limited, ", sizeLimit: 16Mi"), Some(16 << 20));
    assert_eq!(size(limited, ", sizeLimit: 1Gi"), Some(64 << 20));
}

#[test]
fn host_names_are_cut_as_upstream_cuts_them() {
    let long = format!("{}-tail", "a".repeat(62));
    let mut pod = one("", "");
    pod.metadata.name = Some(long);
    let spec_ = pod.spec.clone().expect("it has a spec");
    assert_eq!(spec::hostname(&pod, &spec_), "a".repeat(62));
}

/// What is made for a pod's volumes.
fn volumes(volumes: &str) -> String {
    let pod = one("", &format!(", volumes: [{volumes}]"));
    let (node, sources) = (node(), sources());
    let context = Context { pod: &pod, node: &node, pod_ip: "", sources: &sources };
    let lines = work(context, "pause").into_iter().map(|item| match item {
        VolumeWork::Engine { spec, .. } => {
            format!("engine {} {:?}", spec.name, spec.memory.as_ref().map(|disk| disk.bytes))
        }
        VolumeWork::Files { dir, files, .. } => {
            let files: Vec<String> = files
                .iter()
                .map(|(path, file)| format!("{path} {:o} {:?}", file.mode, String::from_utf8_lossy(&file.bytes)))
                .collect();
            format!("files {}\n{}", dir.display(), files.join("\n"))
        }
        VolumeWork::Host { path, check, .. } => format!("host {} {check:?}", path.display()),
        VolumeWork::Claimed { spec, .. } => format!("claimed {}", spec.name),
        VolumeWork::Local { path, .. } => format!("local {}", path.display()),
        VolumeWork::Open { directories, .. } => {
            let each = directories.iter().map(|one| format!("{} {:o} {}", one.path, one.mode, one.gid));
            format!("open {}", each.collect::<Vec<_>>().join(" "))
        }
        VolumeWork::Own { paths, group, mode, .. } => format!("own {paths:?} {group} {mode:o}"),
        VolumeWork::Impossible { volume, message } => format!("impossible {volume}: {message}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn volumes_hold_what_their_sources_say() {
    for (source, expected) in [
        (
            "emptyDir: {}",
            expect![[r#"
            engine jobdock-uid-v None
            open volumes/jobdock-uid-v 777 0"#]],
        ),
        ("emptyDir: {medium: Memory, sizeLimit: 1Mi}", expect!["engine jobdock-uid-v Some(1048576)"]),
        ("hostPath: {path: /srv, type: Directory}", expect![[r#"host /srv "Directory""#]]),
        (
            "configMap: {name: map}",
            expect![[r#"
            files /pods/uid/volumes/v
            a 644 "one"
            b 644 "two"
            bin 644 "\0\u{1}""#]],
        ),
        (
            "configMap: {name: map, defaultMode: 256, items: [{key: a, path: x/y, mode: 384}, {key: b, path: z}]}",
            expect![[r#"
                files /pods/uid/volumes/v
                x/y 600 "one"
                z 400 "two""#]],
        ),
        (
            "configMap: {name: map, items: [{key: no, path: x}]}",
            expect!["impossible v: configmap references non-existent config key: no"],
        ),
        (
            "configMap: {name: map, optional: true, items: [{key: no, path: x}]}",
            expect![[r#"
            files /pods/uid/volumes/v
        "#]],
        ),
        ("configMap: {name: no}", expect![[r#"impossible v: configmap "no" not found"#]]),
        (
            "configMap: {name: no, optional: true}",
            expect![[r#"
            files /pods/uid/volumes/v
        "#]],
        ),
        (
            "secret: {secretName: secret}",
            expect![[r#"
            files /pods/uid/volumes/v
            token 644 "s3cr3t""#]],
        ),
        (
            "secret: {secretName: secret, items: [{key: no, path: x}]}",
            expect!["impossible v: references non-existent secret key: no"],
        ),
        (
            "downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}, {path: cpu, resourceFieldRef: \
             {containerName: main, resource: limits.cpu}}]}",
            expect![[r#"
                files /pods/uid/volumes/v
                cpu 644 "4"
                labels 644 "app=\"web\"\ntier=\"a\\\"b\"""#]],
        ),
        (
            "projected: {defaultMode: 288, sources: [{configMap: {name: map, items: [{key: a, path: a}]}}, {secret: \
             {name: secret}}, {downwardAPI: {items: [{path: n, fieldRef: {fieldPath: metadata.name}}]}}]}",
            expect![[r#"
                files /pods/uid/volumes/v
                a 440 "one"
                n 440 "p"
                token 440 "s3cr3t""#]],
        ),
        (
            "projected: {sources: [{serviceAccountToken: {path: t}}]}",
            expect![[r#"
                files /pods/uid/volumes/v
                t 644 "jwt""#]],
        ),
        (
            "projected: {sources: [{serviceAccountToken: {path: t, audience: vault}}]}",
            expect![[r#"impossible v: failed to fetch token: serviceaccounts "robot" not found"#]],
        ),
        ("persistentVolumeClaim: {claimName: c}", expect![[r#"impossible v: persistentvolumeclaim "c" not found"#]]),
        (
            "nfs: {server: s, path: /p}",
            expect![
                "impossible v: volumes of type nfs are not supported by jobdock; supported are emptyDir, hostPath, configMap, secret, downwardAPI, projected, persistentVolumeClaim, ephemeral, image"
            ],
        ),
        (
            "emptyDir: {medium: HugePages-2Mi}",
            expect![[
                r#"impossible v: emptyDir with medium HugePages-2Mi is not supported by jobdock; supported are "" and Memory"#
            ]],
        ),
        ("configMap: {name: map, items: [{key: a, path: ../x}]}", expect!["impossible v: invalid path: ../x"]),
    ] {
        expected.assert_eq(&volumes(&format!("{{name: v, {source}}}")));
    }
}

#[test]
fn quality_of_service_follows_requests_and_limits() {
    for (resources, expected) in [
        ("", "BestEffort"),
        (", resources: {requests: {cpu: 1}}", "Burstable"),
        (", resources: {limits: {cpu: 1, memory: 1Gi}}", "Guaranteed"),
        (", resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m, memory: 1Gi}}", "Burstable"),
        (", resources: {limits: {cpu: 1}}", "Burstable"),
        (", resources: {limits: {example.com/gpu: 1}}", "BestEffort"),
    ] {
        let pod = one(resources, "");
        assert_eq!(qos::class(pod.spec.as_ref().expect("it has a spec")), expected, "{resources}");
    }
}

#[test]
fn fields_without_effect_are_named() {
    let pod = one(
        ", readinessProbe: {grpc: {port: 1, mode: TLS}}, livenessProbe: {httpGet: {port: 1, protocol: HTTP/1.1}}, \
         startupProbe: {grpc: {port: 1}}, lifecycle: {preStop: {httpGet: {port: 1, protocol: HTTP/2}}}, \
         volumeMounts: [{name: e, mountPath: /e}, {name: e, mountPath: /n, bindMountOptions: [noexec]}], \
         securityContext: {windowsOptions: {hostProcess: true}}, resources: {claims: [{name: c}], \
         limits: {cpu: 1, ephemeral-storage: 1Gi, nvidia.com/gpu: 1, example.com/fpga: 1}}",
        ", nodeSelector: {a: b}, volumes: [{name: e, emptyDir: {sizeLimit: 1Gi}}, {name: f, projected: {defaultUser: 1, \
         sources: [{configMap: {items: [{key: a, path: a, user: 1}]}}]}}], \
         resourceClaims: [{name: c}], evictionResponders: [{name: r}], schedulingGroup: {}, \
         securityContext: {windowsOptions: {}}",
    );
    let mut offering = node();
    offering.devices.insert("nvidia.com/gpu".to_owned(), vec!["0".to_owned()]);
    expect![[r#"
        spec.resourceClaims
        spec.schedulingGroup
        spec.evictionResponders
        spec.securityContext.windowsOptions
        spec.volumes[1].projected.defaultUser
        spec.volumes[1].projected.sources[0].configMap.items[0].user
        spec.containers[0].resources.limits[example.com/fpga]
        spec.containers[0].resources.claims
        spec.containers[0].volumeMounts[1].bindMountOptions
        spec.containers[0].securityContext.windowsOptions
        spec.containers[0].readinessProbe.grpc.mode
        spec.containers[0].lifecycle.preStop.httpGet.protocol"#]]
    .assert_eq(&unsupported::ignored(pod.spec.as_ref().expect("it has a spec"), &offering).join("\n"));
    let plain = one("", "");
    assert!(unsupported::ignored(plain.spec.as_ref().expect("it has a spec"), &offering).is_empty());
}
