//! Owns what each [`Write`] does to the tables, inside the writer's open transaction.
//! Never begins, ends or rolls back anything, and never publishes: `writer` does, once it knows the outcome.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use rusqlite::Connection;

use super::cache::Cache;
use super::rows::{self, Row, controller, held, other_owners};
use super::schema::sql;
use super::similar::{COMBINED, Similar};
use super::{Change, Error, Expected, Key, Object, Write};
use super::{identity, reader};
use crate::model::deletion;
use crate::model::time;

/// Tries to find a free generated name. Parity: the API server tries 8 times.
const NAME_TRIES: usize = 8;

/// What one transaction has written so far.
pub(super) struct Batch<'c> {
    conn: &'c Connection,
    cache: &'c Cache,
    now: Timestamp,
    revision: u64,
    changes: Vec<Arc<Change>>,
    /// States of this transaction, which the shared cache must not see before they are committed.
    fresh: HashMap<u64, Object>,
    similar: &'c mut Similar,
}

/// A point to go back to, when the savepoint made at the same time is rolled back.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    /// The newest revision given out then.
    pub revision: u64,
    changes: usize,
}

impl<'c> Batch<'c> {
    /// Nothing written yet; `revision` is the newest one committed.
    pub(super) fn new(
        conn: &'c Connection,
        cache: &'c Cache,
        similar: &'c mut Similar,
        revision: u64,
        now: Timestamp,
    ) -> Self {
        Self { conn, cache, now, revision, changes: Vec::new(), fresh: HashMap::new(), similar }
    }

    /// The newest revision given out.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Everything written, in the order of revisions.
    pub(super) fn into_changes(self) -> Vec<Arc<Change>> {
        self.changes
    }

    /// Where we are.
    pub(super) fn mark(&self) -> Mark {
        Mark { revision: self.revision, changes: self.changes.len() }
    }

    /// Forgets what was written since.
    pub(super) fn back_to(&mut self, mark: Mark) {
        for change in self.changes.drain(mark.changes..) {
            self.fresh.remove(&change.revision);
        }
        self.revision = mark.revision;
    }

    /// Applies a commit's writes in order, each seeing those before it. On an error the caller goes back to its mark.
    pub(super) fn apply(&mut self, writes: Vec<Write>) -> Result<Vec<Option<Object>>, Error> {
        let mut objects = Vec::with_capacity(writes.len());
        // Facts come last, so that they may stand anywhere in the commit that creates their object.
        let mut facts = Vec::new();
        for write in writes {
            objects.push(match write {
                Write::Create(object) => Some(self.create(&object)?),
                Write::Update { object, expected } => Some(self.update(&object, expected)?),
                Write::Delete { key, expected } => Some(self.delete(&key, expected)?),
                Write::Check { key, revision } => {
                    self.guard(&key, Expected::Revision(revision))?;
                    None
                }
                Write::Record(event) => {
                    self.record(event)?;
                    None
                }
                Write::Remember { uid, name, value } => {
                    facts.push((uid, name, value));
                    None
                }
            });
        }
        for (uid, name, value) in facts {
            self.remember(&uid, name, &value)?;
        }
        Ok(objects)
    }

    /// As clients see a dry run: a created object has no revision, an updated one keeps that of the stored state.
    pub(super) fn as_dry_run(&self, mark: Mark, object: &Object) -> Object {
        let own = self.changes[mark.changes..].iter().find(|change| change.revision == object.revision());
        match own {
            None => object.clone(),
            Some(change) => {
                let revision = change.before.as_ref().and_then(|before| before.meta().resource_version.clone());
                object.with_meta(|meta| meta.resource_version.clone_from(&revision))
            }
        }
    }

