//! Owns reading: a bounded pool of read-only connections, single objects, lists, and lists as of an older revision.
//! Never writes. Every answer comes from one snapshot, which holds every commit that was acknowledged before.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};

use bytes::Bytes;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::cache::Cache;
use super::rows::{self, controller, decode, held};
use super::schema::{self, sql};
use super::{Error, Key, Object, Owner, Page, Query};

/// Readers at the same time. Reads take microseconds and hold a core, so more than this only adds memory.
const CONNECTIONS: usize = 8;

/// Connections that cannot write, opened when they are first needed.
pub(super) struct Pool {
    path: PathBuf,
    state: Mutex<Idle>,
    freed: Condvar,
}

#[derive(Default)]
struct Idle {
    connections: Vec<Connection>,
    opened: usize,
}

impl Pool {
    /// A pool on this file; opens nothing yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, state: Mutex::default(), freed: Condvar::new() }
    }

    /// Runs `read` on one snapshot of the database.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        let mut lease = Lease { pool: self, conn: None };
        let conn = lease.conn.insert(self.take()?);
        let snapshot = conn.unchecked_transaction()?;
        let answer = read(&snapshot)?;
        snapshot.commit()?;
        Ok(answer)
    }

    fn take(&self) -> Result<Connection, Error> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |state: &mut Idle| state.connections.is_empty() && state.opened >= CONNECTIONS;
        let mut state = self.freed.wait_while(state, full).unwrap_or_else(PoisonError::into_inner);
        if let Some(conn) = state.connections.pop() {
            return Ok(conn);
        }
        let conn = schema::open_reader(&self.path)?;
        state.opened += 1;
        Ok(conn)
    }
}

/// Brings a connection back, whatever happened.
struct Lease<'p> {
    pool: &'p Pool,
    conn: Option<Connection>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        let mut state = self.pool.state.lock().unwrap_or_else(PoisonError::into_inner);
        if conn.is_autocommit() {
            state.connections.push(conn);
        } else {
            // Its snapshot could not be ended: it would show the past for ever.
            state.opened -= 1;
        }
        self.pool.freed.notify_one();
    }
}

/// One object.
pub(super) fn get(conn: &Connection, cache: &Cache, key: &Key) -> Result<Option<Object>, Error> {
    let Some(row) = rows::find(conn, key)? else { return Ok(None) };
    let object = rows::state(conn, cache, key.kind, row.revision)?;
    cache.put(row.revision, object.clone());
    Ok(Some(object))
}

/// A private fact.
pub(super) fn fact(conn: &Connection, uid: &str, name: &str) -> Result<Option<Bytes>, Error> {
    let mut statement = conn.prepare_cached("SELECT value FROM facts WHERE uid = ?1 AND name = ?2")?;
    Ok(statement.query_row((uid, name), |row| row.get::<_, Vec<u8>>(0)).optional()?.map(Bytes::from))
}

/// The object with this uid.
pub(super) fn by_uid(conn: &Connection, uid: &str) -> Result<Option<Key>, Error> {
    let mut statement = conn.prepare_cached("SELECT kind, namespace, name FROM objects WHERE uid = ?1")?;
    keys(&mut statement, [uid]).map(|mut keys| keys.pop())
}

/// The objects that name this uid among their owners.
pub(super) fn dependents(conn: &Connection, uid: &str) -> Result<Vec<Key>, Error> {
    let mut statement = conn.prepare_cached(
        "SELECT kind, namespace, name FROM objects INDEXED BY objects_owner WHERE owner = ?1
         UNION ALL
         SELECT o.kind, o.namespace, o.name FROM other_owners r JOIN objects o ON o.id = r.object WHERE r.owner = ?1",
    )?;
    keys(&mut statement, [uid])
}

/// The uids that some object names as an owner and that no object has.
pub(super) fn missing_owners(conn: &Connection) -> Result<Vec<String>, Error> {
    let mut statement = conn.prepare_cached(
        "SELECT owner FROM (SELECT DISTINCT owner FROM objects WHERE owner > '' UNION SELECT owner FROM other_owners)
         WHERE owner NOT IN (SELECT uid FROM objects)",
    )?;
    let uids = statement.query_map([], |row| row.get(0))?;
    Ok(uids.collect::<Result<_, _>>()?)
}

fn keys(statement: &mut rusqlite::Statement<'_>, params: impl rusqlite::Params) -> Result<Vec<Key>, Error> {
    let mut found = Vec::new();
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        let resource: String = row.get(0)?;
        found.push(Key { kind: rows::kind(&resource)?, namespace: row.get(1)?, name: row.get(2)? });
    }
    Ok(found)
}

