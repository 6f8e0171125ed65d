//! PURE. Owns how early the kernel kills a container when the whole machine runs out of memory. Never bounds what a
//! container may take: `bounds` does.
//!
//! Parity: `GetContainerOOMScoreAdjust` of `pkg/kubelet/qos/policy.go`, without its alpha gates.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::facts::NodeFacts;
use super::quantity;
use super::restart::{self, Role};
use crate::model::qos;

/// Of the sandbox, whose end would be the pod's. Parity: `PodInfraOOMAdj`.
const SANDBOX: i64 = -998;
const GUARANTEED: i64 = -997;
const BEST_EFFORT: i64 = 1000;
/// What a Burstable container has at least and at most: after those that are Guaranteed, before those without requests.
const BURSTABLE: (i64, i64) = (1000 + GUARANTEED, BEST_EFFORT - 1);
const NODE_CRITICAL: &str = "system-node-critical";

/// The adjustment of a container of the pod; none where the engine cannot make it.
pub fn score(spec: &PodSpec, container: &Container, node: &NodeFacts) -> Option<i64> {
    possible(wanted(spec, container, node), node)
}

/// The adjustment of the sandbox.
pub fn sandbox_score(node: &NodeFacts) -> Option<i64> {
    possible(SANDBOX, node)
}

/// Without the privilege (a rootless engine, one inside a container) nobody is spared, and the pod runs all the same.
/// Parity: a kubelet in a user namespace leaves it, too.
fn possible(score: i64, node: &NodeFacts) -> Option<i64> {
    (score >= node.least_oom_score).then_some(score)
}

fn wanted(spec: &PodSpec, container: &Container, node: &NodeFacts) -> i64 {
    if spec.priority_class_name.as_deref() == Some(NODE_CRITICAL) {
        return GUARANTEED;
    }
    match qos::class(spec) {
        "Guaranteed" => GUARANTEED,
        "BestEffort" => BEST_EFFORT,
        _burstable => burstable(spec, container, node),
    }
}

/// The more of the machine's memory a container has asked for, the later it goes; a sidecar not before those that it
/// serves.
fn burstable(spec: &PodSpec, container: &Container, node: &NodeFacts) -> i64 {
    let share = unassigned(spec);
    let of = |request: i128| 1000 - 1000 * (request + share) / node.memory_capacity.max(1);
    let mut score = of(request(container));
    let is_sidecar = |(role, one): (Role, &Container)| role == Role::Sidecar && one.name == container.name;
    if restart::containers(spec).any(is_sidecar) {
        let least = spec.containers.iter().map(request).min().unwrap_or(0);
        score = score.min(of(least));
    }
    let (least, most) = BURSTABLE;
    i64::try_from(score).unwrap_or(least).clamp(least, most)
}

/// What each container has of the pod's own request that no container has asked for.
fn unassigned(spec: &PodSpec) -> i128 {
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let Some(whole) = quantity::find(requests, "memory").map(quantity::units).filter(|whole| *whole > 0) else {
        return 0;
    };
    let containers = spec.containers.len() + spec.init_containers.as_ref().map_or(0, Vec::len);
    (whole - restart::at_once(spec, request)) / i128::try_from(containers.max(1)).unwrap_or(1)
}

/// Bytes.
fn request(container: &Container) -> i128 {
    let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    quantity::find(requests, "memory").map_or(0, quantity::units)
}
