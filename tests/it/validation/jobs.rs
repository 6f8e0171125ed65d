//! Jobs and CronJobs: metadata, the spec's own fields, the policies, selectors, schedules.

use super::*;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
    '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

#[test]
fn a_valid_job_has_no_errors() {
    jobs(&[("", &[])]);
    cron_specs(&[("", &[])]);
    alone(&[("", &[])]);
}

#[test]
fn numbers_must_not_be_negative() {
    let words = "must be greater than or equal to 0";
    for field in ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"] {
        let error = format!("{field}: Invalid value: -1: {words}");
        job_specs(&[(&format!("{field}: -1"), &[&error])]);
    }
    indexed(&[
        ("backoffLimitPerIndex: -1", &["backoffLimitPerIndex: Invalid value: -1: must be greater than or equal to 0"]),
        ("parallelism: 0", &[]),
    ]);
}

#[test]
fn names_are_subdomains() {
    let error = format!("metadata.name: Invalid value: \"Job\": {SUBDOMAIN}");
    jobs(&[(
        "metadata: {name: Job}, spec: {template: {metadata: {labels: {job-name: Job, \
         batch.kubernetes.io/job-name: Job}}}}",
        &[&error],
    )]);
}

#[test]
fn metadata_is_checked() {
    jobs(&[
        (
            "metadata: {labels: {a/b/c: x}}",
            &["metadata.labels: Invalid value: \"a/b/c\": a qualified name must consist of…"],
        ),
        ("metadata: {labels: {/b: x}}", &["metadata.labels: Invalid value: \"/b\": prefix part must be non-empty"]),
        (
            "metadata: {labels: {a/: x}}",
            &[
                "metadata.labels: Invalid value: \"a/\": name part must be non-empty",
                "metadata.labels: Invalid value: \"a/\": name part must consist of alphanumeric characters…",
            ],
        ),
        ("metadata: {annotations: {Example.COM/Key: x}}", &[]),
        (
            "metadata: {annotations: {'a b': x}}",
            &["metadata.annotations: Invalid value: \"a b\": name part must consist of…"],
        ),
        (
            "metadata: {ownerReferences: [{apiVersion: '', kind: '', name: '', uid: ''}]}",
            &[
                "metadata.ownerReferences.apiVersion: Invalid value: \"\": version must not be empty",
                "metadata.ownerReferences.kind: Invalid value: \"\": kind must not be empty",
                "metadata.ownerReferences.name: Invalid value: \"\": name must not be empty",
                "metadata.ownerReferences.uid: Invalid value: \"\": uid must not be empty",
            ],
        ),
        (
            "metadata: {ownerReferences: [{apiVersion: v1, kind: Event, name: a, uid: b}]}",
            &[
                "metadata.ownerReferences: Invalid value: v1.OwnerReference{APIVersion:\"v1\", Kind:\"Event\", Name:\"a\", \
               UID:\"b\", Controller:(*bool)(nil), BlockOwnerDeletion:(*bool)(nil)}: /v1, Kind=Event is disallowed from \
               being an owner",
            ],
        ),
        (
            "metadata: {ownerReferences: [{apiVersion: a/v1, kind: A, name: a, uid: a, controller: true}, \
             {apiVersion: b/v1, kind: B, name: b, uid: b, controller: true}]}",
            &["metadata.ownerReferences: Invalid value: []v1.OwnerReference{v1.OwnerReference{APIVersion:\"a/v1\", \
               Kind:\"A\", Name:\"a\", UID:\"a\", Controller:(*bool)(0xc000000000), BlockOwnerDeletion:(*bool)(nil)}, \
               v1.OwnerReference{…"],
        ),
        ("metadata: {finalizers: [example.com/hold, orphan]}", &[]),
        (
            "metadata: {finalizers: [hold]}",
            &["metadata.finalizers[0]: Invalid value: \"hold\": name is neither a standard finalizer name nor is it \
               fully qualified"],
        ),
    ]);
}

