//! Owns the carrying out of a plan: the commit, then the acts, in order. Never chooses: an act that does not succeed is
//! entered as a fact, and the next plan decides what follows from it.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, Pod};

use super::core::{Core, Error};
use super::draft::KUBELET;
use super::facts::{Action, Attempt, Note, PodPlan, ResizeFailure, StartFailure, StartStep, VolumesFact};
use super::observe::{Observed, RESTARTS};
use super::volumes_plan::VolumeWork;
use super::{
    collect, credentials, device_book, env_files, hooks, hosts_files, image_mounts, logs, names, prober, sub_paths,
    tokens, volumes,
};
use crate::model::deletion::{self, Deletion, Propagation};
use crate::model::event::{self, Severity};
use crate::model::object::Object;
use crate::runtime::{self, ContainerSpec, Limits};
use crate::store::logs::{Gap, LogKey};
use crate::store::{self, Expected, Write};

/// Pause before something that the engine refused is tried again. Parity: the kubelet's sync period under errors.
pub const RETRY: SignedDuration = SignedDuration::from_secs(10);
/// Directory of seccomp profiles in the data directory, where an administrator puts them.
const SECCOMP_DIR: &str = "seccomp";
const SIGTERM: &str = "SIGTERM";
const SIGKILL: &str = "SIGKILL";

/// What a commit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The plan is on disk, and it changed something.
    Written,
    /// There was nothing to write.
    Unchanged,
    /// Somebody wrote first, or the pod is gone: look again.
    Stale,
}

/// Writes what the plan says of the pod, with its Events, as one commit.
pub async fn commit(core: &Core, uid: &str, seen: &Observed, plan: &PodPlan, now: Timestamp) -> Result<Commit, Error> {
    let Some(status) = &plan.status else { return Ok(Commit::Unchanged) };
    let mut pod = seen.facts.pod.clone();
    pod.status = Some(status.clone());
    let waiting = core.memories.with(uid, |memory| std::mem::take(&mut memory.notes));
    let changed = pod != seen.facts.pod;
    if !changed && plan.events.is_empty() && plan.restarts.is_none() && waiting.is_empty() {
        return Ok(Commit::Unchanged);
    }
    let mut writes = Vec::new();
    if changed {
        writes.push(Write::Update { object: Object::new(pod), expected: Expected::Revision(seen.object.revision()) });
    }
    let host = &seen.facts.node.name;
    writes.extend(plan.events.iter().chain(&waiting).map(|note| Write::Record(worded(&seen.object, note, host, now))));
    if let Some(bytes) = plan.restarts.as_ref().and_then(|restarts| serde_json::to_vec(restarts).ok()) {
        writes.push(Write::Remember { uid: uid.to_owned(), name: RESTARTS, value: bytes.into() });
    }
    match core.store.commit(writes).await {
        Ok(done) => {
            let revision = done.objects.first().and_then(|object| object.as_ref()).map_or(0, Object::revision);
            core.memories.with(uid, |memory| memory.own_revision = memory.own_revision.max(revision));
            Ok(if changed { Commit::Written } else { Commit::Unchanged })
        }
        Err(store::Error::Conflict { .. } | store::Error::NotFound(_)) => {
            core.memories.with(uid, |memory| memory.notes.splice(0..0, waiting).for_each(drop));
            Ok(Commit::Stale)
        }
        Err(error) => Err(error.into()),
    }
}

fn worded(object: &Object, note: &Note, host: &str, now: Timestamp) -> Event {
    let mut event = event::about(object, note.component, note.severity, note.reason, &note.message, now);
    event.involved_object.field_path =
        note.container.as_ref().map(|container| field_path(object, container)).or(event.involved_object.field_path);
    if note.component == KUBELET
        && let Some(source) = &mut event.source
    {
        source.host = Some(host.to_owned());
        event.reporting_instance = Some(host.to_owned());
    }
    event
}

/// Where a container stands in its pod: `spec.containers{main}`.
fn field_path(object: &Object, container: &str) -> String {
    let init = object
        .typed::<Pod>()
        .and_then(|pod| pod.spec.as_ref())
        .is_some_and(|spec| spec.init_containers.iter().flatten().any(|init| init.name == container));
    format!("spec.{}{{{container}}}", if init { "initContainers" } else { "containers" })
}

