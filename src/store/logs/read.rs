//! Owns serving a kept log as a client wants it: where to begin, which lines, joined, stamped, cut, followed.
//! Never writes and never decides whether a log exists.
//!
//! Parity: the kubelet's `kuberuntime/logs`. Differs: `tailLines` counts whole lines where the kubelet counts parts, and
//! a long line is joined per stream, so that the other stream's lines do not land in the middle of it.

use std::fs::File;
use std::io;
use std::mem;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;

use super::cri::{self, Backwards, Stored};
use super::parts::Part;
use super::{Growth, LogQuery, Tail};

/// Bytes read at a time; about as many go out at a time.
const BLOCK: usize = 64 << 10;
/// A line that is longer is handed on in pieces, rather than held in memory until it ends.
const JOINED: usize = 1 << 20;

/// One reading of one log.
pub(super) struct Reader {
    path: PathBuf,
    /// What is being read. None until a followed log begins.
    part: Option<Part>,
    begun: bool,
    /// In that part.
    offset: u64,
    /// Where a reader that does not follow stops: the part that was written to when it began, and its size then.
    end: Option<(u64, u64)>,
    tail_lines: Option<u64>,
    /// The beginning of a line whose end was not read yet.
    carry: Vec<u8>,
    join: Join,
    follow: Option<Follow>,
}

struct Follow {
    /// Keeps the channel open while there is no writer.
    _tail: Arc<Tail>,
    growth: watch::Receiver<Growth>,
}

/// Where reading stands after one block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    More,
    /// Everything that there is was read.
    End,
}

impl Reader {
    pub(super) fn new(path: PathBuf, query: LogQuery, follow: Option<Arc<Tail>>) -> io::Result<Self> {
        let end = match (&follow, Part::current(&path)?) {
            (None, Some(part)) => Some((part.number, part.file.metadata()?.len())),
            (None, None) => Some((0, 0)),
            (Some(_), _) => None,
        };
        let follow = follow.map(|tail| Follow { growth: tail.0.subscribe(), _tail: tail });
        let tail_lines = query.tail_lines;
        let join = Join::new(&query);
        Ok(Self { path, part: None, begun: false, offset: 0, end, tail_lines, carry: Vec::new(), join, follow })
    }

