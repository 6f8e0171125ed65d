//! Owns watches and logs over a WebSocket: what would be the pieces of an answer's body are messages.
//! Never makes the answer: `watch` and `log` do; one that is no 200 is sent as it is.
//!
//! Parity: `WatchServer.HandleWS` (text frames of JSON) and `wsstream.Reader` (an empty message first, then bytes).

use axum::body::Body;
use axum::extract::ws::Message;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::StatusCode;
use tokio_util::task::TaskTracker;

use super::upgrade::{self, Upgrade};
use super::websocket::{self, Protocol, READS};
use crate::api::call::Call;

/// A watch's answer, over a WebSocket where the call asks for one.
pub async fn events(call: &mut Call, tasks: &TaskTracker, answer: Response) -> Response {
    match asked(call, &answer) {
        None => answer,
        Some((parts, asked)) => {
            let body = answer.into_body();
            upgrade::any_websocket(parts, &asked, tasks, |socket| websocket::send_all(socket, body, event)).await
        }
    }
}

/// A log's answer, over a WebSocket where the call asks for one.
pub async fn bytes(call: &mut Call, tasks: &TaskTracker, answer: Response) -> Response {
    match asked(call, &answer) {
        None => answer,
        Some((parts, asked)) => {
            let first = stream::iter([Ok(Bytes::new())]);
            let body = Body::from_stream(first.chain(answer.into_body().into_data_stream()));
            let then = |socket, protocol: Protocol| {
                websocket::send_all(socket, body, move |bytes| match protocol.base64 {
                    true => Message::Text(BASE64_STANDARD.encode(&bytes).into()),
                    false => Message::Binary(bytes),
                })
            };
            upgrade::websocket(parts, &asked, &READS, tasks, then).await
        }
    }
}

fn asked(call: &mut Call, answer: &Response) -> Option<(http::request::Parts, Vec<String>)> {
    if answer.status() != StatusCode::OK {
        return None;
    }
    match Upgrade::of(call)? {
        Upgrade::WebSocket(parts, asked) => Some((*parts, asked)),
        Upgrade::Spdy(..) => None,
    }
}

fn event(frame: Bytes) -> Message {
    // Every event is JSON, which is UTF-8.
    Message::Text(String::from_utf8_lossy(&frame).into_owned().into())
}
