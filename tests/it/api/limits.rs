//! What clients may ask at once, and what is counted of what they asked.

use std::io::Read;

use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt;
use jobdock::api::{ApiState, Limits, app};
use jobdock::store::Store;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::face::{CONFIGS, Face};

#[tokio::test]
async fn metrics_count_requests_as_upstream_names_them() {
    let face = Face::new().await;
    face.config("a", json!({})).await;
    let page = face.send(Method::GET, "/metrics", &[], "").await;
    assert_eq!(page.code, 200);
    assert!(page.headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    for (name, labels) in [
        ("apiserver_request_total{", r#"verb="POST",group="",version="v1",resource="configmaps""#),
        ("apiserver_request_duration_seconds_bucket{", r#"resource="configmaps""#),
        ("apiserver_current_inflight_requests{", r#"request_kind="readOnly""#),
        ("jobdock_store_commits_total ", ""),
        ("jobdock_store_group_size_count ", ""),
    ] {
        let found = page.body.lines().any(|line| line.starts_with(name) && line.contains(labels));
        assert!(found, "{name}{labels}\n{}", page.body);
    }
}

#[tokio::test]
async fn a_larger_body_is_refused_with_the_limit() {
    let limits = Limits { body: 100, ..Limits::default() };
    let router = app(ApiState::limited(Store::in_memory().unwrap(), CancellationToken::new(), limits));
    let request = Request::post(CONFIGS).header("content-type", "application/json").body(Body::from("x".repeat(101)));
    let answer = router.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 413);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let status: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status["message"], "Request entity too large: limit is 100");
}

/// A request whose body does not come keeps its place; the clock runs ahead where all wait.
#[tokio::test(start_paused = true)]
async fn too_many_requests_at_once_are_told_to_come_again() {
    let limits = Limits { requests: 1, streams: 0, ..Limits::default() };
    let router = app(ApiState::limited(Store::in_memory().unwrap(), CancellationToken::new(), limits));
    let body = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let request = Request::post(CONFIGS).header("content-type", "application/json").body(body).unwrap();
    let mut slow = Box::pin(router.clone().oneshot(request));
    assert!(futures::poll!(&mut slow).is_pending());
    for path in [CONFIGS.to_owned(), format!("{CONFIGS}?watch=true")] {
        let answer = router.clone().oneshot(Request::get(&path).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (429, &"1".parse().unwrap()),
            "{path}"
        );
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let status: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&status["reason"], &status["code"]), (&json!("TooManyRequests"), &json!(429)), "{path}");
        assert_eq!(status["message"], "too many requests, please try again later", "{path}");
        assert_eq!(status["details"]["retryAfterSeconds"], 1, "{path}");
    }
    // Who only asks whether the server lives is answered all the same.
    let alive = router.clone().oneshot(Request::get("/livez").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(alive.status(), 200);
    drop(slow);
    let next = router.oneshot(Request::get(CONFIGS).body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(next.status(), 200, "the place was given back");
}

#[tokio::test]
async fn a_watch_that_is_not_read_gives_its_place_back_in_time() {
    let limits = Limits { streams: 1, ..Limits::default() };
    let router = app(ApiState::limited(Store::in_memory().unwrap(), CancellationToken::new(), limits));
    let watch = || Request::get(format!("{CONFIGS}?watch=true&timeoutSeconds=1")).body(Body::empty()).unwrap();
    let stalled = router.clone().oneshot(watch()).await.unwrap();
    assert_eq!(stalled.status(), 200);
    let next = router.oneshot(watch()).await.unwrap();
    assert_eq!(next.status(), 200, "the place was kept by a client that reads nothing");
    drop(stalled);
}

#[tokio::test]
async fn large_answers_are_compressed_for_clients_that_accept_it() {
    let face = Face::new().await;
    let text = "0123456789abcdef".repeat(10_000);
    let large = json!({"metadata": {"name": "large"}, "data": {"text": text}});
    face.post(CONFIGS, large).await.is(201);
    face.config("small", json!({})).await;
    for (path, accepted, compressed) in [
        (CONFIGS.to_owned(), "gzip", true),
        (CONFIGS.to_owned(), "deflate, gzip", true),
        (CONFIGS.to_owned(), "deflate", false),
        (format!("{CONFIGS}/large"), "gzip", true),
        (format!("{CONFIGS}/small"), "gzip", false),
        ("/openapi/v2".to_owned(), "gzip", true),
        ("/version".to_owned(), "gzip", false),
    ] {
        let (headers, bytes) = face.bytes_with(&path, &[("accept-encoding", accepted)]).await;
        let encoding = headers.get("content-encoding").map(|value| value.to_str().unwrap());
        assert_eq!(encoding, compressed.then_some("gzip"), "{path} {accepted}");
        let (_, plain) = face.bytes_with(&path, &[]).await;
        let mut unpacked = Vec::new();
        match compressed {
            true => drop(flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked).unwrap()),
            false => unpacked = bytes,
        }
        assert_eq!(unpacked, plain, "{path} {accepted}");
    }
}
