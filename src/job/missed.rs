//! Owns which run of a CronJob is due: the newest one missed, how many were missed, when the next one is.
//! Never decides whether it is run.
//!
//! Parity: upstream's `mostRecentScheduleTime` and its callers (`pkg/controller/cronjob/utils.go`).

use jiff::{SignedDuration, Timestamp};

use crate::model::schedule::Schedule;

/// Runs missed beyond which somebody is told.
const MANY: i64 = 100;
/// Added to the next run's instant so that a clock that is a little behind finds it due. Upstream's padding.
const PADDING: SignedDuration = SignedDuration::from_millis(100);

/// How many runs were missed since the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// At most the one that is due.
    None,
    /// More than one.
    Few,
    /// More than a hundred.
    Many,
}

/// What is due now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// From when on runs are looked for: the last run, the creation, or the starting deadline.
    pub since: Timestamp,
    /// The newest run that is due, if one is.
    pub at: Option<Timestamp>,
    /// How many were missed.
    pub missed: Missed,
}

/// What makes a schedule that can be read one that cannot be run: it is never due, or without pause.
pub const NEVER: &str = "time difference between two schedules is less than 1 second";

/// The newest run due between `since` and `now`.
pub fn due(schedule: &Schedule, since: Timestamp, now: Timestamp) -> Result<Due, &'static str> {
    let none = Due { since, at: None, missed: Missed::None };
    let first = schedule.next(since).ok_or(NEVER)?;
    if now < first {
        return Ok(none);
    }
    let Some(second) = schedule.next(first) else { return Ok(Due { at: Some(first), ..none }) };
    if now < second {
        return Ok(Due { at: Some(first), ..none });
    }
    let pause = second.duration_since(first).as_secs();
    if pause < 1 {
        return Err(NEVER);
    }
    // How many there are is estimated from the first pause, so that a long absence costs no long search.
    let number = now.duration_since(first).as_secs() / pause + 1;
    let missed = if number > MANY { Missed::Many } else { Missed::Few };
    // One pause too early on purpose: schedules are not regular, and the search below finds the newest from there.
    let near = first.saturating_add(SignedDuration::from_secs((number - 2) * pause));
    let mut at = None;
    let mut next = schedule.next(near.unwrap_or(first));
    while let Some(run) = next.filter(|run| *run <= now) {
        at = Some(run);
        next = schedule.next(run);
    }
    Ok(Due { since, at, missed })
}

/// When to look again, `since` being the last run or the creation.
pub fn next(schedule: &Schedule, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let from = match due(schedule, since, now) {
        Ok(Due { at: Some(at), .. }) => at,
        Ok(Due { missed: Missed::None, since, .. }) => since,
        Ok(_) | Err(_) => now,
    };
    schedule.next(from)?.checked_add(PADDING).ok()
}
