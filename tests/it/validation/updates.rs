//! What updates may change: Jobs, CronJobs, pods.

use super::*;

fn update_errors(new: Value, old: Value) -> Vec<String> {
    let (new, old) = (object(new), object(old));
    (new.kind().ops.validate_update)(&new, &old).iter().map(ToString::to_string).collect()
}

/// Updates `base` from one fragment to another. Upstream says some things twice: each line counts once here.
#[track_caller]
fn change(base: fn() -> Value, old: &str, new: &str, expected: &[&str]) {
    let mut found: Vec<String> = Vec::new();
    for line in update_errors(with(with(base(), old), new), with(base(), old)) {
        if !found.contains(&line) {
            found.push(line);
        }
    }
    assert_same(&format!("{old} -> {new}"), found, expected);
}

#[test]
fn a_job_without_changes_passes() {
    change(job, "", "", &[]);
    change(job, "spec: {template: {spec: {tolerations: []}}}", "spec: {template: {spec: {tolerations: null}}}", &[]);
}

#[test]
fn most_of_a_jobs_spec_stays() {
    let rule = "rules: [{action: Count, onExitCodes: {operator: In, values: [1]}}]";
    change(job, "", "spec: {parallelism: 3, activeDeadlineSeconds: 9, backoffLimit: 1, suspend: true}", &[]);
    change(job, "", "spec: {completions: 2}", &["spec.completions: Invalid value: 2: field is immutable"]);
    change(job, "", "spec: {completions: null}", &["spec.completions: Invalid value: \"null\": field is immutable"]);
    let indexed = "spec.completionMode: Invalid value: \"Indexed\": field is immutable";
    change(job, "", "spec: {completionMode: Indexed}", &[indexed]);
    change(
        job,
        "",
        &format!("spec: {{podReplacementPolicy: Failed, podFailurePolicy: {{{rule}}}}}"),
        &["spec.podFailurePolicy: Invalid value: …"],
    );
    change(
        job,
        "",
        "spec: {managedBy: example.com/x}",
        &["spec.managedBy: Invalid value: \"example.com/x\": field is immutable"],
    );
    change(job, "", "spec: {template: {spec: {containers: [{image: other}]}}}", &["spec.template: Invalid value: …"]);
}

#[test]
fn completions_of_an_indexed_job_follow_its_parallelism() {
    let old = "spec: {completionMode: Indexed, completions: 5, parallelism: 5}";
    change(job, old, "spec: {completions: 3, parallelism: 3}", &[]);
    change(
        job,
        old,
        "spec: {completions: 3}",
        &["spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism"],
    );
    change(
        job,
        old,
        "spec: {backoffLimitPerIndex: 1}",
        &["spec.backoffLimitPerIndex: Invalid value: 1: field is immutable"],
    );
}

#[test]
fn a_suspended_job_that_never_ran_may_be_placed_anew() {
    let waiting = "spec: {suspend: true}";
    let node = "nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: \
                [{matchExpressions: [{key: a, operator: Exists}]}]}}";
    let place = |fields: &str| format!("spec: {{template: {{spec: {{{fields}}}}}}}");
    for fields in [
        "nodeSelector: {a: b}",
        "tolerations: [{operator: Exists}]",
        "schedulingGates: [{name: g}]",
        &format!("affinity: {{{node}}}"),
    ] {
        change(job, waiting, &place(fields), &[]);
        change(job, "", &place(fields), &["spec.template: Invalid value: …"]);
        let started = "spec: {suspend: true}, status: {startTime: '2024-01-01T00:00:00Z'}";
        change(job, started, &place(fields), &["spec.template: Invalid value: …"]);
    }
    change(job, waiting, "spec: {template: {metadata: {annotations: {a: b}, labels: {c: d}}}}", &[]);
    change(
        job,
        waiting,
        &place("affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: a}]}}"),
        &["spec.template: Invalid value: …"],
    );
    let with_node = format!("spec: {{suspend: true, template: {{spec: {{affinity: {{{node}}}}}}}}}");
    change(job, &with_node, &place("affinity: null"), &[]);
}

