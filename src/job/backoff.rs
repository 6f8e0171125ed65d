//! Owns how long a Job waits before it replaces a failed pod: 10 s after the first failure, twice that after each
//! further one, at most 10 min, counted from the last failure's finish and started anew by a success.
//! Never sleeps: it names the time that is left.
//!
//! Parity: upstream's `backoff_utils.go`. Differs: upstream remembers in memory and forgets at a restart; here the
//! record is a private fact beside the Job, so the delay survives one.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Doublings after which a nanosecond has become centuries: whatever has not reached its cap by then is zero.
const DOUBLINGS: i32 = 64;

/// The delays' bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// After the first failure.
    pub base: SignedDuration,
    /// The longest one.
    pub cap: SignedDuration,
}

/// Upstream's 10 s and 10 min.
impl Default for Delays {
    fn default() -> Self {
        Self { base: SignedDuration::from_secs(10), cap: SignedDuration::from_mins(10) }
    }
}

/// What is remembered of a Job's failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackoffRecord {
    /// Failures since the last success.
    #[serde(default)]
    pub failures: i32,
    /// When the last of them finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure_time: Option<Timestamp>,
}

impl BackoffRecord {
    /// The record after these pods have finished, given their finish times in any order.
    #[must_use]
    pub fn after(self, succeeded: &[Timestamp], failed: &[Timestamp]) -> Self {
        match (succeeded.iter().max(), failed.iter().max()) {
            (None, None) => self,
            (None, Some(last)) => {
                Self { failures: self.failures.saturating_add(count(failed.len())), last_failure_time: Some(*last) }
            }
            (Some(success), _) => {
                let later = failed.iter().filter(|at| *at > success);
                Self { failures: count(later.clone().count()), last_failure_time: later.max().copied() }
            }
        }
    }

    /// How long is left until a pod may be made; zero if none need be waited for.
    pub fn remaining(self, delays: Delays, now: Timestamp) -> SignedDuration {
        self.last_failure_time.map_or(SignedDuration::ZERO, |at| remaining(self.failures, at, delays, now))
    }
}

/// How long is left of the delay after `failures`, the last of which finished at `last`.
pub fn remaining(failures: i32, last: Timestamp, delays: Delays, now: Timestamp) -> SignedDuration {
    let delay = delay(failures, delays);
    let left = delay.saturating_sub(now.duration_since(last));
    // Differs: a failure that lies further ahead than the delay itself means that the clock was set back. Upstream
    // would wait until the clock has caught up, however long that takes.
    if left > delay.saturating_mul(2) { SignedDuration::ZERO } else { left.max(SignedDuration::ZERO) }
}

fn delay(failures: i32, delays: Delays) -> SignedDuration {
    if failures <= 0 {
        return SignedDuration::ZERO;
    }
    let mut delay = delays.base;
    for _ in 1..failures.min(DOUBLINGS) {
        delay = delay.saturating_mul(2);
        if delay >= delays.cap {
            return delays.cap;
        }
    }
    delay
}

fn count(pods: usize) -> i32 {
    i32::try_from(pods).unwrap_or(i32::MAX)
}
