//! Owns how loops over objects are fed: changes become keys, from the start and again after each break of the watch.
//! Never knows what a key is looked at for.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::model::kind::Kind;
use crate::model::object::Key;
use crate::reconcile::Queue;
use crate::store::{Change, Error, Store};

/// Longest time between two looks at what waits for an instant. The queue's clock stands still while the machine sleeps
/// and knows nothing of a wall clock that is set; this bounds how late either is noticed.
const LONGEST_NAP: Duration = Duration::from_secs(30);
/// Pause before a broken watch is begun anew.
const REWATCH: Duration = Duration::from_secs(1);

/// Adds the keys that `all` names, and from then on those that `of` names for each change of these kinds, until `stop`.
pub async fn feed(
    store: Store,
    kinds: &[&'static Kind],
    queue: Queue<Key>,
    stop: CancellationToken,
    all: impl Fn() -> Result<BTreeSet<Key>, Error>,
    of: impl Fn(&Change) -> Result<BTreeSet<Key>, Error>,
) {
    loop {
        let broken = tokio::select! {
            () = stop.cancelled() => return,
            Err(error) = follow(&store, kinds, &queue, &all, &of) => error,
        };
        match broken {
            Error::Closed => return,
            // The list that follows finds whatever the log no longer tells.
            error => tracing::warn!(%error, ?kinds, "a watch broke and begins anew"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(REWATCH) => {}
        }
    }
}

async fn follow(
    store: &Store,
    kinds: &[&'static Kind],
    queue: &Queue<Key>,
    all: impl Fn() -> Result<BTreeSet<Key>, Error>,
    of: impl Fn(&Change) -> Result<BTreeSet<Key>, Error>,
) -> Result<Infallible, Error> {
    // Watched from before the list, so that nothing falls in between.
    let mut watch = store.watch(kinds, store.revision())?;
    all()?.into_iter().for_each(|key| queue.add(key));
    loop {
        let change = watch.next().await?;
        of(&change)?.into_iter().for_each(|key| queue.add(key));
    }
}

/// How long to wait for an instant, before looking again whether it is still the right one.
pub fn nap(until: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO).min(LONGEST_NAP)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_nap_ends_at_its_instant_or_when_the_clock_may_have_been_set() {
        let now = Timestamp::UNIX_EPOCH;
        for (seconds, expected) in [(-5, 0), (0, 0), (7, 7), (30, 30), (31, 30), (86_400, 30)] {
            let until = now + SignedDuration::from_secs(seconds);
            assert_eq!(nap(until, now), Duration::from_secs(expected), "{seconds}");
        }
    }
}
