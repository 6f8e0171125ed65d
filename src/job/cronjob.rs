//! Owns the loop that carries CronJobs out: it watches them and their Jobs, observes, plans, and commits. Never decides:
//! `cron_plan` does.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use tokio_util::sync::CancellationToken;

use super::cron_plan::{self, CronFacts, CronPlan};
use crate::admission::{self, Reservation};
use crate::feed;
use crate::model::deletion::{self, Deletion, Propagation};
use crate::model::event;
use crate::model::kind::Kind;
use crate::model::object::{Key, Object};
use crate::model::time;
use crate::reconcile::Queue;
use crate::store::{Change, Error, Expected, Identity, Owner, Query, Store, Write};

/// CronJobs looked at side by side.
const WORKERS: usize = 2;
/// Who says a CronJob's events.
const COMPONENT: &str = "cronjob-controller";
/// When to look again after a Job's name was found taken by a Job that is not the CronJob's.
const NAME_TAKEN: Duration = Duration::from_secs(60);

/// Runs until `stop`.
pub async fn run(store: Store, stop: CancellationToken) {
    let queue = Queue::new("cronjob");
    let kinds = [Kind::of::<CronJob>(), Kind::of::<Job>()];
    let all = {
        let store = store.clone();
        move || {
            let mut keys = BTreeSet::new();
            store.each(&Query::all(Kind::of::<CronJob>()), |cron_job| {
                keys.insert(cron_job.key());
                Ok(())
            })?;
            Ok(keys)
        }
    };
    let feeding = feed::feed(store.clone(), &kinds, queue.clone(), stop.clone(), all, |change| Ok(concerned(change)));
    let working = queue.run(WORKERS, stop, |key| sync(store.clone(), key));
    tokio::join!(feeding, working);
}

/// The CronJobs that a change concerns: the one that changed, or the ones that control the Job before and after.
fn concerned(change: &Change) -> BTreeSet<Key> {
    let states = change.before.iter().chain(&change.after);
    if *change.kind == *Kind::of::<CronJob>() {
        return change.after.iter().map(Object::key).collect();
    }
    states.filter_map(controller).collect()
}

fn controller(job: &Object) -> Option<Key> {
    let owners = job.meta().owner_references.iter().flatten();
    let owner = owners.into_iter().find(|owner| owner.controller == Some(true) && owner.kind == "CronJob")?;
    Some(Key::of::<CronJob>(job.meta().namespace.as_deref().unwrap_or_default(), &owner.name))
}

async fn sync(store: Store, key: Key) -> Result<Option<Duration>, Error> {
    let Some(cron_job) = store.get(&key)? else { return Ok(None) };
    let facts = observe(&store, cron_job)?;
    let now = Timestamp::now();
    let mut plan = cron_plan::plan(&facts, now);
    let identity = store.mint();
    let admitted = admit(&store, &key.namespace, &mut plan, &facts, &identity).await?;
    let mut writes = writes(&facts, &plan, &identity, now);
    writes.extend(admitted.iter().flat_map(Reservation::writes));
    if !writes.is_empty() {
        match store.commit(writes).await {
            Ok(_) => tracing::debug!(%key, status = ?plan.status, "commit"),
            Err(Error::Conflict { .. } | Error::NotFound(_)) => return Ok(Some(Duration::ZERO)),
            Err(Error::AlreadyExists(job)) => {
                tracing::warn!(%key, %job, "a Job of somebody else's has the name of the run that is due");
                return Ok(Some(NAME_TAKEN));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(admission::again(admitted.is_none(), plan.wake_at.map(|at| feed::nap(at, now))))
}

/// Charges the quotas of the namespace for the Job that the plan would make, or takes it back and says why; none then.
async fn admit(
    store: &Store,
    namespace: &str,
    plan: &mut CronPlan,
    facts: &CronFacts,
    identity: &Identity,
) -> Result<Option<Reservation>, Error> {
    let Some(job) = plan.create.as_ref().map(|job| newborn(job, identity)) else {
        return Ok(Some(Reservation::none()));
    };
    let mut reservation = Reservation::of(store, namespace).await?;
    match reservation.charge(&job) {
        Ok(()) => Ok(Some(reservation)),
        Err(admission::Error::Store(error)) => Err(error),
        Err(refusal) => {
            cron_plan::refuse(facts, plan, &refusal.to_string());
            Ok(None)
        }
    }
}

fn observe(store: &Store, cron_job: Object) -> Result<CronFacts, Error> {
    let namespace = cron_job.meta().namespace.clone().unwrap_or_default();
    let controlled =
        Query { namespace: Some(&namespace), owner: Owner::Uid(cron_job.uid()), ..Query::all(Kind::of::<Job>()) };
    let jobs = store.list(&controlled)?.objects;
    let status = cron_job.typed::<CronJob>().and_then(|cron_job| cron_job.status.as_ref());
    let active = status.and_then(|status| status.active.as_ref()).into_iter().flatten();
    let mut strangers = BTreeSet::new();
    for name in active.filter_map(|reference| reference.name.as_deref()) {
        if !jobs.iter().any(|job| job.meta().name.as_deref() == Some(name))
            && store.get(&Key::of::<Job>(&namespace, name))?.is_some()
        {
            strangers.insert(name.to_owned());
        }
    }
    Ok(CronFacts { cron_job, jobs, strangers, zone: TimeZone::system() })
}

/// The commit that carries the plan out; empty if the plan changes nothing.
fn writes(facts: &CronFacts, plan: &CronPlan, identity: &Identity, now: Timestamp) -> Vec<Write> {
    let mut writes: Vec<Write> = plan.delete.iter().filter_map(|job| delete(job, now)).collect();
    writes.extend(plan.create.as_ref().map(|job| Write::Create(newborn(job, identity))));
    writes.extend(plan.status.as_ref().map(|status| update(facts, status, identity)));
    if plan.status.is_none() && !writes.is_empty() {
        writes.push(Write::Check { key: facts.cron_job.key(), revision: facts.cron_job.revision() });
    }
    let events = plan.events.iter();
    writes.extend(events.map(|said| {
        Write::Record(event::about(&facts.cron_job, COMPONENT, said.severity, &said.reason, &said.message, now))
    }));
    writes
}

fn delete(job: &Object, now: Timestamp) -> Option<Write> {
    let expected = Expected::Revision(job.revision());
    match deletion::delete(job, None, Propagation::Background, now) {
        Deletion::Remove => Some(Write::Delete { key: job.key(), expected }),
        Deletion::Mark(object) => Some(Write::Update { object, expected }),
        Deletion::Underway => None,
    }
}

/// The planned Job with the identity that makes it a real one, defaulted and prepared as a client's create would be.
fn newborn(job: &Job, identity: &Identity) -> Object {
    let object = Object::new(job.clone());
    let ops = &object.kind().ops;
    let object = (ops.default)(&object).with_meta(|meta| {
        meta.uid = Some(identity.uid.clone());
        meta.creation_timestamp = Some(time::seconds(identity.now));
    });
    (ops.prepare_create)(&object)
}

fn update(facts: &CronFacts, status: &CronJobStatus, identity: &Identity) -> Write {
    let mut status = status.clone();
    for reference in status.active.iter_mut().flatten() {
        reference.uid.get_or_insert_with(|| identity.uid.clone());
    }
    let cron_job = facts.cron_job.typed::<CronJob>().cloned().unwrap_or_default();
    Write::Update {
        object: Object::new(CronJob { status: Some(status), ..cron_job }),
        expected: Expected::Revision(facts.cron_job.revision()),
    }
}
