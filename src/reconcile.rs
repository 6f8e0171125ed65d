//! Owns when a key is worked on: the queue that every loop of jobdock runs on. Never knows what a key means.
//!
//! ```text
//!  add ---------> ready (in order, each key once) --> running (each key once) --> Ok(None): done, back-off forgotten
//!                   ^   ^                                |  |                      Ok(Some(d)): delayed by d
//!  add_after --> delayed (the earliest instant wins) <---|--+--------------------- Err: delayed by the back-off
//!                       |                                |
//!                       +---- added while running <------+
//! ```
//!
//! A key that is added while it runs runs once more afterwards, so whoever adds a key after changing a fact knows that
//! a run begins after the change. Parity: the semantics of client-go's `workqueue`.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use rand::Rng;
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::{QueueLabels, metrics};

/// Failures of one key in a row that nobody need hear of: somebody wrote first, or the engine was busy, and the next
/// run goes well.
const QUIET_FAILURES: u32 = 3;
/// Delay after the first failure. Long enough that a conflict's winner has finished; upstream's 5 ms serves remote
/// conflicts that a single process does not have.
pub const BACKOFF_BASE: Duration = Duration::from_millis(50);
/// Longest delay between two tries: what failed for outside reasons (disk full, engine gone) is seen again in a minute.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// A queue of keys; clones share it. It holds each key at most once per state, so it is bounded by the keys there are.
pub struct Queue<K>(Arc<Shared<K>>);

struct Shared<K> {
    state: Mutex<State<K>>,
    /// Something became ready or delayed: the dispatcher looks again.
    changed: Notify,
}

struct State<K> {
    ready: VecDeque<K>,
    /// The keys in `ready`, and since when they are.
    queued: HashMap<K, Instant>,
    /// True where the key was added meanwhile.
    running: HashMap<K, bool>,
    /// By instant, and by order of arrival among equals.
    delayed: BTreeMap<(Instant, u64), K>,
    /// Where each key stands in `delayed`.
    due: HashMap<K, (Instant, u64)>,
    arrivals: u64,
    /// Failures in a row.
    failures: HashMap<K, u32>,
    counts: Counts,
}

/// What is told of this queue.
struct Counts {
    adds: Counter,
    depth: Gauge,
    waited: Histogram,
    worked: Histogram,
    retries: Counter,
}