#[test]
fn completion_modes_limit_what_goes_with_them() {
    job_specs(&[
        (
            "completionMode: Sometimes",
            &["completionMode: Unsupported value: \"Sometimes\": supported values: \"NonIndexed\", \"Indexed\""],
        ),
        (
            "completionMode: Indexed, completions: null",
            &["completions: Required value: when completion mode is Indexed"],
        ),
        (
            "backoffLimitPerIndex: 1, maxFailedIndexes: 1",
            &[
                "backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
                "maxFailedIndexes: Invalid value: 1: requires indexed completion mode",
            ],
        ),
    ]);
    indexed(&[
        (
            "completions: 100001, backoffLimitPerIndex: 1, parallelism: 10001",
            &[
                "maxFailedIndexes: Required value: must be specified when completions is above 100000",
                "parallelism: Invalid value: 10001: must be less than or equal to 10000 when completions are above \
               100000 and used with backoff limit per index",
            ],
        ),
        (
            "completions: 100002, backoffLimitPerIndex: 1, maxFailedIndexes: 100001",
            &[
                "maxFailedIndexes: Invalid value: 100001: must be less than or equal to 100000",
                "maxFailedIndexes: Invalid value: 100001: must be less than or equal to 10000 when completions are \
               above 100000 and used with backoff limit per index",
            ],
        ),
    ]);
}

#[test]
fn the_host_names_of_an_indexed_job_are_labels() {
    let name = "n".repeat(62);
    let labels = format!("{{labels: {{job-name: {name}, batch.kubernetes.io/job-name: {name}}}}}");
    let spec = format!("{{completionMode: Indexed, completions: 10, template: {{metadata: {labels}}}}}");
    let error = format!(
        "metadata.name: Invalid value: \"{name}\": will not able to create pod with invalid DNS label: {name}-9"
    );
    jobs(&[(&format!("metadata: {{name: {name}}}, spec: {spec}"), &[&error])]);
}

#[test]
fn managers_are_paths_with_a_domain() {
    let long = format!("example.com/{}", "a".repeat(60));
    job_specs(&[
        ("managedBy: example.com/x", &[]),
        (
            "managedBy: x",
            &["managedBy: Invalid value: \"x\": must be a domain-prefixed path (such as \"acme.io/foo\")"],
        ),
        ("managedBy: example.com/", &["managedBy: Invalid value: \"example.com/\": must be a domain-prefixed path…"]),
        ("managedBy: A.b/x", &["managedBy: Invalid value: \"A.b\": a lowercase RFC 1123 subdomain must consist of…"]),
        (
            "managedBy: 'example.com/a b'",
            &["managedBy: Invalid value: \"a b\": Invalid path (regex used for validation is \
               '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')"],
        ),
        (&format!("managedBy: {long}"), &["managedBy: Too long: may not be more than 63 bytes"]),
    ]);
}

