//! PURE. Owns which taints of the node a pod puts up with, and for how long.
//! Never acts on it: `fit` keeps pods away, `evict` sends them away.
//!
//! Parity: `FindMatchingUntoleratedTaint` and `ToleratesTaint` of component-helpers; the minimum of `tolerationSeconds`
//! as the taint eviction controller takes it.

use k8s_openapi::api::core::v1::{PodSpec, Taint, Toleration};

/// Keeps new pods away.
pub const NO_SCHEDULE: &str = "NoSchedule";
/// Keeps new pods away and sends those away that run.
pub const NO_EXECUTE: &str = "NoExecute";
/// The taint that `kubectl cordon` stands for.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// How long a pod may stay beside the NoExecute taints of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// As long as it likes.
    Ever,
    /// So many seconds from when the taint was set; 0 is not at all.
    Seconds(i64),
}

/// Whether some taint of these effects is not tolerated.
pub fn untolerated(taints: &[Taint], spec: &PodSpec, effects: &[&str]) -> bool {
    let mut bad = taints.iter().filter(|taint| effects.contains(&taint.effect.as_str()));
    bad.any(|taint| !tolerations(spec).any(|toleration| tolerates(toleration, taint)))
}

/// Whether the pod tolerates a cordoned node.
pub fn tolerates_cordon(spec: &PodSpec) -> bool {
    let taint = Taint { key: UNSCHEDULABLE.to_owned(), effect: NO_SCHEDULE.to_owned(), ..Taint::default() };
    tolerations(spec).any(|toleration| tolerates(toleration, &taint))
}

/// How long the pod may stay.
pub fn stay(taints: &[Taint], spec: &PodSpec) -> Stay {
    let hard = taints.iter().filter(|taint| taint.effect == NO_EXECUTE);
    let mut least = None;
    for taint in hard {
        let mut matching = tolerations(spec).filter(|toleration| tolerates(toleration, taint)).peekable();
        if matching.peek().is_none() {
            return Stay::Seconds(0);
        }
        for seconds in matching.filter_map(|toleration| toleration.toleration_seconds) {
            least = Some(least.map_or(seconds, |known: i64| known.min(seconds)).max(0));
        }
    }
    least.map_or(Stay::Ever, Stay::Seconds)
}

fn tolerations(spec: &PodSpec) -> impl Iterator<Item = &Toleration> {
    spec.tolerations.iter().flatten()
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (effect, key) = (text(&toleration.effect), text(&toleration.key));
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match text(&toleration.operator).as_str() {
        "" | "Equal" => !key.is_empty() && text(&toleration.value) == text(&taint.value),
        "Exists" => true,
        // Newer operators compare numbers; upstream ships them switched off.
        _other => false,
    }
}
