//! Owns serving a kept log as a client wants it: where to begin, which lines, joined, stamped, cut, followed.
//! Never writes and never decides whether a log exists.
//!
//! Parity: the kubelet's `kuberuntime/logs`. Differs: `tailLines` counts whole lines where the kubelet counts parts, and
//! a long line is joined per stream, so that the other stream's lines do not land in the middle of it.

use std::fs::File;
use std::io;
use std::mem;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;

use super::cri::{self, Backwards, Stored};
use super::{Growth, LogQuery, Tail};

/// Bytes read at a time; about as many go out at a time.
const BLOCK: usize = 64 << 10;
/// A line that is longer is handed on in pieces, rather than held in memory until it ends.
const JOINED: usize = 1 << 20;

/// One reading of one log.
pub(super) struct Reader {
    path: PathBuf,
    /// None until a followed log begins.
    file: Option<File>,
    begun: bool,
    offset: u64,
    /// Where a reader that does not follow stops: the size when it began.
    end: Option<u64>,
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
    pub(super) fn new(
        path: PathBuf,
        file: Option<File>,
        query: LogQuery,
        follow: Option<Arc<Tail>>,
    ) -> io::Result<Self> {
        let end = match (&file, &follow) {
            (Some(file), None) => Some(file.metadata()?.len()),
            _ => None,
        };
        let follow = follow.map(|tail| Follow { growth: tail.0.subscribe(), _tail: tail });
        let tail_lines = query.tail_lines;
        let join = Join::new(&query);
        Ok(Self { path, file, begun: false, offset: 0, end, tail_lines, carry: Vec::new(), join, follow })
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

    /// Reads and joins one block.
    fn block(&mut self) -> io::Result<Step> {
        if self.file.is_none() {
            match File::open(&self.path) {
                Ok(file) => self.file = Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Step::End),
                Err(error) => return Err(error),
            }
        }
        let Some(file) = &self.file else { return Ok(Step::End) };
        if !mem::replace(&mut self.begun, true)
            && let Some(lines) = self.tail_lines
        {
            let end = self.end.map_or_else(|| file.metadata().map(|meta| meta.len()), Ok)?;
            self.offset = tail_start(file, end, lines, self.join.stderr)?;
        }
        let left = self.end.map_or(BLOCK, |end| usize::try_from(end - self.offset).unwrap_or(BLOCK).min(BLOCK));
        let begin = self.carry.len();
        self.carry.resize(begin + left, 0);
        let read = file.read_at(&mut self.carry[begin..], self.offset)?;
        self.carry.truncate(begin + read);
        self.offset += read as u64;
        if read == 0 {
            return Ok(Step::End);
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

/// Where the last `lines` whole lines begin.
fn tail_start(file: &File, end: u64, lines: u64, stderr: Option<bool>) -> io::Result<u64> {
    let mut walk = Backwards::new(file, end);
    let mut start = walk.skip_torn()?;
    let mut found = 0;
    // A part is a line's last if it says so, or if nothing of its stream follows.
    let mut followed = [false; 2];
    while let Some((begin, line)) = walk.next()? {
        if let Some(line) = cri::parse(&line)
            && stderr.is_none_or(|wanted| wanted == line.stderr)
        {
            let last_of_stream = !mem::replace(&mut followed[usize::from(line.stderr)], true);
            if !line.partial || last_of_stream {
                found += 1;
            }
            if found > lines {
                break;
            }
        }
        start = begin;
    }
    Ok(start)
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
