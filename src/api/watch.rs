//! Owns `watch`: the stream of events about the objects that a call selects. Never buffers for a slow reader: it reads the
//! store's change log at its own pace, and is told that it is too old when that has moved on.
//!
//! ```text
//!  no revision, or 0:     ADDED of everything, then changes
//!  a revision:            changes after it
//!  sendInitialEvents:     ADDED of everything, BOOKMARK with k8s.io/initial-events-end, then changes
//!  changes, by selector:  out->in ADDED, in->in MODIFIED, in->out DELETED, removed DELETED (last state, new revision)
//!  ends:                  timeoutSeconds, shutdown, ERROR 410 when the log no longer reaches back
//! ```

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{FutureExt, stream};
use http::{StatusCode, header};
use rand::Rng;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::ApiState;
use super::call::{Call, Filter};
use super::encode::Encoder;
use super::error::Problem;
use super::pager::Pager;
use super::query::ListOptions;
use super::read;
use crate::model::kind::Kind;
use crate::model::object::Object;
use crate::store::{self, Change, Watch};

/// How often a quiet watch that wants bookmarks gets one. Parity: about once a minute.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A watch without a limit of its own ends after this and up to as much again. Parity: `--min-request-timeout`, 1800 s.
const DEFAULT_SECONDS: u64 = 1800;
/// A watch may ask for more, and gets this: a year. Clocks cannot add what fits a number of seconds.
const LONGEST_SECONDS: u64 = 365 * 24 * 3600;

