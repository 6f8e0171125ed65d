//! Owns the one table of kinds that jobdock serves: names, scope, and how each kind is decoded and kept true.
//! Routes, storage, discovery, printing and OpenAPI are all driven by this table; nothing else lists kinds.
//!
//! To serve another kind, add a row and a `Strategy` for its type.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    PodTemplate, ResourceQuota, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::Value;

use super::events;
use super::field::FieldError;
use super::object::{Object, Resource};
use super::strategy::Strategy;

/// One row of the table: everything that generic code needs to know of a kind.
pub struct Kind {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// API version inside the group: `v1`.
    pub version: &'static str,
    /// The kind's name: `Job`.
    pub kind: &'static str,
    /// The name in URLs: `jobs`.
    pub plural: &'static str,
    /// `job`, which kubectl also takes.
    pub singular: &'static str,
    /// Abbreviations that kubectl takes: `po`.
    pub short_names: &'static [&'static str],
    /// Groups of kinds such as `all`, for `kubectl get all`.
    pub categories: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Whether `/status` is a subresource of its own, and a main-resource write keeps the status as it was.
    pub status: bool,
    /// The kind's code, erased.
    pub ops: Ops,
    /// Where objects are stored as another kind: that kind, and the way there and back.
    pub face: Option<Face>,
}

/// One more form in which the objects of another kind are served.
#[derive(Clone, Copy, Debug)]
pub struct Face {
    /// The kind that is stored.
    pub stored: fn() -> &'static Kind,
    /// What is stored, in the form that is served.
    pub show: fn(&Object) -> Object,
    /// What is served, in the form that is stored.
    pub keep: fn(&Object) -> Object,
}

/// A kind's [`Strategy`], erased to functions over [`Object`] so that generic code can call it.
/// Objects handed in must be of the row's kind.
pub struct Ops {
    /// [`Strategy::CREATE_ON_UPDATE`].
    pub create_on_update: bool,
    /// [`Strategy::UNCONDITIONAL_UPDATE`].
    pub unconditional_update: bool,
    /// Decodes stored JSON.
    pub from_json: fn(&[u8]) -> Result<Object, serde_json::Error>,
    /// Decodes a JSON tree.
    pub from_value: fn(Value) -> Result<Object, serde_json::Error>,
    /// The kind's JSON schema; subschemas go to the generator's definitions.
    pub schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
    /// [`Strategy::default`].
    pub default: fn(&Object) -> Object,
    /// [`Strategy::prepare_create`].
    pub prepare_create: fn(&Object) -> Object,
    /// [`Strategy::validate_create`], after the checks common to all metadata.
    pub validate_create: fn(&Object) -> Vec<FieldError>,
    /// [`Strategy::prepare_update`] of (new, old).
    pub prepare_update: fn(&Object, &Object) -> Object,
    /// [`Strategy::validate_update`] of (new, old), after the checks common to all metadata.
    pub validate_update: fn(&Object, &Object) -> Vec<FieldError>,
    /// [`Strategy::prepare_status_update`] of (new, old).
    pub prepare_status_update: fn(&Object, &Object) -> Object,
    /// [`Strategy::validate_status_update`] of (new, old).
    pub validate_status_update: fn(&Object, &Object) -> Vec<FieldError>,
    /// [`Strategy::warnings`] of (new, old if it is an update).
    pub warnings: fn(&Object, Option<&Object>) -> Vec<String>,
}

impl Ops {
    const fn of<T: Resource + Strategy>() -> Self {
        fn get<T: Resource>(object: &Object) -> &T {
            object.typed().expect("an object is handed only to its own kind's functions")
        }
        Self {
            create_on_update: T::CREATE_ON_UPDATE,
            unconditional_update: T::UNCONDITIONAL_UPDATE,
            from_json: |json| serde_json::from_slice::<T>(json).map(Object::new),
            from_value: |value| serde_json::from_value::<T>(value).map(Object::new),
            schema: |generator| generator.subschema_for::<T>(),
            default: |object| {
                let mut value = get::<T>(object).clone();
                Strategy::default(&mut value);
                Object::new(value)
            },
            prepare_create: |object| {
                let mut value = get::<T>(object).clone();
                value.prepare_create();
                Object::new(value)
            },
            validate_create: |object| get::<T>(object).validate_create(),
            prepare_update: |new, old| {
                let mut value = get::<T>(new).clone();
                value.prepare_update(get(old));
                Object::new(value)
            },
            validate_update: |new, old| get::<T>(new).validate_update(get(old)),
            prepare_status_update: |new, old| {
                let mut value = get::<T>(new).clone();
                value.prepare_status_update(get(old));
                Object::new(value)
            },
            validate_status_update: |new, old| get::<T>(new).validate_status_update(get(old)),
            warnings: |new, old| get::<T>(new).warnings(old.map(get)),
        }
    }
}

