//! Owns the one wall to a container engine: the trait, and the plain data that crosses it.
//! Never decides: a runtime does what it is told and says what it sees.
//!
//! Containers are addressed by their deterministic name, so every act can be repeated after a lost reply:
//! a create that finds its own container adopts it, a start of a running one and a removal of a missing one succeed.
//! Only containers that carry this store's id are ever listed, adopted, stopped or removed.

pub mod convert;
pub mod directories;
pub mod discovered;
pub mod docker;
pub mod endpoint;
pub mod enforcement;
pub mod failure;
pub mod fake;
pub mod frames;
pub mod image_copy;
pub mod lag;
pub mod mux;
pub mod podman;
pub mod progress;
pub mod reference;
pub mod registry_auth;
pub mod reply;
pub mod sandbox;
pub mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};

use self::enforcement::Enforcement;
use self::progress::PullSeen;
use self::session::{ExecSpec, Pipe, Session, SessionId, Streams};

/// Label: id of the store that the container belongs to.
pub const LABEL_STORE: &str = "io.jobdock.store";
/// Label: uid of the pod.
pub const LABEL_POD_UID: &str = "io.jobdock.pod.uid";
/// Label: namespace of the pod.
pub const LABEL_POD_NAMESPACE: &str = "io.jobdock.pod.namespace";
/// Label: name of the pod.
pub const LABEL_POD_NAME: &str = "io.jobdock.pod.name";
/// Label: name of the container in the pod; absent on the sandbox.
pub const LABEL_CONTAINER: &str = "io.jobdock.container";
/// Label: how many containers of that name the pod had before this one (its restart count).
pub const LABEL_ATTEMPT: &str = "io.jobdock.attempt";
/// Label of a volume that outlives pods: name of the PersistentVolume.
pub const LABEL_VOLUME: &str = "io.jobdock.volume";
/// Label of a volume that outlives pods: namespace and name of the claim that it was made for.
pub const LABEL_VOLUME_CLAIM: &str = "io.jobdock.volume.claim";

/// Told of a pull's progress, many times a second; it must return at once.
pub type Heard<'a> = &'a (dyn Fn(PullSeen) + Send + Sync);

/// Label of a copy of an image's files: the image's id. On a container: ids of the images that it mounts, with commas.
pub const LABEL_IMAGE: &str = "io.jobdock.image";

