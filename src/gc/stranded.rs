//! Owns the end of pods that no node will see to: those bound to a node that is not there, and those deleted before any
//! node had them. Never touches a pod whose node is registered, nor one that is over and stays.
//!
//! ```text
//!  bound to a node that is gone --40 s--> Failed, DisruptionTarget --> deleted without grace
//!  deleted before it was bound  --20 s--> Failed                   --> deleted without grace
//! ```
//!
//! Parity: `gcOrphaned` and `gcUnscheduledTerminating` of upstream's pod garbage collector.
//! Differs: what ended well or badly before its node went is history with its logs kept here, and stays.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{keep, update};
use crate::feed;
use crate::model::condition;
use crate::model::deletion::{self, Deletion};
use crate::model::kind::Kind;
use crate::model::object::{Key, Object};
use crate::model::phase;
use crate::reconcile::Queue;
use crate::store::{Change, Error, Expected, Query, Store, Write};

/// Pods ended side by side: there is no hurry, and the writer is one.
const WORKERS: usize = 2;
/// A node may be about to register. Parity: `quarantineTime`.
const QUARANTINE: Duration = Duration::from_secs(40);
/// A node agent ends such a pod at once; this is for a store without one. Parity: `gcCheckPeriod`.
const UNBOUND_WAIT: Duration = Duration::from_secs(20);

/// Why nobody will see to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    NoSuchNode,
    NeverBound,
}

/// Since when a pod of this uid is known to be stranded.
type Known = Arc<Mutex<HashMap<Key, (String, Instant)>>>;

/// Runs until `stop`.
pub async fn run(store: Store, stop: CancellationToken) {
    let queue = Queue::new("gc_stranded_pods");
    let known = Known::default();
    let all = {
        let store = store.clone();
        move || all(&store)
    };
    let of = {
        let store = store.clone();
        move |change: &Change| of(&store, change)
    };
    let kinds = [Kind::of::<Pod>(), Kind::of::<Node>()];
    let feeding = feed::feed(store.clone(), &kinds, queue.clone(), stop.clone(), all, of);
    let working = queue.run(WORKERS, stop, |key| sync(store.clone(), Arc::clone(&known), key));
    tokio::join!(feeding, working);
}

fn all(store: &Store) -> Result<BTreeSet<Key>, Error> {
    let mut keys = BTreeSet::new();
    store.each(&Query::all(Kind::of::<Pod>()), |pod| {
        keys.extend(why(store, pod)?.map(|_| pod.key()));
        Ok(())
    })?;
    Ok(keys)
}

/// Only a step that can strand a pod makes it worth a look: it gets a node, its deletion begins, a node goes.
fn of(store: &Store, change: &Change) -> Result<BTreeSet<Key>, Error> {
    match (&change.before, &change.after) {
        (Some(_), None) if change.kind == Kind::of::<Node>() => all(store),
        (before, Some(after)) if change.kind == Kind::of::<Pod>() => {
            let steps = |pod: &Object| (node(pod).to_owned(), pod.meta().deletion_timestamp.is_some());
            let news = before.as_ref().is_none_or(|before| steps(before) != steps(after));
            Ok(if news { why(store, after)?.map(|_| after.key()).into_iter().collect() } else { BTreeSet::new() })
        }
        _nothing_to_see => Ok(BTreeSet::new()),
    }
}

fn node(pod: &Object) -> &str {
    let spec = pod.typed::<Pod>().and_then(|pod| pod.spec.as_ref());
    spec.and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn why(store: &Store, object: &Object) -> Result<Option<Why>, Error> {
    let meta = object.meta();
    let leaving = meta.deletion_timestamp.is_some();
    let over = object.typed::<Pod>().is_some_and(phase::is_over);
    // What is left then waits for its finalizers, which are others'.
    let done = over && (!leaving || meta.deletion_grace_period_seconds.unwrap_or(0) == 0);
    Ok(match node(object) {
        _ if done => None,
        "" => leaving.then_some(Why::NeverBound),
        name => store.get(&Key::of::<Node>("", name))?.is_none().then_some(Why::NoSuchNode),
    })
}

/// Ends the pod if it has been stranded for long enough, or answers after which time to look again.
async fn sync(store: Store, known: Known, key: Key) -> Result<Option<Duration>, Error> {
    let found = match store.get(&key)? {
        Some(object) => why(&store, &object)?.map(|why| (object, why)),
        None => None,
    };
    let Some((object, why)) = found else {
        known.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        return Ok(None);
    };
    let wait = match why {
        Why::NoSuchNode => QUARANTINE,
        Why::NeverBound => UNBOUND_WAIT,
    };
    let since = since(&known, &key, object.uid());
    let left = wait.saturating_sub(since.elapsed());
    if !left.is_zero() {
        return Ok(Some(left));
    }
    match store.commit(end(&object, why, Timestamp::now())).await {
        // Somebody changed it: look again whether it is still so.
        Err(Error::Conflict { .. }) => Ok(Some(Duration::ZERO)),
        Ok(_) | Err(Error::NotFound(_)) => {
            tracing::info!(%key, ?why, "a pod that no node would end is given up");
            known.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn since(known: &Known, key: &Key, uid: &str) -> Instant {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = known.entry(key.clone()).or_insert_with(|| (uid.to_owned(), Instant::now()));
    if entry.0 != uid {
        *entry = (uid.to_owned(), Instant::now());
    }
    entry.1
}

/// The pod is told as failed before it goes: whoever counts it, counts that.
fn end(object: &Object, why: Why, now: Timestamp) -> Vec<Write> {
    let mut pod = object.typed::<Pod>().cloned().unwrap_or_default();
    if !phase::is_over(&pod) {
        pod.status.get_or_insert_default().phase = Some("Failed".to_owned());
        match why {
            Why::NoSuchNode => condition::disrupt(&mut pod, "DeletionByPodGC", "PodGC: node no longer exists", now),
            Why::NeverBound => {}
        }
    }
    let failed = Object::new(pod);
    let mut writes = vec![update(failed.clone())];
    match deletion::delete(&failed, Some(0), keep(&failed), now) {
        Deletion::Remove => writes.push(Write::Delete { key: failed.key(), expected: Expected::Exists }),
        Deletion::Mark(object) => writes.push(Write::Update { object, expected: Expected::Exists }),
        Deletion::Underway => {}
    }
    writes
}
