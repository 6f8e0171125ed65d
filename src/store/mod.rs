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

pub mod logs;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;

pub use self::logs::Logs;
use crate::model::kind::Kind;
use crate::model::object::{Key, Object};

/// One change of one object, part of a commit.
#[derive(Clone, Debug)]
pub enum Write {
    /// A new object. Without a uid, creation time or name (where `generateName` is set) the store mints them.
    Create(Object),
    /// Replaces an object. Where the result is terminating (`deletionTimestamp` set), has no finalizer left and no
    /// grace to wait for (`deletionGracePeriodSeconds` absent or 0), it is removed instead, as upstream does.
    /// An update that changes nothing but the revision writes nothing.
    Update {
        /// The whole new state.
        object: Object,
        /// What must hold of the stored one.
        expected: Expected,
    },
    /// Removes an object, whatever its finalizers say.
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
    /// Records an Event. The store derives its name from what it says, so that the same message about the same
    /// object raises `count` and `lastTimestamp` of one Event rather than adding rows.
    Record(Event),
    /// Keeps a private fact beside the object with this uid, replacing the one of the same name. It goes when the
    /// object goes. No client sees it.
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
    /// As it was at this revision, where the change log still reaches back to it.
    pub at: Option<u64>,
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
    /// The store's revision when the list was read.
    pub revision: u64,
    /// How many more match beyond `limit`.
    pub remaining: u64,
}

/// What a committed write did.
#[derive(Clone, Debug)]
pub struct Committed {
    /// For each write, in order: the object as it now stands (as it last stood, where it was removed); none for
    /// checks, events and private facts.
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
    /// A stored object does not decode: the file was damaged or written by something else.
    #[error("stored object {0} is damaged")]
    Damaged(String, #[source] serde_json::Error),
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

/// Handle on the store; clones share it.
#[derive(Clone)]
pub struct Store(Arc<()>);

impl Store {
    /// Opens (or makes) the database under `dir`. One process at a time: the caller holds the data directory's lock.
    pub fn open(_dir: &Path) -> Result<Self, Error> {
        unimplemented!()
    }

    /// A store of its own in memory (log files in a temporary directory), for tests.
    pub fn in_memory() -> Result<Self, Error> {
        unimplemented!()
    }

    /// This store's id, minted once: containers carry it, so that two daemons never touch each other's.
    pub fn id(&self) -> &str {
        unimplemented!()
    }

    /// All writes or none, on disk when it returns.
    pub async fn commit(&self, _writes: Vec<Write>) -> Result<Committed, Error> {
        unimplemented!()
    }

    /// What [`Store::commit`] would answer, with nothing written (`dryRun=All`).
    pub async fn dry_run(&self, _writes: Vec<Write>) -> Result<Committed, Error> {
        unimplemented!()
    }

    /// A fresh identity, for a create whose rules need it before the commit (a Job's labels carry its uid).
    pub fn mint(&self) -> Identity {
        unimplemented!()
    }

    /// The container logs kept beside the database.
    pub fn logs(&self) -> &Logs {
        unimplemented!()
    }

    /// One object.
    pub fn get(&self, _key: &Key) -> Result<Option<Object>, Error> {
        unimplemented!()
    }

    /// The objects that match.
    pub fn list(&self, _query: &Query<'_>) -> Result<Page, Error> {
        unimplemented!()
    }

    /// A private fact kept by [`Write::Remember`].
    pub fn fact(&self, _uid: &str, _name: &'static str) -> Result<Option<Bytes>, Error> {
        unimplemented!()
    }

    /// The newest revision that is on disk.
    pub fn revision(&self) -> u64 {
        unimplemented!()
    }

    /// Every change of these kinds after `revision`, gap-free and in order, without end.
    pub fn watch(&self, _kinds: &[&'static Kind], _after: u64) -> Result<Watch, Error> {
        unimplemented!()
    }
}

/// A stream of changes. A reader that falls behind the live channel is fed from the change log; one that falls behind
/// the log itself is told [`Error::Compacted`].
pub struct Watch(());

impl Watch {
    /// The next change; waits for it. Cancel-safe.
    pub async fn next(&mut self) -> Result<Arc<Change>, Error> {
        unimplemented!()
    }
}
