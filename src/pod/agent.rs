//! Owns the node agent's loop: what wakes a pod, and the round of observe, plan, apply. Never decides: `plan` does.
//!
//! ```text
//!  store: pods, ConfigMaps, Secrets --+
//!  engine: hints ---------------------+--> queue by pod uid --> observe --> plan --> commit --> apply --+
//!  timers: wake_at, sweep ------------+                            ^                                    |
//!                                                                  +---- until nothing is left to do ---+
//! ```
//!
//! When it is told to stop, containers run on; the next agent finds them by their names.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio_util::sync::CancellationToken;

use super::apply::{self, Commit};
use super::core::{Core, Credentials, Error, Ground};
use super::facts::{NodeFacts, VolumesFact};
use super::image_gc::Policy;
use super::observe::{Observed, observe};
use super::plan::plan;
use super::pressure::Threshold;
use super::{collect, hosts_files, measure, node, phase, squeeze, sweep, volumes_plan};
use crate::model::kind::Kind;
use crate::model::object::Object;
use crate::runtime::{Devices, Hint, Runtime};
use crate::store::{self, Change, Store};

/// Pods worked on at once. The engine starts a handful at a time; the rest are waiting for its replies.
const WORKERS: usize = 64;
/// Rounds in one run of a pod. A pod with ten containers needs fewer; more means that something goes in circles.
const MAX_ROUNDS: usize = 32;
/// Pause for a pod that goes in circles.
const CIRCLING: Duration = Duration::from_secs(5);
/// Heartbeat of the node. Parity: the kubelet's lease renewal.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How often everything is looked at, in case that a hint was lost.
const SWEEP: Duration = Duration::from_secs(60);
/// How often pods with limits of storage are measured. Parity: the kubelet's `monitoringInterval`.
const MEASURE: Duration = Duration::from_secs(10);
/// Pause before the engine or the store is tried again at the start.
const RETRY: Duration = Duration::from_secs(1);
/// Directory of pods' files in the data directory.
const PODS_DIR: &str = "mounts";

/// A node agent, ready to run.
pub struct Agent {
    /// The store that it shares with the rest.
    pub store: Store,
    /// The engine; its containers carry the store's id.
    pub runtime: Arc<dyn Runtime>,
    /// The data directory. The engine mounts files from there, so it must see the same paths.
    pub data_dir: PathBuf,
    /// When the node is short of something; `pressure::thresholds` reads them.
    pub thresholds: Vec<Threshold>,
    /// When images that jobdock pulled go.
    pub image_gc: Policy,
    /// The most processes that a container may have; none for no bound.
    pub pids_limit: Option<u64>,
    /// Devices that pods may have, of kinds that the engine does not find by itself.
    pub devices: Devices,
    /// Name of the Node; [`node::name`] knows it.
    pub node_name: String,
    /// What pods that call the API are given.
    pub credentials: Credentials,
}

/// Runs pods until `stop`. Containers are left running.
pub async fn run(agent: Agent, stop: CancellationToken) {
    let Some(core) = begin(agent, &stop).await else { return };
    let hints = core.engine.hints();
    let Some(revision) = survey(&core, &stop).await else { return };
    let work = {
        let core = Arc::clone(&core);
        move |uid: String| reconcile(Arc::clone(&core), uid)
    };
    tokio::join!(
        core.queue.run(WORKERS, stop.clone(), work),
        stop.run_until_cancelled(follow_hints(&core, hints)),
        stop.run_until_cancelled(follow_store(&core, revision)),
        stop.run_until_cancelled(hosts_files::keep(&core)),
        stop.run_until_cancelled(collect::keep(&core)),
        stop.run_until_cancelled(every(HEARTBEAT, || heartbeat(&core))),
        stop.run_until_cancelled(every(SWEEP, || sweep::everything(&core))),
        stop.run_until_cancelled(every(MEASURE, || measure::everything(&core))),
    );
    core.tasks.close();
    core.tasks.wait().await;
}

