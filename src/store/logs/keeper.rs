//! Owns how much of the logs stays: compresses finished parts, and drops the oldest where a limit is passed. Never writes
//! or reads a log's lines.
//!
//! It is one thread that lives as long as there is work. What it did not come to when the process ends is found by the
//! next writer, or by the next look at everything.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::parts::{self, PACKED, Parts};

/// Parts that may wait for compression. A flood makes them faster than they can be compressed; the others stay as
/// they are until they are dropped.
const BACKLOG: usize = 8;
/// A look at everything is due when so many bytes were written, as a part of the limit.
const LOOK_SHARE: u64 = 64;

/// How much of the logs is kept, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size at which a log goes on in a new part.
    pub part: u64,
    /// Of one pod. Compressed parts count as what they take.
    pub pod: u64,
    /// Of all pods; logs of containers that have ended go first.
    pub total: u64,
}

impl Default for Limits {
    /// Parity: parts as the kubelet's `containerLogMaxSize`. Differs: the kubelet keeps five parts of each container.
    fn default() -> Self {
        Self { part: 10 << 20, pod: 1 << 30, total: 10 << 30 }
    }
}

/// The keeper of one directory of logs.
pub(super) struct Keeper {
    dir: PathBuf,
    limits: Mutex<Limits>,
    /// Bytes written since everything was last looked at.
    written: AtomicU64,
    work: Mutex<Work>,
}

#[derive(Default)]
struct Work {
    queue: VecDeque<Task>,
    /// A thread is at it.
    running: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Task {
    /// A part is finished.
    Part(PathBuf),
    /// A log has grown by a part: its pod may have too much.
    Pod(PathBuf),
    /// All pods together may have too much.
    Everything,
}

impl Keeper {
    pub(super) fn new(dir: PathBuf) -> Arc<Self> {
        Arc::new(Self { dir, limits: Mutex::default(), written: AtomicU64::new(0), work: Mutex::default() })
    }

    pub(super) fn limits(&self) -> Limits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps to other limits from now on, and looks whether they are kept.
    pub(super) fn limit(self: &Arc<Self>, limits: Limits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
        self.add(Task::Everything);
    }

    /// Some bytes were written.
    pub(super) fn wrote(self: &Arc<Self>, bytes: u64) {
        let due = (self.limits().total / LOOK_SHARE).max(1);
        if self.written.fetch_add(bytes, Ordering::Relaxed) + bytes >= due {
            self.written.store(0, Ordering::Relaxed);
            self.add(Task::Everything);
        }
    }

    /// A part is finished.
    pub(super) fn finished(self: &Arc<Self>, part: PathBuf) {
        // <pod>/<container>/<attempt>.log.<number>
        let pod = part.ancestors().nth(2).map(Path::to_path_buf);
        if self.work().queue.len() < BACKLOG {
            self.add(Task::Part(part));
        }
        if let Some(pod) = pod {
            self.add(Task::Pod(pod));
        }
    }

    fn add(self: &Arc<Self>, task: Task) {
        let mut work = self.work();
        if work.queue.contains(&task) {
            return;
        }
        work.queue.push_back(task);
        if !std::mem::replace(&mut work.running, true) {
            let this = Arc::clone(self);
            let begun = std::thread::Builder::new().name("log keeper".to_owned()).spawn(move || this.run());
            // Without a thread the work stays queued for the next that can be begun.
            work.running = begun.is_ok();
        }
    }

    fn run(&self) {
        while let Some(task) = self.next() {
            let outcome = match &task {
                Task::Part(part) => pack(part),
                Task::Pod(pod) => self.trim_pod(pod),
                Task::Everything => self.trim_all(),
            };
            match outcome {
                Ok(()) => {}
                // The pod was deleted meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, ?task, "kept logs could not be tidied"),
            }
        }
    }

