//! Owns every shared fact: API objects, their change log, private facts beside them, and kept container logs.
//! Never decides: it refuses a commit whose guards failed and mints identity, nothing more.
//!
//! ```text
//!  commit(Vec<Write>) --> writer thread: one SQLite transaction for all that wait, a savepoint each --> fsync
//!                              |                                                                          |
//!                              +--> change log row per object (revision = row id)                         v
//!                                                                        watchers of the kind <-- Change (Arc)
//!  get, list --> reader connections (WAL), see every acknowledged commit
//! ```
//!
//! Identity is minted here alone: uid, generated name, revision, creation time.

mod cache;
mod commit;
mod compact;
mod identity;
pub mod logs;
mod reader;
mod rows;
mod schema;
mod similar;
mod watch;
mod writer;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use tempfile::TempDir;
use tokio::sync::{Semaphore, oneshot};

use self::cache::Cache;
pub use self::compact::Limits;
pub use self::logs::Logs;
use self::reader::Pool;
use self::schema::Durability;
pub use self::watch::Watch;
use self::watch::{Feed, Shared};
use self::writer::{Ask, Request, Writer};
use crate::model::kind::Kind;
use crate::model::object::{Key, Object};

/// The database's file in the data directory.
pub const DATABASE: &str = "jobdock.db";
/// The directory of container logs in the data directory.
const LOGS: &str = "pods";
/// Of directories that the store makes: logs and Secrets are nobody else's business.
const DIRECTORY_MODE: u32 = 0o700;
/// Commits that wait for the writer at most; who comes after them waits before being queued.
const WAITING: usize = 1024;
/// Objects that [`Store::each`] reads at a time: a bound on its memory, and on how long it holds a connection.
const PAGE: usize = 500;

/// One change of one object, part of a commit.
#[expect(
    clippy::large_enum_variant,
    reason = "a commit holds a handful of writes, and a box would burden every caller"
)]
#[derive(Clone, Debug)]
pub enum Write {
    /// A new object. Without a uid, creation time or name (where `generateName` is set) the store mints them.
    Create(Object),
    /// Replaces an object; its uid and creation time stay. A `resourceVersion` in it is ignored: `expected` guards. An
    /// object of another uid than the stored one is [`Error::NotFound`]: who has its name now is not it. Where the result is terminating (`deletionTimestamp` set), has no finalizer left and no
    /// grace to wait for (`deletionGracePeriodSeconds` absent or 0), it is removed instead, as upstream does.
    /// An update that changes nothing but the revision writes nothing.
    Update {
        /// The whole new state.
        object: Object,
        /// What must hold of the stored one.
        expected: Expected,
    },
    /// Removes an object, whatever its finalizers say. [`Error::NotFound`] where it is not there. A pod is first written
    /// as one that has nothing left to wait for, as upstream does: two changes.
    Delete {
        /// Which.
        key: Key,
        /// What must hold of the stored one.
        expected: Expected,
    },
    /// Guards on an object that was read and is not written.
    Check {
        /// Which.
        key: Key,
        /// The revision it must still have.
        revision: u64,
    },
    /// Records an Event. The same message about the same object raises `count` and `lastTimestamp` of one Event rather
    /// than adding rows, and many messages that differ little share one. Its name tells when it was first said.
    Record(Event),
    /// Keeps a private fact beside the object with this uid, replacing the one of the same name. It goes when the
    /// object goes; with no such object (and none created by the same commit) it is not kept. No client sees it.
    Remember {
        /// The object's uid.
        uid: String,
        /// The fact's name, a constant of the room that owns it: `backoff`.
        name: &'static str,
        /// Any bytes; JSON by custom.
        value: Bytes,
    },
}

/// A guard on the stored object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It exists.
    Exists,
    /// It exists at this revision.
    Revision(u64),
}

/// One object's step from one state to the next, in the order of revisions.
///
/// A removal has a revision of its own. `before` stays the state as it was stored, with its own revision: who tells a
/// client of the removal sets `metadata.resourceVersion` to [`Change::revision`], as upstream's DELETED event has it.
#[derive(Clone, Debug)]
pub struct Change {
    /// The revision that the commit gave it; every object write has its own.
    pub revision: u64,
    /// The kind of both states.
    pub kind: &'static Kind,
    /// The state before; none for a creation.
    pub before: Option<Object>,
    /// The state after; none for a removal.
    pub after: Option<Object>,
}

/// Which objects of a kind a list wants.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// The kind.
    pub kind: &'static Kind,
    /// One namespace, or all.
    pub namespace: Option<&'a str>,
    /// By controlling owner.
    pub owner: Owner<'a>,
    /// Only objects that still carry a finalizer: for the pods of a Job, those not counted yet.
    pub with_finalizers: bool,
    /// At most this many, in the order of (namespace, name).
    pub limit: Option<usize>,
    /// Only what comes after this (namespace, name).
    pub after: Option<(&'a str, &'a str)>,
    /// As it was at this revision; [`Error::Compacted`] where the change log no longer reaches back to it. A revision
    /// that is yet to come means the newest.
    pub at: Option<u64>,
}

