//! Owns the words with which a failed pod's way through `podFailurePolicy` is told to a person: which rule matched, and
//! why the others did not (PURE). Never decides: `policy` does, and what is said here follows its verdict.

use k8s_openapi::api::batch::v1::{PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::{Pod, PodStatus};

use super::policy;

/// One line for each rule, in order: that it matches and why, why it does not, or that it is not looked at.
pub fn rules(policy: &PodFailurePolicy, pod: &Pod) -> Vec<String> {
    let matched = policy::judge(Some(policy), pod).rule;
    let status = pod.status.clone().unwrap_or_default();
    let line = |(index, rule): (usize, &PodFailurePolicyRule)| {
        let facts = facts(rule, &status);
        match matched {
            Some(first) if index == first => format!("rule {index} matches: {}: {facts}", rule.action),
            Some(first) if index > first => {
                format!("rule {index} ({}) is not looked at: rule {first} came first", rule.action)
            }
            Some(_) | None => format!("rule {index} ({}) does not match: {facts}", rule.action),
        }
    };
    policy.rules.iter().enumerate().map(line).collect()
}

/// What the rule asks for beside what the pod shows.
fn facts(rule: &PodFailurePolicyRule, status: &PodStatus) -> String {
    match (&rule.on_exit_codes, &rule.on_pod_conditions) {
        (Some(wanted), _) => exit_codes(wanted, status),
        (None, Some(patterns)) => {
            let wanted = patterns
                .iter()
                .map(|pattern| format!("{}={}", pattern.type_, pattern.status.as_deref().unwrap_or("True")));
            let shown = status.conditions.iter().flatten().map(|it| format!("{}={}", it.type_, it.status));
            format!("it asks for the condition {}, the pod has {}", either(wanted), listed(shown))
        }
        (None, None) => "it asks for nothing".to_owned(),
    }
}

fn exit_codes(wanted: &PodFailurePolicyOnExitCodesRequirement, status: &PodStatus) -> String {
    let all = status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    let looked_at = all.filter(|container| wanted.container_name.as_ref().is_none_or(|name| *name == container.name));
    let exits = looked_at.filter_map(|container| {
        let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
        let note = if code == 0 { " (0 never matches)" } else { "" };
        Some(format!("{} exited with {code}{note}", container.name))
    });
    let place = wanted.container_name.as_ref().map_or(String::new(), |name| format!(" of container {name}"));
    let operator = match wanted.operator.as_str() {
        "In" => "in",
        "NotIn" => "not in",
        other => return format!("its operator {other} is not known, so it is passed over"),
    };
    let values = wanted.values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("it asks for an exit code{place} {operator} [{values}]; {}", listed(exits))
}

fn either(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" or ")
}

fn listed(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
