//! Owns the loop over claims and volumes: what wakes them, the commits, and the engine's volumes behind them.
//! Never decides: `plan`, `reclaim` and `ephemeral` do.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use tokio_util::sync::CancellationToken;

use super::plan::{Facts, Said};
use super::users::Users;
use super::{ephemeral, plan, reclaim};
use crate::admission::{self, Admission, Reservation};
use crate::feed;
use crate::model::claims;
use crate::model::event;
use crate::model::kind::Kind;
use crate::model::object::{Key, Object, Resource};
use crate::reconcile::Queue;
use crate::runtime::directories::{self, Directory};
use crate::runtime::{self, Runtime, VolumeSpec};
use crate::store::{self, Change, Expected, Query, Store, Write};

/// Claims and volumes looked at side by side; each waits for the writer, some for the engine.
const WORKERS: usize = 4;
/// Anyone may use a fresh volume, whoever the container runs as. Parity: local-path's.
const OPEN: u32 = 0o777;
/// What waits for something that nobody announces (a class, a volume of somebody else's) is looked at again after this.
/// Parity: the controller's resync.
const RECHECK: Duration = Duration::from_secs(300);
/// Who says what becomes of the claims of pods. Parity: upstream's component.
const EPHEMERAL: &str = "ephemeral_volume";

/// Why a look did not succeed: the queue tries again later.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] runtime::Error),
}

/// What every run shares.
struct Core {
    store: Store,
    engine: Option<Arc<dyn Runtime>>,
    node: String,
    noted: Mutex<Noted>,
}

/// What changes have told.
#[derive(Default)]
struct Noted {
    users: Users,
    /// Claims that wait for a volume.
    pending: BTreeSet<Key>,
}

/// Runs until `stop`. Without an engine, claims are bound to volumes that others entered, and none is made.
pub async fn run(store: Store, engine: Option<Arc<dyn Runtime>>, node: String, stop: CancellationToken) {
    let core = Arc::new(Core { store: store.clone(), engine, node, noted: Mutex::default() });
    let queue = Queue::new("volumes");
    let kinds = [
        Kind::of::<PersistentVolumeClaim>(),
        Kind::of::<PersistentVolume>(),
        Kind::of::<StorageClass>(),
        Kind::of::<Pod>(),
    ];
    let (of_all, of_one) = (Arc::clone(&core), Arc::clone(&core));
    let feeding = feed::feed(
        store,
        &kinds,
        queue.clone(),
        stop.clone(),
        move || of_all.all(),
        move |change| Ok(of_one.of(change)),
    );
    let working = queue.run(WORKERS, stop, |key: Key| sync(Arc::clone(&core), key));
    tokio::join!(feeding, working);
}

async fn sync(core: Arc<Core>, key: Key) -> Result<Option<Duration>, Error> {
    let Some(object) = core.store.get(&key)? else {
        core.noted().pending.remove(&key);
        return Ok(None);
    };
    let again = if let Some(claim) = object.typed::<PersistentVolumeClaim>() {
        sync_claim(&core, &object, claim).await
    } else if let Some(volume) = object.typed::<PersistentVolume>() {
        sync_volume(&core, &object, volume).await
    } else if let Some(pod) = object.typed::<Pod>() {
        make_claims(&core, &object, pod).await
    } else {
        Ok(None)
    };
    match again {
        // Somebody wrote first: what they wrote decides.
        Err(Error::Store(
            store::Error::Conflict { .. } | store::Error::NotFound(_) | store::Error::AlreadyExists(_),
        )) => Ok(Some(Duration::ZERO)),
        other => other,
    }
}

