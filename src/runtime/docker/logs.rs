//! Owns the reading of a container's output: the requests, and bytes into chunks as they come.
//! Never keeps output: the store's log files do, filled from here while the container runs.
//!
//! A followed stream's end is not believed: the engine ends it too early at rotations (EDGES D18), and Docker 20.10
//! often before the last line of a container that has just ended. So an end is followed by a look at the container,
//! and by another request from the last line on. Nor is its silence:
//!
//! ```text
//! Following ──silence──► still runs? ──yes──► Following (the same request)
//!                            └──no──► Rest
//! Following ──end──► still runs? ──yes──► Following (from the last line)
//!                        └──no──► Rest (not followed, from the last line) ──end──► done
//! ```
//!
//! A writer that is faster than its reader would lose what the engine rotates away meanwhile. So it is held up, as by a
//! slow terminal: somebody is attached to its output who does not read. The engine hands a piece to all who are attached
//! before it takes the next, so that the container waits in its own write, until the reading has found the log's end.
//!
//! ```text
//! Following ──far behind──► held up ──nothing more to read──► Following
//! ```
//!
//! Podman's followed streams lose lines in a flood: its reader drops a line that is only half written when it meets it.
//! So there it is asked again and again for what there is, and the last line of each answer is held back until more
//! comes or the next answer has the same. It cuts its one file of a log to nothing when that is full, and nobody there
//! can be held up; what is lost is found out as after a restart, by the line that the next answer should begin with.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::Timestamp;

use super::containers::{check_name, look};
use super::wire::Ask;
use super::{Docker, sessions};
use crate::runtime::failure::Act;
use crate::runtime::frames::LogDecoder;
use crate::runtime::lag::{Lag, Repeats};
use crate::runtime::session::{Session, Streams};
use crate::runtime::{ContainerSeen, Error, LogChunk, Seen, convert, podman};

/// Time without a byte after which opening a log, or reading one that is not followed, has failed: the engine hangs (D3).
/// A followed log may be silent for as long as its container is.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// Time without a byte after which it is looked whether the container of a followed log still runs (D3, D18).
const DOUBT: Duration = Duration::from_secs(30);
/// First pause before a container that still runs is followed again; the engine closes a log some milliseconds before
/// it says that the container has ended.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
/// Longest pause.
const PAUSE_LAST: Duration = Duration::from_secs(1);
/// Time without a byte after which all that a held up container has written has been read.
const DRAINED: Duration = Duration::from_millis(50);
/// What a piece takes in the engine's log beside its own bytes.
const AROUND: usize = 80;
/// Whoever is attached in order to hold a container up.
const OUTPUT: Streams = Streams { stdin: false, stdout: true, stderr: true, tty: false };
/// Instants of which it is known how many chunks came. Only the last few are ever asked for: lines of the two streams
/// overtake one another by no more.
const INSTANTS_KEPT: usize = 1024;

/// Opens the stream. It ends with the log, or with the container where it is followed.
pub(super) async fn logs(
    docker: &Docker,
    name: &str,
    since: Option<Timestamp>,
    follow: bool,
) -> Result<BoxStream<'static, Result<LogChunk, Error>>, Error> {
    check_name(name)?;
    // By its id where it is asked for again and again: somebody may rename it meanwhile.
    let found = if docker.inner.version.is_podman() { look(docker, name).await? } else { None };
    let name = found.map_or_else(|| name.to_owned(), |seen| seen.id);
    let body = open(docker, &name, since, follow).await?;
    let reading = Reading {
        docker: docker.clone(),
        name,
        since,
        follow,
        body,
        decoder: LogDecoder::default(),
        ready: VecDeque::new(),
        held: None,
        given: Given::default(),
        skip: 0,
        pause: PAUSE_FIRST,
        repeats: Repeats::default(),
        lag: Lag::default(),
        brake: None,
    };
    let next = |mut reading: Reading| async move { Ok(reading.next().await?.map(|chunk| (chunk, reading))) };
    Ok(stream::try_unfold(reading, next).boxed())
}

async fn open(docker: &Docker, name: &str, since: Option<Timestamp>, follow: bool) -> Result<Option<Incoming>, Error> {
    let from = if docker.inner.version.is_podman() { podman::since } else { convert::since };
    let since = since.map(|at| format!("&since={}", from(at))).unwrap_or_default();
    let follow = follow && !docker.inner.version.is_podman();
    let path = format!("/containers/{name}/logs?stdout=true&stderr=true&timestamps=true&follow={follow}{since}");
    // Headers come at once, before the first line, of a followed log too.
    let reply = docker.wire().within(SILENCE_LIMIT, docker.wire().open(Ask::get(Act::Logs, name, path))).await?;
    Ok(reply.map(http::Response::into_body))
}

struct Reading {
    docker: Docker,
    name: String,
    /// From where on the current request reads.
    since: Option<Timestamp>,
    /// The current request follows; its end is not the end.
    follow: bool,
    /// Gone once it has ended.
    body: Option<Incoming>,
    decoder: LogDecoder,
    ready: VecDeque<LogChunk>,
    /// The last chunk of the request before, where it was not given.
    held: Option<LogChunk>,
    given: Given,
    /// Chunks at the head of the current request that were given before.
    skip: u64,
    pause: Duration,
    repeats: Repeats,
    lag: Lag,
    /// While it is there the container is held up.
    brake: Option<Session>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<LogChunk>, Error> {
        loop {
            while let Some(chunk) = self.ready.pop_front() {
                if self.skip > 0 {
                    self.goes_on_with(&chunk)?;
                    self.skip -= 1;
                } else if self.repeats.has(&chunk, Timestamp::now()) {
                } else if self.may_be_half(&chunk) {
                    self.hold_back(chunk);
                    break;
                } else {
                    self.given.add(chunk.at);
                    self.pause = PAUSE_FIRST;
                    return Ok(Some(chunk));
                }
            }
            if self.body.is_some() {
                self.read().await?;
            } else if !self.follow || !self.go_on().await? {
                return Ok(None);
            }
        }
    }

