//! PURE. Owns which pods use which claim, as the watch of pods tells it. Never reads the store; it is filled anew at each
//! start.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::Pod;

use crate::model::{claims, phase};

/// How pods use a claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// A pod that a node has, even one that has ended, names it: its protection stays.
    pub scheduled: bool,
    /// A pod that could run wants it.
    pub wanted: bool,
}

/// Namespace and name.
type Name = (String, String);

/// Uses by claim and pod.
#[derive(Debug, Default)]
pub struct Users(HashMap<Name, BTreeMap<String, Use>>);

impl Users {
    /// Enters a pod's step from one state to the next; answers with the claims whose use it changed.
    pub fn enter(&mut self, before: Option<&Pod>, after: Option<&Pod>) -> Vec<Name> {
        let mut changed = Vec::new();
        if let Some(pod) = before.filter(|_| after.is_none()) {
            for claim in claims_of(pod) {
                if self.0.get_mut(&claim).is_some_and(|pods| pods.remove(pod_name(pod)).is_some()) {
                    changed.push(claim.clone());
                }
                if self.0.get(&claim).is_some_and(BTreeMap::is_empty) {
                    self.0.remove(&claim);
                }
            }
        }
        if let Some(pod) = after {
            let one = use_of(pod);
            for claim in claims_of(pod) {
                if self.0.entry(claim.clone()).or_default().insert(pod_name(pod).to_owned(), one) != Some(one) {
                    changed.push(claim);
                }
            }
        }
        changed
    }

    /// How the claim is used.
    pub fn of(&self, namespace: &str, name: &str) -> Use {
        let pods = self.0.get(&(namespace.to_owned(), name.to_owned()));
        pods.into_iter().flat_map(BTreeMap::values).fold(Use::default(), |all, one| Use {
            scheduled: all.scheduled || one.scheduled,
            wanted: all.wanted || one.wanted,
        })
    }
}

fn pod_name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

fn claims_of(pod: &Pod) -> Vec<Name> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    claims::of_pod(pod).into_iter().map(|(claim, _)| (namespace.clone(), claim)).collect()
}

fn use_of(pod: &Pod) -> Use {
    let spec = pod.spec.as_ref();
    let gated = spec.is_some_and(|spec| spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()));
    let scheduled = spec.and_then(|spec| spec.node_name.as_deref()).is_some_and(|node| !node.is_empty());
    Use { scheduled, wanted: !phase::is_over(pod) && !gated && pod.metadata.deletion_timestamp.is_none() }
}
