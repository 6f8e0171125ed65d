//! Owns the one Node: its registration, its status, its heartbeat, and its name.
//! Never schedules: the scheduler reads what is written here.
//!
//! The heartbeat is a Lease in `kube-node-lease`; beside the Node object it keeps which life of the engine and of the
//! machine was last seen, so that an exit found in the next life is not taken at its word.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{
    Event, Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo, Taint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use serde::{Deserialize, Serialize};

use super::core::Ground;
use super::draft::KUBELET;
use super::facts::{NodeFacts, Outage};
use super::pressure::{Reading, Shortage, Signal};
use super::signals;
use crate::model::event::{self, Severity};
use crate::model::kind::Kind;
use crate::model::object::{Key, Object};
use crate::model::time;
use crate::model::validation::resources::HUGE_PAGES;
use crate::runtime::enforcement::{Bound, Enforcement};
use crate::runtime::reply::is_virtual_machine;
use crate::runtime::{Devices, EngineSeen};
use crate::store::{Error, Expected, Query, Store, Write};

/// Namespace of heartbeats.
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// Parity: the kubelet's lease duration.
const LEASE_SECONDS: i32 = 40;
/// Parity: the kubelet's default.
const MAX_PODS: &str = "110";
/// An unchanged status is told again this often. Parity: `nodeStatusReportFrequency`.
const REPORT: SignedDuration = SignedDuration::from_secs(300);
/// The version of the API that is served, as `kubectl get nodes` shows it.
const KUBELET_VERSION: &str = concat!("v1.37.0+jobdock.", env!("CARGO_PKG_VERSION"));
/// The disk of pods' files, as a resource.
const EPHEMERAL: &str = "ephemeral-storage";
/// Annotation of the node: which of its resources are devices.
const DEVICES: &str = "jobdock.io/devices";
const NO_SCHEDULE: &str = "NoSchedule";
/// Taint of a node whose engine does not answer.
const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Each condition, and what is said when it begins to hold and when it ceases to.
const TURNS: [(&str, &str, &str); 4] = [
    ("MemoryPressure", "NodeHasInsufficientMemory", "NodeHasSufficientMemory"),
    ("DiskPressure", "NodeHasDiskPressure", "NodeHasNoDiskPressure"),
    ("PIDPressure", "NodeHasInsufficientPID", "NodeHasSufficientPID"),
    ("Ready", "NodeReady", "NodeNotReady"),
];
/// The fact beside the Node object.
const FACT: &str = "engine";
/// An address that nobody answers on: asking the kernel for the way there sends nothing.
const ELSEWHERE: &str = "192.0.2.1:9";

/// Which life of the engine and of the machine was last seen, and what is known of the gap before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lives {
    /// Names the engine's and the machine's present life.
    pub life: String,
    /// When it was last seen.
    pub seen_at: Timestamp,
    /// The gap before it.
    pub outage: Option<(Timestamp, Timestamp)>,
}

impl Lives {
    /// The gap before the present life.
    pub fn outage(&self) -> Option<Outage> {
        self.outage.map(|(from, to)| Outage { from, to })
    }
}

/// Names the present life of the engine and of this machine.
pub fn life(engine: &EngineSeen) -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{} {}", boot.trim(), engine.instance)
}

/// What is known once the engine was seen in `life` at `now`.
pub fn seen(before: Option<&Lives>, life: String, now: Timestamp) -> Lives {
    match before {
        Some(before) if before.life == life => Lives { seen_at: now, ..before.clone() },
        Some(before) => Lives { life, seen_at: now, outage: Some((before.seen_at.min(now), now)) },
        None => Lives { life, seen_at: now, outage: None },
    }
}

