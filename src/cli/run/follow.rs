//! Owns the reading of container output: one follower per container of each pod, each attempt read to its end.
//! Never decides which containers there are: `pods` reads that from statuses.
//!
//! ```text
//!  attempt n known to run or to have run --> read from its beginning --> stream ends or breaks
//!      ^                                                                    |           |
//!      |                                   read began after n was over: n is complete   |
//!      +---- n + 1 <------------------------------------+                               |
//!                                                       |      otherwise: read on from the last line shown
//!                                                       +-------------------------------+
//! ```
//!
//! A stream that ends says only that the server closed it; whether the container has ended is the status's to say.

use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::error::Elapsed;

use super::log_request::{self, Answer};
use super::pods::{self, ContainerSeen};
use super::position::{self, Position};
use super::screen::{Output, Screen};
use super::text;

/// Streams open at a time: each costs two file descriptors where the daemon runs in this process.
const STREAMS: usize = 128;
/// Lines kept of each container for the summary of a failed pod.
const TAIL: usize = 10;
/// Bytes of a line kept for the summary.
const TAIL_LINE: usize = 400;
/// A line longer than this is shown in parts, so that output without line ends stays bounded.
const MAX_LINE: usize = 1 << 20;
/// Wait between a stream's end and the next look at it, where the status does not say that the container ended.
const RECHECK: Duration = Duration::from_millis(300);
/// Pause after a failed request, growing with each failure up to the last.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
];
/// Failed requests in a row after which the output of a container that has ended is given up.
const GIVE_UP: usize = 20;

/// Last lines of a container, by pod uid and container.
type Tails = HashMap<(String, String), Vec<String>>;
/// Tells a follower what is newly known of its container.
type News = watch::Sender<ContainerSeen>;

/// Every follower of a run.
pub struct Followers {
    client: kube::Client,
    screen: Screen,
    streams: Arc<Semaphore>,
    following: HashMap<(String, String), News>,
    failed: HashSet<String>,
    tasks: JoinSet<Follower>,
    tails: Tails,
    /// Lines shown so far.
    shown: Arc<AtomicU64>,
}

impl Followers {
    /// No followers yet.
    pub fn new(client: kube::Client, screen: Screen) -> Self {
        Self {
            client,
            screen,
            streams: Arc::new(Semaphore::new(STREAMS)),
            following: HashMap::new(),
            failed: HashSet::new(),
            tasks: JoinSet::new(),
            tails: HashMap::new(),
            shown: Arc::default(),
        }
    }

    /// Takes in what a pod's newest state says of its containers. `failed` keeps its last lines for the summary.
    pub fn seen(&mut self, pod: &Pod, containers: Vec<ContainerSeen>, failed: bool) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if failed {
            self.failed.insert(uid.clone());
        }
        for seen in containers {
            let key = (uid.clone(), seen.container.clone());
            let last = seen.last;
            match self.following.get(&key) {
                Some(news) => {
                    news.send_replace(seen);
                }
                None if seen.started => self.follow(pod, &key, seen),
                None => {}
            }
            if last {
                self.following.remove(&key);
            }
        }
        self.reap();
    }

    fn follow(&mut self, pod: &Pod, key: &(String, String), seen: ContainerSeen) {
        let container: Arc<str> = key.1.as_str().into();
        // The attempt before may have ended before its pod was seen for the first time.
        let first = (seen.attempt - 1).max(0);
        let (news, seen) = watch::channel(seen);
        self.following.insert(key.clone(), news);
        let follower = Follower {
            client: self.client.clone(),
            screen: self.screen.clone(),
            streams: self.streams.clone(),
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            pod: pod.metadata.name.as_deref().unwrap_or_default().into(),
            pod_uid: key.0.clone(),
            shown_container: pods::has_several(pod).then(|| container.clone()),
            container,
            seen,
            tail: VecDeque::new(),
            shown: self.shown.clone(),
        };
        self.tasks.spawn(follower.run(first));
    }

    /// Takes in the ends of followers that are done.
    fn reap(&mut self) {
        while let Some(done) = self.tasks.try_join_next() {
            self.done(done);
        }
    }

    fn done(&mut self, done: Result<Follower, JoinError>) {
        let Ok(follower) = done else { return };
        if self.failed.contains(&follower.pod_uid) {
            self.tails.insert((follower.pod_uid, follower.container.to_string()), follower.tail.into());
        }
    }

    /// Waits until all output is shown; false where something was still to come and nothing came for `silence`.
    pub async fn drain(&mut self, silence: Duration) -> bool {
        // Whoever still waits for a next attempt learns that there is none.
        for (_, news) in self.following.drain() {
            news.send_modify(|seen| seen.last = true);
        }
        loop {
            match next_end(&mut self.tasks, &self.shown, silence).await {
                Ok(Some(done)) => self.done(done),
                Ok(None) => return true,
                Err(_silent) => return false,
            }
        }
    }

    /// The last lines of a container of a failed pod.
    pub fn tail(&self, pod_uid: &str, container: &str) -> Vec<String> {
        self.tails.get(&(pod_uid.to_owned(), container.to_owned())).cloned().unwrap_or_default()
    }
}