impl Query<'_> {
    /// Every object of a kind; what is to be narrower says so with `..Query::all(kind)`.
    pub fn all(kind: &'static Kind) -> Self {
        Self { kind, namespace: None, owner: Owner::Any, with_finalizers: false, limit: None, after: None, at: None }
    }
}

/// A filter on the controlling owner (`ownerReferences` with `controller: true`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// Whoever owns it, or nobody.
    Any,
    /// The object with this uid.
    Uid(&'a str),
    /// No controller owns it.
    Nobody,
}

/// Part of a list, with the revision at which it is true.
#[derive(Clone, Debug)]
pub struct Page {
    /// The objects in the order of (namespace, name).
    pub objects: Vec<Object>,
    /// The store's revision when the list was read, or the older one that was asked for.
    pub revision: u64,
    /// How many more match beyond `limit`.
    pub remaining: u64,
}

/// What a committed write did.
#[derive(Clone, Debug)]
pub struct Committed {
    /// For each write, in order: the object as it now stands; as it last stood, where it was deleted; as it was asked
    /// for, where an update of a terminating object removed it. None for checks, events and private facts.
    pub objects: Vec<Option<Object>>,
    /// The store's revision after the commit.
    pub revision: u64,
}

/// Why a store call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A guard failed, because somebody wrote first: read again and decide again. Nothing was written.
    #[error("{key} was changed by somebody else (expected revision {expected}, stored {stored})")]
    Conflict {
        /// The object.
        key: Key,
        /// The revision that the caller had read.
        expected: u64,
        /// The revision that stands.
        stored: u64,
    },
    /// The object to update, delete or check is not there. Nothing was written.
    #[error("{0} not found")]
    NotFound(Key),
    /// The object to create is already there. Nothing was written.
    #[error("{0} already exists")]
    AlreadyExists(Key),
    /// The change log no longer reaches back to the revision asked for: list, then watch from the list's revision.
    #[error("revision {0} is too old: the log starts at {1}")]
    Compacted(u64, u64),
    /// The writer is shutting down.
    #[error("the store is closed")]
    Closed,
    /// SQLite or the file system failed: nothing was written; the caller may try again later.
    #[error("the store's database failed")]
    Database(#[from] rusqlite::Error),
    /// A file beside the database could not be read or written.
    #[error("the store's files failed")]
    Io(#[from] std::io::Error),
    /// The database was written by a newer jobdock: use that one.
    #[error("the database has version {found}, and this jobdock reads up to version {known}")]
    Unreadable {
        /// The file's version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// A stored object does not decode: the file was damaged or written by something else.
    #[error("stored object {0} is damaged")]
    Damaged(String, #[source] serde_json::Error),
}

impl Error {
    /// Whether the disk has no room left.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Database(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            Self::Io(error) => error.kind() == std::io::ErrorKind::StorageFull,
            Self::Conflict { .. } | Self::NotFound(_) | Self::AlreadyExists(_) | Self::Compacted(..) => false,
            Self::Closed | Self::Unreadable { .. } | Self::Damaged(..) => false,
        }
    }
}

/// What only the store may give a new object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `metadata.uid`.
    pub uid: String,
    /// Five characters that follow `metadata.generateName` (upstream's alphabet: `bcdfghjklmnpqrstvwxz2456789`).
    pub suffix: String,
    /// `metadata.creationTimestamp`.
    pub now: Timestamp,
}

/// Handle on the store; clones share it. When the last one goes, what was accepted is committed and the writer ends.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    id: String,
    shared: Arc<Shared>,
    logs: Logs,
    asks: Option<mpsc::Sender<Ask>>,
    permits: Arc<Semaphore>,
    writer: Option<JoinHandle<()>>,
    /// Last, so that the files outlive their users.
    _temporary: Option<TempDir>,
}

