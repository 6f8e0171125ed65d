//! Owns the decoded states that were written or fetched lately, by revision, so that they are not parsed again.
//! Never stale: what a revision wrote never changes. Never holds a state that is not committed.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::object::Object;

/// JSON bytes in each of the two generations. The typed values beside them are about twice as large: at most some
/// 50 MiB in all, the states of several thousand pods.
const GENERATION_BYTES: usize = 8 << 20;

/// Two generations: what is used stays, what was not used while the younger one filled up goes.
#[derive(Default)]
pub(super) struct Cache(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<u64, Object>,
    young_bytes: usize,
    old: HashMap<u64, Object>,
}

impl Cache {
    /// The state that this revision wrote.
    pub(super) fn get(&self, revision: u64) -> Option<Object> {
        let mut generations = self.lock();
        if let Some(object) = generations.young.get(&revision) {
            return Some(object.clone());
        }
        let object = generations.old.remove(&revision)?;
        generations.put(revision, object.clone());
        Some(object)
    }

    /// Keeps a committed state.
    pub(super) fn put(&self, revision: u64, object: Object) {
        self.lock().put(revision, object);
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn put(&mut self, revision: u64, object: Object) {
        self.young_bytes += object.json().len();
        self.young.insert(revision, object);
        if self.young_bytes > GENERATION_BYTES {
            self.old = mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}