async fn sync_claim(core: &Core, object: &Object, claim: &PersistentVolumeClaim) -> Result<Option<Duration>, Error> {
    let now = Timestamp::now();
    let volumes = core.each::<PersistentVolume>()?;
    let classes = core.each::<StorageClass>()?;
    let typed: Vec<PersistentVolume> = volumes.iter().filter_map(|one| one.typed().cloned()).collect();
    let classes: Vec<StorageClass> = classes.iter().filter_map(|one| one.typed().cloned()).collect();
    let meta = object.meta();
    let name = |text: &Option<String>| text.clone().unwrap_or_default();
    let used = core.noted().users.of(&name(&meta.namespace), &name(&meta.name));
    let facts =
        Facts { claim, volumes: &typed, classes: &classes, used, node: &core.node, engine: core.engine.is_some() };
    let plan = plan::claim(&facts, now);
    if let Some(spec) = &plan.make
        && let Err(error) = core.make(spec).await
    {
        let said = Said::failed(claims::class_of(claim), &error.to_string());
        core.store.commit(vec![record(object, &said, now)]).await?;
        return Err(error.into());
    }
    let settled = claims::is_bound(claim) || plan.claim.as_ref().is_some_and(claims::is_bound);
    let going = meta.deletion_timestamp.is_some();
    core.note_pending(object.key(), !settled && !going);
    let mut writes: Vec<Write> = Vec::new();
    if let Some(claim) = plan.claim {
        writes.push(update(claim, object));
    }
    if let Some(volume) = plan.volume {
        let before = volumes.iter().find(|one| one.meta().name == volume.metadata.name);
        writes.extend(before.map(|before| update(volume, before)));
    }
    writes.extend(plan.create.map(|volume| Write::Create(Object::new(volume))));
    writes.extend(plan.events.iter().map(|said| record(object, said, now)));
    if !writes.is_empty() {
        core.store.commit(writes).await?;
    }
    Ok((!settled && !going).then_some(RECHECK))
}

async fn sync_volume(core: &Core, object: &Object, volume: &PersistentVolume) -> Result<Option<Duration>, Error> {
    let now = Timestamp::now();
    let kept = claim_key(volume);
    let claim = kept.map(|key| core.store.get(&key)).transpose()?.flatten();
    let plan = reclaim::volume(volume, claim.as_ref().and_then(Object::typed), now);
    if let (Some(name), Some(engine)) = (&plan.remove, &core.engine) {
        if let Err(error) = engine.remove_volume(name).await {
            let said = Said::new(event::Severity::Warning, "VolumeFailedDelete", error.to_string());
            core.store.commit(vec![record(object, &said, now)]).await?;
            return Err(error.into());
        }
        let expected = Expected::Revision(object.revision());
        core.store.commit(vec![Write::Delete { key: object.key(), expected }]).await?;
        return Ok(None);
    }
    let mut writes: Vec<Write> = plan.volume.map(|volume| update(volume, object)).into_iter().collect();
    writes.extend(plan.events.iter().map(|said| record(object, said, now)));
    if !writes.is_empty() {
        core.store.commit(writes).await?;
    }
    Ok(None)
}

/// Makes the claims of a pod's ephemeral volumes. One of that name that is somebody else's is left alone: the pod waits.
/// Parity: a refusal is told of the pod, by upstream's controller and in its words.
async fn make_claims(core: &Core, object: &Object, pod: &Pod) -> Result<Option<Duration>, Error> {
    let mut refused = false;
    for claim in ephemeral::wanted(pod) {
        let name = claim.metadata.name.clone().unwrap_or_default();
        match make_claim(core, claim).await {
            Ok(()) | Err(admission::Error::Store(store::Error::AlreadyExists(_))) => {}
            Err(admission::Error::Store(error)) => return Err(error.into()),
            Err(admission::Error::Refused(why)) => {
                let pod = format!("{}-", object.key().name);
                let volume = name.strip_prefix(&pod).unwrap_or(&name);
                let text = format!("ephemeral volume {volume}: create PVC {name}: {why}");
                let severity = event::Severity::Warning;
                let said = event::about(object, EPHEMERAL, severity, "FailedBinding", &text, Timestamp::now());
                core.store.commit(vec![Write::Record(said)]).await?;
                refused = true;
            }
        }
    }
    Ok(admission::again(refused, None))
}

/// Makes a claim as a client would, under the limits and quotas of its namespace.
async fn make_claim(core: &Core, claim: PersistentVolumeClaim) -> Result<(), admission::Error> {
    let object = Object::new(claim);
    let key = object.key();
    if core.store.get(&key)?.is_some() {
        return Ok(());
    }
    let admission = Admission::of(&core.store, key.kind, &key.namespace)?;
    let mut reservation = Reservation::of(&core.store, &key.namespace).await?;
    let object = admission.admit(&object, &mut reservation)?;
    let made = Write::Create((object.kind().ops.prepare_create)(&object));
    let writes = [made].into_iter().chain(reservation.writes()).collect();
    core.store.commit(writes).await?;
    Ok(())
}

