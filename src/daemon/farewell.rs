//! Owns how pods end with the daemon (`--stop-pods-on-exit`): each is deleted as a disruption, and waited for until the
//! engine has put its containers away. Never touches one: the node agent, which must still run, does that.
//!
//! The pods' Jobs replace them when a daemon runs again, and a `podFailurePolicy` can leave the disruption uncounted.

use std::time::Duration;

use futures::future::OptionFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::model::condition;
use crate::model::deletion::{self, Deletion, Propagation};
use crate::model::kind::Kind;
use crate::model::object::Object;
use crate::model::phase;
use crate::pod::conditions;
use crate::runtime::Runtime;
use crate::store::{Error, Expected, Query, Store, Write};

/// Time beyond the longest grace period: for the engine, and for what is recorded afterwards.
const MARGIN: Duration = Duration::from_secs(30);
/// Longest wait, whatever grace periods say: who stops a daemon wants it to stop.
const LONGEST: Duration = Duration::from_secs(600);
/// Pause between looks at the pods.
const PAUSE: Duration = Duration::from_millis(50);

/// Ends every pod, and returns once nothing of them is left on the engine or their time is over.
pub async fn end_pods(store: &Store, engine: Option<&dyn Runtime>) -> Result<(), Error> {
    let mut patience = Duration::ZERO;
    loop {
        let running = running(store)?;
        let mut all_marked = true;
        for object in &running {
            all_marked &= mark(store, object).await?;
            patience = patience.max(grace(object));
        }
        if all_marked {
            break;
        }
    }
    let gone = async {
        while !running(store)?.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
        // A pod's end is recorded before its containers are removed. An engine that does not answer has none to wait for.
        while let Some(Ok(left)) = OptionFuture::from(engine.map(Runtime::containers)).await
            && !left.is_empty()
        {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    };
    match tokio::time::timeout((patience + MARGIN).min(LONGEST), gone).await {
        Ok(ended) => ended,
        Err(_) => {
            tracing::warn!("some pods did not end in time; the next daemon finds them");
            Ok(())
        }
    }
}

/// Pods of this node that have not ended.
pub fn running(store: &Store) -> Result<Vec<Object>, Error> {
    let query = Query::all(Kind::of::<Pod>());
    let runs = |object: &Object| {
        let Some(pod) = object.typed::<Pod>() else { return false };
        let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_ref().is_some_and(|name| !name.is_empty()));
        bound && !phase::is_over(pod)
    };
    Ok(store.list(&query)?.objects.into_iter().filter(runs).collect())
}

/// Marks a pod for deletion; false where it has changed meanwhile and has to be looked at again.
async fn mark(store: &Store, object: &Object) -> Result<bool, Error> {
    let now = Timestamp::now();
    let marked = match deletion::delete(object, None, Propagation::Background, now) {
        Deletion::Underway => return Ok(true),
        Deletion::Mark(marked) => marked,
        Deletion::Remove => object.clone(),
    };
    let Some(pod) = marked.typed::<Pod>() else { return Ok(true) };
    let object = Object::new(disrupted(pod.clone(), now));
    let expected = Expected::Revision(object.revision());
    match store.commit(vec![Write::Update { object, expected }]).await {
        Ok(_) | Err(Error::NotFound(_)) => Ok(true),
        Err(Error::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Parity: the condition that a kubelet sets when its node shuts down.
fn disrupted(mut pod: Pod, now: Timestamp) -> Pod {
    let held = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    if held.into_iter().all(|held| held.type_ != condition::DISRUPTION_TARGET) {
        condition::disrupt(&mut pod, conditions::TERMINATION_BY_KUBELET, conditions::SHUTDOWN_MESSAGE, now);
    }
    pod
}

fn grace(object: &Object) -> Duration {
    let spec = object.typed::<Pod>().and_then(|pod| pod.spec.as_ref());
    let seconds = spec.and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