    fn create(&mut self, object: &Object) -> Result<Object, Error> {
        let key = self.free_key(object)?;
        let revision = self.revision + 1;
        let uid = match object.uid() {
            "" => identity::mint().uid,
            given => given.to_owned(),
        };
        let object = object.with_meta(|meta| {
            meta.name = Some(key.name.clone());
            meta.uid = Some(uid.clone());
            meta.creation_timestamp.get_or_insert_with(|| time::seconds(self.now));
            meta.resource_version = Some(revision.to_string());
        });
        let mut insert = self.conn.prepare_cached(
            "INSERT INTO objects (kind, namespace, name, uid, revision, owner, held) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        let kind = key.kind.resource();
        let owner = controller(&object);
        insert.execute((&kind, &key.namespace, &key.name, &uid, sql(revision), owner, held(&object)))?;
        let id = self.conn.last_insert_rowid();
        self.add_owners(id, &other_owners(&object))?;
        self.write_state(&key, None, object)
    }

    /// The object's own key, or one with a generated name.
    fn free_key(&self, object: &Object) -> Result<Key, Error> {
        let mut key = object.key();
        let base = object.meta().generate_name.as_deref().filter(|base| key.name.is_empty() && !base.is_empty());
        let Some(base) = base else {
            return match rows::find(self.conn, &key)? {
                None => Ok(key),
                Some(_) => Err(Error::AlreadyExists(key)),
            };
        };
        for _ in 0..NAME_TRIES {
            key.name = identity::generated_name(base, &identity::mint().suffix);
            if rows::find(self.conn, &key)?.is_none() {
                return Ok(key);
            }
        }
        Err(Error::AlreadyExists(key))
    }

    fn update(&mut self, object: &Object, expected: Expected) -> Result<Object, Error> {
        let key = object.key();
        let row = self.guard(&key, expected)?;
        if !object.uid().is_empty() && object.uid() != row.uid {
            // Another object has taken the name: the one that the caller means is gone.
            return Err(Error::NotFound(key));
        }
        let stored = self.state(&key, row.revision)?;
        let object = with_identity_of(object, &stored);
        if object == stored {
            return Ok(stored);
        }
        if deletion::is_over(&object) {
            self.remove(&key, &row, stored)?;
            return Ok(object);
        }
        self.replace(&key, &row, stored, &object)
    }

    fn replace(&mut self, key: &Key, row: &Row, stored: Object, object: &Object) -> Result<Object, Error> {
        let revision = self.revision + 1;
        let object = object.with_meta(|meta| meta.resource_version = Some(revision.to_string()));
        self.update_row(row, revision, &object)?;
        let (before, after) = (other_owners(&stored), other_owners(&object));
        if before != after {
            self.drop_owners(row.id, &before)?;
            self.add_owners(row.id, &after)?;
        }
        self.write_state(key, Some(stored), object)
    }

    /// SQLite touches only the indexes whose columns are named, and most updates change none of them.
    fn update_row(&self, row: &Row, revision: u64, object: &Object) -> Result<(), Error> {
        let (owner, held) = (controller(object), held(object));
        if owner == row.owner && held == row.held {
            let mut update = self.conn.prepare_cached("UPDATE objects SET revision = ?2 WHERE id = ?1")?;
            update.execute((row.id, sql(revision)))?;
        } else {
            let mut update =
                self.conn.prepare_cached("UPDATE objects SET revision = ?2, owner = ?3, held = ?4 WHERE id = ?1")?;
            update.execute((row.id, sql(revision), owner, held))?;
        }
        Ok(())
    }

    fn delete(&mut self, key: &Key, expected: Expected) -> Result<Object, Error> {
        let row = self.guard(key, expected)?;
        let stored = self.state(key, row.revision)?;
        let last = match deletion::last_state(&stored, self.now) {
            Some(last) => self.replace(key, &row, stored, &last)?,
            None => stored,
        };
        self.remove(key, &row, last.clone())?;
        Ok(last)
    }

    fn remove(&mut self, key: &Key, row: &Row, stored: Object) -> Result<(), Error> {
        self.conn.prepare_cached("DELETE FROM objects WHERE id = ?1")?.execute([row.id])?;
        self.conn.prepare_cached("DELETE FROM facts WHERE uid = ?1")?.execute([&row.uid])?;
        self.drop_owners(row.id, &other_owners(&stored))?;
        self.log(key, Some(stored), None)
    }

    /// The row, where the guard holds.
    fn guard(&self, key: &Key, expected: Expected) -> Result<Row, Error> {
        let row = rows::find(self.conn, key)?.ok_or_else(|| Error::NotFound(key.clone()))?;
        match expected {
            Expected::Exists => Ok(row),
            Expected::Revision(revision) if revision == row.revision => Ok(row),
            Expected::Revision(expected) => Err(Error::Conflict { key: key.clone(), expected, stored: row.revision }),
        }
    }

    fn record(&mut self, mut event: Event) -> Result<(), Error> {
        let (group, mut uid) = (identity::event_group(&event), identity::event_uid(&event));
        if self.similar.too_many(group, uid, self.now) {
            event.message = event.message.map(|message| format!("{COMBINED}{message}"));
            uid = group;
        }
        let uid = uid.to_string();
        if let Some(key) = reader::by_uid(self.conn, &uid)? {
            return self.record_again(&key, event);
        }
        let namespace = event.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let key = self.event_key(&event, &namespace)?;
        event.metadata.namespace = Some(key.namespace);
        event.metadata.name = Some(key.name);
        event.metadata.uid = Some(uid);
        event.count.get_or_insert(1);
        self.create(&Object::new(event))?;
        Ok(())
    }

    /// A name that none has yet: the clock may have been set back to when others were named.
    fn event_key(&mut self, event: &Event, namespace: &str) -> Result<Key, Error> {
        loop {
            let name = identity::event_name(event, self.similar.stamp(self.now));
            let key = Key::of::<Event>(namespace, &name);
            if rows::find(self.conn, &key)?.is_none() {
                return Ok(key);
            }
        }
    }

    fn record_again(&mut self, key: &Key, event: Event) -> Result<(), Error> {
        let Some(row) = rows::find(self.conn, key)? else { return Ok(()) };
        let stored = self.state(key, row.revision)?;
        let mut again = stored.typed::<Event>().cloned().unwrap_or_else(|| event.clone());
        again.count = Some(again.count.unwrap_or(1).saturating_add(1));
        again.last_timestamp = event.last_timestamp.or(again.last_timestamp);
        again.message = event.message;
        self.update(&Object::new(again), Expected::Exists)?;
        Ok(())
    }

    /// A fact about an object that is not there would never go, so it is not kept.
    fn remember(&self, uid: &str, name: &str, value: &Bytes) -> Result<(), Error> {
        let mut insert = self.conn.prepare_cached(
            "INSERT OR REPLACE INTO facts (uid, name, value)
             SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM objects WHERE uid = ?1)",
        )?;
        insert.execute((uid, name, &value[..]))?;
        Ok(())
    }

