//! Owns `/version` and the health endpoints. Never judges more than it can see: the store answers, or it does not.

use std::collections::BTreeSet;

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::query::Params;

/// Kubernetes' minor version whose API is served: that of the `k8s-openapi` feature in use.
const MINOR: &str = "37";

/// `/version`.
pub fn version() -> Value {
    let (os, arch) = (std::env::consts::OS, go_arch(std::env::consts::ARCH));
    json!({
        "major": "1",
        "minor": MINOR,
        "gitVersion": format!("v1.{MINOR}.0+jobdock.{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{os}/{arch}"),
    })
}

/// Go's names of architectures, which clients compare with.
fn go_arch(arch: &'static str) -> &'static str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Whether a path is a health endpoint, with the single check it asks for.
pub fn endpoint(segments: &[String]) -> Option<(&str, Option<&str>)> {
    let (first, rest) = segments.split_first()?;
    let known = matches!(first.as_str(), "livez" | "readyz" | "healthz");
    match (known, rest) {
        (true, []) => Some((first, None)),
        (true, [check]) => Some((first, Some(check))),
        _ => None,
    }
}

/// Answers a health endpoint. Parity: plain `ok`; the list of checks with `?verbose` or where one fails, in which one that
/// is excluded stands as such, and names that nothing has are told of. A single check has neither.
pub fn answer(endpoint: &str, only: Option<&str>, params: &Params, store_answers: bool) -> Response {
    let checks = [("ping", true), ("store", store_answers)];
    if let Some(only) = only {
        return match checks.into_iter().find(|(name, _)| *name == only) {
            Some((_, true)) => plain(StatusCode::OK, "ok".to_owned()),
            Some((_, false)) => plain(StatusCode::INTERNAL_SERVER_ERROR, "internal server error\n".to_owned()),
            None => (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
        };
    }
    let mut excluded: BTreeSet<&str> = params.all("exclude").collect();
    let (mut text, mut healthy) = (String::new(), true);
    for (name, fine) in checks {
        let (sign, result) = match (excluded.remove(name), fine) {
            (true, _) => ('+', "excluded: ok"),
            (false, true) => ('+', "ok"),
            (false, false) => ('-', "failed: reason withheld"),
        };
        healthy &= sign == '+';
        text += &format!("[{sign}]{name} {result}\n");
    }
    if !excluded.is_empty() {
        let names: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
        text += &format!("warn: some health checks cannot be excluded: no matches for {}\n", names.join(","));
    }
    if !healthy {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{text}{endpoint} check failed\n"));
    }
    let told =
        if params.text("verbose").is_some() { format!("{text}{endpoint} check passed\n") } else { "ok".to_owned() };
    plain(StatusCode::OK, told)
}

/// A text of which no browser makes anything else.
fn plain(code: StatusCode, text: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (code, headers, text).into_response()
}
