//! Owns what follows from a deletion: dependents of an owner that is gone, owners that wait for their dependents
//! (`foregroundDeletion`) or must let them go (`orphan`), the contents of a namespace that is being deleted, and pods
//! whose node is gone.
//! Never deletes by itself: every deletion goes through [`model::deletion`](crate::model::deletion), so finalizers and
//! grace count here as they do for a client.
//!
//! ```text
//!  a change --> who may be concerned? --> queue --> Owner(uid):    gone        its dependents lose it, or follow it
//!                                                                  foreground  its dependents go, then it goes
//!                                                                  orphan      its dependents lose it, then it goes
//!                                                   Namespace(n):  its contents go, then it goes
//! ```
//!
//! Parity: upstream's garbage collector and namespace controller. Like there, a dependent that is judged finds an owner
//! only where its reference says it is; an owner of a kind that is not served is nobody's to judge and counts as alive.

mod namespace;
mod stranded;

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use tokio_util::sync::CancellationToken;

use crate::model::deletion::{self, Deletion, FINALIZER_FOREGROUND, FINALIZER_ORPHAN, Propagation};
use crate::model::kind::{KINDS, Kind};
use crate::model::object::{Key, Object};
use crate::reconcile::Queue;
use crate::store::{Change, Error, Expected, Query, Store, Write};

/// Owners and namespaces worked on at the same time. They wait for the store's writer, which is one.
const WORKERS: usize = 4;
/// Commits under way for one owner or namespace: they share the writer's transactions.
const COMMITS: usize = 64;
/// A namespace is looked at again after this, should a wake-up be lost.
const RECHECK: Duration = Duration::from_secs(15);

/// Removals in a namespace that come together are one reason to look at it, which reads all that is left.
const BATCH: Duration = Duration::from_millis(50);

/// What is looked at as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    /// Whatever has, or had, this uid.
    Owner(String),
    /// The namespace of this name.
    Namespace(String),
}

/// One owner, as a dependent's reference to it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnerSeen {
    Alive,
    /// In foreground deletion: it goes when its dependents have gone.
    Waiting,
    Gone,
}

/// What becomes of a dependent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    /// It stays for its other owners, and loses the references to those that are not alive.
    LosesOwners,
    Goes(Propagation),
}

/// Collects until `stop`. Begins with a look at everything, so that nothing is lost over a restart.
pub async fn run(store: Store, stop: CancellationToken) {
    let queue = Queue::new("garbage_collector");
    let reconcile = |subject: Subject| {
        let store = store.clone();
        async move {
            match subject {
                Subject::Owner(uid) => owner(&store, &uid).await,
                Subject::Namespace(name) => namespace::reconcile(&store, &name).await,
            }
        }
    };
    let wake = async {
        if stop.run_until_cancelled(wake(&store, &queue)).await.is_some() {
            tracing::info!("garbage collection ends: the store is closed");
        }
    };
    let stranded = stranded::run(store.clone(), stop.clone());
    tokio::join!(queue.run(WORKERS, stop.clone(), reconcile), wake, stranded);
}

/// Turns changes into subjects, until the store closes.
async fn wake(store: &Store, queue: &Queue<Subject>) {
    // Events own nothing, and are too many to look at.
    let kinds: Vec<&'static Kind> = KINDS.iter().filter(|kind| *kind.storage() != *Kind::of::<Event>()).collect();
    loop {
        match follow(store, queue, &kinds).await {
            Ok(never) => match never {},
            Err(Error::Closed) => return,
            Err(error) => tracing::warn!(?error, "garbage collection begins anew"),
        }
        tokio::time::sleep(RECHECK).await;
    }
}

