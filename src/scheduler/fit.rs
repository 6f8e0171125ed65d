//! PURE. Owns whether one pod fits the node beside what is there already, and upstream's words for why not.
//! Never chooses between pods: `plan` does.
//!
//! Parity: the filters of kube-scheduler in their order; the first that refuses speaks alone. `FitError`.

use super::demand::Demand;
use super::ledger::{Load, NodeSeen};

/// The resource that a node may not tell of, and that is then not looked at.
const EPHEMERAL: &str = "ephemeral-storage";

/// Why a pod cannot be on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Upstream's words, each for one node.
    pub reasons: Vec<String>,
    /// Whether the end of other pods could change that.
    pub resolvable: bool,
}

impl Misfit {
    /// The message of the condition and of the Event.
    pub fn message(&self) -> String {
        let mut reasons: Vec<String> = self.reasons.iter().map(|reason| format!("1 {reason}")).collect();
        reasons.sort();
        let preemption = if self.resolvable {
            "No preemption victims found for incoming pod"
        } else {
            "Preemption is not helpful for scheduling"
        };
        format!("0/1 nodes are available: {}. preemption: 0/1 nodes are available: 1 {preemption}.", reasons.join(", "))
    }
}

/// Whether there is room for one pod more.
pub fn fit(node: &NodeSeen, load: &Load, demand: &Demand) -> Result<(), Misfit> {
    resources(node, load, demand)
}

/// Parity: `fitsRequest` of the NodeResourcesFit plugin.
fn resources(node: &NodeSeen, load: &Load, demand: &Demand) -> Result<(), Misfit> {
    let mut misfit = Misfit { reasons: Vec::new(), resolvable: true };
    if load.pods >= node.allocatable.get("pods") {
        misfit.reasons.push("Too many pods".to_owned());
    }
    for (name, wanted) in demand.some() {
        // Differs: a kubelet always tells of it; a node that does not is not taken to have none.
        if name == EPHEMERAL && !node.allocatable.names(EPHEMERAL) {
            continue;
        }
        let all = node.allocatable.get(name);
        if wanted > all.saturating_sub(load.taken.get(name)) {
            misfit.reasons.push(format!("Insufficient {name}"));
            misfit.resolvable &= wanted <= all;
        }
    }
    if misfit.reasons.is_empty() { Ok(()) } else { Err(misfit) }
}
