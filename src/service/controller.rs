//! Owns the loop over Services: what wakes one, the look at what it has, the commit. Never decides: `plan` does.
//!
//! Which pods can be reached is kept in memory, fed by the watch from a list at the start: a Job may have ten thousand
//! finished pods that no Service sees, and they are not to be read at each change.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio_util::sync::CancellationToken;

use super::plan::{PodSeen, ServiceFacts, endpoints_are_kept, is_kept, plan};
use crate::model::event::{self, Severity};
use crate::model::kind::Kind;
use crate::model::object::Key;
use crate::model::service as meaning;
use crate::reconcile::Queue;
use crate::store::{Change, Error, Expected, Query, Store, Write};

/// Services worked on at the same time.
const WORKERS: usize = 4;
/// Pause before a broken watch is begun anew.
const REWATCH: Duration = Duration::from_secs(1);
/// Changes of pods of one Service that come together are written together: a Job's pods start and end in bursts.
const BATCH: Duration = Duration::from_millis(20);
/// Who says what is said about a Service.
const COMPONENT: &str = "service-controller";

/// What the watch has told.
#[derive(Default)]
struct Seen {
    /// Pods that can be reached, by namespace and name.
    pods: HashMap<String, BTreeMap<String, PodSeen>>,
    /// Selectors of Services, by namespace and name.
    services: HashMap<String, BTreeMap<String, BTreeMap<String, String>>>,
}

