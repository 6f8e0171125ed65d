//! PURE. Owns how many pods of a Job have to fit together before any of them starts.
//! Never counts pods: `ledger` does.
//!
//! Parity: the gang policy of `spec.scheduling` as the newest Job controller reads it (`defaultMinCountForJob`) and the
//! scheduler's GangScheduling plugin enforces it. Differs: upstream's Job controller makes a Workload and a PodGroup of
//! it, which the scheduler reads; here the scheduler reads the Job. A pod's own `schedulingGroup` has no effect.

use k8s_openapi::api::batch::v1::Job;

/// A Job whose pods start together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gang {
    /// So many of its pods have to be bound, or to fit, at the same time.
    pub min_count: usize,
    /// Labels that all nodes of the gang have to share the value of: a node without one of them cannot take it.
    pub topology: Vec<String>,
}

/// The gang of a Job that asks for one and has not ended.
///
/// Differs: upstream goes on asking for all of `minCount` when fewer completions than that are left to do, so that the
/// last pods of a Job could never be replaced; here the rest of the Job is enough.
pub fn of_job(job: &Job) -> Option<Gang> {
    let spec = job.spec.as_ref()?;
    let scheduling = spec.scheduling.as_ref()?;
    let gang = scheduling.scheduling_policy.as_ref()?.gang.as_ref()?;
    let min_count = gang.min_count.or(spec.parallelism).unwrap_or(1);
    let needed = match spec.completions {
        Some(completions) if min_count <= completions || gang.min_count.is_none() => {
            min_count.min(completions.saturating_sub(done(job)))
        }
        Some(_) | None => min_count,
    };
    let topology =
        scheduling.scheduling_constraints.iter().flat_map(|constraints| constraints.topology.iter().flatten());
    Some(Gang {
        min_count: usize::try_from(needed).unwrap_or(0),
        topology: topology.map(|constraint| constraint.key.clone()).collect(),
    })
}

/// Whether the pods of a Job may only be disrupted all together: `spec.scheduling.disruptionMode.all`.
pub fn is_inseparable(job: &Job) -> bool {
    let scheduling = job.spec.as_ref().and_then(|spec| spec.scheduling.as_ref());
    scheduling.and_then(|scheduling| scheduling.disruption_mode.as_ref()).is_some_and(|mode| mode.all.is_some())
}

/// Completions that no pod will be made for any more.
fn done(job: &Job) -> i32 {
    job.status.as_ref().and_then(|status| status.succeeded).unwrap_or(0)
}
