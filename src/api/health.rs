//! Owns `/version` and the health endpoints. Never judges more than it can see: the store answers, or it does not.

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

/// Answers a health endpoint. Parity: plain `ok`, the list of checks with `?verbose` or where one fails.
pub fn answer(endpoint: &str, only: Option<&str>, params: &Params, store_answers: bool) -> Response {
    let excluded: Vec<&str> = params.all("exclude").collect();
    let checks: Vec<(&str, bool)> = [("ping", true), ("store", store_answers)]
        .into_iter()
        .filter(|(name, _)| only.is_none_or(|only| only == *name) && !excluded.contains(name))
        .collect();
    if only.is_some() && checks.is_empty() {
        return (StatusCode::NOT_FOUND, "404 page not found\n").into_response();
    }
    let healthy = checks.iter().all(|(_, fine)| *fine);
    let code = if healthy { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    let mut text = String::new();
    if params.text("verbose").is_some() || !healthy {
        for (name, fine) in checks {
            text += &if fine { format!("[+]{name} ok\n") } else { format!("[-]{name} failed: reason withheld\n") };
        }
        text += &format!("{endpoint} check {}\n", if healthy { "passed" } else { "failed" });
    } else {
        text.push_str("ok");
    }
    (code, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}
