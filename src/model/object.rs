//! Owns the shape in which every API object travels through jobdock: typed once, serialised once, shared.
//! Never owns meaning: defaults and validation stand in `strategy`, storage in `store`.
//!
//! An [`Object`] is an immutable, cheaply cloned handle (`Arc`). It knows its [`Kind`], can be looked at as the
//! Kubernetes type it is ([`Object::typed`]) and as the JSON that clients see ([`Object::json`], made on first use).
//! To change one, clone the typed value, change that, and wrap it again.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::canonical;
use super::kind::Kind;

/// What a Kubernetes type must offer to be served: group, version and kind, metadata, JSON both ways, a schema.
/// Implemented for every type of `k8s-openapi` that has an `ObjectMeta`.
pub trait Resource:
    k8s_openapi::Resource
    + k8s_openapi::Metadata<Ty = ObjectMeta>
    + Serialize
    + DeserializeOwned
    + schemars::JsonSchema
    + Clone
    + PartialEq
    + fmt::Debug
    + Send
    + Sync
    + 'static
{
}

impl<T> Resource for T where
    T: k8s_openapi::Resource
        + k8s_openapi::Metadata<Ty = ObjectMeta>
        + Serialize
        + DeserializeOwned
        + schemars::JsonSchema
        + Clone
        + PartialEq
        + fmt::Debug
        + Send
        + Sync
        + 'static
{
}

/// The object-safe face of a [`Resource`].
trait Erased: Any + fmt::Debug + Send + Sync {
    fn meta(&self) -> &ObjectMeta;
    fn to_json(&self) -> Bytes;
    fn with_meta(&self, edit: &mut dyn FnMut(&mut ObjectMeta)) -> Arc<dyn Erased>;
    fn as_any(&self) -> &dyn Any;
    fn same(&self, other: &dyn Erased) -> bool;
}

impl<T: Resource> Erased for T {
    fn meta(&self) -> &ObjectMeta {
        self.metadata()
    }

    fn to_json(&self) -> Bytes {
        // The Kubernetes types hold nothing that JSON cannot: string keys, finite numbers.
        serde_json::to_vec(self).expect("a Kubernetes object serialises to JSON").into()
    }

    fn with_meta(&self, edit: &mut dyn FnMut(&mut ObjectMeta)) -> Arc<dyn Erased> {
        let mut copy = self.clone();
        edit(copy.metadata_mut());
        Arc::new(copy)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn same(&self, other: &dyn Erased) -> bool {
        other.as_any().downcast_ref::<T>().is_some_and(|other| self == other)
    }
}

/// One API object of any served kind: immutable, shared, typed.
#[derive(Clone)]
pub struct Object(Arc<Inner>);

struct Inner {
    kind: &'static Kind,
    value: Arc<dyn Erased>,
    json: OnceLock<Bytes>,
}

impl Object {
    /// Wraps a typed value.
    ///
    /// # Panics
    /// If `T` has no row in the table of kinds ([`super::kind::KINDS`]): a programming error.
    pub fn new<T: Resource>(value: T) -> Self {
        Self(Arc::new(Inner { kind: Kind::of::<T>(), value: Arc::new(value), json: OnceLock::new() }))
    }

    /// Reads stored or received JSON as the type of `kind`. Unknown fields are dropped, as upstream's storage does.
    pub fn from_json(kind: &'static Kind, json: &[u8]) -> Result<Self, serde_json::Error> {
        (kind.ops.from_json)(json)
    }

    /// Reads what [`Object::json`] wrote, which is then not made again.
    pub fn from_own_json(kind: &'static Kind, json: Bytes) -> Result<Self, serde_json::Error> {
        let object = Self::from_json(kind, &json)?;
        object.0.json.get_or_init(|| json);
        Ok(object)
    }

    /// [`Object::from_json`] of a value already parsed.
    pub fn from_value(kind: &'static Kind, value: serde_json::Value) -> Result<Self, serde_json::Error> {
        (kind.ops.from_value)(value)
    }

    /// The row of the table of kinds that this object belongs to.
    pub fn kind(&self) -> &'static Kind {
        self.0.kind
    }

    /// The object's metadata.
    pub fn meta(&self) -> &ObjectMeta {
        self.0.value.meta()
    }

    /// Kind, namespace and name.
    pub fn key(&self) -> Key {
        let meta = self.meta();
        Key {
            kind: self.0.kind,
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }

    /// The object's uid, empty before the store has minted one.
    pub fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }

    /// The revision that wrote this state (`metadata.resourceVersion`); 0 for an object that was never stored.
    pub fn revision(&self) -> u64 {
        self.meta().resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The Kubernetes value, where the object is a `T`.
    pub fn typed<T: Resource>(&self) -> Option<&T> {
        self.0.value.as_any().downcast_ref()
    }

    /// The JSON that clients see, `apiVersion` and `kind` included; made once, then shared.
    pub fn json(&self) -> &Bytes {
        self.0.json.get_or_init(|| canonical::json(self.0.kind, self.0.value.to_json()))
    }

    /// The same JSON as a tree, for code that is generic over kinds (patches, tables, field selectors).
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::from_slice(self.json()).expect("an object's own JSON parses")
    }

    /// A copy with other metadata.
    #[must_use]
    pub fn with_meta(&self, mut edit: impl FnMut(&mut ObjectMeta)) -> Self {
        let value = self.0.value.with_meta(&mut edit);
        Self(Arc::new(Inner { kind: self.0.kind, value, json: OnceLock::new() }))
    }
}

/// Of the same kind and equal in every field, the revision included.
impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.value.same(other.0.value.as_ref())
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}@{}", self.key(), self.revision())
    }
}

/// Names one object: its kind, its namespace (empty for cluster-scoped kinds), its name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The object's kind.
    pub kind: &'static Kind,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

impl Key {
    /// The key of a `T`.
    pub fn of<T: Resource>(namespace: &str, name: &str) -> Self {
        Self { kind: Kind::of::<T>(), namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// `jobs default/hello`, as a log line names it.
impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(out, "{} {}", self.kind.plural, self.name),
            namespace => write!(out, "{} {namespace}/{}", self.kind.plural, self.name),
        }
    }
}
