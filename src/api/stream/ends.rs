//! Owns what both sides of a conversation see, whatever carries it: what the client sends, and where answers go.
//! Never knows the bytes of a protocol.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::spdy::connection::{Gone, Output};

/// Where a client's answers of one kind go.
#[derive(Clone)]
pub enum Sink {
    /// A channel of a WebSocket.
    Channel(u8, mpsc::Sender<(u8, Bytes)>),
    /// A SPDY stream.
    Stream(Output),
}

impl Sink {
    /// Sends; waits where the client is slow.
    ///
    /// # Errors
    /// [`Gone`]: the client is.
    pub async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        match self {
            Self::Channel(number, socket) => socket.send((*number, bytes)).await.map_err(|_| Gone),
            Self::Stream(stream) => stream.send(bytes).await,
        }
    }

    /// There will be no more. A channel's end is the WebSocket's.
    pub async fn end(&self) {
        match self {
            Self::Channel(..) => {}
            Self::Stream(stream) => stream.end().await,
        }
    }

    /// Waits until the client is gone.
    pub async fn closed(&self) {
        match self {
            Self::Channel(_, socket) => socket.closed().await,
            Self::Stream(stream) => stream.closed().await,
        }
    }
}

/// A client that talks to a process.
pub struct Ends {
    /// What the process is to read; ends with its input, or with the client.
    pub stdin: Option<mpsc::Receiver<Bytes>>,
    /// Sizes of its terminal, as JSON objects one after the other.
    pub resize: Option<mpsc::Receiver<Bytes>>,
    /// For its standard output.
    pub stdout: Option<Sink>,
    /// For its standard error.
    pub stderr: Option<Sink>,
    /// For how it ended.
    pub error: Sink,
    /// How it ended is told as a `Status` in JSON (protocol version 4 and later) rather than in words, and only where it
    /// failed.
    pub detailed: bool,
}
