//! PURE. Owns the frames of SPDY/3.1: bytes pushed in become frames, frames become bytes.
//! Never waits, never panics on what it is sent, and keeps no more than one control frame.
//!
//! ```text
//! control  1 [version, 15 bits] [type, 16] [flags, 8] [length, 24] payload
//! data     0 [stream, 31 bits]             [flags, 8] [length, 24] bytes
//! ```
//!
//! Parity: upstream speaks it by `moby/spdystream`, which neither sends WINDOW_UPDATE nor heeds it. Whoever waited for one
//! would wait for ever, so they are read and dropped here too: the connection's own flow control is the only one.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::header::{self, Headers, Inflater};

/// Bytes of a frame before its payload.
const HEAD: usize = 8;
/// Longest control frame. Those of the Kubernetes streams have some 100 bytes.
pub const CONTROL_MAX: usize = 64 * 1024;
/// Bit of the first word that marks a control frame.
const CONTROL: u32 = 0x8000_0000;
/// The version in control frames.
const VERSION: u32 = 3;
/// Flag: the sender sends no more on this stream.
const FIN: u8 = 1;
/// The low bits of a length word.
const LENGTH: u32 = 0x00ff_ffff;

/// Why a stream is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The peer broke the protocol.
    Protocol = 1,
    /// The stream is not wanted.
    Refused = 3,
}

/// What a peer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Opens a stream.
    Open {
        /// The new stream.
        id: u32,
        /// What it is for.
        headers: Headers,
        /// Nothing will be sent on it.
        fin: bool,
    },
    /// A piece of a stream; an announced length arrives in any number of pieces.
    Data {
        /// The stream.
        id: u32,
        /// May be empty where `fin` is set.
        bytes: Bytes,
        /// The last one.
        fin: bool,
    },
    /// Ends a stream both ways.
    Reset {
        /// The stream.
        id: u32,
    },
    /// To be sent back.
    Ping {
        /// The asker's number; odd where a client asks.
        id: u32,
    },
    /// No further stream will be opened.
    GoAway,
    /// Something that needs no answer: settings, a reply, further headers, a window.
    Other,
}

/// The bytes are not SPDY/3.1, or go beyond a limit; the connection is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not SPDY/3.1: {0}")]
pub struct Broken(pub String);

/// Turns a connection's bytes into frames.
pub struct Decoder {
    buffer: BytesMut,
    /// Stream, bytes left, and end of the data frame that is being read.
    data: Option<(u32, usize, bool)>,
    inflater: Inflater,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), data: None, inflater: Inflater::new() }
    }
}

impl Decoder {
    /// Takes bytes as they come. Read all frames by [`Decoder::next`] before the next push, and the buffer stays within
    /// one control frame and what is pushed at once.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, where one is whole.
    ///
    /// # Errors
    /// [`Broken`]; nothing more is to be read then.
    pub fn next(&mut self) -> Result<Option<Frame>, Broken> {
        if let Some((id, left, fin)) = self.data {
            return Ok(self.piece(id, left, fin));
        }
        let Some((first, second)) = self.head() else { return Ok(None) };
        let (flags, length) = ((second >> 24) as u8, (second & LENGTH) as usize);
        if first & CONTROL == 0 {
            self.buffer.advance(HEAD);
            return match first {
                0 => Err(Broken("data of stream 0".to_owned())),
                id => Ok(self.piece(id, length, flags & FIN != 0)),
            };
        }
        if length > CONTROL_MAX {
            return Err(Broken(format!("a control frame of {length} bytes; {CONTROL_MAX} are allowed")));
        }
        if (first >> 16) & 0x7fff != VERSION {
            return Err(Broken(format!("version {}", (first >> 16) & 0x7fff)));
        }
        if self.buffer.len() < HEAD + length {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        let payload = self.buffer.split_to(length).freeze();
        self.control(first & 0xffff, flags, payload).map(Some)
    }

    fn head(&self) -> Option<(u32, u32)> {
        let mut head = self.buffer.get(..HEAD)?;
        Some((head.get_u32(), head.get_u32()))
    }

    /// What is there of a data frame; none where nothing is and more will come.
    fn piece(&mut self, id: u32, left: usize, fin: bool) -> Option<Frame> {
        let bytes = self.buffer.split_to(left.min(self.buffer.len())).freeze();
        let left = left - bytes.len();
        self.data = (left > 0).then_some((id, left, fin));
        let whole = left == 0;
        (whole || !bytes.is_empty()).then_some(Frame::Data { id, bytes, fin: fin && whole })
    }

    fn control(&mut self, kind: u32, flags: u8, mut payload: Bytes) -> Result<Frame, Broken> {
        let short = || Broken(format!("a control frame of type {kind} is too short"));
        let word = |payload: &mut Bytes| payload.try_get_u32().map_err(|_| short());
        match kind {
            1 => {
                let id = word(&mut payload)? & !CONTROL;
                let _associated = word(&mut payload)?;
                let _priority = payload.try_get_u16().map_err(|_| short())?;
                let headers = self.inflater.read(&payload)?;
                Ok(Frame::Open { id, headers, fin: flags & FIN != 0 })
            }
            // A reply or further headers: what they say is not needed, but the decompressor has to see them.
            2 | 8 => {
                let _id = word(&mut payload)?;
                self.inflater.read(&payload)?;
                Ok(Frame::Other)
            }
            3 => Ok(Frame::Reset { id: word(&mut payload)? & !CONTROL }),
            4 | 9 => Ok(Frame::Other),
            6 => Ok(Frame::Ping { id: word(&mut payload)? }),
            7 => Ok(Frame::GoAway),
            other => Err(Broken(format!("a control frame of type {other}"))),
        }
    }
}

fn control(kind: u16, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD + payload.len());
    frame.put_u32(CONTROL | VERSION << 16 | u32::from(kind));
    frame.put_u32(payload.len() as u32 & LENGTH);
    frame.put_slice(payload);
    frame.freeze()
}