#[test]
fn failure_policies_are_checked() {
    let rule = |rule: &str| format!("podReplacementPolicy: Failed, podFailurePolicy: {{rules: [{rule}]}}");
    let values = format!("values: [{}]", (1..=256).map(|code| code.to_string()).collect::<Vec<_>>().join(","));
    let cases: &[Case<'_>] = &[
        ("{action: FailJob, onExitCodes: {operator: In, values: [1, 2]}}", &[]),
        (
            "{onExitCodes: {operator: In, values: [1]}}",
            &[".action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"],
        ),
        (
            "{action: Stop, onExitCodes: {operator: In, values: [1]}}",
            &[
                ".action: Unsupported value: \"Stop\": supported values: \"Count\", \"FailIndex\", \"FailJob\", \"Ignore\"",
            ],
        ),
        (
            "{action: FailIndex, onExitCodes: {operator: In, values: [1]}}",
            &[".action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set"],
        ),
        (
            "{action: Count, onExitCodes: {values: [1]}}",
            &[".onExitCodes.operator: Required value: valid values: [\"In\" \"NotIn\"]"],
        ),
        (
            "{action: Count, onExitCodes: {operator: Is, values: [1]}}",
            &[".onExitCodes.operator: Unsupported value: \"Is\": supported values: \"In\", \"NotIn\""],
        ),
        (
            "{action: Count, onExitCodes: {operator: In, values: []}}",
            &[".onExitCodes.values: Invalid value: []int32{}: at least one value is required"],
        ),
        (
            "{action: Count, onExitCodes: {operator: In, values: [3, 1, 1, 0]}}",
            &[
                ".onExitCodes.values[2]: Duplicate value: 1",
                ".onExitCodes.values[3]: Invalid value: 0: must not be 0 for the In operator",
                ".onExitCodes.values: Invalid value: []int32{3, 1, 1, 0}: must be ordered",
            ],
        ),
        ("{action: Count, onExitCodes: {operator: NotIn, values: [0]}}", &[]),
        (
            "{action: Count, onExitCodes: {containerName: x, operator: In, values: [1]}}",
            &[".onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names \
               in the pod template"],
        ),
        (
            "{action: Ignore, onPodConditions: [{type: X, status: Maybe}, {type: '', status: ''}]}",
            &[
                ".onPodConditions[0].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \
                 \"Unknown\"",
                ".onPodConditions[1].type: Invalid value: \"\": name part must be non-empty",
                ".onPodConditions[1].type: Invalid value: \"\": name part must consist of…",
                ".onPodConditions[1].status: Required value: valid values: [\"False\" \"True\" \"Unknown\"]",
            ],
        ),
        (
            "{action: Ignore, onPodConditions: [{type: X, status: 'True'}], onExitCodes: {operator: In, values: [1]}}",
            &[": Invalid value: specifying both OnExitCodes and OnPodConditions is not supported"],
        ),
        ("{action: Ignore}", &[": Invalid value: specifying one of OnExitCodes and OnPodConditions is required"]),
    ];
    for (fragment, expected) in cases {
        check(
            |fragment| with(job(), &format!("spec: {{{}}}", rule(fragment))),
            "spec.podFailurePolicy.rules[0]",
            &[(fragment, expected)],
        );
    }
    job_specs(&[
        (
            &rule(&format!("{{action: Count, onExitCodes: {{operator: In, {values}}}}}")),
            &["podFailurePolicy.rules[0].onExitCodes.values: Too many: 256: must have at most 255 items"],
        ),
        (
            &rule(&["{action: Count, onExitCodes: {operator: In, values: [1]}}"; 21].join(",")),
            &["podFailurePolicy.rules: Too many: 21: must have at most 20 items"],
        ),
        (
            &format!(
                "{}, template: {{spec: {{restartPolicy: OnFailure}}}}",
                rule("{action: Count, onExitCodes: {operator: In, values: [1]}}")
            ),
            &["template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is supported when \
               podFailurePolicy is specified"],
        ),
    ]);
}

#[test]
fn success_policies_are_checked() {
    let rules = |rules: &str| format!("successPolicy: {{rules: [{rules}]}}");
    indexed(&[
        (&rules("{succeededIndexes: '0-2,5', succeededCount: 4}"), &[]),
        (
            &rules("{succeededIndexes: '0-2', succeededCount: 4}"),
            &[
                "successPolicy.rules[0].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of \
               indexes in the specified succeededIndexes field)",
            ],
        ),
        (
            &rules("{succeededCount: 11}"),
            &[
                "successPolicy.rules[0].succeededCount: Invalid value: 11: must be less than or equal to 10 (the number \
               of specified completions)",
            ],
        ),
        (
            &rules(&["{succeededCount: 1}"; 21].join(",")),
            &["successPolicy.rules: Too many: 21: must have at most 20 items"],
        ),
        (
            &rules("{succeededIndexes: a}"),
            &["successPolicy.rules[0].succeededIndexes: Invalid value: \"a\": error parsing succeededIndexes: cannot \
               convert string to integer for index: \"a\""],
        ),
        (
            &rules(&format!("{{succeededIndexes: '{}'}}", "1,".repeat(40_000))),
            &[
                "successPolicy.rules[0].succeededIndexes: Too long: may not be more than 65536 bytes",
                "successPolicy.rules[0].succeededIndexes: Invalid value: …",
            ],
        ),
    ]);
}

#[test]
fn restart_policies_suit_jobs() {
    let path = "template.spec.restartPolicy";
    job_specs(&[
        (
            "template: {spec: {restartPolicy: Always}}",
            &[&format!("{path}: Required value: valid values: \"OnFailure\", \"Never\"")],
        ),
        (
            "template: {spec: {restartPolicy: Sometimes}}",
            &[
                &format!(
                    "{path}: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\""
                ),
                &format!("{path}: Unsupported value: \"Sometimes\": supported values: \"OnFailure\", \"Never\""),
            ],
        ),
    ]);
}