/// A container engine.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// What the engine is and can do.
    async fn engine(&self) -> Result<EngineSeen, Error>;

    /// Every container of this store, whatever its state, each as [`Runtime::inspect`] shows it: the cost is one call
    /// for the list and one for each container.
    async fn containers(&self) -> Result<Vec<ContainerSeen>, Error>;

    /// One container, with the facts that only an inspection gives (exit code, OOM flag, times).
    async fn inspect(&self, name: &str) -> Result<Option<ContainerSeen>, Error>;

    /// Creates a container. One of that name that is ours is adopted as it is; another's name is
    /// [`Error::NameTaken`].
    async fn create(&self, spec: &ContainerSpec) -> Result<(), Error>;

    /// Starts a created container; success where it runs or has run already.
    async fn start(&self, name: &str) -> Result<(), Error>;

    /// Holds a container to other limits from now on; those that are 0 stay as they are.
    async fn update(&self, name: &str, limits: &Limits) -> Result<(), Error>;

    /// Sends a signal (`SIGTERM`); success where it no longer runs.
    async fn kill(&self, name: &str, signal: &str) -> Result<(), Error>;

    /// Removes a container and its anonymous volumes, killing it if it runs; success where it is gone.
    async fn remove(&self, name: &str) -> Result<(), Error>;

    /// The container's output from `since` on (inclusive; may repeat the lines of that instant), oldest first.
    /// With `follow` it ends when the container does. The last chunk of a stream may be partial with nothing behind
    /// it: the process ended without a line's end.
    async fn logs(
        &self,
        name: &str,
        since: Option<Timestamp>,
        follow: bool,
    ) -> Result<BoxStream<'static, Result<LogChunk, Error>>, Error>;

    /// Runs a command in a running container (named or by its engine's id), beside its own process. A command that cannot be started says so in its
    /// output and ends with 126 or 127. [`session::run`] does this for a caller who only wants the outcome.
    async fn exec(&self, name: &str, spec: &ExecSpec) -> Result<Session, Error>;

    /// Joins a running container's own streams (it may be given by its engine's id, too): what it writes from now on, and its input where it was made with one.
    async fn attach(&self, name: &str, streams: Streams) -> Result<Session, Error>;

    /// Tells a session's terminal its new size, in characters.
    async fn resize(&self, id: &SessionId, height: u16, width: u16) -> Result<(), Error>;

    /// The exit code of a command; none while it runs. Refused for an attach: the container has its code.
    async fn exec_exit(&self, id: &SessionId) -> Result<Option<i32>, Error>;

    /// Sends a signal (`SIGKILL`) to a command's process; true where it got it or has ended, false where this engine
    /// offers no way (it runs on another machine, or its processes are not ours to signal).
    async fn signal_exec(&self, id: &SessionId, signal: &str) -> Result<bool, Error>;

    /// Connects to a TCP port of a running container as a program in it would, by its own 127.0.0.1; where the engine
    /// leaves no way into its network, by its address from here. Refused, with the reason, where neither answers.
    async fn dial(&self, name: &str, port: u16) -> Result<Pipe, Error>;

    /// An image that the engine has.
    async fn image(&self, reference: &str) -> Result<Option<ImageSeen>, Error>;

    /// Fetches an image from its registry, and tells `heard` as often as the engine says how far it is. Never called
    /// where it is here and the pull policy does not ask for it.
    async fn pull(&self, reference: &str, auth: Option<&RegistryAuth>, heard: Heard<'_>) -> Result<(), Error>;

    /// Every image that the engine has, whoever brought it.
    async fn images(&self) -> Result<Vec<ImageLine>, Error>;

    /// Ids of the images that containers use, whosever they are and whether or not they run.
    async fn images_in_use(&self) -> Result<BTreeSet<String>, Error>;

    /// Takes one name from an image, and with its last name its layers; an id stands for an image without names.
    /// Success where it is gone. Never forced: an image that a container uses stays, with [`Error::Engine`].
    async fn remove_image(&self, reference: &str) -> Result<(), Error>;

    /// Makes sure that an image that the engine has can be mounted, which may take a copy of its files: a labelled
    /// volume, which stays until [`Runtime::remove_volume`]. A copy that was broken off is made again.
    async fn mountable_image(&self, image: &str) -> Result<(), Error>;

    /// Makes sure that the image of the sandbox (which jobdock carries itself) is there; returns its reference.
    async fn sandbox_image(&self) -> Result<String, Error>;

    /// Creates a labelled volume; success where it exists and is ours.
    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), Error>;

    /// Every volume of this store.
    async fn volumes(&self) -> Result<Vec<VolumeSeen>, Error>;

    /// Removes a volume; success where it is gone.
    async fn remove_volume(&self, name: &str) -> Result<(), Error>;

    /// Unpacks a tar archive into a container (running or not) at `path`. Volumes are mounted there, too. The engine
    /// leaves `path` itself as it is, whatever an entry `./` says: to change a directory's mode, upload an entry with
    /// its name to its parent.
    async fn upload(&self, name: &str, path: &str, tar: Bytes) -> Result<(), Error>;

    /// What is at `path` in a container (running or not), volumes included, without following it where it is a link;
    /// links before it are followed inside the container. None where nothing is there.
    async fn entry(&self, name: &str, path: &str) -> Result<Option<EntrySeen>, Error>;

    /// The content of a file in a container (running or not), as [`Runtime::entry`] finds it; none where nothing is there
    /// or it is no plain file. One of more than `most` bytes is refused.
    async fn read(&self, name: &str, path: &str, most: usize) -> Result<Option<Vec<u8>>, Error>;

    /// Bytes that each of these volumes holds; without those that cannot be measured. Costly: the engine may have to walk
    /// through everything that it has.
    async fn volume_bytes(&self, names: &[String]) -> Result<BTreeMap<String, u64>, Error>;

    /// Bytes that a container has written into its own file system. Costly: the engine walks through them.
    async fn written_bytes(&self, name: &str) -> Result<Option<u64>, Error>;

    /// Wakes for what happens to this store's containers by itself (death, OOM, removal; not for the caller's own
    /// creates and starts, whose replies tell it), without end; reconnects by itself and yields [`Hint::Resync`] after
    /// every connect and any gap. Facts come from [`Runtime::inspect`] alone.
    fn hints(&self) -> BoxStream<'static, Hint>;
}

