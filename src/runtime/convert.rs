//! PURE. Owns the translation of what we want into the engine's words: a [`ContainerSpec`] into the body of a create,
//! a [`VolumeSpec`] likewise, an id of a store into filters; and what makes a container ours.
//! Never talks to the engine; the way back is `reply`.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, DeviceRequest, HealthConfig, HostConfig, HostConfigLogConfig,
    Mount as EngineMount, MountBindOptions, MountBindOptionsPropagationEnum, MountImageOptions, MountTmpfsOptions,
    MountType, MountVolumeOptions, PortBinding, VolumeCreateRequest,
};
use jiff::Timestamp;
use serde_json::json;

use super::sandbox::SANDBOX_IMAGE;
use super::{
    ContainerSpec, DeviceSpec, LABEL_ATTEMPT, LABEL_CONTAINER, LABEL_POD_UID, LABEL_STORE, Limits, MemoryDisk, Mount,
    MountSource, Network, PortSpec, Propagation, RegistryAuth, VolumeSpec,
};

/// D21: Docker's default never rotates, so one container could fill the disk; another driver could not be read. The
/// lines are copied into our own files while the container runs, so this only has to outlast a pause of that copy.
/// Of the drivers that can be read, `local` would keep bytes that are no UTF-8 (this one writes U+FFFD for them), but
/// on 20.10 it loses the end of each line over 16 KiB, and podman does not have it.
const LOG_DRIVER: &str = "json-file";
/// Size at which the engine begins a new log file. Following skips whole files once it is more than one behind (seen on
/// 20.10, where a flood outran the copy at 10 MiB and most of it was lost without a word), so one holds a long lead. A
/// rotation there can also cost a follower the line at the boundary, and nothing tells; rare rotations make that rare.
const LOG_MAX_SIZE: &str = "100m";
/// Log files kept. More than one, or following would stall at each rotation (D18).
const LOG_MAX_FILES: &str = "3";
/// Permissions of a memory file system's root: everybody's, as the kubelet makes an emptyDir.
const TMPFS_MODE: i64 = 0o777;
/// What is made in a directory with it belongs to the directory's group.
const SETGID: i64 = 0o2000;
/// Microseconds of a period of CPU time. Parity: the kubelet's `quotaPeriod`.
const CPU_PERIOD: u64 = 100_000;
/// The health check of no image is run. Parity: a kubelet has probes, and the containers of dockershim had none either.
const NO_HEALTH_CHECK: &str = "NONE";
/// Events that wake a pod. Those of our own creates and starts are left out: their replies have told us already.
/// Podman calls a death `died` and a removal `remove` in its filters, and `die` in the event itself.
const WAKING_EVENTS: [&str; 5] = ["die", "died", "oom", "destroy", "remove"];

