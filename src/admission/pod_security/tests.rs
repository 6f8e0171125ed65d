//! What the Pod Security Standards say of pods, one line each: standard, spec, words.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use serde_json::json;

use super::policy::{Level, Policy, Standard, Version, read};
use super::{Census, ObjectMeta, Verdict, broken, details, is_significant, reasons};

fn standard(text: &str) -> Standard {
    let (level, version) = text.split_once(':').expect("level:version");
    let (level, version) = (level.to_owned(), version.to_owned());
    let labels = BTreeMap::from([
        ("pod-security.kubernetes.io/enforce".to_owned(), level),
        ("pod-security.kubernetes.io/enforce-version".to_owned(), version),
    ]);
    let (policy, errors) = read(Some(&labels));
    assert!(errors.is_empty(), "{text}");
    assert_eq!(policy.enforce.to_string(), text);
    policy.enforce
}

fn spec(text: &str) -> PodSpec {
    let text = if text.contains("containers: [") { text.to_owned() } else { format!("{text}, containers: []") };
    let value: serde_json::Value = serde_saphyr::from_str(&format!("{{{text}}}")).expect("a spec is YAML");
    serde_json::from_value(value).expect("a spec")
}

/// The words of one check for a spec.
#[track_caller]
fn says(of: &str, spec_text: &str, wanted: &str) {
    let found = broken(standard(of), &ObjectMeta::default(), &spec(spec_text));
    assert_eq!(details(&found), wanted, "{of}: {spec_text}");
}

/// A container that `restricted` has nothing against, with more in its security context.
fn hardened(name: &str, more: &str) -> String {
    format!(
        "{{name: {name}, securityContext: {{allowPrivilegeEscalation: false, runAsNonRoot: true, \
         capabilities: {{drop: [ALL]}}, seccompProfile: {{type: RuntimeDefault}}{more}}}}}"
    )
}

#[test]
fn baseline_names_every_way_onto_the_node() {
    let all = |text: &str, wanted: &str| says("baseline:latest", text, wanted);
    all("containers: [{name: a}]", "");
    all(
        "containers: [{name: a, securityContext: {privileged: true}}]",
        "privileged (container \"a\" must not set securityContext.privileged=true)",
    );
    all(
        "initContainers: [{name: i, securityContext: {privileged: true}}], containers: [{name: a, securityContext: {privileged: true}}, {name: b}]",
        "privileged (containers \"i\", \"a\" must not set securityContext.privileged=true)",
    );
    all(
        "ephemeralContainers: [{name: e, securityContext: {privileged: true}}], containers: [{name: a}]",
        "privileged (container \"e\" must not set securityContext.privileged=true)",
    );
    all(
        "hostIPC: true, hostPID: true, hostNetwork: true",
        "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
    );
    all("hostIPC: false, hostPID: true", "host namespaces (hostPID=true)");
    all("volumes: [{name: a, hostPath: {path: /}}, {name: b, emptyDir: {}}]", "hostPath volumes (volume \"a\")");
    all(
        "volumes: [{name: a, hostPath: {path: /}}, {name: b, hostPath: {path: /x}}, {name: c, nfs: {server: s, path: /}}]",
        "hostPath volumes (volumes \"a\", \"b\")",
    );
    all(
        "containers: [{name: a, ports: [{containerPort: 1, hostPort: 0}]}, {name: b, ports: [{containerPort: 1, hostPort: 20}]}]",
        "hostPort (container \"b\" uses hostPort 20)",
    );
    all(
        "containers: [{name: a, ports: [{containerPort: 1, hostPort: 9}, {containerPort: 2, hostPort: 10}]}, {name: b, ports: [{containerPort: 1, hostPort: 10}]}]",
        "hostPort (containers \"a\", \"b\" use hostPorts 10, 9)",
    );
    all(
        "containers: [{name: a, securityContext: {capabilities: {add: [NET_RAW, CHOWN]}}}, {name: b, securityContext: {capabilities: {add: [BPF, NET_RAW]}}}]",
        "non-default capabilities (containers \"a\", \"b\" must not include \"BPF\", \"NET_RAW\" in securityContext.capabilities.add)",
    );
    all("containers: [{name: a, securityContext: {capabilities: {add: [KILL, MKNOD]}}}]", "");
    all(
        "securityContext: {sysctls: [{name: kernel.msgmax, value: x}, {name: net.ipv4.tcp_rmem, value: x}, {name: vm.a, value: x}]}",
        "forbidden sysctls (kernel.msgmax, vm.a)",
    );
    all(
        "securityContext: {windowsOptions: {hostProcess: true}}, containers: [{name: a, securityContext: {windowsOptions: {hostProcess: true}}}]",
        "hostProcess (pod and container \"a\" must not set securityContext.windowsOptions.hostProcess=true)",
    );
    all(
        "containers: [{name: a, livenessProbe: {httpGet: {port: 1, host: evil}}}, {name: b, lifecycle: {preStop: {tcpSocket: {port: 1, host: worse}}}}]",
        "probe or lifecycle host (containers \"a\", \"b\" use probe or lifecycle hosts \"evil\", \"worse\")",
    );
    all(
        "containers: [{name: a, startupProbe: {tcpSocket: {port: 1, host: evil}}, readinessProbe: {httpGet: {port: 1, host: ''}}}]",
        "probe or lifecycle host (container \"a\" uses probe or lifecycle host \"evil\")",
    );
}

