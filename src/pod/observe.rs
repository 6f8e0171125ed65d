//! Owns the gathering of a pod's facts: the stored object, its containers, images, sources, logs, files.
//! Never decides and never changes anything; what costs an engine call is asked only where something happened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ConfigMap, ContainerStatus, Node, PersistentVolume, PersistentVolumeClaim, Pod, PodSpec, Secret, Service,
    ServiceAccount,
};
use k8s_openapi::api::node::v1::RuntimeClass;

use super::backoff::Restarts;
use super::core::{Core, Error};
use super::devices::{self, DevicesFact};
use super::facts::{Attempt, ImageFact, ImageUser, NodeFacts, PodFacts, RuntimeFact, Sources, VolumesFact};
use super::restart::{self, Role};
use super::tokens::{self, Wanted};
use super::{device_book, environment, hosts_files, logs, mentions, names, phase, termination, volumes, volumes_plan};
use crate::model::claims;
use crate::model::kind::Kind;
use crate::model::object::{Key, Object};
use crate::runtime::{ContainerSeen, LABEL_POD_UID, Seen};
use crate::store::Query;
use crate::store::logs::LogKey;
use crate::token::{Bound, Request, Subject};

/// The fact beside a pod that holds its restart back-off.
pub const RESTARTS: &str = "restarts";
/// Exit code of SIGKILL, which is also what the OOM killer sends.
const KILLED: i32 = 137;
/// The engine learns of an OOM kill by an event of its own, which may come after the death (D13).
const OOM_SETTLES: Duration = Duration::from_millis(100);

/// A pod that is there, with its facts.
pub struct Observed {
    /// As it is stored.
    pub object: Object,
    /// All that decides what becomes of it.
    pub facts: PodFacts,
    /// The change of its files' sources that the facts show at the least.
    pub files_changed: u64,
}

/// The facts of the pod with this uid; none where the store no longer has it.
pub async fn observe(core: &Core, uid: &str, now: Timestamp) -> Result<Option<Observed>, Error> {
    // Before the objects themselves are read: what changes meanwhile is for the next round.
    let files_changed = core.memories.with(uid, |memory| memory.files_changed);
    let Some(object) = stored(core, uid)? else { return Ok(None) };
    let Some(pod) = object.typed::<Pod>().cloned() else { return Ok(None) };
    let spec = pod.spec.clone().unwrap_or_default();
    let containers = containers(core, uid, &pod).await?;
    let ground = core.ground();
    let pod_dir = core.pods_dir.join(uid);
    let has_data = pod_dir.exists();
    let hosts_file = hosts_file(core, &pod, &spec, &containers, has_data.then_some(&pod_dir))?;
    let machine_hosts = (hosts_file.is_some() && spec.host_network == Some(true)).then(hosts_files::machine);
    let outage = ground.outage();
    let node = NodeFacts {
        pod_dir: pod_dir.to_string_lossy().into_owned(),
        hosts_file: hosts_file.map(|()| hosts_files::path(&pod_dir).to_string_lossy().into_owned()),
        runtime: runtime(core, &spec)?,
        resolv_conf: if spec.dns_config.is_some() { resolv_conf() } else { String::new() },
        ..ground.node
    };
    let mut facts = PodFacts {
        node,
        containers,
        outage,
        sandbox_image: ground.sandbox_image,
        has_data,
        machine_hosts,
        ..PodFacts::default()
    };
    core.memories.with(uid, |memory| {
        memory.key = Some(object.key());
        facts.volumes = memory.volumes;
        facts.files_fresh = memory.files_shown == Some(memory.files_changed)
            || !spec.volumes.iter().flatten().any(volumes_plan::is_files);
        facts.mountable = memory.mountable.clone();
        facts.exceeded = memory.exceeded.clone();
        facts.tokens_due = memory.tokens_due;
        facts.devices = memory.devices_short.clone().map(DevicesFact::Short).unwrap_or_default();
        facts.failures = memory.failures.clone();
        facts.begun = memory.begun.clone();
        facts.hooks = memory.hooks.clone();
        facts.probes = memory.probes.clone();
        facts.asked_to_stop = memory.asked_to_stop.clone();
        facts.killed = memory.killed.clone();
        facts.resized = memory.resized.clone();
        facts.resize_failures = memory.resize_failures.clone();
        facts.logs_followed = memory.followed.clone();
        facts.hosts_head = memory.hosts.as_ref().map(|hosts| hosts.head.clone());
    });
    if devices::may_want(&spec)
        && let Some(own) = device_book::given(core, uid)?
    {
        facts.devices = DevicesFact::Assigned(own);
    }
    facts.pod = pod;
    let ending = facts.pod.metadata.deletion_timestamp.is_some()
        || phase::terminal(facts.pod.status.as_ref().and_then(|status| status.phase.as_deref()));
    ended(core, uid, &spec, &mut facts).await;
    restarts(core, uid, &spec, &mut facts)?;
    if !ending {
        let starting = images(core, uid, &spec, &mut facts, now).await?;
        let held = tokens::of_pod(&spec).next().is_some();
        if held && facts.tokens_due.is_none() && !facts.containers.is_empty() {
            // They were given by an agent before this one, nobody knows when.
            facts.tokens_due = Some(now);
        }
        let due = facts.tokens_due.is_some_and(|due| due <= now);
        if starting || facts.volumes != VolumesFact::Ready || !facts.files_fresh || due {
            // Entered before they are read: what changes after that wakes the pod again.
            core.with_mentions(|mentions| mentions.enter(uid, mentions::of_pod(&facts.pod)));
            facts.sources = sources(core, &facts.pod)?;
            facts.sources.tokens = issue(core, &facts.pod, &spec, now)?;
            facts.sources.images = facts.image_volumes.iter().filter_map(here).collect();
            facts.sources.env_files = core.memories.with(uid, |memory| memory.env_files.clone());
        }
    }
    Ok(Some(Observed { object, facts, files_changed }))
}

