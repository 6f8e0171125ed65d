//! Owns what is told to metrics about requests: what each was about, how it was answered, how long that took. Never
//! answers anything but `/metrics`.
//!
//! Parity: the labels of apiserver's `endpoints/metrics`. Differs: a stream's duration is the time until it begins.

use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, Uri, header};
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;

use super::query::Params;
use super::route::{self, Place, Target};
use crate::metrics::{self, AnswerLabels, InflightLabels, RequestLabels, metrics};

/// Pages that have a name of their own in metrics; everything else outside of `/api` and `/apis` shares one.
const PAGES: [&str; 7] = ["healthz", "livez", "metrics", "openapi", "readyz", "version", "apis"];

/// One request, from its head to its answer's head.
pub struct Meter {
    labels: RequestLabels,
    begun: Instant,
    inflight: Gauge,
}

impl Meter {
    /// A request has come.
    pub fn begin(method: &Method, uri: &Uri) -> Self {
        let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let labels = InflightLabels { request_kind: if reads { "readOnly" } else { "mutating" } };
        let inflight = metrics().inflight.get_or_create_owned(&labels);
        inflight.inc();
        Self { labels: about(method, uri), begun: Instant::now(), inflight }
    }

    /// It is answered.
    pub fn end(self, code: StatusCode) {
        metrics().request_seconds.get_or_create(&self.labels).observe(self.begun.elapsed().as_secs_f64());
        let labels = AnswerLabels { request: self.labels.clone(), code: code.as_u16() };
        metrics().requests.get_or_create(&labels).inc();
    }
}

impl Drop for Meter {
    /// Also where the client has gone before its answer.
    fn drop(&mut self) {
        self.inflight.dec();
    }
}

fn about(method: &Method, uri: &Uri) -> RequestLabels {
    let segments = route::segments(uri.path()).unwrap_or_default();
    match route::parse(&segments) {
        Some(Place::Resource(target)) => resource(method, uri, target),
        Some(Place::CoreVersions | Place::Groups | Place::Group(_) | Place::Version(..) | Place::Virtual(..)) => {
            page(method, "/apis")
        }
        None => {
            let first = segments.first().map(String::as_str).unwrap_or_default();
            let known = PAGES.iter().find(|page| **page == first);
            page(method, &known.map_or_else(|| "/".to_owned(), |page| format!("/{page}")))
        }
    }
}

fn page(method: &Method, path: &str) -> RequestLabels {
    RequestLabels {
        verb: word(method),
        group: "",
        version: "",
        resource: String::new(),
        subresource: path.to_owned(),
        scope: "",
        component: "apiserver",
    }
}

fn resource(method: &Method, uri: &Uri, target: Target) -> RequestLabels {
    let collection = target.name.is_empty();
    let watches = || target.watch || Params::parse(uri.query()).flag("watch");
    let verb = match (word(method), collection) {
        ("GET", true) if watches() => "WATCH",
        ("GET", true) => "LIST",
        ("GET", false) if matches!(target.subresource.as_str(), "exec" | "attach" | "portforward") => "CONNECT",
        ("DELETE", true) => "DELETECOLLECTION",
        (word, _) => word,
    };
    let scope = match (target.namespace.is_empty(), collection) {
        (false, _) => "namespace",
        (true, false) => "resource",
        (true, true) => "cluster",
    };
    // A client may ask for any subresource; those that are none share an empty name.
    let served = ["status", "log", "exec", "attach", "portforward", "resize", "scale", "token", "eviction", "binding"];
    let subresource = served.iter().find(|name| **name == target.subresource).copied().unwrap_or_default().to_owned();
    RequestLabels {
        verb,
        group: target.kind.group,
        version: target.kind.version,
        resource: target.kind.plural.to_owned(),
        subresource,
        scope,
        component: "apiserver",
    }
}

fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

/// `/metrics`. `streams` is how many watches and followed logs are under way.
pub fn page_of_all(streams: usize) -> Response {
    metrics().longrunning.set(i64::try_from(streams).unwrap_or(i64::MAX));
    (StatusCode::OK, [(header::CONTENT_TYPE, metrics::MEDIA)], metrics::text()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named_as_upstream_names_them() {
        for (method, uri, expected) in [
            ("GET", "/api/v1/namespaces/x/pods", "LIST  v1 pods  namespace"),
            ("GET", "/api/v1/namespaces/x/pods?watch=1", "WATCH  v1 pods  namespace"),
            ("GET", "/api/v1/namespaces/x/pods?watch=false", "LIST  v1 pods  namespace"),
            ("GET", "/api/v1/watch/pods", "WATCH  v1 pods  cluster"),
            ("GET", "/api/v1/nodes/a", "GET  v1 nodes  resource"),
            ("PUT", "/apis/batch/v1/namespaces/x/jobs/a/status", "PUT batch v1 jobs status namespace"),
            ("DELETE", "/apis/batch/v1/namespaces/x/jobs", "DELETECOLLECTION batch v1 jobs  namespace"),
            ("GET", "/api/v1/namespaces/x/pods/a/exec", "CONNECT  v1 pods exec namespace"),
            ("GET", "/api/v1/namespaces/x/pods/a/anything", "GET  v1 pods  namespace"),
            ("GET", "/apis/batch", "GET    /apis "),
            ("GET", "/livez/ping", "GET    /livez "),
            ("BREW", "/coffee", "OTHER    / "),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let RequestLabels { verb, group, version, resource, subresource, scope, .. } =
                about(&method, &uri.parse().unwrap());
            assert_eq!(format!("{verb} {group} {version} {resource} {subresource} {scope}"), expected, "{uri}");
        }
    }
}
