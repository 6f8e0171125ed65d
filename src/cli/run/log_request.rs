//! Owns one request for a container's output, and what the server's answer means for a follower.
//! Never reads the output itself.

use futures::{AsyncBufRead, TryStreamExt as _};
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource as _;
use kube::api::LogParams;
use kube::client::Body;
use kube::core::Status;

/// Response header with the restart count of the container whose output follows. jobdock sends it; other servers do
/// not, and a client has to trust that the container did not restart while it asked. In a request it asks for the output of
/// one run alone, without those that follow.
const ATTEMPT_HEADER: &str = "jobdock-attempt";

/// What the server answered.
pub enum Answer<B> {
    /// The output.
    Stream {
        /// The attempt that it is of, where the server tells.
        attempt: Option<i32>,
        /// The bytes.
        body: B,
    },
    /// The pod, or the attempt, is no more.
    Gone,
    /// Not now, and why.
    Failed(String),
}

/// Asks for a container's output.
pub async fn open(
    client: &kube::Client,
    namespace: &str,
    pod: &str,
    params: &LogParams,
) -> Answer<impl AsyncBufRead + use<>> {
    let mut request = match kube::core::Request::new(Pod::url_path(&(), Some(namespace))).logs(pod, params) {
        Ok(request) => request.map(Body::from),
        Err(error) => return Answer::Failed(error.to_string()),
    };
    request.headers_mut().insert(ATTEMPT_HEADER, HeaderValue::from_static("one"));
    let response = match client.send(request).await {
        Ok(response) => response,
        Err(error) => return Answer::Failed(error.to_string()),
    };
    if response.status() == StatusCode::NOT_FOUND {
        return Answer::Gone;
    }
    if !response.status().is_success() {
        return Answer::Failed(refusal(response).await);
    }
    let attempt = response.headers().get(ATTEMPT_HEADER);
    let attempt = attempt.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let body = response.into_body().into_data_stream().map_err(std::io::Error::other).into_async_read();
    Answer::Stream { attempt, body }
}

async fn refusal(response: http::Response<Body>) -> String {
    let status = response.status();
    match response.into_body().collect().await {
        Ok(body) => serde_json::from_slice::<Status>(&body.to_bytes())
            .map_or_else(|_| format!("the server answered {status}"), |status| status.message),
        Err(error) => error.to_string(),
    }
}
