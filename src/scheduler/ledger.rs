//! PURE. Owns what the scheduler knows: the node, the pods that wait in their order, what the bound ones take, gangs.
//! Never decides: `plan` reads it. It holds no pod that is finished, and follows the store change by change.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, PodSpec, Taint};

use super::claims::Claims;
use super::demand::Demand;
use super::gang::{self, Gang};
use super::neighbours::Namespaces;
use super::resize;
use crate::model::kind::Kind;
use crate::model::object::Object;
use crate::model::phase;

/// The scheduler that this is. Pods that name another are left to it.
pub const SCHEDULER: &str = "default-scheduler";

/// Everything that decides about waiting pods.
#[derive(Debug, Default)]
pub struct Ledger {
    name: String,
    node: Option<(Object, NodeSeen)>,
    pods: HashMap<String, Known>,
    waiting: BTreeMap<Rank, Arc<Guest>>,
    load: Load,
    gangs: HashMap<String, Gang>,
    inseparable: HashSet<String>,
    crews: HashMap<String, Crew>,
    namespaces: Namespaces,
    claims: Claims,
    /// When the words about a pod were last changed.
    pub reworded_at: Option<Timestamp>,
}

/// The node's side.
#[derive(Clone, Debug, Default)]
pub struct NodeSeen {
    /// Its name.
    pub name: String,
    /// What pods may take in all; `pods` among them.
    pub allocatable: Demand,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// Whether it takes no new pods.
    pub cordoned: bool,
}

/// A pod, as far as room is concerned: one that waits for it, or one that has it.
#[derive(Debug)]
pub struct Guest {
    /// As it is stored.
    pub object: Object,
    /// What it asks for.
    pub demand: Demand,
    /// Uid of its controlling owner.
    pub owner: Option<String>,
    /// The higher the sooner.
    pub priority: i32,
}

impl Guest {
    fn new(object: &Object, pod: &Pod, spec: &PodSpec) -> Self {
        let owners = pod.metadata.owner_references.iter().flatten();
        let owner = owners.into_iter().find(|owner| owner.controller == Some(true));
        Self {
            object: object.clone(),
            demand: resize::kept(pod),
            owner: owner.map(|owner| owner.uid.clone()),
            priority: spec.priority.unwrap_or(0),
        }
    }

    /// The pod.
    pub fn pod(&self) -> &Pod {
        self.object.typed().expect("a guest is made of a pod")
    }
}

/// The bound pods that are not finished, and what they take.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Resources.
    pub taken: Demand,
    guests: BTreeMap<String, Arc<Guest>>,
}

impl Load {
    /// One pod more.
    pub fn add(&mut self, guest: &Arc<Guest>) {
        if self.guests.insert(guest.object.uid().to_owned(), Arc::clone(guest)).is_none() {
            self.taken.add(&guest.demand);
        }
    }

    /// The pod with this uid less.
    pub fn remove(&mut self, uid: &str) -> Option<Arc<Guest>> {
        let guest = self.guests.remove(uid)?;
        self.taken.subtract(&guest.demand);
        Some(guest)
    }

    /// How many pods.
    pub fn count(&self) -> usize {
        self.guests.len()
    }

    /// Each of them.
    pub fn guests(&self) -> impl Iterator<Item = &Arc<Guest>> {
        self.guests.values()
    }

    /// Each of them, as a pod.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.guests().map(|guest| guest.pod())
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
    Bound,
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

    /// Labels of namespaces.
    pub fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// Claims of storage.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The Node as it is stored.
    pub fn node_object(&self) -> Option<&Object> {
        self.node.as_ref().map(|(object, _)| object)
    }

    /// The pods that wait, in order.
    pub fn waiting(&self) -> impl Iterator<Item = &Arc<Guest>> {
        self.waiting.values()
    }

    /// One of those that wait.
    pub fn waits(&self, rank: &Rank) -> Option<&Arc<Guest>> {
        self.waiting.get(rank)
    }