#[test]
fn selectors_are_the_servers_or_match() {
    job_specs(&[
        (
            "manualSelector: true, selector: {matchLabels: {a: b}}, template: {metadata: {labels: null}}",
            &["template.metadata.labels: Invalid value: map[string]string(nil): `selector` does not match template \
               `labels`"],
        ),
        (
            "manualSelector: true, selector: null",
            &[
                "selector: Required value",
                "template.metadata.labels: Invalid value: map[string]string{\"batch.kubernetes.io/controller-uid\":…",
            ],
        ),
        (
            "manualSelector: true, selector: {matchLabels: null, matchExpressions: [{key: app, operator: In}]}",
            &["selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or \
               'NotIn'"],
        ),
        (
            "manualSelector: true, selector: {matchExpressions: [{key: app, operator: Near, values: [x]}]}",
            &["selector.matchExpressions[0].operator: Invalid value: \"Near\": not a valid selector operator"],
        ),
        (
            "manualSelector: true, selector: {matchExpressions: [{key: job-name, operator: NotIn, values: ['a b']}]}",
            &["selector.matchExpressions[0].values[0]: Invalid value: \"a b\": a valid label must be…"],
        ),
        (
            "selector: {matchLabels: {app: x}}",
            &[
                "selector: Invalid value: …",
                "template.metadata.labels: Invalid value: map[string]string{\"batch.kubernetes.io/controller-uid\":…",
            ],
        ),
        (
            "template: {metadata: {labels: {job-name: null}}}",
            &["template.metadata.labels[job-name]: Required value: must be 'job'"],
        ),
    ]);
}

#[test]
fn gangs_have_one_policy() {
    job_specs(&[
        ("scheduling: {schedulingPolicy: {gang: {minCount: 1}}}", &[]),
        (
            "scheduling: {schedulingPolicy: {gang: {minCount: 0}}}",
            &["scheduling.schedulingPolicy.gang.minCount: Invalid value: 0: must be greater than zero"],
        ),
        (
            "scheduling: {schedulingPolicy: {}}",
            &["scheduling.schedulingPolicy: Required value: exactly one of `basic` and `gang` must be set"],
        ),
    ]);
}

#[test]
fn cron_jobs_are_checked() {
    cron_specs(&[
        (
            "concurrencyPolicy: Never",
            &["concurrencyPolicy: Unsupported value: \"Never\": supported values: \"Allow\", \"Forbid\", \"Replace\""],
        ),
        ("concurrencyPolicy: ''", &["concurrencyPolicy: Required value"]),
        (
            "successfulJobsHistoryLimit: -1, failedJobsHistoryLimit: -2",
            &[
                "successfulJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0",
                "failedJobsHistoryLimit: Invalid value: -2: must be greater than or equal to 0",
            ],
        ),
        ("timeZone: Europe/Berlin", &[]),
        ("timeZone: ''", &["timeZone: Invalid value: \"\": timeZone must be nil or non-empty string"]),
        ("timeZone: europe/berlin", &["timeZone: Invalid value: \"europe/berlin\": unknown time zone europe/berlin"]),
        ("timeZone: ../etc", &["timeZone: Invalid value: \"../etc\": unknown time zone ../etc"]),
        (
            "timeZone: local",
            &[
                "timeZone: Invalid value: \"local\": timeZone must be an explicit time zone as defined in \
                 https://www.iana.org/time-zones",
                "timeZone: Invalid value: \"local\": unknown time zone local",
            ],
        ),
        (
            "jobTemplate: {spec: {manualSelector: true, selector: {matchLabels: {a: b}}}}",
            &[
                "jobTemplate.spec.selector: Invalid value: …",
                "jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", \"false\"",
            ],
        ),
        ("jobTemplate: {spec: {parallelism: -1}}", &["jobTemplate.spec.parallelism: Invalid value: -1: must be…"]),
        (
            "schedule: 'CRON_TZ=UTC * * * * *'",
            &[
                "schedule: Invalid value: \"CRON_TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone \
               field instead",
            ],
        ),
    ]);
    let name = "c".repeat(53);
    let error = format!("metadata.name: Invalid value: \"{name}\": must be no more than 52 characters");
    check(|fragment| with(cron_job(), fragment), "", &[(&format!("metadata: {{name: {name}}}"), &[&error])]);
}
