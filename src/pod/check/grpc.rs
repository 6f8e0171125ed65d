//! Owns the standard health request of gRPC: one `grpc.health.v1.Health/Check` over HTTP/2 without TLS.
//! Never speaks more of gRPC than that, so that no gRPC library is needed for two small messages.
//!
//! Parity: `pkg/probe/grpc`.

use std::convert::Infallible;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{MAX_BYTES, RECONNECT};
use crate::pod::probe::Outcome;

const SERVING: u8 = 1;
const OK: u32 = 0;
const DEADLINE_EXCEEDED: u32 = 4;
const UNIMPLEMENTED: u32 = 12;
const UNAVAILABLE: u32 = 14;
const INTERNAL: u32 = 13;
/// The names of `HealthCheckResponse.ServingStatus`.
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
/// The names of gRPC's codes.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// A call that did not succeed.
struct Fault {
    code: u32,
    message: String,
}

/// Asks the server how the service is.
pub async fn probe(host: &str, port: u16, service: &str, timeout: Duration) -> Outcome {
    let deadline = Instant::now() + timeout;
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let seconds = timeout.as_secs();
    let failure = |words: String| Outcome::Failure { words };
    // Parity: the dial is repeated until the time is over.
    let stream = loop {
        match super::connect(host, port, deadline).await {
            Ok(stream) => break stream,
            Err(_) if Instant::now() + RECONNECT < deadline => tokio::time::sleep(RECONNECT).await,
            Err(_) => {
                return failure(format!(
                    "timeout: failed to connect service {address:?} within {seconds}s: context deadline exceeded"
                ));
            }
        }
    };
    let answer = tokio::time::timeout_at(deadline, check(stream, &address, service)).await;
    let late = || Fault { code: DEADLINE_EXCEEDED, message: String::new() };
    match answer.unwrap_or_else(|_| Err(late())) {
        Ok(SERVING) => Outcome::Success,
        Ok(status) => {
            let name = STATUSES.get(usize::from(status)).map_or_else(|| status.to_string(), |name| (*name).to_owned());
            failure(format!("service unhealthy (responded with {name:?})"))
        }
        Err(Fault { code: UNIMPLEMENTED, message }) => failure(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}"
        )),
        Err(Fault { code: DEADLINE_EXCEEDED, .. }) => {
            failure(format!("timeout: health rpc did not complete within {seconds}s"))
        }
        Err(Fault { code, message }) => {
            let name = usize::try_from(code).ok().and_then(|code| CODES.get(code).copied()).unwrap_or("Unknown");
            failure(format!("error: health rpc probe failed: rpc error: code = {name} desc = {message}"))
        }
    }
}

async fn check(stream: TcpStream, address: &str, service: &str) -> Result<u8, Fault> {
    let unavailable = |error: hyper::Error| Fault { code: UNAVAILABLE, message: error.to_string() };
    let handshake = http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(unavailable)?;
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", super::USER_AGENT)
        .body(Full::new(message(service)))
        .map_err(|error| Fault { code: INTERNAL, message: error.to_string() })?;
    let talk = async {
        let reply = sender.send_request(request).await.map_err(unavailable)?;
        let (head, body) = reply.into_parts();
        if !head.status.is_success() {
            let message = format!("unexpected HTTP status code received from server: {}", head.status);
            return Err(Fault { code: UNAVAILABLE, message });
        }
        let body = http_body_util::Limited::new(body, MAX_BYTES).collect().await;
        let body = body.map_err(|error| Fault { code: INTERNAL, message: error.to_string() })?;
        // A call that fails at once has its status among the headers, any other in the trailers.
        ended(body.trailers().unwrap_or(&head.headers))?;
        Ok(status(&body.to_bytes()))
    };
    // What goes wrong with the connection is told to the request.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        answer = talk => answer,
        never = drive => match never {},
    }
}

/// A `HealthCheckRequest` in a frame: not compressed, its length, field 1 (`service`).
fn message(service: &str) -> Bytes {
    let mut body = BytesMut::new();
    // Service names are bounded by the object's size; a length takes at most five bytes of seven bits.
    if !service.is_empty() {
        body.put_u8(0x0a);
        let mut rest = service.len();
        while rest >= 0x80 {
            body.put_u8(u8::try_from(rest & 0x7f).unwrap_or_default() | 0x80);
            rest >>= 7;
        }
        body.put_u8(u8::try_from(rest).unwrap_or_default());
        body.put_slice(service.as_bytes());
    }
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    out.put(body);
    out.freeze()
}

/// The `status` (field 1) of a `HealthCheckResponse` in a frame; the default is not on the wire.
fn status(frame: &[u8]) -> u8 {
    match frame.get(5..) {
        Some([0x08, status, ..]) => *status,
        Some(_) | None => 0,
    }
}

/// How the call ended.
fn ended(trailers: &HeaderMap) -> Result<(), Fault> {
    let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status").map(str::parse) {
        Some(Ok(OK)) => Ok(()),
        Some(Ok(code)) => Err(Fault { code, message: text("grpc-message").unwrap_or_default().to_owned() }),
        Some(Err(_)) | None => {
            Err(Fault { code: INTERNAL, message: "server closed the stream without sending trailers".to_owned() })
        }
    }
}