impl Counts {
    fn new(name: &'static str) -> Self {
        let (all, labels) = (metrics(), QueueLabels { name });
        Self {
            adds: all.queue_adds.get_or_create_owned(&labels),
            depth: all.queue_depth.get_or_create_owned(&labels),
            waited: all.queue_seconds.get_or_create_owned(&labels),
            worked: all.work_seconds.get_or_create_owned(&labels),
            retries: all.queue_retries.get_or_create_owned(&labels),
        }
    }
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Clone + Eq + Hash + Send + 'static> Queue<K> {
    /// An empty queue; `name` is what metrics call it.
    pub fn new(name: &'static str) -> Self {
        let state = State {
            ready: VecDeque::new(),
            queued: HashMap::new(),
            running: HashMap::new(),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
            arrivals: 0,
            failures: HashMap::new(),
            counts: Counts::new(name),
        };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }))
    }

    /// Wants a run of this key as soon as a worker is free. Needs no runtime.
    pub fn add(&self, key: K) {
        self.lock().add(key);
        self.0.changed.notify_one();
    }

    /// Wants a run of this key after `delay`. Of several delays the one that ends first counts.
    pub fn add_after(&self, key: K, delay: Duration) {
        self.lock().add_at(key, Instant::now() + delay);
        self.0.changed.notify_one();
    }

    /// Works until `stop`, with at most `workers` keys at a time; then takes no more, and returns when those running
    /// have ended. `Ok(Some(d))` asks for another run after `d`, an error for one after a growing delay. A run that
    /// panics counts as failed.
    pub async fn run<F, R, E>(&self, workers: usize, stop: CancellationToken, reconcile: F)
    where
        F: Fn(K) -> R,
        R: Future<Output = Result<Option<Duration>, E>> + Send + 'static,
        E: Debug + Display + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        let mut keys: HashMap<Id, (K, Instant)> = HashMap::new();
        loop {
            while tasks.len() < workers
                && let Some(key) = self.take()
            {
                let id = tasks.spawn(reconcile(key.clone())).id();
                keys.insert(id, (key, Instant::now()));
            }
            let due = self.next_due();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = tasks.join_next_with_id() => self.ended(&mut keys, ended),
                () = self.0.changed.notified() => {}
                () = until(due) => {}
            }
        }
        while let Some(ended) = tasks.join_next_with_id().await {
            self.ended(&mut keys, ended);
        }
    }

    /// The next key that may run, after those that are due have become ready.
    fn take(&self) -> Option<K> {
        let mut state = self.lock();
        state.ripen(Instant::now());
        let key = state.ready.pop_front()?;
        if let Some(since) = state.queued.remove(&key) {
            state.counts.waited.observe(since.elapsed().as_secs_f64());
        }
        state.counts.depth.dec();
        state.running.insert(key.clone(), false);
        Some(key)
    }

    fn next_due(&self) -> Option<Instant> {
        self.lock().delayed.first_key_value().map(|((at, _), _)| *at)
    }

    fn ended<E: Debug + Display>(
        &self,
        keys: &mut HashMap<Id, (K, Instant)>,
        ended: Result<(Id, Result<Option<Duration>, E>), JoinError>,
    ) {
        let (id, outcome) = match ended {
            Ok((id, Ok(again))) => (id, Ok(again)),
            Ok((id, Err(error))) => (id, Err((error.to_string(), format!("{error:?}")))),
            Err(error) => (error.id(), Err((error.to_string(), format!("{error:?}")))),
        };
        let Some((key, since)) = keys.remove(&id) else { return };
        let mut state = self.lock();
        state.counts.worked.observe(since.elapsed().as_secs_f64());
        let added = state.running.remove(&key).unwrap_or(false);
        match outcome {
            Ok(again) => {
                state.failures.remove(&key);
                if let Some(delay) = again {
                    state.add_at(key.clone(), Instant::now() + delay);
                }
            }
            Err((error, cause)) => {
                let failures = state.failures.entry(key.clone()).or_default();
                let delay = jittered(backoff(*failures));
                *failures = failures.saturating_add(1);
                let failures = *failures;
                state.counts.retries.inc();
                if failures > QUIET_FAILURES {
                    tracing::warn!(%error, cause, failures, ?delay, "a run failed again and again");
                } else {
                    tracing::debug!(%error, cause, failures, ?delay, "a run failed and is tried again");
                }
                state.add_at(key.clone(), Instant::now() + delay);
            }
        }
        if added {
            state.add(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn add(&mut self, key: K) {
        if let Some(added) = self.running.get_mut(&key) {
            *added = true;
        } else if let Entry::Vacant(place) = self.queued.entry(key.clone()) {
            place.insert(Instant::now());
            self.ready.push_back(key);
            self.counts.adds.inc();
            self.counts.depth.inc();
        }
    }

    fn add_at(&mut self, key: K, at: Instant) {
        if let Some(known) = self.due.get(&key) {
            if known.0 <= at {
                return;
            }
            let known = *known;
            self.delayed.remove(&known);
        }
        self.arrivals += 1;
        self.due.insert(key.clone(), (at, self.arrivals));
        self.delayed.insert((at, self.arrivals), key);
    }

    /// Moves what is due.
    fn ripen(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry().filter(|first| first.key().0 <= now) {
            let key = first.remove();
            self.due.remove(&key);
            self.add(key);
        }
    }
}

/// The delay after so many earlier failures in a row.
fn backoff(failures: u32) -> Duration {
    BACKOFF_BASE.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(BACKOFF_MAX)
}

/// Between half of it and all of it, so that keys that failed together do not come back together.
fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(rand::rng().random_range(0.5..=1.0))
}

async fn until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
