//! Owns the container logs that jobdock keeps: one file per container attempt, in the kubelet's (CRI) line format
//! `2026-01-02T03:04:05.000000006Z stdout F text`, under `pods/<pod uid>/<container>/<attempt>.log` of the data directory.
//! Never talks to an engine: the node agent writes what it reads there, the API serves what is kept here.
//!
//! ```text
//!  writer() --> N.log grows, a write per line --> finish(): synced, N.done beside it --> remove(): both gone
//!     ^            |  kill -9: the torn last line is cut by the next writer
//!     +------------+
//! ```
//!
//! `N.lost` beside a log tells what the engine had dropped before it could be kept.
//!
//! `N.log` is always the part that is written to; older parts stand beside it as `N.log.<number>[.gz]` (see `parts`).
//! Followers read the file as it grows; the writer only wakes them.

mod cri;
mod keeper;
mod parts;
mod read;

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use self::cri::Backwards;
use self::keeper::Keeper;
pub use self::keeper::Limits;
use self::parts::{Part, Parts};
use self::read::Reader;
use super::DIRECTORY_MODE;

/// Names one log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogKey {
    /// The pod's uid.
    pub pod_uid: String,
    /// The container's name.
    pub container: String,
    /// The container's restart count.
    pub attempt: u32,
}

/// One whole or partial line, as the engine gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// From standard error.
    pub stderr: bool,
    /// Goes on in the next line of the same stream.
    pub partial: bool,
    /// Without the line's end.
    pub text: Bytes,
}

/// Output between two instants that nobody could keep: the engine had dropped it before it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last line that was kept before it.
    pub from: Timestamp,
    /// The first line after it.
    pub to: Timestamp,
}

/// What a reader wants; the fields of upstream's `PodLogOptions`.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    /// Waits for more until the log is finished or removed.
    pub follow: bool,
    /// Only lines at or after this instant; a line's instant is that of its first part.
    pub since: Option<Timestamp>,
    /// Only the last so many whole lines (of the chosen stream); with `follow`, those and what comes after.
    pub tail_lines: Option<u64>,
    /// At most so many bytes; the last line may be cut.
    pub limit_bytes: Option<u64>,
    /// Each line begins with its RFC 3339 time.
    pub timestamps: bool,
    /// Only this stream: standard error (true) or standard output (false).
    pub stderr: Option<bool>,
}

/// The directory of logs; clones share it.
#[derive(Clone)]
pub struct Logs(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    keeper: Arc<Keeper>,
    /// The logs that somebody writes or follows.
    live: Mutex<HashMap<LogKey, Weak<Tail>>>,
}

/// What the followers of one log wait for.
struct Tail(watch::Sender<Growth>);

/// Every write makes it anew, which is what wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    /// More may come.
    Open,
    /// Complete.
    Finished,
    /// Gone.
    Removed,
}

impl Logs {
    /// Logs under `dir`, which need not exist yet.
    pub(super) fn new(dir: PathBuf) -> Self {
        let keeper = Keeper::new(dir.clone());
        Self(Arc::new(Inner { dir, keeper, live: Mutex::default() }))
    }

    /// How much is kept from now on; what is beyond it goes soon.
    pub fn limit(&self, limits: Limits) {
        self.0.keeper.limit(limits);
    }

    /// Whether the beginning of a log was dropped, because a limit was passed.
    pub fn is_cut(&self, key: &LogKey) -> io::Result<bool> {
        Ok(Parts::of(&self.path(key, "log")?)?.dropped > 0)
    }

    /// What was lost of a log before it could be kept, oldest first.
    pub fn gaps(&self, key: &LogKey) -> io::Result<Vec<Gap>> {
        let text = match fs::read_to_string(self.path(key, "lost")?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let gap = |line: &str| {
            let (from, to) = line.split_once(' ')?;
            Some(Gap { from: from.parse().ok()?, to: to.parse().ok()? })
        };
        Ok(text.lines().filter_map(gap).collect())
    }

    /// Opens a log for appending; `Writer::last` tells where it left off, for a writer that resumes after a crash.
    /// The caller sees to it that a log has one writer at a time.
    pub fn writer(&self, key: &LogKey) -> io::Result<Writer> {
        let path = self.path(key, "log")?;
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(parent)?;
        }
        let file = append_to(&path)?;
        let whole = Backwards::new(&file, file.metadata()?.len()).skip_torn()?;
        if file.metadata()?.len() > whole {
            file.set_len(whole)?;
        }
        let parts = Parts::of(&path)?;
        for part in parts.rotated.values().filter(|part| !part.to_string_lossy().ends_with(parts::PACKED)) {
            self.0.keeper.finished(part.clone());
        }
        let last = resume(&path)?;
        let tail = self.tail(key);
        tail.0.send_modify(|_| {});
        let (done, keeper) = (self.path(key, "done")?, Arc::clone(&self.0.keeper));
        Ok(Writer { file, path, part: parts.current(), size: whole, keeper, done, last, tail, line: Vec::new() })
    }

