//! Owns how changes reach those who watch: a shared ring of the latest ones, a wake-up per watcher, and the change log
//! for whoever falls behind the ring. Never loses, repeats or reorders a change.
//!
//! ```text
//!  next(): after my cursor --+-- all of my kinds' changes are in the ring --> from the ring
//!                            +-- some have left the ring                 --> from the log
//!                            +-- some have left the log                  --> Compacted
//!                            +-- there are none                          --> wait for the writer's wake-up
//! ```
//!
//! A watcher costs its cursor: however slow it is, nothing is remembered for it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use tokio::sync::Notify;

use super::cache::Cache;
use super::reader::Pool;
use super::rows;
use super::schema::{self, sql};
use super::{Change, Error, Kind};
use crate::metrics::metrics;

/// Changes in the ring at most: some tenths of a second at full load.
const RING: usize = 4096;
/// JSON bytes of the states in the ring at most; large ConfigMaps must not fill the memory.
const RING_BYTES: usize = 16 << 20;
/// Changes that a watcher takes at once, from the ring or from the log.
const BATCH: usize = 64;

/// What readers, watchers and the writer share.
pub(super) struct Shared {
    pub pool: Pool,
    pub cache: Cache,
    pub feed: Feed,
}

/// The latest changes, and who waits for more.
pub(super) struct Feed {
    newest: AtomicU64,
    state: Mutex<State>,
}

struct State {
    ring: VecDeque<Arc<Change>>,
    bytes: usize,
    /// The newest revision when the store was opened: what came before was never in the ring.
    opened: u64,
    /// By kind, the newest revision that has left the ring.
    left: HashMap<&'static Kind, u64>,
    newest: u64,
    closed: bool,
    waiting: HashMap<u64, Waiting>,
    next_id: u64,
}

struct Waiting {
    kinds: Vec<&'static Kind>,
    wake: Arc<Notify>,
}

/// What the ring has after a cursor.
enum Look {
    /// These, and the cursor after them.
    Changes(VecDeque<Arc<Change>>, u64),
    /// Nothing yet; the cursor moves over what other kinds did.
    Nothing(u64),
    /// The ring no longer has all of them.
    Behind,
    /// Nothing will come any more.
    Closed,
}

impl Feed {
    /// An empty ring at this revision.
    pub(super) fn new(opened: u64) -> Self {
        let state = State {
            ring: VecDeque::new(),
            bytes: 0,
            opened,
            left: HashMap::new(),
            newest: opened,
            closed: false,
            waiting: HashMap::new(),
            next_id: 0,
        };
        Self { newest: AtomicU64::new(opened), state: Mutex::new(state) }
    }

    /// The newest committed revision.
    pub(super) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    /// Takes in the changes of one transaction, in order, and wakes whoever wants one of them.
    pub(super) fn publish(&self, changes: &[Arc<Change>], revision: u64) {
        let mut state = self.lock();
        let mut kinds: Vec<&'static Kind> = Vec::new();
        for change in changes {
            state.push(Arc::clone(change));
            if !kinds.contains(&change.kind) {
                kinds.push(change.kind);
            }
        }
        state.newest = revision;
        self.newest.store(revision, Ordering::Release);
        for waiting in state.waiting.values() {
            if waiting.kinds.iter().any(|kind| kinds.contains(kind)) {
                waiting.wake.notify_one();
            }
        }
    }

