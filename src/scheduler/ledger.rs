//! PURE. Owns what the scheduler knows: the node, the pods that wait in their order, what the bound ones take, gangs.
//! Never decides: `plan` reads it. It holds no pod that is finished, and follows the store change by change.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};

use super::demand::Demand;
use super::gang::{self, Gang};
use crate::model::kind::Kind;
use crate::model::object::Object;

/// The scheduler that this is. Pods that name another are left to it.
pub const SCHEDULER: &str = "default-scheduler";

/// Everything that decides about waiting pods.
#[derive(Debug, Default)]
pub struct Ledger {
    name: String,
    node: Option<(Object, NodeSeen)>,
    pods: HashMap<String, Known>,
    waiting: BTreeMap<Rank, Waiting>,
    load: Load,
    gangs: HashMap<String, Gang>,
    crews: HashMap<String, Crew>,
    /// When the words about a pod were last changed.
    pub reworded_at: Option<Timestamp>,
}

/// The node's side.
#[derive(Clone, Debug, Default)]
pub struct NodeSeen {
    /// What pods may take in all; `pods` among them.
    pub allocatable: Demand,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What the bound pods take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Resources.
    pub taken: Demand,
    /// How many pods.
    pub pods: i64,
}

impl Load {
    /// One pod more.
    pub fn add(&mut self, demand: &Demand) {
        self.taken.add(demand);
        self.pods += 1;
    }

    /// One pod less.
    pub fn subtract(&mut self, demand: &Demand) {
        self.taken.subtract(demand);
        self.pods -= 1;
    }
}

/// A pod's place in the order: priority, then age, then name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    priority: Reverse<i32>,
    created: Timestamp,
    namespace: String,
    name: String,
    uid: String,
}

/// A pod without a node.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// As it is stored.
    pub object: Object,
    /// What it asks for.
    pub demand: Demand,
    /// Uid of the Job that it belongs to.
    pub owner: Option<String>,
}

/// The pods of one owner.
#[derive(Clone, Debug, Default)]
pub struct Crew {
    /// Those that wait, in order.
    pub waiting: BTreeSet<Rank>,
    /// How many are bound and not finished.
    pub bound: usize,
}

/// Where a pod stands in the books.
#[derive(Debug)]
struct Known {
    revision: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Waiting(Rank),
    Bound { demand: Demand, owner: Option<String> },
}

impl Ledger {
    /// Knows nothing yet, of the node of that name.
    pub fn new(node: &str) -> Self {
        Self { name: node.to_owned(), ..Self::default() }
    }

    /// The node, once it is registered.
    pub fn node(&self) -> Option<&NodeSeen> {
        self.node.as_ref().map(|(_, seen)| seen)
    }

    /// The node's name.
    pub fn node_name(&self) -> &str {
        &self.name
    }

    /// What the bound pods take.
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// The pods that wait, in order.
    pub fn waiting(&self) -> impl Iterator<Item = (&Rank, &Waiting)> {
        self.waiting.iter()
    }

    /// One of those that wait.
    pub fn waits(&self, rank: &Rank) -> Option<&Waiting> {
        self.waiting.get(rank)
    }

