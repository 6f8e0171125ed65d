//! Owns the scheduler's loop: it follows the store, keeps the ledger, plans, and commits. Never decides: `plan` does.
//!
//! A commit whose guard fails wrote nothing; whoever got ahead is the next change, and the next look knows it.

use std::convert::Infallible;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use tokio_util::sync::CancellationToken;

use super::apply;
use super::ledger::Ledger;
use super::plan::plan;
use crate::feed;
use crate::model::kind::Kind;
use crate::store::{Change, Error, Query, Store};

/// Pause before a broken watch is begun anew.
const REWATCH: Duration = Duration::from_secs(1);

/// Schedules pods onto the node of this name until `stop`.
pub async fn run(store: Store, node: String, stop: CancellationToken) {
    loop {
        let broken = tokio::select! {
            () = stop.cancelled() => return,
            Err(error) = follow(&store, &node) => error,
        };
        match broken {
            Error::Closed => return,
            error => tracing::warn!(error = &error as &dyn std::error::Error, "the scheduler begins anew"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(REWATCH) => {}
        }
    }
}

async fn follow(store: &Store, node: &str) -> Result<Infallible, Error> {
    let kinds = [
        Kind::of::<Pod>(),
        Kind::of::<Node>(),
        Kind::of::<Job>(),
        Kind::of::<Namespace>(),
        Kind::of::<PersistentVolumeClaim>(),
        Kind::of::<StorageClass>(),
    ];
    // Watched from before the look, so that nothing falls in between; what is older than the ledger it ignores.
    let mut watch = store.watch(&kinds, store.revision())?;
    let mut ledger = survey(store, node, &kinds)?;
    loop {
        let wake_at = pass(store, &mut ledger).await?;
        tokio::select! {
            change = watch.next() => learn(&mut ledger, &*change?),
            () = until(wake_at) => {}
        }
        // Whatever else has happened by now is looked at in the same pass.
        while let Some(change) = watch.next().now_or_never() {
            learn(&mut ledger, &*change?);
        }
    }
}

/// Reads everything once.
fn survey(store: &Store, node: &str, kinds: &[&'static Kind]) -> Result<Ledger, Error> {
    let mut ledger = Ledger::new(node);
    for kind in kinds {
        store.each(&Query::all(kind), |object| {
            ledger.learn(object);
            Ok(())
        })?;
    }
    Ok(ledger)
}

fn learn(ledger: &mut Ledger, change: &Change) {
    match (&change.after, &change.before) {
        (Some(after), _) => ledger.learn(after),
        (None, Some(before)) => ledger.forget(before),
        (None, None) => {}
    }
}

/// Plans and commits until there is nothing left to do; answers when to look again.
async fn pass(store: &Store, ledger: &mut Ledger) -> Result<Option<Timestamp>, Error> {
    loop {
        let now = Timestamp::now();
        let plan = plan(ledger, now);
        let writes = apply::writes(ledger, &plan, now);
        if writes.is_empty() {
            return Ok(plan.wake_at);
        }
        tracing::debug!(bound = plan.bind.len(), told = plan.tell.len(), evicted = plan.evict.len(), "commit");
        match store.commit(writes).await {
            Ok(done) => done.objects.iter().flatten().for_each(|object| ledger.learn(object)),
            Err(Error::Conflict { .. } | Error::NotFound(_)) => return Ok(plan.wake_at),
            Err(error) => return Err(error),
        }
        if plan.reworded {
            ledger.reworded_at = Some(now);
        }
        if !plan.more {
            return Ok(plan.wake_at);
        }
    }
}

async fn until(at: Option<Timestamp>) {
    match at {
        Some(at) => tokio::time::sleep(feed::nap(at, Timestamp::now())).await,
        None => std::future::pending().await,
    }
}