    /// The gang that a pod belongs to, with the pods of it that there are.
    pub fn gang<'l>(&'l self, guest: &Guest) -> Option<(&'l str, &'l Gang, &'l Crew)> {
        let (id, gang) = self.gangs.get_key_value(guest.owner.as_ref()?)?;
        Some((id, gang, self.crews.get(id)?))
    }

    /// Uids of the Jobs whose pods are disrupted all together or not at all.
    pub fn inseparable(&self) -> &HashSet<String> {
        &self.inseparable
    }

    /// Takes in an object as it now stands; what it was before does not matter.
    pub fn learn(&mut self, object: &Object) {
        if self.claims.learn(object) {
            return;
        }
        if let Some(pod) = object.typed::<Pod>() {
            self.learn_pod(object, pod);
        } else if let Some(job) = object.typed::<Job>() {
            self.learn_job(object, job);
        } else if object.typed::<Namespace>().is_some() {
            self.namespaces.insert(object.key().name, object.meta().labels.clone().unwrap_or_default());
        } else if let Some(node) = object.typed::<Node>()
            && object.meta().name.as_deref() == Some(self.name.as_str())
            && self.node.as_ref().is_none_or(|(known, _)| known.revision() < object.revision())
        {
            self.node = Some((object.clone(), seen(node)));
        }
    }

    /// Takes in that an object is gone.
    pub fn forget(&mut self, object: &Object) {
        if self.claims.forget(object) {
            return;
        }
        let kind = object.kind();
        if kind == Kind::of::<Pod>() {
            self.strike(object.uid());
        } else if kind == Kind::of::<Job>() {
            self.gangs.remove(object.uid());
            self.inseparable.remove(object.uid());
        } else if kind == Kind::of::<Namespace>() {
            self.namespaces.remove(&object.key().name);
        } else if self.node.as_ref().is_some_and(|(known, _)| known.uid() == object.uid()) {
            self.node = None;
        }
    }

    fn learn_job(&mut self, object: &Object, job: &Job) {
        match gang::of_job(job) {
            Some(gang) => self.gangs.insert(object.uid().to_owned(), gang),
            None => self.gangs.remove(object.uid()),
        };
        if gang::is_inseparable(job) {
            self.inseparable.insert(object.uid().to_owned());
        }
    }

    fn learn_pod(&mut self, object: &Object, pod: &Pod) {
        let uid = object.uid();
        if self.pods.get(uid).is_some_and(|known| known.revision >= object.revision()) {
            return;
        }
        self.strike(uid);
        let Some(spec) = pod.spec.as_ref().filter(|_| !phase::is_over(pod)) else { return };
        let node = spec.node_name.as_deref().unwrap_or_default();
        let guest = Arc::new(Guest::new(object, pod, spec));
        let crew = |crews: &mut HashMap<String, Crew>, change: &dyn Fn(&mut Crew)| {
            if let Some(owner) = &guest.owner {
                change(crews.entry(owner.clone()).or_default());
            }
        };
        let place = if node == self.name {
            self.load.add(&guest);
            crew(&mut self.crews, &|crew| crew.bound += 1);
            Place::Bound
        } else if node.is_empty() && object.meta().deletion_timestamp.is_none() && !held_back(spec) {
            let rank = rank(object, spec);
            crew(&mut self.crews, &|crew| {
                crew.waiting.insert(rank.clone());
            });
            self.waiting.insert(rank.clone(), Arc::clone(&guest));
            Place::Waiting(rank)
        } else {
            return;
        };
        self.pods.insert(uid.to_owned(), Known { revision: object.revision(), place });
    }

    /// Takes a pod out of the books.
    fn strike(&mut self, uid: &str) {
        let Some(known) = self.pods.remove(uid) else { return };
        let (guest, rank) = match known.place {
            Place::Waiting(rank) => (self.waiting.remove(&rank), Some(rank)),
            Place::Bound => (self.load.remove(uid), None),
        };
        let Some(owner) = guest.as_ref().and_then(|guest| guest.owner.as_ref()) else { return };
        let Some(crew) = self.crews.get_mut(owner) else { return };
        match rank {
            Some(rank) => {
                crew.waiting.remove(&rank);
            }
            None => crew.bound -= 1,
        }
        if crew.bound == 0 && crew.waiting.is_empty() {
            self.crews.remove(owner);
        }
    }
}

fn seen(node: &Node) -> NodeSeen {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    NodeSeen {
        name: node.metadata.name.clone().unwrap_or_default(),
        allocatable: Demand::of(allocatable),
        labels: node.metadata.labels.clone().unwrap_or_default(),
        taints: node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default(),
        cordoned: node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)),
    }
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
