//! Owns the database file: its tables, its pragmas, its version, and how connections to it are opened.
//! Never reads or writes an object.
//!
//! ```text
//!  objects   one small row per live object: key, uid, owner, current revision
//!     | revision
//!     v
//!  states    one JSON text per revision, written once      changes   the log: what each revision did to which key,
//!     ^                                                       | prev  and which state it replaced
//!     +-------------------------------------------------------+
//! ```
//!
//! A state is written once and never again, so every write costs one JSON text, and a log entry costs a few words:
//! the states before and after are found by revision. A state goes when the change that replaced it is compacted.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};
use uuid::Uuid;

use super::Error;

/// Version of the tables below, kept in `PRAGMA user_version`.
const VERSION: i64 = 1;

/// Distinct SQL texts are few dozen (lists have one per mix of filters); this keeps all of them prepared.
const STATEMENTS: usize = 128;

/// Only our own process opens the file, so a lock is held for milliseconds; anything longer is a fault worth reporting.
const BUSY: Duration = Duration::from_secs(5);

/// Pages of the write-ahead log before it is folded into the file: 16 MiB, so that a burst of pods pays for the extra
/// syncs a few times a second at most, and a start has little to recover.
const CHECKPOINT_PAGES: i64 = 4000;

/// Memory for the writer's pages, in KiB (SQLite takes that as a negative number): the indexes of some 100,000 objects.
const WRITER_CACHE_KIB: i64 = 16 << 10;

/// Secrets are in there.
const MODE: u32 = 0o600;

/// `sqlite_sequence` begins at 1, so that the first write has revision 2 and no list ever answers revision 0, which
/// means "any" to Kubernetes clients.
const TABLES: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE objects (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    uid TEXT NOT NULL,
    revision INTEGER NOT NULL,
    owner TEXT NOT NULL,
    held INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX objects_key ON objects (kind, namespace, name);
CREATE UNIQUE INDEX objects_uid ON objects (uid);
CREATE INDEX objects_owner ON objects (owner, kind, namespace, name);
CREATE INDEX objects_held ON objects (kind, owner, namespace, name) WHERE held = 1;
CREATE INDEX objects_events ON objects (revision) WHERE kind = 'events';

CREATE TABLE other_owners (
    owner TEXT NOT NULL,
    object INTEGER NOT NULL,
    PRIMARY KEY (owner, object)
) STRICT, WITHOUT ROWID;

CREATE TABLE changes (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    prev INTEGER,
    removed INTEGER NOT NULL
) STRICT;
INSERT INTO sqlite_sequence (name, seq) VALUES ('changes', 1);

CREATE TABLE states (revision INTEGER PRIMARY KEY, json BLOB NOT NULL) STRICT;

CREATE TABLE facts (
    uid TEXT NOT NULL,
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (uid, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE marks (revision INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT;

INSERT INTO meta (name, value) VALUES ('compacted', 0);
";

/// How much a commit must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// A power cut.
    Disk,
    /// The process: for tests, whose files nobody opens again after a power cut.
    Process,
}

/// Opens the writing connection; makes or checks the tables.
pub(super) fn open_writer(path: &Path, durability: Durability) -> Result<Connection, Error> {
    // SQLite gives the files beside it the mode of this one.
    OpenOptions::new().create(true).append(true).mode(MODE).open(path)?;
    let mut conn = Connection::open(path)?;
    prepare(&conn)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    conn.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    // What savepoints keep for a rollback.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    let synchronous = match durability {
        Durability::Disk => "FULL",
        Durability::Process => "OFF",
    };
    conn.pragma_update(None, "synchronous", synchronous)?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match tx.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? {
        0 => {
            tx.execute_batch(TABLES)?;
            tx.execute("INSERT INTO meta (name, value) VALUES ('id', ?1)", [Uuid::new_v4().to_string()])?;
            tx.pragma_update(None, "user_version", VERSION)?;
        }
        VERSION => {}
        found => return Err(Error::Unreadable { found, known: VERSION }),
    }
    tx.commit()?;
    Ok(conn)
}

/// Opens a connection that cannot write.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let conn = Connection::open_with_flags(path, flags)?;
    prepare(&conn)?;
    Ok(conn)
}

fn prepare(conn: &Connection) -> Result<(), Error> {
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// This store's id.
pub(super) fn id(conn: &Connection) -> Result<String, Error> {
    Ok(conn.query_row("SELECT value FROM meta WHERE name = 'id'", [], |row| row.get(0))?)
}

/// The newest revision that this connection's snapshot sees.
pub(super) fn revision(conn: &Connection) -> Result<u64, Error> {
    let mut statement = conn.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'changes'")?;
    Ok(statement.query_row([], |row| row.get::<_, i64>(0)).optional()?.map_or(0, i64::unsigned_abs))
}

/// Changes up to and including this revision are forgotten.
pub(super) fn compacted(conn: &Connection) -> Result<u64, Error> {
    let mut statement = conn.prepare_cached("SELECT value FROM meta WHERE name = 'compacted'")?;
    Ok(statement.query_row([], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)?)
}

/// A revision as SQLite keeps it. One larger than any that can be stored (a client may ask for it) becomes the largest.
pub(super) fn sql(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}
