//! Owns the tolerations that every pod has unless it says otherwise: it bears a node that is away for five minutes.
//! Never evicts: the scheduler's plan does, by the taints of the node.
//!
//! Parity: the DefaultTolerationSeconds admission plugin.

use k8s_openapi::api::core::v1::{Pod, Toleration};

/// Taints that are borne, for so many seconds, by a pod that does not mention them.
const BORNE: [(&str, i64); 2] = [("node.kubernetes.io/not-ready", 300), ("node.kubernetes.io/unreachable", 300)];
const NO_EXECUTE: &str = "NoExecute";

/// Gives a new pod the tolerations that it lacks.
pub fn add(pod: &mut Pod) {
    let tolerations = pod.spec.get_or_insert_default().tolerations.get_or_insert_default();
    for (key, seconds) in BORNE {
        let says =
            |value: &Option<String>, word: &str| value.as_deref().is_none_or(|text| text.is_empty() || text == word);
        if tolerations.iter().any(|one| says(&one.key, key) && says(&one.effect, NO_EXECUTE)) {
            continue;
        }
        tolerations.push(Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(NO_EXECUTE.to_owned()),
            toleration_seconds: Some(seconds),
            ..Toleration::default()
        });
    }
}
