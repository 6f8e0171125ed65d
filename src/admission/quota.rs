//! Owns how new objects, and those that grow, are charged to the quotas of their namespace: what they take is written in the commit that makes
//! them, guarded by the quota's revision, so that two can never take the same room.
//! Never says what an object takes: `model::quota` does; and never gives anything back: the quota controller does.

use k8s_openapi::api::core::v1::ResourceQuota;
use tokio::sync::{Mutex, MutexGuard};

use super::{Error, refused};
use crate::model::kind::Kind;
use crate::model::object::Object;
use crate::model::quota;
use crate::store::{self, Expected, Query, Store, Write};

/// Most quotas of a namespace that are looked at: more than one is rare, and each costs every object.
const MAX_QUOTAS: usize = 100;
/// Whose turn it is to be charged. Without turns, of a hundred creates at once ninety-nine would fail their guard and
/// begin again, and again. Only who is under a quota waits. Parity: upstream works through a namespace's in line, too.
static TURN: Mutex<()> = Mutex::const_new(());

/// The quotas of a namespace as they will stand, once what was charged is written.
pub struct Reservation {
    quotas: Vec<Charged>,
    /// Kept until what was charged is written.
    _turn: Option<MutexGuard<'static, ()>>,
}

#[derive(Clone)]
struct Charged {
    quota: ResourceQuota,
    revision: u64,
    is_changed: bool,
}

impl Reservation {
    /// For nothing.
    pub fn none() -> Self {
        Self { quotas: Vec::new(), _turn: None }
    }

    /// Waits for its turn, where the namespace has quotas. Nothing is charged yet.
    pub async fn of(store: &Store, namespace: &str) -> Result<Self, store::Error> {
        if quotas(store, namespace)?.is_empty() {
            return Ok(Self::none());
        }
        let turn = TURN.lock().await;
        Ok(Self { quotas: quotas(store, namespace)?, _turn: Some(turn) })
    }

    /// Charges every quota for a new object, or refuses it and charges none.
    pub fn charge(&mut self, object: &Object) -> Result<(), Error> {
        self.charge_for(object, None)
    }

    /// Charges every quota for what an object takes more than it did, or refuses that and charges none.
    pub fn charge_growth(&mut self, object: &Object, before: &Object) -> Result<(), Error> {
        self.charge_for(object, Some(before))
    }

    fn charge_for(&mut self, object: &Object, before: Option<&Object>) -> Result<(), Error> {
        let mut next = self.quotas.clone();
        for charged in &mut next {
            charged.is_changed |= quota::charge(&mut charged.quota, object, before)
                .map_err(|why| refused(object.kind().resource(), object.meta(), why))?;
        }
        self.quotas = next;
        Ok(())
    }

    /// What is to be written after the objects that were charged for, in the same commit.
    pub fn writes(&self) -> Vec<Write> {
        let changed = self.quotas.iter().filter(|charged| charged.is_changed);
        let write = |charged: &Charged| Write::Update {
            object: Object::new(charged.quota.clone()),
            expected: Expected::Revision(charged.revision),
        };
        changed.map(write).collect()
    }
}

fn quotas(store: &Store, namespace: &str) -> Result<Vec<Charged>, store::Error> {
    if namespace.is_empty() {
        return Ok(Vec::new());
    }
    let kind = Kind::of::<ResourceQuota>();
    let objects =
        store.list(&Query { namespace: Some(namespace), limit: Some(MAX_QUOTAS), ..Query::all(kind) })?.objects;
    let charged = |object: &Object| {
        Some(Charged {
            quota: object.typed::<ResourceQuota>()?.clone(),
            revision: object.revision(),
            is_changed: false,
        })
    };
    Ok(objects.iter().filter_map(charged).collect())
}