fn update<T: Resource>(value: T, before: &Object) -> Write {
    Write::Update { object: Object::new(value), expected: Expected::Revision(before.revision()) }
}

fn record(object: &Object, said: &Said, now: Timestamp) -> Write {
    Write::Record(event::about(object, said.component, said.severity, said.reason, &said.message, now))
}

/// The claim that a volume names.
fn claim_key(volume: &PersistentVolume) -> Option<Key> {
    let kept = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some(Key::of::<PersistentVolumeClaim>(kept.namespace.as_deref()?, kept.name.as_deref()?))
}

impl Core {
    /// Makes the engine's volume, open to everybody; making it again is harmless until it is used.
    async fn make(&self, spec: &VolumeSpec) -> Result<(), runtime::Error> {
        let Some(engine) = &self.engine else { return Ok(()) };
        engine.create_volume(spec).await?;
        let image = engine.sandbox_image().await?;
        let through = directories::holder(&spec.name, &image, spec.labels.clone(), [spec.name.as_str()]);
        let root = Directory { path: directories::place(&spec.name), mode: OPEN, uid: 0, gid: 0 };
        directories::make(engine.as_ref(), &through, &[root]).await
    }

    /// Whom to look at after a start.
    fn all(&self) -> Result<BTreeSet<Key>, store::Error> {
        let mut keys = BTreeSet::new();
        let mut users = Users::default();
        self.store.each(&Query::all(Kind::of::<Pod>()), |pod| {
            users.enter(None, pod.typed());
            keys.extend(wants_claims(pod).then(|| pod.key()));
            Ok(())
        })?;
        self.noted().users = users;
        for kind in [Kind::of::<PersistentVolumeClaim>(), Kind::of::<PersistentVolume>()] {
            self.store.each(&Query::all(kind), |object| {
                keys.insert(object.key());
                Ok(())
            })?;
        }
        Ok(keys)
    }

    /// Whom a change concerns.
    fn of(&self, change: &Change) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        if *change.kind == *Kind::of::<Pod>() {
            let typed = |object: &Option<Object>| object.as_ref().and_then(|object| object.typed::<Pod>().cloned());
            let changed = self.noted().users.enter(typed(&change.before).as_ref(), typed(&change.after).as_ref());
            keys.extend(changed.iter().map(|(namespace, name)| Key::of::<PersistentVolumeClaim>(namespace, name)));
            let new = change.after.iter().filter(|_| change.before.is_none());
            keys.extend(new.filter(|pod| wants_claims(pod)).map(Object::key));
            return keys;
        }
        let states = change.before.iter().chain(&change.after);
        for object in states {
            keys.extend((*change.kind != *Kind::of::<StorageClass>()).then(|| object.key()));
            if let Some(claim) = object.typed::<PersistentVolumeClaim>() {
                keys.extend(claims::volume_name(claim).map(|name| Key::of::<PersistentVolume>("", name)));
            }
            if let Some(volume) = object.typed::<PersistentVolume>() {
                keys.extend(claim_key(volume));
            }
        }
        if *change.kind != *Kind::of::<PersistentVolumeClaim>() {
            // A class or a volume may be what a claim waits for.
            keys.extend(self.noted().pending.iter().cloned());
        }
        keys
    }

    fn each<T: Resource>(&self) -> Result<Vec<Object>, store::Error> {
        let mut out = Vec::new();
        self.store.each(&Query::all(Kind::of::<T>()), |object| {
            out.push(object.clone());
            Ok(())
        })?;
        Ok(out)
    }

    fn note_pending(&self, key: Key, pending: bool) {
        let mut noted = self.noted();
        if pending {
            noted.pending.insert(key)
        } else {
            noted.pending.remove(&key)
        };
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wants_claims(pod: &Object) -> bool {
    pod.typed::<Pod>().is_some_and(|pod| claims::of_pod(pod).iter().any(|(_, ephemeral)| *ephemeral))
}
