//! Owns the loop that deletes finished Jobs whose time is over, their pods after them. Never decides when: `expiry` does.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use tokio_util::sync::CancellationToken;

use super::expiry;
use crate::feed;
use crate::model::deletion::{self, Deletion, Propagation};
use crate::model::kind::Kind;
use crate::model::object::{Key, Object};
use crate::reconcile::Queue;
use crate::store::{Error, Expected, Query, Store, Write};

/// Jobs deleted side by side: there is no hurry, and the writer is one.
const WORKERS: usize = 2;
/// What becomes of the pods: they go first, the Job last. Parity: upstream's TTL controller.
const PROPAGATION: Propagation = Propagation::Foreground;

/// Runs until `stop`.
pub async fn run(store: Store, stop: CancellationToken) {
    let queue = Queue::new("ttl_jobs_to_delete");
    let kind = Kind::of::<Job>();
    let all = {
        let store = store.clone();
        move || {
            let mut keys = BTreeSet::new();
            store.each(&Query::all(kind), |job| {
                keys.extend(expires_at(job).map(|_| job.key()));
                Ok(())
            })?;
            Ok(keys)
        }
    };
    let kinds = [kind];
    let feeding = feed::feed(store.clone(), &kinds, queue.clone(), stop.clone(), all, |change| {
        Ok(change.after.iter().filter(|job| expires_at(job).is_some()).map(Object::key).collect())
    });
    let working = queue.run(WORKERS, stop, |key| sync(store.clone(), key));
    tokio::join!(feeding, working);
}

fn expires_at(job: &Object) -> Option<Timestamp> {
    job.typed::<Job>().and_then(expiry::expires_at)
}

/// Deletes the Job if its time is over, or answers after which time to look again.
async fn sync(store: Store, key: Key) -> Result<Option<Duration>, Error> {
    let Some(job) = store.get(&key)? else { return Ok(None) };
    let Some(at) = expires_at(&job) else { return Ok(None) };
    let now = Timestamp::now();
    if now < at {
        return Ok(Some(feed::nap(at, now)));
    }
    let expected = Expected::Revision(job.revision());
    let write = match deletion::delete(&job, None, PROPAGATION, now) {
        Deletion::Remove => Write::Delete { key: key.clone(), expected },
        Deletion::Mark(object) => Write::Update { object, expected },
        Deletion::Underway => return Ok(None),
    };
    match store.commit(vec![write]).await {
        // Somebody changed it, perhaps its time: look again.
        Err(Error::Conflict { .. }) => Ok(Some(Duration::ZERO)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
        Ok(_) => {
            tracing::info!(%key, "a finished Job's time is over");
            Ok(None)
        }
    }
}
