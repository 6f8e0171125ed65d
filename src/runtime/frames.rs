//! PURE. Owns the reading of a container's output as the engine streams it, with timestamps on.
//! Never waits and never reads by itself: bytes are pushed in, chunks come out.
//!
//! Two forms come from the engine (EDGES D20), told apart by the first byte of all, which is exact because every
//! message begins with its timestamp, and so with a digit:
//!
//! ```text
//! framed (no terminal)   [stream 0..2] 0 0 0 [length, 4 bytes, big endian] 2024-05-01T10:00:00.000000000Z text\n
//! raw    (terminal)                                                        2024-05-01T10:00:00.000000000Z text\n
//! ```
//!
//! The engine cuts lines at 16 KiB and stamps each piece (D19): a piece without a line's end is `partial`. So is the
//! last piece of a process that ended without one.

use std::str;

use bytes::{Buf, Bytes, BytesMut};
use jiff::Timestamp;

use super::LogChunk;

/// Bytes after which the engine cuts a line (`defaultBufSize` of its log copier).
pub const PIECE: usize = 16 * 1024;
/// A frame longer than this is no frame: the stream is broken. Docker's hold one piece, podman's one line.
const FRAME_MAX: usize = 4 * 1024 * 1024;
/// Longest timestamp: `2024-05-01T10:00:00.000000000+02:00`.
const STAMP_MAX: usize = 40;
/// Bytes of a frame's header.
const HEADER: usize = 8;

/// The stream is not one that an engine writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine's log stream is broken: {0}")]
pub struct BrokenStream(String);

/// Which of the two forms the stream has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Framed,
    Raw,
}

/// Turns a log stream's bytes into chunks.
#[derive(Debug, Default)]
pub struct LogDecoder {
    form: Option<Form>,
    buffer: BytesMut,
    /// Timestamp of the last piece, for one that comes without.
    last: Timestamp,
}

impl LogDecoder {
    /// Takes bytes as they come and returns what became whole.
    ///
    /// # Errors
    /// [`BrokenStream`] where the bytes are no log stream; nothing more is to be read then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<LogChunk>, BrokenStream> {
        self.buffer.extend_from_slice(bytes);
        let mut chunks = Vec::new();
        while let Some(chunk) = self.next(false)? {
            chunks.push(chunk);
        }
        Ok(chunks)
    }

    /// The stream has ended: what is left of it.
    ///
    /// # Errors
    /// [`BrokenStream`] where it ended inside a frame.
    pub fn finish(&mut self) -> Result<Vec<LogChunk>, BrokenStream> {
        let mut chunks = Vec::new();
        while let Some(chunk) = self.next(true)? {
            chunks.push(chunk);
        }
        if self.buffer.is_empty() { Ok(chunks) } else { Err(BrokenStream("it ended inside a frame".to_owned())) }
    }

    fn next(&mut self, ended: bool) -> Result<Option<LogChunk>, BrokenStream> {
        let Some(first) = self.buffer.first() else { return Ok(None) };
        let form = *self.form.get_or_insert(if *first <= 2 { Form::Framed } else { Form::Raw });
        match form {
            Form::Framed => self.next_framed(),
            Form::Raw => Ok(self.next_raw(ended)),
        }
    }

    fn next_framed(&mut self) -> Result<Option<LogChunk>, BrokenStream> {
        let [stream, _, _, _, a, b, c, d, ..] = self.buffer[..] else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if stream > 2 || length > FRAME_MAX {
            return Err(BrokenStream(format!("a frame of stream {stream} with {length} bytes")));
        }
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        let message = self.buffer.split_to(length).freeze();
        Ok(Some(self.chunk(message, stream == 2)))
    }

    /// A raw stream has no borders: a line ends at its end, or after a full piece that another timestamp follows.
    fn next_raw(&mut self, ended: bool) -> Option<LogChunk> {
        let text = stamp(&self.buffer).map_or(0, |(_, length)| length);
        let piece = text + PIECE;
        let line_end = self.buffer.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let length = match line_end {
            Some(end) if end <= piece => end,
            _ if self.buffer.len() < piece + STAMP_MAX && !ended && line_end.is_none() => return None,
            _ if self.buffer.len() > piece && stamp(&self.buffer[piece..]).is_some() => piece,
            Some(end) => end,
            None if ended => self.buffer.len(),
            // An engine that does not cut: hand on what is there, or the buffer would have no bound.
            None => piece,
        };
        let message = self.buffer.split_to(length).freeze();
        Some(self.chunk(message, false))
    }

    fn chunk(&mut self, message: Bytes, stderr: bool) -> LogChunk {
        let (at, start) = stamp(&message).unwrap_or((self.last, 0));
        self.last = at;
        let partial = !message.ends_with(b"\n");
        let end = message.len() - usize::from(!partial);
        LogChunk { at, stderr, line: message.slice(start.min(end)..end), partial }
    }
}

/// The timestamp at the head of a message, and the length of it and its blank.
fn stamp(message: &[u8]) -> Option<(Timestamp, usize)> {
    let head = &message[..message.len().min(STAMP_MAX)];
    let blank = head.iter().position(|byte| *byte == b' ')?;
    let text = str::from_utf8(&head[..blank]).ok()?;
    // Cheaper than to let the parser find it out, in a raw stream that begins with any word.
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some((text.parse().ok()?, blank + 1))
}