/// Keeps the endpoints of Services until `stop`.
pub async fn run(store: Store, stop: CancellationToken) {
    let queue: Queue<Key> = Queue::new("endpoint");
    let seen = Arc::new(Mutex::new(Seen::default()));
    let work = |key: Key| {
        let (store, seen) = (store.clone(), Arc::clone(&seen));
        async move { sync(&store, &seen, key).await }
    };
    let wake = async {
        loop {
            match stop.run_until_cancelled(follow(&store, &queue, &seen)).await {
                None | Some(Err(Error::Closed)) => return,
                Some(Err(error)) => tracing::warn!(%error, "the watch of Services begins anew"),
                Some(Ok(never)) => match never {},
            }
            stop.run_until_cancelled(tokio::time::sleep(REWATCH)).await;
        }
    };
    tokio::join!(queue.run(WORKERS, stop.clone(), work), wake);
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow(store: &Store, queue: &Queue<Key>, seen: &Mutex<Seen>) -> Result<Infallible, Error> {
    let kinds = [Kind::of::<Pod>(), Kind::of::<Service>(), Kind::of::<Endpoints>(), Kind::of::<EndpointSlice>()];
    // Watched from before the list, so that nothing falls in between.
    let mut watch = store.watch(&kinds, store.revision())?;
    *lock(seen) = look(store, queue)?;
    loop {
        let change = watch.next().await?;
        for key in lock(seen).learn(&change) {
            queue.add_after(key, BATCH);
        }
    }
}

/// Reads everything once; every Service, and whatever claims to belong to one, is looked at.
fn look(store: &Store, queue: &Queue<Key>) -> Result<Seen, Error> {
    let mut seen = Seen::default();
    for object in store.list(&Query::all(Kind::of::<Service>()))?.objects {
        seen.service(&object.key(), object.typed());
        queue.add(object.key());
    }
    for object in store.list(&Query::all(Kind::of::<Endpoints>()))?.objects {
        queue.add(Key::of::<Service>(&object.key().namespace, &object.key().name));
    }
    store.each(&Query::all(Kind::of::<Pod>()), |object| {
        seen.pod(&object.key(), object.typed::<Pod>().and_then(PodSeen::of));
        Ok(())
    })?;
    Ok(seen)
}

impl Seen {
    /// Takes a change in; answers which Services it concerns.
    fn learn(&mut self, change: &Change) -> Vec<Key> {
        let Some(object) = change.after.as_ref().or(change.before.as_ref()) else { return Vec::new() };
        let key = object.key();
        if change.kind == Kind::of::<Pod>() {
            let pod = change.after.as_ref().and_then(|object| object.typed::<Pod>());
            return self.pod(&key, pod.and_then(PodSeen::of));
        }
        if change.kind == Kind::of::<Service>() {
            self.service(&key, change.after.as_ref().and_then(|object| object.typed()));
            return vec![key];
        }
        let service = if change.kind == Kind::of::<Endpoints>() {
            Some(key.name)
        } else {
            object.meta().labels.as_ref().and_then(|labels| labels.get(meaning::LABEL_SERVICE)).cloned()
        };
        service.map(|name| Key::of::<Service>(&key.namespace, &name)).into_iter().collect()
    }

    fn service(&mut self, key: &Key, service: Option<&Service>) {
        let of_namespace = self.services.entry(key.namespace.clone()).or_default();
        match service.and_then(meaning::selector) {
            Some(selector) => drop(of_namespace.insert(key.name.clone(), selector.clone())),
            None => drop(of_namespace.remove(&key.name)),
        }
        if of_namespace.is_empty() {
            self.services.remove(&key.namespace);
        }
    }

    /// Answers the Services that select the pod as it was or as it is, where a Service can see a difference.
    fn pod(&mut self, key: &Key, pod: Option<PodSeen>) -> Vec<Key> {
        let of_namespace = self.pods.entry(key.namespace.clone()).or_default();
        let before = match &pod {
            Some(pod) => of_namespace.insert(key.name.clone(), pod.clone()),
            None => of_namespace.remove(&key.name),
        };
        if of_namespace.is_empty() {
            self.pods.remove(&key.namespace);
        }
        if before == pod {
            return Vec::new();
        }
        let services = self.services.get(&key.namespace).into_iter().flatten();
        let either: Vec<&PodSeen> = before.iter().chain(&pod).collect();
        services
            .filter(|(_, selector)| either.iter().any(|pod| meaning::selects(selector, &pod.labels)))
            .map(|(name, _)| Key::of::<Service>(&key.namespace, name))
            .collect()
    }

    fn selected(&self, namespace: &str, selector: &BTreeMap<String, String>) -> Vec<PodSeen> {
        let pods = self.pods.get(namespace).into_iter().flat_map(BTreeMap::values);
        pods.filter(|pod| meaning::selects(selector, &pod.labels)).cloned().collect()
    }
}

/// Brings one Service's endpoints up to date.
async fn sync(store: &Store, seen: &Mutex<Seen>, key: Key) -> Result<Option<Duration>, Error> {
    let endpoints = store.get(&Key::of::<Endpoints>(&key.namespace, &key.name))?;
    let Some(object) = store.get(&key)? else {
        // The slices go with their owner; Endpoints have none. Those that somebody else made stay: their Service may be
        // about to come.
        if let Some(endpoints) = endpoints.filter(|endpoints| endpoints_are_kept(endpoints.meta())) {
            let expected = Expected::Revision(endpoints.revision());
            store.commit(vec![Write::Delete { key: endpoints.key(), expected }]).await?;
        }
        return Ok(None);
    };
    let Some((service, selector)) =
        object.typed::<Service>().and_then(|service| Some((service, meaning::selector(service)?)))
    else {
        return Ok(None);
    };
    if object.meta().deletion_timestamp.is_some() {
        return Ok(None);
    }
    let pods = lock(seen).selected(&key.namespace, selector);
    let slices = store.list(&Query { namespace: Some(&key.namespace), ..Query::all(Kind::of::<EndpointSlice>()) })?;
    let facts = ServiceFacts {
        service,
        pods: pods.iter().collect(),
        endpoints: endpoints.as_ref(),
        slices: slices.objects.iter().filter(|slice| is_kept(slice.meta(), &key.name)).collect(),
    };
    let mut writes = plan(&facts);
    if endpoints.is_none()
        && let Some(text) = meaning::warning(service)
    {
        let now = Timestamp::now();
        writes.push(Write::Record(event::about(&object, COMPONENT, Severity::Warning, "NotBalanced", &text, now)));
    }
    if !writes.is_empty() {
        store.commit(writes).await?;
    }
    Ok(None)
}