/// The next task to end; an error where none did and `shown` stood still for `silence`.
async fn next_end<T: 'static>(
    tasks: &mut JoinSet<T>,
    shown: &AtomicU64,
    silence: Duration,
) -> Result<Option<Result<T, JoinError>>, Elapsed> {
    loop {
        let before = shown.load(Ordering::Relaxed);
        let ended = tokio::time::timeout(silence, tasks.join_next()).await;
        if ended.is_ok() || shown.load(Ordering::Relaxed) == before {
            return ended;
        }
    }
}

struct Follower {
    client: kube::Client,
    screen: Screen,
    streams: Arc<Semaphore>,
    namespace: String,
    pod: Arc<str>,
    pod_uid: String,
    container: Arc<str>,
    shown_container: Option<Arc<str>>,
    seen: watch::Receiver<ContainerSeen>,
    tail: VecDeque<String>,
    shown: Arc<AtomicU64>,
}

/// How a reading ended.
enum Reading {
    /// The server closed the stream.
    Closed,
    /// The server answered with a later attempt than was asked for.
    Later,
    /// There is nothing to read (any more).
    Gone,
    /// The request failed or the stream broke: worth another try.
    Broken(String),
}

impl Follower {
    async fn run(mut self, first: i32) -> Self {
        let mut attempt = first;
        while let Some(known) = self.begun(attempt).await {
            // Only the current attempt and the one before it can be read.
            attempt = attempt.max(known.attempt - 1);
            self.attempt(attempt).await;
            attempt += 1;
        }
        self
    }

    /// Waits until this attempt or a later one has output; none where it will never come.
    async fn begun(&mut self, attempt: i32) -> Option<ContainerSeen> {
        loop {
            let known = self.seen.borrow_and_update().clone();
            if known.attempt > attempt || (known.attempt == attempt && known.started) {
                return Some(known);
            }
            if known.last || self.seen.changed().await.is_err() {
                return None;
            }
        }
    }

    /// Reads one attempt's output to its end.
    async fn attempt(&mut self, attempt: i32) {
        let mut position = Position::default();
        let mut failures = 0;
        loop {
            let known = self.seen.borrow_and_update().clone();
            let over = is_over(&known, attempt);
            let reading = self.read(attempt, known.attempt > attempt, &mut position).await;
            match reading {
                Reading::Closed if over => return,
                Reading::Gone => return,
                Reading::Closed | Reading::Later => {
                    failures = 0;
                    self.wait_until_over(attempt).await;
                }
                Reading::Broken(why) => {
                    failures += 1;
                    // An attempt before the current one is there at once or not at all.
                    if failures >= if known.attempt > attempt { PAUSES.len() } else { GIVE_UP } && over {
                        let note = format!("warning: output of pod {}, container {}: {why}", self.pod, self.container);
                        return self.screen.note(note).await;
                    }
                    tokio::time::sleep(PAUSES[failures.min(PAUSES.len()) - 1]).await;
                }
            }
        }
    }