#[test]
fn only_the_size_of_a_gang_changes() {
    let old = "spec: {scheduling: {schedulingPolicy: {gang: {minCount: 2}}}}";
    change(job, old, "spec: {scheduling: {schedulingPolicy: {gang: {minCount: 1}}}}", &[]);
    change(job, old, "spec: {scheduling: null}", &["spec.scheduling: Invalid value: \"null\": field is immutable"]);
}

#[test]
fn metadata_of_an_update_is_checked() {
    change(
        job,
        "",
        "metadata: {resourceVersion: null}",
        &["metadata.resourceVersion: Invalid value: \"\": must be specified for an update"],
    );
    change(
        job,
        "metadata: {generation: 2}",
        "metadata: {generation: 1}",
        &["metadata.generation: Invalid value: 1: must not be decremented"],
    );
    change(
        job,
        "metadata: {deletionTimestamp: '2024-01-01T00:00:00Z', finalizers: [a.b/c]}",
        "metadata: {finalizers: [a.b/c, d.e/f]}",
        &["metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new \
           finalizers []string{\"d.e/f\"}"],
    );
}

#[test]
fn cron_jobs_change_freely() {
    change(cron_job, "", "spec: {schedule: '1 * * * *', suspend: true, timeZone: UTC}", &[]);
    change(cron_job, "spec: {timeZone: Old/Zone}", "spec: {suspend: true}", &[]);
    change(cron_job, "spec: {schedule: 'TZ=UTC 1 * * * *'}", "spec: {suspend: true}", &[]);
    change(
        cron_job,
        "spec: {schedule: 'TZ=UTC 1 * * * *'}",
        "spec: {timeZone: UTC}",
        &["spec.schedule: Invalid value: \"TZ=UTC 1 * * * *\": cannot use both timeZone field and TZ or CRON_TZ in \
         schedule"],
    );
    let long = format!("metadata: {{name: {}}}", "c".repeat(60));
    change(cron_job, &long, "spec: {suspend: true}", &[]);
}

#[test]
fn pods_change_little() {
    change(pod, "", "spec: {containers: [{image: other}], activeDeadlineSeconds: 5}", &[]);
    change(pod, "", "spec: {tolerations: [{operator: Exists}]}", &[]);
    let refused = "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,…";
    change(pod, "", "spec: {nodeSelector: {a: b}}", &[refused]);
    change(pod, "", "spec: {containers: [{command: [a]}]}", &[refused]);
    let container = container_named("more").to_string();
    change(
        pod,
        "",
        &format!("spec: {{containers: [{{}}, {container}]}}"),
        &["spec.containers: Forbidden: pod updates may not add or remove containers"],
    );
    change(
        pod,
        "spec: {activeDeadlineSeconds: 5}",
        "spec: {activeDeadlineSeconds: 6}",
        &["spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"],
    );
    change(
        pod,
        "spec: {activeDeadlineSeconds: 5}",
        "spec: {activeDeadlineSeconds: null}",
        &["spec.activeDeadlineSeconds: Invalid value: \"null\": must not update from a positive integer to nil value"],
    );
    change(
        pod,
        "spec: {tolerations: [{key: a, operator: Exists}]}",
        "spec: {tolerations: [{key: b}]}",
        &["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"],
    );
    change(pod, "spec: {terminationGracePeriodSeconds: -1}", "spec: {terminationGracePeriodSeconds: 1}", &[]);
    change(
        pod,
        "",
        "metadata: {annotations: {kubernetes.io/config.mirror: x}}, spec: {}",
        &[
            "metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"x\": must set spec.nodeName…",
            "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation",
        ],
    );
}

#[test]
fn gated_pods_may_be_narrowed() {
    let gated = "spec: {schedulingGates: [{name: g}], nodeSelector: {a: b}}";
    change(pod, gated, "spec: {nodeSelector: {c: d}}", &[]);
    change(
        pod,
        gated,
        "spec: {nodeSelector: {a: x}}",
        &["spec.nodeSelector: Invalid value: map[string]string{\"a\":\"x\"}: only additions to spec.nodeSelector are \
         allowed (no mutations or deletions)"],
    );
    change(
        pod,
        gated,
        "spec: {schedulingGates: [{}, {name: h}]}",
        &["spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'h'"],
    );
    change(pod, gated, "spec: {schedulingGates: []}", &[]);
}