/// What the engine is and can do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineSeen {
    /// `docker 20.10.24`, as a node's `containerRuntimeVersion` tells it: `docker://20.10.24`.
    pub runtime_version: String,
    /// Name of the engine's host.
    pub name: String,
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64` (Go's names, as node labels use them).
    pub architecture: String,
    /// Kernel release.
    pub kernel: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub os_image: String,
    /// Usable CPUs.
    pub cpus: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// The engine runs without root.
    pub rootless: bool,
    /// Root in its containers is another user outside.
    pub own_users: bool,
    /// It gives containers SELinux labels.
    pub selinux: bool,
    /// It can hold containers to AppArmor profiles.
    pub app_armor: bool,
    /// The least `oom_score_adj` that it can give a container.
    pub least_oom_score: i64,
    /// Its runtimes: `runc`, `runsc`.
    pub runtimes: BTreeSet<String>,
    /// Numbered devices that it has found and can hand out.
    pub devices: Devices,
    /// Which limits it enforces.
    pub enforcement: Enforcement,
    /// Address at which containers reach the engine's host; empty where the engine resolves its name by itself, or has
    /// no network that tells.
    pub host_gateway: String,
    /// Another one after each restart of the engine that may have ended containers; empty where it cannot tell.
    pub instance: String,
    /// How far its clock, which stamps what containers do, is ahead of this machine's.
    pub ahead: SignedDuration,
}

/// One container as we want it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerSpec {
    /// Deterministic name.
    pub name: String,
    /// Labels; the runtime adds [`LABEL_STORE`].
    pub labels: BTreeMap<String, String>,
    /// Image reference or id.
    pub image: String,
    /// Replaces the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command. With an entrypoint and no command, the image's command is dropped too.
    pub command: Option<Vec<String>>,
    /// `NAME=value`, later ones win.
    pub env: Vec<String>,
    /// Working directory; the image's where absent.
    pub working_dir: Option<String>,
    /// Host name inside; not with [`Network::Container`].
    pub hostname: Option<String>,
    /// `uid[:gid]`; the image's where absent.
    pub user: Option<String>,
    /// Supplementary groups.
    pub groups: Vec<String>,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// Which network it has.
    pub network: Network,
    /// `name:address` lines for /etc/hosts; not with [`Network::Container`].
    pub extra_hosts: Vec<String>,
    /// Resolver settings; not with [`Network::Container`].
    pub dns: Dns,
    /// Ports that the machine hands on; not with [`Network::Container`] or [`Network::Host`].
    pub ports: Vec<PortSpec>,
    /// Name of the container whose IPC namespace it joins.
    pub ipc_container: Option<String>,
    /// Name of the container whose PID namespace it joins.
    pub pid_container: Option<String>,
    /// The engine host's IPC namespace.
    pub host_ipc: bool,
    /// The engine host's PID namespace.
    pub host_pid: bool,
    /// The engine's runtime that runs it; its default one where absent.
    pub runtime: Option<String>,
    /// What it is held to.
    pub limits: Limits,
    /// How early the kernel kills it when the machine's memory runs out, of -1000 to 1000; the engine's choice where absent.
    pub oom_score_adj: Option<i64>,
    /// Devices that it gets.
    pub devices: Vec<DeviceSpec>,
    /// Signal of a graceful stop, replacing the image's.
    pub stop_signal: Option<String>,
    /// A terminal on its output.
    pub tty: bool,
    /// Standard input kept open.
    pub stdin: bool,
    /// Closes standard input after the first attach.
    pub stdin_once: bool,
    /// All privileges.
    pub privileged: bool,
    /// Root file system read-only.
    pub read_only_root: bool,
    /// Sets `no_new_privs`.
    pub no_new_privileges: bool,
    /// Capabilities added, without `CAP_`.
    pub cap_add: Vec<String>,
    /// Capabilities dropped, without `CAP_`.
    pub cap_drop: Vec<String>,
    /// A seccomp profile of the administrator's, by its path below their directory; whoever creates the container reads
    /// it into [`ContainerSpec::security_opts`] and makes this the whole path.
    pub seccomp_file: Option<String>,
    /// Further `--security-opt` values (seccomp, AppArmor, SELinux).
    pub security_opts: Vec<String>,
    /// Nothing of `/proc` and `/sys` is hidden or made read-only.
    pub unmasked: bool,
    /// Kernel parameters of its namespaces.
    pub sysctls: BTreeMap<String, String>,
}

/// Ids of devices by their kind: `nvidia.com/gpu` has `0` and `1`.
pub type Devices = BTreeMap<String, Vec<String>>;

/// Devices of one kind that a container gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceSpec {
    /// `nvidia.com/gpu`.
    pub kind: String,
    /// `0`, `1`.
    pub ids: Vec<String>,
    /// By the Container Device Interface, which knows them by kind and id; else as `docker run --gpus` asks for them.
    pub cdi: bool,
}

/// What a container is held to; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// CPU in billionths of a core.
    pub cpu_nanos: u64,
    /// Relative CPU weight (cgroup v1 shares); 0 is the engine's default.
    pub cpu_shares: u64,
    /// Memory in bytes, swap included.
    pub memory_bytes: u64,
    /// Processes.
    pub pids: u64,
}

/// The network of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Network {
    /// A namespace of its own on the engine's default network.
    #[default]
    Default,
    /// The host's.
    Host,
    /// A namespace of its own on a network of the engine that somebody else made.
    Named(String),
    /// Shared with the container of this name.
    Container(String),
}

/// Resolver settings of a container; what is empty is the engine's choice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dns {
    /// Addresses of name servers.
    pub servers: Vec<String>,
    /// Search domains; `.` alone for none.
    pub searches: Vec<String>,
    /// `ndots:2`, `edns0`.
    pub options: Vec<String>,
}

/// A port of the machine that leads into a container.
#[derive(Clone, Debug, PartialEq)]
pub struct PortSpec {
    /// The container's.
    pub container: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// The machine's.
    pub host: u16,
    /// Address of the machine; empty for all.
    pub host_ip: String,
}

/// One mount of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Absolute path inside.
    pub target: String,
    /// Not writable inside.
    pub read_only: bool,
    /// Whether mounts made on one side show on the other; of host paths alone.
    pub propagation: Propagation,
    /// Mounts below it are not writable either; an engine that cannot see to that refuses.
    pub recursive_read_only: bool,
}

/// Whether mounts made under a mount show beyond it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// On neither side.
    #[default]
    None,
    /// The host's in the container.
    HostToContainer,
    /// On both sides.
    Bidirectional,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq)]
pub enum MountSource {
    /// A path on the engine's host.
    Bind(PathBuf),
    /// A volume by name, never filled from the image.
    Volume(String),
    /// Part of a volume, which is there and leads through no link.
    SubPath {
        /// The volume's name.
        volume: String,
        /// The path in it.
        path: PathBuf,
    },
    /// The files of an image, or a part of them, which is there and leads through no link. Never writable; made sure of
    /// by [`Runtime::mountable_image`].
    Image {
        /// The image's id.
        image: String,
        /// The part; empty for all.
        path: PathBuf,
    },
    /// A fresh memory file system with this many bytes; 0 is the engine's default.
    Tmpfs {
        /// Size limit in bytes.
        size_bytes: u64,
    },
}

impl Default for MountSource {
    /// An empty memory file system.
    fn default() -> Self {
        Self::Tmpfs { size_bytes: 0 }
    }
}

/// One volume as we want it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VolumeSpec {
    /// Deterministic name.
    pub name: String,
    /// Labels; the runtime adds [`LABEL_STORE`].
    pub labels: BTreeMap<String, String>,
    /// In memory; on disk where absent.
    pub memory: Option<MemoryDisk>,
}

/// A file system in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryDisk {
    /// Its size; 0 is half of the machine's memory.
    pub bytes: u64,
    /// The group that it belongs to, and whatever is made in it.
    pub group: Option<u64>,
}

/// One volume as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeSeen {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A file or directory of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntrySeen {
    /// What it is.
    pub kind: EntryKind,
    /// Its permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Its owner.
    pub uid: u64,
    /// Its group.
    pub gid: u64,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Anything else.
    Other,
}

/// One container as the engine shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerSeen {
    /// Its name, without the leading slash.
    pub name: String,
    /// The engine's id.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Id of the image that it was made from: `sha256:…`.
    pub image_id: String,
    /// Address on its network, while it runs and has one.
    pub ip: Option<String>,
    /// What it is held to, as the engine was told last.
    pub limits: Limits,
    /// What it is doing.
    pub state: Seen,
}

/// What a container is doing.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// Made, never started. `error` is the engine's reason for the last failed start.
    Created {
        /// Why it could not start, if it was tried.
        error: Option<String>,
    },
    /// Its process runs (or is paused).
    Running {
        /// Since when, by the engine's clock.
        started_at: Timestamp,
    },
    /// Its process ended.
    Exited {
        /// Exit code; 128 + signal where a signal ended it.
        code: i32,
        /// The engine's word that the kernel's OOM killer ended it.
        oom_killed: bool,
        /// The engine's reason for a failed start, if any.
        error: Option<String>,
        /// When it started, by the engine's clock.
        started_at: Timestamp,
        /// When it ended, by the engine's clock; never before `started_at`.
        finished_at: Timestamp,
    },
    /// Being removed, or past saving: its output and code are lost, it can only be removed.
    Dead,
}

/// One image that the engine has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageSeen {
    /// `sha256:…` of its configuration.
    pub id: String,
    /// `repository@sha256:…` names, for `imageID`.
    pub repo_digests: Vec<String>,
    /// The user it runs as.
    pub user: Option<String>,
    /// Signal of a graceful stop.
    pub stop_signal: Option<String>,
    /// Bytes of its layers, unpacked.
    pub bytes: u64,
    /// `linux`; empty where it does not say.
    pub os: String,
    /// `amd64`, as Go names it; empty where it does not say.
    pub architecture: String,
}

/// One image of all that the engine has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageLine {
    /// `sha256:…` of its configuration.
    pub id: String,
    /// `repository@sha256:…`.
    pub digests: Vec<String>,
    /// `repository:tag`.
    pub tags: Vec<String>,
    /// Bytes of its layers, unpacked.
    pub bytes: u64,
}

/// Credentials for a registry.
#[derive(Clone, Default, PartialEq)]
pub struct RegistryAuth {
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// Token in place of a password.
    pub identity_token: Option<String>,
    /// The registry's address.
    pub server_address: Option<String>,
}

impl fmt::Debug for RegistryAuth {
    /// Without its secrets, so that no log can hold them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryAuth")
            .field("username", &self.username)
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}

/// Part of a container's output.
#[derive(Clone, Debug, PartialEq)]
pub struct LogChunk {
    /// When the engine read it, to the nanosecond.
    pub at: Timestamp,
    /// From standard error rather than standard output.
    pub stderr: bool,
    /// The bytes, without the line's end.
    pub line: Bytes,
    /// The line goes on in the next chunk of the same stream.
    pub partial: bool,
}

/// A reason to look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Something happened to a container of this pod.
    Pod {
        /// The pod's uid.
        uid: String,
    },
    /// Events may have been missed: look at everything.
    Resync,
}

/// Why a runtime call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine cannot be reached: try again later.
    #[error("the container engine at {endpoint} does not answer")]
    Unreachable {
        /// What was tried.
        endpoint: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The container to act on is not there.
    #[error("no such container: {0}")]
    NoContainer(String),
    /// The image is neither here nor to be had.
    #[error("{0}")]
    NoImage(String),
    /// The name is taken by a container that is not ours.
    #[error("the container name {0} is taken by a container that is not this store's")]
    NameTaken(String),
    /// The engine refused what was asked, in its own words: asking again will not help.
    #[error("{0}")]
    Refused(String),
    /// The engine failed: trying again may help.
    #[error("{0}")]
    Engine(String),
}
