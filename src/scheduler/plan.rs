//! PURE. Owns the choice of the pods that are bound now, of those that have to leave, and of what the others are told.
//! Never looks anywhere but into the ledger; `apply` writes.
//!
//! ```text
//!  came with a node:       fits --> may run        does not fit --> Failed
//!  NoExecute taints:       not tolerated (any more) --> deleted
//!  by priority, then age:  fits --> bound, and what it takes is gone for those behind it
//!                          does not fit --> lesser pods make room: deleted, and the room is kept for it
//!                                           or it is told why; those behind it are tried all the same
//!                          of a gang --> all of the gang that wait, at the place of the first:
//!                                          enough fit --> those are bound      too few --> none is
//! ```
//!
//! Parity: kube-scheduler's queue sort, `schedulePod` and the pod group cycle of `schedule_one_podgroup.go`.
//! Differs: a gang does not preempt.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PodStatus;

use super::arrival::{self, Refused};
use super::evict;
use super::fit::{self, Misfit};
use super::gang::Gang;
use super::ledger::{Crew, Guest, Ledger, Load, NodeSeen};
use super::ports;
use super::preempt::{self, Preemption};
use super::resize::{self, Answer};
use crate::model::claims::{self, Standing};

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
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Pods that get the node.
    pub bind: Vec<Arc<Guest>>,
    /// Pods that are told why they wait.
    pub tell: Vec<Told>,
    /// Pods that came with the node and may run there.
    pub admit: Vec<Arc<Guest>>,
    /// Pods that came with the node and may not run there.
    pub refuse: Vec<(Arc<Guest>, Refused)>,
    /// Pods that have to leave.
    pub evict: Vec<Eviction>,
    /// Pods that asked for other resources, and what they are answered.
    pub resize: Vec<(Arc<Guest>, Answer)>,
    /// The node's taints get the time from which on they are counted.
    pub date_taints: bool,
    /// Some are told something else than before.
    pub reworded: bool,
    /// There is more to do right after.
    pub more: bool,
    /// When to look again if nothing happens before.
    pub wake_at: Option<Timestamp>,
}

/// A pod that waits, and what it is told.
#[derive(Clone, Debug)]
pub struct Told {
    /// The pod.
    pub guest: Arc<Guest>,
    /// Why it waits.
    pub message: String,
    /// Others make room for it.
    pub nominated: bool,
}

/// A pod that has to leave.
#[derive(Clone, Debug)]
pub struct Eviction {
    /// The pod.
    pub guest: Arc<Guest>,
    /// For whose sake.
    pub why: Why,
}

/// Why a pod has to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It does not tolerate the node.
    Taint,
    /// The pod with this uid is more important.
    Preempted {
        /// The uid.
        by: String,
    },
}

