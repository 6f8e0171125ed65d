//! PURE. Owns whether a pod that came with a node in its spec may run there: what a kubelet decides when it first sees it.
//! Never asks about pods that the scheduler has bound: those fitted.
//!
//! Parity: `predicateAdmitHandler` of `pkg/kubelet/lifecycle`, `rejectPod`, and their texts.

use super::affinity;
use super::demand::Demand;
use super::fit::{self, NODE_AFFINITY, NODE_PORTS, Shortage, TAINTS};
use super::ledger::{Guest, Load, NodeSeen};
use super::plan::POD_SCHEDULED;
use super::taints::{self, NO_EXECUTE};

/// The node's label with its operating system, and what a node without it is taken for.
const OS_LABEL: &str = "kubernetes.io/os";
const LINUX: &str = "linux";

/// Why a pod may not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// `status.reason`.
    pub reason: String,
    /// What follows `Pod was rejected: ` in `status.message`.
    pub message: String,
}

/// Whether nobody has decided about the bound pod yet.
pub fn is_new(guest: &Guest) -> bool {
    let Some(status) = &guest.pod().status else { return true };
    let scheduled = |condition: &k8s_openapi::api::core::v1::PodCondition| {
        condition.type_ == POD_SCHEDULED && condition.status == "True"
    };
    status.start_time.is_none() && !status.conditions.iter().flatten().any(scheduled)
}

/// Why the pod may not run beside those of `load`; none where it may.
pub fn refused(node: &NodeSeen, load: &Load, guest: &Guest) -> Option<Refused> {
    let spec = guest.pod().spec.as_ref()?;
    if let Some(refused) = foreign(node, guest) {
        return Some(refused);
    }
    if let Some(short) = fit::shortages(node, load, &known(node, &guest.demand)).first() {
        return Some(out_of(short));
    }
    if !affinity::matches(spec, &node.name, &node.labels) {
        return Some(failed("NodeAffinity", NODE_AFFINITY));
    }
    if fit::ports_taken(load, spec) {
        return Some(failed("NodePorts", NODE_PORTS));
    }
    taints::untolerated(&node.taints, spec, &[NO_EXECUTE]).then(|| failed("TaintToleration", TAINTS))
}

/// Why a pod of another operating system may not run. Parity: `rejectPodAdmissionBasedOnOSField`.
/// Differs: a pod that waits to be scheduled is told so at once, as there is no other node.
pub fn foreign(node: &NodeSeen, guest: &Guest) -> Option<Refused> {
    let wanted = &guest.pod().spec.as_ref()?.os.as_ref()?.name;
    let ours = node.labels.get(OS_LABEL).map_or(LINUX, String::as_str);
    let message = "Failed to admit pod as the OS field doesn't match node OS".to_owned();
    (wanted != ours).then(|| Refused { reason: "PodOSNotSupported".to_owned(), message })
}

/// Extended resources that the node does not have are left to whoever has bound the pod.
fn known(node: &NodeSeen, demand: &Demand) -> Demand {
    demand.only(|name| !name.contains('/') || node.allocatable.names(name))
}

fn out_of(short: &Shortage) -> Refused {
    Refused { reason: format!("OutOf{}", short.resource), message: words(short) }
}

/// How a kubelet says that there is too little of something.
pub fn words(short: &Shortage) -> String {
    let Shortage { resource, requested, used, capacity } = short;
    format!("Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}")
}

fn failed(predicate: &str, why: &str) -> Refused {
    Refused { reason: predicate.to_owned(), message: format!("Predicate {predicate} failed: {why}") }
}