/// What was kept of an earlier run of the agent.
pub fn remembered(store: &Store, node: &str) -> Result<Option<Lives>, Error> {
    let Some(object) = store.get(&Key::of::<Node>("", node))? else { return Ok(None) };
    let kept = store.fact(object.uid(), FACT)?;
    Ok(kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// The node's name: the one asked for, or the one that this store's node goes by, or for a new store the machine's.
/// Pods and volumes are bound to a name, and a machine's changes: a laptop's with the network, a container's always.
pub fn name(store: &Store, asked: Option<&str>, machine: &str) -> Result<String, Error> {
    if let Some(asked) = asked {
        return Ok(asked.to_owned());
    }
    let newest = registered(store)?.into_iter().max_by_key(|(_, lives)| lives.seen_at);
    Ok(newest.map_or_else(|| machine.to_owned(), |(name, _)| name))
}

/// Removes what an agent of this store registered under other names: nobody is there any more. Pods that were bound to
/// it are then the garbage collector's.
pub async fn succeed(store: &Store, name: &str) -> Result<(), Error> {
    let mut writes = Vec::new();
    for (former, _) in registered(store)?.into_iter().filter(|(former, _)| former != name) {
        tracing::warn!(former, name, "the node has another name now; pods bound to the former one are given up");
        for key in [Key::of::<Node>("", &former), Key::of::<Lease>(LEASE_NAMESPACE, &former)] {
            if store.get(&key)?.is_some() {
                writes.push(Write::Delete { key, expected: Expected::Exists });
            }
        }
    }
    if writes.is_empty() { Ok(()) } else { store.commit(writes).await.map(drop) }
}

/// The Nodes that agents of this store wrote, and when each was last seen. Others are a client's own.
fn registered(store: &Store) -> Result<Vec<(String, Lives)>, Error> {
    let mut found = Vec::new();
    for object in store.list(&Query::all(Kind::of::<Node>()))?.objects {
        let name = object.key().name;
        found.extend(remembered(store, &name)?.map(|lives| (name, lives)));
    }
    Ok(found)
}

/// The machine's name as a node's: the host name in lower case.
pub fn default_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().to_lowercase();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// The node as pods see it.
pub fn facts(name: &str, engine: &EngineSeen, pods_dir: &Path) -> NodeFacts {
    NodeFacts {
        name: name.to_owned(),
        ip: address(),
        os: engine.os.clone(),
        architecture: engine.architecture.clone(),
        cpu_nanos: i128::from(engine.cpus) * 1_000_000_000,
        memory_bytes: i128::from(engine.memory_bytes),
        memory_capacity: i128::from(engine.memory_bytes),
        app_armor: engine.app_armor,
        runtimes: engine.runtimes.clone(),
        least_oom_score: engine.least_oom_score,
        pod_dir: pods_dir.to_string_lossy().into_owned(),
        gateway: engine.host_gateway.clone(),
        enforcement: enforcement(engine),
        virtual_machine: is_virtual_machine(&engine.os_image),
        own_users: engine.own_users,
        selinux: engine.selinux,
        ..NodeFacts::default()
    }
}

/// What pods may use of the memory and the disk: less than there is, by what thresholds keep free.
pub fn offer(facts: &mut NodeFacts, engine: &EngineSeen, ground: &Ground) {
    facts.memory_bytes = i128::from(memory_left(engine, ground));
    facts.storage_bytes = disk_left(ground).map(i128::from);
}

/// What the engine enforces. A machine without swap needs no bound on it.
fn enforcement(engine: &EngineSeen) -> Enforcement {
    let mut enforcement = engine.enforcement.clone();
    if signals::swap().is_some_and(|bytes| bytes == 0) {
        enforcement.lacks.remove(&Bound::Swap);
    }
    enforcement
}

/// The machine's address towards the outside; loopback where it has none.
fn address() -> String {
    let outward = || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(ELSEWHERE)?;
        socket.local_addr()
    };
    outward().map_or_else(|_| "127.0.0.1".to_owned(), |address| address.ip().to_string())
}

/// Writes the Node and its heartbeat.
pub async fn report(store: &Store, ground: &Ground, now: Timestamp) -> Result<(), Error> {
    let facts = &ground.node;
    let mut writes = Vec::new();
    let key = Key::of::<Node>("", &facts.name);
    let stored = store.get(&key)?;
    let uid = match &stored {
        Some(object) => {
            let before = object.typed::<Node>().cloned().unwrap_or_default();
            let node = node(before.clone(), ground, now);
            writes.extend(turns(&before, &node, now).into_iter().map(Write::Record));
            if node != before {
                let expected = Expected::Revision(object.revision());
                writes.push(Write::Update { object: Object::new(node), expected });
            }
            object.uid().to_owned()
        }
        None => {
            let mut node = node(Node::default(), ground, now);
            let uid = store.mint().uid;
            node.metadata.uid = Some(uid.clone());
            writes.extend(turns(&Node::default(), &node, now).into_iter().map(Write::Record));
            writes.push(Write::Create(Object::new(node)));
            uid
        }
    };
    if let Some(value) = ground.lives.as_ref().and_then(|lives| serde_json::to_vec(lives).ok()) {
        writes.push(Write::Remember { uid, name: FACT, value: value.into() });
    }
    writes.push(lease(store, &facts.name, now)?);
    store.commit(writes).await.map(drop)
}

/// An Event for each condition that turned. Parity: `recordNodeStatusEvent`, with the node's name in the place of its uid,
/// by which `kubectl describe node` looks for them.
fn turns(before: &Node, after: &Node, now: Timestamp) -> Vec<Event> {
    let holds = |node: &Node, kind: &str| {
        let mut all = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        all.find(|condition| condition.type_ == kind).map(|condition| condition.status == "True")
    };
    let name = after.metadata.name.clone().unwrap_or_default();
    let turned = TURNS.iter().filter_map(|(kind, yes, no)| {
        let now = holds(after, kind)?;
        (holds(before, kind) != Some(now)).then_some(if now { *yes } else { *no })
    });
    let object = Object::new(after.clone());
    turned
        .map(|reason| {
            let text = format!("Node {name} status is now: {reason}");
            let mut event = event::about(&object, KUBELET, Severity::Normal, reason, &text, now);
            event.involved_object.uid = Some(name.clone());
            event.involved_object.resource_version = None;
            event
        })
        .collect()
}

fn lease(store: &Store, name: &str, now: Timestamp) -> Result<Write, Error> {
    let stored = store.get(&Key::of::<Lease>(LEASE_NAMESPACE, name))?;
    let before = stored.as_ref().and_then(|object| object.typed::<Lease>()).cloned();
    let mut lease = before.unwrap_or_else(|| Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(LEASE_NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        spec: None,
    });
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(name.to_owned()),
        lease_duration_seconds: Some(LEASE_SECONDS),
        renew_time: Some(MicroTime(now)),
        ..lease.spec.unwrap_or_default()
    });
    let object = Object::new(lease);
    Ok(match stored {
        Some(_) => Write::Update { object, expected: Expected::Exists },
        None => Write::Create(object),
    })
}

