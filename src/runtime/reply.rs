//! PURE. Owns the reading of the engine's replies: which fields are looked at, and what they say about a container,
//! an image, a volume, the engine.
//! Never talks to the engine, and never refuses a reply for a field or a word that it does not know: engines add
//! both, and a container that cannot be read would be lost.
//!
//! Docker's words for a container's state, and ours:
//!
//! ```text
//! created                      -> Created   (with the reason, where a start has failed: EDGES D14)
//! running paused restarting    -> Running   (podman: stopping)
//! exited                       -> Exited    (podman: stopped)
//! removing dead                -> Dead      (D17: output lost, only removal is left)
//! ```

use core::net::Ipv4Addr;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::discovered::{DeviceReply, numbered};
use super::enforcement::{LimitsReply, enforcement};
use super::{
    ContainerSeen, EngineSeen, EntryKind, EntrySeen, Hint, ImageLine, ImageSeen, LABEL_POD_UID, Limits, Seen,
    VolumeSeen,
};

/// A field that may be missing or null; both mean the default.
pub(super) fn lenient<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// `GET /containers/NAME/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerReply {
    #[serde(deserialize_with = "lenient")]
    id: String,
    #[serde(deserialize_with = "lenient")]
    name: String,
    #[serde(deserialize_with = "lenient")]
    created: String,
    #[serde(deserialize_with = "lenient")]
    image: String,
    #[serde(deserialize_with = "lenient")]
    state: StateReply,
    #[serde(deserialize_with = "lenient")]
    config: ConfigReply,
    #[serde(deserialize_with = "lenient")]
    network_settings: NetworkReply,
    #[serde(deserialize_with = "lenient")]
    host_config: HostConfigReply,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct HostConfigReply {
    #[serde(deserialize_with = "lenient")]
    cpu_quota: i64,
    #[serde(deserialize_with = "lenient")]
    cpu_period: i64,
    #[serde(deserialize_with = "lenient")]
    cpu_shares: i64,
    #[serde(deserialize_with = "lenient")]
    memory: i64,
    #[serde(deserialize_with = "lenient")]
    pids_limit: i64,
}

