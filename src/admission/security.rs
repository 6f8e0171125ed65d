//! Owns how the Pod Security Standards meet what is being stored: which policy holds in a namespace, whose maker is
//! refused or warned, what is noted in the log.
//! Never judges a pod: `pod_security` does.
//!
//! Parity: the PodSecurity admission plugin. Differs: there is no audit log; what `audit` finds stands in the daemon's
//! own.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Namespace, Pod, PodSpec, PodTemplate};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::pod_security::{Census, Policy, Verdict, is_significant, read};
use super::{Error, refused};
use crate::model::admit::Refusal;
use crate::model::kind::Kind;
use crate::model::object::{Key, Object};
use crate::store::{self, Query, Store};

/// Most pods of a namespace that a new policy is tried on. Parity: upstream's number.
const MAX_PODS: usize = 3000;

/// What a namespace asks of objects of a kind: of pods, and of what pods are made from.
pub(super) fn policy_for(store: &Store, kind: &Kind, namespace: &str) -> Result<Policy, store::Error> {
    let looked_at = [Kind::of::<Pod>(), Kind::of::<Job>(), Kind::of::<CronJob>(), Kind::of::<PodTemplate>()];
    if looked_at.iter().any(|one| **one == *kind) { policy(store, namespace) } else { Ok(Policy::NONE) }
}

/// What a namespace asks of its pods; nothing where there is none.
fn policy(store: &Store, namespace: &str) -> Result<Policy, store::Error> {
    let namespace = store.get(&Key::of::<Namespace>("", namespace))?;
    Ok(namespace.map_or(Policy::NONE, |namespace| read(namespace.meta().labels.as_ref()).0))
}

/// Whether a new object may be, and what its maker is warned of.
pub(super) fn create(policy: &Policy, object: &Object) -> Result<Vec<String>, Error> {
    if object.typed::<Namespace>().is_some() {
        let (_, causes) = read(object.meta().labels.as_ref());
        return if causes.is_empty() { Ok(Vec::new()) } else { Err(Refusal::invalid(object, causes).into()) };
    }
    judge(policy, object)
}

/// Whether an object may become another, and what its writer is warned of.
pub(super) fn update(store: &Store, new: &Object, old: &Object) -> Result<Vec<String>, Error> {
    if new.typed::<Namespace>().is_some() {
        return renamed(store, new, old);
    }
    let insignificant = match (new.typed::<Pod>(), old.typed::<Pod>()) {
        (Some(new), Some(old)) => !is_significant(new, old),
        _ => template(new).is_none(),
    };
    if insignificant { Ok(Vec::new()) } else { judge(&policy(store, &new.key().namespace)?, new) }
}

/// Whether the labels of a namespace may become others; which of its pods break what they ask from now on.
fn renamed(store: &Store, new: &Object, old: &Object) -> Result<Vec<String>, Error> {
    let (policy, causes) = read(new.meta().labels.as_ref());
    let (before, old_causes) = read(old.meta().labels.as_ref());
    if !causes.is_empty() && causes != old_causes {
        return Err(Refusal::invalid(new, causes).into());
    }
    if policy.enforce.is_relaxed_from(before.enforce) {
        return Ok(Vec::new());
    }
    let namespace = new.key().name;
    let pods = Query { namespace: Some(&namespace), limit: Some(MAX_PODS), ..Query::all(Kind::of::<Pod>()) };
    let page = store.list(&pods)?;
    let mut census = Census::new(policy.enforce);
    page.objects.iter().filter_map(|pod| pod.typed::<Pod>()).for_each(|pod| census.count(pod));
    Ok(census.warnings(&namespace, usize::try_from(page.remaining).unwrap_or(usize::MAX)))
}

fn judge(policy: &Policy, object: &Object) -> Result<Vec<String>, Error> {
    if *policy == Policy::NONE {
        return Ok(Vec::new());
    }
    let verdict = match (object.typed::<Pod>(), template(object)) {
        (Some(Pod { metadata, spec: Some(spec), .. }), _) => Verdict::of_pod(policy, metadata, spec),
        (_, Some((meta, spec))) => Verdict::of_template(policy, &meta, &spec),
        (_, None) => Verdict::default(),
    };
    if let Some(note) = verdict.note {
        tracing::info!(key = %object.key(), "{note}");
    }
    match verdict.refusal {
        Some(why) => Err(refused(object.kind().resource(), object.meta(), why)),
        None => Ok(verdict.warning.into_iter().collect()),
    }
}

/// What an object makes pods of, where it does.
fn template(object: &Object) -> Option<(ObjectMeta, PodSpec)> {
    let template = if let Some(job) = object.typed::<Job>() {
        job.spec.as_ref().map(|spec| &spec.template)
    } else if let Some(cron_job) = object.typed::<CronJob>() {
        cron_job.spec.job_template.spec.as_ref().map(|spec| &spec.template)
    } else {
        object.typed::<PodTemplate>()?.template.as_ref()
    }?;
    Some((template.metadata.clone().unwrap_or_default(), template.spec.clone()?))
}
