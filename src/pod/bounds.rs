//! PURE. Owns what a container is held to: its own limits, or its pod's where it has none, as numbers of the engine.
//! Never asks for more than the engine enforces: what it lacks is left out, and `unenforced` says so.
//!
//! Parity: `calculateLinuxResources`, `getCPULimit` and `getMemoryLimit` of `pkg/kubelet/kuberuntime`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::facts::NodeFacts;
use super::quantity;
use crate::runtime::Limits;
use crate::runtime::enforcement::Bound;

/// Limits or requests by resource name.
type List = BTreeMap<String, Quantity>;

/// CPU shares of a whole core, and the least and most that cgroups take. Parity: `MilliCPUToShares`.
const SHARES_PER_CPU: i128 = 1024;
const SHARES: (i128, i128) = (2, 262_144);
const NANOS_PER_CPU: i128 = 1_000_000_000;
/// The finest quota that the kernel keeps: 1 ms of each 100 ms. Parity: `MilliCPUToQuota`.
const MIN_CPU_NANOS: i128 = NANOS_PER_CPU / 100;

/// What the container is held to on this node.
pub fn limits(spec: &PodSpec, container: &Container, node: &NodeFacts) -> Limits {
    let cpu = limit(spec, container, "cpu");
    let has = |bound: Bound| !node.enforcement.lacks.contains(&bound);
    // Parity: without a request it is the least, so that a container which has asked for some goes before.
    let shares = shares(quantity::find(requests(container), "cpu").or(cpu).unwrap_or(0));
    let given = |bound: Bound, value: Option<u64>| value.filter(|_| has(bound)).unwrap_or(0);
    // A limit of 0 is none.
    let cpu_nanos = cpu.filter(|nanos| *nanos > 0).map(|nanos| unsigned(nanos.max(MIN_CPU_NANOS)));
    let memory = limit(spec, container, "memory").map(|nanos| unsigned(quantity::units(nanos)));
    Limits {
        cpu_nanos: given(Bound::CpuQuota, cpu_nanos),
        cpu_shares: given(Bound::CpuShares, Some(shares)),
        memory_bytes: given(Bound::Memory, memory),
        pids: given(Bound::Pids, node.pids_limit),
    }
}

/// What the sandbox is held to: it only waits. Parity: `defaultSandboxCPUshares`.
pub fn sandbox_limits(node: &NodeFacts) -> Limits {
    let has_shares = !node.enforcement.lacks.contains(&Bound::CpuShares);
    Limits { cpu_shares: if has_shares { shares(0) } else { 0 }, ..Limits::default() }
}

fn shares(nanos: i128) -> u64 {
    let (least, most) = SHARES;
    unsigned((nanos * SHARES_PER_CPU / NANOS_PER_CPU).clamp(least, most))
}

/// The limit that a container has, its pod's where it has none of its own, in billionths.
pub fn limit(spec: &PodSpec, container: &Container, resource: &str) -> Option<i128> {
    let of = |resources: Option<&ResourceRequirements>| {
        quantity::find(resources.and_then(|resources| resources.limits.as_ref()), resource)
    };
    of(container.resources.as_ref()).or_else(|| of(spec.resources.as_ref()))
}

fn requests(container: &Container) -> Option<&List> {
    container.resources.as_ref()?.requests.as_ref()
}

/// A number of the engine's.
pub fn unsigned(value: i128) -> u64 {
    u64::try_from(value.max(0)).unwrap_or(u64::MAX)
}