impl HostConfigReply {
    /// No limit is 0, or below.
    fn limits(&self) -> Limits {
        let set = |value: i64| u64::try_from(value).unwrap_or(0);
        Limits {
            cpu_nanos: set(self.cpu_quota).saturating_mul(1_000_000_000).checked_div(set(self.cpu_period)).unwrap_or(0),
            cpu_shares: set(self.cpu_shares),
            memory_bytes: set(self.memory),
            pids: set(self.pids_limit),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct StateReply {
    #[serde(deserialize_with = "lenient")]
    status: String,
    #[serde(deserialize_with = "lenient")]
    running: bool,
    #[serde(deserialize_with = "lenient")]
    dead: bool,
    #[serde(rename = "OOMKilled", deserialize_with = "lenient")]
    oom_killed: bool,
    #[serde(deserialize_with = "lenient")]
    exit_code: i64,
    #[serde(deserialize_with = "lenient")]
    error: String,
    #[serde(deserialize_with = "lenient")]
    started_at: String,
    #[serde(deserialize_with = "lenient")]
    finished_at: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ConfigReply {
    #[serde(deserialize_with = "lenient")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient")]
    user: String,
    #[serde(deserialize_with = "lenient")]
    stop_signal: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct NetworkReply {
    #[serde(deserialize_with = "lenient")]
    networks: BTreeMap<String, EndpointReply>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EndpointReply {
    #[serde(rename = "IPAddress", deserialize_with = "lenient")]
    v4: String,
    #[serde(rename = "GlobalIPv6Address", deserialize_with = "lenient")]
    v6: String,
}

/// `GET /containers/NAME/json`, for what is mounted alone.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MountsReply {
    #[serde(deserialize_with = "lenient")]
    mounts: Vec<MountReply>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct MountReply {
    #[serde(rename = "Type", deserialize_with = "lenient")]
    kind: String,
    #[serde(deserialize_with = "lenient")]
    destination: String,
}

impl MountsReply {
    /// Where the container has volumes.
    pub fn volumes(self) -> Vec<String> {
        self.mounts.into_iter().filter(|mount| mount.kind == "volume").map(|mount| mount.destination).collect()
    }
}

/// What an inspection says.
pub fn container_seen(reply: ContainerReply) -> ContainerSeen {
    let state = state_seen(&reply.state, time(&reply.created));
    // D11: the address at the top of the settings is gone since API 1.52; the networks have it in all versions.
    let addresses = reply.network_settings.networks.into_values();
    let ip = addresses.flat_map(|endpoint| [endpoint.v4, endpoint.v6]).find(|address| !address.is_empty());
    // Podman goes on to show the address of a container that has ended.
    let ip = ip.filter(|_| matches!(state, Seen::Running { .. }));
    ContainerSeen {
        name: reply.name.trim_start_matches('/').to_owned(),
        id: reply.id,
        labels: reply.config.labels,
        image_id: reply.image,
        limits: reply.host_config.limits(),
        ip,
        state,
    }
}

/// How Docker 28 notes a start that it gave up because its caller had gone (a daemon that was killed): nothing is wrong
/// with the container, and it can be started again.
const CALLER_GONE: &str = "context canceled";

fn state_seen(state: &StateReply, created: Option<Timestamp>) -> Seen {
    let error = (!state.error.is_empty() && !state.error.contains(CALLER_GONE)).then(|| state.error.clone());
    let started = time(&state.started_at);
    let finished = time(&state.finished_at);
    // A container that has run has a start time; creation stands in for one that an engine lost.
    let fallback = created.unwrap_or(Timestamp::UNIX_EPOCH);
    let running = || Seen::Running { started_at: started.unwrap_or(fallback) };
    let begun = started.or(finished).unwrap_or(fallback);
    let exited = || Seen::Exited {
        code: i32::try_from(state.exit_code).unwrap_or(i32::MAX),
        // D13: the engine's flag alone; 137 is any SIGKILL.
        oom_killed: state.oom_killed,
        error: error.clone(),
        started_at: begun,
        // D28: the engine notes the start of a short process after its end has come in, and clocks jump: a process
        // never ends before it starts.
        finished_at: finished.unwrap_or(begun).max(begun),
    };
    match state.status.as_str() {
        "created" | "configured" | "initialized" => Seen::Created { error },
        "running" | "paused" | "restarting" | "stopping" => running(),
        "exited" | "stopped" => exited(),
        "removing" | "dead" => Seen::Dead,
        // A word that we do not know: the flags and times tell.
        _ if state.dead => Seen::Dead,
        _ if state.running => running(),
        _ if finished.is_some() => exited(),
        _ => Seen::Created { error },
    }
}

/// An engine's time; its zero (`0001-01-01T00:00:00Z`) and what cannot be read are none.
fn time(text: &str) -> Option<Timestamp> {
    let parsed: Timestamp = text.parse().ok()?;
    // Go's zero time, which some engines write with a local offset: no container is older than this century.
    (parsed > Timestamp::UNIX_EPOCH).then_some(parsed)
}

/// One line of `GET /containers/json`: only what finds the container again.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerLine {
    /// The engine's id.
    #[serde(deserialize_with = "lenient")]
    pub id: String,
    #[serde(rename = "ImageID", deserialize_with = "lenient")]
    image: String,
}

/// The image that a listed container was made from.
pub fn image_used(line: ContainerLine) -> String {
    with_algorithm(line.image)
}

/// `GET /images/NAME/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageReply {
    #[serde(deserialize_with = "lenient")]
    id: String,
    #[serde(deserialize_with = "lenient")]
    repo_digests: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    config: ConfigReply,
    #[serde(deserialize_with = "lenient")]
    size: i64,
    #[serde(deserialize_with = "lenient")]
    os: String,
    #[serde(deserialize_with = "lenient")]
    architecture: String,
}

/// What an image's inspection says.
pub fn image_seen(reply: ImageReply) -> ImageSeen {
    ImageSeen {
        id: with_algorithm(reply.id),
        repo_digests: reply.repo_digests,
        user: Some(reply.config.user).filter(|user| !user.is_empty()),
        stop_signal: Some(reply.config.stop_signal).filter(|signal| !signal.is_empty()),
        bytes: u64::try_from(reply.size).unwrap_or(0),
        os: reply.os,
        architecture: go_architecture(&reply.architecture).to_owned(),
    }
}

/// One line of `GET /images/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageLineReply {
    #[serde(deserialize_with = "lenient")]
    id: String,
    #[serde(deserialize_with = "lenient")]
    repo_digests: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    repo_tags: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    size: i64,
}

/// What a listing says of an image. Docker writes `<none>` for a part that is not there.
pub fn image_line(reply: ImageLineReply) -> ImageLine {
    let named = |names: Vec<String>| names.into_iter().filter(|name| !name.contains("<none>")).collect();
    ImageLine {
        id: with_algorithm(reply.id),
        digests: named(reply.repo_digests),
        tags: named(reply.repo_tags),
        bytes: u64::try_from(reply.size).unwrap_or(0),
    }
}

/// Podman leaves the algorithm away.
fn with_algorithm(id: String) -> String {
    if id.contains(':') { id } else { format!("sha256:{id}") }
}

/// `GET /volumes`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumesReply {
    /// All that match.
    #[serde(deserialize_with = "lenient")]
    pub volumes: Vec<VolumeReply>,
}

/// One volume, as listed or as just created.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeReply {
    #[serde(deserialize_with = "lenient")]
    name: String,
    #[serde(deserialize_with = "lenient")]
    labels: BTreeMap<String, String>,
    /// Where it lies on the engine's host.
    #[serde(deserialize_with = "lenient")]
    pub mountpoint: String,
    #[serde(deserialize_with = "lenient")]
    usage_data: VolumeUsageReply,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct VolumeUsageReply {
    /// Below zero where it is not known.
    #[serde(deserialize_with = "lenient")]
    size: i64,
}

/// `GET /system/df`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct UsageReply {
    #[serde(deserialize_with = "lenient")]
    volumes: Vec<VolumeReply>,
}

/// What each volume holds, as far as the engine knows.
pub fn volume_bytes(reply: UsageReply) -> BTreeMap<String, u64> {
    let sized = reply.volumes.into_iter().filter_map(|one| Some((one.name, u64::try_from(one.usage_data.size).ok()?)));
    sized.collect()
}

/// `GET /containers/…/json?size=true`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SizeReply {
    size_rw: Option<i64>,
}