    async fn wait_until_over(&mut self, attempt: i32) {
        let over = self.seen.wait_for(|known| is_over(known, attempt));
        // Not told in time: the stream ended for another reason (a daemon that stops), so it is worth another look.
        let _told = tokio::time::timeout(RECHECK, over).await;
    }

    async fn read(&mut self, attempt: i32, previous: bool, position: &mut Position) -> Reading {
        let Ok(_stream) = self.streams.clone().acquire_owned().await else { return Reading::Gone };
        let (since_time, shown) = position.resume();
        let params = LogParams {
            container: Some(self.container.to_string()),
            follow: !previous,
            previous,
            since_time,
            timestamps: true,
            ..LogParams::default()
        };
        match log_request::open(&self.client, &self.namespace, &self.pod, &params).await {
            Answer::Stream { attempt: Some(served), .. } if served > attempt => Reading::Later,
            Answer::Stream { body, .. } => self.copy(body, shown, position).await,
            Answer::Gone => Reading::Gone,
            Answer::Failed(why) => Reading::Broken(why),
        }
    }

    /// Shows a stream's lines but for the first `skip`.
    async fn copy(&mut self, body: impl AsyncBufRead, mut skip: u64, position: &mut Position) -> Reading {
        let mut body = pin!(body);
        let mut line = Vec::new();
        let mut begins = true;
        let mut shown = true;
        loop {
            let whole = match read_line(&mut body, &mut line).await {
                Ok(Line::End) => return Reading::Closed,
                Err(error) => return Reading::Broken(error.to_string()),
                Ok(Line::Whole) => true,
                Ok(Line::Part) => false,
            };
            let (at, text) = if begins { position::split(&line) } else { (None, line.as_slice()) };
            if begins {
                shown = skip == 0;
                skip = skip.saturating_sub(1);
            }
            if let Some(at) = at.filter(|_| shown) {
                position.line(at);
            }
            if shown {
                self.show(text.to_vec()).await;
            }
            begins = whole;
        }
    }

    async fn show(&mut self, text: Vec<u8>) {
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        let end = text.len().min(TAIL_LINE);
        self.tail.push_back(text::safe(&text[..end], false));
        self.screen.output(Output { pod: self.pod.clone(), container: self.shown_container.clone(), text }).await;
        self.shown.fetch_add(1, Ordering::Relaxed);
    }
}

fn is_over(known: &ContainerSeen, attempt: i32) -> bool {
    known.attempt > attempt || known.last || (known.attempt == attempt && known.ended)
}

/// What was read.
enum Line {
    /// Up to a line's end.
    Whole,
    /// As much of a line as may be held; it goes on.
    Part,
    /// Nothing: the stream has ended.
    End,
}

/// Reads up to the next line end, the stream's end, or the longest line allowed.
async fn read_line(body: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> std::io::Result<Line> {
    line.clear();
    loop {
        let chunk = body.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(if line.is_empty() { Line::End } else { Line::Whole });
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let room = MAX_LINE - line.len();
        let take = end.unwrap_or(chunk.len()).min(room);
        line.extend_from_slice(&chunk[..take]);
        let whole = end == Some(take);
        body.consume_unpin(take + usize::from(whole));
        if whole {
            return Ok(Line::Whole);
        }
        if line.len() == MAX_LINE {
            return Ok(Line::Part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn output_that_keeps_coming_is_waited_for_however_long_it_takes() {
        let (mut tasks, shown) = (JoinSet::new(), Arc::<AtomicU64>::default());
        let count = shown.clone();
        tasks.spawn(async move {
            for _ in 0..20 {
                tokio::time::sleep(SILENCE / 2).await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert!(matches!(next_end(&mut tasks, &shown, SILENCE).await, Ok(Some(Ok(())))));
        assert!(matches!(next_end(&mut tasks, &shown, SILENCE).await, Ok(None)));
    }

    #[tokio::test(start_paused = true)]
    async fn output_that_has_stopped_coming_is_given_up() {
        let (mut tasks, shown) = (JoinSet::new(), AtomicU64::new(0));
        tasks.spawn(std::future::pending::<()>());
        assert!(next_end(&mut tasks, &shown, SILENCE).await.is_err());
    }
}