#[test]
fn baseline_keeps_the_masks_and_profiles_of_the_engine() {
    let all = |text: &str, wanted: &str| says("baseline:latest", text, wanted);
    all(
        "containers: [{name: a, securityContext: {procMount: Default}}, {name: b, securityContext: {procMount: Unmasked}}]",
        "procMount (container \"b\" must not set securityContext.procMount to \"Unmasked\")",
    );
    // Users are mapped for all pods of an engine or for none, whatever the pod says.
    all(
        "hostUsers: false, containers: [{name: b, securityContext: {procMount: Unmasked}}]",
        "procMount (container \"b\" must not set securityContext.procMount to \"Unmasked\")",
    );
    all(
        "securityContext: {seLinuxOptions: {type: foo, user: u}}, containers: [{name: a, securityContext: {seLinuxOptions: {type: bar}}}, {name: b, securityContext: {seLinuxOptions: {role: r}}}]",
        "seLinuxOptions (pod and containers \"a\", \"b\" set forbidden securityContext.seLinuxOptions: types \"bar\", \"foo\"; user may not be set; role may not be set)",
    );
    all(
        "securityContext: {seLinuxOptions: {user: u}}",
        "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: user may not be set)",
    );
    all("securityContext: {seLinuxOptions: {type: container_engine_t, level: s0}}", "");
    says(
        "baseline:v1.30",
        "securityContext: {seLinuxOptions: {type: container_engine_t}}",
        "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"container_engine_t\")",
    );
    all(
        "securityContext: {seccompProfile: {type: Unconfined}}, containers: [{name: a, securityContext: {seccompProfile: {type: Localhost, localhostProfile: p}}}]",
        "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
    );
    all(
        "securityContext: {appArmorProfile: {type: Unconfined}}, containers: [{name: a, securityContext: {appArmorProfile: {type: Unconfined}}}]",
        "forbidden AppArmor profile (pod and container \"a\" must not set AppArmor profile type to \"Unconfined\")",
    );
    all("containers: [{name: a, securityContext: {appArmorProfile: {type: RuntimeDefault}}}]", "");
}