impl SizeReply {
    /// Bytes that the container has written into its own file system.
    pub fn written(&self) -> Option<u64> {
        u64::try_from(self.size_rw?).ok()
    }
}

/// The first entry of an archive, of which the head is here.
pub fn entry_seen(head: &[u8]) -> Option<EntrySeen> {
    let mut archive = tar::Archive::new(head);
    let entry = archive.entries().ok()?.next()?.ok()?;
    let header = entry.header();
    Some(EntrySeen {
        kind: match header.entry_type() {
            tar::EntryType::Directory => EntryKind::Directory,
            tar::EntryType::Symlink => EntryKind::Link,
            _file => EntryKind::Other,
        },
        mode: header.mode().ok()? & 0o7777,
        uid: header.uid().ok()?,
        gid: header.gid().ok()?,
    })
}

/// What a listing says of a volume.
pub fn volume_seen(reply: VolumeReply) -> VolumeSeen {
    VolumeSeen { name: reply.name, labels: reply.labels }
}

/// `GET /info`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct InfoReply {
    #[serde(deserialize_with = "lenient")]
    name: String,
    #[serde(rename = "OSType", deserialize_with = "lenient")]
    os_type: String,
    #[serde(deserialize_with = "lenient")]
    architecture: String,
    #[serde(deserialize_with = "lenient")]
    kernel_version: String,
    #[serde(deserialize_with = "lenient")]
    operating_system: String,
    #[serde(deserialize_with = "lenient")]
    server_version: String,
    #[serde(rename = "NCPU", deserialize_with = "lenient")]
    cpus: i64,
    #[serde(deserialize_with = "lenient")]
    mem_total: i64,
    #[serde(deserialize_with = "lenient")]
    cgroup_version: String,
    #[serde(deserialize_with = "lenient")]
    system_time: String,
    #[serde(deserialize_with = "lenient")]
    security_options: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    warnings: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    runtimes: BTreeMap<String, IgnoredAny>,
    /// Since API 1.50.
    #[serde(deserialize_with = "lenient")]
    discovered_devices: Vec<DeviceReply>,
    #[serde(flatten)]
    limits: LimitsReply,
}

