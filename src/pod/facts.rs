//! PURE. Owns the two ends of the pod's decision: the facts that `observe` gathers and the plan that `apply` carries
//! out. Never decides: that is `plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, PodStatus, Secret, Service};

use super::backoff::Restarts;
use super::devices::{self, DevicesFact};
use super::env_file::{EnvFile, EnvRead};
use super::hook;
use super::mounts::SubPath;
use super::probe::{self, Check, Watch};
use super::tokens::{Reach, Wanted};
use super::volumes_plan::VolumeWork;
use crate::model::event::Severity;
use crate::runtime::enforcement::Enforcement;
use crate::runtime::progress::PullSeen;
use crate::runtime::{ContainerSeen, ContainerSpec, Devices, ImageSeen, Limits};

/// Everything that decides what becomes of one pod.
#[derive(Clone, Debug, Default)]
pub struct PodFacts {
    /// The pod as it is stored.
    pub pod: Pod,
    /// The node that this agent is.
    pub node: NodeFacts,
    /// Every container of the pod that the engine has, sandbox included, inspected since their last hint.
    pub containers: Vec<ContainerSeen>,
    /// What is known of the image of each container that may have to start, by container name.
    pub images: BTreeMap<String, ImageFact>,
    /// What is known of the images of the pod's image volumes, by volume name; where a container may have to start.
    pub image_volumes: BTreeMap<String, ImageFact>,
    /// Images (by id) that are being made mountable for the pod, and whether they are.
    pub mountable: BTreeMap<String, bool>,
    /// The ConfigMaps and Secrets that the pod names.
    pub sources: Sources,
    /// How far the pod's volumes are.
    pub volumes: VolumesFact,
    /// The files of volumes made from objects are as the objects are, as far as is known.
    pub files_fresh: bool,
    /// The pod uses more storage than it may: what the kubelet says of it.
    pub exceeded: Option<String>,
    /// When the pod's tokens are to be replaced; none where it has none, or was not given them yet.
    pub tokens_due: Option<Timestamp>,
    /// Attempts whose output is kept to its end.
    pub logs_finished: BTreeSet<Attempt>,
    /// Attempts whose output is being copied now.
    pub logs_followed: BTreeSet<Attempt>,
    /// The last part of the log of ended containers that ask for it.
    pub log_tails: BTreeMap<Attempt, String>,
    /// What ended containers wrote to their termination message files.
    pub messages: BTreeMap<Attempt, String>,
    /// Creates and starts that the engine did not do, by container name; the sandbox's under the empty name.
    pub failures: BTreeMap<String, StartFailure>,
    /// Restart back-off, by container name.
    pub restarts: BTreeMap<String, Restarts>,
    /// Engine names of containers that this agent has started itself.
    pub begun: BTreeSet<String>,
    /// How far hooks are.
    pub hooks: BTreeMap<hook::Key, hook::Fact>,
    /// Probes that were begun.
    pub probes: BTreeMap<probe::Key, ProbeFact>,
    /// Engine names of containers that were already asked to stop, and when.
    pub asked_to_stop: BTreeMap<String, Timestamp>,
    /// Engine names of containers that were already killed.
    pub killed: BTreeSet<String>,
    /// Engine names of containers whose limits were changed, and to what.
    pub resized: BTreeMap<String, Limits>,
    /// Engine names of containers whose limits the engine did not change.
    pub resize_failures: BTreeMap<String, ResizeFailure>,
    /// The last time that the engine or the machine restarted, where that is known.
    pub outage: Option<Outage>,
    /// Reference of the sandbox image, once this agent has made sure of it.
    pub sandbox_image: Option<String>,
    /// Whether the pod has its devices.
    pub devices: DevicesFact,
    /// What the pod's hosts file says of the pod itself, once it was written in this life of the agent.
    pub hosts_head: Option<String>,
    /// The machine's own hosts file, for a pod in its network.
    pub machine_hosts: Option<String>,
    /// The pod has volumes or files that are to be removed when it ends.
    pub has_data: bool,
}

impl PodFacts {
    /// Whether this run of a container was stopped to be started anew, whatever its exit code says.
    pub fn again(&self, container: &str, attempt: u32) -> bool {
        self.restarts.get(container).is_some_and(|entry| entry.again == Some(attempt))
    }
}

/// A probe that was begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeFact {
    /// It is looked at again and again.
    pub working: bool,
    /// What it has come to.
    pub result: Option<bool>,
}

/// Who in a pod needs an image.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ImageUser {
    /// A run of a container.
    Container(Attempt),
    /// A volume, by its name in the pod.
    Volume(String),
}

