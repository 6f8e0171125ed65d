//! Owns the decision about one Job: from what is known of it and its pods to everything that one commit changes.
//! Never reads or writes anything: `controller` observes and applies.
//!
//! ```text
//!  skip?          finished, somebody else's, unknown mode
//!  ending?        the interim condition, or a limit, or a policy  (`ending`)
//!  crew           delete what is too much, or make what is missing  (`parallelism`)
//!  completed?     all successes there and nobody left
//!  count          finished pods lose their finalizer, counters follow  (`tracking`)
//!  announce, end  interim condition in one commit, terminal condition in a later one
//! ```
//!
//! Parity: upstream's `syncJob`. Differs: `status.active` stays true while a back-off runs, where upstream publishes 0.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobStatus};

use super::backoff::BackoffRecord;
use super::conditions::{self, COMPLETE, Cause, FAILED, FAILURE_TARGET, SUCCESS_CRITERIA_MET, SUSPENDED};
use super::ending::{self, Ending, Standing};
use super::facts::{Claim, Explanation, JobFacts, JobPlan, MAX_PODS_PER_COMMIT, PodJudged, PodWrite, Said, Skip, Wait};
use super::index::Indexes;
use super::parallelism::{self, Crew, Muster};
use super::pods::Member;
use super::rules::{self, Rules};
use super::template;
use super::tracking::{self, Census, Counted, News, Outcome, Uncounted};
use crate::model::time;

/// Decides what one commit does about the Job.
pub fn plan(facts: &JobFacts, now: Timestamp) -> JobPlan {
    let job = facts.job.typed::<Job>();
    let Some((job, rules)) = job.and_then(|job| Some((job, Rules::of(job)?))) else {
        return JobPlan { skipped: Some(Skip::NoSpec), ..JobPlan::default() };
    };
    let members = members(facts, &rules);
    let status = job.status.clone().unwrap_or_default();
    if let Some(skip) = skip(job, &status) {
        return leave_alone(skip, &members, now);
    }
    let uncounted = Uncounted::of(&status);
    let indexes = rules.indexed.then(|| Indexes::of(&rules, &status, &members));
    let news = News::of(&rules, &uncounted, &members);
    let sync = Sync { facts, job, rules: &rules, members: &members, indexes: indexes.as_ref(), news: &news, now };
    sync.plan(&status, &uncounted)
}

fn members<'a>(facts: &'a JobFacts, rules: &Rules<'_>) -> Vec<Member<'a>> {
    let owned = facts.claims.owned.iter().map(|pod| (pod, false));
    let adopted = facts.claims.adopted.iter().map(|pod| (pod, true));
    owned.chain(adopted).filter_map(|(pod, adopted)| Member::of(pod, adopted, rules)).collect()
}

fn skip(job: &Job, status: &JobStatus) -> Option<Skip> {
    if let Some(manager) = rules::foreign_manager(job) {
        Some(Skip::ManagedBy(manager.to_owned()))
    } else if conditions::finished(status).is_some() {
        Some(Skip::Finished)
    } else if rules::unknown_mode(job) {
        Some(Skip::UnknownMode)
    } else {
        None
    }
}