/// `GET /version`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VersionReply {
    #[serde(deserialize_with = "lenient")]
    version: String,
    #[serde(deserialize_with = "lenient")]
    arch: String,
    #[serde(deserialize_with = "lenient")]
    components: Vec<ComponentReply>,
    /// Newest API that the engine speaks.
    #[serde(deserialize_with = "lenient")]
    pub api_version: String,
    /// Oldest API that the engine speaks.
    #[serde(rename = "MinAPIVersion", deserialize_with = "lenient")]
    pub min_api_version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ComponentReply {
    #[serde(deserialize_with = "lenient")]
    name: String,
}

impl VersionReply {
    /// Podman behind Docker's API.
    pub fn is_podman(&self) -> bool {
        self.components.iter().any(|component| component.name.contains("Podman"))
    }
}

/// What the engine says of itself.
pub fn engine_seen(info: InfoReply, version: &VersionReply) -> EngineSeen {
    let podman = version.is_podman();
    let number = if version.version.is_empty() { &info.server_version } else { &version.version };
    let architecture = if version.arch.is_empty() { &info.architecture } else { &version.arch };
    // 20.10 and later tell; one that does not is older than version 2.
    let cgroup_version = if info.cgroup_version == "2" { 2 } else { 1 };
    let secured = |sign: &str| info.security_options.iter().any(|option| option.contains(sign));
    let (rootless, app_armor) = (secured("rootless"), secured("apparmor"));
    EngineSeen {
        runtime_version: format!("{}://{number}", if podman { "podman" } else { "docker" }),
        enforcement: enforcement(&info.limits, &info.warnings, cgroup_version, rootless),
        name: info.name,
        os: if info.os_type.is_empty() { "linux".to_owned() } else { info.os_type },
        architecture: go_architecture(architecture).to_owned(),
        kernel: info.kernel_version,
        os_image: info.operating_system,
        cpus: u64::try_from(info.cpus).unwrap_or(0),
        memory_bytes: u64::try_from(info.mem_total).unwrap_or(0),
        cgroup_version,
        rootless,
        own_users: rootless || secured("name=userns"),
        selinux: secured("name=selinux"),
        app_armor,
        least_oom_score: 0,
        runtimes: info.runtimes.into_keys().collect(),
        devices: numbered(info.discovered_devices),
        host_gateway: String::new(),
        instance: String::new(),
        ahead: SignedDuration::ZERO,
    }
}

/// How far the engine's clock is ahead of one that shows `now`; not at all where it does not tell.
pub fn ahead(info: &InfoReply, now: Timestamp) -> SignedDuration {
    time(&info.system_time).map_or(SignedDuration::ZERO, |theirs| theirs.duration_since(now))
}

