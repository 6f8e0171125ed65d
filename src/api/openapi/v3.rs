//! Owns the form of OpenAPI 3.0. Never decides what is in a document.

use serde_json::{Map, Value, json};

use super::operations::{self, Operation, Param};
use super::types::{self, INT_OR_STRING, PREFIX, QUANTITY};
use crate::model::kind::KINDS;

const ANSWER_MEDIA: &[&str] = &["application/json", "application/yaml"];

/// The document of a group version.
pub(super) fn document(group: &str, version: &str) -> Value {
    let paths = operations::paths(group, version);
    let kinds = KINDS.iter().filter(|kind| kind.group == group && kind.version == version);
    let mut roots: Vec<String> = kinds.map(types::name).collect();
    for operation in paths.iter().flat_map(|path| &path.operations) {
        roots.extend(operation.body.iter().map(|(_, name)| name.clone()));
        roots.extend(operation.answers.iter().filter_map(|(_, _, name)| name.clone()));
    }
    let schemas: Map<String, Value> = types::closure(roots).into_iter().map(adapt).collect();
    let paths: Map<String, Value> =
        paths.iter().map(|path| (path.path.clone(), path.entry(parameter, write))).collect();
    json!({
        "openapi": "3.0.0",
        "info": super::info(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"},
            },
        },
    })
}

/// What is written differently from the common definitions.
fn adapt((name, mut definition): (String, Value)) -> (String, Value) {
    match name.as_str() {
        INT_OR_STRING => {
            definition["format"] = json!("int-or-string");
            definition["oneOf"] = json!([{"type": "integer"}, {"type": "string"}]);
        }
        QUANTITY => definition["oneOf"] = json!([{"type": "string"}, {"type": "number"}]),
        _ => return (name, definition),
    }
    if let Some(definition) = definition.as_object_mut() {
        definition.remove("x-kubernetes-int-or-string");
    }
    (name, definition)
}

fn parameter(param: &Param, place: &str) -> Value {
    let mut out = json!({
        "name": param.name,
        "in": place,
        "description": param.about,
        "schema": {"type": param.kind, "uniqueItems": true},
    });
    if place == "path" {
        out["required"] = json!(true);
    }
    out
}

fn write(operation: &Operation) -> Value {
    let (group, version, kind) = operation.subject;
    let params: Vec<Value> = operation.params.iter().map(|param| parameter(param, "query")).collect();
    let answers: Map<String, Value> = operation
        .answers
        .iter()
        .map(|(code, words, name)| {
            let content: Map<String, Value> = match name {
                Some(name) => ANSWER_MEDIA.iter().map(|media| content(media, name)).collect(),
                None => [("text/plain".to_owned(), json!({"schema": {"type": "string"}}))].into_iter().collect(),
            };
            ((*code).to_owned(), json!({"description": words, "content": content}))
        })
        .collect();
    let mut out = json!({
        "tags": [operations::root(group, version).replace('/', "_")],
        "description": operation.description,
        "operationId": operation.id,
        "parameters": params,
        "responses": answers,
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    });
    if let Some((media, name)) = &operation.body {
        let content: Map<String, Value> = media.iter().map(|media| content(media, name)).collect();
        out["requestBody"] = json!({"content": content});
    }
    out
}

fn content(media: &str, name: &str) -> (String, Value) {
    (media.to_owned(), json!({"schema": {"$ref": format!("{PREFIX}{name}")}}))
}
