//! Owns the form of OpenAPI 2.0 (Swagger), which older clients read. Never decides what is in a document.

use serde_json::{Map, Value, json};

use super::super::discovery;
use super::operations::{self, Operation, Param};
use super::types::{self, INT_OR_STRING, PREFIX, QUANTITY};

/// How definitions refer to each other here.
const DEFINITIONS: &str = "#/definitions/";

/// The document of everything.
pub(super) fn document() -> Value {
    let definitions: Map<String, Value> = types::all().clone().into_iter().map(adapt).collect();
    let versions = discovery::versions().into_iter();
    let paths: Map<String, Value> = versions
        .flat_map(|(group, version)| operations::paths(group, version))
        .map(|path| (path.path.clone(), path.entry(parameter, write)))
        .collect();
    json!({
        "swagger": "2.0",
        "info": super::info(),
        "paths": paths,
        "definitions": definitions,
        "securityDefinitions": {
            "BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"},
        },
        "security": [{"BearerToken": []}],
    })
}

fn adapt((name, mut definition): (String, Value)) -> (String, Value) {
    match name.as_str() {
        INT_OR_STRING => {
            definition["type"] = json!("string");
            definition["format"] = json!("int-or-string");
        }
        QUANTITY => definition["type"] = json!("string"),
        _ => {}
    }
    rewrite(&mut definition);
    (name, definition)
}

/// References stand beside descriptions here, under another prefix, and there is no `nullable`.
fn rewrite(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let wrapped = fields.get("allOf").and_then(|all| all.get(0)).and_then(|first| first.get("$ref")).cloned();
            if let Some(reference) = wrapped {
                fields.remove("allOf");
                fields.insert("$ref".to_owned(), reference);
            }
            fields.remove("x-kubernetes-int-or-string");
            fields.remove("nullable");
            if let Some(Value::String(reference)) = fields.get_mut("$ref") {
                *reference = reference.replace(PREFIX, DEFINITIONS);
            }
            fields.values_mut().for_each(rewrite);
        }
        Value::Array(items) => items.iter_mut().for_each(rewrite),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn parameter(param: &Param, place: &str) -> Value {
    let mut out = json!({
        "name": param.name,
        "in": place,
        "description": param.about,
        "type": param.kind,
        "uniqueItems": true,
    });
    if place == "path" {
        out["required"] = json!(true);
    }
    out
}

fn write(operation: &Operation) -> Value {
    let (group, version, kind) = operation.subject;
    let schema = |name: &str| json!({"$ref": format!("{DEFINITIONS}{name}")});
    let mut params: Vec<Value> = operation.params.iter().map(|param| parameter(param, "query")).collect();
    let mut consumes: &[&str] = &["*/*"];
    if let Some((media, name)) = &operation.body {
        consumes = media;
        let required = !matches!(operation.method, "delete");
        params.push(json!({"name": "body", "in": "body", "required": required, "schema": schema(name)}));
    }
    let answers: Map<String, Value> = operation
        .answers
        .iter()
        .map(|(code, words, name)| {
            let schema = name.as_ref().map_or_else(|| json!({"type": "string"}), |name| schema(name));
            ((*code).to_owned(), json!({"description": words, "schema": schema}))
        })
        .collect();
    json!({
        "tags": [operations::root(group, version).replace('/', "_")],
        "description": operation.description,
        "operationId": operation.id,
        "parameters": params,
        "consumes": consumes,
        "produces": ["application/json", "application/yaml"],
        "responses": answers,
        "schemes": ["https"],
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    })
}