    /// The gang that a pod belongs to, with the pods of it that there are.
    pub fn gang<'l>(&'l self, waiting: &Waiting) -> Option<(&'l str, &'l Gang, &'l Crew)> {
        let (id, gang) = self.gangs.get_key_value(waiting.owner.as_ref()?)?;
        Some((id, gang, self.crews.get(id)?))
    }

    /// Takes in an object as it now stands; what it was before does not matter.
    pub fn learn(&mut self, object: &Object) {
        if let Some(pod) = object.typed::<Pod>() {
            self.learn_pod(object, pod);
        } else if let Some(job) = object.typed::<Job>() {
            self.learn_job(object, job);
        } else if let Some(node) = object.typed::<Node>()
            && object.meta().name.as_deref() == Some(self.name.as_str())
            && self.node.as_ref().is_none_or(|(known, _)| known.revision() < object.revision())
        {
            self.node = Some((object.clone(), seen(node)));
        }
    }

    /// Takes in that an object is gone.
    pub fn forget(&mut self, object: &Object) {
        let kind = object.kind();
        if kind == Kind::of::<Pod>() {
            self.strike(object.uid());
        } else if kind == Kind::of::<Job>() {
            self.gangs.remove(object.uid());
        } else if self.node.as_ref().is_some_and(|(known, _)| known.uid() == object.uid()) {
            self.node = None;
        }
    }

    fn learn_job(&mut self, object: &Object, job: &Job) {
        match gang::of_job(job) {
            Some(gang) => self.gangs.insert(object.uid().to_owned(), gang),
            None => self.gangs.remove(object.uid()),
        };
    }

    fn learn_pod(&mut self, object: &Object, pod: &Pod) {
        let uid = object.uid();
        if self.pods.get(uid).is_some_and(|known| known.revision >= object.revision()) {
            return;
        }
        self.strike(uid);
        let Some(spec) = pod.spec.as_ref().filter(|_| !over(pod)) else { return };
        let node = spec.node_name.as_deref().unwrap_or_default();
        let (demand, owner) = (Demand::of_pod(spec), owner(pod));
        let place = if node.is_empty() {
            if object.meta().deletion_timestamp.is_some() || held_back(spec) {
                return;
            }
            let rank = rank(object, spec);
            if let Some(owner) = &owner {
                self.crews.entry(owner.clone()).or_default().waiting.insert(rank.clone());
            }
            self.waiting.insert(rank.clone(), Waiting { object: object.clone(), demand, owner });
            Place::Waiting(rank)
        } else if node == self.name {
            self.load.add(&demand);
            if let Some(owner) = &owner {
                self.crews.entry(owner.clone()).or_default().bound += 1;
            }
            Place::Bound { demand, owner }
        } else {
            return;
        };
        self.pods.insert(uid.to_owned(), Known { revision: object.revision(), place });
    }

    /// Takes a pod out of the books.
    fn strike(&mut self, uid: &str) {
        let owner = match self.pods.remove(uid).map(|known| known.place) {
            None => return,
            Some(Place::Waiting(rank)) => {
                let owner = self.waiting.remove(&rank).and_then(|waiting| waiting.owner);
                if let Some(crew) = owner.as_ref().and_then(|owner| self.crews.get_mut(owner)) {
                    crew.waiting.remove(&rank);
                }
                owner
            }
            Some(Place::Bound { demand, owner }) => {
                self.load.subtract(&demand);
                if let Some(crew) = owner.as_ref().and_then(|owner| self.crews.get_mut(owner)) {
                    crew.bound -= 1;
                }
                owner
            }
        };
        if let Some(owner) = owner
            && self.crews.get(&owner).is_some_and(|crew| crew.bound == 0 && crew.waiting.is_empty())
        {
            self.crews.remove(&owner);
        }
    }
}

fn seen(node: &Node) -> NodeSeen {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    NodeSeen { allocatable: Demand::of(allocatable), labels: node.metadata.labels.clone().unwrap_or_default() }
}

fn over(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}

/// It is another scheduler's, or not to be scheduled yet.
fn held_back(spec: &PodSpec) -> bool {
    spec.scheduler_name.as_deref().is_some_and(|name| !name.is_empty() && name != SCHEDULER)
        || spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty())
}

fn rank(object: &Object, spec: &PodSpec) -> Rank {
    let meta = object.meta();
    Rank {
        priority: Reverse(spec.priority.unwrap_or(0)),
        created: meta.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default(),
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        uid: object.uid().to_owned(),
    }
}

fn owner(pod: &Pod) -> Option<String> {
    let owners = pod.metadata.owner_references.iter().flatten();
    owners.into_iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone())
}