    /// The output, in pieces.
    pub(super) fn stream(self) -> BoxStream<'static, io::Result<Bytes>> {
        stream::unfold(Some(self), |reader| async {
            match reader?.piece().await {
                Ok((piece, reader)) if !piece.is_empty() => Some((Ok(piece), reader)),
                Ok(_) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    /// The next piece, and the reader to go on with. An empty piece is the end.
    async fn piece(mut self) -> io::Result<(Bytes, Option<Self>)> {
        loop {
            // Looked at before reading: what was written before it was finished is then read below.
            let growth = self.follow.as_mut().map_or(Growth::Finished, |follow| *follow.growth.borrow_and_update());
            if growth == Growth::Removed {
                return Ok((Bytes::new(), None));
            }
            let (reader, step) = tokio::task::spawn_blocking(move || {
                let step = self.block();
                (self, step)
            })
            .await
            .map_err(io::Error::other)?;
            self = reader;
            let step = step?;
            if step == Step::End && growth == Growth::Finished {
                self.join.end();
                return Ok((self.join.take(), None));
            }
            if self.join.full() {
                return Ok((self.join.take(), None));
            }
            if !self.join.out.is_empty() {
                return Ok((self.join.take(), Some(self)));
            }
            if step == Step::End && !self.grown().await {
                return Ok((Bytes::new(), None));
            }
        }
    }

    /// Waits for the log to grow. False where it never will.
    async fn grown(&mut self) -> bool {
        match &mut self.follow {
            Some(follow) => follow.growth.changed().await.is_ok(),
            None => false,
        }
    }

    /// Sees to it that a part is open, at first the one where reading begins. False where there is none yet.
    fn open(&mut self) -> io::Result<bool> {
        if self.part.is_some() {
            return Ok(true);
        }
        self.part = match self.tail_lines.filter(|_| !mem::replace(&mut self.begun, true)) {
            Some(lines) => match tail_start(&self.path, self.end, lines, self.join.stderr)? {
                Some((part, offset)) => {
                    self.offset = offset;
                    Some(part)
                }
                None => None,
            },
            None => Part::open(&self.path, 0)?,
        };
        Ok(self.part.is_some())
    }

    /// The present part was read to its present end: goes on to the next one if it is finished.
    fn next_part(&mut self) -> io::Result<Step> {
        let Some(part) = &mut self.part else { return Ok(Step::End) };
        if self.end.is_some_and(|(last, _)| part.number >= last) {
            return Ok(Step::End);
        }
        if !part.closed {
            // What was written before it was finished is read first.
            return Ok(if part.is_closed(&self.path)? { Step::More } else { Step::End });
        }
        let Some(next) = Part::open(&self.path, part.number + 1)?.filter(|next| next.number > part.number) else {
            return Ok(Step::End);
        };
        self.part = Some(next);
        self.offset = 0;
        Ok(Step::More)
    }

    /// Reads and joins one block.
    fn block(&mut self) -> io::Result<Step> {
        if !self.open()? {
            return Ok(Step::End);
        }
        let Some(part) = &mut self.part else { return Ok(Step::End) };
        let left = match self.end {
            Some((last, _)) if part.number > last => return Ok(Step::End),
            Some((last, size)) if part.number == last => {
                usize::try_from(size.saturating_sub(self.offset)).unwrap_or(BLOCK).min(BLOCK)
            }
            Some(_) | None => BLOCK,
        };
        let begin = self.carry.len();
        self.carry.resize(begin + left, 0);
        let read = part.file.read_at(&mut self.carry[begin..], self.offset)?;
        self.carry.truncate(begin + read);
        self.offset += read as u64;
        if read == 0 {
            return self.next_part();
        }
        let Some(end) = self.carry[begin..].iter().rposition(|byte| *byte == b'\n') else { return Ok(Step::More) };
        let rest = self.carry.split_off(begin + end + 1);
        let lines = mem::replace(&mut self.carry, rest);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            // A damaged line says nothing that could be served.
            if let Some(line) = cri::parse(&line[..line.len() - 1]) {
                self.join.push(&line);
            }
        }
        Ok(Step::More)
    }
}

/// The part in which the last `lines` whole lines begin, and where in it. The last of these parts is read up to `end`.
fn tail_start(
    path: &Path,
    end: Option<(u64, u64)>,
    lines: u64,
    stderr: Option<bool>,
) -> io::Result<Option<(Part, u64)>> {
    let newest = match end {
        Some((number, _)) => Part::open(path, number)?,
        None => Part::current(path)?,
    };
    let Some(mut part) = newest else { return Ok(None) };
    let mut size = match end {
        Some((number, size)) if number == part.number => size,
        Some(_) | None => part.file.metadata()?.len(),
    };
    let mut tail = TailOf { lines, stderr, found: 0, followed: [false; 2] };
    loop {
        let (start, enough) = tail.walk(&part.file, size)?;
        if enough {
            return Ok(Some((part, start)));
        }
        match Part::before(path, part.number)? {
            None => return Ok(Some((part, start))),
            Some(before) => part = before,
        }
        size = part.file.metadata()?.len();
    }
}
/// Counts whole lines from the end of a log.
struct TailOf {
    lines: u64,
    stderr: Option<bool>,
    found: u64,
    /// A part is a line's last if it says so, or if nothing of its stream follows.
    followed: [bool; 2],
}

impl TailOf {
    /// Where the wanted lines begin in this file, and whether they all stand from there on.
    fn walk(&mut self, file: &File, end: u64) -> io::Result<(u64, bool)> {
        let mut walk = Backwards::new(file, end);
        let mut start = walk.skip_torn()?;
        while let Some((begin, line)) = walk.next()? {
            if let Some(line) = cri::parse(&line)
                && self.stderr.is_none_or(|wanted| wanted == line.stderr)
            {
                let last_of_stream = !mem::replace(&mut self.followed[usize::from(line.stderr)], true);
                if !line.partial || last_of_stream {
                    self.found += 1;
                }
                if self.found > self.lines {
                    return Ok((start, true));
                }
            }
            start = begin;
        }
        Ok((start, false))
    }
}

/// Joins parts into lines and dresses them as the client wants.
struct Join {
    since: Option<String>,
    timestamps: bool,
    stderr: Option<bool>,
    left: u64,
    /// By stream, the line that has begun and not ended.
    open: [Option<Open>; 2],
    out: Vec<u8>,
}

enum Open {
    /// Before the instant asked for.
    Unwanted,
    /// So far.
    Wanted(Vec<u8>),
}

impl Join {
    fn new(query: &LogQuery) -> Self {
        Self {
            since: query.since.map(cri::instant),
            timestamps: query.timestamps,
            stderr: query.stderr,
            left: query.limit_bytes.unwrap_or(u64::MAX),
            open: [None, None],
            out: Vec::new(),
        }
    }

    fn push(&mut self, part: &Stored<'_>) {
        if self.stderr.is_some_and(|wanted| wanted != part.stderr) {
            return;
        }
        let stream = usize::from(part.stderr);
        let open = self.open[stream].take().unwrap_or_else(|| self.begin(part));
        let Open::Wanted(mut text) = open else {
            self.open[stream] = part.partial.then_some(Open::Unwanted);
            return;
        };
        text.extend_from_slice(part.text);
        if !part.partial {
            text.push(b'\n');
            self.emit(&text);
            return;
        }
        if text.len() > JOINED {
            self.emit(&text);
            text.clear();
        }
        self.open[stream] = Some(Open::Wanted(text));
    }

    fn begin(&self, part: &Stored<'_>) -> Open {
        if self.since.as_ref().is_some_and(|since| part.at < since.as_bytes()) {
            return Open::Unwanted;
        }
        let mut text = Vec::with_capacity(part.at.len() + part.text.len() + 2);
        if self.timestamps {
            text.extend_from_slice(part.at);
            text.push(b' ');
        }
        Open::Wanted(text)
    }

    /// No more parts come: lines without an end go out as they are.
    fn end(&mut self) {
        for open in mem::take(&mut self.open).into_iter().flatten() {
            match open {
                Open::Wanted(text) => self.emit(&text),
                Open::Unwanted => {}
            }
        }
    }

    fn emit(&mut self, text: &[u8]) {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(text.len());
        self.out.extend_from_slice(&text[..length]);
        self.left -= length as u64;
    }

    /// The client has as many bytes as it wants.
    fn full(&self) -> bool {
        self.left == 0
    }

    fn take(&mut self) -> Bytes {
        mem::take(&mut self.out).into()
    }
}
