//! Owns how many pods a live Job runs: how many it wants, which are too many, which are made, and whether a back-off
//! holds them up. Never counts finished pods: `tracking` does.
//!
//! Parity: upstream's `manageJob`. Deletion goes first: a sync that deletes makes nothing.

use jiff::{SignedDuration, Timestamp};

use super::backoff::{self, BackoffRecord, Delays};
use super::facts::MAX_PODS_PER_COMMIT;
use super::index::{self, Indexes};
use super::pods::Member;
use super::rules::Rules;

/// What is known when the number of pods is decided.
pub struct Crew<'p, 'm, 'a> {
    /// The Job's spec.
    pub rules: &'p Rules<'a>,
    /// All of its pods that are not over and counted.
    pub members: &'m [Member<'a>],
    /// An Indexed Job's indexes.
    pub indexes: Option<&'p Indexes<'m, 'a>>,
    /// Successes so far.
    pub succeeded: i32,
    /// Failures since the last success.
    pub backoff: BackoffRecord,
    /// The back-off's bounds.
    pub delays: Delays,
}

/// What to do about the number of pods.
#[derive(Default)]
pub struct Muster<'m, 'a> {
    /// Pods to delete, uncounted.
    pub delete: Vec<&'m Member<'a>>,
    /// Pods to make: an index and the failed pod that each replaces, both absent for Jobs that have none.
    pub create: Vec<(Option<i32>, Option<&'m Member<'a>>)>,
    /// When the back-off lets more pods be made.
    pub wait: Option<Timestamp>,
    /// More than one commit's worth is to be done.
    pub more: bool,
}

/// Decides the number of pods of a Job that neither ends nor is being deleted.
pub fn muster<'m, 'a>(crew: &Crew<'_, 'm, 'a>, now: Timestamp) -> Muster<'m, 'a> {
    let active: Vec<&Member<'a>> = crew.members.iter().filter(|member| member.is_active()).collect();
    let running = count(active.len());
    let wanted = wanted(crew, running);
    let mut delete = too_many(crew, active, running - wanted);
    if !delete.is_empty() {
        let more = delete.len() > MAX_PODS_PER_COMMIT;
        delete.truncate(MAX_PODS_PER_COMMIT);
        return Muster { delete, more, ..Muster::default() };
    }
    let ending = crew.members.iter().filter(|member| member.is_terminating() && crew.rules.replace_only_failed);
    let lacking = wanted - count(ending.count()) - running;
    if lacking <= 0 {
        return Muster::default();
    }
    recruit(crew, lacking, now)
}

fn wanted(crew: &Crew<'_, '_, '_>, running: i32) -> i32 {
    let rules = crew.rules;
    match rules.completions {
        _ if rules.suspended => 0,
        // A work queue's first success means that there is no more work: whoever runs may end, nobody new starts.
        None if crew.succeeded > 0 => running,
        None => rules.parallelism,
        Some(completions) => (completions - crew.succeeded).min(rules.parallelism).max(0),
    }
}

/// The pods to delete: those that no index needs, and further ones until `surplus` is reached.
fn too_many<'m, 'a>(crew: &Crew<'_, 'm, 'a>, active: Vec<&'m Member<'a>>, surplus: i32) -> Vec<&'m Member<'a>> {
    let surplus = usize::try_from(surplus).unwrap_or(0);
    let (mut delete, mut keep) =
        if crew.rules.indexed { index::superfluous(crew.rules, active) } else { (Vec::new(), active) };
    if delete.len() < surplus {
        keep.sort_by_key(|member| member.removal_order());
        let missing = surplus - delete.len();
        delete.extend(keep.into_iter().take(missing));
    }
    delete
}

fn recruit<'m, 'a>(crew: &Crew<'_, 'm, 'a>, lacking: i32, now: Timestamp) -> Muster<'m, 'a> {
    let lacking = usize::try_from(lacking).unwrap_or(0);
    let per_index = crew.rules.backoff_limit_per_index.is_some();
    if !per_index {
        let left = crew.backoff.remaining(crew.delays, now);
        if left > SignedDuration::ZERO {
            return Muster { wait: later(now, left), ..Muster::default() };
        }
    }
    let more = lacking > MAX_PODS_PER_COMMIT;
    let lacking = lacking.min(MAX_PODS_PER_COMMIT);
    let Some(indexes) = crew.indexes else {
        return Muster { create: vec![(None, None); lacking], more, ..Muster::default() };
    };
    let mut muster = Muster { more, ..Muster::default() };
    for index in indexes.pending(crew.rules, crew.members, lacking) {
        let replaces = indexes.replacing.get(&index).copied();
        let left = replaces.map_or(SignedDuration::ZERO, |failed| index_delay(failed, crew.delays, now));
        if left > SignedDuration::ZERO {
            let at = later(now, left);
            muster.wait = muster.wait.map_or(at, |known| at.map(|at| at.min(known)));
        } else {
            muster.create.push((Some(index), replaces));
        }
    }
    muster
}

/// How long is left until the index of this failed pod may have a new one.
fn index_delay(failed: &Member<'_>, delays: Delays, now: Timestamp) -> SignedDuration {
    backoff::remaining(failed.absolute_failure_count().saturating_add(1), failed.finished_at(), delays, now)
}

fn later(now: Timestamp, left: SignedDuration) -> Option<Timestamp> {
    now.checked_add(left).ok()
}

fn count(pods: usize) -> i32 {
    i32::try_from(pods).unwrap_or(i32::MAX)
}
