//! What is accepted with a warning.

use super::*;

fn warnings(new: Value, old: Option<Value>) -> Vec<String> {
    let (new, old) = (object(new), old.map(object));
    (new.kind().ops.warnings)(&new, old.as_ref())
}

/// Warnings of a pod template in a Job, without the path's beginning.
#[track_caller]
fn warned(fragment: &str, expected: &[&str]) {
    let value = with(job(), &format!("spec: {{template: {{{fragment}}}}}"));
    let strip = |line: String| line.strip_prefix("spec.template.").map_or(line.clone(), str::to_owned);
    assert_same(fragment, warnings(value, None).into_iter().map(strip).collect(), expected);
}

#[test]
fn names_with_dots_surprise() {
    let words = "which can result in surprising behavior; a DNS label is recommended: [must not contain dots]";
    let name = "metadata: {name: a.b}";
    let of_jobs = format!("metadata.name: this is used in Pod names and hostnames, {words}");
    assert_same("Job", warnings(with(job(), name), None), &[&of_jobs]);
    assert_same("CronJob", warnings(with(cron_job(), name), None), &[&of_jobs]);
    let of_pods = format!("metadata.name: this is used in the Pod's hostname, {words}");
    assert_same("Pod", warnings(with(pod(), name), None), &[&of_pods]);
    let updated = warnings(with(job(), name), Some(with(job(), name)));
    assert_same("update", updated, &[]);
}

#[test]
fn updates_warn_where_the_spec_changed() {
    let selector = "spec: {template: {spec: {nodeSelector: {beta.kubernetes.io/os: linux}}}}";
    let changed = with(with(job(), selector), "metadata: {generation: 2}");
    assert_same("changed", warnings(changed, Some(job())), &["spec.template.spec.nodeSelector[…"]);
    assert_same("unchanged", warnings(with(job(), selector), Some(job())), &[]);
    let of_cron = "spec: {jobTemplate: {spec: {template: {spec: {terminationGracePeriodSeconds: -1}}}}}";
    assert_same(
        "CronJob",
        warnings(with(cron_job(), of_cron), None),
        &[
            "spec.jobTemplate.spec.template.spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid \
         and will be treated as 1",
        ],
    );
}

#[test]
fn huge_indexed_jobs_lose_track() {
    let huge = "spec: {completionMode: Indexed, completions: 100001, parallelism: 10001}";
    assert_same(huge, warnings(with(job(), huge), None), &["spec: In Indexed Jobs with a number of completions…"]);
}

#[test]
fn old_names_of_node_labels_are_told() {
    warned(
        "spec: {nodeSelector: {beta.kubernetes.io/arch: a}}",
        &["spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use \"kubernetes.io/arch\" instead"],
    );
    let zone = "failure-domain.beta.kubernetes.io/zone";
    let expression = format!("{{matchExpressions: [{{key: {zone}, operator: Exists}}]}}");
    let words = format!("{zone} is deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead");
    let at = "spec.affinity.nodeAffinity";
    warned(
        &format!(
            "spec: {{affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: \
             [{expression}]}}, preferredDuringSchedulingIgnoredDuringExecution: [{{weight: 1, preference: \
             {expression}}}]}}}}}}"
        ),
        &[
            &format!(
                "{at}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key: \
                 {words}"
            ),
            &format!(
                "{at}.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].key: {words}"
            ),
        ],
    );
    warned(
        &format!("spec: {{topologySpreadConstraints: [{{topologyKey: {zone}, maxSkew: 1, whenUnsatisfiable: x}}]}}"),
        &[
            &format!("spec.topologySpreadConstraints[0].topologyKey: {words}"),
            "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
        ],
    );
}

