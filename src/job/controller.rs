//! Owns the loop that carries Jobs out: it watches Jobs and pods, observes a Job, plans, and commits. Never decides: the
//! plan does, and what is written is the plan.
//!
//! ```text
//!  watch (jobs, pods) --concern--> queue of keys --> observe --> plan --> commit --+--> done, or again at `wake_at`
//!                                                       ^                          |
//!                                                       +---- a guard failed ------+
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use tokio_util::sync::CancellationToken;

use super::apply;
use super::concern::Concerns;
use super::facts::{BACKOFF_FACT, JobFacts, JobPlan, Options, UNTRACKED_FACT};
use super::orphan;
use super::plan::plan;
use super::tally;
use crate::admission::{self, Admission, Reservation};
use crate::feed;
use crate::model::kind::Kind;
use crate::model::object::{Key, Object};
use crate::reconcile::Queue;
use crate::store::{Error, Expected, Owner, Query, Store, Write};

/// Jobs looked at side by side. They meet in the store's one writer, so that more would only wait there.
const WORKERS: usize = 8;
/// Tries in a row after a failed guard. Each failure means that somebody else got ahead, so that it cannot go on for
/// long; after these the queue's back-off takes over.
const TRIES: usize = 5;

/// Runs until `stop`. Returns once no decision is under way.
pub async fn run(store: Store, options: Options, stop: CancellationToken) {
    let queue = Queue::new("job");
    let concerns = Arc::new(Concerns::new(store.clone()));
    let kinds = [Kind::of::<Job>(), Kind::of::<Pod>()];
    let feeding = {
        let (all, of) = (Arc::clone(&concerns), Arc::clone(&concerns));
        let (store, queue, stop) = (store.clone(), queue.clone(), stop.clone());
        async move { feed::feed(store, &kinds, queue, stop, || all.all(), |change| of.of(change)).await }
    };
    let controller = Arc::new(Controller { store, options, concerns, queue: queue.clone() });
    let working = queue.run(WORKERS, stop, |key| Arc::clone(&controller).sync(key));
    tokio::join!(feeding, working);
}

struct Controller {
    store: Store,
    options: Options,
    concerns: Arc<Concerns>,
    queue: Queue<Key>,
}

impl Controller {
    async fn sync(self: Arc<Self>, key: Key) -> Result<Option<Duration>, Error> {
        let job = *key.kind == *Kind::of::<Job>();
        let mut tries = 1;
        loop {
            let outcome = if job { self.sync_job(&key).await } else { self.sync_pod(&key).await };
            match outcome {
                Err(Error::Conflict { .. } | Error::NotFound(_) | Error::AlreadyExists(_)) if tries < TRIES => {
                    tries += 1
                }
                outcome => return outcome,
            }
        }
    }

    /// One look at a Job. Answers after which time it wants another.
    async fn sync_job(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let hints = self.concerns.take_hints(key);
        let outcome = self.look(key, &hints).await;
        if outcome.is_err() {
            self.concerns.give_back(key, hints);
        }
        outcome
    }

    async fn look(&self, key: &Key, hints: &BTreeSet<String>) -> Result<Option<Duration>, Error> {
        let Some(job) = self.store.get(key)? else { return Ok(None) };
        let begun = Instant::now();
        let facts = self.observe(job, hints)?;
        let now = Timestamp::now();
        let mut plan = plan(&facts, now);
        let reservation = Reservation::of(&self.store, &key.namespace);
        let mut reservation = if plan.create.is_empty() { None } else { Some(reservation.await?) };
        let refused = match &mut reservation {
            Some(reservation) => self.admit(&key.namespace, &mut plan, reservation)?,
            None => false,
        };
        let mut writes = apply::writes(&facts, &plan, || self.store.mint(), now);
        writes.extend(reservation.iter().flat_map(Reservation::writes));
        if !writes.is_empty() {
            tracing::debug!(%key, created = plan.create.len(), pods = plan.pods.len(), status = ?plan.status, "commit");
        }
        let committed = if writes.is_empty() { Ok(()) } else { self.store.commit(writes).await.map(drop) };
        tally::looked(&facts, &plan, committed.is_ok(), begun.elapsed());
        committed?;
        Ok(admission::again(refused, plan.wake_at.map(|at| feed::nap(at, now))))
    }

    /// Measures the pods that the plan would make by what their namespace allows. The first that is refused and those
    /// after it are not made, and the Job says why. Whether any was refused.
    fn admit(&self, namespace: &str, plan: &mut JobPlan, reservation: &mut Reservation) -> Result<bool, Error> {
        let admission = Admission::of(&self.store, Kind::of::<Pod>(), namespace)?;
        let mut admitted = Vec::with_capacity(plan.create.len());
        for pod in &plan.create {
            match apply::admitted(&admission, reservation, pod) {
                Ok(pod) => admitted.push(pod),
                Err(admission::Error::Store(error)) => return Err(error),
                Err(refusal) => {
                    let missing = plan.create.len() - admitted.len();
                    apply::refuse(plan, admitted, missing, &refusal.to_string());
                    return Ok(true);
                }
            }
        }
        plan.create = admitted;
        Ok(false)
    }

    fn observe(&self, job: Object, hints: &BTreeSet<String>) -> Result<JobFacts, Error> {
        let namespace = job.meta().namespace.clone().unwrap_or_default();
        let backoff = self.store.fact(job.uid(), BACKOFF_FACT)?;
        let untracked = self.store.fact(job.uid(), UNTRACKED_FACT)?;
        let tracked = Query {
            kind: Kind::of::<Pod>(),
            namespace: Some(&namespace),
            owner: Owner::Uid(job.uid()),
            with_finalizers: true,
            limit: None,
            after: None,
            at: None,
        };
        let mut pods = self.store.list(&tracked)?.objects;
        let remembered: Vec<String> =
            untracked.as_ref().and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default();
        for name in remembered.iter().chain(hints) {
            pods.extend(self.store.get(&Key::of::<Pod>(&namespace, name))?);
        }
        Ok(JobFacts::assemble(job, pods, backoff.as_deref(), untracked.as_deref(), self.options))
    }

    /// One look at a tracked pod that may be nobody's.
    async fn sync_pod(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let Some(pod) = self.store.get(key)? else { return Ok(None) };
        let jobs = self.concerns.jobs_of(&pod)?;
        if orphan::is_forsaken(&pod, &jobs) {
            let expected = Expected::Revision(pod.revision());
            self.store.commit(vec![Write::Update { object: orphan::released(&pod), expected }]).await?;
        } else {
            jobs.iter().for_each(|job| self.queue.add(job.key()));
        }
        Ok(None)
    }
}
