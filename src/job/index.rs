//! Owns what an Indexed Job knows of its indexes: which have succeeded, which have failed, which wait for a new pod, and
//! which pods are one too many. Never creates or deletes.
//!
//! Parity: upstream's `indexed_job_utils.go`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::batch::v1::JobStatus;

use super::pods::Member;
use super::policy::Action;
use super::rules::Rules;
use crate::model::interval::Intervals;

/// The state of an Indexed Job's indexes, newly finished pods included.
#[derive(Clone, Debug, Default)]
pub struct Indexes<'m, 'a> {
    /// Those that have succeeded.
    pub succeeded: Intervals,
    /// Those that have failed for good; none without `backoffLimitPerIndex`.
    pub failed: Option<Intervals>,
    /// With `backoffLimitPerIndex`: for each index that waits for a new pod, the failed pod that it replaces. That pod
    /// stays uncounted until its replacement carries its failure count on.
    pub replacing: BTreeMap<i32, &'m Member<'a>>,
}

impl<'m, 'a> Indexes<'m, 'a> {
    /// Works the state out from what is recorded and from the pods that are not counted yet.
    pub fn of(rules: &Rules<'_>, status: &JobStatus, members: &'m [Member<'a>]) -> Self {
        let limit = rules.indexes();
        let recorded = |text: &Option<String>| Intervals::parse(text.as_deref().unwrap_or_default(), limit);
        let uncounted = |member: &&Member<'_>| member.tracked && member.has_place(rules);
        let new = |wanted: &dyn Fn(&Member<'_>) -> bool| {
            let new = members.iter().filter(uncounted).filter(|member| wanted(member));
            Intervals::of(new.filter_map(|member| member.index))
        };
        let succeeded =
            recorded(&status.completed_indexes).merge(&new(&|member| member.phase == super::pods::Phase::Succeeded));
        let Some(per_index) = rules.backoff_limit_per_index else {
            return Self { succeeded, failed: None, replacing: BTreeMap::new() };
        };
        let failed = recorded(&status.failed_indexes).merge(&new(&|member| fails_index(member, per_index)));
        let replacing = replacing(rules, members, &succeeded, &failed);
        Self { succeeded, failed: Some(failed), replacing }
    }

    /// How many indexes have failed.
    pub fn failed_total(&self) -> i32 {
        self.failed.as_ref().map_or(0, Intervals::total)
    }

    /// The first `count` indexes that neither are finished nor have a pod, in order. Terminating pods keep their
    /// index where only failed pods are replaced.
    pub fn pending(&self, rules: &Rules<'_>, members: &[Member<'_>], count: usize) -> Vec<i32> {
        let holding = members
            .iter()
            .filter(|member| member.is_active() || (rules.replace_only_failed && member.is_terminating()));
        let mut taken = self.succeeded.merge(&Intervals::of(holding.filter_map(|member| member.index)));
        if let Some(failed) = &self.failed {
            taken = taken.merge(failed);
        }
        taken.missing(rules.indexes()).take(count).collect()
    }
}

/// Whether this pod is the failure that its index does not survive.
fn fails_index(member: &Member<'_>, per_index: i32) -> bool {
    member.verdict.as_ref().is_some_and(|verdict| {
        verdict.action == Some(Action::FailIndex) || (verdict.counts && member.failure_count() >= per_index)
    })
}

fn replacing<'m, 'a>(
    rules: &Rules<'_>,
    members: &'m [Member<'a>],
    succeeded: &Intervals,
    failed: &Intervals,
) -> BTreeMap<i32, &'m Member<'a>> {
    let active: BTreeSet<i32> = members.iter().filter(|member| member.is_active()).filter_map(|m| m.index).collect();
    let mut newest: BTreeMap<i32, &'m Member<'a>> = BTreeMap::new();
    for member in members.iter().filter(|member| member.failed && member.tracked && member.has_place(rules)) {
        let Some(index) = member.index else { continue };
        if succeeded.contains(index) || failed.contains(index) || active.contains(&index) {
            continue;
        }
        let supersedes = newest.get(&index).is_none_or(|last| {
            last.absolute_failure_count() <= member.absolute_failure_count()
                && last.finished_at() <= member.finished_at()
        });
        if supersedes {
            newest.insert(index, member);
        }
    }
    newest
}

/// Splits active pods into those that no index needs (no index, one out of range, or a second pod of the same index)
/// and the rest.
pub fn superfluous<'m, 'a>(
    rules: &Rules<'_>,
    active: Vec<&'m Member<'a>>,
) -> (Vec<&'m Member<'a>>, Vec<&'m Member<'a>>) {
    let mut by_index: BTreeMap<i32, Vec<&'m Member<'a>>> = BTreeMap::new();
    let (mut remove, mut keep) = (Vec::new(), Vec::new());
    for member in active {
        match member.index.filter(|index| *index < rules.indexes()) {
            Some(index) => by_index.entry(index).or_default().push(member),
            None => remove.push(member),
        }
    }
    for mut same in by_index.into_values() {
        same.sort_by_key(|member| member.removal_order());
        keep.extend(same.pop());
        remove.append(&mut same);
    }
    (remove, keep)
}
