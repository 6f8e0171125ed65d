//! Owns forgetting: old entries of the change log, with the states that only they remember, and Events past their age.
//! Never touches a current state. Works in small steps, so that commits do not wait for it.
//!
//! Time is remembered as marks, "at this instant the newest revision was that", so that no row needs a time of its own.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

use super::rows;
use super::schema::{self, sql};
use super::{Error, Expected, Key, Write};

/// Changes forgotten, or Events removed, in one step: a few milliseconds of the writer's time.
const STEP: u64 = 1000;

/// How much of the past is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Log entries that are kept however old they are: a client that slept over lunch can go on watching.
    pub log_keep: u64,
    /// Log entries that are kept at most: bounds the file, at some 3 KiB for a pod's state.
    pub log_max: u64,
    /// Between these two, entries older than this are forgotten. Upstream keeps 5 to 10 minutes.
    pub log_age: Duration,
    /// An Event that was not raised for so long is removed. Parity: the API server's `--event-ttl`, one hour.
    pub event_age: Duration,
    /// Time between two looks.
    pub upkeep_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            log_keep: 10_000,
            log_max: 200_000,
            log_age: Duration::from_secs(15 * 60),
            event_age: Duration::from_secs(60 * 60),
            upkeep_every: Duration::from_secs(60),
        }
    }
}

/// Notes what the newest revision is now, and drops the notes that no limit needs any more.
pub(super) fn mark(conn: &Connection, revision: u64, now: Timestamp, limits: &Limits) -> Result<(), Error> {
    let known: Option<i64> = conn.query_row("SELECT MAX(revision) FROM marks", [], |row| row.get(0))?;
    if known != Some(sql(revision)) {
        conn.execute("INSERT OR REPLACE INTO marks (revision, at) VALUES (?1, ?2)", (sql(revision), now.as_second()))?;
    }
    let oldest = before(conn, now, limits.log_age.max(limits.event_age))?;
    conn.execute("DELETE FROM marks WHERE revision < ?1", [sql(oldest)])?;
    Ok(())
}

/// The newest revision that is known to be older than `age`; 0 for none.
fn before(conn: &Connection, now: Timestamp, age: Duration) -> Result<u64, Error> {
    let at = now.as_second().saturating_sub_unsigned(age.as_secs());
    let revision: Option<i64> =
        conn.query_row("SELECT MAX(revision) FROM marks WHERE at <= ?1", [at], |row| row.get(0))?;
    Ok(revision.map_or(0, i64::unsigned_abs))
}

/// Deletes of the Events that have expired, as many as one step takes. Watchers see them go, as upstream's do.
pub(super) fn expired_events(conn: &Connection, now: Timestamp, limits: &Limits) -> Result<Vec<Write>, Error> {
    let old = before(conn, now, limits.event_age)?;
    let mut statement = conn.prepare_cached(
        "SELECT namespace, name FROM objects WHERE kind = 'events' AND revision <= ?1 ORDER BY revision LIMIT ?2",
    )?;
    let kind = rows::kind("events")?;
    let keys = statement.query_map((sql(old), sql(STEP)), |row| {
        let key = Key { kind, namespace: row.get(0)?, name: row.get(1)? };
        Ok(Write::Delete { key, expected: Expected::Exists })
    })?;
    Ok(keys.collect::<Result<_, _>>()?)
}

/// Forgets one step of the log. Whether there is more to forget.
pub(super) fn compact(conn: &mut Connection, revision: u64, now: Timestamp, limits: &Limits) -> Result<bool, Error> {
    let aged = before(conn, now, limits.log_age)?;
    let target = revision.saturating_sub(limits.log_max).max(aged.min(revision.saturating_sub(limits.log_keep)));
    let from = schema::compacted(conn)?;
    if target <= from {
        return Ok(false);
    }
    let to = target.min(from + STEP);
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.prepare_cached(
        "DELETE FROM states WHERE revision IN
         (SELECT prev FROM changes WHERE revision > ?1 AND revision <= ?2 AND prev IS NOT NULL)",
    )?
    .execute((sql(from), sql(to)))?;
    tx.prepare_cached("DELETE FROM changes WHERE revision <= ?1")?.execute([sql(to)])?;
    tx.prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'compacted'")?.execute([sql(to)])?;
    tx.commit()?;
    Ok(to < target)
}