/// `watch`. The permit is kept for as long as the stream lives, and no longer than it may.
pub async fn watch(state: &ApiState, call: &Call, permit: OwnedSemaphorePermit) -> Result<Response, Problem> {
    let encoder = call.watch_encoder()?;
    let options = call.list_options()?;
    let filter = call.filter()?;
    let timeout =
        options.timeout_seconds.unwrap_or_else(|| DEFAULT_SECONDS + rand::rng().random_range(0..DEFAULT_SECONDS));
    let ends_at = Instant::now() + Duration::from_secs(timeout.min(LONGEST_SECONDS));
    let mut watcher = Watcher {
        kind: call.kind(),
        namespace: call.target.namespace.clone(),
        filter: filter.clone(),
        encoder,
        phase: Phase::Over,
        ready: VecDeque::new(),
        headers_sent: false,
        bookmarks: options.bookmarks.then(bookmark_timer),
        ends_at,
        stop: state.stop.clone(),
        _place: hold(permit, ends_at),
    };
    watcher.phase = begin(state, call, &options, filter, &mut watcher).await?;
    let body = Body::from_stream(stream::unfold(watcher, |mut watcher| async move {
        let frame = watcher.next().await?;
        Some((Ok::<_, Infallible>(frame), watcher))
    }));
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Keeps a stream's place until the guard is dropped, or the time is over: a watch whose client reads no more is not asked
/// for its next event, and would never notice.
fn hold(permit: OwnedSemaphorePermit, until: Instant) -> DropGuard {
    let done = CancellationToken::new();
    let over = done.clone();
    tokio::spawn(async move {
        let _either = tokio::time::timeout_at(until, over.cancelled()).await;
        drop(permit);
    });
    done.drop_guard()
}

fn bookmark_timer() -> Interval {
    let mut timer = tokio::time::interval_at(Instant::now() + BOOKMARK_EVERY, BOOKMARK_EVERY);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}

/// What a watcher is doing.
enum Phase {
    /// Sending what is there.
    Initial {
        pager: Box<Pager>,
        /// Ends with the bookmark that marks the end of the initial events.
        marked: bool,
    },
    /// Sending what changes, after this revision.
    Live { watch: Box<Watch>, after: u64 },
    /// Nothing more will be sent.
    Over,
}

async fn begin(
    state: &ApiState,
    call: &Call,
    options: &ListOptions,
    filter: Filter,
    watcher: &mut Watcher,
) -> Result<Phase, Problem> {
    let marked = options.initial == Some(true);
    if marked {
        read::check_not_newer(&state.store, options.revision)?;
    }
    // Parity: with `sendInitialEvents=false` and no revision, only what happens from now on is sent.
    let from_now = options.initial == Some(false) && options.revision.unwrap_or(0) == 0;
    match options.revision {
        Some(revision) if revision > 0 && !marked => live(state, call.kind(), revision, watcher),
        _ if from_now => live(state, call.kind(), state.store.revision(), watcher),
        Some(_) | None => {
            // The first page is read here, so that an error still becomes a status.
            let mut pager = Pager::new(&state.store, call, filter, None);
            let page = pager.next(None).await?;
            watcher.added(&page);
            Ok(Phase::Initial { pager: Box::new(pager), marked })
        }
    }
}

fn live(state: &ApiState, kind: &'static Kind, after: u64, watcher: &mut Watcher) -> Result<Phase, Problem> {
    // A revision that has not happened yet is waited for, as upstream does.
    let from = after.min(state.store.revision());
    match state.store.watch(&[kind.storage()], from) {
        Ok(watch) => Ok(Phase::Live { watch: Box::new(watch), after }),
        // Parity: once the request is understood, a watch fails with an event, not with a status.
        Err(error @ store::Error::Compacted(..)) => {
            watcher.fail(error);
            Ok(Phase::Over)
        }
        Err(error) => Err(error.into()),
    }
}

/// One watch of one client.
struct Watcher {
    kind: &'static Kind,
    namespace: String,
    filter: Filter,
    encoder: Encoder,
    phase: Phase,
    /// Frames of one page at most, made and not yet sent.
    ready: VecDeque<Bytes>,
    headers_sent: bool,
    bookmarks: Option<Interval>,
    ends_at: Instant,
    stop: CancellationToken,
    /// Gives the stream's place back.
    _place: DropGuard,
}

/// What a live watcher woke up for.
enum Woke {
    Change(Result<std::sync::Arc<Change>, store::Error>),
    Bookmark,
    End,
}

impl Watcher {
    /// The next frame; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(frame);
            }
            match std::mem::replace(&mut self.phase, Phase::Over) {
                Phase::Over => return None,
                Phase::Initial { pager, marked } => self.go_on(pager, marked).await,
                Phase::Live { watch, after } => self.follow(watch, after).await,
            }
        }
    }

    async fn go_on(&mut self, mut pager: Box<Pager>, marked: bool) {
        if !pager.is_done() {
            match pager.next(None).await {
                Ok(page) => {
                    self.added(&page);
                    self.phase = Phase::Initial { pager, marked };
                }
                Err(error) => self.fail(error),
            }
            return;
        }
        let revision = pager.revision();
        if marked {
            let bookmark = self.encoder.bookmark_object(self.kind, revision, true);
            self.ready.push_back(frame("BOOKMARK", bookmark.to_string().as_bytes()));
        }
        match pager.watch(revision) {
            Ok(watch) => self.phase = Phase::Live { watch: Box::new(watch), after: revision },
            Err(error) => self.fail(error),
        }
    }

    async fn follow(&mut self, mut watch: Box<Watch>, after: u64) {
        let woke = tokio::select! {
            biased;
            () = self.stop.cancelled() => Woke::End,
            () = tokio::time::sleep_until(self.ends_at) => Woke::End,
            () = tick(&mut self.bookmarks) => Woke::Bookmark,
            change = watch.next() => Woke::Change(change),
        };
        match woke {
            Woke::End => return,
            Woke::Change(Err(error)) => return self.fail(error),
            Woke::Change(Ok(change)) => self.change(&change, after),
            // A change may have come meanwhile; else the watch has now seen everything up to its revision.
            Woke::Bookmark => match watch.next().now_or_never() {
                Some(Ok(change)) => self.change(&change, after),
                Some(Err(error)) => return self.fail(error),
                None => {
                    let revision = watch.revision().max(after);
                    let bookmark = self.encoder.bookmark_object(self.kind, revision, false);
                    self.ready.push_back(frame("BOOKMARK", bookmark.to_string().as_bytes()));
                }
            },
        }
        self.phase = Phase::Live { watch, after };
    }

    fn added(&mut self, objects: &[Object]) {
        for object in objects {
            self.event("ADDED", object);
        }
    }

    fn change(&mut self, change: &Change, after: u64) {
        if change.revision <= after {
            return;
        }
        let selected = |object: &&Object| self.selects(object);
        let before = change.before.as_ref().filter(selected);
        let now = change.after.as_ref().filter(selected);
        match (before, now) {
            (None, None) => {}
            (None, Some(now)) => self.event("ADDED", now),
            (Some(_), Some(now)) => self.event("MODIFIED", now),
            (Some(before), None) => {
                // Parity: the last state that was selected, with the revision that took it away.
                let revision = change.revision.to_string();
                let last = before.with_meta(|meta| meta.resource_version = Some(revision.clone()));
                self.event("DELETED", &last);
            }
        }
    }

    fn selects(&self, object: &Object) -> bool {
        let namespace = object.meta().namespace.as_deref().unwrap_or_default();
        (self.namespace.is_empty() || self.namespace == namespace) && self.filter.matches(object)
    }

    fn event(&mut self, kind: &str, object: &Object) {
        let object = self.encoder.event_object(object, !self.headers_sent);
        self.headers_sent = true;
        self.ready.push_back(frame(kind, &object));
    }

    fn fail(&mut self, error: store::Error) {
        // The store closes when the daemon stops: the stream then simply ends.
        if !matches!(error, store::Error::Closed) {
            let status = Problem::from(error).status().to_string();
            self.ready.push_back(frame("ERROR", status.as_bytes()));
        }
        self.phase = Phase::Over;
    }
}

/// The next tick, or never.
async fn tick(timer: &mut Option<Interval>) {
    match timer {
        Some(timer) => {
            timer.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn frame(kind: &str, object: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(object.len() + kind.len() + 24);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    out.extend_from_slice(object);
    out.extend_from_slice(b"}\n");
    out.into()
}
