//! PURE. Owns the reading of the two output streams that an engine sends through one connection.
//! Never waits and never reads by itself: bytes are pushed in, pieces come out, nothing is held back.
//!
//! ```text
//! without a terminal   [stream 0..2] 0 0 0 [length, 4 bytes, big endian] bytes
//! with one             bytes
//! ```

use bytes::{Buf, Bytes, BytesMut};

use super::session::Output;

/// Bytes of a frame's header.
const HEADER: usize = 8;

/// The bytes are not what an engine sends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine's output stream is broken: a frame of stream {0}")]
pub struct BrokenOutput(u8);

/// Turns a connection's bytes into pieces of output.
#[derive(Debug)]
pub struct OutputDecoder {
    raw: bool,
    /// The beginning of a header, shorter than one.
    header: BytesMut,
    /// Stream and bytes left of the frame that is being read.
    frame: Option<(u8, usize)>,
}

impl OutputDecoder {
    /// Raw where the process has a terminal.
    pub fn new(tty: bool) -> OutputDecoder {
        OutputDecoder { raw: tty, header: BytesMut::with_capacity(HEADER), frame: None }
    }

    /// Takes bytes as they come and returns the pieces in them.
    ///
    /// # Errors
    /// [`BrokenOutput`] where the bytes have no frames; nothing more is to be read then.
    pub fn push(&mut self, mut bytes: Bytes) -> Result<Vec<Output>, BrokenOutput> {
        if self.raw {
            let piece = Output { stderr: false, bytes };
            return Ok(if piece.bytes.is_empty() { Vec::new() } else { vec![piece] });
        }
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            match self.frame {
                Some((stream, left)) => {
                    let piece = bytes.split_to(left.min(bytes.len()));
                    self.frame = Some((stream, left - piece.len())).filter(|(_, left)| *left > 0);
                    pieces.push(Output { stderr: stream == 2, bytes: piece });
                }
                None => self.read_header(&mut bytes)?,
            }
        }
        Ok(pieces)
    }

    fn read_header(&mut self, bytes: &mut Bytes) -> Result<(), BrokenOutput> {
        let wanted = HEADER - self.header.len();
        self.header.extend_from_slice(&bytes.split_to(wanted.min(bytes.len())));
        if let [stream, _, _, _, a, b, c, d] = self.header[..] {
            if stream > 2 {
                return Err(BrokenOutput(stream));
            }
            self.header.advance(HEADER);
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            self.frame = (length > 0).then_some((stream, length));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &[u8]) -> Vec<u8> {
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend_from_slice(&u32::try_from(text.len()).expect("short").to_be_bytes());
        frame.extend_from_slice(text);
        frame
    }

    /// What comes out of each stream when the bytes arrive in pieces of this size.
    fn read(tty: bool, bytes: &[u8], size: usize) -> Result<(Vec<u8>, Vec<u8>), BrokenOutput> {
        let mut decoder = OutputDecoder::new(tty);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(size) {
            for output in decoder.push(Bytes::copy_from_slice(piece))? {
                if output.stderr { &mut err } else { &mut out }.extend_from_slice(&output.bytes);
            }
        }
        Ok((out, err))
    }

    #[test]
    fn streams_are_told_apart_however_their_bytes_are_cut() {
        let sent = [frame(1, b"one"), frame(2, b"two"), frame(1, b""), frame(0, b"three")].concat();
        for size in 1..=sent.len() {
            assert_eq!(read(false, &sent, size), Ok((b"onethree".to_vec(), b"two".to_vec())), "pieces of {size}");
        }
    }

    #[test]
    fn a_terminal_has_one_stream_and_no_frames() {
        let sent = frame(2, b"x");
        assert_eq!(read(true, &sent, 3), Ok((sent.clone(), Vec::new())));
    }

    #[test]
    fn an_unknown_stream_is_an_error() {
        assert_eq!(read(false, &frame(7, b"x"), 100), Err(BrokenOutput(7)));
    }
}
