//! What decides where a pod goes: affinity, tolerations, spread, gates, selectors.

use super::*;

#[test]
fn node_affinity_is_checked() {
    let required = |term: &str| {
        format!(
            "affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: \
             {{nodeSelectorTerms: [{term}]}}}}}}"
        )
    };
    let at = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    templates(&[
        (&required(""), &[&format!("{at}: Required value: must have at least one node selector term")]),
        (
            &required("{matchExpressions: [{key: 'a b', operator: In, values: []}]}"),
            &[
                &format!(
                    "{at}[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or \
                     'NotIn'"
                ),
                &format!("{at}[0].matchExpressions[0].key: Invalid value: \"a b\": name part must consist of…"),
            ],
        ),
        (
            &required("{matchExpressions: [{key: a, operator: Gt, values: ['1', '2']}]}"),
            &[&format!(
                "{at}[0].matchExpressions[0].values: Required value: must be specified single value when `operator` is \
                 'Lt' or 'Gt'"
            )],
        ),
        (
            &required("{matchExpressions: [{key: a, operator: Exists, values: ['1']}]}"),
            &[&format!(
                "{at}[0].matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or \
                 'DoesNotExist'"
            )],
        ),
        // Checked only since 1.33.
        (&required("{matchExpressions: [{key: a, operator: In, values: ['a b']}]}"), &[]),
        (
            &required("{matchFields: [{key: metadata.uid, operator: Exists}]}"),
            &[
                &format!("{at}[0].matchFields[0].operator: Invalid value: \"Exists\": not a valid selector operator"),
                &format!("{at}[0].matchFields[0].key: Invalid value: \"metadata.uid\": not a valid field selector key"),
            ],
        ),
        (
            &required("{matchFields: [{key: metadata.name, operator: In, values: [Nn, m]}]}"),
            &[
                &format!(
                    "{at}[0].matchFields[0].values: Required value: must be only one value when `operator` is 'In' or \
                     'NotIn' for node field selector"
                ),
                &format!("{at}[0].matchFields[0].values[0]: Invalid value: \"Nn\": a lowercase RFC 1123 subdomain…"),
            ],
        ),
    ]);
}

#[test]
fn pod_affinity_is_checked() {
    let required =
        |term: &str| format!("affinity: {{podAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: [{term}]}}}}");
    let at = "affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]";
    templates(&[
        (
            &required("{topologyKey: ''}"),
            &[
                &format!("{at}.topologyKey: Required value: can not be empty"),
                &format!("{at}.topologyKey: Invalid value: \"\": name part must be non-empty"),
                &format!("{at}.topologyKey: Invalid value: \"\": name part must consist of…"),
            ],
        ),
        (
            &required("{topologyKey: a, namespaces: [Nn]}"),
            &[&format!("{at}.namespace: Invalid value: \"Nn\": a lowercase RFC 1123 label…")],
        ),
        (
            &required("{topologyKey: a, labelSelector: {matchLabels: {a: 'b c'}}}"),
            &[&format!("{at}.labelSelector.matchLabels: Invalid value: \"b c\": a valid label must be…")],
        ),
        (
            &required("{topologyKey: a, matchLabelKeys: [x]}"),
            &[&format!("{at}.matchLabelKeys: Forbidden: must not be specified when labelSelector is not set")],
        ),
        (
            &required("{topologyKey: a, labelSelector: {}, matchLabelKeys: [x], mismatchLabelKeys: [x]}"),
            &[&format!(
                "{at}.matchLabelKeys[0]: Invalid value: \"x\": exists in both matchLabelKeys and mismatchLabelKeys"
            )],
        ),
        (
            "affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 0, \
             podAffinityTerm: {topologyKey: a}}]}}",
            &["affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: \
               must be in the range 1-100"],
        ),
    ]);
}

#[test]
fn tolerations_are_checked() {
    let of = |fields: &str| format!("tolerations: [{{{fields}}}]");
    templates(&[
        (&of("operator: Exists"), &[]),
        (
            &of("operator: Equal"),
            &["tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which \
               means \"match all values and all keys\""],
        ),
        (
            &of("key: a, operator: Exists, value: b"),
            &["tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'"],
        ),
        (&of("key: a, value: 'b c'"), &["tolerations[0].operator: Invalid value: \"b c\": a valid label must be…"]),
        (
            &of("key: a, effect: NoSchedule, tolerationSeconds: 1"),
            &["tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when \
               `tolerationSeconds` is set"],
        ),
    ]);
}

#[test]
fn spread_constraints_are_checked() {
    let of = |fields: &str| format!("topologySpreadConstraints: [{{labelSelector: {{}}, {fields}}}]");
    let at = "topologySpreadConstraints[0]";
    templates(&[
        (
            &of("maxSkew: 0, topologyKey: '', whenUnsatisfiable: Some"),
            &[
                &format!("{at}.maxSkew: Invalid value: 0: must be greater than zero"),
                &format!("{at}.topologyKey: Required value: can not be empty"),
                &format!(
                    "{at}.whenUnsatisfiable: Unsupported value: \"Some\": supported values: \"DoNotSchedule\", \
                     \"ScheduleAnyway\""
                ),
            ],
        ),
        (
            &of("maxSkew: 1, topologyKey: a, whenUnsatisfiable: ScheduleAnyway, minDomains: 0"),
            &[
                &format!("{at}.minDomains: Invalid value: 0: must be greater than zero"),
                &format!(
                    "{at}.minDomains: Invalid value: 0: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not \
                     ScheduleAnyway"
                ),
            ],
        ),
        (
            &of("maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule, nodeTaintsPolicy: Some"),
            &[&format!("{at}.nodeTaintsPolicy: Unsupported value: \"Some\": supported values: \"Honor\", \"Ignore\"")],
        ),
        (
            "topologySpreadConstraints: [{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule}, \
             {maxSkew: 2, topologyKey: a, whenUnsatisfiable: DoNotSchedule}]",
            &[&format!("{at}.{{topologyKey, whenUnsatisfiable}}: Duplicate value: \"{{a, DoNotSchedule}}\"")],
        ),
        (
            "topologySpreadConstraints: [{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule, \
             labelSelector: {matchLabels: {x: z}}, matchLabelKeys: [x]}]",
            &[&format!(
                "{at}.matchLabelKeys[0]: Invalid value: \"x\": exists in both matchLabelKeys and labelSelector"
            )],
        ),
    ]);
}

#[test]
fn gates_and_claims_are_checked() {
    templates(&[
        ("schedulingGates: [{name: a}, {name: a}]", &["schedulingGates[1]: Duplicate value: \"a\""]),
        (
            "readinessGates: [{conditionType: 'a b'}]",
            &["readinessGates[0].conditionType: Invalid value: \"a b\": name part must consist of…"],
        ),
        (
            "resourceClaims: [{name: c, resourceClaimName: r}, {name: c, resourceClaimName: r}]",
            &["resourceClaims[1].name: Duplicate value: \"c\""],
        ),
        ("resourceClaims: [{name: c}]", &["resourceClaims[0]: Invalid value: …"]),
        ("nodeSelector: {'a b': c}", &["nodeSelector: Invalid value: \"a b\": name part must consist of…"]),
    ]);
}