/// Carries out the acts of a plan. The first that fails for the engine's sake ends the round.
pub async fn apply(core: &Arc<Core>, uid: &str, seen: &Observed, actions: Vec<Action>) -> Result<(), Error> {
    for action in actions {
        one(core, uid, seen, action).await?;
    }
    Ok(())
}

async fn one(core: &Arc<Core>, uid: &str, seen: &Observed, action: Action) -> Result<(), Error> {
    match action {
        Action::PrepareVolumes(work) => prepare_volumes(core, uid, seen, work).await,
        Action::RefreshFiles(work) => refresh_files(core, uid, seen, work).await,
        Action::AssignDevices(wanted) => device_book::assign(core, uid, &wanted).await,
        Action::PrepareSandboxImage => match core.heard(core.engine.sandbox_image().await) {
            Ok(image) => {
                core.with_ground(|ground| ground.sandbox_image = Some(image));
                Ok(())
            }
            Err(error) => sandbox_failed(core, uid, error),
        },
        Action::Pull { user, image } => {
            let auths = credentials::of_pod(core, &seen.facts.pod, &image).await;
            let audience = Arc::clone(core);
            if let Some(pull) = core.images.pull(uid, &user, &image, auths, audience) {
                let core_of_task = Arc::clone(core);
                core.tasks.spawn(async move {
                    if let Some(Some(brought)) = core_of_task.stop.run_until_cancelled(pull).await {
                        collect::remember(&core_of_task, brought).await;
                    }
                });
            }
            Ok(())
        }
        Action::MountImage { container, image } => {
            image_mounts::begin(core, uid, container, image);
            Ok(())
        }
        Action::WriteHosts { head } => {
            let namespace = seen.facts.pod.metadata.namespace.clone().unwrap_or_default();
            hosts_files::adopt(core, uid, &namespace, head).await
        }
        Action::StartSandbox(spec) => start_sandbox(core, uid, &spec).await,
        Action::Start { attempt, create, name, message_file, parts } => {
            if let Some(path) = message_file {
                volumes::make_message_file(&path)?;
            }
            let (parts, holder) = *parts;
            if let Err(error) = core.heard(sub_paths::prepare(core.engine.as_ref(), holder.as_ref(), &parts).await) {
                return start_failed(core, uid, &attempt.container, StartStep::Configure, error);
            }
            start(core, uid, &attempt, create.as_deref(), &name).await
        }
        Action::ReadEnvFiles { attempt, files, holder } => env_files::read(core, uid, attempt, files, holder).await,
        Action::FollowLogs { attempt, name } => {
            follow(core, uid, attempt, name);
            Ok(())
        }
        Action::Probe(watch) => {
            prober::begin(core, uid, *watch);
            Ok(())
        }
        Action::EndProbe { key } => {
            prober::end(core, uid, &key);
            Ok(())
        }
        Action::Hook { key, container, check, limit } => {
            hooks::begin(core, uid, key, container, check, limit);
            Ok(())
        }
        Action::Resize { name, limits } => resize(core, uid, name, limits).await,
        Action::Stop { name, signal } => {
            let signal = match signal {
                Some(signal) => signal,
                None => image_signal(core, seen, &name).await,
            };
            core.heard(tolerant(core.engine.kill(&name, &signal).await))?;
            core.memories.with(uid, |memory| memory.asked_to_stop.insert(name, Timestamp::now()));
            Ok(())
        }
        Action::Kill { name } => {
            core.heard(tolerant(core.engine.kill(&name, SIGKILL).await))?;
            core.memories.with(uid, |memory| memory.killed.insert(name));
            Ok(())
        }
        Action::RemoveContainer { name } => {
            core.heard(core.engine.remove(&name).await)?;
            core.probers.end_run(uid, &name);
            core.memories.with(uid, |memory| memory.forget_container(&name));
            Ok(())
        }
        Action::RemoveData { engine_volumes } => remove_data(core, uid, engine_volumes).await,
        Action::FinishDeletion => finish_deletion(core, seen).await,
    }
}

