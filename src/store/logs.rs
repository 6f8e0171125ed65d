//! Owns the container logs that jobdock keeps: one file per container attempt, in the kubelet's (CRI) line format
//! `2026-01-02T03:04:05.000000006Z stdout F text`, under `pods/<pod uid>/<container>/<attempt>.log` of the data directory.
//! Never talks to an engine: the node agent writes what it reads there, the API serves what is kept here.

use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;

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

/// What a reader wants; the fields of upstream's `PodLogOptions`.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    /// Waits for more until the log is finished or removed.
    pub follow: bool,
    /// Only lines at or after this instant.
    pub since: Option<Timestamp>,
    /// Only the last so many lines.
    pub tail_lines: Option<u64>,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
    /// Each line begins with its RFC 3339 time.
    pub timestamps: bool,
    /// Only this stream: standard error (true) or standard output (false).
    pub stderr: Option<bool>,
}

/// The directory of logs; clones share it.
#[derive(Clone)]
pub struct Logs(());

impl Logs {
    pub(super) fn new(_dir: std::path::PathBuf) -> Self {
        Self(())
    }

    /// Opens a log for appending; `Writer::last` tells where it left off, for a writer that resumes after a crash.
    pub fn writer(&self, _key: &LogKey) -> std::io::Result<Writer> {
        unimplemented!()
    }

    /// The output as a client sees it. None where nothing was ever kept under that key and it is not being followed.
    pub fn read(
        &self,
        _key: &LogKey,
        _query: LogQuery,
    ) -> std::io::Result<Option<BoxStream<'static, std::io::Result<Bytes>>>> {
        unimplemented!()
    }

    /// Whether `Writer::finish` was called for this log.
    pub fn finished(&self, _key: &LogKey) -> bool {
        unimplemented!()
    }

    /// Forgets every log of a pod; ends its followers.
    pub fn remove(&self, _pod_uid: &str) -> std::io::Result<()> {
        unimplemented!()
    }
}

/// Appends to one log. Dropping it without `finish` leaves the log open for a later writer.
pub struct Writer(());

impl Writer {
    /// The last instant kept, and how many lines were kept at that very instant: a resumed copy skips those.
    pub fn last(&self) -> Option<(Timestamp, u64)> {
        unimplemented!()
    }

    /// Appends and wakes followers.
    pub fn append(&mut self, _line: &Line) -> std::io::Result<()> {
        unimplemented!()
    }

    /// Marks the log complete: synced to disk, followers end.
    pub fn finish(self) -> std::io::Result<()> {
        unimplemented!()
    }
}