    /// The output as a client sees it, partial lines joined. None where nothing was ever kept under that key and it is
    /// not being followed; a follower waits for the log to begin. Needs a tokio runtime to be polled.
    pub fn read(&self, key: &LogKey, query: LogQuery) -> io::Result<Option<BoxStream<'static, io::Result<Bytes>>>> {
        let path = self.path(key, "log")?;
        let follow = query.follow.then(|| self.tail(key));
        let kept = path.exists();
        if !kept && follow.is_none() {
            return Ok(None);
        }
        Reader::new(path, query, follow).map(|reader| Some(reader.stream()))
    }

    /// Whether `Writer::finish` was called for this log, in this or an earlier life of the daemon.
    pub fn finished(&self, key: &LogKey) -> bool {
        self.path(key, "done").is_ok_and(|path| path.exists())
    }

    /// Forgets every log of a pod; ends its followers.
    pub fn remove(&self, pod_uid: &str) -> io::Result<()> {
        let dir = self.0.dir.join(part(pod_uid)?);
        match fs::remove_dir_all(dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.live().retain(|key, tail| {
            if key.pod_uid != pod_uid {
                return true;
            }
            if let Some(tail) = tail.upgrade() {
                tail.0.send_replace(Growth::Removed);
            }
            false
        });
        Ok(())
    }

    /// The uids of the pods that have logs: for whoever removes those of pods that are gone.
    pub fn pods(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.0.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().into_string()));
        // A name that is not text is none of ours.
        Ok(names.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn path(&self, key: &LogKey, extension: &str) -> io::Result<PathBuf> {
        let file = format!("{}.{extension}", key.attempt);
        Ok(self.0.dir.join(part(&key.pod_uid)?).join(part(&key.container)?).join(file))
    }

    fn tail(&self, key: &LogKey) -> Arc<Tail> {
        let mut live = self.live();
        if let Some(tail) = live.get(key).and_then(Weak::upgrade) {
            return tail;
        }
        live.retain(|_, tail| tail.strong_count() > 0);
        let growth = if self.finished(key) { Growth::Finished } else { Growth::Open };
        let tail = Arc::new(Tail(watch::Sender::new(growth)));
        live.insert(key.clone(), Arc::downgrade(&tail));
        tail
    }

    fn live(&self) -> MutexGuard<'_, HashMap<LogKey, Weak<Tail>>> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name from an API object as one part of a path: validation lets no other through, but a path must not depend on it.
fn part(name: &str) -> io::Result<&str> {
    if name.is_empty() || name.starts_with('.') || name.contains("..") || name.contains(['/', '\0']) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} cannot name a log")));
    }
    Ok(name)
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).read(true).append(true).open(path)
}

/// Where each stream left off. Looks into earlier parts, too: the last one may be as good as empty.
fn resume(path: &Path) -> io::Result<Ends> {
    let mut ends = Resume::default();
    let mut part = Part::current(path)?;
    while let Some(present) = part {
        let mut lines = Backwards::new(&present.file, present.file.metadata()?.len());
        while let Some((_, line)) = lines.next()? {
            if !ends.goes_on(&line) {
                return Ok(ends.last);
            }
        }
        part = Part::before(path, present.number)?;
    }
    Ok(ends.last)
}

#[derive(Default)]
struct Resume {
    last: Ends,
    closed: [bool; 2],
    newest: Option<Timestamp>,
}