/// Enters what came of it. An engine that does not answer is waited for; a container that is gone is looked for.
async fn resize(core: &Core, uid: &str, name: String, limits: Limits) -> Result<(), Error> {
    match core.heard(core.engine.update(&name, &limits).await) {
        Ok(()) => {
            core.memories.with(uid, |memory| {
                memory.resize_failures.remove(&name);
                memory.resized.insert(name.clone(), limits);
            });
            see(core, uid, &name).await
        }
        Err(error @ runtime::Error::Unreachable { .. }) => Err(error.into()),
        Err(runtime::Error::NoContainer(_)) => see(core, uid, &name).await,
        Err(error) => {
            let message = error.to_string();
            core.memories.with(uid, |memory| {
                memory.note(warning("ResizeError", format!("Pod resize error: {message}"), None));
                let retry_at = Timestamp::now() + RETRY;
                memory.resize_failures.insert(name, ResizeFailure { message, retry_at });
            });
            Ok(())
        }
    }
}

/// A container that is gone cannot be signalled, and need not be.
fn tolerant(outcome: Result<(), runtime::Error>) -> Result<(), runtime::Error> {
    match outcome {
        Err(runtime::Error::NoContainer(_)) => Ok(()),
        other => other,
    }
}

async fn prepare_volumes(core: &Core, uid: &str, seen: &Observed, work: Vec<VolumeWork>) -> Result<(), Error> {
    let made: Vec<String> = work
        .iter()
        .filter_map(|item| match item {
            VolumeWork::Engine { spec, .. } => Some(spec.name.clone()),
            VolumeWork::Files { .. }
            | VolumeWork::Host { .. }
            | VolumeWork::Claimed { .. }
            | VolumeWork::Local { .. }
            | VolumeWork::Open { .. }
            | VolumeWork::Own { .. }
            | VolumeWork::Impossible { .. } => None,
        })
        .collect();
    core.memories.with(uid, |memory| memory.engine_volumes = made);
    core.memories.with(uid, |memory| memory.files_shown = Some(seen.files_changed));
    let outcome = volumes::prepare(core.engine.as_ref(), &core.pods_dir.join(uid), work).await;
    core.memories.with(uid, |memory| match outcome {
        Ok(()) => {
            memory.volumes = VolumesFact::Ready;
            memory.tokens_due = tokens_due(seen);
            Ok(())
        }
        Err(volumes::Error::Volume { volume, message }) => {
            memory.volumes = VolumesFact::Failed { retry_at: Timestamp::now() + RETRY };
            memory.note(mount_failed(&volume, &message));
            Ok(())
        }
        Err(volumes::Error::Engine(error)) => Err(Error::Engine(error)),
    })
}

fn mount_failed(volume: &str, message: &str) -> Note {
    warning("FailedMount", format!("MountVolume.SetUp failed for volume \"{volume}\" : {message}"), None)
}

/// Tokens given now are to be replaced then.
fn tokens_due(seen: &Observed) -> Option<Timestamp> {
    tokens::due(seen.facts.pod.spec.as_ref()?, Timestamp::now())
}

/// Each volume by itself: one that cannot be had any more stays as it was. Tokens among them are tried again soon.
async fn refresh_files(core: &Core, uid: &str, seen: &Observed, work: Vec<VolumeWork>) -> Result<(), Error> {
    core.memories.with(uid, |memory| memory.files_shown = Some(seen.files_changed));
    let mut due = tokens_due(seen);
    for item in work {
        let outcome = volumes::prepare(core.engine.as_ref(), &core.pods_dir.join(uid), vec![item]).await;
        match outcome {
            Ok(()) => {}
            Err(volumes::Error::Volume { volume, message }) => {
                due = due.map(|due| due.min(Timestamp::now() + RETRY));
                core.memories.with(uid, |memory| memory.note(mount_failed(&volume, &message)));
            }
            Err(volumes::Error::Engine(error)) => return Err(Error::Engine(error)),
        }
    }
    core.memories.with(uid, |memory| memory.tokens_due = due);
    Ok(())
}

fn warning(reason: &'static str, message: String, container: Option<&str>) -> Note {
    let container = container.map(str::to_owned);
    Note { component: KUBELET, severity: Severity::Warning, reason, message, container }
}

async fn start_sandbox(core: &Core, uid: &str, spec: &ContainerSpec) -> Result<(), Error> {
    let outcome = async {
        core.engine.create(spec).await?;
        core.engine.start(&spec.name).await
    };
    match core.heard(outcome.await) {
        Ok(()) => {
            core.memories.with(uid, |memory| memory.failures.remove(""));
            see(core, uid, &spec.name).await
        }
        Err(error) => sandbox_failed(core, uid, error),
    }
}