/// Registers the node, as soon as the engine answers.
async fn begin(agent: Agent, stop: &CancellationToken) -> Option<Arc<Core>> {
    let Agent { store, runtime, data_dir, thresholds, image_gc, pids_limit, devices, node_name, credentials } = agent;
    // Absolute, for the engine mounts from there.
    let pods_dir = std::path::absolute(data_dir.join(PODS_DIR)).unwrap_or_else(|_| data_dir.join(PODS_DIR));
    persist(stop, "the node's former name stays", || async { Ok(node::succeed(&store, &node_name).await?) }).await?;
    let lives = match node::remembered(&store, &node_name) {
        Ok(lives) => lives,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the node's past cannot be read");
            None
        }
    };
    let node = NodeFacts { name: node_name, ..NodeFacts::default() };
    let ground = Ground { node, lives, thresholds, pids_limit, devices, ..Ground::default() };
    let core = Arc::new(Core::new(store, runtime, pods_dir, ground, image_gc, credentials, stop.clone()));
    // What the node has is told with its first registration.
    persist(stop, "the machine cannot be measured", || squeeze::look(&core)).await?;
    persist(stop, "the engine cannot be asked", || async { core.ask_life().await.map(drop) }).await?;
    Some(core)
}

/// Looks at everything once; returns the revision from which to watch.
async fn survey(core: &Core, stop: &CancellationToken) -> Option<u64> {
    persist(stop, "the first look failed", || async {
        sweep::everything(core).await?;
        squeeze::look(core).await?;
        sweep::logs(core)?;
        sweep::pods(core)
    })
    .await
}

/// Tries until it succeeds; none where `stop` comes first.
async fn persist<T, F: Future<Output = Result<T, Error>>>(
    stop: &CancellationToken,
    what: &str,
    attempt: impl Fn() -> F,
) -> Option<T> {
    loop {
        match stop.run_until_cancelled(attempt()).await? {
            Ok(value) => return Some(value),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "{what}"),
        }
        stop.run_until_cancelled(tokio::time::sleep(RETRY)).await?;
    }
}

/// Parity: the kubelet measures as often as it renews its lease.
async fn heartbeat(core: &Core) -> Result<(), Error> {
    squeeze::look(core).await?;
    core.ask_life().await.map(drop)
}

async fn every<F: Future<Output = Result<(), Error>>>(period: Duration, work: impl Fn() -> F) {
    loop {
        tokio::time::sleep(period).await;
        if let Err(error) = work().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "regular work is tried again later");
        }
    }
}

async fn follow_hints(core: &Core, mut hints: futures::stream::BoxStream<'static, Hint>) {
    while let Some(hint) = hints.next().await {
        match hint {
            Hint::Pod { uid } => {
                if core.memories.known(&uid, |memory| memory.stale = true).is_some() {
                    core.queue.add(uid);
                }
            }
            Hint::Resync => {
                if let Err(error) = sweep::everything(core).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the look at everything is repeated later"
                    );
                    tokio::time::sleep(RETRY).await;
                    // The regular sweep repeats it; a gap may not wait that long.
                    let _ = sweep::everything(core).await;
                }
            }
        }
    }
}

