//! Owns the counting of finished pods: which are counted now and lose their tracking finalizer with it, and what the
//! counters are then. Never creates pods.
//!
//! Differs: upstream writes a finished pod's uid to `uncountedTerminatedPods`, drops the finalizer, then counts, in
//! three writes. Here all of it is one commit, so `uncountedTerminatedPods` stays empty. What a client or another
//! implementation has left there is honoured: those pods are counted as what they are listed as.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{JobStatus, UncountedTerminatedPods};

use super::facts::MAX_PODS_PER_COMMIT;
use super::index::Indexes;
use super::pods::{Member, Phase};
use super::policy;
use super::rules::Rules;

/// The uids that a status lists as ended and not yet counted.
#[derive(Clone, Debug, Default)]
pub struct Uncounted<'a> {
    /// Ended in success.
    pub succeeded: BTreeSet<&'a str>,
    /// Ended in failure.
    pub failed: BTreeSet<&'a str>,
}

impl<'a> Uncounted<'a> {
    /// Reads the status.
    pub fn of(status: &'a JobStatus) -> Self {
        let listed = status.uncounted_terminated_pods.as_ref();
        let set = |uids: Option<&'a Vec<String>>| uids.into_iter().flatten().map(String::as_str).collect();
        Self {
            succeeded: set(listed.and_then(|listed| listed.succeeded.as_ref())),
            failed: set(listed.and_then(|listed| listed.failed.as_ref())),
        }
    }
}

/// The pods that have ended and are in no counter yet.
#[derive(Clone, Debug)]
pub struct News<'m, 'a> {
    /// In success.
    pub succeeded: Vec<&'m Member<'a>>,
    /// In failure, ignored failures included.
    pub failed: Vec<&'m Member<'a>>,
}

impl<'m, 'a> News<'m, 'a> {
    /// Sorts them out.
    pub fn of(rules: &Rules<'_>, uncounted: &Uncounted<'_>, members: &'m [Member<'a>]) -> Self {
        let new = || members.iter().filter(|member| member.tracked && member.has_place(rules));
        Self {
            succeeded: new()
                .filter(|member| member.phase == Phase::Succeeded && !uncounted.succeeded.contains(member.uid()))
                .collect(),
            failed: new().filter(|member| member.failed && !uncounted.failed.contains(member.uid())).collect(),
        }
    }

    /// How many failures count against the limits.
    pub fn counting_failures(&self) -> usize {
        let counts = |member: &&&Member<'_>| member.verdict.as_ref().is_none_or(|verdict| verdict.counts);
        self.failed.iter().filter(counts).count()
    }
}

/// What is known when pods are counted.
pub struct Census<'p, 'm, 'a> {
    /// The Job's spec.
    pub rules: &'p Rules<'a>,
    /// All of its pods that are not over and counted.
    pub members: &'m [Member<'a>],
    /// What the status lists as uncounted.
    pub uncounted: &'p Uncounted<'a>,
    /// An Indexed Job's indexes.
    pub indexes: Option<&'p Indexes<'m, 'a>>,
    /// The Job is being deleted.
    pub deleting: bool,
    /// The Job ends, and how.
    pub ending: Option<Outcome>,
}

/// How a Job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In success: pods that still run are not counted.
    Success,
    /// In failure: pods that still run are counted as failed.
    Failure,
}

/// The pods that leave the tracking in one commit.
#[derive(Default)]
pub struct Counted<'m, 'a> {
    /// All of them.
    pub untrack: Vec<&'m Member<'a>>,
    /// Those that count as succeeded; of an Indexed Job, the indexes count instead.
    pub succeeded: i32,
    /// Those that count as failed.
    pub failed: i32,
    /// More than one commit's worth is to be counted.
    pub more: bool,
}

/// Picks the pods that are counted now.
pub fn count<'m, 'a>(census: &Census<'_, 'm, 'a>) -> Counted<'m, 'a> {
    let mut due: Vec<&Member<'a>> =
        census.members.iter().filter(|member| member.tracked && may_leave(census, member)).collect();
    let more = due.len() > MAX_PODS_PER_COMMIT;
    due.truncate(MAX_PODS_PER_COMMIT);
    let mut counted = Counted { more, ..Counted::default() };
    for member in due {
        let listed_failed = census.uncounted.failed.contains(member.uid());
        if member.phase == Phase::Succeeded && !listed_failed {
            counted.succeeded += i32::from(!census.uncounted.succeeded.contains(member.uid()));
        } else if !listed_failed && counts_as_failed(census, member) {
            counted.failed += 1;
        }
        counted.untrack.push(member);
    }
    counted
}

/// Whether nothing more is to be learnt from the pod: it has ended, or its Job ends or goes.
fn may_leave(census: &Census<'_, '_, '_>, member: &Member<'_>) -> bool {
    if census.deleting || census.ending.is_some() || member.phase == Phase::Succeeded {
        return true;
    }
    let replaced_later = census.indexes.zip(member.index).is_some_and(|(indexes, index)| {
        indexes.replacing.get(&index).is_some_and(|waiting| waiting.uid() == member.uid())
    });
    member.failed && !replaced_later
}

fn counts_as_failed(census: &Census<'_, '_, '_>, member: &Member<'_>) -> bool {
    let cut_short = census.ending == Some(Outcome::Failure);
    if !(member.failed || cut_short) || !member.has_place(census.rules) {
        return false;
    }
    // A pod that still runs is judged as well: its conditions may say that its end does not count.
    let judged = member.verdict.clone();
    judged.unwrap_or_else(|| policy::judge(census.rules.failure_policy, member.pod)).counts
}

/// Brings the counters up to date: those of the pods counted now, and of the listed pods that have left the tracking.
pub fn tally(
    status: &mut JobStatus,
    counted: &Counted<'_, '_>,
    members: &[Member<'_>],
    indexes: Option<&Indexes<'_, '_>>,
) {
    let leaving: BTreeSet<&str> = counted.untrack.iter().map(|member| member.uid()).collect();
    let staying: BTreeSet<&str> = members
        .iter()
        .filter(|member| member.tracked && !leaving.contains(member.uid()))
        .map(|member| member.uid())
        .collect();
    let listed = status.uncounted_terminated_pods.take().unwrap_or_default();
    let (succeeded, listed_succeeded) = settle(listed.succeeded, &staying);
    let (failed, listed_failed) = settle(listed.failed, &staying);
    status.uncounted_terminated_pods =
        Some(UncountedTerminatedPods { succeeded: listed_succeeded, failed: listed_failed });
    status.failed = nonzero(status.failed.unwrap_or(0) + failed + counted.failed);
    status.succeeded = nonzero(match indexes {
        Some(indexes) => indexes.succeeded.total(),
        None => status.succeeded.unwrap_or(0) + succeeded + counted.succeeded,
    });
    if let Some(indexes) = indexes {
        let completed = indexes.succeeded.to_string();
        status.completed_indexes = (!completed.is_empty()).then_some(completed);
        status.failed_indexes = indexes.failed.as_ref().map(ToString::to_string);
    }
}

/// A counter as a status carries it: absent where it is 0.
pub fn nonzero(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

/// How many of the listed uids are counted now, and which stay listed because their pod is still tracked.
fn settle(listed: Option<Vec<String>>, staying: &BTreeSet<&str>) -> (i32, Option<Vec<String>>) {
    let (stay, leave): (Vec<String>, Vec<String>) =
        listed.into_iter().flatten().partition(|uid| staying.contains(uid.as_str()));
    (i32::try_from(leave.len()).unwrap_or(i32::MAX), (!stay.is_empty()).then_some(stay))
}
