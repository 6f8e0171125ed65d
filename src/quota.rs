//! Owns the counting of what stands against ResourceQuotas: `status.hard` and `status.used` follow what there is.
//! Never refuses anything: admission does, and charges what it lets in.
//!
//! ```text
//!  watch (every kind in a namespace) --> what each object weighs, in namespaces with quotas --> queue by namespace
//!                                                   |                                              |
//!                                                   +---- summed up, as of the same revision ------+--> commit
//! ```
//!
//! A quota is kept as the watch shows it, and written back only where nobody has charged it since: what is charged is in
//! the log before the quota that was charged for it, so that a sum that misses it fails its guard.
//!
//! Parity: upstream's resource quota controller.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, ResourceQuota};
use tokio_util::sync::CancellationToken;

use crate::model::kind::{KINDS, Kind};
use crate::model::object::{Key, Object};
use crate::model::quota::{Weight, counted};
use crate::reconcile::Queue;
use crate::store::{Change, Error, Expected, Query, Store, Write};

/// Namespaces worked on at once; a commit each, and they share the writer's transactions.
const WORKERS: usize = 4;
/// Pause before a watch that failed is opened again.
const RETRY: Duration = Duration::from_secs(1);
/// Changes that come together are counted together: a Job's pods end in bursts.
const BATCH: Duration = Duration::from_millis(20);

/// What the watch has told of the namespaces that have quotas.
#[derive(Default)]
struct Seen(HashMap<String, Ledger>);

/// One namespace.
#[derive(Default)]
struct Ledger {
    quotas: BTreeMap<String, Object>,
    weights: HashMap<Key, Weight>,
}

/// Counts until `stop`.
pub async fn run(store: Store, stop: CancellationToken) {
    let queue = Queue::new("quota");
    let seen = Arc::new(Mutex::new(Seen::default()));
    let reconcile = |namespace: String| {
        let (store, seen) = (store.clone(), Arc::clone(&seen));
        async move { recount(&store, &seen, &namespace).await.map(|()| None) }
    };
    let wake = async {
        if stop.run_until_cancelled(wake(&store, &queue, &seen)).await.is_some() {
            tracing::info!("quotas are no longer counted: the store is closed");
        }
    };
    tokio::join!(queue.run(WORKERS, stop.clone(), reconcile), wake);
}

async fn wake(store: &Store, queue: &Queue<String>, seen: &Mutex<Seen>) {
    loop {
        match follow(store, queue, seen).await {
            Ok(never) => match never {},
            Err(Error::Closed) => return,
            Err(error) => tracing::warn!(?error, "the count of quotas begins anew"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Kinds whose objects may count. Events are too many, and upstream ignores them too.
fn kinds() -> Vec<&'static Kind> {
    let event = Kind::of::<Event>();
    KINDS.iter().filter(|kind| kind.namespaced && kind.face.is_none() && **kind != *event).collect()
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow(store: &Store, queue: &Queue<String>, seen: &Mutex<Seen>) -> Result<Infallible, Error> {
    // The watch begins first, so that what happens during the look is seen too.
    let mut watch = store.watch(&kinds(), store.revision())?;
    *lock(seen) = Seen::default();
    for quota in store.list(&Query::all(Kind::of::<ResourceQuota>()))?.objects {
        let namespace = quota.key().namespace;
        adopt(store, seen, quota)?;
        queue.add(namespace);
    }
    loop {
        let change = watch.next().await?;
        if let Some(namespace) = learn(store, seen, &change)? {
            queue.add_after(namespace, BATCH);
        }
    }
}

/// Takes a change in; the namespace whose quotas it may concern.
fn learn(store: &Store, seen: &Mutex<Seen>, change: &Change) -> Result<Option<String>, Error> {
    let Some(key) = change.after.as_ref().or(change.before.as_ref()).map(Object::key) else { return Ok(None) };
    let namespace = key.namespace.clone();
    if key.kind == Kind::of::<ResourceQuota>() {
        match &change.after {
            Some(quota) => adopt(store, seen, quota.clone())?,
            None => lock(seen).forget(&key),
        }
    }
    let mut seen = lock(seen);
    let Some(ledger) = seen.0.get_mut(&namespace) else { return Ok(None) };
    match change.after.as_ref().and_then(Weight::of) {
        Some(weight) => drop(ledger.weights.insert(key, weight)),
        None => drop(ledger.weights.remove(&key)),
    }
    Ok(Some(namespace))
}

/// Takes a quota in; a namespace's first makes everything in it be weighed.
fn adopt(store: &Store, seen: &Mutex<Seen>, quota: Object) -> Result<(), Error> {
    let key = quota.key();
    if !lock(seen).0.contains_key(&key.namespace) {
        let weights = weigh(store, &key.namespace)?;
        lock(seen).0.insert(key.namespace.clone(), Ledger { weights, ..Ledger::default() });
    }
    lock(seen).0.entry(key.namespace).or_default().quotas.insert(key.name, quota);
    Ok(())
}

fn weigh(store: &Store, namespace: &str) -> Result<HashMap<Key, Weight>, Error> {
    let mut weights = HashMap::new();
    for kind in kinds() {
        store.each(&Query { namespace: Some(namespace), ..Query::all(kind) }, |object| {
            weights.extend(Weight::of(object).map(|weight| (object.key(), weight)));
            Ok(())
        })?;
    }
    Ok(weights)
}

impl Seen {
    fn forget(&mut self, quota: &Key) {
        let Some(ledger) = self.0.get_mut(&quota.namespace) else { return };
        ledger.quotas.remove(&quota.name);
        if ledger.quotas.is_empty() {
            self.0.remove(&quota.namespace);
        }
    }

    /// The quotas of a namespace whose status is not what there is, with the right one.
    fn wrong(&self, namespace: &str) -> Vec<Write> {
        let Some(ledger) = self.0.get(namespace) else { return Vec::new() };
        let write = |object: &Object| {
            let quota = object.typed::<ResourceQuota>()?;
            let status = counted(quota, ledger.weights.values());
            if quota.status.as_ref() == Some(&status) {
                return None;
            }
            let object = Object::new(ResourceQuota { status: Some(status), ..quota.clone() });
            Some(Write::Update { expected: Expected::Revision(object.revision()), object })
        };
        ledger.quotas.values().filter_map(write).collect()
    }
}

async fn recount(store: &Store, seen: &Mutex<Seen>, namespace: &str) -> Result<(), Error> {
    let writes = lock(seen).wrong(namespace);
    for write in writes {
        match store.commit(vec![write]).await {
            // Its next state is on its way, and brings the namespace back here.
            Ok(_) | Err(Error::Conflict { .. } | Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