impl Resume {
    /// Takes in the line before; false where no earlier one can matter.
    fn goes_on(&mut self, line: &[u8]) -> bool {
        let parsed = cri::parse(line).and_then(|line| Some((line.instant()?, usize::from(line.stderr))));
        // A damaged line says nothing.
        let Some((at, stream)) = parsed else { return true };
        if at < *self.newest.get_or_insert(at) - LATE || self.closed == [true; 2] {
            return false;
        }
        match &mut self.last[stream] {
            None => self.last[stream] = Some((at, 1)),
            Some((instant, count)) if *instant == at => *count += 1,
            Some(_) => self.closed[stream] = true,
        }
        true
    }
}

/// By how much a line of one stream may be older than one of the other that was kept before it: an engine stamps a line
/// when it reads it, so only its own scheduling comes between.
const LATE: SignedDuration = SignedDuration::from_secs(10);

/// Size from which the last part of a finished log is compressed: smaller ones take a block or a few either way.
const WORTH_PACKING: u64 = 256 << 10;

/// Where standard output and standard error left off: the last instant, and how many lines have it.
type Ends = [Option<(Timestamp, u64)>; 2];

/// Appends to one log. Dropping it without `finish` leaves the log open for a later writer.
pub struct Writer {
    file: File,
    path: PathBuf,
    /// Number of the part that is written to.
    part: u64,
    /// Its size.
    size: u64,
    keeper: Arc<Keeper>,
    done: PathBuf,
    last: Ends,
    tail: Arc<Tail>,
    line: Vec<u8>,
}

impl Writer {
    /// The last instant kept of a stream (standard error: true), and how many of its lines were kept at that very
    /// instant: a resumed copy skips those and what is older. Each stream has its own, since an engine stamps them side
    /// by side and may give a line of one after a newer one of the other. None where the stream has kept nothing, or
    /// nothing as late as the other's end.
    pub fn last(&self, stderr: bool) -> Option<(Timestamp, u64)> {
        let newest = self.last.iter().flatten().map(|(at, _)| *at).max()?;
        self.last[usize::from(stderr)].filter(|(at, _)| *at >= newest - LATE)
    }

    /// Notes that output before the next line is lost.
    pub fn lose(&self, gap: &Gap) -> io::Result<()> {
        let mut file = append_to(&self.done.with_extension("lost"))?;
        file.write_all(format!("{} {}\n", gap.from, gap.to).as_bytes())
    }

    /// Appends and wakes followers.
    pub fn append(&mut self, line: &Line) -> io::Result<()> {
        self.append_all(std::slice::from_ref(line))
    }

    /// Appends several lines with one write, and wakes followers once.
    pub fn append_all(&mut self, lines: &[Line]) -> io::Result<()> {
        self.line.clear();
        for line in lines {
            cri::write(&mut self.line, line);
        }
        let bytes = self.line.len() as u64;
        if self.size > 0 && self.size + bytes > self.keeper.limits().part {
            self.rotate()?;
        }
        self.file.write_all(&self.line)?;
        self.size += bytes;
        self.keeper.wrote(bytes);
        for line in lines {
            let last = &mut self.last[usize::from(line.stderr)];
            *last = match *last {
                Some((at, count)) if at == line.at => Some((at, count + 1)),
                _ => Some((line.at, 1)),
            };
        }
        self.tail.0.send_modify(|_| {});
        Ok(())
    }

    /// Finishes the part that is written to and begins the next.
    fn rotate(&mut self) -> io::Result<()> {
        let finished = parts::rotated(&self.path, self.part);
        match fs::rename(&self.path, &finished) {
            Ok(()) => {}
            // The pod was deleted meanwhile, and its logs with it: what is still written goes nowhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        // Where this fails, the next writer makes it; what is written till then goes to the part's end.
        self.file = append_to(&self.path)?;
        self.part += 1;
        self.size = 0;
        self.keeper.finished(finished);
        Ok(())
    }

    /// Marks the log complete: synced to disk, followers end. The last part is compressed where that saves something.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        if self.size >= WORTH_PACKING {
            self.rotate()?;
        }
        match File::create(&self.done) {
            Ok(done) => done.sync_all()?,
            // The pod was deleted meanwhile, and its logs with it: there is nothing left to mark.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        if let Some(dir) = self.done.parent() {
            File::open(dir)?.sync_all()?;
        }
        self.tail.0.send_if_modified(|growth| {
            let open = *growth == Growth::Open;
            if open {
                *growth = Growth::Finished;
            }
            open
        });
        Ok(())
    }
}