#[test]
fn dead_annotations_and_volumes_are_told() {
    warned(
        "metadata: {annotations: {scheduler.alpha.kubernetes.io/critical-pod: ''}}",
        &["metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the \
         \"priorityClassName\" field instead"],
    );
    warned(
        "metadata: {annotations: {seccomp.security.alpha.kubernetes.io/pod: runtime/default, \
         container.apparmor.security.beta.kubernetes.io/main: unconfined}}",
        &[
            "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the \
             \"seccompProfile\" field instead",
            "metadata.annotations[container.apparmor.security.beta.kubernetes.io/main]: deprecated since v1.30; use the \
             \"appArmorProfile\" field instead",
        ],
    );
    warned(
        "spec: {volumes: [{name: v, gitRepo: {repository: a}}, {name: w, storageos: {volumeName: a}}]}",
        &[
            "spec.volumes[0].gitRepo: deprecated in v1.11",
            "spec.volumes[1].storageOS: deprecated in v1.22, non-functional in v1.25+",
        ],
    );
}

#[test]
fn files_over_each_other_are_told() {
    let items = "items: [{key: a, path: test}, {key: b, path: test/app}, {key: c, path: tes}]";
    warned(
        &format!("spec: {{volumes: [{{name: v, configMap: {{name: foo, {items}}}}}]}}"),
        &["volume \"v\" (ConfigMap \"foo\"): overlapping paths: \"test/app\" with \"test\""],
    );
    warned(
        "spec: {volumes: [{name: v, projected: {sources: [{}, {secret: {name: s, items: [{key: a, path: t/x}]}}, \
         {serviceAccountToken: {path: t}}]}}]}",
        &[
            "volume \"v\" (Projected) has no sources provided",
            "volume \"v\" (Projected): overlapping paths: \"t\" (ServiceAccountToken) with \"t/x\" (Secret \"s\")",
        ],
    );
}

#[test]
fn duplicates_are_told() {
    warned(
        "spec: {hostAliases: [{ip: 1.1.1.1}, {ip: 1.1.1.1}]}",
        &["spec.hostAliases[1].ip: duplicate ip \"1.1.1.1\""],
    );
    warned(
        "spec: {imagePullSecrets: [{name: a}, {name: a}, {name: ''}]}",
        &[
            "spec.imagePullSecrets[1].name: duplicate name \"a\"",
            "spec.imagePullSecrets[2].name: invalid empty name \"\"",
        ],
    );
    warned(
        "spec: {containers: [{env: [{name: a, value: x}, {name: a, value: z}, {name: a, value: '$(a)z'}]}]}",
        &["spec.containers[0].env[1]: hides previous definition of \"a\", which may be dropped when using apply"],
    );
}

#[test]
fn fractions_of_bytes_are_told() {
    warned(
        "spec: {containers: [{resources: {limits: {memory: 100m, cpu: 100m}}}]}",
        &["spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer"],
    );
    warned("spec: {containers: [{resources: {limits: {memory: 1E}, requests: {memory: 10P}}}]}", &[]);
    warned(
        "spec: {overhead: {ephemeral-storage: 1m}}",
        &["spec.overhead[ephemeral-storage]: fractional byte value \"1m\" is invalid, must be an integer"],
    );
}

#[test]
fn ports_in_doubt_are_told() {
    let ports = |ports: &str| format!("spec: {{containers: [{{ports: [{ports}]}}]}}");
    warned(
        &ports("{containerPort: 80, protocol: TCP}, {containerPort: 80, protocol: TCP}"),
        &["spec.containers[0].ports[1]: duplicate port definition with spec.template.spec.containers[0].ports[0]"],
    );
    warned(
        &ports("{containerPort: 80, protocol: TCP, hostPort: 1}, {containerPort: 80, protocol: TCP}"),
        &["spec.containers[0].ports[1]: overlapping port definition with spec.template.spec.containers[0].ports[0]"],
    );
    warned(
        &ports("{containerPort: 80, protocol: TCP, hostIP: 1.2.3.4}"),
        &["spec.containers[0].ports[0]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:80 Protocol:TCP \
         HostIP:1.2.3.4}"],
    );
}

#[test]
fn affinity_to_no_pod_is_told() {
    warned(
        "spec: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: a}], \
         preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: a}}]}}}",
        &[
            "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null \
             labelSelector results in matching no pod",
            "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.\
             labelSelector: a null labelSelector results in matching no pod",
        ],
    );
}
