//! Owns the one thread that writes: it gathers the commits that wait, gives each a savepoint in one transaction, and
//! answers when that is on disk. Never decides what a write means: `commit` does.
//!
//! ```text
//!  wait for a commit --> take all that wait (bounded) --> BEGIN
//!     each: SAVEPOINT, apply; a failed guard: ROLLBACK TO (the others stay)
//!  COMMIT (one fsync) --> states to the cache --> changes to the watchers --> answers
//!     failed: every commit of the group is answered with the database's error, nothing was written
//! ```

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior, ffi};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::commit::Batch;
use super::compact::{self, Limits};
use super::similar::Similar;
use super::watch::Shared;
use super::{Change, Committed, Error, Object, Write, schema};
use crate::metrics::metrics;

/// Commits in one transaction: enough that the fsync is shared by all who wait, few enough that the first of them
/// does not wait long for the last.
const GROUP: usize = 256;
/// Pause between two steps of upkeep, so that commits go first.
const UPKEEP_PAUSE: Duration = Duration::from_millis(20);

type Answer = Result<Committed, Error>;

/// What the thread is asked.
pub(super) enum Ask {
    /// Commit these writes.
    Commit(Request),
    /// Do all upkeep that is due, now.
    Upkeep(oneshot::Sender<Result<(), Error>>),
}

/// One commit that waits.
pub(super) struct Request {
    pub writes: Vec<Write>,
    pub dry_run: bool,
    pub answer: oneshot::Sender<Answer>,
    /// Bounds how many wait.
    pub permit: OwnedSemaphorePermit,
}

/// The writer thread's own state.
pub(super) struct Writer {
    conn: Connection,
    shared: Arc<Shared>,
    limits: Limits,
    revision: u64,
    upkeep_at: Instant,
    similar: Similar,
}

impl Writer {
    /// `conn` is the only connection that writes.
    pub(super) fn new(conn: Connection, shared: Arc<Shared>, limits: Limits) -> Result<Self, Error> {
        let revision = schema::revision(&conn)?;
        let upkeep_at = Instant::now() + limits.upkeep_every;
        Ok(Self { conn, shared, limits, revision, upkeep_at, similar: Similar::default() })
    }

    /// Runs until every sender is gone and everything they sent is answered.
    pub(super) fn run(mut self, asks: &Receiver<Ask>) {
        loop {
            match asks.recv_timeout(self.upkeep_at.saturating_duration_since(Instant::now())) {
                Ok(first) => self.answer(first, asks),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= self.upkeep_at {
                self.upkeep_step();
            }
        }
        self.shared.feed.close();
    }

    fn answer(&mut self, first: Ask, asks: &Receiver<Ask>) {
        let mut group = Vec::new();
        let mut upkeep = None;
        let mut next = Some(first);
        while let Some(ask) = next {
            match ask {
                Ask::Commit(request) => group.push(request),
                Ask::Upkeep(answer) => upkeep = Some(answer),
            }
            next = if group.len() < GROUP && upkeep.is_none() { asks.try_recv().ok() } else { None };
        }
        if !group.is_empty() {
            self.commit_group(group);
        }
        if let Some(answer) = upkeep {
            // Who asked may have gone; that changes nothing.
            let _ = answer.send(self.upkeep_all());
        }
    }

    fn commit_group(&mut self, group: Vec<Request>) {
        let (asks, answers): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|request| ((request.writes, request.dry_run), (request.answer, request.permit)))
            .unzip();
        let (begun, counts) = (Instant::now(), metrics());
        let done = self.transact(asks);
        counts.transaction_seconds.observe(begun.elapsed().as_secs_f64());
        counts.group.observe(answers.len() as f64);
        counts.commits.inc_by(answers.len() as u64);
        match done {
            Ok(results) => {
                for ((answer, _permit), result) in answers.into_iter().zip(results) {
                    let _ = answer.send(result);
                }
            }
            Err(error) => {
                let commits = answers.len();
                if error.is_full() {
                    // Who asked for the commits is told, too.
                    tracing::warn!(commits, "the disk of the data directory is full; nothing was written");
                } else {
                    tracing::error!(?error, commits, "the store's transaction failed; nothing was written");
                }
                for (answer, _permit) in answers {
                    let _ = answer.send(Err(copy(&error)));
                }
            }
        }
    }

