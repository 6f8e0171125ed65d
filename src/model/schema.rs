//! Owns the graph of the API's types: which field of which type has which shape, and its documentation.
//! It is read off the JSON schemas of the kinds served; strategic merge, tables and OpenAPI are driven by it.
//! Never holds a fact of its own: merge keys stand in `merge_keys`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::kind::{KINDS, Kind};

/// Where OpenAPI 3 keeps its definitions; a reference is this and the type's name.
pub const DEFINITIONS: &str = "#/components/schemas/";

/// Every type reachable from a served kind, by its upstream name: `io.k8s.api.batch.v1.JobSpec`.
pub struct Types {
    definitions: BTreeMap<String, Value>,
    kinds: BTreeMap<(&'static str, &'static str), String>,
}

/// What stands in a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An object of a named type.
    Named(String),
    /// A list.
    List(Box<Shape>),
    /// An object with free keys.
    Map(Box<Shape>),
    /// A scalar, or something of which no more is known.
    Plain,
}

/// The types, worked out on first use: the table of kinds is static, so they never change.
pub fn types() -> &'static Types {
    static TYPES: OnceLock<Types> = OnceLock::new();
    TYPES.get_or_init(Types::read)
}

impl Types {
    fn read() -> Self {
        let mut generator = SchemaSettings::openapi3().into_generator();
        let mut kinds = BTreeMap::new();
        for kind in KINDS {
            let schema = (kind.ops.schema)(&mut generator);
            let name = schema.get("$ref").and_then(Value::as_str).and_then(type_name);
            let name = name.expect("a kind's schema is a reference to its definition");
            kinds.insert((kind.group, kind.kind), name.to_owned());
        }
        // Not kinds that are stored, but part of every conversation.
        generator.subschema_for::<v1::DeleteOptions>();
        generator.subschema_for::<v1::ListMeta>();
        generator.subschema_for::<v1::Status>();
        generator.subschema_for::<v1::APIResourceList>();
        generator.subschema_for::<v1::APIGroup>();
        generator.subschema_for::<v1::APIGroupList>();
        let definitions = generator.take_definitions(true).into_iter().collect();
        Self { definitions, kinds }
    }

    /// Every definition, by name, as OpenAPI 3 schemas.
    pub fn definitions(&self) -> &BTreeMap<String, Value> {
        &self.definitions
    }

    /// The name of a kind's type.
    pub fn of_kind(&self, kind: &Kind) -> &str {
        self.kinds.get(&(kind.group, kind.kind)).expect("every kind in the table was read")
    }

    /// What stands in the field of a type; [`Shape::Plain`] for a field that the type does not have.
    pub fn field(&self, name: &str, field: &str) -> Shape {
        self.property(name, field).map_or(Shape::Plain, shape)
    }

    /// The documentation of a field, empty where there is none.
    pub fn describe(&self, name: &str, field: &str) -> &str {
        self.property(name, field).and_then(|schema| schema["description"].as_str()).unwrap_or_default()
    }

    fn property(&self, name: &str, field: &str) -> Option<&Value> {
        self.definitions.get(name)?.get("properties")?.get(field)
    }
}

/// The type's name in a reference to it.
pub fn type_name(reference: &str) -> Option<&str> {
    reference.strip_prefix(DEFINITIONS)
}

fn shape(schema: &Value) -> Shape {
    if let Some(name) = reference(schema) {
        return Shape::Named(name.to_owned());
    }
    match (schema.get("items"), schema.get("additionalProperties")) {
        (Some(items), _) => Shape::List(Box::new(shape(items))),
        (None, Some(values)) => Shape::Map(Box::new(shape(values))),
        (None, None) => Shape::Plain,
    }
}

/// The type that a schema refers to, directly or (where it has a description of its own) through `allOf`.
fn reference(schema: &Value) -> Option<&str> {
    let direct = schema.get("$ref");
    let wrapped = || schema.get("allOf").and_then(|all| all.get(0)).and_then(|first| first.get("$ref"));
    direct.or_else(wrapped).and_then(Value::as_str).and_then(type_name)
}
