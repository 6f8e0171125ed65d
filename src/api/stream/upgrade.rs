//! Owns the change from HTTP to something else: which one a request asks for, the answer that agrees to it, and the
//! connection that is left.
//! Never knows what is said afterwards.

use axum::extract::FromRequestParts;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_util::task::TaskTracker;

use super::spdy;
use super::websocket::{MESSAGE_MAX, Protocol, negotiate};
use crate::api::call::Call;
use crate::api::error::Spoken;
use crate::runtime::session::Duplex;

/// SPDY's name in the `Upgrade` header.
const SPDY: &str = "SPDY/3.1";
/// Before the name of a protocol that is tunnelled through a WebSocket.
const TUNNEL: &str = "SPDY/3.1+";
/// Header with the protocols of SPDY's streams, and with the one that was chosen.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// Header with those that could have been.
const ACCEPTED: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");
/// Bytes on their way between a WebSocket and the SPDY connection in it.
const TUNNEL_BUFFER: usize = 64 * 1024;

/// A request that wants to become something else.
pub enum Upgrade {
    /// A WebSocket; with the sub-protocols that the client asks for.
    WebSocket(Box<Parts>, Vec<String>),
    /// SPDY; with the stream protocols.
    Spdy(OnUpgrade, Vec<String>),
}

impl Upgrade {
    /// What a call asks for; none where it asks for nothing that is known.
    pub fn of(call: &mut Call) -> Option<Self> {
        let connection = list(&call.headers, &header::CONNECTION);
        if !connection.iter().any(|token| token.eq_ignore_ascii_case("upgrade")) {
            return None;
        }
        let wanted = call.header(header::UPGRADE).unwrap_or_default().to_owned();
        let on_upgrade = call.upgrade.take()?;
        if wanted.eq_ignore_ascii_case("websocket") {
            let asked = list(&call.headers, &header::SEC_WEBSOCKET_PROTOCOL);
            return Some(Self::WebSocket(Box::new(parts(&call.method, &call.headers, on_upgrade)), asked));
        }
        wanted.eq_ignore_ascii_case(SPDY).then(|| Self::Spdy(on_upgrade, list(&call.headers, &STREAM_PROTOCOL)))
    }
}

/// The values of a header that is a list.
fn list(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let items = values.flat_map(|value| value.split(',')).map(str::trim);
    items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn parts(method: &Method, headers: &HeaderMap, on_upgrade: OnUpgrade) -> Parts {
    let mut parts = Request::new(()).into_parts().0;
    parts.method = method.clone();
    parts.headers = headers.clone();
    parts.extensions.insert(on_upgrade);
    parts
}

/// Answers a request for a WebSocket, and hands it to `then`.
pub async fn websocket<F>(
    mut parts: Parts,
    asked: &[String],
    known: &[Protocol],
    tasks: &TaskTracker,
    then: impl FnOnce(WebSocket, Protocol) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let Some(protocol) = negotiate(asked, known) else {
        let known: Vec<&str> = known.iter().map(|protocol| protocol.name).collect();
        let text = format!("requested protocol(s) are not supported: {asked:?}; supports {known:?}");
        return Spoken::unknown_protocol(text).into_response();
    };
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => agree(upgrade, protocol.name.to_owned(), tasks, move |socket| then(socket, protocol)),
        Err(refusal) => refusal.into_response(),
    }
}

/// [`websocket`] where any sub-protocol means the same: the only one that is asked for is agreed to.
pub async fn any_websocket<F>(
    mut parts: Parts,
    asked: &[String],
    tasks: &TaskTracker,
    then: impl FnOnce(WebSocket) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let only = if let [only] = asked { only.clone() } else { String::new() };
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => agree(upgrade, only, tasks, then),
        Err(refusal) => refusal.into_response(),
    }
}