/// Looks at everything, then at each change.
async fn follow(store: &Store, queue: &Queue<Subject>, kinds: &[&'static Kind]) -> Result<Infallible, Error> {
    let mut terminating = HashSet::new();
    // The watch begins first, so that what happens during the look is seen too.
    let mut watch = store.watch(kinds, store.revision())?;
    look(store, queue, kinds, &mut terminating)?;
    loop {
        changed(store, queue, &*watch.next().await?, &mut terminating)?;
    }
}

fn look(
    store: &Store,
    queue: &Queue<Subject>,
    kinds: &[&'static Kind],
    terminating: &mut HashSet<String>,
) -> Result<(), Error> {
    for uid in store.missing_owners()? {
        queue.add(Subject::Owner(uid));
    }
    for kind in kinds {
        let held = store.list(&Query { with_finalizers: true, ..Query::all(kind) })?;
        for object in held.objects.iter().filter(|object| concerns_dependents(object)) {
            queue.add(Subject::Owner(object.uid().to_owned()));
        }
    }
    for namespace in store.list(&Query::all(Kind::of::<Namespace>()))?.objects {
        if is_terminating(&namespace) {
            let name = namespace.key().name;
            terminating.insert(name.clone());
            queue.add(Subject::Namespace(name));
        }
    }
    Ok(())
}

fn changed(
    store: &Store,
    queue: &Queue<Subject>,
    change: &Change,
    terminating: &mut HashSet<String>,
) -> Result<(), Error> {
    match (&change.before, &change.after) {
        (before, Some(object)) => written(store, queue, before.as_ref(), object, terminating),
        (Some(gone), None) => removed(store, queue, gone, terminating),
        (None, None) => Ok(()),
    }
}

fn written(
    store: &Store,
    queue: &Queue<Subject>,
    before: Option<&Object>,
    object: &Object,
    terminating: &mut HashSet<String>,
) -> Result<(), Error> {
    if concerns_dependents(object) {
        queue.add(Subject::Owner(object.uid().to_owned()));
    }
    if before.is_none_or(|before| references(before).ne(references(object))) {
        // Who names an owner that has gone already follows it.
        for reference in references(object) {
            if store.by_uid(&reference.uid)?.is_none() {
                queue.add(Subject::Owner(reference.uid.clone()));
            }
        }
        wake_owners(queue, before);
    }
    let key = object.key();
    if object.kind() == Kind::of::<Namespace>() && is_terminating(object) {
        terminating.insert(key.name.clone());
        queue.add(Subject::Namespace(key.name));
    } else if before.is_none() && terminating.contains(&key.namespace) {
        queue.add(Subject::Namespace(key.namespace));
    }
    Ok(())
}

fn removed(
    store: &Store,
    queue: &Queue<Subject>,
    gone: &Object,
    terminating: &mut HashSet<String>,
) -> Result<(), Error> {
    wake_owners(queue, Some(gone));
    if !store.dependents(gone.uid())?.is_empty() {
        queue.add(Subject::Owner(gone.uid().to_owned()));
    }
    let key = gone.key();
    if gone.kind() == Kind::of::<Namespace>() {
        terminating.remove(&key.name);
    } else if terminating.contains(&key.namespace) {
        queue.add_after(Subject::Namespace(key.namespace), BATCH);
    }
    Ok(())
}

/// The owners of a dependent that has gone, or no longer names them, may have waited for that.
fn wake_owners(queue: &Queue<Subject>, dependent: Option<&Object>) {
    for reference in dependent.into_iter().flat_map(references) {
        if reference.block_owner_deletion == Some(true) {
            queue.add(Subject::Owner(reference.uid.clone()));
        }
    }
}

async fn owner(store: &Store, uid: &str) -> Result<Option<Duration>, Error> {
    let found = match store.by_uid(uid)? {
        Some(key) => store.get(&key)?.filter(|object| object.uid() == uid),
        None => None,
    };
    match found {
        None => {
            each_dependent(store, uid, |dependent| judge(store, dependent)).await?;
        }
        Some(owner) if is_terminating(&owner) && has_finalizer(&owner, FINALIZER_ORPHAN) => {
            each_dependent(store, uid, |dependent| Ok(lose_owners(dependent, &[uid]))).await?;
            drop_finalizer(store, &owner, FINALIZER_ORPHAN).await?;
        }
        Some(owner) if is_terminating(&owner) && has_finalizer(&owner, FINALIZER_FOREGROUND) => {
            each_dependent(store, uid, |dependent| judge(store, dependent)).await?;
            if !is_blocked(store, uid)? {
                drop_finalizer(store, &owner, FINALIZER_FOREGROUND).await?;
            }
        }
        Some(_) => {}
    }
    Ok(None)
}

/// Commits what `decide` wants for each dependent, each on its own: one that changes meanwhile must not hold up the
/// others. The first failure is answered after all were tried.
async fn each_dependent(
    store: &Store,
    uid: &str,
    decide: impl Fn(&Object) -> Result<Option<Write>, Error>,
) -> Result<(), Error> {
    let mut writes = Vec::new();
    for key in store.dependents(uid)? {
        if let Some(object) = store.get(&key)? {
            writes.extend(decide(&object)?);
        }
    }
    commit_each(store, writes).await
}

async fn commit_each(store: &Store, writes: Vec<Write>) -> Result<(), Error> {
    let commits = writes.into_iter().map(|write| store.commit(vec![write]));
    let results: Vec<_> = stream::iter(commits).buffer_unordered(COMMITS).collect().await;
    for result in results {
        match result {
            // Gone already is as good.
            Ok(_) | Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn judge(store: &Store, dependent: &Object) -> Result<Option<Write>, Error> {
    let mut owners = Vec::new();
    for reference in references(dependent) {
        owners.push(see(store, dependent, reference)?);
    }
    let has_dependents = !store.dependents(dependent.uid())?.is_empty();
    Ok(match fate(dependent, &owners, has_dependents) {
        Fate::Stays => None,
        Fate::Goes(propagation) => delete(dependent, propagation),
        Fate::LosesOwners => {
            let lost = references(dependent).zip(&owners).filter(|(_, seen)| **seen != OwnerSeen::Alive);
            let lost: Vec<&str> = lost.map(|(reference, _)| reference.uid.as_str()).collect();
            lose_owners(dependent, &lost)
        }
    })
}

fn see(store: &Store, dependent: &Object, reference: &OwnerReference) -> Result<OwnerSeen, Error> {
    let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
    let Some(kind) = Kind::find(group, &reference.kind) else { return Ok(OwnerSeen::Alive) };
    let namespace = if kind.namespaced { dependent.key().namespace } else { String::new() };
    let owner = store.get(&Key { kind, namespace, name: reference.name.clone() })?;
    Ok(match owner.filter(|owner| owner.uid() == reference.uid) {
        None => OwnerSeen::Gone,
        Some(owner) if is_terminating(&owner) && has_finalizer(&owner, FINALIZER_FOREGROUND) => OwnerSeen::Waiting,
        Some(_) => OwnerSeen::Alive,
    })
}

/// Parity: the garbage collector's `attemptToDeleteItem`.
fn fate(dependent: &Object, owners: &[OwnerSeen], has_dependents: bool) -> Fate {
    let all_alive = owners.iter().all(|owner| *owner == OwnerSeen::Alive);
    if is_terminating(dependent) || all_alive {
        return Fate::Stays;
    }
    if owners.contains(&OwnerSeen::Alive) {
        return Fate::LosesOwners;
    }
    let propagation = if owners.contains(&OwnerSeen::Waiting) && has_dependents {
        // Its owner waits for it, and it waits for its own.
        Propagation::Foreground
    } else {
        keep(dependent)
    };
    Fate::Goes(propagation)
}

/// What an earlier request left on the object stands.
fn keep(object: &Object) -> Propagation {
    if has_finalizer(object, FINALIZER_ORPHAN) {
        Propagation::Orphan
    } else if has_finalizer(object, FINALIZER_FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    }
}

/// Whether a dependent is left that its owner must wait for.
fn is_blocked(store: &Store, uid: &str) -> Result<bool, Error> {
    for key in store.dependents(uid)? {
        if let Some(object) = store.get(&key)?
            && references(&object).any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lose_owners(dependent: &Object, uids: &[&str]) -> Option<Write> {
    let object = dependent.with_meta(|meta| {
        meta.owner_references = meta.owner_references.take().map(|mut owners| {
            owners.retain(|owner| !uids.contains(&owner.uid.as_str()));
            owners
        });
        meta.owner_references = meta.owner_references.take().filter(|owners| !owners.is_empty());
    });
    Some(update(object))
}

async fn drop_finalizer(store: &Store, owner: &Object, finalizer: &str) -> Result<(), Error> {
    let free = owner.with_meta(|meta| {
        meta.finalizers.iter_mut().for_each(|finalizers| finalizers.retain(|name| name != finalizer));
        meta.finalizers = meta.finalizers.take().filter(|finalizers| !finalizers.is_empty());
    });
    commit_each(store, vec![update(free)]).await
}

fn delete(object: &Object, propagation: Propagation) -> Option<Write> {
    match deletion::delete(object, None, propagation, Timestamp::now()) {
        Deletion::Remove => Some(Write::Delete { key: object.key(), expected: Expected::Revision(object.revision()) }),
        Deletion::Mark(marked) => {
            Some(Write::Update { object: marked, expected: Expected::Revision(object.revision()) })
        }
        Deletion::Underway => None,
    }
}

fn update(object: Object) -> Write {
    let expected = Expected::Revision(object.revision());
    Write::Update { object, expected }
}

fn references(object: &Object) -> impl Iterator<Item = &OwnerReference> {
    object.meta().owner_references.iter().flatten()
}

fn is_terminating(object: &Object) -> bool {
    object.meta().deletion_timestamp.is_some()
}

fn has_finalizer(object: &Object, finalizer: &str) -> bool {
    object.meta().finalizers.iter().flatten().any(|name| name == finalizer)
}

/// It is being deleted in a way that its dependents have a part in.
fn concerns_dependents(object: &Object) -> bool {
    is_terminating(object) && (has_finalizer(object, FINALIZER_FOREGROUND) || has_finalizer(object, FINALIZER_ORPHAN))
}