impl ImageUser {
    /// The container that Events about the image are about; none where they are about the pod.
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::Container(run) => Some(&run.container),
            Self::Volume(_) => None,
        }
    }
}

/// One run of one container of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt {
    /// The container's name in the pod.
    pub container: String,
    /// How many runs came before.
    pub number: u32,
}

/// The node, as far as a pod sees it.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    /// `metadata.name` of the Node.
    pub name: String,
    /// Its internal address.
    pub ip: String,
    /// Its operating system, as Go names it; empty where that is not known.
    pub os: String,
    /// Its processor, likewise.
    pub architecture: String,
    /// CPU that pods may use, in billionths of a core.
    pub cpu_nanos: i128,
    /// Memory that pods may use, in bytes.
    pub memory_bytes: i128,
    /// Disk that pods may use, in bytes; none where that is not known.
    pub storage_bytes: Option<i128>,
    /// All of the machine's memory, in bytes.
    pub memory_capacity: i128,
    /// The most processes that a container may have; none for no bound.
    pub pids_limit: Option<u64>,
    /// Which limits the engine enforces.
    pub enforcement: Enforcement,
    /// The least `oom_score_adj` that the engine can give.
    pub least_oom_score: i64,
    /// The engine can hold containers to AppArmor profiles.
    pub app_armor: bool,
    /// Devices that the node offers.
    pub devices: Devices,
    /// Those of them that the engine has found itself.
    pub found_devices: Devices,
    /// The engine runs in a virtual machine of its own.
    pub virtual_machine: bool,
    /// Root in a container is another user on the machine.
    pub own_users: bool,
    /// The engine gives containers SELinux labels.
    pub selinux: bool,
    /// The engine's runtimes.
    pub runtimes: BTreeSet<String>,
    /// What runs the pod's containers.
    pub runtime: RuntimeFact,
    /// Directory of the pod's files on the engine's host.
    pub pod_dir: String,
    /// Where the API listens.
    pub api: Reach,
    /// The file on the engine's host that the pod has as its hosts file; none where the engine makes one.
    pub hosts_file: Option<String>,
    /// Address at which pods reach the machine; empty where that is not known.
    pub gateway: String,
    /// The machine's resolver settings, for a pod that adds to them.
    pub resolv_conf: String,
}

/// What a pod's RuntimeClass has its containers run by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RuntimeFact {
    /// It names none: whatever the engine takes.
    #[default]
    Default,
    /// The class's handler, which is a runtime of the engine or should be.
    Handler(String),
    /// The class, which is not there any more.
    NoClass(String),
}

/// What the pod names and the store has.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// By name, of the pod's namespace.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// By name, of the pod's namespace.
    pub secrets: BTreeMap<String, Secret>,
    /// By name, of the pod's namespace.
    pub claims: BTreeMap<String, PersistentVolumeClaim>,
    /// Those that the claims are bound to, by name.
    pub volumes: BTreeMap<String, PersistentVolume>,
    /// Ids of the images of the pod's image volumes that are here, by volume name.
    pub images: BTreeMap<String, String>,
    /// Fresh tokens of the pod's account.
    pub tokens: BTreeMap<Wanted, String>,
    /// Files that variables come from, as they were read last, by container name.
    pub env_files: BTreeMap<String, EnvRead>,
    /// All of the pod's namespace, for a pod that wants to be told of them.
    pub services: Vec<Service>,
}

/// The state of an image for one of its users.
#[derive(Clone, Debug, PartialEq)]
pub enum ImageFact {
    /// The reference is malformed, with the reason.
    Invalid(String),
    /// The engine has it and the pull policy is content.
    Ready {
        /// What it is.
        image: ImageSeen,
        /// It was pulled for this very user.
        pulled: bool,
    },
    /// The engine does not have it, or the policy asks for a fresh one.
    Wanted,
    /// The policy is Never and the engine does not have it.
    NeverPulled,
    /// It is being fetched.
    Pulling {
        /// How far that is, as it was last told; none in its first seconds.
        told: Option<PullSeen>,
    },
    /// The last fetch failed.
    Failed {
        /// The engine's words.
        message: String,
        /// When it failed.
        at: Timestamp,
        /// When it is tried again.
        retry_at: Timestamp,
    },
}

/// How far the pod's volumes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VolumesFact {
    /// Not looked at since this agent began.
    #[default]
    Unknown,
    /// All stand.
    Ready,
    /// One cannot be had; it is tried again at that time.
    Failed {
        /// When it is tried again.
        retry_at: Timestamp,
    },
}

/// A create or start that the engine refused or failed.
#[derive(Clone, Debug, PartialEq)]
pub struct StartFailure {
    /// Which of the two.
    pub step: StartStep,
    /// The engine's words.
    pub message: String,
    /// When it is tried again.
    pub retry_at: Timestamp,
}

