//! Owns whether a Job ends, and why: the criteria in upstream's order, the first that holds wins. Never writes the
//! condition: `plan` does, once the pods allow it.
//!
//! ```text
//!  running --criteria met--> SuccessCriteriaMet --all pods ended and counted--> Complete
//!     \----a limit passed--> FailureTarget ------all pods ended and counted--> Failed
//! ```

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::JobStatus;

use super::conditions::{self, Cause, FAILED, FAILURE_TARGET, SUCCESS_CRITERIA_MET};
use super::facts::Decision;
use super::index::Indexes;
use super::pods::{Member, Phase};
use super::policy;
use super::rules::Rules;
use super::tracking::Outcome;

/// A Job that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// In success or in failure.
    pub outcome: Outcome,
    /// Why.
    pub cause: Cause,
    /// Whether the interim condition is already on record, where clients can have seen it.
    pub announced: bool,
}

impl Ending {
    fn new(outcome: Outcome, cause: Cause) -> Self {
        Self { outcome, cause, announced: false }
    }

    /// As many successes as were wanted, and no pod left.
    pub fn completed() -> Self {
        Self::new(Outcome::Success, Cause::completions())
    }

    /// The condition that the sync works towards.
    pub fn decision(&self) -> Decision {
        let kind = match (self.outcome, self.announced) {
            (Outcome::Success, _) => SUCCESS_CRITERIA_MET,
            (Outcome::Failure, false) => FAILURE_TARGET,
            (Outcome::Failure, true) => FAILED,
        };
        Decision { kind, cause: self.cause.clone() }
    }
}

/// What is known when the end of a Job is decided.
pub struct Standing<'p, 'm, 'a> {
    /// The Job's spec.
    pub rules: &'p Rules<'a>,
    /// Its status as stored.
    pub status: &'p JobStatus,
    /// Its pods that are not over and counted.
    pub members: &'m [Member<'a>],
    /// An Indexed Job's indexes.
    pub indexes: Option<&'p Indexes<'m, 'a>>,
    /// Failures that count, the ones found now included.
    pub failed: i32,
    /// When the Job started; now, if it has just done so.
    pub started: Option<Timestamp>,
}

/// Whether the Job ends by anything but having all of its completions.
pub fn of(standing: &Standing<'_, '_, '_>, now: Timestamp) -> Option<Ending> {
    announced(standing.status)
        .or_else(|| by_failure_policy(standing.members))
        .or_else(|| by_limits(standing, now))
        .or_else(|| by_indexes(standing))
        .or_else(|| by_success_policy(standing))
}

fn announced(status: &JobStatus) -> Option<Ending> {
    let met = conditions::holding(status, SUCCESS_CRITERIA_MET).map(|condition| (Outcome::Success, condition));
    let target = || conditions::holding(status, FAILURE_TARGET).map(|condition| (Outcome::Failure, condition));
    let (outcome, condition) = met.or_else(target)?;
    Some(Ending { outcome, cause: Cause::of(condition), announced: true })
}

fn by_failure_policy(members: &[Member<'_>]) -> Option<Ending> {
    let message = members.iter().find_map(|member| member.verdict.as_ref()?.message.clone())?;
    Some(Ending::new(Outcome::Failure, Cause::failure_policy(message)))
}

fn by_limits(standing: &Standing<'_, '_, '_>, now: Timestamp) -> Option<Ending> {
    let rules = standing.rules;
    let late = rules.deadline_at(standing.started).is_some_and(|at| now >= at);
    let cause = if standing.failed > rules.backoff_limit || past_restarts(rules, standing.members) {
        Cause::backoff_limit()
    } else if late {
        Cause::deadline()
    } else {
        return None;
    };
    Some(Ending::new(Outcome::Failure, cause))
}

/// With `restartPolicy: OnFailure`, restarts inside live pods use up the limit too.
fn past_restarts(rules: &Rules<'_>, members: &[Member<'_>]) -> bool {
    if !rules.restart_on_failure {
        return false;
    }
    let live = members.iter().filter(|member| matches!(member.phase, Phase::Running | Phase::Pending));
    let restarts = live.map(Member::restarts).fold(0, i32::saturating_add);
    // Parity: a limit of 0 forgives no restart, a limit of n is reached by the n-th.
    restarts >= rules.backoff_limit.max(1)
}

fn by_indexes(standing: &Standing<'_, '_, '_>) -> Option<Ending> {
    let indexes = standing.indexes.filter(|_| standing.rules.backoff_limit_per_index.is_some())?;
    let failed = indexes.failed_total();
    let cause = if standing.rules.max_failed_indexes.is_some_and(|most| failed > most) {
        Cause::max_failed_indexes()
    } else if failed > 0 && failed + indexes.succeeded.total() >= standing.rules.indexes() {
        Cause::failed_indexes()
    } else {
        return None;
    };
    Some(Ending::new(Outcome::Failure, cause))
}

fn by_success_policy(standing: &Standing<'_, '_, '_>) -> Option<Ending> {
    let rules = standing.rules;
    let message = policy::success(rules.success_policy, rules.indexes(), &standing.indexes?.succeeded)?;
    Some(Ending::new(Outcome::Success, Cause::success_policy(message)))
}