    /// No more will come: wakes everybody.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        for waiting in state.waiting.values() {
            waiting.wake.notify_one();
        }
    }

    fn look(&self, after: u64, kinds: &[&'static Kind]) -> Look {
        let state = self.lock();
        let complete_after = kinds.iter().filter_map(|kind| state.left.get(kind)).max().copied().unwrap_or(0);
        if after < complete_after.max(state.opened) {
            return Look::Behind;
        }
        let start = state.ring.partition_point(|change| change.revision <= after);
        let wanted = state.ring.range(start..).filter(|change| kinds.contains(&change.kind));
        let changes: VecDeque<_> = wanted.take(BATCH).cloned().collect();
        match changes.back() {
            Some(last) => {
                let cursor = last.revision;
                Look::Changes(changes, cursor)
            }
            None if state.closed => Look::Closed,
            None => Look::Nothing(after.max(state.newest)),
        }
    }

    fn register(&self, kinds: &[&'static Kind]) -> (u64, Arc<Notify>) {
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        let wake = Arc::new(Notify::new());
        state.waiting.insert(id, Waiting { kinds: kinds.to_vec(), wake: Arc::clone(&wake) });
        metrics().watchers.inc();
        (id, wake)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, change: Arc<Change>) {
        self.bytes += bytes(&change);
        self.ring.push_back(change);
        while self.ring.len() > RING || self.bytes > RING_BYTES {
            let Some(gone) = self.ring.pop_front() else { break };
            self.bytes -= bytes(&gone);
            self.left.insert(gone.kind, gone.revision);
        }
    }
}

fn bytes(change: &Change) -> usize {
    // The state before is the state after of an earlier change or in nobody else's hands; counting both errs on the safe side.
    [&change.before, &change.after].into_iter().flatten().map(|object| object.json().len()).sum()
}

/// A stream of changes. A reader that falls behind the shared ring is fed from the change log; one that falls behind
/// the log itself is told [`Error::Compacted`]. When the store has closed, it ends with [`Error::Closed`].
pub struct Watch {
    shared: Arc<Shared>,
    kinds: Vec<&'static Kind>,
    cursor: u64,
    ready: VecDeque<Arc<Change>>,
    id: u64,
    wake: Arc<Notify>,
}

impl Watch {
    pub(super) fn new(shared: &Arc<Shared>, kinds: &[&'static Kind], after: u64) -> Result<Self, Error> {
        // Registered before anything is read, so that nothing can pass in between.
        let (id, wake) = shared.feed.register(kinds);
        let watch =
            Self { shared: Arc::clone(shared), kinds: kinds.to_vec(), cursor: after, ready: VecDeque::new(), id, wake };
        let start = shared.pool.read(schema::compacted)?;
        if after < start {
            return Err(Error::Compacted(after, start));
        }
        Ok(watch)
    }

    /// The next change; waits for it. Cancel-safe.
    pub async fn next(&mut self) -> Result<Arc<Change>, Error> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Ok(change);
            }
            match self.shared.feed.look(self.cursor, &self.kinds) {
                Look::Changes(changes, cursor) => {
                    self.ready = changes;
                    self.cursor = cursor;
                }
                Look::Nothing(cursor) => {
                    self.cursor = cursor;
                    self.wake.notified().await;
                }
                Look::Behind => self.replay()?,
                Look::Closed => return Err(Error::Closed),
            }
        }
    }

    /// Everything up to this revision has been handed out: what a bookmark tells a client.
    pub fn revision(&self) -> u64 {
        match self.ready.front() {
            Some(next) => next.revision - 1,
            None => self.cursor,
        }
    }

    fn replay(&mut self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let (changes, cursor) = shared.pool.read(|conn| replay(conn, &shared.cache, &self.kinds, self.cursor))?;
        self.ready = changes;
        self.cursor = cursor;
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.feed.lock().waiting.remove(&self.id);
        metrics().watchers.dec();
    }
}

/// One entry of the log.
struct Entry {
    revision: u64,
    kind: &'static Kind,
    prev: Option<u64>,
    removed: bool,
}

/// Changes from the log, and the cursor after them.
fn replay(
    conn: &Connection,
    cache: &Cache,
    kinds: &[&'static Kind],
    after: u64,
) -> Result<(VecDeque<Arc<Change>>, u64), Error> {
    let start = schema::compacted(conn)?;
    if after < start {
        return Err(Error::Compacted(after, start));
    }
    let entries = entries(conn, kinds, after)?;
    let cursor = match entries.last() {
        Some(last) if entries.len() == BATCH => last.revision,
        _ => schema::revision(conn)?,
    };
    let mut changes = VecDeque::with_capacity(entries.len());
    for entry in entries {
        let state = |revision: u64| rows::state(conn, cache, entry.kind, revision);
        let after = if entry.removed { None } else { Some(state(entry.revision)?) };
        let before = entry.prev.map(state).transpose()?;
        changes.push_back(Arc::new(Change { revision: entry.revision, kind: entry.kind, before, after }));
    }
    Ok((changes, cursor))
}

fn entries(conn: &Connection, kinds: &[&'static Kind], after: u64) -> Result<Vec<Entry>, Error> {
    let text = format!(
        "SELECT revision, kind, prev, removed FROM changes WHERE revision > ? AND kind IN ({}) ORDER BY revision LIMIT ?",
        rows::marks(kinds.len())
    );
    let mut params = vec![Value::Integer(sql(after))];
    params.extend(kinds.iter().map(|kind| Value::Text(kind.resource())));
    params.push(Value::Integer(sql(BATCH as u64)));
    let mut statement = conn.prepare_cached(&text)?;
    let mut rows = statement.query(params_from_iter(params))?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let resource: String = row.get(1)?;
        entries.push(Entry {
            revision: row.get::<_, i64>(0)?.unsigned_abs(),
            kind: rows::kind(&resource)?,
            prev: row.get::<_, Option<i64>>(2)?.map(i64::unsigned_abs),
            removed: row.get(3)?,
        });
    }
    Ok(entries)
}