    /// A container that runs is asked again and again, and this is the last that there was.
    fn may_be_half(&self, chunk: &LogChunk) -> bool {
        let asked_again = self.follow && self.docker.inner.version.is_podman();
        asked_again && self.ready.is_empty() && (self.body.is_some() || self.held.as_ref() != Some(chunk))
    }

    /// What was given before is repeated first by a log that still has it. An engine that has not is read anew by
    /// whoever keeps the output, and finds out what is lost.
    fn goes_on_with(&self, chunk: &LogChunk) -> Result<(), Error> {
        if self.given.counts.contains_key(&chunk.at) {
            return Ok(());
        }
        Err(Error::Engine(format!("the log of {} begins later than it was read before", self.name)))
    }

    fn hold_back(&mut self, chunk: LogChunk) {
        if self.body.is_some() {
            self.ready.push_front(chunk);
        } else {
            self.held = Some(chunk);
        }
    }

    /// Reads a piece of the current request.
    async fn read(&mut self) -> Result<(), Error> {
        let Some(body) = &mut self.body else { return Ok(()) };
        let wire = self.docker.wire();
        let frame = if self.follow {
            let patience = if self.brake.is_some() { DRAINED } else { DOUBT };
            match tokio::time::timeout(patience, body.frame()).await {
                Ok(frame) => frame,
                Err(_) if self.brake.take().is_some() => return Ok(()),
                Err(_) => return self.doubt().await,
            }
        } else {
            wire.within(SILENCE_LIMIT, async { Ok(body.frame().await) }).await?
        };
        let chunks = match frame {
            Some(Ok(frame)) => frame.into_data().map_or(Ok(Vec::new()), |bytes| self.decoder.push(&bytes)),
            Some(Err(error)) => return Err(wire.unreachable(error)),
            None => {
                self.body = None;
                self.decoder.finish()
            }
        };
        let chunks = chunks.map_err(|error| Error::Engine(error.to_string()))?;
        self.hold_up(&chunks).await;
        self.ready.extend(chunks);
        Ok(())
    }

    /// Holds the container up where it is too far ahead.
    async fn hold_up(&mut self, chunks: &[LogChunk]) {
        let Some(last) = chunks.last() else { return };
        let bytes = chunks.iter().map(|chunk| chunk.line.len() + AROUND).sum();
        let far = self.lag.is_far(last.at, bytes, Timestamp::now());
        // Podman is asked again and again, so that all of its lines are late.
        if far && self.follow && self.brake.is_none() && !self.docker.inner.version.is_podman() {
            // One that cannot be attached to has ended, and one that cannot be held up runs on.
            self.brake = sessions::attach(&self.docker, &self.name, OUTPUT).await.ok();
        }
    }

    /// A followed request has long been silent: so is its container, or the engine has forgotten it, or the connection
    /// is dead. The request is kept while the container runs, for a new one makes the engine read the log from its
    /// beginning.
    async fn doubt(&mut self) -> Result<(), Error> {
        let seen = look(&self.docker, &self.name).await?;
        if !matches!(seen, Some(ContainerSeen { state: Seen::Running { .. }, .. })) {
            self.body = None;
        }
        Ok(())
    }

    /// A followed request has ended: makes the next one. False where the container is gone, and all with it.
    async fn go_on(&mut self) -> Result<bool, Error> {
        self.follow = match look(&self.docker, &self.name).await? {
            None => return Ok(false),
            Some(ContainerSeen { state: Seen::Running { .. }, .. }) => true,
            Some(ContainerSeen { state: Seen::Created { .. } | Seen::Exited { .. } | Seen::Dead, .. }) => false,
        };
        if self.follow {
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(PAUSE_LAST);
        }
        if let Some((last, count)) = self.given.last() {
            self.since = Some(last);
            self.skip = count;
        }
        self.decoder = LogDecoder::default();
        match open(&self.docker, &self.name, self.since, self.follow).await {
            Ok(body) => self.body = body,
            Err(Error::NoContainer(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }
}

/// How many chunks were given of each of the last instants. The pieces of one line share an instant, and a line that
/// began earlier may come after a later one of the other stream.
#[derive(Default)]
struct Given {
    last: Option<Timestamp>,
    counts: BTreeMap<Timestamp, u64>,
}

impl Given {
    fn add(&mut self, at: Timestamp) {
        self.last = Some(at);
        *self.counts.entry(at).or_default() += 1;
        if self.counts.len() > INSTANTS_KEPT {
            self.counts.pop_first();
        }
    }

    /// The last chunk's instant, and how many of the chunks given lie at or after it: a request from there on repeats
    /// as many.
    fn last(&self) -> Option<(Timestamp, u64)> {
        let last = self.last?;
        Some((last, self.counts.range(last..).map(|(_, count)| count).sum()))
    }
}