    fn add_owners(&self, id: i64, owners: &[&str]) -> Result<(), Error> {
        for owner in owners {
            self.conn
                .prepare_cached("INSERT INTO other_owners (owner, object) VALUES (?1, ?2)")?
                .execute((owner, id))?;
        }
        Ok(())
    }

    fn drop_owners(&self, id: i64, owners: &[&str]) -> Result<(), Error> {
        for owner in owners {
            self.conn
                .prepare_cached("DELETE FROM other_owners WHERE owner = ?1 AND object = ?2")?
                .execute((owner, id))?;
        }
        Ok(())
    }

    /// `object` carries the next revision.
    fn write_state(&mut self, key: &Key, before: Option<Object>, object: Object) -> Result<Object, Error> {
        let revision = self.revision + 1;
        let mut insert = self.conn.prepare_cached("INSERT INTO states (revision, json) VALUES (?1, ?2)")?;
        insert.execute((sql(revision), &object.json()[..]))?;
        self.log(key, before, Some(object.clone()))?;
        self.fresh.insert(revision, object.clone());
        Ok(object)
    }

    /// Takes the next revision.
    fn log(&mut self, key: &Key, before: Option<Object>, after: Option<Object>) -> Result<(), Error> {
        let revision = self.revision + 1;
        let mut insert = self.conn.prepare_cached(
            "INSERT INTO changes (revision, kind, namespace, name, prev, removed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        let prev = before.as_ref().map(|before| sql(before.revision()));
        insert.execute((sql(revision), &key.kind.resource(), &key.namespace, &key.name, prev, after.is_none()))?;
        self.changes.push(Arc::new(Change { revision, kind: key.kind, before, after }));
        self.revision = revision;
        Ok(())
    }

    fn state(&self, key: &Key, revision: u64) -> Result<Object, Error> {
        match self.fresh.get(&revision) {
            Some(object) => Ok(object.clone()),
            None => rows::state(self.conn, self.cache, key.kind, revision),
        }
    }
}

/// What an update may not change, and the stored revision, so that a difference is one that the client made.
fn with_identity_of(object: &Object, stored: &Object) -> Object {
    let (new, old) = (object.meta(), stored.meta());
    let same = new.resource_version == old.resource_version
        && new.uid == old.uid
        && new.creation_timestamp == old.creation_timestamp;
    if same {
        return object.clone();
    }
    object.with_meta(|meta| {
        meta.uid.clone_from(&old.uid);
        meta.creation_timestamp.clone_from(&old.creation_timestamp);
        meta.resource_version.clone_from(&old.resource_version);
    })
}
