//! The API over a store in memory, called without a socket.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures::StreamExt;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use jobdock::api::{ApiState, app};
use jobdock::model::object::Object;
use jobdock::store::{Store, Write};
use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long a test waits for what must come; only a failure takes that long.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Face {
    pub store: Store,
    pub stop: CancellationToken,
    router: Router,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub code: u16,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn warnings(&self) -> Vec<&str> {
        self.headers.get_all(header::WARNING).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[track_caller]
    pub fn is(&self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.body);
        self.json()
    }

    /// A failure with this code, reason and message.
    #[track_caller]
    pub fn fails(&self, code: u16, reason: &str, message: &str) -> Value {
        let status = self.is(code);
        assert_eq!(status["kind"], "Status");
        assert_eq!(status["status"], "Failure");
        assert_eq!(status["code"], code);
        assert_eq!((&status["reason"], &status["message"]), (&json!(reason), &json!(message)));
        status
    }
}

impl Face {
    pub async fn new() -> Self {
        Self::over(Store::in_memory().unwrap()).await
    }

    pub async fn over(store: Store) -> Self {
        let stop = CancellationToken::new();
        let router = app(ApiState::new(store.clone(), stop.clone()));
        let face = Self { store, stop, router };
        face.namespace("default").await;
        face
    }

    pub async fn namespace(&self, name: &str) {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        self.put(Object::new(namespace)).await;
    }

    /// Stores an object, whatever the API would say to it.
    pub async fn put(&self, object: Object) -> Object {
        let committed = self.store.commit(vec![Write::Create(object)]).await.unwrap();
        committed.objects.into_iter().flatten().next().unwrap()
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Reply {
        let response = self.open(method, path, headers, body.into()).await;
        let (parts, body) = response.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("the answer ends").unwrap().to_bytes();
        Reply { code: parts.status.as_u16(), headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    /// What is no text.
    pub async fn bytes(&self, path: &str, accept: &str) -> (http::HeaderMap, Vec<u8>) {
        self.bytes_with(path, &[("accept", accept)]).await
    }

    pub async fn bytes_with(&self, path: &str, headers: &[(&str, &str)]) -> (http::HeaderMap, Vec<u8>) {
        let response = self.open(Method::GET, path, headers, Body::empty()).await;
        let (parts, body) = response.into_parts();
        (parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
    }

    async fn open(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> http::Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], "").await
    }

    pub async fn get_as(&self, path: &str, accept: &str) -> Reply {
        self.send(Method::GET, path, &[("accept", accept)], "").await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(Method::POST, path, &[("content-type", "application/json")], body.to_string()).await
    }

    pub async fn replace(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::PUT, path, &[("content-type", "application/json")], body.to_string()).await
    }

    pub async fn patch(&self, path: &str, media: &str, body: Value) -> Reply {
        let media = format!("application/{media}+json");
        self.send(Method::PATCH, path, &[("content-type", &media)], body.to_string()).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, &[], "").await
    }

    /// Opens a stream of lines: a watch or a log.
    pub async fn stream(&self, path: &str) -> Lines {
        self.stream_as(path, "application/json").await
    }

    pub async fn stream_as(&self, path: &str, accept: &str) -> Lines {
        let response = self.open(Method::GET, path, &[("accept", accept)], Body::empty()).await;
        assert_eq!(response.status(), StatusCode::OK);
        Lines { body: StreamExt::boxed(response.into_body().into_data_stream()), rest: Vec::new() }
    }

    /// Makes a configmap with labels.
    pub async fn config(&self, name: &str, labels: Value) -> Value {
        let path = "/api/v1/namespaces/default/configmaps";
        self.post(path, json!({"metadata": {"name": name, "labels": labels}, "data": {"a": "1"}})).await.is(201)
    }

    /// Makes a Job of one container.
    pub async fn job(&self, name: &str) -> Value {
        self.post(JOBS, job(name)).await.is(201)
    }
}

pub const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
pub const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";

pub fn job(name: &str) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": "busybox", "command": ["true"]}],
        }}},
    })
}

/// A stream, read line by line.
pub struct Lines {
    body: futures::stream::BoxStream<'static, Result<bytes::Bytes, axum::Error>>,
    rest: Vec<u8>,
}

impl Lines {
    /// The next line; none at the end.
    pub async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(String::from_utf8(line).unwrap().trim_end().to_owned());
            }
            let more = tokio::time::timeout(PATIENCE, self.body.next()).await.expect("something comes, or the end");
            self.rest.extend_from_slice(&more?.unwrap());
        }
    }

    pub async fn event(&mut self) -> Value {
        serde_json::from_str(&self.line().await.expect("an event comes")).unwrap()
    }

    /// The next event as `TYPE name`.
    pub async fn brief(&mut self) -> String {
        let event = self.event().await;
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
        format!("{} {name}", event["type"].as_str().unwrap()).trim_end().to_owned()
    }
}
