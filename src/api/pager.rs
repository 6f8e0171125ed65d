//! Owns going through the objects of a collection, page by page, all of one revision: lists, the first part of a watch
//! and `deletecollection` read through it. Never holds more than a page.

use super::call::{Call, Filter};
use crate::model::kind::Kind;
use crate::model::object::Object;
use crate::store::{Error, Owner, Page, Query, Store, Watch};

/// Objects read at once: a fraction of a second of SQLite, some MiB of memory.
const PAGE: usize = 500;

/// A walk over the objects that a call selects, in the order of (namespace, name).
pub struct Pager {
    store: Store,
    kind: &'static Kind,
    namespace: Option<String>,
    filter: Filter,
    after: Option<(String, String)>,
    at: Option<u64>,
    remaining: u64,
    done: bool,
}

impl Pager {
    /// A walk from the start: as things are when the first page is read, or as they were `at` a revision.
    pub fn new(store: &Store, call: &Call, filter: Filter, at: Option<u64>) -> Self {
        let asked = Some(call.target.namespace.clone()).filter(|namespace| !namespace.is_empty());
        let namespace = asked.or_else(|| filter.only_namespace().map(str::to_owned));
        let kind = call.kind().storage();
        Self { store: store.clone(), kind, namespace, filter, after: None, at, remaining: 0, done: false }
    }

    /// Goes on after this (namespace, name).
    pub fn start_after(&mut self, namespace: String, name: String) {
        self.after = Some((namespace, name));
    }

    /// The revision that all pages show; 0 before the first was read.
    pub fn revision(&self) -> u64 {
        self.at.unwrap_or(0)
    }

    /// How many objects follow those that were read, selected or not.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Whether everything was read.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The selected objects of the next page of at most `limit` objects; may be empty before the end.
    pub async fn next(&mut self, limit: Option<usize>) -> Result<Vec<Object>, Error> {
        if self.done {
            return Ok(Vec::new());
        }
        // One name can be looked up instead of being searched for.
        let single = self.filter.only_name().filter(|_| self.namespace.is_some() || !self.kind.namespaced);
        let (after, limit) = match single {
            Some(name) => {
                let namespace = self.namespace.clone().unwrap_or_default();
                (Some((namespace, just_before(name))), 1)
            }
            None => (self.after.clone(), limit.unwrap_or(PAGE).min(PAGE)),
        };
        let page = self.read(after, limit).await?;
        self.at = Some(page.revision);
        self.remaining = page.remaining;
        self.done = single.is_some() || page.remaining == 0;
        if let Some(last) = page.objects.last() {
            let key = last.key();
            self.after = Some((key.namespace, key.name));
        }
        Ok(page.objects.into_iter().filter(|object| self.filter.matches(object)).collect())
    }

    /// What changes in this kind after a revision.
    pub fn watch(&self, revision: u64) -> Result<Watch, Error> {
        self.store.watch(&[self.kind], revision)
    }

    async fn read(&self, after: Option<(String, String)>, limit: usize) -> Result<Page, Error> {
        let (store, kind, namespace, at) = (self.store.clone(), self.kind, self.namespace.clone(), self.at);
        let read = move || {
            store.list(&Query {
                kind,
                namespace: namespace.as_deref(),
                owner: Owner::Any,
                with_finalizers: false,
                limit: Some(limit),
                after: after.as_ref().map(|(namespace, name)| (namespace.as_str(), name.as_str())),
                at,
            })
        };
        // SQLite reads block; they must not hold up the other requests of this thread.
        tokio::task::spawn_blocking(read).await.unwrap_or(Err(Error::Closed))
    }
}

/// A text that sorts before `name` and after every other valid name that does: no name contains `~`, the last of the
/// printable characters.
fn just_before(name: &str) -> String {
    let mut bytes = name.as_bytes().to_vec();
    match bytes.last_mut() {
        Some(last) if last.is_ascii() && *last > b' ' => *last -= 1,
        _ => return String::new(),
    }
    bytes.push(b'~');
    String::from_utf8(bytes).unwrap_or_default()
}