/// `GET /networks/bridge`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct BridgeReply {
    /// The engine makes this network anew whenever it starts with no container left running.
    #[serde(deserialize_with = "lenient")]
    pub id: String,
    #[serde(rename = "IPAM", deserialize_with = "lenient")]
    ipam: IpamReply,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct IpamReply {
    #[serde(deserialize_with = "lenient")]
    config: Vec<IpamPoolReply>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct IpamPoolReply {
    #[serde(deserialize_with = "lenient")]
    gateway: String,
    #[serde(deserialize_with = "lenient")]
    subnet: String,
}

/// D26: whether the engine runs in a virtual machine of its own, by what it calls its operating system.
pub fn is_virtual_machine(os_image: &str) -> bool {
    os_image.contains("Docker Desktop")
}

/// The engine's own network has an address on the engine's host. D26: where that host is a virtual machine, its name
/// means the machine around it, which only the engine's resolver knows.
pub fn host_gateway(bridge: &BridgeReply, os_image: &str) -> String {
    if is_virtual_machine(os_image) {
        return String::new();
    }
    let pools = bridge.ipam.config.iter();
    pools
        .filter_map(|pool| Some(pool.gateway.clone()).filter(|ip| !ip.is_empty()).or_else(|| first(&pool.subnet)))
        .next()
        .unwrap_or_default()
}

/// The first address of a network, which the engine takes for itself where it shows no gateway (20.10 does not show
/// that of its own network).
fn first(subnet: &str) -> Option<String> {
    let (base, _) = subnet.split_once('/')?;
    let base: Ipv4Addr = base.parse().ok()?;
    Some(Ipv4Addr::from(u32::from(base).checked_add(1)?).to_string())
}

/// The kernel's name of a processor as Go, and so Kubernetes, calls it.
fn go_architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armv6l" => "arm",
        "i386" | "i686" => "386",
        other => other,
    }
}

/// One line of `GET /events`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct EventReply {
    #[serde(rename = "Actor", deserialize_with = "lenient")]
    actor: ActorReply,
    #[serde(rename = "timeNano", deserialize_with = "lenient")]
    nanos: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ActorReply {
    #[serde(deserialize_with = "lenient")]
    attributes: BTreeMap<String, String>,
}

/// Whom an event wakes, and when it happened by the engine's clock (nanoseconds since 1970, 0 where it does not say).
pub fn hint(event: EventReply) -> (Hint, i64) {
    let mut attributes = event.actor.attributes;
    let hint = match attributes.remove(LABEL_POD_UID) {
        Some(uid) => Hint::Pod { uid },
        None => Hint::Resync,
    };
    (hint, event.nanos)
}

/// One line of the progress of a pull, load or build.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ProgressReply {
    /// What is said, of a layer or of all.
    #[serde(deserialize_with = "lenient")]
    pub status: String,
    /// The layer; or the tag, in the first line.
    #[serde(deserialize_with = "lenient")]
    pub id: String,
    /// How far it is with that.
    #[serde(rename = "progressDetail", deserialize_with = "lenient")]
    pub amount: AmountReply,
    #[serde(deserialize_with = "lenient")]
    error: String,
    #[serde(rename = "errorDetail", deserialize_with = "lenient")]
    detail: ErrorDetailReply,
}

/// Bytes done, and of how many; zero where it does not say.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct AmountReply {
    /// Done.
    #[serde(deserialize_with = "lenient")]
    pub current: i64,
    /// In all.
    #[serde(deserialize_with = "lenient")]
    pub total: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorDetailReply {
    #[serde(deserialize_with = "lenient")]
    message: String,
}

/// The failure that a line of progress tells, if it does (D24: under a status of 200).
pub fn progress_failure(line: &ProgressReply) -> Option<String> {
    [&line.detail.message, &line.error].into_iter().find(|message| !message.is_empty()).cloned()
}