#[test]
fn annotations_stand_where_fields_were_not_yet() {
    let says = |of: &str, annotations: &[(&str, &str)], wanted: &str| {
        let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let meta = ObjectMeta { annotations: Some(annotations), ..ObjectMeta::default() };
        assert_eq!(details(&broken(standard(of), &meta, &spec("containers: [{name: a}]"))), wanted);
    };
    let armor = "container.apparmor.security.beta.kubernetes.io/a";
    says("baseline:latest", &[(armor, "localhost/x")], "");
    says(
        "baseline:latest",
        &[(armor, "unconfined")],
        "forbidden AppArmor profile (annotation must not set AppArmor profile type to \
         \"container.apparmor.security.beta.kubernetes.io/a=\"unconfined\"\")",
    );
    let (pod, container) =
        ("seccomp.security.alpha.kubernetes.io/pod", "container.seccomp.security.alpha.kubernetes.io/a");
    says("baseline:latest", &[(pod, "unconfined")], "");
    says("baseline:v1.18", &[(pod, "docker/default"), (container, "localhost/x")], "");
    says(
        "baseline:v1.18",
        &[(pod, "unconfined"), (container, "odd")],
        "seccompProfile (forbidden annotations container.seccomp.security.alpha.kubernetes.io/a=\"odd\", \
         seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")",
    );
}

#[test]
fn restricted_asks_each_container_to_be_hardened() {
    let all = |text: &str, wanted: &str| says("restricted:latest", text, wanted);
    all(&format!("containers: [{}]", hardened("a", "")), "");
    all(
        "containers: [{name: a}]",
        "allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
    );
    all(
        &format!(
            "initContainers: [{}], containers: [{}, {}]",
            hardened("i", ""),
            hardened("a", ", runAsUser: 0"),
            hardened("b", ", runAsUser: 7")
        ),
        "runAsUser=0 (container \"a\" must not set runAsUser=0)",
    );
    all(
        &format!("securityContext: {{runAsUser: 0}}, containers: [{}]", hardened("a", "")),
        "runAsUser=0 (pod must not set runAsUser=0)",
    );
    all(
        &format!(
            "hostUsers: false, securityContext: {{runAsUser: 0, runAsNonRoot: false}}, containers: [{}]",
            hardened("a", "")
        ),
        "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false), runAsUser=0 (pod must not set runAsUser=0)",
    );
    all(
        "securityContext: {runAsNonRoot: false, seccompProfile: {type: Localhost}}, containers: [{name: a, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}}]",
        "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
    );
    all(
        "securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}, containers: [{name: a, securityContext: {allowPrivilegeEscalation: true, runAsNonRoot: false, capabilities: {drop: [CHOWN], add: [CHOWN, BPF]}, seccompProfile: {type: Unconfined}}}]",
        "allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]; container \"a\" must not include \"BPF\", \"CHOWN\" in securityContext.capabilities.add), runAsNonRoot != true (container \"a\" must not set securityContext.runAsNonRoot=false), seccompProfile (container \"a\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
    );
    all(
        &format!("hostUsers: false, containers: [{}]", hardened("a", ", procMount: Unmasked")),
        "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
    );
    all(
        &format!("hostPID: true, containers: [{}]", hardened("a", ", privileged: true")),
        "host namespaces (hostPID=true), privileged (container \"a\" must not set securityContext.privileged=true)",
    );
    all(
        "volumes: [{name: a, emptyDir: {}}, {name: b, hostPath: {path: /}}, {name: c, nfs: {server: s, path: /}}, {name: d}, {name: e, image: {reference: r}}]",
        "restricted volume types (volumes \"b\", \"c\", \"d\" use restricted volume types \"hostPath\", \"nfs\", \"unknown\")",
    );
    all(
        "volumes: [{name: b, hostPath: {path: /}}]",
        "restricted volume types (volume \"b\" uses restricted volume type \"hostPath\")",
    );
}