async fn follow_store(core: &Core, mut revision: u64) {
    let names = [Kind::of::<Service>(), Kind::of::<EndpointSlice>(), Kind::of::<Endpoints>()];
    let sources = [Kind::of::<ConfigMap>(), Kind::of::<Secret>(), Kind::of::<PersistentVolumeClaim>()];
    let kinds = [&[Kind::of::<Pod>()][..], &sources, &names].concat();
    loop {
        match watch(core, &kinds, &mut revision).await {
            store::Error::Closed => return,
            // Too far behind the log: look at all pods, then go on from there.
            store::Error::Compacted(..) => match sweep::pods(core) {
                Ok(newest) => {
                    revision = newest;
                    core.names_changed.notify_one();
                }
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "pods cannot be listed"),
            },
            error => tracing::warn!(error = &error as &dyn std::error::Error, "the watch is opened again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn watch(core: &Core, kinds: &[&'static Kind], revision: &mut u64) -> store::Error {
    let mut watch = match core.store.watch(kinds, *revision) {
        Ok(watch) => watch,
        Err(error) => return error,
    };
    loop {
        match watch.next().await {
            Ok(change) => {
                *revision = change.revision;
                if change.kind == Kind::of::<Pod>() {
                    pod_changed(core, &change);
                } else if [Kind::of::<Service>(), Kind::of::<EndpointSlice>(), Kind::of::<Endpoints>()]
                    .contains(&change.kind)
                {
                    core.names_changed.notify_one();
                } else {
                    source_changed(core, &change);
                }
            }
            Err(error) => return error,
        }
    }
}

fn pod_changed(core: &Core, change: &Change) {
    let Some(object) = change.after.as_ref().or(change.before.as_ref()) else { return };
    let (uid, pod) = (object.uid().to_owned(), object.typed::<Pod>());
    let Some(pod) = pod else { return };
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    let unbound = node.is_empty() && pod.metadata.deletion_timestamp.is_some();
    let ours = unbound || core.with_ground(|ground| node == ground.node.name);
    if !ours {
        return;
    }
    core.count_running(&uid, pod.status.as_ref().filter(|_| change.after.is_some()));
    if change.after.is_none() {
        let volumes = volumes_plan::engine_volumes(pod);
        core.memories.with(&uid, |memory| memory.engine_volumes.extend(volumes));
        core.queue.add(uid);
        return;
    }
    let relabelled = change.before.as_ref().is_some_and(|before| {
        before.meta().labels != object.meta().labels || before.meta().annotations != object.meta().annotations
    });
    let own = core.memories.known(&uid, |memory| {
        memory.files_changed += u64::from(relabelled);
        memory.own_revision
    });
    let over = phase::terminal(pod.status.as_ref().and_then(|status| status.phase.as_deref()));
    let settled = over && own.is_none() && pod.metadata.deletion_timestamp.is_none();
    if !settled && own.is_none_or(|own| own < change.revision) {
        core.queue.add(uid);
    }
}

/// The pods that mention the object look at it: those that wait for it, and those whose volumes are made from it.
/// Parity: a running pod does not learn what becomes of an immutable object.
fn source_changed(core: &Core, change: &Change) {
    let states = || change.before.iter().chain(&change.after);
    let Some(key) = states().next().map(Object::key) else { return };
    let immutable = change.before.as_ref().is_some_and(|object| {
        object.typed::<ConfigMap>().is_some_and(|map| map.immutable == Some(true))
            || object.typed::<Secret>().is_some_and(|secret| secret.immutable == Some(true))
    });
    for uid in core.with_mentions(|mentions| mentions.of(&key)) {
        let concerned = core.memories.known(&uid, |memory| {
            memory.files_changed += u64::from(!immutable);
            if matches!(memory.volumes, VolumesFact::Failed { .. }) {
                memory.volumes = VolumesFact::Unknown;
            }
        });
        if concerned.is_some() {
            core.queue.add(uid);
        }
    }
}

/// One run of one pod: rounds of observe, plan, apply until nothing is left to do but wait.
async fn reconcile(core: Arc<Core>, uid: String) -> Result<Option<Duration>, Error> {
    for _ in 0..MAX_ROUNDS {
        let now = Timestamp::now();
        let Some(seen) = observe(&core, &uid, now).await? else {
            apply::forget(&core, &uid).await?;
            return Ok(None);
        };
        let mut plan = plan(&seen.facts, now);
        let committed = apply::commit(&core, &uid, &seen, &plan, now).await?;
        let actions = std::mem::take(&mut plan.actions);
        match committed {
            Commit::Stale => continue,
            Commit::Unchanged if actions.is_empty() => {
                settle(&core, &uid, &seen);
                return Ok(plan.wake_at.map(|at| until(at, now)));
            }
            Commit::Written | Commit::Unchanged => apply::apply(&core, &uid, &seen, actions).await?,
        }
    }
    tracing::warn!(%uid, "a pod goes in circles and is looked at again later");
    Ok(Some(CIRCLING))
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// A pod that is over and of which nothing is left needs no memory.
fn settle(core: &Core, uid: &str, seen: &Observed) {
    let facts = &seen.facts;
    let over = phase::terminal(facts.pod.status.as_ref().and_then(|status| status.phase.as_deref()));
    if over && facts.containers.is_empty() && !facts.has_data && facts.logs_followed.is_empty() {
        core.memories.forget(uid);
        core.images.forget(uid);
        core.with_mentions(|mentions| mentions.forget(uid));
    }
}