impl Store {
    /// Opens (or makes) the database under `dir`. One process at a time: the caller holds the data directory's lock.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_with(dir, Limits::default())
    }

    /// [`Store::open`] with other limits on what is kept of the past.
    pub fn open_with(dir: &Path, limits: Limits) -> Result<Self, Error> {
        Self::start(dir, Durability::Disk, limits, None)
    }

    /// A store of its own in a temporary directory, without waiting for the disk, for tests.
    pub fn in_memory() -> Result<Self, Error> {
        let temporary = tempfile::tempdir()?;
        let dir = temporary.path().to_owned();
        Self::start(&dir, Durability::Process, Limits::default(), Some(temporary))
    }

    fn start(dir: &Path, durability: Durability, limits: Limits, temporary: Option<TempDir>) -> Result<Self, Error> {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(dir)?;
        let path = dir.join(DATABASE);
        let conn = schema::open_writer(&path, durability)?;
        let id = schema::id(&conn)?;
        let feed = Feed::new(schema::revision(&conn)?);
        let shared = Arc::new(Shared { pool: Pool::new(path), cache: Cache::default(), feed });
        let writer = Writer::new(conn, Arc::clone(&shared), limits)?;
        let (asks, inbox) = mpsc::channel();
        let writer = thread::Builder::new().name("store".to_owned()).spawn(move || writer.run(&inbox))?;
        let inner = Inner {
            id,
            shared,
            logs: Logs::new(dir.join(LOGS)),
            asks: Some(asks),
            permits: Arc::new(Semaphore::new(WAITING)),
            writer: Some(writer),
            _temporary: temporary,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// This store's id, minted once: containers carry it, so that two daemons never touch each other's.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// All writes or none, on disk when it returns. One that is dropped while it waits may still be committed.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<Committed, Error> {
        self.ask(writes, false).await
    }

    /// What [`Store::commit`] would answer, with nothing written (`dryRun=All`). A created object has no revision.
    pub async fn dry_run(&self, writes: Vec<Write>) -> Result<Committed, Error> {
        self.ask(writes, true).await
    }

    async fn ask(&self, writes: Vec<Write>, dry_run: bool) -> Result<Committed, Error> {
        let permit = Arc::clone(&self.0.permits).acquire_owned().await.map_err(|_| Error::Closed)?;
        let (answer, answered) = oneshot::channel();
        self.send(Ask::Commit(Request { writes, dry_run, answer, permit }))?;
        answered.await.map_err(|_| Error::Closed)?
    }

    /// Forgets now what the limits allow to forget, rather than some time later.
    pub async fn upkeep(&self) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        self.send(Ask::Upkeep(answer))?;
        answered.await.map_err(|_| Error::Closed)?
    }

    fn send(&self, ask: Ask) -> Result<(), Error> {
        self.0.asks.as_ref().ok_or(Error::Closed)?.send(ask).map_err(|_| Error::Closed)
    }

    /// A fresh identity, for a create whose rules need it before the commit (a Job's labels carry its uid).
    pub fn mint(&self) -> Identity {
        identity::mint()
    }

    /// The container logs kept beside the database.
    pub fn logs(&self) -> &Logs {
        &self.0.logs
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Result<Option<Object>, Error> {
        let shared = &self.0.shared;
        shared.pool.read(|conn| reader::get(conn, &shared.cache, key))
    }

    /// The objects that match.
    pub fn list(&self, query: &Query<'_>) -> Result<Page, Error> {
        let shared = &self.0.shared;
        shared.pool.read(|conn| reader::list(conn, &shared.cache, query))
    }

    /// Shows each object that matches to `visit`, a page at a time; the query's `limit` and `after` do not count. The
    /// revision of the first page: who watches from there misses nothing.
    pub fn each(&self, query: &Query<'_>, mut visit: impl FnMut(&Object) -> Result<(), Error>) -> Result<u64, Error> {
        let (mut last, mut revision): (Option<Key>, Option<u64>) = (None, None);
        loop {
            let after = last.as_ref().map(|key| (key.namespace.as_str(), key.name.as_str()));
            let page = self.list(&Query { limit: Some(PAGE), after, ..query.clone() })?;
            let from = *revision.get_or_insert(page.revision);
            page.objects.iter().try_for_each(&mut visit)?;
            last = page.objects.last().map(Object::key);
            if page.remaining == 0 || last.is_none() {
                return Ok(from);
            }
        }
    }

    /// A private fact kept by [`Write::Remember`].
    pub fn fact(&self, uid: &str, name: &'static str) -> Result<Option<Bytes>, Error> {
        self.0.shared.pool.read(|conn| reader::fact(conn, uid, name))
    }

    /// The key of the live object with this uid.
    pub fn by_uid(&self, uid: &str) -> Result<Option<Key>, Error> {
        self.0.shared.pool.read(|conn| reader::by_uid(conn, uid))
    }

    /// The keys of all objects, of any kind, that name this uid in their `ownerReferences`, controller or not.
    pub fn dependents(&self, uid: &str) -> Result<Vec<Key>, Error> {
        self.0.shared.pool.read(|conn| reader::dependents(conn, uid))
    }

    /// The uids that stand in `ownerReferences` and that no live object has. Reads every row: for a start.
    pub fn missing_owners(&self) -> Result<Vec<String>, Error> {
        self.0.shared.pool.read(reader::missing_owners)
    }

    /// The newest revision that is on disk; never 0.
    pub fn revision(&self) -> u64 {
        self.0.shared.feed.newest()
    }

    /// Every change of these kinds after `revision`, gap-free and in order, without end.
    pub fn watch(&self, kinds: &[&'static Kind], after: u64) -> Result<Watch, Error> {
        Watch::new(&self.0.shared, kinds, after)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.asks = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so already, and there is nothing left to save.
            let _ = writer.join();
        }
    }
}