/// A Job that is left alone; one that has ended lets go of the pods that it still tracks, uncounted.
fn leave_alone(skip: Skip, members: &[Member<'_>], now: Timestamp) -> JobPlan {
    let mut plan = JobPlan { why: explain(members), ..JobPlan::default() };
    match &skip {
        Skip::Finished => {
            let tracked = members.iter().filter(|member| member.tracked && !member.adopted);
            let writes = tracked.map(|member| write(member, Claim::Keep, true, false));
            plan.pods = writes.take(MAX_PODS_PER_COMMIT).collect();
            if plan.pods.len() == MAX_PODS_PER_COMMIT {
                plan.wake(now);
            }
        }
        Skip::UnknownMode => plan
            .events
            .push(Said::warning("UnknownCompletionMode", "Skipped Job sync because completion mode is unknown")),
        Skip::ManagedBy(_) | Skip::NoSpec => {}
    }
    plan.skipped = Some(skip);
    plan
}

fn explain(members: &[Member<'_>]) -> Explanation {
    let judge = |member: &Member<'_>| PodJudged { name: member.name().to_owned(), verdict: member.verdict.clone() };
    Explanation { pods: members.iter().map(judge).collect(), ..Explanation::default() }
}

fn write(member: &Member<'_>, claim: Claim, untrack: bool, delete: bool) -> PodWrite {
    PodWrite { pod: member.object.clone(), claim, untrack: untrack && member.tracked, delete }
}

/// One look at a Job that is not left alone.
struct Sync<'p, 'm, 'a> {
    facts: &'a JobFacts,
    job: &'a Job,
    rules: &'p Rules<'a>,
    members: &'m [Member<'a>],
    indexes: Option<&'p Indexes<'m, 'a>>,
    news: &'p News<'m, 'a>,
    now: Timestamp,
}

