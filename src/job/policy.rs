//! Owns what a failed pod means to its Job (`podFailurePolicy`) and when enough indexes have succeeded
//! (`successPolicy`). Never decides whether a pod has failed: `pods` does.
//!
//! Parity: upstream's `pod_failure_policy.go` and `success_policy.go`, texts included.

use k8s_openapi::api::batch::v1::{
    PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern, SuccessPolicy,
};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};

use crate::model::interval::Intervals;

/// What a rule of a pod failure policy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The failure counts, as it would without a policy.
    Count,
    /// The index has failed, however many failures it has left.
    FailIndex,
    /// The Job has failed.
    FailJob,
    /// The failure does not count.
    Ignore,
}

impl Action {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "Count" => Self::Count,
            "FailIndex" => Self::FailIndex,
            "FailJob" => Self::FailJob,
            "Ignore" => Self::Ignore,
            _ => return None,
        })
    }

    /// As the manifest spells it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::FailIndex => "FailIndex",
            Self::FailJob => "FailJob",
            Self::Ignore => "Ignore",
        }
    }
}

/// What the policy says of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The action of the rule that matched.
    pub action: Option<Action>,
    /// Whether the failure counts against the limits.
    pub counts: bool,
    /// With [`Action::FailJob`], why the Job fails.
    pub message: Option<String>,
    /// The index of the rule that matched.
    pub rule: Option<usize>,
}

impl Verdict {
    /// No rule matched: the failure counts.
    const UNMATCHED: Self = Self { action: None, counts: true, message: None, rule: None };
}

/// Judges a pod by the first rule that matches. Rules with an action or an operator that is not known never match.
pub fn judge(policy: Option<&PodFailurePolicy>, pod: &Pod) -> Verdict {
    let rules = policy.map_or(&[][..], |policy| &policy.rules);
    for (index, rule) in rules.iter().enumerate() {
        let status = pod.status.as_ref();
        let cause = match (&rule.on_exit_codes, &rule.on_pod_conditions) {
            (Some(wanted), _) => status.and_then(|status| exit_code(status, wanted)).map(Cause::Exit),
            (None, Some(wanted)) => status.and_then(|status| condition(status, wanted)).map(Cause::Condition),
            (None, None) => None,
        };
        if let (Some(cause), Some(action)) = (cause, Action::parse(&rule.action)) {
            let message = (action == Action::FailJob).then(|| cause.message(pod, action, index));
            return Verdict { action: Some(action), counts: action != Action::Ignore, message, rule: Some(index) };
        }
    }
    Verdict::UNMATCHED
}

/// What made a rule match.
enum Cause<'a> {
    Exit((&'a ContainerStatus, i32)),
    Condition(&'a PodCondition),
}

impl Cause<'_> {
    fn message(&self, pod: &Pod, action: Action, rule: usize) -> String {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let action = action.text();
        match self {
            Self::Exit((container, code)) => format!(
                "Container {} for pod {namespace}/{name} failed with exit code {code} matching {action} rule at index {rule}",
                container.name
            ),
            Self::Condition(condition) => {
                format!(
                    "Pod {namespace}/{name} has condition {} matching {action} rule at index {rule}",
                    condition.type_
                )
            }
        }
    }
}

/// The first container, init containers last, whose exit code is asked for. A container that exited with 0 or has not
/// exited has no code that could match.
fn exit_code<'a>(
    status: &'a PodStatus,
    wanted: &PodFailurePolicyOnExitCodesRequirement,
) -> Option<(&'a ContainerStatus, i32)> {
    let main = status.container_statuses.iter().flatten();
    main.chain(status.init_container_statuses.iter().flatten()).find_map(|container| {
        let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
        let named = wanted.container_name.as_ref().is_none_or(|name| *name == container.name);
        let listed = wanted.values.contains(&code);
        let matches = match wanted.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        };
        (named && code != 0 && matches).then_some((container, code))
    })
}

/// The pod's first condition that fits any of the patterns; a pattern without a status asks for `True`.
fn condition<'a>(status: &'a PodStatus, wanted: &[PodFailurePolicyOnPodConditionsPattern]) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|condition| {
        wanted.iter().any(|pattern| {
            let status = pattern.status.as_deref().unwrap_or("True");
            condition.type_ == pattern.type_ && condition.status == status
        })
    })
}

/// Which rule of the success policy these succeeded indexes meet, as the condition's message says it.
pub fn success(policy: Option<&SuccessPolicy>, completions: i32, succeeded: &Intervals) -> Option<String> {
    if succeeded.is_empty() {
        return None;
    }
    let met = policy?.rules.iter().position(|rule| match (&rule.succeeded_indexes, rule.succeeded_count) {
        (Some(text), count) => {
            let wanted = Intervals::parse(text, completions);
            let reached = wanted.overlap(succeeded);
            !wanted.is_empty() && (reached == wanted.total() || count.is_some_and(|count| reached >= count))
        }
        (None, Some(count)) => succeeded.total() >= count,
        (None, None) => false,
    })?;
    Some(format!("Matched rules at index {met}"))
}
