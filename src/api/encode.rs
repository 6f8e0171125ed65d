//! Owns how answers are written: one object, a list, any document, as JSON or YAML, whole, as metadata or as table rows.
//! Never chooses the form: `negotiate` did.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::error::Problem;
use super::negotiate::{Answer, Format, Transform};
use super::table::{self, Include};
use crate::model::kind::Kind;
use crate::model::object::Object;

/// Everything that decides how an answer is written.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// Form and transformation.
    pub answer: Answer,
    /// What table rows carry.
    pub include: Include,
    /// Indented.
    pub pretty: bool,
    /// The kind that was asked for, which may be another face of the one that is stored; none where objects go out as
    /// they are.
    pub kind: Option<&'static Kind>,
}

impl Encoder {
    /// A stored object in the form that was asked for.
    fn shown(&self, object: &Object) -> Object {
        match self.kind.filter(|kind| kind.face.is_some() && *kind != object.kind()) {
            Some(kind) => kind.show(object),
            None => object.clone(),
        }
    }

    /// One object.
    pub fn object(&self, code: StatusCode, object: &Object) -> Result<Response, Problem> {
        let object = &self.shown(object);
        match (&self.answer.transform, self.answer.format, self.pretty) {
            (Transform::None, Format::Json, false) => Ok(respond(code, Format::Json, object.json().clone())),
            (Transform::None, ..) => self.value(code, &object.to_value()),
            (Transform::Metadata(version), ..) => self.value(code, &table::partial(object, version)),
            (Transform::Table(version), ..) => {
                let metadata = json!({"resourceVersion": object.meta().resource_version});
                self.value(code, &self.table(object.kind(), version, metadata, std::slice::from_ref(object), true))
            }
        }
    }

    /// Any document: a Status, a review, a discovery list.
    pub fn value(&self, code: StatusCode, value: &Value) -> Result<Response, Problem> {
        let text = match (self.answer.format, self.pretty) {
            (Format::Json, false) => value.to_string(),
            (Format::Json, true) => format!("{value:#}\n"),
            (Format::Yaml, _) => serde_saphyr::to_string(value).map_err(Problem::internal)?,
        };
        Ok(respond(code, self.answer.format, text.into()))
    }

    /// How a list of this form begins; [`Encoder::item`]s follow, separated by commas, then [`Encoder::END`].
    pub fn list_start(&self, kind: &Kind, metadata: Value) -> String {
        let (name, api_version, items) = match self.answer.transform {
            Transform::None => (format!("{}List", kind.kind), kind.api_version(), "items"),
            Transform::Metadata(version) => {
                ("PartialObjectMetadataList".to_owned(), format!("meta.k8s.io/{version}"), "items")
            }
            Transform::Table(version) => {
                let mut table = self.table(kind, version, metadata, &[], true);
                if let Some(table) = table.as_object_mut() {
                    table.remove("rows");
                }
                return open(&table, "rows");
            }
        };
        open(&json!({"kind": name, "apiVersion": api_version, "metadata": metadata}), items)
    }

    /// How every list ends.
    pub const END: &'static str = "]}";

    /// One element of a list.
    pub fn item(&self, object: &Object) -> Bytes {
        let object = &self.shown(object);
        match self.answer.transform {
            Transform::None => object.json().clone(),
            Transform::Metadata(version) => table::partial(object, version).to_string().into(),
            Transform::Table(version) => {
                let mut table = self.table(object.kind(), version, Value::Null, std::slice::from_ref(object), false);
                table["rows"][0].take().to_string().into()
            }
        }
    }

    /// What a watch event carries. The headers of a table are sent once.
    pub fn event_object(&self, object: &Object, first: bool) -> Bytes {
        let object = &self.shown(object);
        match self.answer.transform {
            Transform::None => object.json().clone(),
            Transform::Metadata(version) => table::partial(object, version).to_string().into(),
            Transform::Table(version) => {
                let metadata = json!({"resourceVersion": object.meta().resource_version});
                let rows = std::slice::from_ref(object);
                self.table(object.kind(), version, metadata, rows, first).to_string().into()
            }
        }
    }

    /// What a bookmark carries: an object that is nothing but its revision.
    pub fn bookmark_object(&self, kind: &Kind, revision: u64, initial_end: bool) -> Value {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        match self.answer.transform {
            Transform::None => json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata}),
            Transform::Metadata(version) => json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": metadata,
            }),
            Transform::Table(version) => self.table(kind, version, metadata, &[], false),
        }
    }

    fn table(&self, kind: &Kind, version: &str, metadata: Value, objects: &[Object], headers: bool) -> Value {
        table::of(kind, version, metadata, objects, self.include, headers, Timestamp::now())
    }
}

/// A document without its closing brace, and an array in it that is still open.
fn open(document: &Value, array: &str) -> String {
    let mut text = document.to_string();
    text.pop();
    text + &format!(",\"{array}\":[")
}

/// An answer with a body of this format.
pub fn respond(code: StatusCode, format: Format, body: Bytes) -> Response {
    let media = match format {
        Format::Json => "application/json",
        Format::Yaml => "application/yaml",
    };
    (code, [(header::CONTENT_TYPE, media)], Body::from(body)).into_response()
}

/// Adds a `Warning` header for each text. Parity: code 299, no agent, the text quoted.
pub fn warn(response: &mut Response, warnings: &[String]) {
    for warning in warnings {
        let escaped: String = warning
            .chars()
            .filter(|c| !c.is_control())
            .flat_map(|c| matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c]))
            .collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            response.headers_mut().append(header::WARNING, value);
        } else if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{escaped}\"").as_bytes()) {
            // Beyond ASCII: sent as UTF-8, as Go does.
            response.headers_mut().append(header::WARNING, value);
        }
    }
}