impl<'m, 'a> Sync<'_, 'm, 'a> {
    fn plan(&self, stored: &JobStatus, uncounted: &Uncounted<'_>) -> JobPlan {
        let mut plan = JobPlan { why: explain(self.members), ..JobPlan::default() };
        let mut status = stored.clone();
        let started = status.start_time.as_ref().map(|time| time.0).or((!self.rules.suspended).then_some(self.now));
        status.start_time = started.map(time::seconds);
        let failed = sum(stored.failed, self.news.counting_failures(), uncounted.failed.len());
        let succeeded = match self.indexes {
            Some(indexes) => indexes.succeeded.total(),
            None => sum(stored.succeeded, self.news.succeeded.len(), uncounted.succeeded.len()),
        };
        let record = self.record(self.news.succeeded.iter(), self.news.failed.iter());
        plan.why.succeeded = succeeded;
        plan.why.failed = failed;
        plan.why.completed_indexes = self.indexes.map(|indexes| indexes.succeeded.to_string());
        plan.why.failed_indexes = self.indexes.and_then(|indexes| Some(indexes.failed.as_ref()?.to_string()));
        plan.why.backoff = record;

        let standing = Standing {
            rules: self.rules,
            status: stored,
            members: self.members,
            indexes: self.indexes,
            failed,
            started,
        };
        let mut ending = ending::of(&standing, self.now);
        let deleting = self.job.metadata.deletion_timestamp.is_some();
        let muster = match ending {
            None if !deleting => self.muster(succeeded, record),
            Some(_) | None => Muster::default(),
        };
        if ending.is_none() {
            self.wait(&mut plan, &muster, started);
            let left = self.active().count() - muster.delete.len() + muster.create.len();
            if left == 0 && self.has_completed(succeeded) {
                ending = Some(Ending::completed());
            } else if !deleting {
                self.suspend_or_resume(&mut status, &mut plan);
            }
        }
        plan.why.decision = ending.as_ref().map(Ending::decision);
        self.count_and_end(plan, stored, status, uncounted, ending, &muster)
    }

    /// The second half: what the decision means for pods, counters and conditions.
    fn count_and_end(
        &self,
        mut plan: JobPlan,
        stored: &JobStatus,
        mut status: JobStatus,
        uncounted: &Uncounted<'_>,
        ending: Option<Ending>,
        muster: &Muster<'m, 'a>,
    ) -> JobPlan {
        let census = Census {
            rules: self.rules,
            members: self.members,
            uncounted,
            indexes: self.indexes,
            deleting: self.job.metadata.deletion_timestamp.is_some(),
            ending: ending.as_ref().map(|ending| ending.outcome),
        };
        let counted = tracking::count(&census);
        let untracked: BTreeSet<&str> = counted.untrack.iter().map(|member| member.uid()).collect();
        let delete: Vec<&Member<'a>> = match ending {
            // What one commit does not count it does not delete either.
            Some(_) => self.active().filter(|pod| !pod.tracked || untracked.contains(pod.uid())).collect(),
            None => muster.delete.clone(),
        };
        tracking::tally(&mut status, &counted, self.members, self.indexes);
        self.publish(&mut status, &delete, muster.create.len());
        self.create(&mut plan, muster);
        self.write_pods(&mut plan, &untracked, &delete);
        self.remember(&mut plan, &counted, &delete);
        if counted.more || muster.more {
            plan.wake(self.now);
        }
        if let Some(ending) = ending {
            self.end(&mut plan, &mut status, &ending, counted.more);
        }
        plan.status = (!conditions::same(stored, &status)).then_some(status);
        plan
    }

    fn active(&self) -> impl Iterator<Item = &'m Member<'a>> {
        self.members.iter().filter(|member| member.is_active())
    }

    fn muster(&self, succeeded: i32, backoff: BackoffRecord) -> Muster<'m, 'a> {
        let crew = Crew {
            rules: self.rules,
            members: self.members,
            indexes: self.indexes,
            succeeded,
            backoff,
            delays: self.facts.options.delays,
        };
        parallelism::muster(&crew, self.now)
    }

    fn wait(&self, plan: &mut JobPlan, muster: &Muster<'_, '_>, started: Option<Timestamp>) {
        let backoff = muster.wait.map(Wait::Backoff);
        let deadline = self.rules.deadline_at(started).map(Wait::Deadline);
        for wait in backoff.into_iter().chain(deadline) {
            plan.wake(wait.at());
            plan.why.waits.push(wait);
        }
    }

    fn has_completed(&self, succeeded: i32) -> bool {
        self.rules.completions.map_or(succeeded > 0, |wanted| succeeded >= wanted)
    }

    fn suspend_or_resume(&self, status: &mut JobStatus, plan: &mut JobPlan) {
        if self.rules.suspended {
            let cause = Cause::new("JobSuspended", "Job suspended");
            if conditions::ensure(status, SUSPENDED, true, &cause, self.now) {
                plan.events.push(Said::normal("Suspended", "Job suspended"));
            }
            if self.facts.options.suspend_clears_start_time {
                status.start_time = None;
            }
        } else {
            let cause = Cause::new("JobResumed", "Job resumed");
            if conditions::ensure(status, SUSPENDED, false, &cause, self.now) {
                plan.events.push(Said::normal("Resumed", "Job resumed"));
                // The deadline counts from here: it is meant for the time that a Job is active without a break.
                status.start_time = Some(time::seconds(self.now));
            }
        }
    }

    /// Publishes who is active, ready and terminating once the commit is done.
    fn publish(&self, status: &mut JobStatus, delete: &[&Member<'_>], created: usize) {
        let ready = |members: usize, gone: usize| Some(number(members.saturating_sub(gone)));
        let terminating = self.members.iter().filter(|member| member.is_terminating()).count();
        status.active = tracking::nonzero(number(self.active().count() + created - delete.len()));
        status.ready = ready(
            self.active().filter(|member| member.is_ready()).count(),
            delete.iter().filter(|member| member.is_ready()).count(),
        );
        status.terminating = Some(number(terminating + delete.len()));
    }

    fn create(&self, plan: &mut JobPlan, muster: &Muster<'_, '_>) {
        let pods = muster.create.iter().map(|(index, replaces)| template::pod(self.job, self.rules, *index, *replaces));
        plan.create = pods.collect();
    }

    fn write_pods(&self, plan: &mut JobPlan, untracked: &BTreeSet<&str>, delete: &[&Member<'_>]) {
        let deleted: BTreeSet<&str> = delete.iter().map(|member| member.uid()).collect();
        for member in self.members {
            let delete = deleted.contains(member.uid());
            let claim = if member.adopted { Claim::Adopt } else { Claim::Keep };
            // A pod that is deleted because it is too much leaves the tracking uncounted.
            let write = write(member, claim, delete || untracked.contains(member.uid()), delete);
            if write.untrack || write.delete || claim == Claim::Adopt {
                plan.pods.push(write);
            }
        }
        let released = self.facts.claims.released.iter();
        plan.pods.extend(released.map(|pod| PodWrite {
            pod: pod.clone(),
            claim: Claim::Release,
            untrack: true,
            delete: false,
        }));
    }

    fn remember(&self, plan: &mut JobPlan, counted: &Counted<'_, '_>, delete: &[&Member<'_>]) {
        let left: BTreeSet<&str> = counted.untrack.iter().chain(delete).map(|member| member.uid()).collect();
        // With a limit per index, the delay is worked out from the failed pod of each index instead.
        if self.rules.backoff_limit_per_index.is_none() {
            let now_counted = |member: &&&Member<'_>| left.contains(member.uid());
            let news = self.news;
            let record = self.record(news.succeeded.iter().filter(now_counted), news.failed.iter().filter(now_counted));
            plan.backoff = (record != self.facts.backoff).then_some(record);
        }
        let alive = self.members.iter().filter(|member| !member.phase.is_terminal());
        let loose = alive.filter(|member| !member.tracked || left.contains(member.uid()));
        let mut names: Vec<String> = loose.map(|member| member.name().to_owned()).collect();
        names.sort();
        plan.untracked = (names != self.facts.untracked).then_some(names);
    }

    fn record<'n>(
        &self,
        succeeded: impl Iterator<Item = &'n &'m Member<'a>>,
        failed: impl Iterator<Item = &'n &'m Member<'a>>,
    ) -> BackoffRecord
    where
        'm: 'n,
        'a: 'n,
    {
        let succeeded: Vec<Timestamp> = succeeded.map(|member| member.finished_at()).collect();
        let failed: Vec<Timestamp> = failed.map(|member| member.finished_at()).collect();
        self.facts.backoff.after(&succeeded, &failed)
    }

    /// Announces the end, or, where that is on record and every pod has ended and is counted, ends the Job.
    fn end(&self, plan: &mut JobPlan, status: &mut JobStatus, ending: &Ending, more: bool) {
        let (interim, terminal) = match ending.outcome {
            Outcome::Success => (SUCCESS_CRITERIA_MET, COMPLETE),
            Outcome::Failure => (FAILURE_TARGET, FAILED),
        };
        if !ending.announced {
            conditions::ensure(status, interim, true, &ending.cause, self.now);
            plan.wake(self.now);
            return;
        }
        // Nothing stays tracked or listed unless there is more than one commit's worth of it, and pods that still ran are
        // terminating by now.
        if more || status.terminating != Some(0) {
            return;
        }
        conditions::ensure(status, terminal, true, &ending.cause, self.now);
        // A Job that was suspended all along has not started; one that has ended must have.
        let start = status.start_time.get_or_insert_with(|| time::seconds(self.now)).0;
        match ending.outcome {
            Outcome::Success => {
                // Never before the start, also by a clock that has been set back: the API's validation says so.
                status.completion_time = Some(time::seconds(start.max(self.now)));
                let succeeded = status.succeeded.unwrap_or(0);
                if self.rules.completions.is_some_and(|wanted| succeeded > wanted) {
                    plan.events.push(Said::warning(
                        "TooManySucceededPods",
                        "Too many succeeded pods running after completion count reached",
                    ));
                }
                plan.events.push(Said::normal("Completed", "Job completed"));
            }
            Outcome::Failure => plan.events.push(Said::warning(&ending.cause.reason, &ending.cause.message)),
        }
    }
}

fn sum(recorded: Option<i32>, new: usize, listed: usize) -> i32 {
    recorded.unwrap_or(0).saturating_add(number(new)).saturating_add(number(listed))
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
