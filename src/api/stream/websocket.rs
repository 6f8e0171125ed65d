//! Owns the channels of a WebSocket: which sub-protocol is spoken, and the first byte of each message.
//! Never knows what a channel carries.
//!
//! ```text
//! [v5. v4.] channel.k8s.io           binary  [channel] bytes
//! [v4.]     base64.channel.k8s.io    text    [digit] base64
//! v5 only, from the client           binary  [255] [channel]: the channel is closed
//! ```

use std::collections::HashMap;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::SplitSink;
use futures::{SinkExt, StreamExt};
use tokio::sync::mpsc;

use super::idle::Idle;

/// Longest message. Parity: `DefaultMaxPayloadBytes` of upstream's library.
pub const MESSAGE_MAX: usize = 32 * 1024 * 1024;
/// Messages that wait for a channel's reader, or for the socket: few, since one may be long.
pub const QUEUE: usize = 4;
/// The channel that closes others.
const CLOSE: u8 = 255;
/// How long the client may take to answer the end.
const LINGER: Duration = Duration::from_secs(5);

/// A sub-protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Its name; empty where the client asked for none.
    pub name: &'static str,
    /// 1, 4 or 5.
    pub version: u8,
    /// Messages are base64 texts.
    pub base64: bool,
}

/// Parity: what the API server and the kubelet take, together.
pub const COMMANDS: [Protocol; 6] = [
    Protocol { name: "v5.channel.k8s.io", version: 5, base64: false },
    Protocol { name: "v4.channel.k8s.io", version: 4, base64: false },
    Protocol { name: "v4.base64.channel.k8s.io", version: 4, base64: true },
    Protocol { name: "channel.k8s.io", version: 1, base64: false },
    Protocol { name: "base64.channel.k8s.io", version: 1, base64: true },
    Protocol { name: "", version: 1, base64: false },
];

/// The same for ports, when they are not tunnelled.
pub const PORTS: [Protocol; 3] = [
    Protocol { name: "v4.channel.k8s.io", version: 4, base64: false },
    Protocol { name: "v4.base64.channel.k8s.io", version: 4, base64: true },
    Protocol { name: "", version: 4, base64: false },
];

/// What a log is read over: one stream of bytes, so messages name no channel. Parity: `NewDefaultReaderProtocols`.
pub const READS: [Protocol; 3] = [
    Protocol { name: "", version: 1, base64: false },
    Protocol { name: "binary.k8s.io", version: 1, base64: false },
    Protocol { name: "base64.binary.k8s.io", version: 1, base64: true },
];

/// The first of the client's that is known; the nameless one where the client names none.
pub fn negotiate(asked: &[String], known: &[Protocol]) -> Option<Protocol> {
    let find = |name: &str| known.iter().find(|protocol| protocol.name == name).copied();
    if asked.is_empty() { find("") } else { asked.iter().filter(|name| !name.is_empty()).find_map(|name| find(name)) }
}

/// The inner side of a WebSocket's channels.
pub struct Channels {
    /// Those that the client may send on.
    pub inputs: HashMap<u8, mpsc::Sender<Bytes>>,
    /// What the client is to get.
    pub out: mpsc::Receiver<(u8, Bytes)>,
}

/// Carries channels until the client goes, or until every sender of `out` is dropped; what was sent before is delivered
/// first.
pub async fn serve(socket: WebSocket, protocol: Protocol, channels: Channels, idle: &Idle) {
    let Channels { mut inputs, mut out } = channels;
    let (mut sink, mut messages) = socket.split();
    let reading = async {
        while let Some(Ok(message)) = messages.next().await {
            idle.touch();
            let Some((channel, bytes)) = read(message, protocol) else { continue };
            match (channel, bytes.first()) {
                (CLOSE, Some(closed)) if protocol.version >= 5 => {
                    inputs.remove(closed);
                }
                // A message to a channel that is not read, or no more, is dropped.
                (channel, Some(_)) => {
                    if let Some(input) = inputs.get(&channel) {
                        let _ended = input.send(bytes).await;
                    }
                }
                (_, None) => {}
            }
        }
    };
    let writing = async {
        while let Some((channel, bytes)) = out.recv().await {
            idle.touch();
            if sink.send(write(channel, &bytes, protocol)).await.is_err() {
                return;
            }
        }
        close(&mut sink).await;
    };
    until_read(reading, writing).await;
}