#[test]
fn an_older_version_asks_for_what_it_asked_then() {
    let plain = "containers: [{name: a}]";
    let (escalation, capabilities, root, seccomp) = (
        "allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false)",
        "unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"])",
        "runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true)",
        "seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
    );
    says("restricted:v1.0", plain, root);
    says("restricted:v1.8", plain, &[escalation, root].join(", "));
    says("restricted:v1.19", plain, &[escalation, root, seccomp].join(", "));
    says("restricted:v1.22", plain, &[escalation, capabilities, root, seccomp].join(", "));
    let windows = "os: {name: windows}, containers: [{name: a}]";
    says("restricted:v1.24", windows, &[escalation, capabilities, root, seccomp].join(", "));
    says("restricted:v1.25", windows, root);
    says("restricted:v1.99", windows, root);
    says("restricted:v1.22", "securityContext: {runAsUser: 0}", "");
    says("restricted:v1.23", "securityContext: {runAsUser: 0}", "runAsUser=0 (pod must not set runAsUser=0)");
    let adds = format!(
        "containers: [{}]",
        "{name: a, securityContext: {allowPrivilegeEscalation: false, runAsNonRoot: true, capabilities: {add: [BPF]}, seccompProfile: {type: RuntimeDefault}}}"
    );
    says(
        "restricted:v1.21",
        &adds,
        "non-default capabilities (container \"a\" must not include \"BPF\" in securityContext.capabilities.add)",
    );
    let sysctl = "securityContext: {sysctls: [{name: net.ipv4.tcp_fin_timeout, value: x}]}";
    says("baseline:v1.28", sysctl, "forbidden sysctls (net.ipv4.tcp_fin_timeout)");
    says("baseline:v1.29", sysctl, "");
    let probe = "containers: [{name: a, livenessProbe: {httpGet: {port: 1, host: h}}}]";
    says("baseline:v1.33", probe, "");
    says("baseline:v1.34", probe, "probe or lifecycle host (container \"a\" uses probe or lifecycle host \"h\")");
    says("privileged:latest", "hostPID: true", "");
}

#[test]
fn labels_that_cannot_be_read_ask_for_the_most_or_for_nothing() {
    let of = |labels: &[(&str, &str)]| {
        let labels =
            labels.iter().map(|(mode, value)| (format!("pod-security.kubernetes.io/{mode}"), (*value).to_owned()));
        let (policy, errors) = read(Some(&labels.collect()));
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        (format!("{} {} {}", policy.enforce, policy.audit, policy.warn), errors.join(", "))
    };
    let nothing = "privileged:latest privileged:latest privileged:latest";
    let said = |policy: &str, errors: &str| (policy.to_owned(), errors.to_owned());
    assert_eq!(read(None), (Policy::NONE, Vec::new()));
    assert_eq!(of(&[]), said(nothing, ""));
    assert_eq!(
        of(&[("enforce", "baseline"), ("audit", "restricted"), ("audit-version", "v1.0"), ("warn-version", "v1.37")]),
        said("baseline:latest restricted:v1.0 privileged:v1.37", "")
    );
    let level = "must be one of privileged, baseline, restricted";
    let (enforce, warn) =
        ("metadata.labels[pod-security.kubernetes.io/enforce]", "metadata.labels[pod-security.kubernetes.io/warn]");
    assert_eq!(
        of(&[("enforce", "Baseline"), ("warn", ""), ("audit", "x")]),
        said(
            "restricted:latest privileged:latest privileged:latest",
            &format!(
                "{enforce}: Invalid value: \"Baseline\": {level}, metadata.labels[pod-security.kubernetes.io/audit]: \
                 Invalid value: \"x\": {level}, {warn}: Invalid value: \"\": {level}"
            )
        )
    );
    for version in ["v1", "v1.", "v1.01", "1.30", "v2.0", "v1.99999999999", "v1.2.3", "v1.x"] {
        let error = format!(
            "metadata.labels[pod-security.kubernetes.io/enforce-version]: Invalid value: \"{version}\": \
             must be \"latest\" or \"v1.x\""
        );
        assert_eq!(of(&[("enforce-version", version)]), said(nothing, &error));
    }
}