/// What the pod's class has it run by.
fn runtime(core: &Core, spec: &PodSpec) -> Result<RuntimeFact, Error> {
    let Some(name) = spec.runtime_class_name.as_ref().filter(|name| !name.is_empty()) else {
        return Ok(RuntimeFact::Default);
    };
    let object = core.store.get(&Key::of::<RuntimeClass>("", name))?;
    let class = object.as_ref().and_then(|object| object.typed::<RuntimeClass>());
    Ok(class.map_or_else(|| RuntimeFact::NoClass(name.clone()), |class| RuntimeFact::Handler(class.handler.clone())))
}

/// Whether the pod has a hosts file that is kept here: it has one already, or it has yet to begin and there are names
/// to find. A pod without either keeps the engine's, which costs nothing.
fn hosts_file(
    core: &Core,
    pod: &Pod,
    spec: &PodSpec,
    containers: &[ContainerSeen],
    pod_dir: Option<&PathBuf>,
) -> Result<Option<()>, Error> {
    if pod_dir.is_some_and(|dir| hosts_files::path(dir).exists()) {
        return Ok(Some(()));
    }
    let status = pod.status.as_ref();
    let told = status
        .into_iter()
        .flat_map(|status| status.init_container_statuses.iter().chain(&status.container_statuses).flatten());
    let begun = containers.iter().any(|seen| names::identity(seen).is_some())
        || told.into_iter().any(|status| status.container_id.is_some());
    if begun || phase::terminal(status.and_then(|status| status.phase.as_deref())) {
        return Ok(None);
    }
    let named = spec.subdomain.as_deref().is_some_and(|name| !name.is_empty());
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    Ok((named || hosts_files::has_services(&core.store, namespace)?).then_some(()))
}

/// The machine's resolver settings; those behind a resolver of its own where there is one. Parity: `resolvConf` as
/// kubeadm sets it.
fn resolv_conf() -> String {
    const PLACES: [&str; 2] = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];
    PLACES.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
}

/// The stored object, if the one with that name is still the one with that uid.
fn stored(core: &Core, uid: &str) -> Result<Option<Object>, Error> {
    let known = core.memories.known(uid, |memory| memory.key.clone()).flatten();
    let key = match known {
        Some(key) => Some(key),
        None => core.store.by_uid(uid)?,
    };
    let Some(key) = key else { return Ok(None) };
    Ok(core.store.get(&key)?.filter(|object| object.uid() == uid))
}