/// Enters that the sandbox does not stand. An engine that does not answer is waited for instead.
fn sandbox_failed(core: &Core, uid: &str, error: runtime::Error) -> Result<(), Error> {
    if let runtime::Error::Unreachable { .. } = error {
        return Err(error.into());
    }
    let message = error.to_string();
    core.memories.with(uid, |memory| {
        memory.note(warning("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {message}"), None));
        let retry_at = Timestamp::now() + RETRY;
        memory.failures.insert(String::new(), StartFailure { step: StartStep::Create, message, retry_at });
        // A sandbox that was made and does not start is looked at before the next try.
        memory.stale = true;
    });
    Ok(())
}

/// Creates, starts, looks.
async fn start(
    core: &Core,
    uid: &str,
    attempt: &Attempt,
    create: Option<&ContainerSpec>,
    name: &str,
) -> Result<(), Error> {
    let container = attempt.container.as_str();
    let said = |reason, message| Note {
        component: KUBELET,
        severity: Severity::Normal,
        reason,
        message,
        container: Some(container.to_owned()),
    };
    if let Some(spec) = create {
        let spec = match with_seccomp(core, spec) {
            Ok(spec) => spec,
            Err(error) => return start_failed(core, uid, container, StartStep::Create, error),
        };
        match core.heard(core.engine.create(&spec).await) {
            Ok(()) => {
                let text = format!("Created container: {container}");
                core.memories.with(uid, |memory| memory.note(said("Created", text)));
            }
            Err(runtime::Error::NoImage(_)) => {
                core.images.missing(&spec.image);
                return Ok(());
            }
            Err(error) => return start_failed(core, uid, container, StartStep::Create, error),
        }
    }
    // Before the reply, which may be lost: its postStart hook is due all the same.
    core.memories.with(uid, |memory| memory.begun.insert(name.to_owned()));
    let outcome = core.heard(core.engine.start(name).await);
    if outcome.is_ok() {
        core.memories.with(uid, |memory| {
            memory.failures.remove(container);
            memory.note(said("Started", format!("Started container {container}")));
        });
    } else if let Err(error) = outcome {
        let text = format!("Error: failed to start container \"{container}\": {error}");
        core.memories.with(uid, |memory| memory.note(warning("Failed", text, Some(container))));
        start_failed(core, uid, container, StartStep::Start, error)?;
    }
    see(core, uid, name).await
}

/// Reads the administrator's seccomp profile that a container asks for. Parity: the kubelet's `seccomp` directory.
fn with_seccomp<'a>(core: &Core, spec: &'a ContainerSpec) -> Result<Cow<'a, ContainerSpec>, runtime::Error> {
    let Some(file) = &spec.seccomp_file else { return Ok(Cow::Borrowed(spec)) };
    let path = core.pods_dir.with_file_name(SECCOMP_DIR).join(file);
    let profile = std::fs::read_to_string(&path).map_err(|error| {
        runtime::Error::Refused(format!("cannot load seccomp profile {:?}: {error}", path.display().to_string()))
    })?;
    let mut spec = spec.clone();
    spec.security_opts.push(format!("seccomp={profile}"));
    spec.seccomp_file = Some(path.display().to_string());
    Ok(Cow::Owned(spec))
}

/// Enters that a container did not get to run. An engine that does not answer is waited for instead.
pub fn start_failed(
    core: &Core,
    uid: &str,
    container: &str,
    step: StartStep,
    error: runtime::Error,
) -> Result<(), Error> {
    if let runtime::Error::Unreachable { .. } = error {
        // The reply may be lost: what there is now is found by its name.
        core.memories.with(uid, |memory| memory.stale = true);
        return Err(error.into());
    }
    let failure = StartFailure { step, message: error.to_string(), retry_at: Timestamp::now() + RETRY };
    core.memories.with(uid, |memory| memory.failures.insert(container.to_owned(), failure));
    Ok(())
}

/// Looks at one container and enters what it is doing.
async fn see(core: &Core, uid: &str, name: &str) -> Result<(), Error> {
    let seen = core.heard(core.engine.inspect(name).await);
    core.memories.with(uid, |memory| match seen {
        Ok(Some(seen)) => {
            memory.containers.insert(name.to_owned(), seen);
            Ok(())
        }
        Ok(None) => {
            memory.containers.remove(name);
            Ok(())
        }
        Err(error) => {
            memory.stale = true;
            Err(error.into())
        }
    })
}

