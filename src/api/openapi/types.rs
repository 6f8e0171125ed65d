//! Owns the definitions of the documents: the schemas of every type, with upstream's extensions (group, version and kind,
//! patch strategy, merge keys, list types). Never knows a version of OpenAPI: `v2` and `v3` adapt the details.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest, TokenReview};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};
use k8s_openapi::api::core::v1::Binding;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::super::discovery::{self, REVIEWS};
use crate::model::kind::{KINDS, Kind};
use crate::model::schema::{self, Field, ListType, Struct};

/// How schemas refer to each other here (and in OpenAPI 3).
pub const PREFIX: &str = "#/components/schemas/";
/// The type of a patch's body.
pub const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
/// The type of a delete's body.
pub const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
/// The type of most failures.
pub const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
/// Scalars that may be written in two ways.
pub const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
/// See [`QUANTITY`].
pub const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

/// Every definition by name, made once.
pub fn all() -> &'static BTreeMap<String, Value> {
    static ALL: OnceLock<BTreeMap<String, Value>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = plain();
        all.values_mut().for_each(without_metadata);
        for known in schema::all() {
            if let Some(definition) = all.get_mut(&known.schema_name()) {
                mark_fields(definition, known);
            }
        }
        for kind in KINDS {
            mark_kind(&mut all, &name(kind), kind.group, kind.version, kind.kind);
            all.insert(list_name(kind), list(kind));
        }
        for review in REVIEWS {
            mark_kind(&mut all, &review_name(review), review.group, review.version, review.kind);
        }
        mark_kind(&mut all, STATUS, "", "v1", "Status");
        all
    })
}

/// The schemas as `k8s-openapi` has them, of kinds, reviews, and what every conversation needs.
fn plain() -> BTreeMap<String, Value> {
    let mut generator = SchemaSettings::openapi3().with(|settings| settings.meta_schema = None).into_generator();
    generator.subschema_for::<v1::DeleteOptions>();
    generator.subschema_for::<v1::ListMeta>();
    generator.subschema_for::<v1::Status>();
    generator.subschema_for::<SelfSubjectAccessReview>();
    generator.subschema_for::<SelfSubjectRulesReview>();
    generator.subschema_for::<SelfSubjectReview>();
    generator.subschema_for::<SubjectAccessReview>();
    generator.subschema_for::<LocalSubjectAccessReview>();
    generator.subschema_for::<TokenReview>();
    generator.subschema_for::<TokenRequest>();
    generator.subschema_for::<Binding>();
    generator.subschema_for::<Eviction>();
    let mut all: BTreeMap<String, Value> = schema::definitions().clone().into_iter().collect();
    all.extend(generator.take_definitions(true));
    let about = "Patch is provided to give a concrete name and type to the Kubernetes PATCH request body.";
    all.insert(PATCH.to_owned(), json!({"description": about, "type": "object"}));
    all
}

/// The definition of a kind's objects.
pub fn name(kind: &Kind) -> String {
    schema::of(kind).schema_name()
}

/// The definition of lists of a kind.
pub fn list_name(kind: &Kind) -> String {
    format!("{}List", name(kind))
}

/// The definition of what is posted to a subresource.
pub fn body_name(kind: &Kind, body: &str) -> String {
    let (group, version) = discovery::body_version(body).unwrap_or((kind.group, kind.version));
    format!("io.k8s.api.{}.{version}.{body}", schema::group_package(group))
}

/// The definition of a review.
pub fn review_name(review: &discovery::Review) -> String {
    format!("io.k8s.api.{}.{}.{}", schema::group_package(review.group), review.version, review.kind)
}

/// These definitions and all that they refer to, by name.
pub fn closure(roots: impl IntoIterator<Item = String>) -> BTreeMap<String, Value> {
    let mut open: Vec<String> = roots.into_iter().collect();
    let mut seen = BTreeSet::new();
    let mut out = BTreeMap::new();
    while let Some(name) = open.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        if let Some(definition) = all().get(&name) {
            references(definition, &mut open);
            out.insert(name, definition.clone());
        }
    }
    out
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let reference = fields.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix(PREFIX));
            found.extend(reference.map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `k8s-openapi` says that objects need metadata; upstream's document does not, and kubectl checks what it sends by it.
fn without_metadata(definition: &mut Value) {
    let Some(fields) = definition.as_object_mut() else { return };
    let Some(required) = fields.get_mut("required").and_then(Value::as_array_mut) else { return };
    required.retain(|name| name != "metadata");
    if required.is_empty() {
        fields.remove("required");
    }
}

fn mark_kind(all: &mut BTreeMap<String, Value>, name: &str, group: &str, version: &str, kind: &str) {
    if let Some(definition) = all.get_mut(name) {
        definition["x-kubernetes-group-version-kind"] = json!([{"group": group, "version": version, "kind": kind}]);
    }
}

fn mark_fields(definition: &mut Value, known: &Struct) {
    if known.atomic {
        definition["x-kubernetes-map-type"] = json!("atomic");
    }
    for field in &known.fields {
        if let Some(property) = definition["properties"].get_mut(field.name).and_then(Value::as_object_mut) {
            property.extend(extensions(field));
        }
    }
}

fn extensions(field: &Field) -> Vec<(String, Value)> {
    let mut out = Vec::new();
    let mut add = |name: &str, value: Value| out.push((format!("x-kubernetes-{name}"), value));
    if let Some(patch) = &field.patch {
        add("patch-strategy", json!(patch.strategies.join(",")));
        if let Some(key) = patch.merge_key {
            add("patch-merge-key", json!(key));
        }
    }
    match &field.list {
        Some(ListType::Atomic) => add("list-type", json!("atomic")),
        Some(ListType::Set) => add("list-type", json!("set")),
        Some(ListType::Map(keys)) => {
            add("list-type", json!("map"));
            add("list-map-keys", json!(keys));
        }
        None => {}
    }
    if field.atomic && field.list.is_none() {
        add("map-type", json!("atomic"));
    }
    out
}

fn list(kind: &Kind) -> Value {
    let reference = |name: &str| json!({"$ref": format!("{PREFIX}{name}")});
    let text = |about: &str| json!({"description": about, "type": "string"});
    json!({
        "description": format!("{}List is a collection of {}.", kind.kind, kind.plural),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text("APIVersion defines the versioned schema of this representation of an object."),
            "kind": text("Kind is a string value representing the REST resource this object represents."),
            "metadata": {"description": "Standard list metadata.", "allOf": [reference(LIST_META)]},
            "items": {
                "description": format!("The {}.", kind.plural),
                "type": "array",
                "items": reference(&name(kind)),
            },
        },
        "x-kubernetes-group-version-kind":
            [{"group": kind.group, "version": kind.version, "kind": format!("{}List", kind.kind)}],
    })
}
