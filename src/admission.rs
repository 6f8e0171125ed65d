//! Owns what stands between an object's making and its being stored that only the store can tell: the account that a
//! pod runs as, its priority, the limits and the security standard of its namespace, the class of a claim, the room that
//! quotas leave. Clients' pods and those of Jobs pass here alike.
//! Never writes anything, and never judges an object by itself: validation does.
//!
//! ```text
//!  defaults -> mutate (account, default requests and limits, priority, tolerations) -> the server's own fields -> rules
//!           -> validate (limits, security) -> reserve (quotas)
//! ```
//!
//! Parity: the admission plugins ServiceAccount, LimitRanger, PodSecurity, Priority, DefaultTolerationSeconds,
//! RuntimeClass, DefaultStorageClass, PersistentVolumeClaimResize and ResourceQuota, in upstream's order.

mod account;
mod limits;
mod pod_security;
mod priority;
mod quota;
mod runtime_class;
mod security;
mod storage;
mod tolerations;

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::core::v1::{LimitRange, PersistentVolumeClaim, Pod, ServiceAccount};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use self::pod_security::Policy;
pub use self::quota::Reservation;
use crate::model::admit::{Part, Refusal};
use crate::model::kind::Kind;
use crate::model::object::{Key, Object};
use crate::store::{self, Query, Store};

/// Most LimitRanges of a namespace that are looked at: more than one is rare, and each costs every pod.
const MAX_RANGES: usize = 100;

/// Pause of a controller that was refused something: nobody tells when that changes.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// Why an object is not admitted.
#[derive(Debug)]
pub enum Error {
    /// It may not be: change it, or what it was measured by.
    Refused(Refusal),
    /// What it is measured by could not be read.
    Store(store::Error),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// As a client is told: `pods "x" is forbidden: …`.
impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(out),
            Self::Store(error) => error.fmt(out),
        }
    }
}

/// What new objects of one kind are measured by in one namespace, read once.
pub struct Admission<'a> {
    store: &'a Store,
    namespace: String,
    ranges: Vec<LimitRange>,
    classes: Vec<PriorityClass>,
    policy: Policy,
}

impl<'a> Admission<'a> {
    /// Reads what stands in the namespace, as far as it measures the kind.
    pub fn of(store: &'a Store, kind: &Kind, namespace: &str) -> Result<Self, store::Error> {
        let policy = security::policy_for(store, kind, namespace)?;
        let is_pod = *kind == *Kind::of::<Pod>();
        let is_limited = is_pod || *kind == *Kind::of::<PersistentVolumeClaim>();
        let ranges = if is_limited { ranges(store, namespace)? } else { Vec::new() };
        let classes = if is_pod { priority::classes(store)? } else { Vec::new() };
        Ok(Self { store, namespace: namespace.to_owned(), ranges, classes, policy })
    }

    /// The pod with what its namespace gives it, the claim with a class; anything else as it is.
    pub fn mutate(&self, object: &Object) -> Result<Object, Error> {
        if let Some(claim) = object.typed::<PersistentVolumeClaim>() {
            return Ok(Object::new(storage::assign(self.store, claim)?));
        }
        let Some(pod) = object.typed::<Pod>() else { return Ok(object.clone()) };
        let mut pod = pod.clone();
        let name = account::name(&pod);
        let stored = self.store.get(&Key::of::<ServiceAccount>(&self.namespace, &name))?;
        let found = stored.as_ref().and_then(|object| object.typed::<ServiceAccount>());
        let suffix = self.store.mint().suffix;
        account::admit(&mut pod, &self.namespace, found, &suffix).map_err(|why| forbidden(&pod, why))?;
        for range in &self.ranges {
            limits::fill(&mut pod, range);
        }
        priority::assign(&mut pod, &self.classes).map_err(|why| forbidden(&pod, why))?;
        tolerations::add(&mut pod);
        let class = runtime_class::of(self.store, &pod)?;
        let assigned = class.and_then(|class| runtime_class::assign(&mut pod, class.as_ref()));
        assigned.map_err(|why| forbidden(&pod, why))?;
        Ok(Object::new(pod))
    }

    /// Whether a new object may stand beside the others, and a pod keeps to the limits and the security standard of its
    /// namespace; what its maker is to be warned of.
    pub fn validate(&self, object: &Object) -> Result<Vec<String>, Error> {
        within(&self.ranges, object)?;
        priority::one_default(self.store, object)?;
        security::create(&self.policy, object)
    }

    /// An object that a controller makes, as a client's would be: with its defaults and what its namespace gives it, within
    /// its limits, charged to its quotas.
    pub fn admit(&self, object: &Object, reservation: &mut Reservation) -> Result<Object, Error> {
        let object = self.mutate(&(object.kind().ops.default)(object))?;
        self.validate(&object)?;
        reservation.charge(&object)?;
        Ok(object)
    }
}

/// After which time a controller looks again that would otherwise after `nap`: sooner where it was refused something.
pub fn again(refused: bool, nap: Option<Duration>) -> Option<Duration> {
    if refused { Some(nap.map_or(REFUSED_PAUSE, |nap| nap.min(REFUSED_PAUSE))) } else { nap }
}

/// The limits of a namespace.
fn ranges(store: &Store, namespace: &str) -> Result<Vec<LimitRange>, store::Error> {
    let kind = Kind::of::<LimitRange>();
    let query = Query { namespace: Some(namespace), limit: Some(MAX_RANGES), ..Query::all(kind) };
    let ranges = store.list(&query)?.objects;
    Ok(ranges.iter().filter_map(|object| object.typed::<LimitRange>().cloned()).collect())
}

/// Whether a pod or a claim keeps to limits.
fn within(ranges: &[LimitRange], object: &Object) -> Result<(), Error> {
    for range in ranges {
        let pod = object.typed::<Pod>().map(|pod| limits::broken(pod, range));
        let claim = || object.typed::<PersistentVolumeClaim>().map(|claim| limits::broken_by_claim(claim, range));
        let broken = pod.or_else(claim).unwrap_or_default();
        let why = match &broken[..] {
            [] => continue,
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        return Err(refused(object.kind().resource(), object.meta(), why));
    }
    Ok(())
}

/// Whether an object may become another, and what its writer is to be warned of.
pub fn update(store: &Store, new: &Object, old: &Object, part: Part) -> Result<Vec<String>, Error> {
    priority::one_default(store, new)?;
    if part == Part::Resize {
        within(&ranges(store, &new.key().namespace)?, new)?;
    }
    if part != Part::Main {
        return Ok(Vec::new());
    }
    if let (Some(claim), Some(before)) = (new.typed::<PersistentVolumeClaim>(), old.typed()) {
        within(&ranges(store, &new.key().namespace)?, new)?;
        if let Some(why) = storage::too_large(store, claim, before)? {
            return Err(refused(new.kind().resource(), new.meta(), why.to_owned()));
        }
    }
    security::update(store, new, old)
}

fn forbidden(pod: &Pod, why: String) -> Error {
    refused("pods".to_owned(), &pod.metadata, why)
}

/// Parity: an object without a name yet is told of by what its name will begin with.
fn refused(resource: String, meta: &ObjectMeta, why: String) -> Error {
    let name = meta.name.clone().filter(|name| !name.is_empty()).or_else(|| meta.generate_name.clone());
    Error::Refused(Refusal::Forbidden { resource, name: name.unwrap_or_default(), reason: why })
}