/// Decides about every waiting pod. Nothing is decided while there is no node.
pub fn plan(ledger: &Ledger, now: Timestamp) -> Plan {
    let Some(node) = ledger.node() else { return Plan::default() };
    let (load, plan, doomed) = (ledger.load().clone(), Plan::default(), HashSet::new());
    let mut look = Look { ledger, node, load, doomed, now, plan, alike: None };
    look.arrivals();
    look.taints();
    look.resizes();
    let mut gangs = HashSet::new();
    for guest in ledger.waiting() {
        if look.plan.bind.len() + look.plan.tell.len() >= MAX_PER_COMMIT {
            look.plan.more = true;
            break;
        }
        match ledger.gang(guest) {
            None => look.one(guest),
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
    /// Uids of pods that have to leave.
    doomed: HashSet<String>,
    now: Timestamp,
    plan: Plan,
    /// The last pod that was told why it waits, while nothing was bound since: its like need no look of their own.
    alike: Option<(&'a Guest, String)>,
}

impl<'a> Look<'a> {
    /// Pods that nobody bound here are judged one after the other, the oldest first, beside those that were.
    fn arrivals(&mut self) {
        let mut new: Vec<Arc<Guest>> = self.load.guests().filter(|guest| arrival::is_new(guest)).cloned().collect();
        new.sort_by_key(|guest| guest.object.meta().creation_timestamp.as_ref().map(|time| time.0));
        for guest in &new {
            self.load.remove(guest.object.uid());
        }
        for guest in new {
            match arrival::refused(self.node, &self.load, &guest) {
                None => {
                    self.load.add(&guest);
                    self.plan.admit.push(guest);
                }
                Some(refused) => self.plan.refuse.push((guest, refused)),
            }
        }
    }

    fn taints(&mut self) {
        let evictions = evict::evictions(self.node, &self.load, self.now);
        self.plan.date_taints = evictions.undated;
        self.plan.wake_at = evictions.wake_at;
        for guest in evictions.now {
            self.evict(guest, Why::Taint);
        }
    }

    /// One that is written to by this same commit already is answered by the next.
    fn resizes(&mut self) {
        let busy =
            |uid: &str| self.doomed.contains(uid) || self.plan.admit.iter().any(|other| other.object.uid() == uid);
        let answers = resize::answers(self.node, &self.load).into_iter();
        self.plan.resize = answers.filter(|(guest, _)| !busy(guest.object.uid())).collect();
    }

    fn evict(&mut self, guest: Arc<Guest>, why: Why) {
        if self.doomed.insert(guest.object.uid().to_owned()) {
            // One that is refused or let in by this same commit leaves by the next.
            self.plan.admit.retain(|other| other.object.uid() != guest.object.uid());
            self.plan.evict.push(Eviction { guest, why });
        }
    }

    fn misfit(&self, load: &Load, guest: &Guest) -> Option<Misfit> {
        if let Standing::Unschedulable(words) = self.ledger.claims().standing(guest.pod()) {
            return Some(Misfit::anywhere(words));
        }
        fit::misfit(self.node, self.ledger.namespaces(), load, guest.pod(), &guest.demand)
    }

    /// A volume is being made or bound for the pod; it is looked at again when that is done. Parity: `PreBind`.
    fn binds_volumes(&self, guest: &Guest) -> bool {
        self.ledger.claims().standing(guest.pod()) == Standing::Binding
    }

    fn one(&mut self, guest: &'a Arc<Guest>) {
        if let Some(refused) = arrival::foreign(self.node, guest) {
            self.plan.refuse.push((Arc::clone(guest), refused));
            return;
        }
        if let Some((_, message)) = self.alike.as_ref().filter(|(other, _)| alike(other, guest)) {
            let message = message.clone();
            self.tell(guest, message, false);
            return;
        }
        let Some(misfit) = self.misfit(&self.load, guest) else {
            self.alike = None;
            // The room is kept for it while its volumes are made.
            self.load.add(guest);
            if !self.binds_volumes(guest) {
                self.plan.bind.push(Arc::clone(guest));
            }
            return;
        };
        let (spaces, inseparable) = (self.ledger.namespaces(), self.ledger.inseparable());
        let (preemption, nominated) =
            match preempt::preempt(self.node, spaces, &self.load, &self.doomed, inseparable, guest, &misfit) {
                Preemption::Victims(victims) => {
                    let by = guest.object.uid().to_owned();
                    victims.into_iter().for_each(|victim| self.evict(victim, Why::Preempted { by: by.clone() }));
                    (String::new(), true)
                }
                Preemption::UnderWay(words) => (words.to_owned(), true),
                Preemption::Nothing(words) => (words, false),
            };
        if nominated {
            // The room is kept for it.
            self.load.add(guest);
        }
        let message = misfit.message(&preemption);
        self.alike = (!nominated).then(|| (&**guest, message.clone()));
        self.tell(guest, message, nominated);
    }

    /// Parity: `PlacementFeasible` of the GangScheduling plugin; its words and those of its `PreEnqueue`.
    fn gang(&mut self, gang: &Gang, crew: &Crew) {
        let members: Vec<&'a Arc<Guest>> = crew.waiting.iter().filter_map(|rank| self.ledger.waits(rank)).collect();
        if crew.bound + members.len() < gang.min_count {
            let words = "waiting for minCount pods from a gang to appear in scheduling queue";
            members.into_iter().for_each(|member| self.tell(member, words.to_owned(), false));
            return;
        }
        if members.iter().any(|member| self.binds_volumes(member)) {
            return;
        }
        let mut load = self.load.clone();
        let tried: Vec<(&Arc<Guest>, Option<Misfit>)> =
            members.into_iter().map(|member| (member, self.place(gang, &mut load, member))).collect();
        let placed = tried.iter().filter(|(_, misfit)| misfit.is_none()).count();
        let enough = crew.bound + placed >= gang.min_count;
        if enough {
            self.alike = None;
            self.load = load;
        }
        for (member, misfit) in tried {
            match misfit {
                Some(misfit) => self.tell(member, misfit.message(preempt::hopeless(&misfit)), false),
                None if enough => self.plan.bind.push(Arc::clone(member)),
                None => self.tell(member, too_few(gang, crew.bound + placed), false),
            }
        }
    }

    fn place(&self, gang: &Gang, load: &mut Load, member: &Arc<Guest>) -> Option<Misfit> {
        if gang.topology.iter().any(|key| !self.node.labels.contains_key(key)) {
            // Differs: upstream finds no placement at all and says only that.
            let reasons = vec!["node(s) didn't match the topology of the pod group".to_owned()];
            return Some(Misfit { reasons, resolvable: false, counted: true });
        }
        let misfit = self.misfit(load, member);
        if misfit.is_none() {
            load.add(member);
        }
        misfit
    }

    /// Says why a pod waits, unless it is told so already.
    fn tell(&mut self, guest: &Arc<Guest>, message: String, nominated: bool) {
        let status = guest.pod().status.as_ref();
        let told = told(status);
        let known = status.is_some_and(|status| status.nominated_node_name.is_some());
        if told == Some(message.as_str()) && known == nominated {
            return;
        }
        if told.is_some() && known == nominated {
            let fresh = self.ledger.reworded_at.map(|at| at + REWORD).filter(|until| *until > self.now);
            if let Some(until) = fresh {
                self.plan.wake_at = Some(self.plan.wake_at.map_or(until, |at| at.min(until)));
                return;
            }
            self.plan.reworded = true;
        }
        self.plan.tell.push(Told { guest: Arc::clone(guest), message, nominated });
    }
}

/// Whether what holds of one pod that waits holds of the other too: pods of one owner that ask for the same.
fn alike(one: &Guest, other: &Guest) -> bool {
    let (Some(first), Some(second)) = (&one.pod().spec, &other.pod().spec) else { return false };
    one.owner.is_some()
        && one.owner == other.owner
        && one.priority == other.priority
        && one.demand == other.demand
        && first.node_selector == second.node_selector
        && first.tolerations == second.tolerations
        && claims::of_pod(one.pod()) == claims::of_pod(other.pod())
        && first.preemption_policy == second.preemption_policy
        && [first, second].iter().all(|spec| spec.affinity.is_none() && spec.topology_spread_constraints.is_none())
        && [first, second].iter().all(|spec| ports::of(spec).next().is_none())
}

fn too_few(gang: &Gang, found: usize) -> String {
    format!("minCount ({}) cannot be satisfied: {found} scheduled, 0 remaining", gang.min_count)
}

/// What the pod was last told.
fn told(status: Option<&PodStatus>) -> Option<&str> {
    let condition = status?.conditions.as_ref()?.iter().find(|condition| condition.type_ == POD_SCHEDULED)?;
    if condition.reason.as_deref() != Some(UNSCHEDULABLE) {
        return None;
    }
    condition.message.as_deref()
}