/// The pod's containers, inspected if anything happened to them, or if the status tells of one that is not known here.
async fn containers(core: &Core, uid: &str, pod: &Pod) -> Result<Vec<ContainerSeen>, Error> {
    let (mut known, stale) = core.memories.with(uid, |memory| {
        // Cleared before looking: what happens during the look makes it stale again.
        (memory.containers.clone(), std::mem::replace(&mut memory.stale, false))
    });
    let stands = |name: &String| known.values().any(|seen| names::made_as(uid, seen) == *name);
    let mut names: Vec<String> = told_running(uid, pod).into_iter().filter(|name| !stands(name)).collect();
    if stale {
        names.extend(known.values().filter(|seen| changeable(seen)).map(|seen| seen.name.clone()));
    }
    if names.is_empty() {
        return Ok(known.into_values().collect());
    }
    let looked = look(core, uid, names).await;
    if looked.is_err() {
        core.memories.with(uid, |memory| memory.stale = true);
    }
    for (name, seen) in looked? {
        match seen {
            Some(seen) => known.insert(name, seen),
            None => known.remove(&name),
        };
    }
    core.memories.with(uid, |memory| memory.containers = known.clone());
    Ok(known.into_values().collect())
}

/// The containers of these names, as they are now. One that is not found by its name is looked for by its labels.
async fn look(core: &Core, uid: &str, names: Vec<String>) -> Result<Vec<(String, Option<ContainerSeen>)>, Error> {
    core.make_sure_of_life().await?;
    let mut out = Vec::with_capacity(names.len());
    for name in names {
        let mut seen = core.heard(core.engine.inspect(&name).await)?;
        let doubtful =
            |seen: &ContainerSeen| matches!(seen.state, Seen::Exited { code: KILLED, oom_killed: false, .. });
        if seen.as_ref().is_some_and(doubtful) {
            tokio::time::sleep(OOM_SETTLES).await;
            seen = core.heard(core.engine.inspect(&name).await)?.or(seen);
        }
        out.push((name, seen));
    }
    let missing: Vec<String> = out.iter().filter(|(_, seen)| seen.is_none()).map(|(name, _)| name.clone()).collect();
    if !missing.is_empty() {
        out.extend(renamed(core, uid, &missing).await?);
    }
    Ok(out)
}

/// Those of the missing that somebody renamed.
async fn renamed(core: &Core, uid: &str, missing: &[String]) -> Result<Vec<(String, Option<ContainerSeen>)>, Error> {
    let all = core.heard(core.engine.containers().await)?;
    let ours = all.into_iter().filter(|seen| seen.labels.get(LABEL_POD_UID).is_some_and(|of| of == uid));
    let found = ours.filter(|seen| missing.contains(&names::made_as(uid, seen)));
    Ok(found.map(|seen| (seen.name.clone(), Some(seen))).collect())
}

/// An ended container says the same each time it is asked.
fn changeable(seen: &ContainerSeen) -> bool {
    match seen.state {
        Seen::Created { .. } | Seen::Running { .. } => true,
        Seen::Exited { .. } | Seen::Dead => false,
    }
}

/// Engine names of the containers that the stored status calls running.
fn told_running(uid: &str, pod: &Pod) -> Vec<String> {
    let Some(status) = &pod.status else { return Vec::new() };
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let running = |status: &&ContainerStatus| status.state.as_ref().is_some_and(|state| state.running.is_some());
    all.filter(running)
        .map(|status| names::container(uid, &status.name, u32::try_from(status.restart_count).unwrap_or(0)))
        .collect()
}

/// What ended runs leave: whether their logs are complete, their last words, the end of their logs.
async fn ended(core: &Core, uid: &str, spec: &PodSpec, facts: &mut PodFacts) {
    let mut runs: BTreeMap<Attempt, Option<i32>> = BTreeMap::new();
    for seen in &facts.containers {
        let Some((container, number)) = names::identity(seen) else { continue };
        let run = Attempt { container: container.to_owned(), number };
        match seen.state {
            Seen::Exited { code, .. } => drop(runs.insert(run, Some(code))),
            Seen::Created { error: Some(_) } | Seen::Dead => drop(runs.insert(run, None)),
            Seen::Created { error: None } | Seen::Running { .. } => {}
        }
    }
    // Runs that the status tells of and that have left the engine: their logs may still have to be marked complete.
    let told = facts
        .pod
        .status
        .iter()
        .flat_map(|status| status.init_container_statuses.iter().chain(&status.container_statuses).flatten());
    for status in told {
        let number = u32::try_from(status.restart_count).unwrap_or(0);
        runs.entry(Attempt { container: status.name.clone(), number }).or_insert(None);
    }
    for (run, code) in runs {
        let key = LogKey { pod_uid: uid.to_owned(), container: run.container.clone(), attempt: run.number };
        let finished = core.store.logs().finished(&key);
        if let Some(code) = code {
            if let Some(message) = volumes::read_message(&facts.node.pod_dir, &run) {
                facts.messages.insert(run.clone(), message);
            }
            let container = restart::containers(spec).find(|(_, container)| container.name == run.container);
            let wanted = container.is_some_and(|(_, container)| termination::falls_back_to_logs(container, code));
            if finished
                && wanted
                && let Some(tail) =
                    logs::tail(core.store.logs(), &key, termination::MAX_LOG_LINES, termination::MAX_LOG_BYTES).await
            {
                facts.log_tails.insert(run.clone(), tail);
            }
        }
        if finished {
            facts.logs_finished.insert(run);
        }
    }
}