/// The body of a create. Never with `AutoRemove` (D6: the exit code would be lost) and never with `Init` (D22:
/// Kubernetes has none, and it changes what a signal means).
pub fn create_body(spec: &ContainerSpec, store_id: &str) -> ContainerCreateBody {
    let joined = matches!(spec.network, Network::Container(_));
    ContainerCreateBody {
        hostname: if joined { None } else { spec.hostname.clone() },
        user: spec.user.clone(),
        tty: some_if(spec.tty),
        open_stdin: some_if(spec.stdin),
        stdin_once: some_if(spec.stdin && spec.stdin_once),
        env: some_list(last_wins(&spec.env)),
        cmd: spec.command.clone().and_then(some_list),
        entrypoint: spec.entrypoint.clone().and_then(some_list),
        image: Some(spec.image.clone()),
        working_dir: spec.working_dir.clone(),
        labels: Some(with_store(&spec.labels, store_id)),
        stop_signal: spec.stop_signal.clone(),
        exposed_ports: some_list(spec.ports.iter().map(exposed).collect()),
        healthcheck: Some(HealthConfig { test: Some(vec![NO_HEALTH_CHECK.to_owned()]), ..HealthConfig::default() }),
        host_config: Some(host_config(spec, joined)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(spec: &ContainerSpec, joined: bool) -> HostConfig {
    let memory = number(spec.limits.memory_bytes);
    HostConfig {
        mounts: some_list(spec.mounts.iter().map(mount).collect()),
        network_mode: match &spec.network {
            Network::Default => None,
            Network::Host => Some("host".to_owned()),
            Network::Container(name) => Some(format!("container:{name}")),
            Network::Named(name) => Some(name.clone()),
        },
        dns: some_list(spec.dns.servers.clone()),
        dns_search: some_list(spec.dns.searches.clone()),
        dns_options: some_list(spec.dns.options.clone()),
        port_bindings: port_bindings(spec),
        extra_hosts: if joined { None } else { some_list(spec.extra_hosts.clone()) },
        ipc_mode: namespace(spec.host_ipc, spec.ipc_container.as_deref()).or_else(|| shareable(spec)),
        pid_mode: namespace(spec.host_pid, spec.pid_container.as_deref()),
        cpu_quota: number(cpu_quota(&spec.limits)),
        cpu_period: cpu_period(&spec.limits),
        cpu_shares: number(spec.limits.cpu_shares),
        memory,
        // Memory and swap together: the same number, so no swap, as a node has it.
        memory_swap: memory,
        pids_limit: number(spec.limits.pids),
        oom_score_adj: spec.oom_score_adj,
        runtime: spec.runtime.clone(),
        device_requests: some_list(spec.devices.iter().map(device_request).collect()),
        privileged: some_if(spec.privileged),
        readonly_rootfs: some_if(spec.read_only_root),
        security_opt: some_list(security_options(spec)),
        masked_paths: spec.unmasked.then(Vec::new),
        readonly_paths: spec.unmasked.then(Vec::new),
        cap_add: some_list(spec.cap_add.clone()),
        cap_drop: some_list(spec.cap_drop.clone()),
        group_add: some_list(spec.groups.clone()),
        sysctls: (!spec.sysctls.is_empty()).then(|| spec.sysctls.clone().into_iter().collect()),
        log_config: Some(HostConfigLogConfig {
            typ: Some(LOG_DRIVER.to_owned()),
            config: Some(string_map([("max-size", LOG_MAX_SIZE), ("max-file", LOG_MAX_FILES)])),
        }),
        ..HostConfig::default()
    }
}

/// The body of an update. Memory goes with swap, as at the creation: the engine refuses one above the other.
pub fn update_body(limits: &Limits) -> ContainerUpdateBody {
    let memory = number(limits.memory_bytes);
    ContainerUpdateBody {
        cpu_quota: number(cpu_quota(limits)),
        cpu_period: cpu_period(limits),
        cpu_shares: number(limits.cpu_shares),
        memory,
        memory_swap: memory,
        ..ContainerUpdateBody::default()
    }
}

/// Microseconds of CPU time in each period. Not asked for as "CPUs", because the engine refuses more of those than the
/// machine has, and Kubernetes does not.
fn cpu_quota(limits: &Limits) -> u64 {
    limits.cpu_nanos.saturating_mul(CPU_PERIOD) / 1_000_000_000
}

fn cpu_period(limits: &Limits) -> Option<i64> {
    (limits.cpu_nanos > 0).then(|| number(CPU_PERIOD)).flatten()
}

/// As `docker run --device KIND=ID` asks for one, or `docker run --gpus device=ID`.
fn device_request(device: &DeviceSpec) -> DeviceRequest {
    if device.cdi {
        let names = device.ids.iter().map(|id| format!("{}={id}", device.kind));
        let (driver, device_ids) = (Some("cdi".to_owned()), Some(names.collect()));
        return DeviceRequest { driver, device_ids, ..DeviceRequest::default() };
    }
    let capabilities = Some(vec![vec!["gpu".to_owned()]]);
    DeviceRequest { device_ids: Some(device.ids.clone()), capabilities, ..DeviceRequest::default() }
}

/// `80/tcp`.
fn exposed(port: &PortSpec) -> String {
    format!("{}/{}", port.container, port.protocol)
}

fn port_bindings(spec: &ContainerSpec) -> Option<HashMap<String, Option<Vec<PortBinding>>>> {
    let mut out: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in &spec.ports {
        let host_ip = (!port.host_ip.is_empty()).then(|| port.host_ip.clone());
        let binding = PortBinding { host_ip, host_port: Some(port.host.to_string()) };
        out.entry(exposed(port)).or_default().get_or_insert_default().push(binding);
    }
    (!out.is_empty()).then_some(out)
}

fn namespace(host: bool, container: Option<&str>) -> Option<String> {
    if host { Some("host".to_owned()) } else { container.map(|name| format!("container:{name}")) }
}

/// The sandbox holds the namespaces that its pod's containers join; the engine makes IPC private unless told.
fn shareable(spec: &ContainerSpec) -> Option<String> {
    (spec.image == SANDBOX_IMAGE).then(|| "shareable".to_owned())
}

fn security_options(spec: &ContainerSpec) -> Vec<String> {
    let no_new_privileges = spec.no_new_privileges.then(|| "no-new-privileges".to_owned());
    spec.security_opts.iter().cloned().chain(no_new_privileges).collect()
}

fn mount(mount: &Mount) -> EngineMount {
    let (typ, source) = match &mount.source {
        MountSource::Bind(path) => (MountType::BIND, Some(path.to_string_lossy().into_owned())),
        MountSource::Volume(name) | MountSource::SubPath { volume: name, .. } => {
            (MountType::VOLUME, Some(name.clone()))
        }
        MountSource::Image { image, .. } => (MountType::IMAGE, Some(image.clone())),
        MountSource::Tmpfs { .. } => (MountType::TMPFS, None),
    };
    EngineMount {
        target: Some(mount.target.clone()),
        source,
        typ: Some(typ),
        read_only: some_if(mount.read_only),
        bind_options: bind_options(mount),
        volume_options: match &mount.source {
            // Without it the engine would fill an empty volume with the image's files, which a kubelet never does.
            MountSource::Volume(_) => Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
            MountSource::SubPath { path, .. } => Some(MountVolumeOptions {
                no_copy: Some(true),
                subpath: Some(path.to_string_lossy().into_owned()),
                ..MountVolumeOptions::default()
            }),
            MountSource::Bind(_) | MountSource::Image { .. } | MountSource::Tmpfs { .. } => None,
        },
        image_options: match &mount.source {
            MountSource::Image { path, .. } if !path.as_os_str().is_empty() => {
                Some(MountImageOptions { subpath: Some(path.to_string_lossy().into_owned()) })
            }
            _other => None,
        },
        tmpfs_options: match mount.source {
            MountSource::Tmpfs { size_bytes } => Some(MountTmpfsOptions {
                size_bytes: number(size_bytes),
                mode: Some(TMPFS_MODE),
                ..MountTmpfsOptions::default()
            }),
            MountSource::Bind(_) | MountSource::Volume(_) | MountSource::SubPath { .. } | MountSource::Image { .. } => {
                None
            }
        },
        ..EngineMount::default()
    }
}

/// None where the engine's own way is what is wanted.
fn bind_options(mount: &Mount) -> Option<MountBindOptions> {
    let MountSource::Bind(_) = mount.source else { return None };
    let propagation = match mount.propagation {
        Propagation::None => None,
        Propagation::HostToContainer => Some(MountBindOptionsPropagationEnum::RSLAVE),
        Propagation::Bidirectional => Some(MountBindOptionsPropagationEnum::RSHARED),
    };
    let options = MountBindOptions {
        propagation,
        read_only_force_recursive: some_if(mount.recursive_read_only),
        ..MountBindOptions::default()
    };
    (options != MountBindOptions::default()).then_some(options)
}

/// The body of a volume's creation: on disk, or a memory file system of the `local` driver.
pub fn volume_body(spec: &VolumeSpec, store_id: &str) -> VolumeCreateRequest {
    let memory = spec.memory.as_ref().map(|MemoryDisk { bytes, group }| {
        let size = if *bytes > 0 { format!("size={bytes},") } else { String::new() };
        let owner = group.map(|group| format!("gid={group},")).unwrap_or_default();
        let mode = if group.is_some() { TMPFS_MODE | SETGID } else { TMPFS_MODE };
        let options = format!("{size}{owner}mode={mode:o}");
        string_map([("type", "tmpfs"), ("device", "tmpfs"), ("o", options.as_str())])
    });
    VolumeCreateRequest {
        name: Some(spec.name.clone()),
        driver: Some("local".to_owned()),
        driver_opts: memory,
        labels: Some(with_store(&spec.labels, store_id)),
        ..VolumeCreateRequest::default()
    }
}

/// D15: is the container that has the name the one that this spec describes? Its store, pod, name in the pod and
/// attempt decide; everything else follows from those.
pub fn is_ours(found: &BTreeMap<String, String>, spec: &ContainerSpec, store_id: &str) -> bool {
    let same = |label: &str| found.get(label) == spec.labels.get(label);
    found.get(LABEL_STORE).is_some_and(|id| id == store_id)
        && [LABEL_POD_UID, LABEL_CONTAINER, LABEL_ATTEMPT].into_iter().all(same)
}

/// The `filters` of a listing: what belongs to this store.
pub fn store_filter(store_id: &str) -> String {
    json!({ "label": [store_label(store_id)] }).to_string()
}

/// The `filters` of the events subscription.
pub fn event_filter(store_id: &str) -> String {
    json!({ "type": ["container"], "event": WAKING_EVENTS, "label": [store_label(store_id)] }).to_string()
}

fn store_label(store_id: &str) -> String {
    format!("{LABEL_STORE}={store_id}")
}

/// A time as the engine's `since` reads it: seconds and nanoseconds, `1714557600.000000001`.
pub fn since(at: Timestamp) -> String {
    since_nanos(at.as_nanosecond())
}

/// Like [`since`], from nanoseconds since 1970. Earlier times are the beginning.
pub fn since_nanos(nanos: i128) -> String {
    let nanos = nanos.max(0);
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

/// The JSON of the `X-Registry-Auth` header, before its base64 (the URL-safe alphabet: the engine reads no other and
/// takes what it cannot read for "no credentials").
pub fn registry_auth(auth: &RegistryAuth) -> String {
    let mut fields = serde_json::Map::new();
    let all = [
        ("username", &auth.username),
        ("password", &auth.password),
        ("identitytoken", &auth.identity_token),
        ("serveraddress", &auth.server_address),
    ];
    for (name, value) in all {
        if let Some(value) = value {
            fields.insert(name.to_owned(), json!(value));
        }
    }
    serde_json::Value::Object(fields).to_string()
}

/// Each variable once, with its last value, at its last place: the engine would hand on both, and which one a program
/// sees is its C library's choice.
fn last_wins(env: &[String]) -> Vec<String> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let last: HashMap<String, usize> = env.iter().enumerate().map(|(at, entry)| (name(entry), at)).collect();
    env.iter().enumerate().filter(|(at, entry)| last[&name(entry)] == *at).map(|(_, entry)| entry.clone()).collect()
}

fn with_store(labels: &BTreeMap<String, String>, store_id: &str) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = labels.clone().into_iter().collect();
    labels.insert(LABEL_STORE.to_owned(), store_id.to_owned());
    labels
}

fn string_map<const N: usize>(pairs: [(&str, &str); N]) -> HashMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn some_if(flag: bool) -> Option<bool> {
    flag.then_some(true)
}

fn some_list<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// Zero means "not set" on both sides.
fn number(value: u64) -> Option<i64> {
    (value > 0).then(|| i64::try_from(value).unwrap_or(i64::MAX))
}
