//! Owns what crosses the wall to the engine while somebody talks to a process in a container: commands run beside a
//! container's own (exec) and joins to the container's own streams (attach).
//! Never knows who talks: probes, hooks and API requests look the same from here.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Error, Runtime};

/// First pause between looks at a command whose output has ended and that still runs; it doubles up to the last.
const EXIT_PAUSE_FIRST: Duration = Duration::from_millis(5);
/// Longest such pause: a process may close its output and live on for hours.
const EXIT_PAUSE_LAST: Duration = Duration::from_secs(1);

/// A command to run in a running container. User, working directory and environment are the container's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExecSpec {
    /// The program and its arguments; no shell is put around them.
    pub command: Vec<String>,
    /// `NAME=value`, in addition to the container's.
    pub env: Vec<String>,
    /// Which streams are wanted.
    pub streams: Streams,
}

/// Which streams of a process are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// Its standard input is open.
    pub stdin: bool,
    /// Its standard output is told.
    pub stdout: bool,
    /// Its standard error is told; with a terminal it is part of standard output.
    pub stderr: bool,
    /// It has a terminal. For an attach: the container was made with one.
    pub tty: bool,
}

/// What a session can be told of later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionId {
    /// A command, by the engine's id for it.
    Exec(String),
    /// A container's own process, by the container's name.
    Attach(String),
}

/// A running conversation. Dropping it closes the connection: the process reads the end of its input, and what it
/// writes is lost; it is not ended by that.
pub struct Session {
    /// For [`Runtime::resize`] and [`Runtime::exec_exit`].
    pub id: SessionId,
    /// What the process writes; ends when it has closed its output. Read slowly, it makes the process wait.
    pub output: BoxStream<'static, Result<Output, Error>>,
    /// What the process reads; `shutdown` is the end of its input. Takes and loses everything where no input was
    /// asked for.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Bytes in both directions, however they travel.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection to a port.
pub type Pipe = Box<dyn Duplex>;

/// A piece of what a process writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// From standard error rather than standard output.
    pub stderr: bool,
    /// The bytes, never empty.
    pub bytes: Bytes,
}

/// How a command that was given a time went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ran {
    /// It ended.
    Exited {
        /// Exit code; 126 and 127 where it could not be started.
        code: i32,
        /// The head of its output, both streams as they came.
        output: Bytes,
    },
    /// It did not end in time, and was killed where the engine has a way.
    TimedOut {
        /// The head of its output so far.
        output: Bytes,
    },
}

/// Runs a command without input to its end, or to its limit. Of its output the first `keep` bytes are kept; all of it
/// is read, so that it never waits for us.
///
/// # Errors
/// Those of [`Runtime::exec`].
pub async fn run(
    runtime: &dyn Runtime,
    name: &str,
    command: &[String],
    limit: Duration,
    keep: usize,
) -> Result<Ran, Error> {
    let streams = Streams { stdout: true, stderr: true, ..Streams::default() };
    let spec = ExecSpec { command: command.to_vec(), streams, ..ExecSpec::default() };
    let deadline = tokio::time::Instant::now() + limit;
    let mut session = match tokio::time::timeout_at(deadline, runtime.exec(name, &spec)).await {
        Ok(session) => session?,
        Err(_) => return Ok(Ran::TimedOut { output: Bytes::new() }),
    };
    let mut kept = Vec::new();
    let ended = async {
        while let Some(piece) = session.output.next().await {
            let bytes = piece?.bytes;
            kept.extend_from_slice(&bytes[..bytes.len().min(keep.saturating_sub(kept.len()))]);
        }
        exit(runtime, &session.id).await
    };
    let outcome = tokio::time::timeout_at(deadline, ended).await;
    let output = Bytes::from(kept);
    match outcome {
        Ok(code) => Ok(Ran::Exited { code: code?, output }),
        Err(_) => {
            if !runtime.signal_exec(&session.id, "SIGKILL").await? {
                tracing::warn!(container = name, "a command that ran out of time runs on: this engine cannot end it");
            }
            Ok(Ran::TimedOut { output })
        }
    }
}

/// Waits for the end of a command whose output has ended: mostly it has, too. For an attach this is never to be asked.
///
/// # Errors
/// Those of [`Runtime::exec_exit`].
pub async fn exit(runtime: &dyn Runtime, id: &SessionId) -> Result<i32, Error> {
    let mut pause = EXIT_PAUSE_FIRST;
    loop {
        if let Some(code) = runtime.exec_exit(id).await? {
            return Ok(code);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(EXIT_PAUSE_LAST);
    }
}