fn agree<F>(
    upgrade: WebSocketUpgrade,
    protocol: String,
    tasks: &TaskTracker,
    then: impl FnOnce(WebSocket) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let token = tasks.token();
    let upgrade = if protocol.is_empty() { upgrade } else { upgrade.protocols([protocol]) };
    upgrade.max_message_size(MESSAGE_MAX).max_frame_size(MESSAGE_MAX).on_upgrade(move |socket| async move {
        then(socket).await;
        drop(token);
    })
}

/// Answers a request for a SPDY connection, and hands it to `then` with the stream protocol that was chosen.
pub fn spdy<F>(
    on_upgrade: OnUpgrade,
    asked: &[String],
    known: &[&'static str],
    tasks: &TaskTracker,
    then: impl FnOnce(Box<dyn Duplex>, &'static str) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    if asked.is_empty() {
        return Spoken::senseless("unable to upgrade: X-Stream-Protocol-Version is required").into_response();
    }
    let Some(protocol) = asked.iter().find_map(|name| known.iter().find(|known| *known == name)).copied() else {
        let text = format!(
            "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
            asked.join(" "),
            known.join(" ")
        );
        let mut response = Spoken::unknown_protocol(text).into_response();
        for name in known {
            response.headers_mut().append(ACCEPTED, HeaderValue::from_static(name));
        }
        return response;
    };
    tasks.spawn(async move {
        match on_upgrade.await {
            Ok(upgraded) => then(Box::new(TokioIo::new(upgraded)), protocol).await,
            // The client has gone before the answer came.
            Err(error) => tracing::debug!(%error, "a connection could not be upgraded"),
        }
    });
    let upgrade = [(header::CONNECTION, "Upgrade"), (header::UPGRADE, SPDY), (STREAM_PROTOCOL, protocol)];
    (StatusCode::SWITCHING_PROTOCOLS, upgrade).into_response()
}

/// The first of the sub-protocols asked for that is a tunnel for one of `known`.
pub fn tunnelled(asked: &[String], known: &[&'static str]) -> Option<&'static str> {
    let inner = asked.iter().filter_map(|name| name.strip_prefix(TUNNEL));
    inner.filter_map(|name| known.iter().find(|known| **known == name).copied()).next()
}

/// Answers a request for a SPDY connection inside of a WebSocket. Parity: `TunnelingHandler` of the API server.
pub async fn tunnel<F>(
    mut parts: Parts,
    protocol: &'static str,
    tasks: &TaskTracker,
    then: impl FnOnce(Box<dyn Duplex>) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(refusal) => return refusal.into_response(),
    };
    let token = tasks.token();
    upgrade
        .protocols([format!("{TUNNEL}{protocol}")])
        .max_message_size(MESSAGE_MAX)
        .max_frame_size(MESSAGE_MAX)
        .on_upgrade(move |socket| async move {
            let (near, far) = tokio::io::duplex(TUNNEL_BUFFER);
            tokio::join!(carry(socket, far), then(Box::new(near)));
            drop(token);
        })
}

/// Carries bytes between a WebSocket's messages and a connection, until either ends.
async fn carry(socket: WebSocket, far: DuplexStream) {
    let (mut sink, mut messages) = socket.split();
    let (mut reader, mut writer) = tokio::io::split(far);
    let inward = async {
        while let Some(Ok(message)) = messages.next().await {
            let bytes: Bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Text(text) => text.into(),
                Message::Ping(_) | Message::Pong(_) => continue,
                Message::Close(_) => break,
            };
            if writer.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ended = writer.shutdown().await;
        std::future::pending::<()>().await;
    };
    let outward = async {
        let mut buffer = BytesMut::with_capacity(spdy::connection::READ_SIZE);
        while reader.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
            if sink.send(Message::Binary(buffer.split().freeze())).await.is_err() {
                return;
            }
            buffer.reserve(spdy::connection::READ_SIZE);
        }
        let _gone = sink.send(Message::Close(None)).await;
    };
    // The end of what comes in is for the inner connection to see; it then ends, and with it what goes out.
    tokio::select! {
        () = inward => {}
        () = outward => {}
    }
}
