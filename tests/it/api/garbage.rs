//! Nothing that a client sends makes the server fail: arbitrary bytes, and texts that are nearly right.

use http::{Method, Request};
use http_body_util::BodyExt;
use jobdock::api::{ApiState, app};
use jobdock::store::Store;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::face::JOBS;
use crate::support::garbage::near;

/// Cases of each property: some seconds in all.
const CASES: u32 = 150;

const YAML: &str = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: a, labels: &l {x: 'y'}}\nspec:\n  template:\n    \
                    spec:\n      restartPolicy: Never\n      containers:\n      - {name: c, image: i, env: []}\n";
const JSON: &str = r#"{"metadata":{"name":"a","annotations":{"k":"\u00e9"}},"spec":{"parallelism":1e0,"selector":null,
                       "template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}"#;
const PROTOBUF: &str = "k8s\0\n\u{f}\n\u{2}v1\u{12}\tConfigMap\u{12}\u{1b}\n\u{11}\n\u{1}c\u{12}\0\u{1a}\0\"\0*\0\u{12}\u{6}\n\u{1}a\u{12}\u{1}b";
const STRATEGIC: &str = r#"{"metadata":{"labels":{"$patch":"replace","a":"b"}},"spec":{"template":{"spec":
    {"$setElementOrder/containers":[{"name":"c"}],"containers":[{"$patch":"delete","name":"c"}],"$retainKeys":["x"]}}}}"#;
const STEPS: &str = r#"[{"op":"test","path":"/metadata/name","value":"a"},{"op":"move","from":"/metadata/labels/x~1y",
                        "path":"/metadata/labels/z"},{"op":"add","path":"/spec/template/spec/containers/-","value":{}}]"#;
const APPLY: &str = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: a}\nspec: {parallelism: 2, suspend: true}\n";
const SELECTORS: [&str; 4] =
    ["a=b,c!=d", "a in (b, c),d notin (e),!f,g", "x>1,y<2", "metadata.name=a,status.successful!=1"];

fn near_texts(texts: &[&str]) -> impl Strategy<Value = Vec<u8>> {
    near(texts.iter().map(|text| text.as_bytes().to_vec()).collect())
}

/// A server of one property, which lives through all of its cases.
struct Site {
    runtime: Runtime,
    router: axum::Router,
}

impl Site {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let state = ApiState::new(Store::in_memory().unwrap(), CancellationToken::new());
        let site = Self { runtime, router: app(state) };
        let namespace = br#"{"metadata":{"name":"default"}}"#.to_vec();
        assert_eq!(site.send(Method::POST, "/api/v1/namespaces", "application/json", namespace).0, 201);
        site.send(Method::POST, JOBS, "application/yaml", YAML.into());
        site
    }

    /// The code of the answer, and where it blames the server, its text.
    fn send(&self, method: Method, path: &str, media: &str, body: Vec<u8>) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).header("content-type", media);
        let request = request.body(axum::body::Body::from(body)).unwrap();
        self.runtime.block_on(async {
            let answer = self.router.clone().oneshot(request).await.unwrap();
            let code = answer.status().as_u16();
            // A watch has no end to wait for.
            let body =
                if code < 500 { Vec::new() } else { answer.into_body().collect().await.unwrap().to_bytes().into() };
            (code, String::from_utf8(body).unwrap())
        })
    }
}

/// No answer to such a body blames the server.
fn bears(method: &Method, path: &str, media: &str, texts: &'static [&'static str]) {
    let site = Site::new();
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let tried = runner.run(&near_texts(texts), |body| {
        let (code, text) = site.send(method.clone(), path, media, body);
        // Parity: upstream answers 500 without a reason where a strategic patch cannot be merged, or an applied object is
        // of no type.
        let is_merged = media.contains("strategic") || media.contains("apply");
        let unmergeable = is_merged && !text.contains("\"reason\"");
        if code < 500 || unmergeable { Ok(()) } else { Err(TestCaseError::fail(format!("{code}: {text}"))) }
    });
    tried.unwrap_or_else(|error| panic!("{method} {path} {media}: {error}"));
}

#[test]
fn any_body_is_taken_or_refused() {
    for (media, texts) in [
        ("application/yaml", &[YAML, JSON, APPLY] as &[&str]),
        ("application/json", &[JSON]),
        ("application/vnd.kubernetes.protobuf", &[PROTOBUF]),
    ] {
        bears(&Method::POST, &format!("{JOBS}?dryRun=All"), media, texts);
        bears(&Method::PUT, &format!("{JOBS}/a?dryRun=All&fieldValidation=Strict"), media, texts);
    }
    bears(
        &Method::DELETE,
        &format!("{JOBS}/a?dryRun=All"),
        "application/json",
        &[r#"{"propagationPolicy":"Orphan","gracePeriodSeconds":1}"#],
    );
}

#[test]
fn any_patch_is_taken_or_refused() {
    let path = format!("{JOBS}/a?dryRun=All&fieldManager=m");
    for (media, texts) in [
        ("application/strategic-merge-patch+json", &[STRATEGIC, JSON] as &[&str]),
        ("application/merge-patch+json", &[JSON, STRATEGIC]),
        ("application/json-patch+json", &[STEPS]),
        ("application/apply-patch+yaml", &[APPLY, YAML]),
    ] {
        bears(&Method::PATCH, &path, media, texts);
    }
}

#[test]
fn any_parameter_is_taken_or_refused() {
    let site = Site::new();
    let names = prop::sample::select(&[
        "labelSelector",
        "fieldSelector",
        "limit",
        "continue",
        "resourceVersion",
        "resourceVersionMatch",
        "watch",
        "timeoutSeconds",
        "sendInitialEvents",
        "allowWatchBookmarks",
        "pretty",
        "includeObject",
    ] as &[&str]);
    let values = prop_oneof![
        near_texts(&SELECTORS),
        near_texts(&[
            "1",
            "9223372036854775807",
            "true",
            "NotOlderThan",
            "Exact",
            "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MX0"
        ]),
    ];
    let mut runner = TestRunner::new(Config { cases: CASES * 4, failure_persistence: None, ..Config::default() });
    let tried = runner.run(&prop::collection::vec((names, values), 1..5), |params| {
        let pairs = params.iter().map(|(name, value)| (*name, String::from_utf8_lossy(value)));
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let (code, _) = site.send(Method::GET, &format!("{JOBS}?{query}"), "application/json", Vec::new());
        // Parity: a list that asks for a revision to come is told to wait, with a 504.
        if code < 500 || code == 504 { Ok(()) } else { Err(TestCaseError::fail(format!("{query}: {code}"))) }
    });
    tried.unwrap_or_else(|error| panic!("{error}"));
}