/// The objects that match.
pub(super) fn list(conn: &Connection, cache: &Cache, query: &Query<'_>) -> Result<Page, Error> {
    let newest = schema::revision(conn)?;
    let past = query.at.filter(|at| *at < newest);
    let replaced = match past {
        Some(at) => replaced_since(conn, cache, query, at)?,
        None => BTreeMap::new(),
    };
    let filter = Filter::of(query, past);
    // One more than asked for shows whether there is more, without a count.
    let wanted = query.limit.map(|limit| limit.saturating_add(1));
    let mut objects = filter.objects(conn, cache, query, wanted)?;
    let from_log = replaced.len() as u64;
    if from_log > 0 {
        objects.extend(replaced.into_values());
        objects.sort_by_cached_key(Object::key);
    }
    let mut remaining = 0;
    if let Some(limit) = query.limit.filter(|limit| objects.len() > *limit) {
        remaining = (filter.count(conn)? + from_log).saturating_sub(limit as u64);
        objects.truncate(limit);
    }
    Ok(Page { objects, revision: past.unwrap_or(newest), remaining })
}

/// States that were current at `at` and have been replaced or removed since: those that a later change replaced, where
/// the replaced state was written at or before `at`.
fn replaced_since(
    conn: &Connection,
    cache: &Cache,
    query: &Query<'_>,
    at: u64,
) -> Result<BTreeMap<(String, String), Object>, Error> {
    let start = schema::compacted(conn)?;
    if at < start {
        return Err(Error::Compacted(at, start));
    }
    let mut found = BTreeMap::new();
    let mut statement = conn
        .prepare_cached("SELECT prev, namespace, name FROM changes WHERE revision > ?1 AND prev <= ?1 AND kind = ?2")?;
    let mut rows = statement.query((sql(at), query.kind.resource()))?;
    while let Some(row) = rows.next()? {
        let (namespace, name): (String, String) = (row.get(1)?, row.get(2)?);
        let after = query.after.is_none_or(|after| (namespace.as_str(), name.as_str()) > after);
        if after && query.namespace.is_none_or(|wanted| wanted == namespace) {
            let object = rows::state(conn, cache, query.kind, row.get::<_, i64>(0)?.unsigned_abs())?;
            if matches(query, &object) {
                found.insert((namespace, name), object);
            }
        }
    }
    Ok(found)
}

/// The filters that are columns for current states.
fn matches(query: &Query<'_>, object: &Object) -> bool {
    let owner = match query.owner {
        Owner::Any => true,
        Owner::Uid(uid) => controller(object) == uid,
        Owner::Nobody => controller(object).is_empty(),
    };
    owner && (!query.with_finalizers || held(object))
}

/// The part of a statement that chooses among current objects, and its parameters.
struct Filter {
    index: &'static str,
    conditions: String,
    params: Vec<Value>,
}

impl Filter {
    fn of(query: &Query<'_>, at: Option<u64>) -> Self {
        let owner = match query.owner {
            Owner::Any => None,
            Owner::Uid(uid) => Some(uid),
            Owner::Nobody => Some(""),
        };
        let index = match (query.with_finalizers, owner) {
            (true, _) => "objects_held",
            (false, Some(_)) => "objects_owner",
            (false, None) => "objects_key",
        };
        let mut filter =
            Self { index, conditions: "o.kind = ?".to_owned(), params: vec![Value::Text(query.kind.resource())] };
        if query.with_finalizers {
            filter.conditions.push_str(" AND o.held = 1");
        }
        if let Some(owner) = owner {
            filter.and(" AND o.owner = ?", [Value::Text(owner.to_owned())]);
        }
        if let Some(namespace) = query.namespace {
            filter.and(" AND o.namespace = ?", [Value::Text(namespace.to_owned())]);
        }
        if let Some((namespace, name)) = query.after {
            let after = [namespace, name].map(|text| Value::Text(text.to_owned()));
            filter.and(" AND (o.namespace, o.name) > (?, ?)", after);
        }
        if let Some(at) = at {
            filter.and(" AND o.revision <= ?", [Value::Integer(sql(at))]);
        }
        filter
    }

    fn and<const N: usize>(&mut self, condition: &str, params: [Value; N]) {
        self.conditions.push_str(condition);
        self.params.extend(params);
    }

    fn objects(
        &self,
        conn: &Connection,
        cache: &Cache,
        query: &Query<'_>,
        limit: Option<usize>,
    ) -> Result<Vec<Object>, Error> {
        let text = format!(
            "SELECT o.revision, s.json FROM objects o INDEXED BY {} JOIN states s ON s.revision = o.revision
             WHERE {} ORDER BY o.namespace, o.name LIMIT ?",
            self.index, self.conditions
        );
        // To SQLite a negative limit is none.
        let limit = limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        let mut statement = conn.prepare_cached(&text)?;
        let mut rows = statement.query(params_from_iter(self.params.iter().chain([&Value::Integer(limit)])))?;
        let mut objects = Vec::new();
        while let Some(row) = rows.next()? {
            let revision = row.get::<_, i64>(0)?.unsigned_abs();
            objects.push(match cache.get(revision) {
                Some(object) => object,
                None => decode(query.kind, revision, row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?,
            });
        }
        Ok(objects)
    }

    fn count(&self, conn: &Connection) -> Result<u64, Error> {
        let text = format!("SELECT COUNT(*) FROM objects o INDEXED BY {} WHERE {}", self.index, self.conditions);
        let mut statement = conn.prepare_cached(&text)?;
        Ok(statement.query_row(params_from_iter(&self.params), |row| row.get::<_, i64>(0))?.unsigned_abs())
    }
}
