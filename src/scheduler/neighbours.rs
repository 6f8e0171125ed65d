//! PURE. Owns whether a pod may stand beside the pods that the node has: required affinity and anti-affinity between
//! pods, and spreading over topologies. Never looks at resources.
//!
//! All pods are on one node, so that a topology is either that node, where it has the label, or nothing.
//!
//! Parity: the Filter of the InterPodAffinity and PodTopologySpread plugins.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, PodSpec, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::ledger::{Load, NodeSeen};
use crate::model::selector::Selector;

/// Labels of namespaces, by name.
pub type Namespaces = BTreeMap<String, BTreeMap<String, String>>;

/// Why a pod may not stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwanted {
    /// Spreading asks for a label that the node lacks.
    SpreadLabel,
    /// Spreading asks for more nodes.
    Spread,
    /// The pods that it wants beside it are not there.
    Affinity,
    /// It does not want one that is there.
    AntiAffinity,
    /// One that is there does not want it.
    Existing,
}

impl Unwanted {
    /// Upstream's words.
    pub fn reason(self) -> &'static str {
        match self {
            Self::SpreadLabel => "node(s) didn't match pod topology spread constraints (missing required label)",
            Self::Spread => "node(s) didn't match pod topology spread constraints",
            Self::Affinity => "node(s) didn't match pod affinity rules",
            Self::AntiAffinity => "node(s) didn't match pod anti-affinity rules",
            Self::Existing => "node(s) didn't satisfy existing pods anti-affinity rules",
        }
    }

    /// Whether the end of other pods could change that.
    pub fn resolvable(self) -> bool {
        match self {
            Self::SpreadLabel | Self::Affinity => false,
            Self::Spread | Self::AntiAffinity | Self::Existing => true,
        }
    }
}

/// Why the pod may not stand beside those that are there; none where it may.
pub fn unwanted(node: &NodeSeen, namespaces: &Namespaces, load: &Load, pod: &Pod) -> Option<Unwanted> {
    let spec = pod.spec.as_ref()?;
    let spreads = spec.topology_spread_constraints.iter().flatten();
    let mut hard = spreads.filter(|constraint| constraint.when_unsatisfiable == "DoNotSchedule");
    if let Some(reason) = hard.find_map(|constraint| uneven(constraint, node, load, pod)) {
        return Some(reason);
    }
    let scope = Scope { node, namespaces };
    let terms = affinity(spec);
    if !terms.is_empty() && !scope.wanted_are_there(terms, load, pod) {
        return Some(Unwanted::Affinity);
    }
    let mut others = load.pods();
    let terms = anti_affinity(spec);
    if terms.iter().any(|term| scope.there(term) && load.pods().any(|other| scope.selects(term, pod, other))) {
        return Some(Unwanted::AntiAffinity);
    }
    let objects = |other: &Pod| {
        let terms = other.spec.as_ref().map(anti_affinity).unwrap_or_default();
        terms.iter().any(|term| scope.there(term) && scope.selects(term, other, pod))
    };
    others.any(objects).then_some(Unwanted::Existing)
}

fn affinity(spec: &PodSpec) -> &[PodAffinityTerm] {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.pod_affinity.as_ref());
    affinity.and_then(|own| own.required_during_scheduling_ignored_during_execution.as_deref()).unwrap_or_default()
}

fn anti_affinity(spec: &PodSpec) -> &[PodAffinityTerm] {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    affinity.and_then(|own| own.required_during_scheduling_ignored_during_execution.as_deref()).unwrap_or_default()
}

struct Scope<'a> {
    node: &'a NodeSeen,
    namespaces: &'a Namespaces,
}

impl Scope<'_> {
    /// Whether the node is part of the term's topology.
    fn there(&self, term: &PodAffinityTerm) -> bool {
        self.node.labels.contains_key(&term.topology_key)
    }

    /// The first of a group that wants each other's company may begin.
    fn wanted_are_there(&self, terms: &[PodAffinityTerm], load: &Load, pod: &Pod) -> bool {
        let all = |other: &Pod| terms.iter().all(|term| self.selects(term, pod, other));
        terms.iter().all(|term| self.there(term)) && (load.pods().any(all) || all(pod))
    }

    /// Whether a term of `owner` means `other`.
    fn selects(&self, term: &PodAffinityTerm, owner: &Pod, other: &Pod) -> bool {
        let space = |pod: &Pod| pod.metadata.namespace.clone().unwrap_or_default();
        let (own, its) = (space(owner), space(other));
        let listed = term.namespaces.as_deref().unwrap_or_default();
        let meant = match &term.namespace_selector {
            None if listed.is_empty() => own == its,
            None => listed.contains(&its),
            Some(selector) => listed.contains(&its) || matches(selector, self.namespaces.get(&its)),
        };
        let labels = |pod: &Pod, key: &str| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
        let same = |key: &String| labels(owner, key).is_none_or(|value| labels(other, key) == Some(value));
        let differs = |key: &String| labels(owner, key).is_none_or(|value| labels(other, key) != Some(value));
        meant
            && term.label_selector.as_ref().is_some_and(|selector| matches(selector, other.metadata.labels.as_ref()))
            && term.match_label_keys.iter().flatten().all(same)
            && term.mismatch_label_keys.iter().flatten().all(differs)
    }
}

fn matches(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    Selector::of(selector).is_ok_and(|selector| selector.matches(labels))
}

/// One node is one topology: it is never fuller than the emptiest, unless there should be more topologies.
fn uneven(constraint: &TopologySpreadConstraint, node: &NodeSeen, load: &Load, pod: &Pod) -> Option<Unwanted> {
    if !node.labels.contains_key(&constraint.topology_key) {
        return Some(Unwanted::SpreadLabel);
    }
    if constraint.min_domains.unwrap_or(1) <= 1 {
        return None;
    }
    let own = |key: &String| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let counts = |other: &Pod| {
        let its = other.metadata.labels.as_ref();
        constraint.label_selector.as_ref().is_some_and(|selector| matches(selector, its))
            && constraint
                .match_label_keys
                .iter()
                .flatten()
                .all(|key| own(key).is_none_or(|value| its.and_then(|labels| labels.get(key)) == Some(value)))
    };
    let near = |other: &&Pod| {
        other.metadata.namespace == pod.metadata.namespace && other.metadata.deletion_timestamp.is_none()
    };
    let there = load.pods().filter(near).filter(|other| counts(other)).count() + usize::from(counts(pod));
    (there > usize::try_from(constraint.max_skew).unwrap_or(0)).then_some(Unwanted::Spread)
}