fn follow(core: &Arc<Core>, uid: &str, attempt: Attempt, name: String) {
    let first = core.memories.with(uid, |memory| memory.followed.insert(attempt.clone()));
    if !first {
        return;
    }
    let key = LogKey { pod_uid: uid.to_owned(), container: attempt.container.clone(), attempt: attempt.number };
    let (core_of_task, uid) = (Arc::clone(core), uid.to_owned());
    core.tasks.spawn(async move {
        let core = core_of_task;
        let logs = core.store.logs().clone();
        let lost = |gap: &Gap| {
            let warning = output_lost(&attempt.container, gap);
            core.memories.known(&uid, |memory| memory.note(warning));
            core.queue.add(uid.clone());
        };
        let complete = logs::follow(Arc::clone(&core.engine), logs, key, name, core.stop.clone(), lost).await;
        core.memories.known(&uid, |memory| memory.followed.remove(&attempt));
        if complete {
            core.queue.add(uid);
        }
    });
}

/// Differs: a kubelet's rotation loses such output in silence.
fn output_lost(container: &str, gap: &Gap) -> Note {
    let Gap { from, to } = gap;
    let message = format!("The engine dropped output before it was kept: what was written from {from} to {to} is lost");
    warning("OutputLost", message, Some(container))
}

/// The signal that the container's image asks to be stopped with.
async fn image_signal(core: &Core, seen: &Observed, name: &str) -> String {
    let container = seen.facts.containers.iter().find(|seen| seen.name == name).and_then(names::identity);
    let spec = seen.facts.pod.spec.as_ref();
    let image = spec.zip(container).and_then(|(spec, (container, _))| {
        let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        all.find(|spec| spec.name == container)?.image.clone()
    });
    let signal = core.images.stop_signal(image.as_deref().unwrap_or_default()).await;
    signal.unwrap_or_else(|| SIGTERM.to_owned())
}

/// Removes engine volumes first: the directory stands for the pod's data until all of it is gone.
async fn remove_data(core: &Core, uid: &str, engine_volumes: Vec<String>) -> Result<(), Error> {
    for name in engine_volumes {
        core.heard(core.engine.remove_volume(&name).await)?;
    }
    image_mounts::release(core, uid).await?;
    volumes::remove_all(&core.pods_dir.join(uid))?;
    core.memories.known(uid, |memory| {
        memory.volumes = VolumesFact::Unknown;
        memory.engine_volumes.clear();
        memory.hosts = None;
    });
    Ok(())
}

/// The pod has ended: the object goes, or is marked so that it goes with its last finalizer.
async fn finish_deletion(core: &Core, seen: &Observed) -> Result<(), Error> {
    // The revision may have risen with this very round's status.
    let Some(object) = core.store.get(&seen.object.key())?.filter(|object| object.uid() == seen.object.uid()) else {
        return Ok(());
    };
    let expected = Expected::Revision(object.revision());
    let write = match deletion::delete(&object, Some(0), Propagation::Background, Timestamp::now()) {
        Deletion::Remove => Write::Delete { key: object.key(), expected },
        Deletion::Mark(object) => Write::Update { object, expected },
        Deletion::Underway => return Ok(()),
    };
    match core.store.commit(vec![write]).await {
        Ok(_) | Err(store::Error::Conflict { .. } | store::Error::NotFound(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes whatever is left of a pod that the store no longer has.
pub async fn forget(core: &Core, uid: &str) -> Result<(), Error> {
    let mut left =
        core.memories.known(uid, |memory| memory.containers.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    // The sandbox last: podman removes none whose namespaces others share.
    left.sort_by_key(|name| *name == names::sandbox(uid));
    for name in left {
        core.heard(core.engine.remove(&name).await)?;
        core.probers.end_run(uid, &name);
        core.memories.known(uid, |memory| memory.forget_container(&name));
    }
    let volumes = core.memories.known(uid, |memory| memory.engine_volumes.clone());
    remove_data(core, uid, volumes.unwrap_or_default()).await?;
    let logs = core.store.logs().clone();
    let of = uid.to_owned();
    tokio::task::spawn_blocking(move || logs.remove(&of)).await.map_err(std::io::Error::other)??;
    core.images.forget(uid);
    core.memories.forget(uid);
    core.with_mentions(|mentions| mentions.forget(uid));
    Ok(())
}