fn node(mut node: Node, ground: &Ground, now: Timestamp) -> Node {
    let facts = &ground.node;
    node.metadata.name = Some(facts.name.clone());
    let status = node.status.get_or_insert_default();
    status.addresses = Some(vec![
        NodeAddress { type_: "InternalIP".to_owned(), address: facts.ip.clone() },
        NodeAddress { type_: "Hostname".to_owned(), address: facts.name.clone() },
    ]);
    status.conditions = Some(conditions(status, ground, now));
    if let Some(engine) = &ground.engine {
        let mut capacity = capacity(engine, ground.room.get(&Signal::Nodefs));
        let mut allocatable = allocatable(engine, ground);
        for (name, count) in extended(status.capacity.take(), &mut node.metadata, &facts.devices) {
            capacity.insert(name.clone(), count.clone());
            allocatable.insert(name, count);
        }
        status.capacity = Some(capacity);
        status.allocatable = Some(allocatable);
        status.node_info = Some(info(engine));
        status.images = ground.images.clone().or(status.images.take());
        let labels = node.metadata.labels.get_or_insert_default();
        for (key, value) in [
            ("kubernetes.io/hostname", facts.name.as_str()),
            ("kubernetes.io/os", engine.os.as_str()),
            ("kubernetes.io/arch", engine.architecture.as_str()),
            ("beta.kubernetes.io/os", engine.os.as_str()),
            ("beta.kubernetes.io/arch", engine.architecture.as_str()),
        ] {
            labels.insert(key.to_owned(), value.to_owned());
        }
    }
    let spec = node.spec.get_or_insert_with(NodeSpec::default);
    spec.taints = taints(spec.taints.take().unwrap_or_default(), ground);
    node
}

/// Resources by names of their own. Parity: those that a client has written stay; of devices that are there no longer
/// there are 0. Which were devices is noted in an annotation.
fn extended(
    before: Option<BTreeMap<String, Quantity>>,
    meta: &mut ObjectMeta,
    devices: &Devices,
) -> BTreeMap<String, Quantity> {
    let noted = meta.annotations.as_mut().and_then(|annotations| annotations.remove(DEVICES)).unwrap_or_default();
    let mut all = before.unwrap_or_default();
    all.retain(|name, _| name.contains('/'));
    let gone = noted.split(',').filter(|name| !name.is_empty());
    all.extend(gone.map(|name| (name.to_owned(), Quantity("0".to_owned()))));
    all.extend(devices.iter().map(|(name, ids)| (name.clone(), Quantity(ids.len().to_string()))));
    if !devices.is_empty() {
        let names: Vec<&str> = devices.keys().map(String::as_str).collect();
        meta.annotations.get_or_insert_default().insert(DEVICES.to_owned(), names.join(","));
    }
    meta.annotations.take_if(|annotations| annotations.is_empty());
    all
}

fn capacity(engine: &EngineSeen, disk: Option<&Reading>) -> BTreeMap<String, Quantity> {
    let mut all = BTreeMap::from([
        ("cpu".to_owned(), Quantity(engine.cpus.to_string())),
        ("memory".to_owned(), kibibytes(engine.memory_bytes)),
        ("pods".to_owned(), Quantity(MAX_PODS.to_owned())),
    ]);
    if let Some(disk) = disk {
        all.insert(EPHEMERAL.to_owned(), kibibytes(disk.capacity));
    }
    let pages = signals::huge_pages().into_iter();
    all.extend(pages.map(|(size, bytes)| (format!("{HUGE_PAGES}{}", bytes_text(size)), Quantity(bytes_text(bytes)))));
    all
}