const fn row<T: Resource + Strategy>(plural: &'static str, singular: &'static str) -> Kind {
    Kind {
        group: T::GROUP,
        version: T::VERSION,
        kind: T::KIND,
        plural,
        singular,
        short_names: &[],
        categories: &[],
        namespaced: true,
        status: false,
        ops: Ops::of::<T>(),
        face: None,
    }
}

/// Every kind served, in the order of discovery.
pub static KINDS: &[Kind] = &[
    Kind { short_names: &["cm"], ..row::<ConfigMap>("configmaps", "configmap") },
    Kind { short_names: &["ep"], ..row::<Endpoints>("endpoints", "endpoints") },
    Kind { short_names: &["ev"], ..row::<Event>("events", "event") },
    Kind { short_names: &["ns"], namespaced: false, status: true, ..row::<Namespace>("namespaces", "namespace") },
    Kind { short_names: &["no"], namespaced: false, status: true, ..row::<Node>("nodes", "node") },
    Kind {
        short_names: &["pvc"],
        status: true,
        ..row::<PersistentVolumeClaim>("persistentvolumeclaims", "persistentvolumeclaim")
    },
    Kind {
        short_names: &["pv"],
        namespaced: false,
        status: true,
        ..row::<PersistentVolume>("persistentvolumes", "persistentvolume")
    },
    Kind { short_names: &["po"], categories: &["all"], status: true, ..row::<Pod>("pods", "pod") },
    Kind { short_names: &["limits"], ..row::<LimitRange>("limitranges", "limitrange") },
    row::<PodTemplate>("podtemplates", "podtemplate"),
    Kind { short_names: &["quota"], status: true, ..row::<ResourceQuota>("resourcequotas", "resourcequota") },
    row::<Secret>("secrets", "secret"),
    Kind { short_names: &["sa"], ..row::<ServiceAccount>("serviceaccounts", "serviceaccount") },
    Kind { short_names: &["svc"], categories: &["all"], status: true, ..row::<Service>("services", "service") },
    Kind { short_names: &["cj"], categories: &["all"], status: true, ..row::<CronJob>("cronjobs", "cronjob") },
    Kind { categories: &["all"], status: true, ..row::<Job>("jobs", "job") },
    row::<Lease>("leases", "lease"),
    row::<EndpointSlice>("endpointslices", "endpointslice"),
    Kind { short_names: &["ev"], face: Some(events::FACE), ..row::<events::Event>("events", "event") },
    Kind { namespaced: false, ..row::<RuntimeClass>("runtimeclasses", "runtimeclass") },
    Kind { short_names: &["pc"], namespaced: false, ..row::<PriorityClass>("priorityclasses", "priorityclass") },
    Kind { short_names: &["sc"], namespaced: false, ..row::<StorageClass>("storageclasses", "storageclass") },
];

impl Kind {
    /// The row of a type.
    ///
    /// # Panics
    /// If the type has no row: a programming error that any test of the caller shows.
    pub fn of<T: Resource>() -> &'static Self {
        Self::find(T::GROUP, T::KIND).expect("the type has a row in the table of kinds")
    }

    /// The row with this group and kind (`batch`, `Job`).
    pub fn find(group: &str, kind: &str) -> Option<&'static Self> {
        KINDS.iter().find(|row| row.kind == kind && row.group == group)
    }

    /// The row with this group, version and plural, as a URL names it (`batch`, `v1`, `jobs`).
    pub fn of_url(group: &str, version: &str, plural: &str) -> Option<&'static Self> {
        KINDS.iter().find(|row| row.plural == plural && row.group == group && row.version == version)
    }

    /// The kind as which its objects are stored: itself, but for those that have a face.
    pub fn storage(&'static self) -> &'static Self {
        self.face.map_or(self, |face| (face.stored)())
    }

    /// A stored object in the form in which this kind is served.
    pub fn show(&self, stored: &Object) -> Object {
        self.face.map_or_else(|| stored.clone(), |face| (face.show)(stored))
    }

    /// An object of this kind in the form in which it is stored.
    pub fn keep(&self, object: &Object) -> Object {
        self.face.map_or_else(|| object.clone(), |face| (face.keep)(object))
    }

    /// `batch/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// `jobs.batch`, or `pods`: how error messages name the resource.
    pub fn resource(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        (self.group, self.kind) == (other.group, other.kind)
    }
}

impl Eq for Kind {}

impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.group, self.kind).hash(state);
    }
}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kind {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.group, self.kind).cmp(&(other.group, other.kind))
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.resource())
    }
}
