//! Owns the line format of kept logs: writing a line, reading one, and walking a file's lines from its end.
//! Never joins or filters lines: `read` does.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use jiff::Timestamp;

use super::Line;

/// Bytes read at a time on the way back from a file's end.
const BLOCK: u64 = 64 << 10;

/// An instant as it stands at the head of a line: of one width, so that text order is time order.
/// Parity: the kubelet's `RFC3339NanoFixed`.
pub(super) fn instant(at: Timestamp) -> String {
    format!("{at:.9}")
}

/// One stored line, not yet copied.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stored<'l> {
    /// As [`instant`] wrote it.
    pub at: &'l [u8],
    pub stderr: bool,
    pub partial: bool,
    pub text: &'l [u8],
}

impl Stored<'_> {
    /// The line's instant.
    pub(super) fn instant(&self) -> Option<Timestamp> {
        std::str::from_utf8(self.at).ok()?.parse().ok()
    }
}

/// Writes a line. An engine gives no line ends inside a line; where it does, each piece becomes a line.
pub(super) fn write(out: &mut Vec<u8>, line: &Line) {
    let at = instant(line.at);
    let stream = if line.stderr { "stderr" } else { "stdout" };
    let mut pieces = line.text.split(|byte| *byte == b'\n').peekable();
    while let Some(piece) = pieces.next() {
        let tag = if line.partial && pieces.peek().is_none() { "P" } else { "F" };
        for part in [at.as_str(), " ", stream, " ", tag, " "] {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(piece);
        out.push(b'\n');
    }
}

/// Reads a line without its end. None for one that is damaged.
pub(super) fn parse(line: &[u8]) -> Option<Stored<'_>> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let at = fields.next()?;
    let stderr = match fields.next()? {
        b"stdout" => false,
        b"stderr" => true,
        _ => return None,
    };
    let partial = match fields.next()? {
        b"F" => false,
        b"P" => true,
        _ => return None,
    };
    Some(Stored { at, stderr, partial, text: fields.next()? })
}

/// The lines of a file from the last to the first.
pub(super) struct Backwards<'f> {
    file: &'f File,
    /// Where `ahead` begins in the file.
    start: u64,
    /// What was read and not yet handed out.
    ahead: Vec<u8>,
}

impl<'f> Backwards<'f> {
    /// Begins at `end`, which is the end of a line unless [`Backwards::skip_torn`] is called first.
    pub(super) fn new(file: &'f File, end: u64) -> Self {
        Self { file, start: end, ahead: Vec::new() }
    }

    /// Skips what stands after the last line end. Answers where that is.
    pub(super) fn skip_torn(&mut self) -> io::Result<u64> {
        loop {
            if let Some(end) = self.ahead.iter().rposition(|byte| *byte == b'\n') {
                self.ahead.truncate(end + 1);
                return Ok(self.start + self.ahead.len() as u64);
            }
            if !self.read()? {
                self.ahead.clear();
                return Ok(0);
            }
        }
    }

    /// The line before the last one given: where it begins, and its bytes without the end.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        loop {
            let body = self.ahead.strip_suffix(b"\n").unwrap_or(&self.ahead);
            let begin = body.iter().rposition(|byte| *byte == b'\n').map(|end| end + 1);
            if let Some(begin) = begin.or((self.start == 0 && !self.ahead.is_empty()).then_some(0)) {
                let line = body[begin..].to_vec();
                self.ahead.truncate(begin);
                return Ok(Some((self.start + begin as u64, line)));
            }
            if !self.read()? {
                return Ok(None);
            }
        }
    }

    /// Reads the block before. False at the beginning of the file.
    fn read(&mut self) -> io::Result<bool> {
        let size = self.start.min(BLOCK);
        if size == 0 {
            return Ok(false);
        }
        // At most BLOCK, so that it fits.
        let mut block = vec![0; size as usize];
        self.file.read_exact_at(&mut block, self.start - size)?;
        block.append(&mut self.ahead);
        self.ahead = block;
        self.start -= size;
        Ok(true)
    }
}