/// Accepts a stream. `deflater` is the connection's.
pub fn reply(id: u32, deflater: &mut header::Deflater) -> Bytes {
    let block = deflater.write(&Headers::new());
    control(2, &[&id.to_be_bytes(), block.as_slice()].concat())
}

/// Ends a stream both ways.
pub fn reset(id: u32, why: Reset) -> Bytes {
    control(3, &[id.to_be_bytes(), (why as u32).to_be_bytes()].concat())
}

/// Answers a ping.
pub fn pong(id: u32) -> Bytes {
    control(6, &id.to_be_bytes())
}

/// Announces the end; `last` is the last stream that was accepted.
pub fn go_away(last: u32) -> Bytes {
    control(7, &[last.to_be_bytes(), [0; 4]].concat())
}

/// What stands before a piece of a stream of this length, which must be below 2^24.
pub fn data(id: u32, length: usize, fin: bool) -> Bytes {
    let mut head = BytesMut::with_capacity(HEAD);
    head.put_u32(id & !CONTROL);
    head.put_u32(u32::from(u8::from(fin) * FIN) << 24 | (length as u32 & LENGTH));
    head.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open(id: u32, headers: &[(&str, &str)], deflater: &mut header::Deflater) -> Bytes {
        let headers: Headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let block = deflater.write(&headers);
        control(1, &[&id.to_be_bytes(), [0; 6].as_slice(), block.as_slice()].concat())
    }

    fn decode(bytes: &[u8], size: usize) -> Result<Vec<Frame>, Broken> {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for piece in bytes.chunks(size.max(1)) {
            decoder.push(piece);
            while let Some(frame) = decoder.next()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    /// Frames with the pieces of each run of data joined.
    fn joined(frames: Vec<Frame>) -> Vec<Frame> {
        let mut out: Vec<Frame> = Vec::new();
        for frame in frames {
            match (out.last_mut(), &frame) {
                (
                    Some(Frame::Data { id, bytes, fin: fin @ false }),
                    Frame::Data { id: next, bytes: more, fin: last },
                ) if id == next => {
                    *bytes = [bytes.as_ref(), more.as_ref()].concat().into();
                    *fin = *last;
                }
                _ => out.push(frame),
            }
        }
        out
    }

    #[test]
    fn frames_are_read_however_their_bytes_are_cut() {
        let mut deflater = header::Deflater::new();
        let sent = [
            open(1, &[("streamtype", "error"), ("port", "80")], &mut deflater),
            open(3, &[("streamtype", "data"), ("port", "80")], &mut deflater),
            data(3, 5, false),
            Bytes::from_static(b"hello"),
            reply(3, &mut deflater),
            pong(7),
            control(4, &[0; 4]),
            control(9, &[0; 8]),
            data(3, 3, true),
            Bytes::from_static(b"end"),
            reset(1, Reset::Refused),
            go_away(3),
        ]
        .concat();
        let headers = |kind: &str| Headers::from([("port".into(), "80".into()), ("streamtype".into(), kind.into())]);
        let expected = vec![
            Frame::Open { id: 1, headers: headers("error"), fin: false },
            Frame::Open { id: 3, headers: headers("data"), fin: false },
            Frame::Data { id: 3, bytes: Bytes::from_static(b"hello"), fin: false },
            Frame::Other,
            Frame::Ping { id: 7 },
            Frame::Other,
            Frame::Other,
            Frame::Data { id: 3, bytes: Bytes::from_static(b"end"), fin: true },
            Frame::Reset { id: 1 },
            Frame::GoAway,
        ];
        for size in 1..=sent.len() {
            assert_eq!(decode(&sent, size).map(joined), Ok(expected.clone()), "pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for (bytes, expected) in [
            (data(0, 1, false).to_vec(), "data of stream 0"),
            (vec![0x80, 3, 0, 1, 0, 1, 0, 1], "a control frame of 65537 bytes; 65536 are allowed"),
            (vec![0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1], "version 2"),
            (control(6, &[1]).to_vec(), "a control frame of type 6 is too short"),
            (control(5, &[]).to_vec(), "a control frame of type 5"),
            (control(1, &[0; 10]).to_vec(), "the headers end too soon"),
            (control(1, &[1; 20]).to_vec(), "the headers are not compressed as they should be"),
        ] {
            assert_eq!(decode(&bytes, 1000), Err(Broken(expected.to_owned())), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_frames_or_an_error(bytes: Vec<u8>, size in 1_usize..50) {
            let _any = decode(&bytes, size);
        }

        #[test]
        fn any_payload_is_a_frame_or_an_error(kind in 0_u16..12, payload: Vec<u8>) {
            let _any = decode(&control(kind, &payload), 1000);
        }

        #[test]
        fn data_arrives_as_it_was_sent(bytes: Vec<u8>, id in 1_u32..0x8000_0000, fin: bool, size in 1_usize..50) {
            let sent = [data(id, bytes.len(), fin), bytes.clone().into()].concat();
            let expected = vec![Frame::Data { id, bytes: bytes.into(), fin }];
            prop_assert_eq!(decode(&sent, size).map(joined), Ok(expected));
        }

        #[test]
        fn headers_arrive_as_they_were_sent(headers: Headers) {
            let mut deflater = header::Deflater::new();
            let block = deflater.write(&headers);
            let mut inflater = Inflater::new();
            let names: Headers = headers.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
            let read = inflater.read(&block).expect("our own headers");
            prop_assert!(read.iter().all(|(name, value)| names.get(name) == Some(value) || !name.is_ascii()));
        }
    }
}
