//! Owns how one object's row and one state are found and decoded, by the writer and the readers alike.
//! Never writes.

use std::borrow::Cow;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};
use serde::de::Error as _;

use super::cache::Cache;
use super::schema::sql;
use super::{Error, Key, Kind, Object};
use crate::model::kind::KINDS;

/// The row of a live object.
pub(super) struct Row {
    pub id: i64,
    pub uid: String,
    pub revision: u64,
    pub owner: String,
    pub held: bool,
}

/// The row under this key.
pub(super) fn find(conn: &Connection, key: &Key) -> Result<Option<Row>, Error> {
    let mut statement = conn.prepare_cached(
        "SELECT id, uid, revision, owner, held FROM objects WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
    )?;
    let row = statement.query_row((&key.kind.resource(), &key.namespace, &key.name), |row| {
        Ok(Row {
            id: row.get(0)?,
            uid: row.get(1)?,
            revision: row.get::<_, i64>(2)?.unsigned_abs(),
            owner: row.get(3)?,
            held: row.get(4)?,
        })
    });
    Ok(row.optional()?)
}

/// The state that a revision wrote. The caller knows from a row in the same snapshot that it is there.
pub(super) fn state(conn: &Connection, cache: &Cache, kind: &'static Kind, revision: u64) -> Result<Object, Error> {
    if let Some(object) = cache.get(revision) {
        return Ok(object);
    }
    let mut statement = conn.prepare_cached("SELECT json FROM states WHERE revision = ?1")?;
    let mut rows = statement.query([sql(revision)])?;
    let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    decode(kind, revision, row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)
}

/// Reads stored JSON.
pub(super) fn decode(kind: &'static Kind, revision: u64, json: &[u8]) -> Result<Object, Error> {
    Object::from_own_json(kind, Bytes::copy_from_slice(json))
        .map_err(|source| Error::Damaged(format!("{} at revision {revision}", kind.resource()), source))
}

/// The kind of a stored row.
pub(super) fn kind(resource: &str) -> Result<&'static Kind, Error> {
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    KINDS.iter().find(|kind| kind.plural == plural && kind.group == group).ok_or_else(|| {
        Error::Damaged(resource.to_owned(), serde_json::Error::custom("this version of jobdock serves no such kind"))
    })
}

/// The controlling owner's uid, empty for none.
pub(super) fn controller(object: &Object) -> &str {
    let references = object.meta().owner_references.iter().flatten();
    references.filter(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str()).next().unwrap_or_default()
}

/// The uids of the other owners, each once.
pub(super) fn other_owners(object: &Object) -> Vec<&str> {
    let controller = controller(object);
    let references = object.meta().owner_references.iter().flatten().map(|owner| owner.uid.as_str());
    let mut others: Vec<&str> = references.filter(|uid| *uid != controller && !uid.is_empty()).collect();
    others.sort_unstable();
    others.dedup();
    others
}

/// Whether metadata carries a finalizer.
pub(super) fn held(object: &Object) -> bool {
    object.meta().finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty())
}

/// A list of `?` for an `IN`, `count` long.
pub(super) fn marks(count: usize) -> Cow<'static, str> {
    match count {
        1 => Cow::Borrowed("?"),
        count => Cow::Owned(vec!["?"; count].join(", ")),
    }
}
