//! Owns the one subscription to the engine's events, and the lines of its streams.
//! Never tells a fact: an event is a reason to look, and after any gap [`Hint::Resync`] asks to look at everything
//! (EDGES D12: the engine keeps 256 events, drops those that a slow reader does not fetch, and sends no heartbeat).
//!
//! ```text
//!      ┌──────────── back-off, `since` the last event ◄───────────────┐
//!      ▼                                                              │ end, error, silence
//!  subscribing ──headers are there──► Resync ──► reading ── event ──► Pod{uid} ...
//! ```

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::Docker;
use super::containers::form;
use super::wire::{Ask, Wire};
use crate::runtime::failure::Act;
use crate::runtime::reply::{EventReply, hint};
use crate::runtime::{Error, Hint, convert};

/// Time to subscribe; the engine answers at once, before the first event.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(30);
/// First pause before a subscription is renewed: an engine's restart takes seconds.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// Longest pause: a returning engine is noticed within it.
const BACKOFF_LAST: Duration = Duration::from_secs(5);
/// A subscription that held for this long was a good one: the pauses begin anew.
const BACKOFF_RESET: Duration = Duration::from_secs(10);
/// Without an event for so long the subscription is renewed: there is no heartbeat that would show a dead connection.
const SILENCE_LIMIT: Duration = Duration::from_secs(300);
/// Hints that may wait for a slow reader; one more, and they become a single [`Hint::Resync`].
const HINTS_WAITING: usize = 4096;
/// Longest line of JSON from the engine; labels and progress make them some KB.
const LINE_MAX: usize = 4 * 1024 * 1024;

/// The hints of this store, without end. The subscription lives as long as the stream.
pub(super) fn hints(docker: &Docker) -> BoxStream<'static, Hint> {
    let (sender, receiver) = mpsc::channel(HINTS_WAITING);
    let subscription = Subscription {
        wire: docker.wire().clone(),
        filter: form(&convert::event_filter(&docker.inner.store_id)),
        outlet: Outlet { sender, overflown: false },
        last_nanos: None,
    };
    let task = AbortOnDropHandle::new(tokio::spawn(subscription.run()));
    stream::unfold((receiver, task), |(mut receiver, task)| async move {
        receiver.recv().await.map(|hint| (hint, (receiver, task)))
    })
    .boxed()
}

struct Subscription {
    wire: Wire,
    filter: String,
    outlet: Outlet,
    /// When the last event happened, by the engine's clock.
    last_nanos: Option<i64>,
}

impl Subscription {
    async fn run(mut self) {
        let mut pause = BACKOFF_FIRST;
        while !self.outlet.sender.is_closed() {
            let begun = Instant::now();
            if let Err(error) = self.subscribe_and_read().await {
                tracing::debug!(%error, "the events subscription broke off");
            }
            pause = if begun.elapsed() >= BACKOFF_RESET { BACKOFF_FIRST } else { pause };
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BACKOFF_LAST);
        }
    }

    /// Reads one connection to its end.
    async fn subscribe_and_read(&mut self) -> Result<(), Error> {
        let since = self.last_nanos.map(|nanos| format!("&since={}", convert::since_nanos(nanos.into())));
        let path = format!("/events?filters={}{}", self.filter, since.unwrap_or_default());
        let ask = Ask::get(Act::Read, "the events", path);
        let Some(response) = self.wire.within(SUBSCRIBE_LIMIT, self.wire.open(ask)).await? else { return Ok(()) };
        // Only now: who looks after this hint misses nothing that happens later.
        self.outlet.send(Hint::Resync);
        let mut lines = Lines::of(response.into_body());
        while let Some(line) = self.wire.within(SILENCE_LIMIT, async { lines.next(&self.wire).await }).await? {
            let event: EventReply = serde_json::from_slice(&line).unwrap_or_default();
            let (hint, nanos) = hint(event);
            self.last_nanos = self.last_nanos.max((nanos > 0).then_some(nanos));
            self.outlet.send(hint);
        }
        Ok(())
    }
}

/// The way to the reader, which never waits: an engine drops the events of a reader that does.
struct Outlet {
    sender: mpsc::Sender<Hint>,
    overflown: bool,
}

impl Outlet {
    fn send(&mut self, hint: Hint) {
        // One place stays free for the Resync that an overflow owes.
        if self.sender.capacity() <= 1 {
            if !self.overflown && self.sender.try_send(Hint::Resync).is_ok() {
                self.overflown = true;
            }
            return;
        }
        self.overflown = false;
        // A closed channel ends the subscription at its next turn.
        let _ = self.sender.try_send(hint);
    }
}

/// The lines of a body.
pub(super) struct Lines {
    body: Option<Incoming>,
    buffer: BytesMut,
}

impl Lines {
    /// Those of this body.
    pub fn of(body: Incoming) -> Lines {
        Lines { body: Some(body), buffer: BytesMut::new() }
    }

    /// The next line that is not empty, without its end; nothing at the end.
    pub async fn next(&mut self, wire: &Wire) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(at).freeze();
                self.buffer.advance(1);
                if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
                    return Ok(Some(line));
                }
                continue;
            }
            if self.buffer.len() > LINE_MAX {
                return Err(Error::Engine("the engine sent a line that does not end".to_owned()));
            }
            let Some(body) = &mut self.body else {
                let rest = self.buffer.split().freeze();
                return Ok((!rest.is_empty()).then_some(rest));
            };
            match body.frame().await {
                Some(Ok(frame)) => self.buffer.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Err(wire.unreachable(error)),
                None => self.body = None,
            }
        }
    }
}
