//! Owns the random Jobs of the simulation and its source of chance. Never knows what happens to them.

use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

/// SplitMix64: small, fast without optimisation, and the same everywhere.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).expect("fits")).expect("fits")
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.below(from.len())].clone()) }
    }
}

/// A random Job, as it stands after defaults and the server's own fields.
pub fn job(rng: &mut Rng) -> Job {
    let indexed = rng.one_in(2);
    let policy = rng.one_in(3);
    let per_index = indexed && rng.one_in(2);
    let mut spec = json!({
        "parallelism": rng.below(4),
        "completions": rng.below(4),
        "backoffLimit": rng.below(4),
        "completionMode": if indexed { "Indexed" } else { "NonIndexed" },
        "suspend": rng.one_in(8),
        "podReplacementPolicy": if policy || rng.one_in(2) { "Failed" } else { "TerminatingOrFailed" },
        "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "job-uid"}},
        "template": {
            "metadata": {"labels": {"batch.kubernetes.io/controller-uid": "job-uid", "job-name": "j"}},
            "spec": {
                "restartPolicy": if policy || rng.one_in(2) { "Never" } else { "OnFailure" },
                "containers": [{"name": "main", "image": "busybox"}],
            },
        },
    });
    if !indexed && rng.one_in(4) {
        spec["completions"] = Value::Null;
    }
    if per_index {
        spec["backoffLimitPerIndex"] = json!(rng.below(3));
        if rng.one_in(2) {
            spec["backoffLimit"] = json!(i32::MAX);
        }
        if rng.one_in(3) {
            spec["maxFailedIndexes"] = json!(rng.below(3));
        }
    }
    if policy {
        let rules: Vec<Value> = (0..=rng.below(3)).map(|_| rule(rng, per_index)).collect();
        spec["podFailurePolicy"] = json!({"rules": rules});
    }
    if indexed && rng.one_in(4) {
        let rule = if rng.one_in(2) { json!({"succeededCount": 1}) } else { json!({"succeededIndexes": "0,2"}) };
        spec["successPolicy"] = json!({"rules": [rule]});
    }
    if rng.one_in(6) {
        spec["activeDeadlineSeconds"] = json!(rng.below(120));
    }
    serde_json::from_value(json!({
        "metadata": {"name": "j", "namespace": "n", "uid": "job-uid", "creationTimestamp": "2025-01-01T00:00:00Z"},
        "spec": spec,
    }))
    .expect("the random Job is a Job")
}

fn rule(rng: &mut Rng, per_index: bool) -> Value {
    let actions: &[&str] =
        if per_index { &["Ignore", "Count", "FailIndex", "FailJob"] } else { &["Ignore", "Count", "FailJob"] };
    let action = rng.pick(actions);
    match rng.below(3) {
        0 => json!({"action": action, "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}),
        1 => json!({"action": action, "onExitCodes": {"operator": "In", "values": [42]}}),
        _ => json!({"action": action, "onExitCodes": {"operator": "NotIn", "values": [1, 137]}}),
    }
}
