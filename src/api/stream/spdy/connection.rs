//! Owns a SPDY connection's server side: streams that the client opens, what arrives on each, what is sent on each.
//! Never knows what a stream is for: who takes them reads their headers.
//!
//! Two loops share the connection, so that a slow reader of one direction does not hold the other. Buffers are bounded:
//! a stream that nobody reads holds the connection's reading half once its queue is full (as upstream's does), and so the
//! client.

use std::collections::HashMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::frame::{self, Decoder, Frame, Reset};
use super::header::{Deflater, Headers};
use crate::api::stream::idle::Idle;

/// Streams at once on one connection; each forwarded TCP connection has two.
const MAX_STREAMS: usize = 1000;
/// Pieces of a stream that wait for its reader. Parity: `QUEUE_SIZE` of upstream's library.
const INPUT_QUEUE: usize = 50;
/// Frames that wait for the connection.
const OUTPUT_QUEUE: usize = 16;
/// Bytes read at once.
pub const READ_SIZE: usize = 32 * 1024;
/// Bytes of one data frame that we send: small enough that streams take turns.
const PIECE: usize = 32 * 1024;

/// How long the client may take to close its side of a connection that has ended.
const LINGER: Duration = Duration::from_secs(5);

/// A stream that the client has opened.
pub struct Stream {
    /// Its number; odd.
    pub id: u32,
    /// What it is for.
    pub headers: Headers,
    /// What the client sends; ends with the stream or the connection.
    pub input: mpsc::Receiver<Bytes>,
    /// What the client gets.
    pub output: Output,
}

/// The sending side of a stream; [`Output::end`] tells the client that there is no more.
#[derive(Clone)]
pub struct Output {
    id: u32,
    frames: mpsc::Sender<Out>,
}

/// The connection has ended.
#[derive(Debug)]
pub struct Gone;

impl Output {
    /// Sends, in turns with other streams.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn send(&self, mut bytes: Bytes) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            self.frames.send(Out::Data(self.id, piece, false)).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// The end of the stream.
    pub async fn end(&self) {
        let _gone = self.frames.send(Out::Data(self.id, Bytes::new(), true)).await;
    }

    /// Waits until nothing can be sent any more.
    pub async fn closed(&self) {
        self.frames.closed().await;
    }

    /// The end of the stream, both ways, as one that is not wanted.
    pub async fn refuse(&self) {
        let _gone = self.frames.send(Out::Reset(self.id, Reset::Refused)).await;
    }
}

/// What the writing loop sends.
enum Out {
    Reply(u32),
    Data(u32, Bytes, bool),
    Reset(u32, Reset),
    Pong(u32),
}

/// Serves a connection until the client goes, or until the receiver of `streams` and every [`Output`] are dropped; what
/// was sent before is then delivered first.
pub async fn serve(io: impl AsyncRead + AsyncWrite + Send, streams: mpsc::Sender<Stream>, idle: &Idle) {
    let (reader, writer) = tokio::io::split(io);
    let (frames, out) = mpsc::channel(OUTPUT_QUEUE);
    // The reading half has only a weak hold on the queue: the writing half ends when no stream is left, and none is
    // taken any more.
    let reading = Reading { streams: streams.clone(), frames: frames.downgrade(), inputs: HashMap::new(), idle };
    let reading = reading.run(reader);
    let taken = async {
        streams.closed().await;
        drop(frames);
        std::future::pending::<()>().await;
    };
    tokio::pin!(reading);
    tokio::select! {
        () = &mut reading => return,
        () = taken => {}
        () = write(writer, out, idle) => {}
    }
    // A connection that is closed on unread bytes loses what its peer has not read yet.
    let _late = tokio::time::timeout(LINGER, reading).await;
}

struct Reading<'a> {
    streams: mpsc::Sender<Stream>,
    frames: mpsc::WeakSender<Out>,
    inputs: HashMap<u32, mpsc::Sender<Bytes>>,
    idle: &'a Idle,
}

impl Reading<'_> {
    async fn run(mut self, mut reader: impl AsyncRead + Unpin) {
        let mut decoder = Decoder::default();
        let mut buffer = BytesMut::with_capacity(READ_SIZE);
        loop {
            buffer.clear();
            match reader.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => self.idle.touch(),
            }
            decoder.push(&buffer);
            loop {
                match decoder.next() {
                    Ok(None) => break,
                    Ok(Some(frame)) => self.frame(frame).await,
                    Err(error) => {
                        tracing::debug!(%error, "a stream connection is broken");
                        return;
                    }
                }
            }
        }
    }

    async fn frame(&mut self, frame: Frame) {
        match frame {
            Frame::Open { id, headers, fin } => self.open(id, headers, fin).await,
            Frame::Data { id, bytes, fin } => {
                // What nobody reads any more is dropped.
                if let Some(input) = self.inputs.get(&id)
                    && !bytes.is_empty()
                {
                    let _ended = input.send(bytes).await;
                }
                if fin {
                    self.inputs.remove(&id);
                }
            }
            Frame::Reset { id } => {
                self.inputs.remove(&id);
            }
            // Even numbers would be answers to pings of ours, and we send none.
            Frame::Ping { id } if !id.is_multiple_of(2) => self.send(Out::Pong(id)).await,
            Frame::Ping { .. } | Frame::GoAway | Frame::Other => {}
        }
    }

    async fn open(&mut self, id: u32, headers: Headers, fin: bool) {
        self.inputs.retain(|_, input| !input.is_closed());
        if id.is_multiple_of(2) || self.inputs.contains_key(&id) {
            return self.send(Out::Reset(id, Reset::Protocol)).await;
        }
        let room = self.inputs.len() < MAX_STREAMS && !self.streams.is_closed();
        let Some(frames) = self.frames.upgrade().filter(|_| room) else {
            return self.send(Out::Reset(id, Reset::Refused)).await;
        };
        let (sender, input) = mpsc::channel(INPUT_QUEUE);
        if !fin {
            self.inputs.insert(id, sender);
        }
        self.send(Out::Reply(id)).await;
        let stream = Stream { id, headers, input, output: Output { id, frames } };
        let _nobody = self.streams.send(stream).await;
    }

    async fn send(&self, out: Out) {
        if let Some(frames) = self.frames.upgrade() {
            let _gone = frames.send(out).await;
        }
    }
}

/// Writes until nobody is left who could send, or the client is gone.
async fn write(mut writer: impl AsyncWrite + Unpin, mut out: mpsc::Receiver<Out>, idle: &Idle) {
    let mut deflater = Deflater::new();
    let mut last = 0;
    while let Some(next) = out.recv().await {
        idle.touch();
        let written = match next {
            Out::Reply(id) => {
                last = last.max(id);
                writer.write_all(&frame::reply(id, &mut deflater)).await
            }
            Out::Data(id, bytes, fin) => {
                let frame = [frame::data(id, bytes.len(), fin), bytes].concat();
                writer.write_all(&frame).await
            }
            Out::Reset(id, why) => writer.write_all(&frame::reset(id, why)).await,
            Out::Pong(id) => writer.write_all(&frame::pong(id)).await,
        };
        let flushed = match (written, out.is_empty()) {
            (Ok(()), true) => writer.flush().await,
            (written, _) => written,
        };
        if flushed.is_err() {
            return;
        }
    }
    // The client is told that this is the end and not a fault. Whether it still listens is no matter.
    let _gone = writer.write_all(&frame::go_away(last)).await;
    let _gone = writer.shutdown().await;
}
