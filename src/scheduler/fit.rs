//! PURE. Owns whether one pod fits the node beside what is there already, and upstream's words for why not.
//! Never chooses between pods: `plan` does.
//!
//! Parity: the filters of kube-scheduler in their order; the first that refuses speaks alone. `FitError`.

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::demand::Demand;
use super::ledger::{Load, NodeSeen};
use super::neighbours::{self, Namespaces};
use super::taints::{self, NO_EXECUTE, NO_SCHEDULE};
use super::{affinity, ports};

/// What the node counts pods by.
const PODS: &str = "pods";
/// The resource that a node may not tell of, and that is then not looked at.
const EPHEMERAL: &str = "ephemeral-storage";
/// The node is not one that the pod asks for.
pub const NODE_AFFINITY: &str = "node(s) didn't match Pod's node affinity/selector";
/// Somebody has a port of the host that the pod asks for.
pub const NODE_PORTS: &str = "node(s) didn't have free ports for the requested pod ports";
/// The node has a taint that the pod does not tolerate.
pub const TAINTS: &str = "node(s) had untolerated taint(s)";
/// The node is cordoned.
const CORDONED: &str = "node(s) were unschedulable";

/// Why a pod cannot be on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Upstream's words.
    pub reasons: Vec<String>,
    /// Whether the end of other pods could change that.
    pub resolvable: bool,
    /// The words are about nodes, and so many of them; they are about the pod itself otherwise.
    pub counted: bool,
}

impl Misfit {
    fn new(reason: &str, resolvable: bool) -> Self {
        Self { reasons: vec![reason.to_owned()], resolvable, counted: true }
    }

    /// Something is wrong with the pod on whatever node. Parity: a refusal of `PreFilter`.
    pub fn anywhere(reason: String) -> Self {
        Self { reasons: vec![reason], resolvable: false, counted: false }
    }

    /// The message of the condition and of the Event, with what is said of preemption: nothing where it is under way.
    pub fn message(&self, preemption: &str) -> String {
        let count = if self.counted { "1 " } else { "" };
        let mut reasons: Vec<String> = self.reasons.iter().map(|reason| format!("{count}{reason}")).collect();
        reasons.sort();
        let said = format!("0/1 nodes are available: {}.", reasons.join(", "));
        if preemption.is_empty() { said } else { format!("{said} preemption: {preemption}") }
    }
}

/// A resource of which there is too little.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Its name.
    pub resource: String,
    /// How much the pod asks for; thousandths of `cpu`.
    pub requested: i64,
    /// How much others have.
    pub used: i64,
    /// How much there is in all.
    pub capacity: i64,
}

/// Why a pod cannot be beside those of `load`; none where it can.
pub fn misfit(node: &NodeSeen, spaces: &Namespaces, load: &Load, pod: &Pod, demand: &Demand) -> Option<Misfit> {
    let spec = pod.spec.as_ref()?;
    if node.cordoned && !taints::tolerates_cordon(spec) {
        return Some(Misfit::new(CORDONED, false));
    }
    if taints::untolerated(&node.taints, spec, &[NO_SCHEDULE, NO_EXECUTE]) {
        return Some(Misfit::new(TAINTS, false));
    }
    if !affinity::matches(spec, &node.name, &node.labels) {
        return Some(Misfit::new(NODE_AFFINITY, false));
    }
    if ports_taken(load, spec) {
        return Some(Misfit::new(NODE_PORTS, true));
    }
    let short = shortages(node, load, demand);
    if !short.is_empty() {
        // A node that is too small for the pod stays too small.
        let resolvable = short.iter().all(|short| short.resource == PODS || short.requested <= short.capacity);
        let words = |short: &Shortage| match short.resource.as_str() {
            PODS => "Too many pods".to_owned(),
            name => format!("Insufficient {name}"),
        };
        return Some(Misfit { reasons: short.iter().map(words).collect(), resolvable, counted: true });
    }
    let reason = neighbours::unwanted(node, spaces, load, pod)?;
    Some(Misfit::new(reason.reason(), reason.resolvable()))
}

/// Whether somebody has a port of the host that the pod asks for.
pub fn ports_taken(load: &Load, spec: &PodSpec) -> bool {
    let taken = |wanted| {
        load.pods().filter_map(|pod| pod.spec.as_ref()).flat_map(ports::of).any(|port| ports::clash(port, wanted))
    };
    ports::of(spec).any(taken)
}

/// The resources of which there is too little. Parity: `fitsRequest` of the NodeResourcesFit plugin.
pub fn shortages(node: &NodeSeen, load: &Load, demand: &Demand) -> Vec<Shortage> {
    let mut out = Vec::new();
    let (used, capacity) = (i64::try_from(load.count()).unwrap_or(i64::MAX), node.allocatable.get(PODS));
    if used >= capacity {
        out.push(Shortage { resource: PODS.to_owned(), requested: 1, used, capacity });
    }
    out.extend(lacking(node, &load.taken, demand));
    out
}

/// Those of which there is too little beside what is taken already.
pub fn lacking(node: &NodeSeen, taken: &Demand, demand: &Demand) -> Vec<Shortage> {
    let mut out = Vec::new();
    for (name, requested) in demand.some() {
        // Differs: a kubelet always tells of it; a node that does not is not taken to have none.
        if name == EPHEMERAL && !node.allocatable.names(EPHEMERAL) {
            continue;
        }
        let (used, capacity) = (taken.get(name), node.allocatable.get(name));
        if requested > capacity.saturating_sub(used) {
            out.push(Shortage { resource: name.to_owned(), requested, used, capacity });
        }
    }
    out
}