    /// One transaction. An error means that nothing of it was written.
    fn transact(&mut self, asks: Vec<(Vec<Write>, bool)>) -> Result<Vec<Answer>, Error> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut batch = Batch::new(&tx, &self.shared.cache, &mut self.similar, self.revision, Timestamp::now());
        let mut results = Vec::with_capacity(asks.len());
        for (writes, dry_run) in asks {
            results.push(isolated(&tx, &mut batch, writes, dry_run)?);
        }
        let revision = batch.revision();
        let changes = batch.into_changes();
        tx.commit()?;
        self.revision = revision;
        if !changes.is_empty() {
            self.publish(&changes);
        }
        Ok(results)
    }

    fn publish(&self, changes: &[Arc<Change>]) {
        for change in changes {
            if let Some(after) = &change.after {
                self.shared.cache.put(change.revision, after.clone());
            }
        }
        self.shared.feed.publish(changes, self.revision);
    }

    fn upkeep_step(&mut self) {
        let more = match self.upkeep() {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!(?error, "upkeep of the store failed; it is tried again later");
                false
            }
        };
        self.upkeep_at = Instant::now() + if more { UPKEEP_PAUSE } else { self.limits.upkeep_every };
    }

    fn upkeep_all(&mut self) -> Result<(), Error> {
        while self.upkeep()? {}
        Ok(())
    }

    /// Whether there is more to do.
    fn upkeep(&mut self) -> Result<bool, Error> {
        let now = Timestamp::now();
        compact::mark(&self.conn, self.revision, now, &self.limits)?;
        let expired = compact::expired_events(&self.conn, now, &self.limits)?;
        let more = compact::compact(&mut self.conn, self.revision, now, &self.limits)?;
        if expired.is_empty() {
            return Ok(more);
        }
        for result in self.transact(vec![(expired, false)])? {
            result?;
        }
        Ok(true)
    }
}

/// Applies one commit under a savepoint. The outer error is the transaction's: it is lost as a whole.
fn isolated(conn: &Connection, batch: &mut Batch<'_>, writes: Vec<Write>, dry_run: bool) -> Result<Answer, Error> {
    conn.prepare_cached("SAVEPOINT one")?.execute([])?;
    let mark = batch.mark();
    let applied = batch.apply(writes);
    if conn.is_autocommit() {
        // Disk full, out of memory: SQLite has rolled everything back by itself.
        return Err(applied.err().unwrap_or(Error::Closed));
    }
    let answer = applied.map(|objects| {
        let revision = if dry_run { mark.revision } else { batch.revision() };
        let seen = |object: Object| if dry_run { batch.as_dry_run(mark, &object) } else { object };
        Committed { objects: objects.into_iter().map(|object| object.map(seen)).collect(), revision }
    });
    if dry_run || answer.is_err() {
        conn.prepare_cached("ROLLBACK TO one")?.execute([])?;
        batch.back_to(mark);
    }
    conn.prepare_cached("RELEASE one")?.execute([])?;
    Ok(answer)
}

/// One error for each commit of a group; SQLite's own does not copy itself.
fn copy(error: &Error) -> Error {
    let (code, text) = match error {
        Error::Database(rusqlite::Error::SqliteFailure(code, text)) => (*code, text.clone()),
        other => (ffi::Error::new(ffi::SQLITE_ERROR), Some(other.to_string())),
    };
    Error::Database(rusqlite::Error::SqliteFailure(code, text))
}