/// A change of limits that the engine refused or failed.
#[derive(Clone, Debug, PartialEq)]
pub struct ResizeFailure {
    /// The engine's words.
    pub message: String,
    /// When it is tried again.
    pub retry_at: Timestamp,
}

/// The two steps to a running container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartStep {
    /// What it mounts is made sure of.
    Configure,
    /// The engine makes it.
    Create,
    /// The engine starts it.
    Start,
}

/// A time in which the engine could not be watched and began anew. What ended in it may have ended otherwise than
/// the engine says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The engine was last seen in its old life.
    pub from: Timestamp,
    /// The engine was first seen in its new life.
    pub to: Timestamp,
}

/// What to do about one pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodPlan {
    /// The status that it should have; none where the pod is not this agent's matter.
    pub status: Option<PodStatus>,
    /// Events that go with that status.
    pub events: Vec<Note>,
    /// Restart back-off to keep with that status, where it changed.
    pub restarts: Option<BTreeMap<String, Restarts>>,
    /// What to do after that commit, in order.
    pub actions: Vec<Action>,
    /// When to look again if nothing happens until then.
    pub wake_at: Option<Timestamp>,
}

/// An Event about the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Who says it.
    pub component: &'static str,
    /// How serious it is.
    pub severity: Severity,
    /// Upstream's reason.
    pub reason: &'static str,
    /// Upstream's text.
    pub message: String,
    /// The container that it is about.
    pub container: Option<String>,
}

/// One act on the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Makes the pod's volumes.
    PrepareVolumes(Vec<VolumeWork>),
    /// Writes the files of volumes anew, where the objects that they are made from have changed or tokens are to be
    /// replaced.
    RefreshFiles(Vec<VolumeWork>),
    /// Gives the pod devices of its own.
    AssignDevices(devices::Wanted),
    /// Finds or makes the sandbox image.
    PrepareSandboxImage,
    /// Fetches an image.
    Pull {
        /// Who waits for it.
        user: ImageUser,
        /// The image's reference.
        image: String,
    },
    /// Makes an image mountable.
    MountImage {
        /// The container that waits for it.
        container: String,
        /// The image's id.
        image: String,
    },
    /// Writes the pod's hosts file and keeps it up to date from then on.
    WriteHosts {
        /// The part that is about the pod.
        head: String,
    },
    /// Creates and starts the sandbox.
    StartSandbox(Box<ContainerSpec>),
    /// Reads the files that a run's variables come from.
    ReadEnvFiles {
        /// Which run.
        attempt: Attempt,
        /// The files.
        files: Vec<EnvFile>,
        /// The container through which the engine's volumes are reached.
        holder: Option<Box<ContainerSpec>>,
    },
    /// Creates a container (adopting one of that name), then starts it.
    Start {
        /// Which run this is.
        attempt: Attempt,
        /// What to create; none where the engine has it already.
        create: Option<Box<ContainerSpec>>,
        /// Its engine name.
        name: String,
        /// File on the engine's host to make for its termination message.
        message_file: Option<String>,
        /// Parts of volumes that it mounts, and the container through which the engine's are reached.
        parts: Box<(Vec<SubPath>, Option<ContainerSpec>)>,
    },
    /// Copies a container's output into the store until it ends, then marks the log complete; only the latter where
    /// the engine no longer has the container.
    FollowLogs {
        /// Which run.
        attempt: Attempt,
        /// Its engine name.
        name: String,
    },
    /// Begins a probe.
    Probe(Box<Watch>),
    /// Ends a probe; what it has come to stays.
    EndProbe {
        /// Which.
        key: probe::Key,
    },
    /// Begins a hook.
    Hook {
        /// Which.
        key: hook::Key,
        /// The container's name in the pod.
        container: String,
        /// What it does.
        check: Check,
        /// How long it is waited for; for ever where absent.
        limit: Option<Duration>,
    },
    /// Holds a running container to other limits.
    Resize {
        /// Its engine name.
        name: String,
        /// What it is held to from then on.
        limits: Limits,
    },
    /// Asks a container to stop.
    Stop {
        /// Its engine name.
        name: String,
        /// The signal, with the image's own as default.
        signal: Option<String>,
    },
    /// Ends a container at once.
    Kill {
        /// Its engine name.
        name: String,
    },
    /// Removes a container whose end is recorded.
    RemoveContainer {
        /// Its engine name.
        name: String,
    },
    /// Removes the pod's volumes and files, not its logs.
    RemoveData {
        /// The engine's volumes, by name.
        engine_volumes: Vec<String>,
    },
    /// The pod has ended: removes the object, or lets it go when its last finalizer does.
    FinishDeletion,
}