/// Parity: the capacity, less what hard thresholds keep free; the disk in bytes.
fn allocatable(engine: &EngineSeen, ground: &Ground) -> BTreeMap<String, Quantity> {
    let mut all = capacity(engine, ground.room.get(&Signal::Nodefs));
    all.insert("memory".to_owned(), kibibytes(memory_left(engine, ground)));
    all.extend(disk_left(ground).map(|room| (EPHEMERAL.to_owned(), Quantity(room.to_string()))));
    all
}

fn memory_left(engine: &EngineSeen, ground: &Ground) -> u64 {
    engine.memory_bytes.saturating_sub(kept_free(ground, Signal::Memory, engine.memory_bytes))
}

fn disk_left(ground: &Ground) -> Option<u64> {
    let disk = ground.room.get(&Signal::Nodefs)?;
    Some(disk.capacity.saturating_sub(kept_free(ground, Signal::Nodefs, disk.capacity)))
}

fn kept_free(ground: &Ground, signal: Signal, capacity: u64) -> u64 {
    let threshold = ground.thresholds.iter().find(|threshold| threshold.signal == signal);
    threshold.map_or(0, |threshold| threshold.least.of(capacity))
}

/// `2Mi`.
fn bytes_text(bytes: u64) -> String {
    crate::model::quantity::Quantity::from_bytes(i64::try_from(bytes).unwrap_or(i64::MAX)).canonical()
}

fn kibibytes(bytes: u64) -> Quantity {
    Quantity(format!("{}Ki", bytes / 1024))
}

/// Parity: the node lifecycle controller keeps pods off a node that is not ready or under pressure, by a taint for each
/// condition. Others' taints stay.
/// Differs: it also sets not-ready with NoExecute, which sends pods to other nodes after 300 s. Here there is no other:
/// containers may outlive their engine's absence, and whatever did not is found when it is back.
fn taints(mut taints: Vec<Taint>, ground: &Ground) -> Option<Vec<Taint>> {
    let pressures = Shortage::ALL.map(|shortage| (shortage.words().taint, ground.pressure.holds(shortage)));
    for (key, holds) in pressures.into_iter().chain([(NOT_READY, ground.engine.is_none())]) {
        let stands = taints.iter().any(|taint| taint.key == key && taint.effect == NO_SCHEDULE);
        match (holds, stands) {
            (true, false) => {
                let effect = NO_SCHEDULE.to_owned();
                taints.push(Taint { key: key.to_owned(), effect, ..Taint::default() });
            }
            (false, true) => taints.retain(|taint| taint.key != key || taint.effect != NO_SCHEDULE),
            (true, true) | (false, false) => {}
        }
    }
    (!taints.is_empty()).then_some(taints)
}

fn info(engine: &EngineSeen) -> NodeSystemInfo {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let machine = read("/etc/machine-id");
    NodeSystemInfo {
        architecture: engine.architecture.clone(),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: engine.runtime_version.clone(),
        kernel_version: engine.kernel.clone(),
        kube_proxy_version: String::new(),
        kubelet_version: KUBELET_VERSION.to_owned(),
        machine_id: machine.clone(),
        operating_system: engine.os.clone(),
        os_image: engine.os_image.clone(),
        system_uuid: machine,
        ..NodeSystemInfo::default()
    }
}

/// Parity: the kubelet's conditions and their texts.
fn conditions(status: &NodeStatus, ground: &Ground, now: Timestamp) -> Vec<NodeCondition> {
    let before = status.conditions.clone().unwrap_or_default();
    let ready = if ground.engine.is_some() {
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status")
    } else {
        ("Ready", "False", "KubeletNotReady", "container runtime is down")
    };
    let pressures = Shortage::ALL.map(|shortage| {
        let (words, short) = (shortage.words(), ground.pressure.holds(shortage));
        let (reason, message) = if short { words.short } else { words.calm };
        (words.kind, if short { "True" } else { "False" }, reason, message)
    });
    let said = pressures.into_iter().chain([ready]);
    said.map(|(kind, holds, reason, message)| {
        let old = before.iter().find(|old| old.type_ == kind && old.status == holds);
        let told = old.and_then(|old| old.last_heartbeat_time.clone());
        let fresh = told.filter(|told| now.duration_since(told.0) < REPORT);
        NodeCondition {
            type_: kind.to_owned(),
            status: holds.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: fresh.or(Some(time::seconds(now))),
            last_transition_time: old.and_then(|old| old.last_transition_time.clone()).or(Some(time::seconds(now))),
        }
    })
    .collect()
}