/// The restart back-off, for a pod that restarts anything.
fn restarts(core: &Core, uid: &str, spec: &PodSpec, facts: &mut PodFacts) -> Result<(), Error> {
    let may = spec.restart_policy.as_deref() != Some("Never")
        || restart::containers(spec)
            .any(|(role, container)| role == Role::Sidecar || container.restart_policy.is_some());
    if may && let Some(kept) = core.store.fact(uid, RESTARTS)? {
        facts.restarts = serde_json::from_slice::<BTreeMap<String, Restarts>>(&kept).unwrap_or_default();
    }
    Ok(())
}

/// The images of containers that may start now; says whether there is any such container.
async fn images(core: &Core, uid: &str, spec: &PodSpec, facts: &mut PodFacts, now: Timestamp) -> Result<bool, Error> {
    let mut any = false;
    for (role, container) in restart::containers(spec) {
        let runs = facts.containers.iter().filter_map(|seen| names::identity(seen).map(|id| (id, seen)));
        let newest = runs.filter(|((name, _), _)| *name == container.name).max_by_key(|((_, number), _)| *number);
        let status = told(facts, role, &container.name);
        let next = match newest {
            Some(((_, number), seen)) => match &seen.state {
                Seen::Created { error: None } | Seen::Running { .. } => None,
                Seen::Created { error: Some(_) } | Seen::Dead => Some((number, 1)),
                Seen::Exited { code, .. } => Some((number, *code)),
            }
            .filter(|(number, code)| {
                facts.again(&container.name, *number) || restart::restarts(spec, role, container, *code)
            })
            .map(|(number, _)| number + 1),
            None => next_after(facts, spec, role, container, status),
        };
        let fact = match next {
            Some(number) => {
                any = true;
                let run = Attempt { container: container.name.clone(), number };
                let (image, policy) = (container.image.as_deref(), container.image_pull_policy.as_deref());
                let user = ImageUser::Container(run);
                let asked = core.images.fact(uid, &user, image.unwrap_or_default(), policy, now).await;
                Some(core.heard(asked)?)
            }
            None => core
                .images
                .known(container.image.as_deref().unwrap_or_default())
                .map(|image| ImageFact::Ready { image, pulled: false }),
        };
        if let Some(fact) = fact {
            facts.images.insert(container.name.clone(), fact);
        }
    }
    if any {
        image_volumes(core, uid, spec, facts, now).await?;
    }
    Ok(any)
}

/// The images of volumes.
async fn image_volumes(
    core: &Core,
    uid: &str,
    spec: &PodSpec,
    facts: &mut PodFacts,
    now: Timestamp,
) -> Result<(), Error> {
    for (volume, source) in spec.volumes.iter().flatten().filter_map(|volume| Some((volume, volume.image.as_ref()?))) {
        let (image, policy) = (source.reference.as_deref().unwrap_or_default(), source.pull_policy.as_deref());
        let user = ImageUser::Volume(volume.name.clone());
        let fact = core.heard(core.images.fact(uid, &user, image, policy, now).await)?;
        facts.image_volumes.insert(volume.name.clone(), fact);
    }
    Ok(())
}

/// The id of a volume's image, where the engine has it.
fn here((volume, fact): (&String, &ImageFact)) -> Option<(String, String)> {
    match fact {
        ImageFact::Ready { image, .. } => Some((volume.clone(), image.id.clone())),
        ImageFact::Invalid(_)
        | ImageFact::Wanted
        | ImageFact::NeverPulled
        | ImageFact::Pulling { .. }
        | ImageFact::Failed { .. } => None,
    }
}

fn told<'a>(facts: &'a PodFacts, role: Role, name: &str) -> Option<&'a ContainerStatus> {
    let status = facts.pod.status.as_ref()?;
    let list = match role {
        Role::Init | Role::Sidecar => &status.init_container_statuses,
        Role::Main => &status.container_statuses,
    };
    list.iter().flatten().find(|status| status.name == name)
}

