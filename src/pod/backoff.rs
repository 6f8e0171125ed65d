//! PURE. Owns the two delays of the node agent: between restarts of a container that fails, and between pulls of an
//! image that fails. Never waits: it says until when.
//!
//! Parity: client-go's `flowcontrol.Backoff` as the kubelet uses it: 10 s, doubled each time up to 5 min, begun anew
//! after twice the longest delay without trouble.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The first delay.
pub const BASE: SignedDuration = SignedDuration::from_secs(10);
/// The longest delay.
pub const MAX: SignedDuration = SignedDuration::from_secs(300);
/// A container that ran this long begins anew.
pub const RESET_AFTER: SignedDuration = SignedDuration::from_secs(600);

/// The back-off of one container, kept beside its pod so that it survives the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarts {
    /// The newest attempt that was allowed to start; the first has no entry.
    pub attempt: u32,
    /// The delay before the next one, in seconds.
    pub delay_seconds: i64,
    /// When that attempt was allowed to start.
    pub at: Timestamp,
    /// The attempt that is followed by another, whatever it ends with: a probe or a hook failed, or the whole pod begins
    /// anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<u32>,
    /// That attempt ends because the whole pod begins anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub with_all: bool,
}

/// When the attempt after number `ended`, which ended at `finished_at`, may start. The first restart is immediate, and
/// so is one that was allowed to start already and was kept from it (by a pull, by the agent's end).
pub fn restart_at(seen: Option<&Restarts>, ended: u32, finished_at: Timestamp) -> Timestamp {
    match seen {
        Some(seen) if seen.attempt > ended => finished_at,
        Some(seen) if finished_at.duration_since(seen.at) <= RESET_AFTER => {
            finished_at + SignedDuration::from_secs(seen.delay_seconds)
        }
        Some(_) | None => finished_at,
    }
}

/// The entry once `attempt` is allowed to start at `now`; the same where it was entered already.
pub fn started(seen: Option<&Restarts>, attempt: u32, now: Timestamp) -> Restarts {
    // Kept: until the new run is there, the run before it is looked at again.
    let (again, with_all) = seen.map_or((None, false), |seen| (seen.again, seen.with_all));
    match seen {
        Some(seen) if seen.attempt >= attempt => *seen,
        Some(seen) if now.duration_since(seen.at) <= RESET_AFTER => {
            let doubled = (seen.delay_seconds * 2).clamp(BASE.as_secs(), MAX.as_secs());
            Restarts { attempt, delay_seconds: doubled, at: now, again, with_all }
        }
        Some(_) | None => Restarts { attempt, delay_seconds: BASE.as_secs(), at: now, again, with_all },
    }
}

/// The entry once the run `attempt` is to be followed by another. A first run has no delay behind it.
pub fn again(seen: Option<&Restarts>, attempt: u32, with_all: bool, now: Timestamp) -> Restarts {
    let first = Restarts { attempt, delay_seconds: 0, at: now, again: None, with_all };
    Restarts { again: Some(attempt), with_all, ..seen.copied().unwrap_or(first) }
}

/// The delay after the `failures`-th failed pull in a row.
pub fn pull_delay(failures: u32) -> SignedDuration {
    let doublings = failures.saturating_sub(1).min(5);
    SignedDuration::from_secs(BASE.as_secs() << doublings).min(MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a test's instant is in range")
    }

    #[test]
    fn the_first_restart_is_immediate_then_ten_seconds_doubling_to_five_minutes() {
        let mut entry = None;
        let mut now = at(1000);
        let mut delays = Vec::new();
        for attempt in 1..9 {
            let next = restart_at(entry.as_ref(), attempt - 1, now);
            delays.push(next.duration_since(now).as_secs());
            entry = Some(started(entry.as_ref(), attempt, next));
            now = next;
        }
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn ten_quiet_minutes_begin_anew() {
        let entry = Restarts { attempt: 5, delay_seconds: 300, at: at(0), again: None, with_all: false };
        assert_eq!(restart_at(Some(&entry), 5, at(601)), at(601));
        assert_eq!(restart_at(Some(&entry), 5, at(600)), at(900));
        assert_eq!(restart_at(Some(&entry), 4, at(5)), at(5));
        assert_eq!(started(Some(&entry), 6, at(601)).delay_seconds, 10);
    }

    #[test]
    fn a_first_run_that_is_stopped_for_another_waits_for_nothing_and_the_next_one_ten_seconds() {
        let entry = again(None, 0, false, at(100));
        assert_eq!(restart_at(Some(&entry), 0, at(130)), at(130));
        let next = started(Some(&entry), 1, at(130));
        assert_eq!((next.delay_seconds, next.again), (10, Some(0)));
        assert_eq!(again(Some(&next), 1, false, at(140)), Restarts { again: Some(1), ..next });
    }

    #[test]
    fn an_attempt_is_entered_once() {
        let entry = started(None, 1, at(5));
        assert_eq!(started(Some(&entry), 1, at(500)), entry);
    }

    #[test]
    fn pulls_wait_ten_seconds_to_five_minutes() {
        let delays: Vec<i64> = (1..8).map(|failures| pull_delay(failures).as_secs()).collect();
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300]);
    }
}