#[test]
fn a_standard_is_relaxed_by_its_level_alone() {
    let relaxed = |new: &str, old: &str| standard(new).is_relaxed_from(standard(old));
    assert!(relaxed("baseline:latest", "baseline:latest"));
    assert!(relaxed("baseline:v1.30", "restricted:v1.30"));
    assert!(relaxed("privileged:v1.1", "restricted:v1.30"));
    assert!(!relaxed("restricted:v1.30", "baseline:v1.30"));
    assert!(!relaxed("baseline:v1.29", "restricted:v1.30"), "another version may ask for something else");
}

fn pod(name: &str, spec_text: &str) -> Pod {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    Pod { metadata, spec: Some(spec(spec_text)), ..Pod::default() }
}

#[test]
fn a_refused_pod_is_not_warned_of_and_a_template_is_refused_nothing() {
    let policy = Policy {
        enforce: standard("baseline:latest"),
        audit: standard("baseline:v1.30"),
        warn: standard("restricted:latest"),
    };
    let pod = pod("a", "hostPID: true");
    let spec = pod.spec.as_ref().expect("a spec");
    let words = "host namespaces (hostPID=true)";
    let note = Some(format!("would violate PodSecurity \"baseline:v1.30\": {words}"));
    let refusal = Some(format!("violates PodSecurity \"baseline:latest\": {words}"));
    let warning = Some(format!("would violate PodSecurity \"restricted:latest\": {words}"));
    let verdict = Verdict { refusal, note: note.clone(), warning: None };
    assert_eq!(Verdict::of_pod(&policy, &pod.metadata, spec), verdict);
    let verdict = Verdict { refusal: None, note, warning };
    assert_eq!(Verdict::of_template(&policy, &pod.metadata, spec), verdict);
    assert_eq!(Verdict::of_pod(&Policy::NONE, &pod.metadata, spec), Verdict::default());
}

#[test]
fn the_pods_of_a_namespace_are_told_by_what_they_break() {
    let mut census = Census::new(Standard { level: Level::Baseline, version: Version::Latest });
    for (name, text) in [
        ("d", "hostPID: true"),
        ("c", "hostIPC: true"),
        ("b", "hostPID: true, volumes: [{name: v, hostPath: {path: /}}]"),
        ("fine", "hostPID: false"),
        ("a", "hostNetwork: true"),
    ] {
        census.count(&pod(name, text));
    }
    assert_eq!(
        census.warnings("n", 0),
        [
            "existing pods in namespace \"n\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "a (and 2 other pods): host namespaces",
            "b: host namespaces, hostPath volumes",
        ]
    );
    let cut = "new PodSecurity enforce level only checked against the first 5 of 12 existing pods";
    assert_eq!(census.warnings("n", 7)[0], cut);
    assert!(Census::new(standard("baseline:latest")).warnings("n", 0).is_empty());
    assert_eq!(reasons(&[]), "");
}

#[test]
fn an_update_is_looked_at_where_it_changes_images_or_profiles() {
    let old = pod("a", "containers: [{name: a, image: x}]");
    let changed = |change: serde_json::Value| {
        let mut value = json!(old);
        json_patch::merge(&mut value, &change);
        is_significant(&serde_json::from_value(value).expect("a pod"), &old)
    };
    assert!(!changed(json!({"metadata": {"labels": {"a": "b"}}})));
    assert!(!changed(json!({"spec": {"activeDeadlineSeconds": 3}})));
    assert!(changed(json!({"spec": {"containers": [{"name": "a", "image": "y"}]}})));
    assert!(changed(json!({"metadata": {"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}}})));
    let key = "container.seccomp.security.alpha.kubernetes.io/a";
    assert!(changed(json!({"metadata": {"annotations": {key: "unconfined"}}})));
    assert!(changed(json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "x"}]}})));
}
