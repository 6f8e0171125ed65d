//! Owns the copying of container output into the store's logs: one task per running container, each line exactly once.
//! Never serves a log: the API reads the store.
//!
//! ```text
//!  last kept line --since--> stream --skip what is kept--> append ... --stream ends--> container ended? --> finish
//!        ^                                         |                                       | no
//!        +--------- broken stream, engine restart -+---------------------------------------+
//! ```

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::runtime::{self, LogChunk, Runtime, Seen};
use crate::store::Logs;
use crate::store::logs::{Gap, Line, LogKey, LogQuery, Writer};

/// Lines that are written with one call: a flood of output costs few writes, a single line is not held back.
const BATCH: usize = 256;
/// Pause before a broken stream is opened again.
const RETRY: Duration = Duration::from_millis(500);
/// Pause before a stream that ended while its container runs is opened again.
const REOPEN: Duration = Duration::from_millis(100);

/// Why copying stopped for now.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The engine's side: open the stream again.
    #[error(transparent)]
    Engine(#[from] runtime::Error),
    /// Our side (disk full): try again, from what is kept.
    #[error("the log cannot be written")]
    Disk(#[from] std::io::Error),
}

/// Copies until the container's output is complete; false where `stop` came first. What the engine has no more when it
/// is asked for is told to `lost`.
pub async fn follow(
    engine: Arc<dyn Runtime>,
    logs: Logs,
    key: LogKey,
    name: String,
    stop: CancellationToken,
    lost: impl Fn(&Gap),
) -> bool {
    loop {
        let pause = tokio::select! {
            () = stop.cancelled() => return false,
            outcome = copy(engine.as_ref(), &logs, &key, &name, &lost) => match outcome {
                Ok(true) => return true,
                Ok(false) => REOPEN,
                // The engine's restart, or its end of a stream too early: the copy goes on where it was.
                Err(error @ Error::Engine(_)) => {
                    tracing::debug!(container = %name, error = &error as &dyn std::error::Error, "copying a log goes on later");
                    RETRY
                }
                Err(error @ Error::Disk(_)) => {
                    tracing::warn!(container = %name, error = &error as &dyn std::error::Error, "a log cannot be kept for now");
                    RETRY
                }
            },
        };
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One stream from where the log left off; true once the log is complete and marked so.
async fn copy(
    engine: &dyn Runtime,
    logs: &Logs,
    key: &LogKey,
    name: &str,
    lost: &impl Fn(&Gap),
) -> Result<bool, Error> {
    let mut writer = logs.writer(key)?;
    let mut kept = Kept([writer.last(false), writer.last(true)]);
    match engine.logs(name, kept.since(), true).await {
        Ok(stream) => {
            let mut batches = stream.ready_chunks(BATCH);
            let mut first = true;
            while let Some(batch) = batches.next().await {
                if let Some(gap) = kept.gap(&batch).filter(|_| std::mem::take(&mut first)) {
                    writer.lose(&gap)?;
                    lost(&gap);
                }
                append(&mut writer, &mut kept, batch)?;
            }
            if runs(engine, name).await? {
                return Ok(false);
            }
        }
        // Gone, or past reading: what is kept is all there will ever be.
        Err(runtime::Error::NoContainer(_) | runtime::Error::Refused(_)) => {}
        Err(error) => return Err(error.into()),
    }
    tokio::task::spawn_blocking(move || writer.finish()).await.map_err(std::io::Error::other)??;
    Ok(true)
}

async fn runs(engine: &dyn Runtime, name: &str) -> Result<bool, Error> {
    Ok(engine.inspect(name).await?.is_some_and(|seen| matches!(seen.state, Seen::Running { .. })))
}

/// Appends what is new of a batch; an error in the stream counts after the lines before it.
fn append(writer: &mut Writer, kept: &mut Kept, batch: Vec<Result<LogChunk, runtime::Error>>) -> Result<(), Error> {
    let mut lines = Vec::with_capacity(batch.len());
    let mut failure = None;
    for chunk in batch {
        match chunk {
            Ok(chunk) if kept.has(chunk.stderr, chunk.at) => {}
            Ok(LogChunk { at, stderr, line, partial }) => lines.push(Line { at, stderr, partial, text: line }),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    if !lines.is_empty() {
        writer.append_all(&lines)?;
    }
    failure.map_or(Ok(()), |error| Err(error.into()))
}

/// What an earlier reading has already given of standard output and of standard error: everything before the last
/// instant, and so many lines at it.
struct Kept([Option<(Timestamp, u64)>; 2]);

impl Kept {
    /// The first instant of which something may be missing.
    fn since(&self) -> Option<Timestamp> {
        self.0.iter().flatten().map(|(at, _)| *at).min()
    }

    /// What is missing before the first lines of a reading: an engine that still had all of it would begin with what is
    /// kept.
    fn gap(&self, batch: &[Result<LogChunk, runtime::Error>]) -> Option<Gap> {
        let Some(Ok(first)) = batch.first() else { return None };
        let known = self.0[usize::from(first.stderr)].is_some_and(|(until, _)| first.at <= until);
        self.since().filter(|_| !known).map(|from| Gap { from, to: first.at })
    }

    /// Whether the next line of this stream is one that was kept.
    fn has(&mut self, stderr: bool, at: Timestamp) -> bool {
        let last = &mut self.0[usize::from(stderr)];
        match last {
            Some((until, _)) if at < *until => true,
            Some((until, count)) if at == *until && *count > 0 => {
                *count -= 1;
                true
            }
            Some(_) | None => {
                *last = None;
                false
            }
        }
    }
}

/// The end of a finished log, at most `bytes` of at most `lines`; none where it cannot be read.
pub async fn tail(logs: &Logs, key: &LogKey, lines: u64, bytes: usize) -> Option<String> {
    let query = LogQuery { tail_lines: Some(lines), ..LogQuery::default() };
    let mut stream = logs.read(key, query).ok()??;
    let mut end: Vec<u8> = Vec::new();
    while let Some(Ok(part)) = stream.next().await {
        end.extend_from_slice(&part);
        if end.len() > bytes {
            end.drain(..end.len() - bytes);
        }
    }
    Some(String::from_utf8_lossy(&end).into_owned())
}