    fn next(&self) -> Option<Task> {
        let mut work = self.work();
        let next = work.queue.pop_front();
        work.running = next.is_some();
        next
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trim_pod(&self, pod: &Path) -> io::Result<()> {
        let mut logs = Vec::new();
        of_pod(pod, &mut logs)?;
        trim(logs, self.limits().pod)
    }

    fn trim_all(&self) -> io::Result<()> {
        let mut logs = Vec::new();
        for pod in entries(&self.dir)? {
            // One that is being removed is none of ours any more.
            let _gone = of_pod(&pod, &mut logs);
        }
        trim(logs, self.limits().total)
    }
}

/// Compresses a finished part.
fn pack(part: &Path) -> io::Result<()> {
    let mut source = File::open(part)?;
    let dir = part.parent().unwrap_or(part);
    let mut packed = GzEncoder::new(tempfile::NamedTempFile::new_in(dir)?, Compression::fast());
    io::copy(&mut source, &mut packed)?;
    let packed = packed.finish()?;
    let times = fs::FileTimes::new().set_modified(source.metadata()?.modified()?);
    packed.as_file().set_times(times)?;
    let mut name = part.as_os_str().to_owned();
    name.push(PACKED);
    packed.persist(name).map_err(|error| error.error)?;
    fs::remove_file(part)
}

/// One log with its sizes.
struct Kept {
    /// Where it is written.
    path: PathBuf,
    /// Finished parts: number, file, size, time of the last line.
    parts: VecDeque<(u64, PathBuf, u64, SystemTime)>,
    /// Size of the part that is written to.
    open: u64,
    /// When the container ended, if it has and something is left of its log.
    ended: Option<SystemTime>,
}

impl Kept {
    fn of(path: PathBuf) -> io::Result<Self> {
        let mut parts = VecDeque::new();
        for (number, file) in Parts::of(&path)?.rotated {
            let meta = fs::metadata(&file)?;
            parts.push_back((number, file, meta.len(), meta.modified()?));
        }
        let open = fs::metadata(&path)?.len();
        let done = fs::metadata(path.with_extension("done")).and_then(|meta| meta.modified());
        Ok(Self { path, parts, open, ended: done.ok() })
    }

    fn size(&self) -> u64 {
        self.open + self.parts.iter().map(|(_, _, size, _)| size).sum::<u64>()
    }

    /// Drops the oldest part; of a log that is finished the last one, too. Answers how much that gave.
    fn drop_oldest(&mut self) -> io::Result<u64> {
        if let Some((number, file, size, _)) = self.parts.pop_front() {
            parts::note_dropped(&self.path, number)?;
            fs::remove_file(file)?;
            return Ok(size);
        }
        let number = Parts::of(&self.path)?.current();
        parts::note_dropped(&self.path, number)?;
        File::create(&self.path)?;
        Ok(std::mem::take(&mut self.open))
    }

    /// What could be dropped of it, and in which order: finished logs first, then parts of others; the oldest first.
    fn rank(&self) -> Option<(bool, SystemTime)> {
        match (self.ended, self.parts.front()) {
            (Some(ended), _) if self.size() > 0 => Some((false, ended)),
            (None, Some((.., written))) => Some((true, *written)),
            (Some(_) | None, _) => None,
        }
    }
}

/// Drops what is oldest until what is left fits.
fn trim(mut logs: Vec<Kept>, limit: u64) -> io::Result<()> {
    let mut size: u64 = logs.iter().map(Kept::size).sum();
    while size > limit {
        let ranked = logs.iter_mut().filter_map(|log| log.rank().map(|rank| (rank, log)));
        let Some((_, oldest)) = ranked.min_by_key(|(rank, _)| *rank) else { break };
        size -= oldest.drop_oldest()?.min(size);
    }
    Ok(())
}

/// The logs of one pod: `<container>/<attempt>.log`.
fn of_pod(pod: &Path, logs: &mut Vec<Kept>) -> io::Result<()> {
    for container in entries(pod)? {
        for file in entries(&container)? {
            if file.extension().is_some_and(|extension| extension == "log") {
                logs.push(Kept::of(file)?);
            }
        }
    }
    Ok(())
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