/// Sends a body's pieces, each as one message, until its end or until the client goes. What the client says is not heard.
pub async fn send_all(socket: WebSocket, body: Body, message: impl Fn(Bytes) -> Message) {
    let (mut sink, mut messages) = socket.split();
    let reading = async { while let Some(Ok(_)) = messages.next().await {} };
    let writing = async {
        let mut pieces = body.into_data_stream();
        while let Some(Ok(piece)) = pieces.next().await {
            if sink.send(message(piece)).await.is_err() {
                return;
            }
        }
        close(&mut sink).await;
    };
    until_read(reading, writing).await;
}

async fn close(sink: &mut SplitSink<WebSocket, Message>) {
    let end = CloseFrame { code: close_code::NORMAL, reason: Default::default() };
    let _gone = sink.send(Message::Close(Some(end))).await;
}

/// Both until the client goes, or until all is written and a little longer: closed at once, the client would lose what it
/// has not read yet.
async fn until_read(reading: impl Future<Output = ()>, writing: impl Future<Output = ()>) {
    tokio::pin!(reading);
    tokio::select! {
        () = &mut reading => return,
        () = writing => {}
    }
    let _late = tokio::time::timeout(LINGER, reading).await;
}

/// The channel and the bytes of a message; none where it has neither.
pub fn read(message: Message, protocol: Protocol) -> Option<(u8, Bytes)> {
    let mut bytes: Bytes = match message {
        Message::Binary(bytes) => bytes,
        Message::Text(text) => text.into(),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return None,
    };
    let channel = *bytes.first()?;
    let body = bytes.split_off(1);
    match protocol.base64 {
        false => Some((channel, body)),
        true => Some((channel.wrapping_sub(b'0'), BASE64_STANDARD.decode(&body).ok()?.into())),
    }
}

fn write(channel: u8, bytes: &[u8], protocol: Protocol) -> Message {
    if protocol.base64 {
        let digit = char::from(b'0'.wrapping_add(channel));
        return Message::Text(format!("{digit}{}", BASE64_STANDARD.encode(bytes)).into());
    }
    let mut message = BytesMut::with_capacity(bytes.len() + 1);
    message.put_u8(channel);
    message.put_slice(bytes);
    Message::Binary(message.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol(name: &str) -> Protocol {
        negotiate(&[name.to_owned()], &COMMANDS).expect("known")
    }

    #[test]
    fn the_clients_first_known_protocol_is_spoken() {
        for (asked, expected) in [
            ("v5.channel.k8s.io v4.channel.k8s.io", Some("v5.channel.k8s.io")),
            ("v4.channel.k8s.io v5.channel.k8s.io", Some("v4.channel.k8s.io")),
            ("v9.channel.k8s.io base64.channel.k8s.io", Some("base64.channel.k8s.io")),
            ("v3.channel.k8s.io", None),
            ("", Some("")),
        ] {
            let asked: Vec<String> = asked.split_whitespace().map(str::to_owned).collect();
            assert_eq!(negotiate(&asked, &COMMANDS).map(|protocol| protocol.name), expected, "{asked:?}");
        }
    }

    #[test]
    fn a_message_is_what_was_written() {
        for name in COMMANDS.map(|protocol| protocol.name).iter().filter(|name| !name.is_empty()) {
            for bytes in [b"".as_slice(), b"text", &[0, 255, 10]] {
                let message = write(2, bytes, protocol(name));
                assert_eq!(read(message, protocol(name)), Some((2, Bytes::copy_from_slice(bytes))), "{name}");
            }
        }
    }

    #[test]
    fn base64_messages_are_texts_with_a_digit() {
        assert_eq!(write(1, b"\n", protocol("base64.channel.k8s.io")), Message::Text("1Cg==".into()));
        assert_eq!(
            read(Message::Text("0Zm9vCg==".into()), protocol("v4.base64.channel.k8s.io")),
            Some((0, "foo\n".into()))
        );
        assert_eq!(read(Message::Text("0?".into()), protocol("base64.channel.k8s.io")), None, "it is no base64");
    }
}
