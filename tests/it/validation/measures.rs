//! What a namespace is measured by, and what its pods are made from: LimitRanges, ResourceQuotas, PodTemplates,
//! PriorityClasses.

use super::kinds::{of, update};
use super::*;

/// Fragments of one limit of a LimitRange.
#[track_caller]
fn limits(cases: &[Case<'_>]) {
    let base = |fragment: &str| with(of("v1", "LimitRange"), &format!("spec: {{limits: [{fragment}]}}"));
    check(base, "spec.", cases);
}

#[test]
fn limits_agree_with_each_other() {
    limits(&[
        ("{type: Container, max: {cpu: '2'}, min: {cpu: 500m}, default: {cpu: '1'}, defaultRequest: {cpu: 600m}}", &[]),
        ("{type: Pod, max: {memory: 1Gi}, maxLimitRequestRatio: {memory: '2'}}", &[]),
        ("{type: PersistentVolumeClaim, min: {storage: 1Gi}}", &[]),
        ("{type: example.com/thing, max: {cpu: '1'}}", &[]),
        (
            "{type: Container, min: {cpu: '2'}, max: {cpu: '1'}}",
            &["limits[0].min[cpu]: Invalid value: 2: min value 2 is greater than max value 1"],
        ),
        (
            "{type: Container, min: {cpu: '2'}, defaultRequest: {cpu: '1'}, default: {cpu: '1'}}",
            &[
                "limits[0].defaultRequest[cpu]: Invalid value: 1: min value 2 is greater than default request value 1",
                "limits[0].default[cpu]: Invalid value: 2: min value 2 is greater than default value 1",
            ],
        ),
        (
            "{type: Container, max: {cpu: '1'}, defaultRequest: {cpu: '2'}, default: {cpu: '3'}}",
            &[
                "limits[0].defaultRequest[cpu]: Invalid value: 2: default request value 2 is greater than max value 1",
                "limits[0].default[cpu]: Invalid value: 1: default value 3 is greater than max value 1",
            ],
        ),
        (
            "{type: Container, defaultRequest: {cpu: '2'}, default: {cpu: '1'}}",
            &[
                "limits[0].defaultRequest[cpu]: Invalid value: 2: default request value 2 is greater than default limit \
               value 1",
            ],
        ),
        (
            "{type: Container, maxLimitRequestRatio: {cpu: 500m}}",
            &["limits[0].maxLimitRequestRatio[cpu]: Invalid value: 500m: ratio 500m is less than 1"],
        ),
        (
            "{type: Pod, min: {cpu: '1'}, max: {cpu: '2'}, maxLimitRequestRatio: {cpu: '3'}}",
            &["limits[0].maxLimitRequestRatio[cpu]: Invalid value: 3: ratio 3 is greater than max/min = 2.000000"],
        ),
        (
            "{type: Container, default: {example.com/gpu: '2'}, defaultRequest: {example.com/gpu: '1'}}",
            &["limits[0].defaultRequest[example.com/gpu]: Invalid value: 1: default value 2 must equal to \
               defaultRequest value 1 in example.com/gpu"],
        ),
    ]);
}

#[test]
fn limits_are_of_something_that_can_be_limited() {
    limits(&[
        (
            "{type: Some}",
            &["limits[0].type: Invalid value: \"Some\": must be a standard limit type or fully qualified"],
        ),
        (
            "{type: ''}",
            &[
                "limits[0].type: Invalid value: \"\": name part must be non-empty",
                "limits[0].type: Invalid \
           value: \"\": name part must consist of…",
            ],
        ),
        ("{type: Pod}, {type: Pod}", &["limits[1].type: Duplicate value: \"Pod\""]),
        (
            "{type: Pod, default: {cpu: '1'}, defaultRequest: {cpu: '1'}}",
            &[
                "limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
                "limits[0].defaultRequest: Forbidden: may not be specified when `type` is 'Pod'",
            ],
        ),
        (
            "{type: PersistentVolumeClaim, max: {cpu: '1'}}",
            &[
                "limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was \
               provided",
            ],
        ),
        (
            "{type: Container, max: {storage: '1'}}",
            &["limits[0].max[storage]: Invalid value: \"storage\": must be a standard resource for containers"],
        ),
        (
            "{type: Container, min: {water: '1'}}",
            &[
                "limits[0].min[water]: Invalid value: \"water\": must be a standard resource type or fully qualified",
                "limits[0].min[water]: Invalid value: \"water\": must be a standard resource for containers",
            ],
        ),
    ]);
}

/// Fragments of a ResourceQuota's spec.
#[track_caller]
fn quotas(cases: &[Case<'_>]) {
    check(|fragment| with(of("v1", "ResourceQuota"), &format!("spec: {{{fragment}}}")), "spec.", cases);
}

#[test]
fn quotas_limit_what_can_be_counted() {
    quotas(&[
        ("", &[]),
        ("hard: {cpu: '1', pods: '2', count/jobs.batch: '3', requests.storage: 1Gi, hugepages-2Mi: 4Mi}", &[]),
        ("hard: {fast.storageclass.storage.k8s.io/requests.storage: 1Gi, requests.example.com/gpu: '1'}", &[]),
        ("hard: {water: '1'}", &["hard[water]: Invalid value: \"water\": must be a standard resource for quota"]),
        ("hard: {storage: '1'}", &["hard[storage]: Invalid value: \"storage\": must be a standard resource for quota"]),
        ("hard: {pods: 1500m}", &["hard[pods]: Invalid value: 1500m: must be an integer"]),
        ("hard: {cpu: '-1'}", &["hard[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"]),
    ]);
}

#[test]
fn quotas_have_scopes_that_fit() {
    let operator = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, \
                    ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
                    ResourceQuotaScopeCrossNamespacePodAffinity";
    let selects = |term: &str| format!("hard: {{pods: '1'}}, scopeSelector: {{matchExpressions: [{term}]}}");
    quotas(&[
        ("hard: {pods: '1'}, scopes: [BestEffort]", &[]),
        ("hard: {cpu: '1', limits.memory: 1Gi}, scopes: [NotBestEffort, Terminating]", &[]),
        ("scopes: [Some]", &["scopes: Invalid value: []core.ResourceQuotaScope{\"Some\"}: unsupported scope"]),
        (
            "hard: {cpu: '1'}, scopes: [BestEffort]",
            &[
                "scopes: Invalid value: []core.ResourceQuotaScope{\"BestEffort\"}: unsupported scope applied to resource",
            ],
        ),
        (
            "hard: {requests.ephemeral-storage: '1'}, scopes: [Terminating]",
            &[
                "scopes: Invalid value: []core.ResourceQuotaScope{\"Terminating\"}: unsupported scope applied to resource",
            ],
        ),
        (
            "hard: {pods: '1'}, scopes: [BestEffort, NotBestEffort]",
            &[
                "scopes: Invalid value: []core.ResourceQuotaScope{\"BestEffort\", \"NotBestEffort\"}: conflicting scopes",
            ],
        ),
        (&selects("{scopeName: PriorityClass, operator: In, values: [a]}"), &[]),
        (&selects("{scopeName: PriorityClass, operator: DoesNotExist}"), &[]),
        (
            &selects("{scopeName: PriorityClass, operator: In}"),
            &["scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is \
               'In' or 'NotIn' for scope selector"],
        ),
        (
            &selects("{scopeName: PriorityClass, operator: Exists, values: [a]}"),
            &[
                "scopeSelector.matchExpressions.values: Invalid value: []string{\"a\"}: must be no value when `operator` \
               is 'Exist' or 'DoesNotExist' for scope selector",
            ],
        ),
        (
            &selects("{scopeName: PriorityClass, operator: Odd}"),
            &["scopeSelector.matchExpressions.operator: Invalid value: \"Odd\": not a valid selector operator"],
        ),
        (
            &selects("{scopeName: Some, operator: Exists}"),
            &["scopeSelector.matchExpressions.scopeName: Invalid value: \"Some\": unsupported scope"],
        ),
        (
            &selects("{scopeName: BestEffort, operator: In, values: [a]}"),
            &[&format!("scopeSelector.matchExpressions.operator: Invalid value: \"In\": {operator}")],
        ),
        (
            "hard: {cpu: '1'}, scopeSelector: {matchExpressions: [{scopeName: BestEffort, operator: Exists}]}",
            &["scopeSelector.matchExpressions: Invalid value: {…"],
        ),
        (
            &selects("{scopeName: Terminating, operator: Exists}, {scopeName: NotTerminating, operator: Exists}"),
            &["scopeSelector.matchExpressions: Invalid value: []core.ResourceQuotaScope(nil): conflicting scopes"],
        ),
    ]);
    let quota = |fragment: &str| with(of("v1", "ResourceQuota"), fragment);
    let old = quota("spec: {scopes: [Terminating]}");
    let words = "spec.scopes: Invalid value: []core.ResourceQuotaScope(nil): field is immutable";
    assert_same("scopes", update(quota("spec: {}"), old), &[words]);
}

#[test]
fn pod_templates_are_checked_as_pods() {
    let base = |fragment: &str| {
        let mut template = of("v1", "PodTemplate");
        template["template"] = json!({"metadata": {}, "spec": pod_spec()});
        with(template, fragment)
    };
    let cases: &[Case<'_>] = &[
        ("", &[]),
        ("template: {spec: {restartPolicy: Always}}", &[]),
        ("template: {spec: {containers: []}}", &["template.spec.containers: Required value"]),
        (
            "template: {spec: {restartPolicy: Some}}",
            &[
                "template.spec.restartPolicy: Unsupported value: \"Some\": supported values: \"Always\", \"OnFailure\", \
               \"Never\"",
            ],
        ),
        ("template: {metadata: {labels: {'a b': c}}}", &["template.labels: Invalid value: \"a b\": name part must…"]),
        ("metadata: {name: A}", &["metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must…"]),
    ];
    check(base, "", cases);
    let changed = base("template: {spec: {restartPolicy: Always}}");
    assert_same("a template may change", update(changed, base("")), &[]);
}

#[test]
fn priority_classes_are_checked() {
    let base = |fragment: &str| {
        let class = with(of("scheduling.k8s.io/v1", "PriorityClass"), "metadata: {namespace: null}, value: 1");
        with(class, fragment)
    };
    let cases: &[Case<'_>] = &[
        ("value: -5, preemptionPolicy: Never, globalDefault: true", &[]),
        ("metadata: {name: system-node-critical}, value: 2000001000", &[]),
        ("value: 1000000001", &["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]),
        (
            "metadata: {name: system-x}",
            &[
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. \
               error: system-x is not a known system priority class",
            ],
        ),
        (
            "metadata: {name: system-node-critical}",
            &[
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. \
               error: value of system-node-critical PriorityClass must be 2000001000",
            ],
        ),
        (
            "preemptionPolicy: Some",
            &["preemptionPolicy: Unsupported value: \"Some\": supported values: \"PreemptLowerPriority\", \"Never\""],
        ),
    ];
    check(base, "", cases);
    let old = base("preemptionPolicy: PreemptLowerPriority");
    let told = update(base("value: 2, preemptionPolicy: Never"), old);
    let words = [
        "value: Forbidden: may not be changed in an update.",
        "preemptionPolicy: Invalid value: \"Never\": field is immutable",
    ];
    assert_same("value", told, &words);
}
