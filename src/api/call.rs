//! Owns a request once its address is understood: target, parameters, headers, body.
//! Never acts on it: `read`, `watch`, `write`, `remove` and `log` do.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::upgrade::OnUpgrade;
use serde_json::Value;

use super::encode::Encoder;
use super::error::Problem;
use super::negotiate::{self, Content, Format};
use super::protobuf;
use super::query::{ListOptions, Params};
use super::route::Target;
use super::table::Include;
use crate::model::fields::FieldSelector;
use crate::model::kind::Kind;
use crate::model::object::{Key, Object};
use crate::model::selector::Selector;

/// One request about objects of a kind.
#[derive(Debug)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// What it is about.
    pub target: Target,
    /// Its query.
    pub params: Params,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its connection, where that can become something else than HTTP.
    pub upgrade: Option<OnUpgrade>,
}

impl Call {
    /// The kind that it is about.
    pub fn kind(&self) -> &'static Kind {
        self.target.kind
    }

    /// The key of the one object that it is about, as it is stored.
    pub fn key(&self) -> Key {
        let Target { kind, namespace, name, .. } = &self.target;
        Key { kind: kind.storage(), namespace: namespace.clone(), name: name.clone() }
    }

    /// A header's text.
    pub fn header(&self, name: header::HeaderName) -> Option<&str> {
        text(&self.headers, name)
    }

    /// How objects are to be answered.
    pub fn encoder(&self) -> Result<Encoder, Problem> {
        Ok(Encoder { kind: Some(self.kind()), ..encoder(&self.headers, &self.params)? })
    }

    /// How a watch's events are to be written.
    pub fn watch_encoder(&self) -> Result<Encoder, Problem> {
        let answer = negotiate::accept_watch(self.header(header::ACCEPT))?;
        let include = Include::parse(self.params.text("includeObject"));
        Ok(Encoder { answer, include, pretty: false, kind: Some(self.kind()) })
    }

    /// Which objects it selects.
    pub fn filter(&self) -> Result<Filter, Problem> {
        let labels = Selector::parse(self.params.text("labelSelector").unwrap_or_default())
            .map_err(|error| Problem::bad_request(error.to_string()))?;
        let fields = FieldSelector::parse(self.kind(), self.params.text("fieldSelector").unwrap_or_default())
            .map_err(Problem::bad_request)?;
        // The old address of one object's watch.
        let one = self.target.watch && !self.target.name.is_empty();
        let fields = if one { fields.and_name(&self.target.name) } else { fields };
        Ok(Filter { labels, fields })
    }

    /// Whether it is a watch.
    pub fn wants_watch(&self) -> bool {
        self.target.watch || self.params.flag("watch")
    }

    /// The options of its list or watch.
    pub fn list_options(&self) -> Result<ListOptions, Problem> {
        super::query::list_options(&self.params, self.wants_watch())
    }
}

/// A header's text, where it has one.
pub fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// How anything is to be answered.
pub fn encoder(headers: &HeaderMap, params: &Params) -> Result<Encoder, Problem> {
    let answer = negotiate::accept(text(headers, header::ACCEPT))?;
    let include = Include::parse(params.text("includeObject"));
    Ok(Encoder { answer, include, pretty: pretty(headers, params), kind: None })
}

/// Parity: for people, answers are indented; the parameter overrules.
pub fn pretty(headers: &HeaderMap, params: &Params) -> bool {
    params.optional_flag("pretty").unwrap_or_else(|| {
        let agent = text(headers, header::USER_AGENT).unwrap_or_default();
        ["curl", "Wget", "Mozilla/5.0"].iter().any(|person| agent.starts_with(person))
    })
}

/// Reads a body of at most `limit` bytes.
pub async fn read_body(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let limited = Limited::new(body, limit);
    limited.collect().await.map(http_body_util::Collected::to_bytes).map_err(|error| {
        match error.is::<LengthLimitError>() {
            true => Problem::too_large(format!("Request entity too large: limit is {limit}")),
            false => Problem::bad_request(format!("the request's body could not be read: {error}")),
        }
    })
}

/// A body as text, and the format of it: protobuf becomes JSON.
pub fn text_body(headers: &HeaderMap, body: Bytes) -> Result<(Bytes, Format), Problem> {
    match negotiate::content(text(headers, header::CONTENT_TYPE))? {
        Content::Text(format) => Ok((body, format)),
        Content::Protobuf => {
            let value = protobuf::to_json(&body).map_err(|error| Problem::bad_request(error.to_string()))?;
            Ok((value.to_string().into(), Format::Json))
        }
    }
}

/// A body as a tree, for what is not an object of a kind: options and reviews.
pub fn tree(headers: &HeaderMap, body: Bytes) -> Result<Value, Problem> {
    let (text, format) = text_body(headers, body)?;
    match format {
        Format::Json => serde_json::from_slice(&text).map_err(|error| Problem::bad_request(error.to_string())),
        Format::Yaml => serde_saphyr::from_slice(&text).map_err(|error| Problem::bad_request(error.to_string())),
    }
}

/// Which objects of a collection are meant.
#[derive(Clone, Debug)]
pub struct Filter {
    labels: Selector,
    fields: FieldSelector,
}

impl Filter {
    /// Whether an object is.
    pub fn matches(&self, object: &Object) -> bool {
        self.labels.matches(object.meta().labels.as_ref()) && self.fields.matches(object)
    }

    /// Whether all are.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The only name that can match, where there is only one.
    pub fn only_name(&self) -> Option<&str> {
        self.fields.required("metadata.name")
    }

    /// The only namespace that can match, where there is only one.
    pub fn only_namespace(&self) -> Option<&str> {
        self.fields.required("metadata.namespace")
    }
}