/// The run that would come next of a container that the engine does not have.
fn next_after(
    facts: &PodFacts,
    spec: &PodSpec,
    role: Role,
    container: &k8s_openapi::api::core::v1::Container,
    status: Option<&ContainerStatus>,
) -> Option<u32> {
    let Some(status) = status else { return Some(0) };
    let number = u32::try_from(status.restart_count).unwrap_or(0);
    let ended = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| {
        state.as_ref().and_then(|state| state.terminated.as_ref()).map(|end| end.exit_code)
    };
    match ended(&status.state).or_else(|| ended(&status.last_state)) {
        Some(code) => {
            let again = facts.again(&container.name, number) || restart::restarts(spec, role, container, code);
            again.then_some(number + 1)
        }
        None => Some(number),
    }
}

/// Fresh tokens of the pod's account, as its volumes ask for them; none where there is no such account.
fn issue(core: &Core, pod: &Pod, spec: &PodSpec, now: Timestamp) -> Result<BTreeMap<Wanted, String>, Error> {
    let mut out = BTreeMap::new();
    let Some(signer) = &core.credentials.signer else { return Ok(out) };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let namespace = text(&pod.metadata.namespace);
    for (audience, seconds) in tokens::of_pod(spec) {
        let name = text(&spec.service_account_name);
        let account = core.store.get(&Key::of::<ServiceAccount>(&namespace, &name))?;
        let Some(account) = account else { return Ok(out) };
        let node_name = core.ground().node.name;
        let node = core.store.get(&Key::of::<Node>("", &node_name))?;
        let subject = Subject {
            namespace: namespace.clone(),
            node: node.map(|node| Bound { name: node_name, uid: node.uid().to_owned() }),
            pod: Some(Bound { name: text(&pod.metadata.name), uid: text(&pod.metadata.uid) }),
            secret: None,
            serviceaccount: Bound { name, uid: account.uid().to_owned() },
        };
        let audiences = Some(audience.clone()).filter(|audience| !audience.is_empty()).into_iter().collect();
        let (token, _) = signer.issue(&Request { subject, audiences, seconds }, now).map_err(std::io::Error::other)?;
        out.insert((audience, seconds), token);
    }
    Ok(out)
}

/// The ConfigMaps and Secrets that the pod names and the store has.
fn sources(core: &Core, pod: &Pod) -> Result<Sources, Error> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let (maps, secrets) = environment::named_sources(pod);
    let mut out = Sources::default();
    for name in maps.into_iter().collect::<BTreeSet<_>>() {
        let object = core.store.get(&Key::of::<ConfigMap>(namespace, name))?;
        if let Some(map) = object.as_ref().and_then(|object| object.typed::<ConfigMap>()) {
            out.config_maps.insert(name.to_owned(), map.clone());
        }
    }
    for name in secrets.into_iter().collect::<BTreeSet<_>>() {
        let object = core.store.get(&Key::of::<Secret>(namespace, name))?;
        if let Some(secret) = object.as_ref().and_then(|object| object.typed::<Secret>()) {
            out.secrets.insert(name.to_owned(), secret.clone());
        }
    }
    for (name, _) in claims::of_pod(pod) {
        claim(core, namespace, name, &mut out)?;
    }
    if pod.spec.as_ref().is_some_and(|spec| spec.enable_service_links != Some(false)) {
        let services = core.store.list(&Query { namespace: Some(namespace), ..Query::all(Kind::of::<Service>()) })?;
        out.services.extend(services.objects.iter().filter_map(|object| object.typed::<Service>().cloned()));
    }
    Ok(out)
}

/// A claim with its volume.
fn claim(core: &Core, namespace: &str, name: String, out: &mut Sources) -> Result<(), Error> {
    let object = core.store.get(&Key::of::<PersistentVolumeClaim>(namespace, &name))?;
    let Some(claim) = object.as_ref().and_then(|object| object.typed::<PersistentVolumeClaim>()) else {
        return Ok(());
    };
    if let Some(volume) = claims::volume_name(claim) {
        let object = core.store.get(&Key::of::<PersistentVolume>("", volume))?;
        let found = object.as_ref().and_then(|object| object.typed::<PersistentVolume>());
        out.volumes.extend(found.map(|found| (volume.to_owned(), found.clone())));
    }
    out.claims.insert(name, claim.clone());
    Ok(())
}
