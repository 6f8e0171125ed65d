//! PURE. Owns the choice of the pods that are bound now, and of what the others are told.
//! Never looks anywhere but into the ledger; `apply` writes.
//!
//! ```text
//!  by priority, then age:  fits --> bound, and what it takes is gone for those behind it
//!                          does not fit --> told why; those behind it are tried all the same
//!                          of a gang --> all of the gang that wait, at the place of the first:
//!                                          enough fit --> those are bound      too few --> none is
//! ```
//!
//! Parity: kube-scheduler's queue sort, `schedulePod` and the pod group cycle of `schedule_one_podgroup.go`.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::fit::{self, Misfit};
use super::gang::Gang;
use super::ledger::{Crew, Ledger, Load, NodeSeen, Waiting};
use crate::model::object::Object;

/// Pods that one commit binds or tells of, so that a commit stays short. A gang goes in whole.
const MAX_PER_COMMIT: usize = 256;
/// A pod that was told why it waits is told of a change of reasons no sooner than this after the last such news, or
/// 10,000 waiting pods were rewritten whenever one ends. Parity: kube-scheduler's longest back-off of a pod.
const REWORD: SignedDuration = SignedDuration::from_secs(10);
/// Condition of a pod that has a node, or has none.
pub const POD_SCHEDULED: &str = "PodScheduled";
/// Its reason where there is no room.
pub const UNSCHEDULABLE: &str = "Unschedulable";

/// What one commit does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Pods that get the node.
    pub bind: Vec<Object>,
    /// Pods that are told why they wait.
    pub tell: Vec<(Object, String)>,
    /// Some are told something else than before.
    pub reworded: bool,
    /// There is more to do right after.
    pub more: bool,
    /// When to look again if nothing happens before.
    pub wake_at: Option<Timestamp>,
}

/// Decides about every waiting pod. Nothing is decided while there is no node.
pub fn plan(ledger: &Ledger, now: Timestamp) -> Plan {
    let Some(node) = ledger.node() else { return Plan::default() };
    let mut look = Look { ledger, node, load: ledger.load().clone(), now, plan: Plan::default() };
    let mut gangs = HashSet::new();
    for (_, waiting) in ledger.waiting() {
        if look.plan.bind.len() + look.plan.tell.len() >= MAX_PER_COMMIT {
            look.plan.more = true;
            break;
        }
        match ledger.gang(waiting) {
            None => look.one(waiting),
            Some((id, gang, crew)) => {
                if gangs.insert(id) {
                    look.gang(gang, crew);
                }
            }
        }
    }
    look.plan
}

struct Look<'a> {
    ledger: &'a Ledger,
    node: &'a NodeSeen,
    load: Load,
    now: Timestamp,
    plan: Plan,
}

impl<'a> Look<'a> {
    fn one(&mut self, waiting: &Waiting) {
        match fit::fit(self.node, &self.load, &waiting.demand) {
            Ok(()) => {
                self.load.add(&waiting.demand);
                self.plan.bind.push(waiting.object.clone());
            }
            Err(misfit) => self.tell(waiting, misfit.message()),
        }
    }

    /// Parity: `PlacementFeasible` of the GangScheduling plugin; its words and those of its `PreEnqueue`.
    fn gang(&mut self, gang: &Gang, crew: &Crew) {
        let members: Vec<&'a Waiting> = crew.waiting.iter().filter_map(|rank| self.ledger.waits(rank)).collect();
        if crew.bound + members.len() < gang.min_count {
            let words = "waiting for minCount pods from a gang to appear in scheduling queue";
            members.into_iter().for_each(|member| self.tell(member, words.to_owned()));
            return;
        }
        let mut load = self.load.clone();
        let tried: Vec<(&Waiting, Option<Misfit>)> =
            members.into_iter().map(|member| (member, self.place(gang, &mut load, member))).collect();
        let placed = tried.iter().filter(|(_, misfit)| misfit.is_none()).count();
        let enough = crew.bound + placed >= gang.min_count;
        if enough {
            self.load = load;
        }
        for (member, misfit) in tried {
            match misfit {
                Some(misfit) => self.tell(member, misfit.message()),
                None if enough => self.plan.bind.push(member.object.clone()),
                None => self.tell(member, too_few(gang, crew.bound + placed)),
            }
        }
    }

    fn place(&self, gang: &Gang, load: &mut Load, member: &Waiting) -> Option<Misfit> {
        let lacking = gang.topology.iter().any(|key| !self.node.labels.contains_key(key));
        if lacking {
            let reasons = vec!["node(s) didn't match the topology of the pod group".to_owned()];
            return Some(Misfit { reasons, resolvable: false });
        }
        let misfit = fit::fit(self.node, load, &member.demand).err();
        if misfit.is_none() {
            load.add(&member.demand);
        }
        misfit
    }

    /// Says why a pod waits, unless it is told so already.
    fn tell(&mut self, waiting: &Waiting, message: String) {
        let told = told(waiting);
        if told == Some(message.as_str()) {
            return;
        }
        if told.is_some() {
            let fresh = self.ledger.reworded_at.map(|at| at + REWORD).filter(|until| *until > self.now);
            if let Some(until) = fresh {
                self.plan.wake_at = Some(until);
                return;
            }
            self.plan.reworded = true;
        }
        self.plan.tell.push((waiting.object.clone(), message));
    }
}

fn too_few(gang: &Gang, found: usize) -> String {
    format!("minCount ({}) cannot be satisfied: {found} scheduled, 0 remaining", gang.min_count)
}

/// What the pod was last told.
fn told(waiting: &Waiting) -> Option<&str> {
    let status = waiting.object.typed::<Pod>()?.status.as_ref()?;
    let condition = status.conditions.as_ref()?.iter().find(|condition| condition.type_ == POD_SCHEDULED)?;
    if condition.reason.as_deref() != Some(UNSCHEDULABLE) {
        return None;
    }
    condition.message.as_deref()
}
